"""Names of mask values, and what a user asks for of them."""

import numpy as np
import pytest

from segtrain.data.files.drawings import IGNORED
from segtrain.data.files.legend import Legend, interpret
from segtrain.errors import ConfigError
from segtrain.task import IGNORE_INDEX

STREET = Legend({7: "road", 26: "car", 27: "truck", 255: "sky"}, ignored=[0])
OBJECTS = Legend.of_drawings(["cat", "dog", "cow"], ignored=[IGNORED])


def labels(meaning, *values):
    return meaning.labels(np.array([values], np.uint16))[0].tolist()


def test_all_classes_are_numbered_in_the_order_of_the_legend():
    meaning = interpret(STREET)
    assert meaning.task.class_names == ("road", "car", "truck", "sky")
    assert labels(meaning, 7, 26, 27, 255, 0) == [0, 1, 2, 3, IGNORE_INDEX]


def test_classes_that_are_not_asked_for_are_ignored_or_background():
    assert labels(interpret(STREET, classes=["car", "road"]), 7, 26, 27) == [1, 0, IGNORE_INDEX]
    meaning = interpret(OBJECTS, classes=["dog", "cat"])
    assert meaning.task.class_names == ("background", "dog", "cat")
    assert labels(meaning, 0, 1, 2, 3, IGNORED) == [0, 2, 1, 0, IGNORE_INDEX]


def test_a_single_class_is_binary_against_all_others():
    for legend, values in ((STREET, (26, 7, 0)), (OBJECTS, (2, 1, IGNORED))):
        meaning = interpret(legend, classes=[legend.names[values[0]]])
        assert meaning.task.mode == "binary"
        assert labels(meaning, *values) == [1, 0, IGNORE_INDEX]


def test_the_only_class_of_a_tool_is_binary_unless_told_otherwise():
    legend = Legend.of_drawings(["cell"])
    assert interpret(legend).task.class_names == ("cell",)
    assert interpret(legend, mode="multiclass").task.class_names == ("background", "cell")


def test_classes_are_merged_by_names_or_values():
    for key in ("truck", 27):
        meaning = interpret(STREET, class_map={"car": "vehicle", key: "vehicle", "sky": "ignore"})
        assert meaning.task.class_names == ("road", "vehicle")
        assert labels(meaning, 7, 26, 27, 255) == [0, 1, 1, IGNORE_INDEX]
        assert dict(meaning.table) == {"road": "road", "car": "vehicle", "truck": "vehicle", "sky": "ignore"}


def test_other_stands_for_all_that_the_map_does_not_name():
    meaning = interpret(STREET, class_map={"car": "car", "other": "scene"})
    assert labels(meaning, 26, 7, 255) == [1, 0, 0]
    assert meaning.task.class_names == ("scene", "car")


def test_further_values_can_be_ignored():
    assert labels(interpret(STREET, ignore_index=99), 99) == [IGNORE_INDEX]


def test_overlapping_classes_are_the_members_of_each():
    meaning = interpret(OBJECTS, mode="multilabel", class_map={"cow": "cat"}, overlapping=True)
    assert meaning.task.class_names == ("cat", "dog")
    assert meaning.members == (frozenset({1, 3}), frozenset({2}))


def test_colours_of_the_legend_paint_its_classes():
    legend = Legend.of_colours({"road": (128, 64, 128), "car": (0, 0, 142)})
    meaning = interpret(legend)
    assert meaning.palette == ((128, 64, 128), (0, 0, 142))
    assert meaning.labels.by_colour


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"classes": ["trucks"]}, "data.classes: trucks: the data has no class of that name, did you mean 'truck'"),
        (
            {"class_map": {"trck": "car"}},
            "data.class_map: trck: the data has no class of that name, did you mean 'truc",
        ),
        ({"classes": ["car", "car"]}, "data.classes: car more than once"),
        ({"classes": ["car"], "class_map": {"truck": "lorry"}}, "data.class_map: maps to lorry, which data.classes"),
        ({"mode": "multilabel"}, "data.mode: multilabel, but these masks hold one class at each pixel"),
        ({"mode": "binary"}, "data.mode: binary, but there are 4 classes"),
        ({"class_map": {"other": "ignore"}}, "data.classes: none is left"),
    ],
)
def test_what_does_not_go_together_is_refused(options, problem):
    with pytest.raises(ConfigError, match=problem):
        interpret(STREET, **options)


def test_classes_of_drawings_go_by_name_alone_as_their_values_are_not_those_of_the_tool():
    legend = Legend.of_drawings(["cat", "dog"])
    with pytest.raises(ConfigError, match="class_map: 1: the data has no class of that name"):
        interpret(legend, class_map={1: "pet"})
    with pytest.raises(ConfigError, match=r"data.class_map=\{<name>: ignore\}"):
        interpret(legend, ignore_index=0)
    assert interpret(legend, class_map={"background": "ignore"}).task.class_names == ("cat", "dog")
