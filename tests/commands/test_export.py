"""`segtrain export`: a file that answers as its checkpoint does, or none; opened again by predict and eval."""

import json
import shutil
import sys
import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest
import tifffile
import torch
from PIL import Image

from segtrain import Predictor, create_model, load_model, save_model
from segtrain.build import exporting
from segtrain.cli import main
from segtrain.commands import export
from segtrain.errors import ConfigError
from segtrain.run import checkpoint
from tests.commands.test_extra_heads import HEADS, make_data, train
from tests.conftest import TINY

SMALL = [*TINY, "trainer.max_steps=2", "data.train=8"]


@pytest.fixture(autouse=True)
def _hardly_timed(monkeypatch):
    monkeypatch.setattr(export, "TIMED", 0.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of FPN on 32x32 drawings, padded to their size."""
    folder = tmp_path_factory.mktemp("runs") / "fpn"
    assert main([*SMALL, "arch=fpn", "data.fit=pad", f"hydra.run.dir={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Images of 50x70 and 30x41 pixels, which are larger and smaller than what the model sees."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for name, size in (("large", (50, 70)), ("small", (30, 41))):
        Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def exported(run):
    """The run as an ONNX file for images of any size."""
    if torch.__version__ < "2.7":
        pytest.skip("torch 2.6 cannot translate our models")
    assert main(["export", str(run)]) == 0
    return run / "model.onnx"


@pytest.fixture(scope="module", params=["onnx", "torch_export"])
def graph(request, run):
    """The run as either kind of graph."""
    if request.param == "onnx":
        return request.getfixturevalue("exported")
    assert main(["export", str(run), "format=torch_export"]) == 0
    return run / "model.pt2"


def answer_of(file, pixels):
    """Ask a graph as other programs do, without segtrain."""
    if file.suffix == ".pt2":
        return torch.export.load(file).module()(torch.tensor(pixels)).detach().numpy()
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"pixels": pixels})[0]


def described(file, changed, change):
    """Copy a graph with another description in it; without one where ``change`` gives None."""
    if file.suffix == ".onnx":
        model = onnx.load(str(file))
        (held,) = (prop for prop in model.metadata_props if prop.key == "segtrain")
        text = change(held.value)
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, {} if text is None else {"segtrain": text})
        onnx.save(model, str(changed))
        return changed
    return rewritten(file, changed, "/segtrain", change)


def rewritten(file, changed, end, change):
    """Copy a .pt2 with another text in the member that ends so; without it where ``change`` gives None."""
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(changed, "w") as target:
        held = {name: source.read(name) for name in source.namelist()}
        (name,) = (name for name in held if name.endswith(end))
        text = change(held.pop(name).decode())
        for each, content in {**held, **({} if text is None else {name: text.encode()})}.items():
            target.writestr(each, content)
    return changed


def predicted(ckpt, photos, output):
    assert main(["predict", str(ckpt), str(photos), str(output), "overlay=null", "values=labels"]) == 0
    found = {file.stem: np.asarray(Image.open(file)) for file in sorted(output.rglob("*.png"))}
    assert len(found) == 2
    return found


def test_a_file_takes_stored_pixels_of_any_size_and_predicts_what_the_checkpoint_does(graph, run, photos, here):
    masks, wanted = predicted(graph, photos, here / "graph"), predicted(run, photos, here / "torch")
    for name, mask in wanted.items():
        assert np.array_equal(masks[name], mask)
    predictor, opened = Predictor(run, device="cpu")._made, Predictor(graph, device="cpu")
    assert opened.class_names == load_model(run).class_names
    for name in wanted:
        image = np.asarray(Image.open(photos / f"{name}.png"))
        assert np.array_equal(opened(image), wanted[name])
        logits = answer_of(graph, image.transpose(2, 0, 1)[None])
        assert logits.shape[-2:] == image.shape[:2]
        assert (
            np.abs(logits - predictor.logits(image).numpy()).max() < 0.05
        )  # pixels may be rounded otherwise by 1 of 255


def test_eval_of_a_file_scores_what_that_of_its_checkpoint_does(graph, run, here):
    scores = []
    for ckpt in (graph, run):
        output = here / ckpt.name
        assert main(["eval", str(ckpt), f"output={output}", "eval.bootstrap=0"]) == 0
        scores.append(json.loads((output / "scores.json").read_text())["val"])
    assert scores[0]["iou"] == pytest.approx(scores[1]["iou"], abs=1e-4)
    assert scores[0]["per_class"].keys() == scores[1]["per_class"].keys()


def test_the_metadata_says_what_other_programs_need(exported, run):
    held = {prop.key: prop.value for prop in onnx.load(str(exported)).metadata_props}
    payload = checkpoint.read(checkpoint.find(run, best=True))
    assert json.loads(held["class_names"]) == payload["class_names"]
    assert json.loads(held["palette"]) == payload["palette"]
    preprocessing = json.loads(held["preprocessing"])
    assert (preprocessing["mean"], preprocessing["pixels"]) == (payload["normalize"]["mean"], "uint8")
    assert json.loads(held["segtrain"])["mode"] == payload["mode"]


@pytest.fixture
def reusing(exported, monkeypatch):
    """Take the file that is there in place of tracing and translating again, which takes seconds."""

    def copy(_program, file, *_):
        shutil.copy(exported, file)

    monkeypatch.setattr(exporting, "trace", lambda *_, **__: None)
    monkeypatch.setattr(exporting, "write_onnx", copy)


def test_a_file_that_answers_otherwise_is_removed_and_an_earlier_one_stays(run, reusing, here, refused, monkeypatch):
    file = here / "model.onnx"
    file.write_bytes(b"of before")
    copy = exporting.write_onnx

    def disturb(program, written, *rest):
        copy(program, written, *rest)
        model = onnx.load(str(written))
        (bias,) = (tensor for tensor in model.graph.initializer if tensor.name.endswith("segmentation_head.0.bias"))
        bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.5), bias.name))
        onnx.save(model, str(written))

    monkeypatch.setattr(exporting, "write_onnx", disturb)
    (line,) = refused("export", str(run), f"output={file}")
    assert "logits differ by up to 0.5" in line
    assert "nothing is written" in line
    assert file.read_bytes() == b"of before"
    assert [each.name for each in here.iterdir()] == ["model.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize("gives", ["probabilities", "labels"])
def test_thresholds_and_temperature_are_part_of_the_file(run, here, gives):
    payload = checkpoint.read(checkpoint.find(run, best=True))
    ours = here / "binary.pt"
    point = {"temperature": 2.0, "thresholds": None, "split": "val"}
    checkpoint.write({**payload, "operating_point": point}, ours)
    assert main(["export", str(ours), f"gives={gives}", "shapes=batch", f"output={here}", "check=3"]) == 0
    session = onnxruntime.InferenceSession(str(here / "model.onnx"), providers=["CPUExecutionProvider"])
    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    (answer,) = session.run([gives], {"pixels": pixels.numpy()})
    model = load_model(ours)
    with torch.no_grad():
        logits = model(model.normalize(pixels))
    if gives == "labels":
        assert answer.dtype == np.uint8
        assert (answer == logits.argmax(1).numpy()).mean() > 0.999
    else:
        np.testing.assert_allclose(answer, (logits / 2).softmax(1).numpy(), atol=1e-5)


def test_a_file_without_logits_is_refused_by_predict(graph, here, photos, refused):
    file = described(graph, here / graph.name, lambda text: text.replace('"gives": "logits"', '"gives": "labels"'))
    (line,) = refused("predict", str(file), str(photos), str(here / "masks"))
    assert "gives labels, expected logits" in line


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "torch_export"])
def test_a_file_of_one_size_refuses_others_and_takes_any_number_of_images(format, run, here, photos, refused):
    file = here / {"onnx": "model.onnx", "torch_export": "model.pt2"}[format]
    assert main(["export", str(run), f"format={format}", "shapes=static", "batch=3", f"output={here}"]) == 0
    assert main(["eval", str(file), f"output={here}", "eval.bootstrap=0"]) == 0  # batches of 4
    lines = refused("predict", str(file), str(photos), str(here / "masks"), "data.image_size=64")
    assert "shows its model images of 32x32, got 64x64" in lines[0]
    assert main(["predict", str(file), str(photos / "large.png"), str(here / "tiled"), "infer=tiles"]) == 0  # of 32x32


def test_other_numbers_than_those_that_a_file_takes_are_refused(graph, here, refused):
    tifffile.imwrite(here / "deep.tif", np.full((32, 32, 3), 40000, np.uint16), photometric="rgb")
    words = ["predict", str(graph), str(here / "deep.tif"), str(here / "masks")]
    assert "takes uint8 pixels, got uint16; export the checkpoint with pixels=uint16" in refused(*words)[0]
    lines = refused(*words, "data=folder", f"data.root={here}", "data.value_range=[0,100]")
    assert "export the checkpoint with data.value_range" in lines[0]


def test_what_takes_weights_names_the_file_that_has_none(graph, here, refused):
    (line,) = refused(*SMALL, f"init_from={graph}", f"hydra.run.dir={here}/run")
    assert "is a graph, which segtrain predict and eval run, expected weights" in line
    (line,) = refused("export", str(graph), f"output={here}")
    assert "expected a checkpoint; give the one it was exported from" in line
    (line,) = refused("eval", str(graph), "eval.calibrate=true", f"output={here}")
    assert "calibrate the checkpoint and export it again" in line


def test_files_that_are_damaged_or_of_other_tools_are_refused_in_a_line(graph, here, photos, refused):
    damaged = here / f"damaged{graph.suffix}"
    damaged.write_bytes(graph.read_bytes()[:1000])
    foreign = described(graph, here / f"foreign{graph.suffix}", lambda _: None)
    missing = here / f"missing{graph.suffix}"
    for file, said in ((damaged, "cannot "), (foreign, "says what its classes"), (missing, "no such file")):
        (line,) = refused("predict", str(file), str(photos), str(here / "masks"))
        assert line.startswith(f"segtrain: {file}: ")
        assert said in line


@pytest.mark.skipif(torch.__version__ < "2.7", reason="torch 2.6 wrote archives of other members")
def test_what_a_newer_torch_wrote_is_refused_with_both_versions(run, here, photos, refused):
    """Of another schema, which is all that torch's loader says of it; the description is read without that."""
    assert main(["export", str(run), "format=torch_export", f"output={here}"]) == 0
    rewritten("model.pt2", "versioned.pt2", "/torch", lambda _: "99.1")
    rewritten("versioned.pt2", "newer.pt2", "models/model.json", of_a_later_schema)
    (line,) = refused("predict", "newer.pt2", str(photos), str(here / "masks"))
    assert f"newer.pt2: torch {torch.__version__} cannot read what torch 99.1 wrote" in line
    assert line.endswith("install that one or a newer, or export the checkpoint again here")


def of_a_later_schema(program):
    held = json.loads(program)
    held["schema_version"]["major"] += 1
    return json.dumps(held)


@pytest.mark.slow
def test_a_graph_of_torch_takes_sizes_that_no_stride_divides_and_refuses_what_its_guards_exclude(here, refused):
    torch.manual_seed(0)
    model = create_model("fpn", "test_resnet", num_classes=3).eval()
    save_model(model, "model.pt")  # images keep their own size
    assert main(["export", "model.pt", "format=torch_export", f"output={here}"]) == 0
    opened = Predictor(here / "model.pt2", device="cpu")._made
    for size in ((64, 64), (97, 128), (65, 49)):
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
        with torch.no_grad():
            wanted = model(model.normalize(pixels))
        assert (opened.logits(image) - wanted).abs().max() <= 1e-4 * wanted.abs().max()
    Image.fromarray(np.zeros((20, 70, 3), np.uint8)).save("low.png")
    (line,) = refused("predict", "model.pt2", "low.png", "masks")
    assert "its graph does not hold for images of 20x70" in line


def test_without_the_libraries_a_line_says_what_to_install(run, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    (line,) = refused("export", str(run))
    assert line == "segtrain: format=onnx: onnxscript is not installed; pip install 'segtrain[onnx]'"


def test_words_that_mean_nothing_together_are_refused_at_once(run, refused):
    lines = refused("export", str(run), "format=safetensors", "gives=labels", "quantize=int8", "push=me/mine")
    assert len(lines) == 3
    assert all("leave it out" in line or "write format=hub_folder" in line for line in lines)
    assert "write shapes=dynamic" in refused("export", str(run), "shapes=static", "resize=true")[0]
    assert "write output=model.onnx" in refused("export", str(run), "output=model.pt")[0]
    assert "expected a repository such as user/name" in refused("export", str(run), "push=mine")[0]


def test_where_the_data_is_gone_random_pixels_are_compared_and_that_is_said(run, reusing, here, capsys):
    assert main(["export", str(run), f"output={here}", "data=folder", "data.root=gone"]) == 0
    said = capsys.readouterr().out
    assert "compared on random pixels, which say nothing of scores" in said
    assert "no masks to score by" in said


@pytest.mark.slow
def test_images_of_a_folder_are_compared_where_they_are_given(run, here, photos, capsys):
    assert main(["export", str(run), f"output={here}", f"images={photos}", "format=torch_export"]) == 0
    assert "compared over 4 images" in capsys.readouterr().out  # each fitted, and as stored
    program = torch.export.load(here / "model.pt2", extra_files=(held := {"segtrain": ""}))
    assert json.loads(held["segtrain"])["class_names"]
    assert program.module()(torch.zeros(1, 3, 40, 50, dtype=torch.uint8)).shape[-2:] == (40, 50)


@pytest.mark.slow
def test_int8_is_measured_against_the_checkpoint_with_an_interval(run, here, capsys):
    words = ["export", str(run), f"output={here}", "quantize=int8", "calibration=4", "max_drop=1", "bootstrap=20"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "int8: calibrated on 4 images" in said
    assert "A: the checkpoint, B: int8" in said
    kinds = {node.op_type for node in onnx.load(str(here / "model.onnx")).graph.node}
    assert "QuantizeLinear" in kinds
    assert main(["eval", str(here / "model.onnx"), f"output={here}", "eval.bootstrap=0"]) == 0


def test_int8_that_costs_too_much_is_refused(run, reusing, here, refused, monkeypatch):
    def ruin(_config, _graph, written):
        model = onnx.load(str(written))
        for tensor in model.graph.initializer:
            if len(tensor.dims) == 4:
                array = onnx.numpy_helper.to_array(tensor)
                tensor.CopyFrom(onnx.numpy_helper.from_array(-array, tensor.name))
        onnx.save(model, str(written))

    monkeypatch.setattr(export, "quantize", ruin)
    (line,) = refused("export", str(run), f"output={here}", "quantize=int8", "max_drop=0.001", "bootstrap=20")
    assert "int8 costs" in line
    assert list(here.iterdir()) == []


@pytest.mark.slow
def test_a_head_for_whole_images_answers_beside_the_masks_and_auxiliary_ones_are_left_out(here):
    make_data(here / "data")
    assert (
        train(here / "data", here / "run", "arch=deeplabv3plus", "arch.aux_heads=[8]", *HEADS[:2], "trainer.epochs=1")
        == 0
    )
    assert main(["export", str(here / "run"), f"output={here}", "resize=false"]) == 0
    session = onnxruntime.InferenceSession(str(here / "model.onnx"), providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_outputs()] == ["logits", "image_logits"]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 75, 81), dtype=np.uint8)
    logits, labels = session.run(None, {"pixels": pixels})
    model = load_model(here / "run")
    with torch.no_grad():
        wanted, wanted_labels = model(model.normalize(torch.from_numpy(pixels)))
    np.testing.assert_allclose(logits, wanted.numpy(), atol=1e-4)
    np.testing.assert_allclose(labels, wanted_labels.numpy(), atol=1e-4)
    assert main(["eval", str(here / "model.onnx"), f"output={here}", "eval.bootstrap=0"]) == 0
    assert "label_accuracy" in json.loads((here / "scores.json").read_text())["val"]


class OfOneSize(torch.nn.Module):
    """Its answer hangs on the height of its images."""

    def forward(self, pixels):
        return pixels.float().view(pixels.shape[0], 3, 32, pixels.shape[3]).mean(1, keepdim=True)


def test_what_torch_fixes_without_a_word_is_refused():
    example = torch.zeros(2, 3, 32, 48, dtype=torch.uint8)
    with pytest.raises(ConfigError, match=r"thing cannot be traced with shapes=dynamic .*; write shapes=batch"):
        exporting.trace(OfOneSize(), example, "dynamic", name="thing")
    assert exporting.trace(OfOneSize(), example, "batch", name="thing")
