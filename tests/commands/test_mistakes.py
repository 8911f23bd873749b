"""A user's mistake is answered by one line: where, what is wrong, what to do; with exit code 2, and nothing lost."""

import os
import pickle
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from segtrain.build.training import build_trainer
from segtrain.cli import main
from segtrain.config.compose import compose
from segtrain.data.formats.folder import Folder
from segtrain.errors import ConfigError
from tests.data.formats.test_folder import write_pair

RUN = (
    "encoder=test_resnet encoder.weights=null arch.channels=[8,8,8,8,8] logger=none augment=none data.image_size=32 "
    "data.batch_size=4 data.num_workers=0 trainer.max_steps=1"
)
"""What makes any training a matter of a second."""
SHAPES = f"{RUN} data.size=32 data.train=8 data.val=4 data.test=4"
FOLDER = f"data=folder {RUN} data.root=photos data.val_fraction=0.25"


pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run that was trained for one step."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main([*shlex.split(SHAPES), f"hydra.run.dir={folder}"]) == 0
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A copy of that run, to be spoilt."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def refused(capsys):
    """Run a command line that must be refused, and return its lines on stderr; nothing may have changed on disk."""

    def refuse(arguments, *, lines=1, writes=()):
        before = files_here()
        capsys.readouterr()
        code = main(shlex.split(arguments) if isinstance(arguments, str) else arguments)
        errors = capsys.readouterr().err
        assert code == 2, errors
        check_form(errors, lines)
        after = files_here()
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        assert changed == set(writes)
        return errors.splitlines()

    return refuse


@pytest.mark.parametrize(
    ("mode", "said"),
    [("", "; the first 3 masks hold 0, 1, 255"), ("data.mode=multilabel", "masks has the folders cat, dog")],
)
def test_classes_that_are_not_named_are_asked_for_with_what_the_masks_hold(mode, said, refused):
    for name, values in (("a", (0, 1)), ("b", (0, 255)), ("c", (0, 1))):
        write_pair(Path("photos"), name, values)
    for name in ("cat", "dog") if mode else ():
        (Path("photos/masks") / name).mkdir()
    (line,) = refused(f"{FOLDER} {mode}")
    assert line.startswith("segtrain: data.classes: missing; give the names of the mask values 0, 1, ..., such as ")
    assert "'data.classes=[background,cat]'" in line
    assert line.endswith(said)


def test_a_sweep_asks_for_the_classes_of_its_jobs_once_and_with_what_the_masks_hold(refused):
    for name in ("a", "b"):
        write_pair(Path("photos"), name, (0, 1))
    (line,) = refused(f"-m {FOLDER} seed=1,2")
    assert line.startswith("segtrain: data.classes: missing; give the names of the mask values 0, 1, ..., such as ")
    assert line.endswith("; the first 2 masks hold 0, 1")


def test_classes_of_a_folder_that_is_not_there_are_asked_for_without_values(refused):
    (line,) = refused(FOLDER)
    assert line.endswith("such as 'data.classes=[background,cat]'")


def files_here():
    return {str(path): path.read_bytes() if path.is_file() else None for path in Path().rglob("*")}


def check_form(errors, lines):
    assert "Traceback" not in errors
    assert len(errors.splitlines()) == lines, errors
    for line in errors.splitlines():
        assert line.startswith("segtrain: "), line
        assert len(line) < 400, line


def cases(*rows):
    """Make parameters of rows that begin with their name."""
    return [pytest.param(*row[1:], id=row[0].replace(" ", "-")) for row in rows]


COMMAND_LINES = cases(
    # typos in keys
    ("top-level key", "sead=1", "sead: unknown key", "did you mean 'seed'?"),
    ("nested key", "trainer.epoch=3", "trainer.epoch: unknown key", "did you mean 'trainer.epochs'?"),
    ("key without its group", "epochs=3", "epochs: unknown key", "did you mean 'trainer.epochs'?"),
    ("key of data", "data.batchsize=3", "data.batchsize: unknown key", "did you mean 'data.batch_size'?"),
    ("key of a leaf", "loss.terms.dice.loss.smoth=1", "loss.terms.dice.loss.smoth: ", "'loss.terms.dice.loss.smooth'?"),
    ("name of a loss term", "loss.terms.dyce.weight=1", "loss.terms.dyce.weight: ", "'loss.terms.dice.weight'?"),
    ("key in a list", "augment.transforms.0.prob=1", "augment.transforms.0.prob: ", "'augment.transforms.0.p'?"),
    (
        "key of another choice",
        "arch.dropout=0.1",
        "arch.dropout: unknown key",
        "arch has attention, aux_heads, center, channels",
    ),
    (
        "added key",
        "+trainer.foo=1",
        "trainer.foo: unknown key",
        "choose from activation_checkpointing, auto_resume, channels_last",
    ),
    ("added key that exists", "+seed=1", "+seed=1: is there already", "write it without the +"),
    ("added leaf key", f"{SHAPES} +arch.attn=scse", "arch.attn: unknown key", "did you mean"),
    ("Hydra's own key", "hydra.verbose=true", "hydra.verbose: unknown key", "choose from hydra.run.dir, hydra.sweep"),
    # typos in groups and choices
    ("group", "encodr=resnet18", "encodr: unknown key", "did you mean 'encoder'?"),
    ("arch", "arch=fpnn", "arch=fpnn: no such choice", "did you mean 'fpn'?"),
    ("loss", "loss=dise", "loss=dise: no such choice", "did you mean 'dice'?"),
    ("data", "data=shape", "data=shape: no such choice", "did you mean 'shapes'?"),
    ("encoder", "encoder=resnet51", "encoder=resnet51: no such encoder", "did you mean 'resnet51q'?"),
    ("unheard-of encoder", "encoder=xyzzy", "encoder=xyzzy: no such encoder", "`segtrain zoo <part of a name>` lists"),
    ("augment", "augment=ligth", "augment=ligth: no such choice", "did you mean 'light'?"),
    ("debug", "debug=smok", "debug=smok: no such choice", "did you mean 'smoke'?"),
    ("unheard-of choice", "logger=aim", "logger=aim: no such choice", "choose from mlflow, none, several, tensorboard"),
    ("no choice", "arch=null", "arch: cannot be left out", "choose from deeplabv3, deeplabv3plus, dpt, fpn,"),
    ("group taken out", "~trainer", "trainer: cannot be left out", "choose from default"),
    (
        "list as a choice",
        "arch=[unet]",
        "arch=[unet]: expected the name of one choice",
        "choose from deeplabv3, deeplabv3plus, dpt, fpn,",
    ),
    ("list without -m", "arch=unet,fpn", "arch=unet,fpn: is a list of choices", "add -m to run every combination"),
    # words and flags
    ("command", "evl ckpt=x", "evl: neither a command nor key=value", "did you mean 'eval'?"),
    ("space for =", "trainer.epochs 3", "trainer.epochs: neither a command nor key=value", "write trainer.epochs=..."),
    ("stray word", "seed=1 fpn", "fpn: cannot be read, expected key=value", "write fpn=..."),
    ("no key", "=3", "=3: '' is no key", "such as trainer.epochs=3"),
    ("split by the shell", ["seed=1", "1}"], "1}: expected closed", "put the whole in 'quotes'"),
    ("braces taken by the shell", "loss.class_weights=star:3", "loss.class_weights: expected a mapping", "in 'quotes'"),
    ("name below a key", "loss.class_weights.star=3", "loss.class_weights.star: ", "'loss.class_weights={star: 3}'"),
    ("open bracket", "data.image_size=[32,32", "data.image_size=[32,32: ", "expected closed quotes and brackets"),
    ("open quote", ["name='abc"], "name='abc: the value cannot be read", "as a plain text: 'name=\"abc\"'"),
    ("unknown reference", ["name=${foo}"], "name: Interpolation key 'foo' not found", "write it out"),
    ("flag", "--cfgg", "--cfgg: no such flag", "did you mean '--cfg'?"),
    ("part of the config", "--cfg hydra", "-c/--cfg: invalid choice: 'hydra'", "`segtrain --help` lists the flags"),
    ("config folder", "--config-dir missing", "--config-dir missing: no such folder", "correct --config-dir"),
    ("sweep of a prediction", "-m predict ckpt=a,b", "-m: sweeps are for train, eval, launch", "not for predict"),
    ("choice in a sweep", "-m arch=unet,fpnn", "arch=fpnn: no such choice", "did you mean 'fpn'?"),
    ("value in a sweep", "-m seed=0,-1", "seed: expected at least 0", "got -1"),
    ("leaf in a sweep", f"-m {SHAPES} arch.norm=batch,grup", "arch.norm: expected one of ", "did you mean 'group'?"),
    ("range to sweep", "-m optimizer.lr=interval(0,1)", "cannot be swept", "list the values: optimizer.lr=a,b,c"),
    ("zoo", "zoo qwertyx", "zoo qwertyx: nothing matches", "`segtrain zoo` lists all"),
    # wrong types and values
    ("text for a count", "trainer.epochs=abc", "trainer.epochs: expected an integer", "got 'abc'"),
    ("fraction for a count", "trainer.epochs=1.5", "trainer.epochs: expected an integer", "got 1.5"),
    ("negative count", "trainer.epochs=-1", "trainer.epochs: expected at least 1", "got -1"),
    ("count of zero", "trainer.epochs=0", "trainer.epochs: expected at least 1", "got 0"),
    ("null count", "trainer.epochs=null", "trainer.epochs: expected an integer", "got null"),
    ("count taken out", "~trainer.epochs", "trainer.epochs: missing", "add trainer.epochs=..."),
    ("text for a rate", "optimizer.lr=abc", "optimizer.lr: expected a number", "got 'abc'"),
    ("rate of zero", "optimizer.lr=0", "optimizer.lr: expected more than 0", "got 0"),
    ("negative rate", "optimizer.lr=-1", "optimizer.lr: expected more than 0", "got -1"),
    ("infinite rate", "optimizer.lr=inf", "optimizer.lr: expected a finite number", "got inf"),
    ("batch of none", "data.batch_size=0", "data.batch_size: expected at least 1", "got 0"),
    ("precision", "trainer.precision=fp64", "trainer.precision: expected one of auto, fp32", "did you mean 'fp16'?"),
    ("size as text", "data.image_size=x", "data.image_size: expected an integer or a list", "got 'x'"),
    ("size of zero", "data.image_size=0", "data.image_size: expected at least 8", "got 0"),
    ("size of three", "data.image_size=[1,2,3]", "data.image_size: expected a list of 2", "got [1, 2, 3]"),
    ("negative height", "data.image_size=[-1,32]", "data.image_size: expected at least 8", "got [-1, 32]"),
    ("monitor", "trainer.monitor=val/ious", "trainer.monitor: expected one of val/iou", "did you mean 'val/iou'?"),
    ("negative seed", "seed=-1", "seed: expected at least 0", "got -1"),
    ("seed beyond 32 bits", "seed=4294967296", "seed: expected at most 4294967295", "got 4294967296"),
    ("split", "data.split=tset", "data.split: expected one of train, val, test", "did you mean 'test'?"),
    ("no run folder", "hydra.run.dir=", "hydra.run.dir: expected a folder", "write hydra.run.dir=outputs/my_run"),
    # what only building shows
    ("device that does not exist", f"{SHAPES} device=gpu", "device: expected auto, cpu, cuda", "got 'gpu'"),
    ("depth", f"{SHAPES} encoder.depth=9", "encoder.depth: expected at most 5", "got 9"),
    ("number of channels", f"{SHAPES} arch.channels=[1,2]", "arch.channels: got 2 numbers", "example 'arch.channels="),
    ("weight of a loss", f"{SHAPES} loss.terms.dice.loss.smooth=x", "loss.terms.dice.loss.smooth: ", "number, got 'x'"),
    ("transform", f"{SHAPES} augment.transforms=[Blur]", "augment.transforms: ", "mapping with _target_, got 'Blur'"),
    (
        "value inside a transform",
        f"{SHAPES} augment.transforms=[{{_target_:albumentations.HorizontalFlip,p:3}}]",
        "augment: albumentations.augmentations.geometric.flip.HorizontalFlip refuses its arguments",
        "less than or equal to 1",
    ),
    ("package", f"{SHAPES} arch._target_=my_pkg.Unet", "arch._target_: cannot import 'my_pkg.Unet'", "install its"),
    (
        "class",
        f"{SHAPES} arch._target_=segtrain.models.decoders.Unett",
        "arch._target_: segtrain.models.decoders has no class or function 'Unett'",
        "did you mean 'Unet'?",
    ),
    ("weights file", f"{SHAPES} encoder.weights=no.pth", "encoder.weights: no such file", "encoder.weights=null"),
    ("keys of no data", f"{FOLDER} data.classes=[cat]", "photos: no such folder", "set data.root"),
    ("text for a list", f"{FOLDER} data.classes=cat", "data.classes: expected a list such as [a,b]", "got 'cat'"),
    ("no classes", f"{FOLDER} data.classes=[]", "data.classes: no names", "such as 'data.classes="),
    ("a class twice", f"{FOLDER} data.classes=[a,b,a]", "data.classes: a more than once", "expected distinct names"),
    ("number of weights", f"{SHAPES} loss.class_weights=[1]", "1 weights, expected 5", "set 'loss.class_weights=[1.0,"),
    ("pets elsewhere", f"data=oxford_pets {RUN} data.download=false", "oxford-iiit-pet: no images/", "set data.root"),
    # other commands
    ("eval of nothing", "eval", "ckpt: missing", "add ckpt=..."),
    ("eval of no file", "eval ckpt=nope", "nope: no such file or folder, expected a checkpoint", "give outputs/"),
    ("resume of no file", "resume=nope", "nope: no such file or folder, expected a checkpoint", "give outputs/"),
)


@pytest.mark.parametrize(("arguments", "where_and_what", "remedy"), COMMAND_LINES)
def test_a_wrong_command_line_is_explained(arguments, where_and_what, remedy, refused):
    (line,) = refused(arguments)
    assert where_and_what in line
    assert remedy in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_is_not_there_is_explained(refused):
    assert "device=cuda: this machine has no such device; use device=auto" in refused(f"{SHAPES} device=cuda")[0]


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        (
            "archh=fpn data=shape seed=-1 trainer.epochs=abc optimizer.lr=0",
            ["data=shape", "archh", "seed", "optimizer.lr", "trainer.epochs"],
        ),
        ("predict", ["ckpt", "input", "output"]),
        ("predict junk.pt none masks", ["junk.pt", "input=none"]),
        ("compare no_a no_b", ["no_a", "no_b"]),
        ("score no_masks no_truth classes=[a]", ["pred=no_masks", "truth=no_truth"]),
        ("score no_masks no_truth mode=multilabel classes=[a,b]", ["pred=no_masks", "truth=no_truth"]),
        (f"data=folder {RUN} arch.norm=x", ["arch.norm", "data.root", "data.classes"]),
        ("seed=[1 arch= fpn", ["seed=[1", "fpn"]),
        ("--cfgg --foo", ["--cfgg", "--foo"]),
    ],
)
def test_all_problems_are_reported_at_once(arguments, problems, refused):
    lines = refused(arguments, lines=len(problems))
    assert sorted(line.split(": ")[1] for line in lines) == sorted(problems)


CONFIG_FILES = cases(
    ("leaf", "loss: {terms: {dice: {loss: {smoth: 1}}}}", "loss.terms.dice.loss.smoth: unknown key", "'smooth'?"),
    ("key", "trainer: {epohcs: 1}", "trainer.epohcs: unknown key", "did you mean 'epochs'?"),
    ("top-level key", "sead: 1", "sead: unknown key", "did you mean 'seed'?"),
    ("group", "defaults:\n  - override /archh: fpn", "mine.yaml: 'archh' is no group", "did you mean 'arch'?"),
    ("choice", "defaults:\n  - override /arch: fpnn", "arch=fpnn: no such choice", "did you mean 'fpn'?"),
    ("bracket", "trainer: {epochs: [1", "experiment/mine.yaml:3: not YAML", "fix the file"),
    ("key twice", "seed: 1\nseed: 2", "experiment/mine.yaml:3: not YAML (found duplicate key seed)", "fix the file"),
)


@pytest.mark.parametrize(("text", "where_and_what", "remedy"), CONFIG_FILES)
def test_a_wrong_config_file_of_the_user_is_explained(text, where_and_what, remedy, refused):
    write_config("experiment", f"# @package _global_\n{text}\n")
    (line,) = refused(f"--config-dir mine experiment=mine {SHAPES}")
    assert where_and_what in line
    assert remedy in line


def test_an_experiment_file_without_its_first_line_is_explained(refused):
    write_config("experiment", "trainer: {epochs: 1}\n")
    assert "begin it with '# @package _global_'" in refused("--config-dir mine experiment=mine")[0]


def test_a_choice_without_a_target_is_explained(refused):
    write_config("arch", "channels: [1]\n")
    assert "arch: has no _target_" in refused("--config-dir mine arch=mine trainer.max_steps=1")[0]


def write_config(group, text):
    folder = Path("mine") / group
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(text)


def paint(path, pixels):
    Image.fromarray(np.array(pixels, np.uint8)).save(path)


def each_mask(change):
    for path in Path("photos/masks").iterdir():
        paint(path, change(np.array(Image.open(path))))


def truncate(path, size=None):
    data = path.read_bytes()
    path.write_bytes(data[: size or len(data) - 40])


def no_images(photos):
    shutil.rmtree(photos / "images")


def empty_images(photos):
    no_images(photos)
    (photos / "images").mkdir()


DATA_FILES = cases(
    ("no folder", no_images, "photos: no folder images/ there (found: masks/)", "set data.images="),
    ("empty folder", empty_images, "photos/images: no images there", "expected files of .jpg, .jpeg, .png"),
    ("image without a mask", lambda p: (p / "masks/2.png").unlink(), "2.jpg: no file of that name", "complete or"),
    ("mask without an image", lambda p: (p / "images/2.jpg").unlink(), "2.png: no file of that name", "remove them"),
    ("two sizes", lambda p: paint(p / "masks/2.png", [[0]]), "2.png: mask of 1x1 pixels for an image", "one size"),
    ("0 and 255", lambda p: each_mask(lambda m: m * 255), "mask holds 0 and 255", "'data.class_map={0: 0, 255: 1}'"),
    ("class out of range", lambda p: each_mask(lambda m: m * 7), "mask holds 0 and 7, expected 0..1", "data.class_map"),
    (
        "colours",
        lambda p: paint(p / "masks/2.png", np.full((32, 40, 3), (0, 90, 7))),
        "the mask holds colours",
        "{0-90-7: ?}",
    ),
    ("truncated image", lambda p: truncate(p / "images/2.jpg"), "2.jpg: cannot be decoded", "restore or remove it"),
    ("unreadable mask", lambda p: truncate(p / "masks/2.png", 5), "2.png: not an image", "restore or remove it"),
    ("empty file", lambda p: (p / "images/2.jpg").write_bytes(b""), "2.jpg: the file is empty", "restore or remove"),
)


@pytest.fixture
def photos():
    """Eight pairs of image and mask, and no mistake."""
    for index in range(8):
        for kind in ("images", "masks"):
            (Path("photos") / kind).mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(index)
        paint(f"photos/images/{index}.jpg", generator.integers(0, 255, (32, 40, 3)))
        paint(f"photos/masks/{index}.png", np.pad(np.ones((16, 20)), ((8, 8), (10, 10))))
    return Path("photos")


@pytest.mark.parametrize(("spoil", "where_and_what", "remedy"), DATA_FILES)
def test_a_wrong_file_of_the_data_is_explained(spoil, where_and_what, remedy, photos, refused):
    spoil(photos)
    (line,) = refused(f"{FOLDER} data.classes=[cat]")
    assert where_and_what in line
    assert remedy in line


QUICK_TO_REFUSE = cases(
    ("impossible", "arch.aux_heads=[64]", "arch.aux_heads"),
    ("device", "device=gpu", "device"),
    ("weights file", "encoder.weights=none.pth", "encoder.weights"),
    ("weights of another model", "encoder.weights=other.safetensors", "other.safetensors"),
    ("resumed from nothing", "init_from=nowhere", "nowhere"),
    ("output", "hydra.run.dir=afile/x", "hydra.run.dir=afile/x"),
    ("key of the optimizer", "+optimizer.foo=1", "optimizer.foo"),
)


@pytest.mark.parametrize(("words", "where"), QUICK_TO_REFUSE)
def test_what_is_quick_to_refuse_is_refused_before_any_file_of_the_data_is_read(
    words, where, photos, refused, monkeypatch
):
    save_file(timm.create_model("test_efficientnet").state_dict(), "other.safetensors")
    Path("afile").write_text("not a folder")
    verified = spy_on(monkeypatch, Folder, "verify")
    line = refused(f"{FOLDER} data.classes=[cat] {words}")[0]
    assert line.startswith(f"segtrain: {where}: ")
    assert verified == []


def test_a_mistake_that_a_constructor_finds_keeps_a_chain_of_causes_that_ends():
    job = compose("train", [*shlex.split(SHAPES), "loss.class_weights=[1]"]).job
    with pytest.raises(ConfigError, match=r"loss\.class_weights: 1 weights, expected 5") as caught:
        build_trainer(job, Path("run"))
    causes, error = [], caught.value
    while error is not None and len(causes) < 20:
        causes.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert len(causes) < 20


def test_the_files_of_both_splits_are_verified_before_training(photos, monkeypatch):
    verified = spy_on(monkeypatch, Folder, "verify")
    assert main(shlex.split(f"{FOLDER} data.classes=[cat]")) == 0
    assert len(verified) == 2


def test_data_of_other_classes_is_refused_by_eval_before_its_files_are_read(run, photos, refused, monkeypatch):
    verified = spy_on(monkeypatch, Folder, "verify")
    assert "data: has the classes cat" in refused(f"eval run {FOLDER} data.classes=[cat]")[0]
    assert verified == []


def spy_on(monkeypatch, owner, name):
    """Note the calls of a method, and let them through."""
    calls, method = [], getattr(owner, name)

    def noted(self, *arguments, **options):
        calls.append(self)
        return method(self, *arguments, **options)

    monkeypatch.setattr(owner, name, noted)
    return calls


def test_weights_of_another_model_are_refused(refused):
    save_file(timm.create_model("test_efficientnet").state_dict(), "other.safetensors")
    (line,) = refused(f"{SHAPES} encoder.weights=other.safetensors")
    assert "other.safetensors: not the weights of test_resnet" in line
    assert "encoder.weights=null (random)" in line


def test_truncated_weights_are_refused(refused):
    save_file(timm.create_model("test_resnet").state_dict(), "half.safetensors")
    truncate(Path("half.safetensors"), 1000)
    (line,) = refused(f"{SHAPES} encoder.weights=half.safetensors")
    assert "half.safetensors: cannot be read as weights of test_resnet" in line


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (f"{SHAPES} hydra.run.dir=afile/x", "hydra.run.dir"),
        (f"-m {SHAPES} seed=0,1 hydra.sweep.dir=afile/x", "hydra.sweep.dir"),
        ("eval ckpt=run output=afile/x", "output"),
        ("predict ckpt=run input=photos output=afile/x", "output"),
    ],
)
def test_a_folder_that_cannot_be_written_is_refused(arguments, key, run, photos, refused):
    Path("afile").write_text("not a folder")
    (line,) = refused(arguments)
    assert f"{key}=afile/x: cannot be written (Not a directory), expected a folder; choose another {key}=..." in line


def test_a_folder_that_holds_a_run_is_refused(run, refused):
    assert "hydra.run.dir=run: holds a run; go on with segtrain resume run" in refused(f"{SHAPES} hydra.run.dir=run")[0]


class Payload:
    """Writes a file when it is unpickled."""

    def __reduce__(self):
        return open, ("pwned", "w")


def without_other_checkpoints(last):
    for path in last.parent.glob("*.pt"):
        if path != last:
            path.unlink()


def damage(last):
    truncate(last, last.stat().st_size // 2)


def write_zip(last):
    with zipfile.ZipFile(last, "w") as archive:
        archive.writestr("readme.txt", "hello")


def weights_alone(last):
    torch.save(torch.load(last, weights_only=True)["model"], last)


CHECKPOINTS = cases(
    ("none", lambda last: last.unlink(), "run: holds no checkpoints/last.pt", "give outputs/<name>/<time>"),
    ("truncated", damage, "last.pt: is truncated or damaged", "use another of the run"),
    ("empty", lambda last: last.write_bytes(b""), "last.pt: is truncated or damaged", "use another of the run"),
    ("text", lambda last: last.write_text("hello\n"), "last.pt: is not a checkpoint", "give outputs/<name>/<time>"),
    ("zip", write_zip, "last.pt: is truncated or damaged", "use another of the run"),
    ("dict", lambda last: torch.save({"a": 1}, last), "last.pt: is not a checkpoint (it lacks format", "give outputs/"),
    ("tensor", lambda last: torch.save(torch.ones(2), last), "last.pt: is not a checkpoint", "give outputs/"),
    ("weights alone", weights_alone, "last.pt: is not a checkpoint (it lacks format, model", "give outputs/"),
    ("pickled code", lambda last: torch.save({"a": Payload()}, last), "holds pickled objects, which could run", "give"),
    ("bare pickle", lambda last: last.write_bytes(pickle.dumps(Payload())), "last.pt: is not a checkpoint", "give"),
)


@pytest.mark.parametrize("command", ["resume=run", "eval ckpt=run", "predict ckpt=run input=afile output=masks"])
@pytest.mark.parametrize(("spoil", "where_and_what", "remedy"), CHECKPOINTS)
def test_a_file_that_is_no_checkpoint_is_refused(command, spoil, where_and_what, remedy, run, refused):
    Path("afile").write_text("not read")
    last = Path("run/checkpoints/last.pt")
    without_other_checkpoints(last)
    spoil(last)
    (line,) = refused(command)
    assert where_and_what in line
    assert remedy in line
    assert not Path("pwned").exists()


def test_the_pickled_code_of_these_tests_would_do_harm():
    pickle.loads(pickle.dumps(Payload())).close()
    assert Path("pwned").exists()


@pytest.mark.parametrize("command", ["resume=run", "eval ckpt=run", "predict ckpt=run input=afile output=masks"])
@pytest.mark.parametrize("target", ["os.system", "segtrain.run.checkpoint.os.system", "subprocess.run"])
def test_a_checkpoint_that_names_foreign_code_is_refused(command, target, run, refused):
    Path("afile").write_text("not read")
    for path in Path("run/checkpoints").glob("*.pt"):
        payload = torch.load(path, weights_only=True)
        foreign = {"_target_": target, "command": "touch pwned", "args": "touch pwned"}
        payload["config"]["arch"] = {**foreign, "aux_heads": []}
        torch.save(payload, path)
    (line,) = refused(command)
    assert f"arch._target_ is {target!r}, which is not one of segtrain." in line
    assert f"if you trust it, name it: arch._target_={target}" in line


@pytest.mark.parametrize(
    ("arguments", "where_and_what", "remedy"),
    cases(
        ("typo", "resume=run trainer.epoch=1", "trainer.epoch: unknown key", "did you mean 'trainer.epochs'?"),
        ("value", "resume=run trainer.max_steps=abc", "trainer.max_steps: expected an integer", "got 'abc'"),
        ("experiment", "resume=run debug=smoke", "debug=smoke: cannot be changed", "start a new run"),
        ("alone", "resume=alone.pt", "resume=alone.pt: lies in no run folder", "add hydra.run.dir=..."),
        ("two runs", "resume=run,run", "resume=run,run: is a list of choices", "add -m"),
        (
            "classes",
            f"eval ckpt=run {FOLDER} data.classes=[cat]",
            "data: has the classes cat, the checkpoint",
            "set data.",
        ),
        ("split", "eval ckpt=run data.split=tset", "data.split: expected one of train", "did you mean 'test'?"),
        ("device", "eval ckpt=run device=gpu", "device: expected auto, cpu", "got 'gpu'"),
        ("no images", "predict ckpt=run input=run output=masks", "input=run: holds no images", "correct input=..."),
        ("opacity", "predict ckpt=run input=photos output=masks overlay=2", "overlay: expected at most 1", "got 2"),
        (
            "text for an image",
            "predict ckpt=run input=photos output=alone.pt",
            "output=alone.pt: cannot be",
            "another output",
        ),
    ),
)
def test_a_wrong_use_of_a_good_checkpoint_is_explained(arguments, where_and_what, remedy, run, photos, refused):
    shutil.copyfile("run/checkpoints/last.pt", "alone.pt")
    Path("run/overview.png").unlink()
    shutil.rmtree("run/eval")
    (line,) = refused(arguments)
    assert where_and_what in line
    assert remedy in line


def test_a_resume_with_another_architecture_is_refused_and_touches_nothing(run, refused):
    (line,) = refused("resume=run arch=fpn")
    assert "arch: was unet, now fpn, but a run that goes on keeps its model; leave arch=fpn out" in line


def test_a_resume_with_another_model_of_that_name_is_refused_and_touches_nothing(run, refused):
    (line,) = refused("resume=run arch.channels=[8,8,8,8,16]")
    assert "(changed: arch.channels was [8, 8, 8, 8, 8], now [8, 8, 8, 8, 16])" in line
    assert "leave out what changes them" in line


def test_a_run_that_cannot_be_built_names_no_folder(capsys):
    assert main(shlex.split(f"{SHAPES} loss.class_weights=[1]")) == 2
    assert "run folder" not in capsys.readouterr().out
    assert main(shlex.split(SHAPES)) == 0
    assert "run folder outputs/" in capsys.readouterr().out


def test_an_unreadable_image_does_not_keep_the_others_from_being_predicted(run, photos, capsys):
    (photos / "images/bad.jpg").write_bytes(b"\xff\xd8 no image")
    assert main(["predict", "ckpt=run", "input=photos/images", "output=masks", "overlay=null"]) == 2
    errors = capsys.readouterr().err
    check_form(errors, lines=1)
    assert "photos/images/bad.jpg: not an image of a known format" in errors
    written = sorted(path.name for path in Path("masks").iterdir())
    assert written == [*(f"{index}.png" for index in range(8)), "predictions.jsonl"]


def test_two_images_of_one_name_have_a_mask_each(run, photos):
    Image.open("photos/images/0.jpg").save("photos/images/0.png")
    assert main(["predict", "ckpt=run", "input=photos/images", "output=both", "overlay=null"]) == 0
    assert {"0.jpg.png", "0.png.png", "1.png"} <= {path.name for path in Path("both").iterdir()}
    assert not Path("both/0.png").exists()


def python(*arguments, code):
    """Run Python in a process of its own; returns what it wrote to stderr."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    process = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == code, process.stderr
    return process.stderr


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["trainer.epoch=3"], "segtrain: trainer.epoch: unknown key, did you mean 'trainer.epochs'?\n"),
        (["-m", "arch=unet,fpnn"], "segtrain: arch=fpnn: no such choice, did you mean 'fpn'?\n"),
        (
            [*shlex.split(SHAPES), "device=gpu"],
            "segtrain: device: expected auto, cpu, cuda, cuda:<n> or mps, got 'gpu'\n",
        ),
    ],
)
def test_a_process_of_its_own_prints_the_line_and_ends_with_code_2(arguments, error):
    assert python("-m", "segtrain", *arguments, code=2) == error
    assert list(Path().iterdir()) == []


def test_a_process_of_its_own_prints_one_line_about_a_damaged_checkpoint(run):
    last = run / "checkpoints/last.pt"
    without_other_checkpoints(last)
    damage(last)
    line = "segtrain: run/checkpoints/last.pt: is truncated or damaged, expected a whole file; use another of the run\n"
    assert python("-m", "segtrain", "resume=run", code=2) == line


TORCH_FREE = """
import sys
from segtrain.cli import main
code = main(sys.argv[1:])
assert "torch" not in sys.modules
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("trainer.epoch=3", 2),
        ("arch=fpnn", 2),
        ("encodr=resnet18", 2),
        ("trainer.epochs=abc", 2),
        ("encoder=resnet51", 2),
        ("-m arch=unet,fpnn", 2),
        ("--help", 0),
        ("arch=fpn --cfg job", 0),
        ("zoo resnet", 0),
        ("export", 2),
        ("--epochs 5", 2),
        ("eval a b", 2),
        ("predict ext=jpg", 2),
        ("arch=deeplabv3+ encoder=timm/resnet18.a1_in1k --cfg job", 0),
    ],
)
def test_what_needs_no_torch_is_answered_without_it(arguments, code):
    python("-c", TORCH_FREE, *shlex.split(arguments), code=code)
