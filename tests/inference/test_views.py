"""Views for test-time augmentation: turned back to where they came from, scaled without a change of meaning."""

import pytest
import torch
from torch import nn

from segtrain.errors import ConfigError
from segtrain.inference import TTA, Tiles, Whole
from segtrain.inference.averaging import Ensemble
from segtrain.inference.network import Network
from segtrain.inference.views import Views, scaled
from segtrain.models import Normalize, create_model
from segtrain.runtime.device import Runtime
from segtrain.task import make_task

RUNTIME = Runtime(torch.device("cpu"), "fp32")
TASK = make_task("multiclass", ["a", "b", "c"])


class Pointwise(nn.Module):
    """A model whose logits are its normalised channels; it remembers what it saw."""

    def __init__(self):
        super().__init__()
        self.normalize = Normalize([0.5] * 3, [0.5] * 3)
        self.seen = []

    def forward(self, images):
        self.seen.append(images)
        return 4 * images


def pixels(dtype=torch.uint8):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, 12, 16), generator=generator).to(dtype)


@pytest.mark.parametrize("flips", [["horizontal"], ["vertical", "both"], ["horizontal", "vertical", "both"]])
def test_flips_are_turned_back(flips):
    model = Pointwise()
    found = Views(Network(model, RUNTIME), TASK, flips=flips, scales=[1.0])(pixels()).logits
    assert len(model.seen) == 1 + len(flips)
    assert len({image.numpy().tobytes() for image in model.seen}) == 1 + len(flips)
    # of a model that looks at one pixel, all views say the same
    torch.testing.assert_close(found.softmax(1), (4 * model.seen[0]).softmax(1))


def test_a_model_that_prefers_a_side_is_averaged():
    class Left(Pointwise):
        def forward(self, images):
            logits = torch.zeros(len(images), 3, *images.shape[-2:])
            logits[:, 0, :, : images.shape[-1] // 2] = 3.0
            return logits

    found = Views(Network(Left(), RUNTIME), TASK, flips=["horizontal"], scales=[])(pixels()).logits
    torch.testing.assert_close(found, found.flip(-1))
    sure, even = torch.tensor([3.0, 0, 0]).softmax(0)[0], 1 / 3
    assert found.softmax(1)[0, 0, 0, 0].item() == pytest.approx((sure.item() + even) / 2)


def test_scales_see_another_size_and_answer_at_the_own_one():
    model = Pointwise()
    found = Views(Network(model, RUNTIME), TASK, flips=["vertical"], scales=[0.5, 1.0, 1.5])(pixels()).logits
    assert [tuple(image.shape[-2:]) for image in model.seen] == [(12, 16)] * 2 + [(6, 8)] * 2 + [(18, 24)] * 2
    assert found.shape == (2, 3, 12, 16)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_scaled_pixels_keep_their_type_and_range(dtype):
    flat = torch.full((1, 3, 8, 8), 255, dtype=torch.float32).to(dtype)
    found = scaled(flat, 1.5)
    assert (found.dtype, found.shape) == (dtype, (1, 3, 12, 12))
    assert (found.float() == 255).all()


def test_methods_stand_around_a_network():
    network = Network(Pointwise(), RUNTIME)
    assert Whole().around(network, TASK, (16, 16)) is network
    assert len(TTA(flips=["both"]).around(network, TASK, (16, 16)).views) == 2
    tiles = Tiles(each=TTA(scales=[2.0], flips=[])).around(network, TASK, (12, 2000))
    assert (tiles.size, tiles.batch_size) == ((1536, 2000), 1)
    assert isinstance(tiles.inner, Views)
    assert Tiles(size=512).around(network, TASK, (12, 16)).batch_size == 9
    assert Tiles(size=32).around(network, TASK, (12, 16)).size == (32, 32)
    assert (Whole.own_size, TTA.own_size, Tiles.own_size) == (False, False, True)
    with pytest.raises(ConfigError, match="no view beside the image itself"):
        TTA(flips=[], scales=[1.0]).around(network, TASK, (16, 16))


@pytest.mark.parametrize(("encoder", "size"), [("test_vit", 64), ("test_resnet", 1536)])
def test_tiles_have_the_training_size_where_positions_were_learnt_for_it(encoder, size):
    network = Network(create_model("fpn", encoder), RUNTIME)
    assert Tiles().around(network, TASK, (64, 64)).size == (size, size)
    both = Ensemble([Network(Pointwise(), RUNTIME), network], TASK)
    assert Tiles().around(both, TASK, (64, 64)).size == (size, size)
    assert Views(both, TASK, flips=["vertical"], scales=[1.0]).is_bound_to_size == (size == 64)
