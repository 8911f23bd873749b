"""Sixty combinations of architecture and encoder, drawn over all families, through the command line."""

import pytest

from segtrain.catalog import index
from segtrain.config.groups import Groups
from tests.processes import run

ARCHS = Groups.find(None).choices("arch")
DILATING = ["resnet18", "efficientnet-b0", "mobilenetv3_small_100", "convnext_atto", "regnety_002", "rexnet_100"]
PYRAMIDS = [
    *DILATING,
    "densenet121",
    "vgg11_bn",
    "mit_b0",
    "se_resnext50_32x4d",
    "dpn68",
    "inception_v4",
    "mobileone_s0",
    "swin_tiny_patch4_window7_224",
    "pvt_v2_b0",
    "maxvit_pico_rw_256",
    "coatnet_nano_rw_224",
    "hrnet_w18_small",
    "fastvit_t8",
    "mobilevitv2_050",
    "xcit_nano_12_p16_224",
    "nfnet_l0",
    "dla34",
    "levit_128s",
    "edgenext_xx_small",
]
PLAIN = [
    "vit_tiny_patch16_224",
    "vit_small_patch16_dinov3",
    "vit_small_patch14_dinov2",
    "samvit_base_patch16_224",
    "eva02_tiny_patch14_224",
]


def draw():
    """Five encoders for each architecture, turning through the families so that each is met."""
    dilated = {"deeplabv3", "deeplabv3plus", "pan"}
    choices = {"dpt": PLAIN, "dilated": [*DILATING, *PLAIN], "any": [*PYRAMIDS, *PLAIN]}
    met = dict.fromkeys(choices, 0)
    for arch in ARCHS:
        kind = "dpt" if arch == "dpt" else "dilated" if arch in dilated else "any"
        encoders = choices[kind]
        for _ in range(5):
            yield arch, encoders[met[kind] % len(encoders)]
            met[kind] += 1


PAIRS = list(draw())


def test_there_are_sixty_over_all_families():
    assert len(set(PAIRS)) >= 60
    assert {encoder for _, encoder in PAIRS} == {*PYRAMIDS, *PLAIN}
    assert [encoder for _, encoder in PAIRS if index.lookup(encoder) is None] == []


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "encoder"), PAIRS)
def test_two_steps_on_shapes(arch, encoder, tmp_path):
    words = ["data=shapes", "trainer.max_steps=2", "encoder.weights=null", "logger=none"]
    small = ["data.size=64", "data.train=8", "data.val=4", "data.test=4", "data.batch_size=2", "data.image_size=64"]
    run(
        f"arch={arch}",
        f"encoder={encoder}",
        *words,
        *small,
        f"hydra.run.dir={tmp_path}/run",
        output=tmp_path / "printed",
    )
    assert (tmp_path / "run" / "checkpoints" / "best.pt").is_file()
