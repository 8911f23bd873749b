from pathlib import Path

import pytest

from segtrain.data.doctor.finding import MOST, Finding, first_few
from segtrain.errors import DataError


def test_a_finding_is_one_line_of_file_text_remedy_and_count():
    finding = Finding("fatal", "mask values", (Path("a.png"), Path("b.png")), "holds 7", "fix it", "(2 masks)")
    assert str(finding) == "a.png: holds 7; fix it (2 masks)"
    assert str(Finding("warning", "absent class", (), "no mask holds dog")) == "no mask holds dog"


def test_an_error_on_a_file_is_taken_apart():
    error = DataError("x/a.jpg: cannot be decoded: cut; at 7; restore or remove it", kind="unreadable")
    finding = Finding.of_error(error, Path("x/a.jpg"))
    assert (finding.text, finding.remedy) == ("cannot be decoded: cut; at 7", "restore or remove it")
    assert str(finding) == str(error)
    assert Finding.of_error(DataError("a.jpg: cannot be read: no"), Path("a.jpg")).text == "cannot be read: no"


@pytest.mark.parametrize(
    ("remedy", "line"),
    [
        ("add 'data.class_map={0: 0, 255: 1}'", "'data.class_map={0: 0, 255: 1}'"),
        (
            "set 'data.classes=[background,cat]' and add 'data.class_map={0: 0, 9: 1}'",
            "'data.classes=[background,cat]' 'data.class_map={0: 0, 9: 1}'",
        ),
        ("cut it into tiles, or set data.max_pixels=720", "data.max_pixels=720"),
        ("train with data.channels=3 (3 of 3 images are so)", "data.channels=3"),
        ("set data.value_range=[0,4095]", "data.value_range=[0,4095]"),
        ("fix the mask if 3 is in few, or set data.ignore_index=3 if 3 does not count", None),
        ("set data.missing=absent (not there) or data.missing=ignore (not known)", None),
        ("write a label for each ? (0 cat) in 'data.class_map={0: ?, 9: ?}'", None),
        ("ticked, or set data.images=<folder of the images>", None),
        ("set data.annotations=<the JSON file>", None),
        ("name yours in 'data.columns={image: file, mask: label}'", None),
        ("restore or remove it", None),
    ],
)
def test_the_line_that_repairs_is_the_one_in_the_remedy_unless_there_is_a_choice(remedy, line):
    assert Finding("fatal", "any", (), "text", remedy).line == line


def test_many_problems_are_counted():
    assert first_few(["a", "b"]) == ["a", "b"]
    assert first_few(["a"] * (MOST + 3))[MOST:] == ["and 3 more files with problems"]
