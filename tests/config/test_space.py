"""The space of a search: what is a list, what a range, and what is said of a mistake."""

import pytest

from segtrain.config.space import Choices, Interval, read_space, word
from segtrain.errors import ConfigError


class Highest:
    """Takes the high end of all, and notes what it was asked."""

    def suggest_float(self, name, low, high, *, step, log):
        return ("float", low, high, step, log)

    def suggest_int(self, name, low, high, *, step, log):
        return ("int", low, high, step, log)

    def suggest_categorical(self, name, choices):
        return choices[-1]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("1e-4..1e-2 log", ("float", 1e-4, 1e-2, None, True)),
        ("0.1..0.9", ("float", 0.1, 0.9, None, False)),
        ("0..1 step 0.25", ("int", 0, 1, 0, False)),
        ("0.0..1.0 step 0.25", ("float", 0.0, 1.0, 0.25, False)),
        ("4..32 step 4", ("int", 4, 32, 4, False)),
        ("-3 .. 3", ("int", -3, 3, 1, False)),
        ("8..64 log", ("int", 8, 64, 1, True)),
    ],
)
def test_a_range_is_asked_for_as_it_is_written(text, asked):
    if text == "0..1 step 0.25":  # whole ends and a step between them: not meant
        with pytest.raises(ConfigError, match="expected whole numbers as step"):
            read_space({"key": text})
        return
    assert read_space({"key": text})["key"].suggest(Highest(), "key") == asked


def test_a_list_holds_choices_and_a_file_a_space(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("arch: [fpn, unet]\noptimizer.lr: 1e-4..1e-2 log\nimage_head: [null, classification]\n")
    space = read_space(str(file))
    assert space["arch"] == Choices(("fpn", "unet"))
    assert space["arch"].suggest(Highest(), "arch") == "unet"
    assert space["optimizer.lr"] == Interval(1e-4, 1e-2, log=True)
    assert [word("k", value) for value in (*space["image_head"].values, True, 0.1, 3)] == [
        "k=null",
        'k="classification"',
        "k=true",
        "k=0.1",
        "k=3",
    ]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([1e-4, 1e-2, "log"], "is a list of choices; a range is 0.0001..0.01 log"),
        ("1e-2..1e-4 log", "expected the lower end first; write 0.0001..0.01"),
        ("0..1 log", "log is for ranges above 0"),
        ("0.0..1.0 step 2", "expected a step above 0 and within the range"),
        ("fpn", "expected a list of choices, [fpn, unet], or a range"),
        (["fpn"], "expected two choices or more"),
        (["fpn", "fpn"], "expected two choices or more, each once"),
        ([[1, 2], [3]], "expected texts and numbers as choices"),
        (3, "expected a list of choices"),
    ],
)
def test_a_mistake_is_told_with_its_key(value, told):
    with pytest.raises(ConfigError, match=r"space: optimizer\.lr: ") as caught:
        read_space({"optimizer.lr": value})
    assert told in str(caught.value)


def test_what_is_no_mapping_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such file, expected YAML"):
        read_space("missing.yaml")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(ConfigError, match="expected a mapping of keys"):
        read_space(str(tmp_path / "empty.yaml"))
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="not YAML"):
        read_space(str(tmp_path / "bad.yaml"))
