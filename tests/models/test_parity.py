"""Ours and segmentation_models_pytorch's, with the same weights, compute the same: every architecture, every family."""

import pytest
import segmentation_models_pytorch as smp
import torch

from segtrain.models import create_model
from segtrain.models.smp.recipe import read_recipe
from segtrain.models.smp.weights import translate
from tests.models.parity import assert_close

ARCHS = {
    "deeplabv3": smp.DeepLabV3,
    "deeplabv3plus": smp.DeepLabV3Plus,
    "dpt": smp.DPT,
    "fpn": smp.FPN,
    "linknet": smp.Linknet,
    "manet": smp.MAnet,
    "pan": smp.PAN,
    "pspnet": smp.PSPNet,
    "segformer": smp.Segformer,
    "unet": smp.Unet,
    "unetplusplus": smp.UnetPlusPlus,
    "upernet": smp.UPerNet,
}
FAMILIES = {
    "resnet34": "any",
    "efficientnet-b0": "any",
    "mobilenet_v2": "any",
    "se_resnext50_32x4d": "any",
    "tu-tf_efficientnet_lite0": "any",
    "tu-regnety_002": "any",
    "tu-resnest14d": "any",
    "tu-mobilenetv3_small_100": "any",
    "tu-convnext_atto": "any with skips of stride 4",
    "densenet121": "undilated",
    "vgg16_bn": "undilated",
    "mit_b1": "undilated with skips of stride 4",
    "tu-swin_tiny_patch4_window7_224": "undilated with skips of stride 4",
}
"""Encoders, and what is asked of them there: dilation, or skips of stride 2, which some have not."""
TRANSFORMERS = [
    "vit_tiny_patch16_224",
    "vit_small_patch32_224",
    "vit_small_patch16_dinov3",
    "deit_tiny_distilled_patch16_224",
    "vit_base_patch32_224",
    "vit_wee_patch16_reg1_gap_256",
    "deit3_small_patch16_224",
    "vit_tiny_r_s16_p8_224",
]
DILATED = {"deeplabv3", "deeplabv3plus", "pan"}
SKIPS_OF_STRIDE_2 = {"linknet", "unetplusplus"}
CASES = [
    (arch, encoder)
    for arch in sorted({*ARCHS} - {"dpt"})
    for encoder, kind in FAMILIES.items()
    if not ("undilated" in kind and arch in DILATED) and not ("stride 4" in kind and arch in SKIPS_OF_STRIDE_2)
]


LARGE = {"densenet121", "se_resnext50_32x4d", "tu-swin_tiny_patch4_window7_224", "vgg16_bn"}
"""By default with one architecture alone: weights of encoders are translated alike for all."""
QUICK = [pair for pair in CASES if pair[1] not in LARGE or pair[0] == "upernet"]
SLOW = [pytest.param(*pair, marks=pytest.mark.slow) for pair in CASES if pair not in QUICK]


def twins(arch, encoder, **options):
    torch.manual_seed(0)
    theirs = ARCHS[arch](encoder, encoder_weights=None, classes=3, **options).eval()
    for name, buffer in theirs.named_buffers():  # statistics that differ from their initial values
        if name.endswith("running_mean"):
            buffer.normal_(std=0.1)
    recipe = read_recipe(arch, {"encoder_name": encoder, **options})
    ours = create_model(
        recipe.arch, recipe.encoder, num_classes=3, encoder_options=recipe.encoder_options, **recipe.arch_options
    )
    ours.load_state_dict(translate(theirs.state_dict(), ours, recipe.their_encoder).state)
    return ours.eval(), theirs


def test_every_architecture_meets_eight_families():
    assert len(ARCHS) >= 12
    counts = {arch: sum(case[0] == arch for case in CASES) for arch in ARCHS if arch != "dpt"}
    assert min(counts.values()) >= 8
    assert {encoder for _, encoder in QUICK} == set(FAMILIES)
    assert len(TRANSFORMERS) == 8


@pytest.mark.parametrize(("arch", "encoder"), [*QUICK, *SLOW])
def test_logits_equal_those_of_smp(arch, encoder):
    sizes = {"swin": (224, 224), "pan": (128, 128)}  # theirs takes no other, and none smaller
    size = next((size for word, size in sizes.items() if word in (arch, encoder[3:7])), (64, 96))
    ours, theirs = twins(arch, encoder)
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        assert_close(ours(image), theirs(image))


@pytest.mark.parametrize("encoder", TRANSFORMERS)
def test_dpt_on_tokens_equals_that_of_smp(encoder):
    ours, theirs = twins("dpt", f"tu-{encoder}", dynamic_img_size=True)
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert_close(ours(image), theirs(image))
