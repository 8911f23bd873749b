"""`segtrain import`: what SMP's model computes, the checkpoint computes."""

import json
import shutil

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch

from segtrain import load_model
from segtrain.cli import main
from tests.models.parity import assert_close

SHAPES = "[background,disc,square,triangle,star]"
CASES = [
    ("Unet", "resnet18", {"decoder_attention_type": "scse", "decoder_channels": [64, 48, 48, 32, 16]}),
    ("Unet", "mobilenet_v2", {"decoder_use_norm": False}),
    pytest.param("UnetPlusPlus", "vgg11", {"decoder_channels": [32, 24, 16, 16, 16]}, marks=pytest.mark.slow),  # 133 M
    ("UnetPlusPlus", "tu-resnet18", {"decoder_channels": [32, 24, 16, 16, 16]}),
    (
        "MAnet",
        "resnet18",
        {"decoder_interpolation": "bilinear", "encoder_depth": 4, "decoder_channels": [32, 24, 16, 16]},
    ),
    ("Linknet", "mobilenet_v2", {"in_channels": 4}),
    ("FPN", "efficientnet-b0", {"decoder_merge_policy": "cat", "in_channels": 1, "activation": "softmax"}),
    ("PSPNet", "efficientnet-b1", {"psp_out_channels": 64}),
    ("PAN", "resnet18", {}),
    ("DeepLabV3", "resnet18", {"decoder_channels": 32, "encoder_output_stride": 16}),
    ("DeepLabV3Plus", "mobilenet_v2", {"decoder_atrous_rates": [2, 4, 6]}),
    ("UPerNet", "tu-convnext_atto", {"decoder_channels": 32}),
    ("Segformer", "mit_b0", {"decoder_segmentation_channels": 32}),
    ("DPT", "tu-vit_tiny_patch16_224", {"dynamic_img_size": True, "decoder_intermediate_channels": [16, 24, 32, 40]}),
]


def make(arch, encoder, classes=3, **options):
    torch.manual_seed(0)
    model = getattr(smp, arch)(encoder, encoder_weights=None, classes=classes, **options)
    for key, buffer in model.named_buffers():
        if key.endswith("running_mean"):
            buffer.normal_(std=0.1)
        elif key.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return model.eval()


@pytest.fixture(scope="module")
def small():
    return make("FPN", "resnet18", classes=5, decoder_pyramid_channels=32, decoder_segmentation_channels=32)


@pytest.fixture(scope="module")
def kept(small, tmp_path_factory):
    """The folder that holds the model, saved, and what is no model."""
    folder = tmp_path_factory.mktemp("kept")
    small.save_pretrained(folder / "saved")
    (folder / "empty").mkdir()
    torch.save(small.state_dict(), folder / "alone.pt")
    (folder / "text.pt").write_text("hello")
    torch.save(small, folder / "code.pt")
    torch.save({"weight": torch.zeros(1)}, folder / "other.pt")
    return folder


@pytest.fixture
def saved(kept, tmp_path):
    return shutil.copytree(kept / "saved", tmp_path / "saved")


def assert_same_logits(path, theirs, channels=3, activation=None, size=(128, 160)):
    ours = load_model(path)
    image = torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted, got = theirs(image), ours(image)
    got = got.softmax(1) if activation == "softmax" else got
    assert_close(got, wanted)


@pytest.mark.parametrize(("arch", "encoder", "options"), CASES)
def test_a_saved_model_computes_the_same(tmp_path, arch, encoder, options):
    theirs = make(arch, encoder, **options)
    theirs.save_pretrained(tmp_path / "saved")
    assert main(["import", f"smp={tmp_path}/saved", f"output={tmp_path}/model.pt"]) == 0
    assert_same_logits(tmp_path / "model.pt", theirs, options.get("in_channels", 3), options.get("activation"))


def test_images_are_padded_no_further_than_smp_asks_for(tmp_path):
    theirs = make("PSPNet", "resnet18")
    theirs.save_pretrained(tmp_path / "saved")
    assert main(["import", f"smp={tmp_path}/saved", f"output={tmp_path}/model.pt"]) == 0
    assert_same_logits(tmp_path / "model.pt", theirs, size=(72, 88))


HEADS = [
    ("Unet", "resnet18", {"classes": 5, "pooling": "avg", "dropout": 0.3}),
    ("PSPNet", "mobilenet_v2", {"classes": 2, "pooling": "max", "dropout": None}),
    ("Segformer", "mit_b0", {"classes": 1}),
    ("DPT", "tu-vit_tiny_patch16_224", {"classes": 5}),
]


def import_with_head(folder, arch, encoder, aux, *words):
    theirs = make(arch, encoder, aux_params=aux, **({"dynamic_img_size": True} if arch == "DPT" else {}))
    theirs.save_pretrained(folder / "saved")
    assert main(["import", f"smp={folder}/saved", f"output={folder}/model.pt", *words]) == 0
    return load_model(folder / "model.pt"), theirs


@pytest.mark.parametrize(("arch", "encoder", "aux"), HEADS)
def test_a_classification_head_comes_over_and_answers_the_same(tmp_path, arch, encoder, aux):
    ours, theirs = import_with_head(tmp_path, arch, encoder, aux)
    image = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for got, wanted in zip(ours(image), theirs(image), strict=True):
            assert_close(got, wanted)
    assert ours.image_classes == tuple(str(number) for number in range(aux["classes"]))


def test_the_checkpoint_says_how_its_classification_head_was_made(tmp_path, capfd):
    import_with_head(tmp_path, *HEADS[0], "image_head.weight=0.7")
    payload = torch.load(tmp_path / "model.pt", weights_only=True)
    aux = {key: payload["config"]["image_head"][key] for key in ("pooling", "dropout", "weight")}
    assert aux == {"pooling": "avg", "dropout": 0.3, "weight": 0.7}
    assert payload["image_classes"] == ["0", "1", "2", "3", "4"]
    assert "labels of whole images: 0, 1, 2, 3, 4" in "".join(capfd.readouterr())


def test_the_labels_of_whole_images_get_the_names_given(tmp_path):
    ours, _ = import_with_head(tmp_path, *HEADS[0], "image_classes=[a,b,c,d,e]")
    assert ours.image_classes == ("a", "b", "c", "d", "e")


@pytest.mark.parametrize("words", [["image_head=null"], ["model={aux_params:null}"]])
def test_a_classification_head_can_be_left_out(tmp_path, words):
    ours, theirs = import_with_head(tmp_path, *HEADS[0], *words)
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert_close(ours(image), theirs(image)[0])


def test_a_classification_head_of_which_nothing_is_known_is_left_out_with_a_word(tmp_path, capfd):
    theirs = make("FPN", "resnet18", aux_params={"classes": 5})
    torch.save(theirs.state_dict(), tmp_path / "weights.pt")
    words = ["import", f"smp={tmp_path}/weights.pt", f"output={tmp_path}/model.pt", "arch=fpn", "encoder=resnet18"]
    assert main(words) == 0
    assert "the classification head is left out, as nothing says how it pools; add 'model=" in "".join(
        capfd.readouterr()
    )
    assert load_model(tmp_path / "model.pt").classification_head is None
    assert main([*words, "model={aux_params:{pooling:avg,dropout:0.2}}"]) == 0
    assert len(load_model(tmp_path / "model.pt").image_classes) == 5


@pytest.mark.slow
@pytest.mark.parametrize("encoder", [name for name in smp.encoders.get_encoder_names() if "-l2" not in name])
def test_a_saved_unet_on_each_of_its_encoders_computes_the_same(tmp_path, encoder):
    theirs = make("Unet", encoder)
    theirs.save_pretrained(tmp_path / "saved")
    assert main(["import", f"smp={tmp_path}/saved", f"output={tmp_path}/model.pt"]) == 0
    assert_same_logits(tmp_path / "model.pt", theirs)


@pytest.mark.parametrize("wrap", [dict, lambda state: {"state_dict": {f"net.{k}": v for k, v in state.items()}}])
def test_a_file_of_weights_needs_the_names_of_the_model(tmp_path, small, wrap):
    torch.save(wrap(small.state_dict()), tmp_path / "weights.pt")
    words = ["arch=fpn", "encoder=resnet18"]
    options = "model={decoder_pyramid_channels:32,decoder_segmentation_channels:32}"
    assert main(["import", f"smp={tmp_path}/weights.pt", f"output={tmp_path}/new/model.pt", *words, options]) == 0
    assert_same_logits(tmp_path / "new" / "model.pt", small)


def test_the_report_counts_what_was_renamed_and_names_what_was_left_out(tmp_path, capfd):
    make("PSPNet", "mobilenet_v2", activation="sigmoid").save_pretrained(tmp_path / "saved")
    assert main(["import", f"smp={tmp_path}/saved", f"output={tmp_path}/model.pt", "mean=[0,0,0]", "std=[1,1,1]"]) == 0
    said = "".join(capfd.readouterr())
    assert "pspnet mobilenet_v2: 136 tensors, 108 of them renamed" in said
    assert "204 tensors that the model never uses are left out: encoder.features." in said
    assert "activation=sigmoid is left out: segtrain's models return logits" in said
    assert "images are normalised with mean [0.000, 0.000, 0.000] and std [1.000, 1.000, 1.000]" in said
    assert "classes: class0, class1, class2" in said
    assert load_model(tmp_path / "model.pt").normalize.mean == (0, 0, 0)


def test_the_checkpoint_can_be_scored_and_predict(tmp_path, saved):
    model = tmp_path / "model.pt"
    size = ["data.size=64", "data.image_size=64", "data.test=4", "data.batch_size=2", "data.num_workers=0"]
    assert main(["import", f"smp={saved}", f"output={model}", f"classes={SHAPES}", "data=shapes", *size]) == 0
    assert main(["eval", f"ckpt={model}", "data.split=test", f"output={tmp_path}/scores"]) == 0
    assert 0 < json.loads((tmp_path / "scores" / "scores.json").read_text())["test"]["iou"] < 1
    picture = tmp_path / "picture.png"
    _save_picture(picture)
    assert main(["predict", f"ckpt={model}", f"input={picture}", f"output={tmp_path}/masks"]) == 0
    assert (tmp_path / "masks" / "picture.png").is_file()


def _save_picture(path):
    from torchvision.io import write_png

    write_png(torch.randint(0, 256, (3, 50, 70), dtype=torch.uint8), str(path))


def test_one_class_is_binary_unless_said_otherwise(tmp_path):
    make("FPN", "resnet18", classes=1).save_pretrained(tmp_path / "saved")
    for words, mode, names in [
        ([], "binary", ["foreground"]),
        (["classes=[road]"], "binary", ["road"]),
        (["mode=multilabel"], "multilabel", ["foreground"]),
    ]:
        assert main(["import", f"smp={tmp_path}/saved", f"output={tmp_path}/model.pt", *words]) == 0
        payload = torch.load(tmp_path / "model.pt", weights_only=True)
        assert (payload["mode"], payload["class_names"]) == (mode, names)


MISTAKES = [
    (["smp={here}/nowhere"], "nowhere: no such file or folder, expected the folder of a model's save_pretrained"),
    (["smp={here}/empty"], "empty: holds no model.safetensors, expected the folder of a model's save_pretrained"),
    (["smp={here}/alone.pt"], "no config.json beside it says what model it is; add arch=... and encoder=..."),
    (["smp={here}/alone.pt", "arch=fpn"], "says what model it is; add encoder=..."),
    (["smp={here}/text.pt", "arch=fpn", "encoder=resnet18"], "text.pt: cannot be read"),
    (
        ["smp={here}/code.pt", "arch=fpn", "encoder=resnet18"],
        "code.pt: holds pickled objects, which could run any code",
    ),
    (["smp={here}/other.pt", "arch=fpn", "encoder=resnet18"], "other.pt: is no model of segmentation_models_pytorch"),
    (["smp={saved}", "arch=fnp"], "arch: 'fnp' is no model of segmentation_models_pytorch, did you mean 'fpn'?"),
    (
        ["smp={saved}", "encoder=resnet43"],
        "encoder: 'resnet43' is no encoder of segmentation_models_pytorch, did you mean",
    ),
    (["smp={saved}", "encoder=resnet34"], "its tensors are not those of this model"),
    (
        ["smp={saved}", "arch=unet"],
        "model: segtrain's unet cannot follow decoder_",
    ),
    (
        ["smp={saved}", "model={{wings:2}}"],
        "model: segtrain's fpn cannot follow wings=2; where the weights do not depend on that, leave",
    ),
    (["smp={saved}", "model={{aux_params:5}}"], "model: aux_params=5, expected the arguments of a head"),
    (["smp={saved}", "model={{aux_params:{{pooling:avg}}}}"], "saved/model.safetensors: holds no classification_head"),
    (["smp={saved}", "image_classes=[a]"], "image_classes: got 1 name(s), the classification head has 0; leave it out"),
    (["smp={saved}", "classes=[a,b]"], "classes: got 2 names, the model predicts 5; give classes=[...] of 5"),
    (["smp={saved}", "mean=[0.5]"], "mean: got 1 numbers, expected one for each of 3 channels"),
    (["smp={saved}", "std=[0,1,1]"], "std"),
    (["smp={saved}", "trainer.epoch=3"], "trainer.epoch: unknown key, did you mean 'trainer.epochs'?"),
    (["smp={saved}", "mode=panoptic"], "mode"),
    (["output=x.pt"], "smp: missing; add smp=..."),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES)
def test_a_mistake_is_one_line_and_writes_nothing(tmp_path, kept, capfd, words, message):
    words = [word.format(here=kept, saved=kept / "saved") for word in words]
    code = main(["import", f"output={tmp_path}/model.pt", *words])
    said = capfd.readouterr().err.strip()
    assert code == 2
    assert message in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "model.pt").exists()


def test_a_config_that_is_no_json_is_named(saved, tmp_path, capfd):
    (saved / "config.json").write_text("{")
    assert main(["import", f"smp={saved}", f"output={tmp_path}/model.pt"]) == 2
    assert "config.json: is no JSON" in capfd.readouterr().err


def test_a_safetensors_file_finds_the_config_beside_it(saved, small, tmp_path):
    assert main(["import", f"smp={saved}/model.safetensors", f"output={tmp_path}/model.pt"]) == 0
    assert_same_logits(tmp_path / "model.pt", small)


def test_images_keep_their_size_unless_the_training_size_is_given(tmp_path, saved):
    for words, size in (([], (1, 3, 50, 70)), (["data.image_size=64"], (1, 3, 64, 64))):
        assert main(["import", f"smp={saved}", f"output={tmp_path / 'model.pt'}", *words]) == 0
        image = np.zeros((50, 70, 3), np.uint8)
        assert load_model(tmp_path / "model.pt").preprocess(image).shape == size
