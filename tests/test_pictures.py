import numpy as np

from segtrain.pictures import legend, stack_with_legend

NAMES = ("background", "cat", "dog")
COLOURS = ((24, 24, 32), (255, 64, 64), (107, 136, 217))


def held(picture):
    return {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}


def test_a_legend_holds_every_colour_in_a_line_where_there_is_room():
    picture = legend(NAMES, COLOURS, 400)
    assert picture.shape == (14, 400, 3)
    assert held(picture) >= set(COLOURS)


def test_a_narrow_legend_takes_a_line_for_each_name_and_cuts_none_off():
    picture = legend(NAMES, COLOURS, 20)
    assert picture.shape[0] == 3 * 14
    assert picture.shape[1] > 20
    assert [held(picture[line * 14 :][:14]) >= {colour} for line, colour in enumerate(COLOURS)] == [True] * 3


def test_the_legend_stands_over_the_pictures():
    row = np.zeros((10, 300, 3), np.uint8)
    picture = stack_with_legend([row, row], NAMES, COLOURS)
    assert picture.shape == (14 + 4 + 2 * (10 + 4), 300, 3)
    assert (picture[18:28] == 0).all()
