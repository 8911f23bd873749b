import re

import numpy as np
import pytest
from PIL import Image

from segtrain.data.files.class_map import pack
from segtrain.data.files.labels import LabelMap
from segtrain.errors import ConfigError
from segtrain.task import IGNORE_INDEX
from tests.data.files.test_verify import indexed
from tests.data.formats.test_folder import SIZE, make_root, open_folder, problem

NAMES = ("background", "grass", "car")
COLOURS = np.array([(0, 0, 0), (0, 128, 0), (128, 0, 0)], np.uint8)
MASK = np.resize(np.arange(3, dtype=np.uint8), SIZE)
BY_COLOUR = {"0-0-0": 0, "0-128-0": 1, "128-0-0": 2}
ALL = {"val_fraction": 0.0, "classes": NAMES}


def translated(class_map, values, **options):
    return LabelMap(NAMES, class_map=class_map, **options)(np.array(values, np.uint16)).tolist()


def test_a_map_takes_ranges_words_and_all_the_rest():
    class_map = {"0-9": 0, 20: 1, "30-40": "ignore", "other": 2}
    assert translated(class_map, [0, 9, 10, 20, 30, 40, 41, 65535]) == [0, 0, 2, 1, 255, 255, 2, 2]


def test_labels_go_by_the_names_of_classes_too():
    class_map = {8: "car", "9-11": "background", 12: 1, "other": "ignore"}
    assert translated(class_map, [8, 9, 11, 12, 0]) == [2, 0, 0, 1, 255]
    labels = LabelMap(NAMES, class_map=class_map)
    assert labels.pairs() == {8: 2, "9-11": 0, 12: 1, "other": 255}


def test_a_class_may_be_named_by_a_number_that_is_no_label():
    assert LabelMap(("background", "2024"), class_map={5: 2024, 6: 0})(np.array([5, 6], np.uint16)).tolist() == [1, 0]


def test_all_the_rest_can_be_ignored():
    assert translated({0: 0, 8: 1, 12: 2, "other": "ignore"}, [0, 8, 12, 13, 255]) == [0, 1, 2, 255, 255]


def test_keys_are_alike_as_numbers_and_as_texts_which_is_what_json_makes_of_them():
    labels = LabelMap(NAMES, class_map={0: 0, "1-3": 1, "other": "ignore"})
    again = LabelMap(NAMES, class_map={str(key): label for key, label in labels.pairs().items()})
    assert np.array_equal(labels.table, again.table)
    assert labels.describe() == again.describe() == "0 -> background, 1-3 -> grass, other -> ignored"


def coloured_root(root, write):
    make_root(root, count=3)
    for number in range(3):
        write(root / f"masks/cat_{number}.png", number)
    return root


def as_colours(path, _number):
    Image.fromarray(COLOURS[MASK]).save(path)


def as_palette(path, number):
    order = np.roll([0, 1, 2], number)  # each file has indices of its own
    indexed(path, order[MASK], COLOURS[np.argsort(order)].tolist())


@pytest.mark.parametrize("write", [as_colours, as_palette])
def test_colours_are_mapped_whatever_the_order_of_a_palette(tmp_path, write):
    source = open_folder(coloured_root(tmp_path, write), class_map=BY_COLOUR, **ALL)
    source.verify()
    assert len(source) == 3
    assert all(np.array_equal(source[index].mask, MASK) for index in range(3))
    assert all(np.array_equal(source.mask(index), MASK) for index in range(3))


@pytest.mark.parametrize("write", [as_colours, as_palette])
def test_the_colours_are_listed_with_the_map_to_fill_in(tmp_path, write):
    message = problem(coloured_root(tmp_path, write), **ALL)
    assert "\n" not in message
    assert "(0 background, 1 grass, 2 car, or ignore)" in message
    assert "'data.class_map={0-0-0: ?, 0-128-0: ?, 128-0-0: ?}'" in message
    written = re.search(r"class_map=({.*})'", message)[1]
    for label in (0, 1, 2):
        written = written.replace("?", str(label), 1)
    filled = dict(re.findall(r"([\d-]+): (\d)", written))
    source = open_folder(tmp_path, class_map={key: int(label) for key, label in filled.items()}, **ALL)
    assert np.array_equal(source[0].mask, MASK)


def test_labels_in_the_red_channel_alone_are_listed_as_colours(tmp_path):
    def write(path, _number):
        Image.fromarray(np.dstack([MASK, MASK * 0, MASK * 0])).save(path)

    assert "{0-0-0: ?, 1-0-0: ?, 2-0-0: ?}" in problem(coloured_root(tmp_path, write), **ALL)


def test_a_colour_without_a_label_is_named(tmp_path):
    class_map = {"0-0-0": 0, "0-128-0": 1, "9-9-9": 2}
    message = problem(coloured_root(tmp_path, as_colours), class_map=class_map, **ALL)
    assert "mask holds 0-0-0, 0-128-0 and 128-0-0" in message
    assert "'data.class_map={0-0-0: 0, 0-128-0: 1, 128-0-0: ?}'" in message


def test_the_colours_of_one_palette_are_logged_beside_the_names(tmp_path, caplog):
    caplog.set_level("INFO")

    def write(path, _number):
        indexed(path, MASK, COLOURS[::-1].tolist())

    open_folder(coloured_root(tmp_path, write), **ALL).verify()
    assert "palettes of the masks: background 128-0-0, grass 0-128-0, car 0-0-0; if one is not that" in caplog.text


def test_of_one_soft_mask_among_hard_ones_the_soft_one_is_named(tmp_path):
    make_root(tmp_path, (0, 255), count=4)
    Image.fromarray(np.resize(np.arange(256, dtype=np.uint8), SIZE)).save(tmp_path / "masks/cat_2.png")
    message = problem(tmp_path, val_fraction=0.0)
    assert message.startswith(f"{tmp_path}/masks/cat_2.png: mask holds 0, 1,")
    source = open_folder(tmp_path, val_fraction=0.0, class_map={"0-127": 0, "128-255": 1})
    source.verify()
    assert source[2].mask.ravel()[126:130].tolist() == [0, 0, 1, 1]


def test_ignored_values_come_after_the_map():
    assert translated({"0-255": 1}, [3, 255], ignore=[255]) == [1, IGNORE_INDEX]


@pytest.mark.parametrize("class_map", [{8: 1, "0-127": 0, "100-110": 1}, {"0-127": 0, "100-110": 1, 8: 1}])
def test_a_value_or_a_range_within_a_range_has_its_own_label_in_any_order(class_map):
    labels = LabelMap(["background", "cat"], class_map=class_map)
    assert labels(np.uint8([[0, 8, 99, 100, 110, 111, 127]])).tolist() == [[0, 1, 0, 1, 1, 0, 0]]


@pytest.mark.parametrize("class_map", [{8: 1, "0-127": 0}, {"0-127": 0, 8: 1}, {"0-127": 0}])
def test_a_value_that_is_ignored_is_so_whatever_the_map_says(class_map):
    labels = LabelMap(["background", "cat"], class_map=class_map, ignore=[8])
    assert labels(np.uint8([[0, 8]])).tolist() == [[0, 255]]


def test_ranges_that_cross_are_refused():
    with pytest.raises(ConfigError, match=r"0-127 and 100-255 share values, expected ranges apart"):
        LabelMap(["background", "cat"], class_map={"0-127": 0, "100-255": 1})


BY_NAME = {"car": "128-0-0", "background": [0, 0, 0], "grass": [0, 128, 0]}


@pytest.mark.parametrize("alpha", [None, 255, 7])
def test_colours_by_the_names_of_classes_are_a_class_map(tmp_path, alpha):
    root = make_root(tmp_path)
    colours = COLOURS[MASK] if alpha is None else np.dstack([COLOURS[MASK], np.full(SIZE, alpha, np.uint8)])
    for file in (root / "masks").iterdir():
        Image.fromarray(colours).save(file)
    source = open_folder(root, colors=BY_NAME, **ALL)
    source.verify()
    assert np.array_equal(source[0].mask, MASK)
    assert source.fingerprint() == open_folder(root, class_map=BY_COLOUR, **ALL).fingerprint()


def test_alpha_that_tells_pixels_of_one_colour_apart_is_refused(tmp_path):
    root = make_root(tmp_path)
    colours = np.dstack([COLOURS[MASK], np.where(MASK == 0, 0, 255).astype(np.uint8)])
    for file in (root / "masks").iterdir():
        Image.fromarray(colours).save(file)
    open_folder(root, colors=BY_NAME, **ALL).verify()  # each colour has one alpha: nothing is lost
    colours[0, 1, 3] = 77
    Image.fromarray(colours).save(root / "masks/cat_2.png")
    line = problem(root, colors=BY_NAME, **ALL)
    assert "cat_2.png: the mask holds 0-128-0 with several values of alpha, expected one for each colour" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_map": {0: 0}}, r"data\.colors: .*, expected no data\.class_map beside it"),
        ({"colors": {"car": [1, 2]}}, r"data\.colors\.car: \[1, 2\], expected red, green and blue"),
        ({"colors": {"car": [0, 0, 256]}}, r"data\.colors\.car: .*expected red, green and blue"),
        ({"colors": {"car": "0-0-1", "grass": [0, 0, 1]}}, r"data\.colors: car and grass are both 0-0-1"),
        ({"colors": {"cra": [0, 0, 1]}}, r"did you mean 'car'"),
    ],
)
def test_colours_by_name_that_cannot_be_are_refused(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        open_folder(make_root(tmp_path), **{"colors": BY_NAME, **ALL, **options})


@pytest.mark.parametrize(
    ("class_map", "values"),
    [
        (None, (0, 1, 2)),
        ({0: 0, 128: "cat", 255: "dog", 64: "cat"}, (0, 128, 255)),  # the first of two
        ({64: "cat", 128: "cat", 0: 0, 255: 2}, (0, 64, 255)),
        ({"0-127": 0, 0: "cat", "128-255": "dog"}, (1, 0, 128)),  # within a range, a value of its own
        ({3: "cat", 0: "dog", "other": "background"}, (1, 3, 0)),  # the lowest that is not named
        ({7: 1, 8: 2}, (0, 7, 8)),  # no value stands for background: the lowest that stands for nothing
        ({0: "cat", "other": "ignore"}, (1, 0, 2)),  # or else that is ignored
        ({"0-0-0": 0, "128-0-64": "cat", "0-64-0": "dog"}, ((0, 0, 0), (128, 0, 64), (0, 64, 0))),
    ],
)
def test_the_inverse_of_a_class_map_is_a_value_for_each_label(class_map, values):
    labels = LabelMap(["background", "cat", "dog"], class_map=class_map)
    assert labels.values() == values
    known = [value for value in values if labels.label_of(value if isinstance(value, int) else pack(value)) in range(3)]
    packed = [value if isinstance(value, int) else pack(value) for value in known]
    assert [labels.label_of(value) for value in packed] == [values.index(value) for value in known]


def test_the_inverse_never_gives_a_value_that_is_ignored_where_others_are_free():
    assert LabelMap(["background", "cat"], ignore=[255], class_map={0: 0, 255: "cat", 1: "cat"}).values() == (0, 1)
