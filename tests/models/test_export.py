"""`torch.export` at one size gives a graph for all sizes, which computes what the model does."""

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from segtrain.models import create_model, decoders

pytestmark = pytest.mark.skipif(torch.__version__ < "2.7", reason="torch 2.6 finds no graph for all sizes")

ARCHS = sorted(name.lower() for name in decoders.__all__)
OTHER_SIZES = [(128, 96), (200, 150), (97, 224), (65, 49)]  # only the first is a multiple of any stride


NAMED = {2: Dim("height", min=49, max=8192), 3: Dim("width", min=49, max=8192)}


def exported(model: nn.Module, sides=NAMED) -> nn.Module:
    return export(model, (torch.zeros(1, 3, 64, 64, dtype=torch.float64),), dynamic_shapes=(sides,)).module()


def compare(model, graph, size):
    image = torch.randn(1, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(size)))
    with torch.no_grad():
        torch.testing.assert_close(graph(image), model(image), rtol=1e-6, atol=1e-7)


def make(arch, **options):
    torch.manual_seed(0)
    return create_model(arch, "test_vit" if arch == "dpt" else "resnet18", num_classes=2, **options).double().eval()


FAST = ("deeplabv3", "fpn", "unet")  # one that pools, one with a pyramid, one with skips


@pytest.mark.parametrize(
    "arch", [arch if arch in FAST else pytest.param(arch, marks=pytest.mark.slow) for arch in ARCHS]
)
def test_a_graph_of_free_height_and_width_equals_the_model_at_every_size(arch):
    model = make(arch)
    graph = exported(model)
    for size in [(64, 64), *OTHER_SIZES]:
        compare(model, graph, size)


def test_every_architecture_is_exported():
    assert len(ARCHS) >= 12


@pytest.mark.slow
@pytest.mark.parametrize(
    "arch",
    ["unet", "deeplabv3plus", "pan"],  # the last two are dilated
)
def test_sizes_that_are_only_said_to_vary_stay_free(arch):
    model = make(arch)
    graph = exported(model, {2: Dim.AUTO, 3: Dim.AUTO})
    for size in OTHER_SIZES:
        compare(model, graph, size)


@pytest.mark.parametrize("encoder", ["resnet26d", pytest.param("seresnext26d_32x4d", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("sides", "sizes"),
    [
        ({2: Dim.AUTO, 3: Dim.AUTO}, OTHER_SIZES),
        pytest.param(
            {2: 32 * Dim("rows", min=2, max=256), 3: 32 * Dim("columns", min=2, max=256)},
            [(128, 96), (64, 320)],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_encoders_whose_shortcuts_pool_are_exported_with_sides_that_vary_or_multiples(encoder, sides, sizes):
    """Torch compares sizes where a pooling rounds up, and cannot prove it for a side that is only named."""
    torch.manual_seed(0)
    model = create_model("fpn", encoder, weights=None, num_classes=2).double().eval()
    graph = exported(model, sides)
    for size in [(64, 64), *sizes]:
        compare(model, graph, size)


def test_a_classification_head_is_exported_with_the_model():
    model = make("fpn", classification={"num_classes": 4})
    compare(model, exported(model), (200, 150))
