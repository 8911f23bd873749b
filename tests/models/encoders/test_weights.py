from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from segtrain.catalog.names import resolve
from segtrain.models.encoders import TimmEncoder
from segtrain.models.encoders import weights as weight_files
from tests.models.encoders.refusals import refusal

NAME = "mobilenetv3_small_050"
LITE0 = Path(__file__).parents[4] / "shared" / "weights" / "tf_efficientnet_lite0.safetensors"


@pytest.fixture(scope="module")
def timm_model():
    torch.manual_seed(0)
    return timm.create_model(NAME)


@pytest.fixture(scope="module")
def saved(timm_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file(timm_model.state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def _no_folder(monkeypatch):
    monkeypatch.delenv("SEGTRAIN_WEIGHTS", raising=False)


def _features(timm_model, image):
    return timm_model.forward_intermediates(image, intermediates_only=True)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin"])
@pytest.mark.parametrize("classifier", [True, False])
def test_a_local_file_gives_the_features_of_the_model_that_wrote_it(timm_model, tmp_path, suffix, classifier):
    path = tmp_path / f"model{suffix}"
    state = {k: v for k, v in timm_model.state_dict().items() if classifier or not k.startswith("classifier")}
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state}, path)
    encoder = TimmEncoder(NAME, weights=str(path)).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for ours, theirs in zip(encoder(image)[1:], _features(timm_model.eval(), image), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_a_file_without_its_head_is_enough(timm_model, tmp_path):
    encoder = TimmEncoder(NAME, weights=None)
    used = {k: v for k, v in timm_model.state_dict().items() if k in encoder.model.state_dict()}
    assert len(used) < len(timm_model.state_dict())
    save_file(used, tmp_path / "body.safetensors")
    TimmEncoder(NAME, weights=str(tmp_path / "body.safetensors"))


def test_a_home_folder_is_expanded(saved, monkeypatch):
    monkeypatch.setenv("HOME", str(saved.parent))
    assert weight_files.locate("~/model.safetensors", arch=NAME, tag="")[1] == saved


@pytest.mark.parametrize("channels", [1, 2, 4, 13])
def test_the_stem_is_adapted_to_the_number_of_channels(timm_model, saved, channels):
    encoder = TimmEncoder(NAME, weights=str(saved), in_channels=channels)
    stem, adapted = timm_model.conv_stem.weight, encoder.model.conv_stem.weight
    expected = stem.sum(1, keepdim=True)
    if channels > 1:
        expected = torch.cat([stem] * 5, dim=1)[:, :channels] * 3 / channels
    torch.testing.assert_close(adapted, expected)
    assert encoder.out_channels[0] == channels
    assert encoder.mean == tuple((0.485, 0.456, 0.406)[i % 3] for i in range(channels))


def test_the_weights_of_another_model_are_refused_with_counts_and_examples(saved):
    message = refusal("resnet18", weights=str(saved))
    assert str(saved) in message
    assert "not the weights of resnet18: 100 missing tensors (such as conv1.weight, bn1.weight)" in message
    assert "unexpected tensors (such as" in message


def test_the_weights_of_a_wider_sibling_are_refused(saved):
    assert "not the weights of mobilenetv3_small_100" in refusal("mobilenetv3_small_100", weights=str(saved))


def test_a_missing_file_is_named():
    assert "no such file nowhere/x.pth" in refusal(NAME, weights="nowhere/x.pth")


def test_a_truncated_file_is_named(saved, tmp_path):
    for suffix in (".safetensors", ".pth"):
        path = tmp_path / f"short{suffix}"
        path.write_bytes(saved.read_bytes()[:5000])
        assert f"{path}: cannot be read as weights of {NAME}" in refusal(NAME, weights=str(path))


def test_a_pickle_with_a_payload_is_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return Path.touch, (tmp_path / "harm",)

    torch.save({"state_dict": Payload()}, tmp_path / "evil.pth")
    assert "cannot be read as weights" in refusal(NAME, weights=str(tmp_path / "evil.pth"))
    assert not (tmp_path / "harm").exists()


def test_a_file_that_holds_no_weights_is_named(tmp_path):
    torch.save([1, 2, 3], tmp_path / "list.pth")
    assert "cannot be read as weights" in refusal(NAME, weights=str(tmp_path / "list.pth"))


def test_unknown_weights_list_once_those_there_are():
    message = refusal("resnet34", weights="a1_in1")
    assert "'a1_in1' is neither a file nor weights of resnet34, did you mean 'a1_in1k'?" in message
    assert message.count("tv_in1k") == 1
    assert message.count(".safetensors") == 1


@pytest.mark.parametrize(
    ("name", "weights", "tag"),
    [
        ("resnet34", "imagenet", "a1_in1k"),
        ("resnet34.tv_in1k", "imagenet", "tv_in1k"),
        ("efficientnet-b0", "imagenet", "aa_in1k"),
        ("efficientnet-b0", "advprop", "ap_in1k"),
        ("timm-efficientnet-b0", "noisy-student", "ns_jft_in1k"),
        ("timm-efficientnet-l2", "noisy-student-475", "ns_jft_in1k_475"),
        ("resnet50", "ssl", "fb_ssl_yfcc100m_ft_in1k"),
        ("resnext101_32x8d", "swsl", "fb_swsl_ig1b_ft_in1k"),
        ("resnext101_32x8d", "instagram", "fb_wsl_ig1b_ft_in1k"),
        ("resnext101_32x48d", "instagram", "fb_wsl_ig1b_ft_in1k"),
        ("dpn92", "imagenet+5k", "mx_in1k"),
        ("inceptionv4", "imagenet+background", "tf_in1k"),
        ("convnext_tiny", "imagenet21k", "fb_in22k"),
        ("resnet50", "bt_in1k", "bt_in1k"),
    ],
)
def test_weights_go_by_the_names_of_smp_and_of_timm(name, weights, tag):
    arch, _, own = resolve(name).partition(".")
    assert weight_files.described(weights, arch=arch, tag=own).tag == tag


@pytest.mark.parametrize(("name", "weights"), [("dpn68", "imagenet+5k"), ("resnet34", "ssl"), ("resnet18", "advprop")])
def test_weights_that_smp_has_for_others_only_are_unknown(name, weights):
    assert f"{weights!r} is neither a file nor weights of {name}" in refusal(name, weights=weights)


def test_every_name_that_smp_has_for_weights_leads_to_some():
    smp = pytest.importorskip("segmentation_models_pytorch")
    named = {
        (name, weights)
        for name, entry in smp.encoders.encoders.items()
        for weights in entry.get("pretrained_settings", ())
        if weights != "imagenet" and resolve(name).partition(".")[0] in timm.list_models()
    }
    assert len(named) > 30
    found = {pair: weight_files.described(pair[1], arch=resolve(pair[0]).partition(".")[0], tag="") for pair in named}
    assert [pair for pair, cfg in found.items() if cfg is None] == []


def test_a_name_with_an_unknown_tag_is_refused_with_and_without_weights():
    for weights in ("imagenet", None):
        assert "resnet34 has no weights 'tv_in2k', did you mean 'tv_in1k'?" in refusal(
            "resnet34.tv_in2k", weights=weights
        )


def test_a_model_without_weights_says_so():
    assert "timm has no weights for efficientnet_b6" in refusal("efficientnet_b6")


def test_loading_leaves_torch_as_it_was(saved):
    before = torch.nn.Module.load_state_dict
    TimmEncoder(NAME, weights=str(saved))
    assert torch.nn.Module.load_state_dict is before


@pytest.mark.skipif(not LITE0.is_file(), reason=f"needs {LITE0}")
def test_real_weights_fill_every_tensor_and_see_structure():
    encoder = TimmEncoder("tf_efficientnet_lite0", weights=str(LITE0)).eval()
    with torch.no_grad():
        assert all(m.isfinite().all() and m.std() > 0.01 for m in encoder(torch.randn(1, 3, 64, 64)))


@pytest.mark.skipif(not LITE0.is_file(), reason=f"needs {LITE0}")
def test_real_weights_are_found_in_their_folder_and_bring_their_mean(monkeypatch):
    monkeypatch.setenv("SEGTRAIN_WEIGHTS", str(LITE0.parent))
    encoder, own = TimmEncoder("timm-tf_efficientnet_lite0"), load_file(LITE0)
    assert encoder.mean == encoder.std == (0.5, 0.5, 0.5)
    torch.testing.assert_close(encoder.model.conv_stem.weight, own["conv_stem.weight"])
