"""The memory that is left, of a machine and of containers, read from files as Linux writes them."""

from segtrain.runtime.capacity import available_memory


def machine(root, **files):
    (root / "proc").mkdir()
    (root / "proc/meminfo").write_text("MemTotal:  4000 kB\nMemAvailable:   3000 kB\n")
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_without_a_container_it_is_what_the_system_calls_available(tmp_path):
    assert available_memory(machine(tmp_path)) == 3000 * 1024


def test_a_container_leaves_its_limit_less_what_is_in_use_beside_files(tmp_path):
    files = {"memory.max": "2048000\n", "memory.current": "1024000\n", "memory.stat": "anon 5\ninactive_file 24000\n"}
    assert available_memory(machine(tmp_path, **files)) == 2048000 - 1000000


def test_a_container_of_version_1_has_other_names(tmp_path):
    files = {
        "memory__memory.limit_in_bytes": "2048000\n",
        "memory__memory.usage_in_bytes": "1024000\n",
        "memory__memory.stat": "cache 9\ntotal_inactive_file 24000\n",
    }
    assert available_memory(machine(tmp_path, **files)) == 2048000 - 1000000


def test_a_container_without_a_limit_has_the_machine_s(tmp_path):
    assert available_memory(machine(tmp_path, **{"memory.max": "max\n", "memory.current": "5\n"})) == 3000 * 1024
