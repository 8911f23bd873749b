import pytest
import torch

from segtrain.models import Normalize

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize(("dtype", "full"), [(torch.uint8, 255), (torch.uint16, 65535), (torch.float32, 1)])
def test_stored_pixels_become_normalised_floats(dtype, full):
    unit = torch.rand(2, 3, 5, 7, dtype=torch.float64)
    stored = (unit * full).round().to(dtype) if full > 1 else unit.float()
    mean, std = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (MEAN, STD))
    expected = (stored.double() / full - mean) / std
    result = Normalize(MEAN, STD)(stored)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_an_image_is_normalised_alike_in_any_batch(dtype):
    batch = (torch.rand(5, 3, 37, 41) * 255).to(dtype)
    normalize = Normalize(MEAN, STD)
    assert all(torch.equal(normalize(batch)[i], normalize(batch[i : i + 1])[0]) for i in range(5))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_channels_last_stays(dtype):
    image = torch.zeros(2, 3, 8, 8).to(dtype).to(memory_format=torch.channels_last)
    assert Normalize(MEAN, STD)(image).is_contiguous(memory_format=torch.channels_last)


def test_the_image_that_was_given_is_not_changed():
    image = torch.rand(1, 3, 4, 4)
    before = image.clone()
    Normalize(MEAN, STD)(image)
    assert torch.equal(image, before)


def test_an_input_range_of_its_own_replaces_that_of_the_type():
    image = torch.full((1, 1, 1, 1), 4095, dtype=torch.int32).to(torch.uint16)
    assert Normalize([0.0], [1.0], input_range=4095)(image).item() == pytest.approx(1.0)


def test_its_config_rebuilds_it_and_nothing_enters_the_state_dict():
    normalize = Normalize(MEAN, STD, input_range=100.0)
    image = torch.rand(1, 3, 4, 4)
    assert torch.equal(Normalize(**normalize.config())(image), normalize(image))
    assert normalize.state_dict() == {}


def test_a_std_of_zero_is_refused():
    with pytest.raises(ValueError, match="positive std"):
        Normalize([0.5], [0.0])


def test_two_ends_of_a_range_become_0_and_1():
    image = torch.tensor([-1000.0, 0.0, 3000.0]).view(1, 1, 1, 3)
    normalize = Normalize([0.5], [0.25], input_range=[-1000, 3000])
    assert normalize(image).flatten().tolist() == pytest.approx([-2, -1, 2])  # 0, 0.25 and 1, less 0.5, by 0.25
    assert torch.equal(Normalize(**normalize.config())(image), normalize(image))


def test_a_range_from_0_is_the_same_as_its_end_alone():
    image = torch.rand(1, 3, 4, 4) * 4095
    assert torch.equal(
        Normalize(MEAN, STD, input_range=[0, 4095])(image), Normalize(MEAN, STD, input_range=4095)(image)
    )


def test_ends_that_descend_are_refused():
    with pytest.raises(ValueError, match="two ascending values"):
        Normalize(MEAN, STD, input_range=[255, 0])
