"""Matrices that resize as torch does, with sizes that are known late."""

import pytest
import torch
import torch.nn.functional as F

from segtrain.models import resampling


def scalar(value):
    return torch.tensor(float(value), dtype=torch.float64)


@pytest.mark.parametrize(
    ("source", "size"), [((300, 200), (64, 64)), ((33, 50), (64, 64)), ((500, 31), (64, 48)), ((64, 48), (64, 48))]
)
def test_antialiased_matrices_shrink_and_widen_as_torch_does(source, size):
    image = torch.randn(2, 3, *source, generator=torch.Generator().manual_seed(0))
    rows, columns = (resampling.antialiased(own, scalar(to), to) for own, to in zip(source, size, strict=True))
    wanted = F.interpolate(image, size, mode="bilinear", antialias=True)
    torch.testing.assert_close(resampling.apply(rows, columns, image), wanted, rtol=0, atol=1e-5)


def test_pixels_of_uint8_are_rounded_as_torch_rounds_them():
    image = torch.randint(0, 256, (1, 3, 375, 500), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    rows, columns = (resampling.antialiased(own, scalar(256), 256) for own in (375, 500))
    found = resampling.apply(rows, columns, image.float(), rounded=True)
    wanted = F.interpolate(
        image.contiguous(memory_format=torch.channels_last), (256, 256), mode="bilinear", antialias=True
    )
    difference = (found - wanted.float()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 0.005  # torch weighs with integers of 16 bits


def test_what_lies_behind_the_content_is_padding():
    matrix = resampling.antialiased(100, scalar(40), 64)
    torch.testing.assert_close(matrix[:40].sum(1), torch.ones(40))
    assert not matrix[40:].any()


def test_bilinear_matrices_read_the_content_alone_as_torch_does_of_a_crop():
    logits = torch.randn(1, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    rows, columns = resampling.bilinear(scalar(40), 64, 91), resampling.bilinear(scalar(64), 64, 30)
    wanted = F.interpolate(logits[..., :40, :], (91, 30), mode="bilinear")
    torch.testing.assert_close(resampling.apply(rows, columns, logits), wanted, rtol=0, atol=1e-4)
