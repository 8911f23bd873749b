import os

from segtrain.data.files.stamps import digest_of


def test_the_digest_changes_with_every_file_and_with_their_order(tmp_path, monkeypatch):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    before = digest_of([first, str(second)])
    assert before == digest_of([str(first), second]), "paths and text are the same"
    found = {before, digest_of([second, first]), digest_of([first])}
    os.utime(second, ns=(1, 1))
    found.add(digest_of([first, second]))
    second.write_bytes(b"three")
    os.utime(second, ns=(1, 1))
    found.add(digest_of([first, second]))
    monkeypatch.chdir(tmp_path)
    found.add(digest_of(["a", "b"]))
    assert len(found) == 6


def test_a_missing_file_has_no_digest(tmp_path):
    assert digest_of([tmp_path / "missing"]) is None


def test_more_files_than_are_hashed_at_once_all_count(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"other")
    many = [tmp_path / "a"] * 5000
    assert digest_of([*many, tmp_path / "a"]) != digest_of([*many, tmp_path / "b"])
