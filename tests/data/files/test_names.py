"""Images and masks whose names differ: the message says in what."""

import pytest

from segtrain.data.files.pairs import name_difference


@pytest.mark.parametrize(
    ("image", "mask", "said"),
    [
        ("img{}", "img{}_mask", "names of masks are those of their counterparts with '_mask' added"),
        ("a/img{}", "a/mask_img{}", "names of masks are those of their counterparts with 'mask_' added"),
        ("img{}_leftImg8bit", "img{}", "names of images are those of their counterparts with '_leftImg8bit' added"),
        ("img{}", "img{}.jpg", "names of one kind hold the suffix of the other"),
        ("IMG_{}", "img_{}", "names differ in capital letters"),
        ("{:04d}", "{}", "names differ in leading zeros"),
        ("photo{}", "label-of-{}", None),
    ],
)
def test_the_difference_of_names_is_said(image, mask, said):
    assert name_difference([image.format(i) for i in range(6)], [mask.format(i) for i in range(6)]) == said


def test_the_remedy_is_in_the_refusal(tmp_path, refused):
    for folder, name in (("images", "IMG_{}.png"), ("masks", "img_{}.png")):
        (tmp_path / folder).mkdir()
        for number in range(6):
            (tmp_path / folder / name.format(number)).write_bytes(b"not looked at")
    (line,) = refused("data=folder", f"data.root={tmp_path}", "data.classes=[a,b]", "encoder.weights=null")
    assert line.endswith("names differ in capital letters: rename one of the two kinds")
