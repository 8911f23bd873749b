import warnings

import numpy as np

from segtrain.drawing.lettering import is_drawn, readable, spelled
from segtrain.drawing.pictures import legend
from segtrain.drawing.plots import confusion_picture


def test_the_font_has_accents_and_greek_but_no_chinese():
    assert all(map(is_drawn, "aZ09_-é߀µ$ "))
    assert not is_drawn("背")


def test_a_name_that_cannot_be_drawn_is_called_by_its_number():
    assert readable(["sky", "背景", "物b"]) == ["sky", "class 1", "class 2"]
    assert spelled("物b.png") == "?b.png"


def test_a_legend_and_a_matrix_of_such_names_look_like_those_of_numbers():
    colours = [(0, 0, 0), (255, 0, 0)]
    assert np.array_equal(legend(["背景", "dog"], colours, 200), legend(["class 0", "dog"], colours, 200))
    matrix = np.array([[5, 1], [2, 7]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = confusion_picture(matrix, ["背景", "dog"])
    assert np.array_equal(drawn, confusion_picture(matrix, ["class 0", "dog"]))
