"""The encoders that SMP has of its own: ours, with its weights, compute the same maps."""

import copy
import gc
import pickle

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from segmentation_models_pytorch.encoders import encoders as their_encoders
from torch import nn

from segtrain.catalog import index
from segtrain.catalog.names import resolve
from segtrain.errors import ConfigError
from segtrain.models.encoders import TimmEncoder
from segtrain.models.encoders.chain import cut, measure
from segtrain.models.encoders.outline import build_meta
from segtrain.models.smp.natives import NATIVES
from segtrain.models.smp.recipe import read_recipe
from segtrain.models.smp.weights import translate

QUICK = [
    "resnet18",
    "timm-skresnet18",
    "se_resnet50",
    "densenet121",
    "dpn68",
    "dpn68b",
    "vgg11_bn",
    "mobilenet_v2",
    "mobileone_s0",
    "efficientnet-b0",
    "efficientnet-b1",
    "timm-efficientnet-b0",
    "timm-tf_efficientnet_lite0",
    "xception",
    "mit_b0",
]
DILATED = [
    "resnet18",
    "timm-skresnet18",
    "se_resnet50",
    "dpn68",
    "mobilenet_v2",
    "mobileone_s0",
    "efficientnet-b0",
    "efficientnet-b1",
    "timm-efficientnet-b0",
    "timm-tf_efficientnet_lite0",
]
NOT_DILATED = ("vgg", "densenet", "inception", "xception", "mit_b")
"""They refuse it: what is between the maps of these is pooling, or attention."""
REFUSED = [name for name in their_encoders if name.startswith(NOT_DILATED[:-1])]
THEIRS_DILATED = [name for name in their_encoders if not name.startswith(NOT_DILATED)]
NAMES = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in their_encoders if name not in QUICK)]


@pytest.fixture
def in_double():
    """Models are made in float64: turned into it, the largest would need memory for both (21 GiB, not 13)."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
    gc.collect()  # models refer to themselves: without it those of several tests are in memory at once


def build_pair(name, *, depth=5, output_stride=32, in_channels=3):
    torch.manual_seed(0)
    theirs = smp.encoders.get_encoder(
        name, in_channels=in_channels, depth=depth, weights=None, output_stride=output_stride
    )
    for key, buffer in theirs.named_buffers():
        if key.endswith("running_mean"):
            buffer.normal_(std=0.1)
        elif key.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    made_with = {"encoder_name": name, "encoder_depth": depth, "encoder_output_stride": output_stride}
    recipe = read_recipe("Unet", made_with)
    ours = TimmEncoder(recipe.encoder, weights=None, in_channels=in_channels, **recipe.encoder_options)
    state = {f"encoder.{key}": tensor for key, tensor in theirs.state_dict().items()}
    model = nn.ModuleDict({"encoder": ours})
    model.load_state_dict(translate(state, model, name).state)
    return ours.eval(), theirs.eval()


def assert_same_maps(ours, theirs, in_channels=3):
    image = torch.randn(1, in_channels, 64, 96, dtype=next(ours.parameters()).dtype)
    with torch.no_grad():
        wanted = [m for m in theirs(image)[1:] if m.shape[1]]  # which has empty maps for strides that it lacks
        got = ours(image)
    assert torch.equal(got[0], image)
    assert tuple(m.shape[1] for m in got) == ours.out_channels
    assert len(got) == len(wanted) + 1
    for mine, other in zip(got[1:], wanted, strict=True):
        assert mine.shape == other.shape
        assert (mine - other).abs().max() <= 1e-5 * other.abs().max()


def test_every_encoder_of_smp_is_a_name_of_ours():
    assert len(their_encoders) == 76
    assert [name for name in their_encoders if not timm.is_model(resolve(name).partition(".")[0])] == []
    assert set(their_encoders) - set(NATIVES) == {f"mit_b{i}" for i in range(6)}


@pytest.mark.parametrize("name", NAMES)
def test_the_maps_equal_those_of_smp(name):
    ours, theirs = build_pair(name)
    if name == "timm-efficientnet-l2":  # whose 500 layers, with random weights, amplify rounding to 1e-4 in float32
        ours, theirs = ours.double(), theirs.double()
    assert_same_maps(ours, theirs)


DILATED_NAMES = [name if name in DILATED else pytest.param(name, marks=pytest.mark.slow) for name in THEIRS_DILATED]


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("name", DILATED_NAMES)
def test_dilated_maps_equal_those_of_smp(name, output_stride):
    ours, theirs = build_pair(name, output_stride=output_stride)
    assert ours.strides[-1] == output_stride
    assert next(ours.parameters()).dtype == torch.float64
    assert_same_maps(ours, theirs)


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("name", DILATED_NAMES)
def test_every_encoder_that_smp_dilates_is_dilated_under_its_name(name, output_stride):
    with torch.device("meta"):
        assert TimmEncoder(name, weights=None, output_stride=output_stride).strides[-1] == output_stride


def test_the_table_says_that_every_encoder_which_smp_dilates_can_be():
    assert len(THEIRS_DILATED) == 55
    assert [name for name in THEIRS_DILATED if index.lookup(name).dilates != 8] == []


@pytest.mark.parametrize(
    "name", [name for name in their_encoders if name.startswith(NOT_DILATED) and "mit" not in name]
)
def test_what_smp_refuses_to_dilate_is_refused(name):
    with pytest.raises(ValueError, match="not support dilated mode"):
        smp.encoders.get_encoder(name, weights=None, output_stride=16)
    with torch.device("meta"), pytest.raises(ConfigError, match=f"{name} cannot be dilated to 16; set encoder.outp"):
        TimmEncoder(name, weights=None, output_stride=16)


@pytest.mark.parametrize("output_stride", [8, 16])
def test_stages_that_timm_cannot_dilate_equal_those_of_smp_under_the_name_alone(output_stride):
    torch.manual_seed(0)
    theirs = smp.encoders.get_encoder("se_resnet50", weights=None, output_stride=output_stride).double().eval()
    ours = TimmEncoder("se_resnet50", weights=None, output_stride=output_stride).double().eval()
    ours.model.load_state_dict(theirs.state_dict())
    assert_same_maps(ours, theirs)


def test_two_stages_can_be_dilated():
    ours, theirs = build_pair("efficientnet-b0", output_stride=8)
    assert ours.strides == (1, 2, 4, 8, 8, 8)
    assert_same_maps(ours, theirs)


@pytest.mark.parametrize("name", ["efficientnet-b0", "mobilenet_v2", "densenet121"])
def test_the_maps_of_a_shallow_encoder_equal_those_of_smp(name):
    assert_same_maps(*build_pair(name, depth=3))


@pytest.mark.parametrize(("name", "in_channels"), [("mobilenet_v2", 1), ("efficientnet-b0", 4), ("resnet18", 13)])
def test_any_number_of_channels_is_taken(name, in_channels):
    assert_same_maps(*build_pair(name, in_channels=in_channels), in_channels)


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_gradients_equal_those_of_smp(name):
    ours, theirs = build_pair(name)
    image = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    norms = []
    for encoder in (ours, theirs):
        encoder.double().train()
        sum(m.square().mean() for m in encoder(image)[1:]).backward()
        norms.append(sorted(float(p.grad.norm()) for p in encoder.parameters() if p.grad is not None))
    torch.testing.assert_close(*norms, rtol=1e-6, atol=1e-9)
    assert len(norms[0]) == len(list(ours.parameters()))


def test_pooling_cannot_be_dilated():
    taps = list(NATIVES["vgg11_bn"].taps)
    with pytest.raises(ConfigError, match=r"cannot be dilated to 16, .*no pooling between them; set encoder.output_st"):
        TimmEncoder("vgg11_bn", weights=None, taps=taps, output_stride=16)


@pytest.mark.parametrize(
    ("name", "taps", "message"),
    [
        (
            "resnet18",
            ["act1", "layer9"],
            r"the encoder has no module \['layer9'\], expected names below conv1, bn1, act1",
        ),
        ("resnet18", [], r"the encoder has no module \[\]"),
        ("resnet18", ["layer2", "layer1"], "not one after another, expected the order of"),
        ("vit_tiny_patch16_224", ["blocks.3"], "of this encoder are not run one after another; set encoder.taps=null"),
    ],
)
def test_taps_that_are_no_chain_are_explained(name, taps, message):
    with pytest.raises(ConfigError, match=message):
        cut(timm.create_model(name, num_classes=0, **({"dynamic_img_size": True} if "vit" in name else {})), taps)


def test_a_chain_is_cut_behind_its_last_tap_and_keeps_the_names_of_its_weights():
    whole = timm.create_model("efficientnet_lite0", num_classes=0)
    chain = cut(whole, ["bn1", "blocks.1", "blocks.2.0"])
    assert measure(chain, 3) == ((32, 24, 40), (2, 4, 8))
    assert "blocks.2.1.conv_pw.weight" in whole.state_dict()
    assert set(chain.state_dict()) < set(whole.state_dict())
    assert not any(key.startswith(("blocks.2.1.", "blocks.3.")) for key in chain.state_dict())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_tapped_encoder_can_be_copied(copied):
    encoder = TimmEncoder("mobilenetv2_100", weights=None, taps=list(NATIVES["mobilenet_v2"].taps)).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for mine, other in zip(encoder(image), copied(encoder)(image), strict=True):
            assert torch.equal(mine, other)


@pytest.mark.skipif(torch.__version__ < "2.7", reason="torch 2.6 finds no graph for all sizes")
def test_a_tapped_encoder_exports_with_any_height_and_width():
    encoder = TimmEncoder("resnet18", weights=None, taps=list(NATIVES["resnet18"].taps)).eval()
    sides = {2: 32 * torch.export.Dim("rows", min=2, max=64), 3: 32 * torch.export.Dim("columns", min=2, max=64)}
    exported = torch.export.export(encoder, (torch.randn(1, 3, 64, 96),), dynamic_shapes=(sides,)).module()
    image = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        for mine, other in zip(encoder(image), exported(image), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["inception_v4", "inception_resnet_v2", "legacy_xception", "nasnetalarge", "pnasnet5large"]
)
def test_networks_without_padding_get_exact_strides(name):
    maps = build_meta(name)(torch.empty(1, 3, 96, 160, device="meta"))
    assert [tuple(m.shape[-2:]) for m in maps] == [(96 // stride, 160 // stride) for stride in (2, 4, 8, 16, 32)]
