"""A folder for a hub: opened by us and, where it has an equal model, by segmentation_models_pytorch; uploaded."""

import json

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from PIL import Image

from segtrain import create_model, load_model, save_model
from segtrain.build import hub_folder
from segtrain.cli import main
from segtrain.errors import ConfigError
from segtrain.models.smp.written import smp_config
from tests.conftest import TINY
from tests.models.families import smallest


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "unet"
    assert main([*TINY, "trainer.max_steps=2", "arch=unet", f"hydra.run.dir={folder}"]) == 0
    return folder


def test_the_folder_is_opened_by_load_model_predict_and_eval(run, here):
    assert main(["export", str(run), "format=hub_folder", f"output={here / 'hub'}"]) == 0
    ours, theirs = load_model(run).state_dict(), load_model(here / "hub").state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(here / "photo.png")
    assert main(["predict", str(here / "hub"), str(here / "photo.png"), str(here / "masks")]) == 0
    assert main(["eval", str(here / "hub"), f"output={here}", "eval.bootstrap=0"]) == 0


def test_the_card_states_classes_preprocessing_and_the_scores_of_the_run(run, here):
    assert main(["export", str(run), "format=hub_folder", f"output={here}"]) == 0
    card = (here / "README.md").read_text()
    model = load_model(run)
    for name in model.class_names:
        assert f" {name} |" in card
    assert "stretched to 32x32 (height x width)" in card
    scores = json.loads((run / "scores.json").read_text())
    assert scores
    for row in scores.values():
        assert f"{row['iou']:.4f}" in card
    assert "\n# license: of your choice" in card


def test_paths_of_this_machine_stay_here():
    job = {"data": {"root": "/home/me/photos"}, "encoder": {"weights": "/home/me/w.pt"}, "init_from": "/home/me/run"}
    assert "/home/me" not in str(hub_folder.without_places(job))
    assert hub_folder.without_places(job)["data"]["root"] == "photos"


def test_weights_and_their_description_are_one_file_too(run, here):
    assert main(["export", str(run), "format=safetensors", f"output={here}"]) == 0
    assert json.loads((here / "model.json").read_text())["class_names"] == list(load_model(run).class_names)
    assert load_model(here / "model.safetensors").class_names == load_model(run).class_names


def test_weights_that_nothing_describes_are_refused(here, refused):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, here / "model.safetensors")
    assert "expected a file that `segtrain export` wrote" in refused("eval", str(here))[0]
    (here / "model.safetensors").write_bytes(b"no tensors at all")
    assert "cannot be read" in refused("eval", str(here))[0]


ARCHS = (
    "fpn",
    "unet",
    "unetplusplus",
    "manet",
    "linknet",
    "pspnet",
    "pan",
    "deeplabv3",
    "deeplabv3plus",
    "upernet",
    "segformer",
)
FAST = ("fpn",)
SIZES = {"pan": (128, 160)}  # theirs takes none smaller
LACKED = {("pspnet", "tf_efficientnet_lite0"): "its tf_efficientnet_lite0 of depth 3 has other tensors"}
"""What it has no equal model of: with fewer maps timm keeps the layers behind the last one, and ours does not."""


@pytest.mark.parametrize(
    "arch", [*FAST, *(pytest.param(arch, marks=pytest.mark.slow) for arch in ARCHS if arch not in FAST)]
)
@pytest.mark.parametrize("encoder", ["resnet18", pytest.param("tf_efficientnet_lite0", marks=pytest.mark.slow)])
def test_the_peer_computes_the_same_logits_from_the_folder(arch, encoder, here, capsys):
    torch.manual_seed(0)
    labels = {"classification": {"num_classes": 4}} if arch == "fpn" else {}
    model = create_model(arch, encoder, num_classes=3, **labels).eval()
    save_model(model, here / "model.pt", image_size=64)
    assert main(["export", "model.pt", "format=hub_folder", "output=hub"]) == 0
    if (arch, encoder) in LACKED:
        assert_not_offered(here / "hub", capsys.readouterr().out, LACKED[arch, encoder])
        return
    theirs = smp.from_pretrained("hub").eval()
    image = torch.randn(2, 3, *SIZES.get(arch, (64, 96)))
    with torch.no_grad():
        wanted, found = model(image), theirs(image)
    pairs = zip(wanted, found, strict=True) if labels else [(wanted, found)]
    for ours, peer in pairs:
        torch.testing.assert_close(peer, ours, rtol=1e-4, atol=1e-5)


def assert_not_offered(folder, said, reason):
    assert f"segmentation_models_pytorch cannot open it, as {reason}; segtrain.load_model does" in said
    assert "_model_class" not in json.loads((folder / "config.json").read_text())
    assert "segmentation_models_pytorch" not in (folder / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "encoder", "reason"),
    [
        ("dpt", "test_vit", "its DPT names tensors otherwise"),
        ("segformer", "mit_b0", "it has no mit_b0 with these tensors"),  # it has one, whose tensors have other names
        ("fpn", "smp_skresnet18", "it has no smp_skresnet18 with these tensors"),
        ("fpn", "legacy_xception", "it pads legacy_xception otherwise"),
    ],
)
def test_what_the_peer_lacks_is_said_and_not_written(arch, encoder, reason, here, capsys):
    save_model(create_model(arch, encoder, num_classes=2, weights=None), here / "model.pt", image_size=64)
    assert main(["export", "model.pt", "format=hub_folder", "output=hub"]) == 0
    assert_not_offered(here / "hub", capsys.readouterr().out, reason)


NOT_OFFERED = {
    # plain transformers and mixers, and others without maps in timm
    *("cait", "coat", "convit", "deit", "efficientformer_v2", "eva", "gcvit", "hiera", "maxxvit", "mlp_mixer"),
    *("vision_transformer", "vision_transformer_hybrid", "vision_transformer_relpos", "visformer", "vitamin", "xcit"),
    *("inception_resnet_v2", "inception_v4", "nasnet", "pnasnet", "xception"),  # padded by us, for exact strides
    *("csatv2", "dla", "mix_transformer", "tresnet"),  # tensors of other names, or fewer
}
"""Families of which we write no config for the peer, as it has no equal model."""
FAMILIES = smallest(2e10)
FEW_MAPS = ("efficientvit_msra", "efficientvim", "levit", "shvit")
"""Families whose first map has stride 16, which FPN refuses."""


@pytest.mark.slow
@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in FEW_MAPS])
def test_what_is_offered_to_the_peer_is_equal_in_every_family_of_encoders(family):
    row = FAMILIES[family]
    torch.manual_seed(0)
    model = create_model("fpn", row.name, num_classes=2, weights=None).eval()
    config = smp_config(model, model.config["arch"], None)
    assert (family in NOT_OFFERED) == isinstance(config, str), config
    if isinstance(config, str):
        return
    theirs = getattr(smp, config.pop("_model_class"))(**config).eval()
    theirs.load_state_dict(model.state_dict())
    held = timm.get_pretrained_cfg(row.name)
    sides = held.input_size[1:] if held.fixed_input_size else (row.size_multiple * 2, row.size_multiple * 3)
    image = torch.randn(1, 3, *sides)
    with torch.no_grad():
        torch.testing.assert_close(theirs(image), model(image), rtol=1e-4, atol=1e-5)


def test_families_are_many_and_most_are_offered():
    assert len(FAMILIES) > 70
    assert set(FAMILIES) > {*NOT_OFFERED, *FEW_MAPS}
    assert len(NOT_OFFERED) < len(FAMILIES) / 2


class Hub:
    """Takes the place of huggingface_hub.HfApi."""

    def __init__(self):
        self.called = []

    def create_repo(self, repository, *, exist_ok):
        self.called.append(("create", repository, exist_ok))

    def upload_folder(self, *, repo_id, folder_path, allow_patterns):
        self.called.append(("upload", repo_id, folder_path, sorted(allow_patterns)))
        return "https://hub/me/mine"


def test_an_upload_makes_the_repository_and_takes_the_three_files_alone(here):
    hub = Hub()
    hub_folder.push(here, "me/mine", hub)
    files = ["README.md", "config.json", "model.safetensors"]
    assert hub.called == [("create", "me/mine", True), ("upload", "me/mine", str(here), files)]


def test_an_upload_that_fails_is_one_line_and_the_folder_stays(run, here, refused, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (line,) = refused("export", str(run), "format=hub_folder", "output=hub", "push=me/mine")
    assert "push=me/mine: the upload failed" in line
    assert (here / "hub" / "model.safetensors").is_file()


def test_a_file_in_the_place_of_the_folder_is_refused(run, here):
    (here / "hub").write_text("")
    with pytest.raises(ConfigError, match="expected a folder for format=hub_folder"):
        hub_folder.write(here / "hub", {}, "", run=None)
