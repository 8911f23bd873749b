"""Choices go by the names that papers, the hub and other libraries write."""

import pytest

from segtrain.catalog.names import resolve
from segtrain.cli import main
from segtrain.config.compose import compose, overlay
from segtrain.config.groups import GROUPS, Groups
from segtrain.errors import ConfigError

ARCHS = {
    "deeplabv3+": "deeplabv3plus",
    "DeepLab-v3+": "deeplabv3plus",
    "DeepLabV3Plus": "deeplabv3plus",
    "DeepLabV3": "deeplabv3",
    "unet++": "unetplusplus",
    "UnetPlusPlus": "unetplusplus",
    "U-Net": "unet",
    "Unet": "unet",
    "MAnet": "manet",
    "UPerNet": "upernet",
    "SegFormer": "segformer",
}
ENCODERS = {
    "timm/resnet18.a1_in1k": "resnet18.a1_in1k",
    "hf-hub:timm/convnext_tiny.fb_in1k": "convnext_tiny.fb_in1k",
    "hf_hub:timm/resnet18.a1_in1k": "resnet18.a1_in1k",
    "ResNet-50": "resnet50",
    "MobileNet_V2": "mobilenet_v2",
    "tu-resnet18": "tu-resnet18",
}


@pytest.mark.parametrize(("word", "choice"), ARCHS.items())
def test_an_architecture_goes_by_the_name_of_its_paper_and_of_other_libraries(word, choice):
    spelled, plain = (compose("train", [f"arch={name}"]) for name in (word, choice))
    assert spelled.job == plain.job
    assert spelled.run_dir.parent == plain.run_dir.parent


@pytest.mark.parametrize(("word", "name"), ENCODERS.items())
def test_an_encoder_goes_by_its_name_on_the_hub(word, name):
    composed = compose("train", [f"encoder={word}", "data=oxford_pets"])
    assert composed.job["encoder"]["name"] == name
    assert composed.job["name"] == f"unet-{name}-oxford_pets"


def test_in_python_too_an_encoder_goes_by_its_name_on_the_hub():
    assert resolve("timm/resnet18.a1_in1k") == resolve("hf-hub:timm/resnet18.a1_in1k") == "resnet18.a1_in1k"
    assert resolve("timm/senet154") == "senet154"  # timm's own, as after tu-


@pytest.mark.parametrize(
    ("word", "key", "end"), [("optimizer=AdamW", "optimizer", "AdamW"), ("loss=CE-Dice", "loss", "Sum")]
)
def test_every_group_is_read_so(word, key, end):
    assert compose("train", [word]).job[key]["_target_"].endswith(end)


def test_a_run_that_exists_takes_such_names_too():
    job = compose("train", []).job
    assert overlay(job, ["arch=DeepLabV3+"])["arch"] == compose("train", ["arch=deeplabv3plus"]).job["arch"]


def test_every_choice_keeps_its_own_name():
    groups = Groups.find()
    pairs = [(group, choice) for group in GROUPS for choice in groups.choices(group)]
    assert len(pairs) > 40
    assert [groups.meant(group, choice) for group, choice in pairs] == [choice for _, choice in pairs]
    assert groups.meant("encoder", "timm/xyzzy") == "xyzzy"


@pytest.mark.parametrize("word", ["arch=segnet", "arch=hrnet", "arch=+"])
def test_a_name_that_no_choice_has_is_answered_with_the_choices(word):
    with pytest.raises(ConfigError, match="no such choice; choose from deeplabv3, deeplabv3plus, dpt"):
        compose("train", [word])


def test_the_zoo_shows_a_model_by_such_names(capsys):
    assert main(["zoo", "DeepLabV3+", "timm/resnet18.a1_in1k"]) == 0
    assert capsys.readouterr().out.startswith("deeplabv3plus: ")
