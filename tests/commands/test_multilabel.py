"""Classes that overlap, from one folder of masks for each: read, trained, scored, predicted."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from segtrain import load_model
from segtrain.cli import main
from segtrain.data.files.images import read_image, read_mask
from segtrain.data.formats.folder import Folder
from segtrain.data.loading.dataset import collate
from segtrain.data.loading.transforms import Fitting, Pipeline, apply
from segtrain.data.palette import colorize, flatten
from segtrain.errors import ConfigError, DataError
from segtrain.evaluation.reports import read_report
from segtrain.task import IGNORE_INDEX

SIZE = (52, 76)
CLASSES = ("dark", "left")


def write_overlapping(root, count=12):
    """Write photos of dark blobs, which are one class; the other is whatever lies left of a bright line."""
    rng = np.random.default_rng(0)
    for folder in ("images", *(f"masks/{name}" for name in CLASSES)):
        (root / folder).mkdir(parents=True)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    for number in range(count):
        y, x, radius, line = rng.uniform(10, 42), rng.uniform(10, 66), rng.uniform(8, 16), rng.integers(25, 50)
        masks = ((rows - y) ** 2 + (columns - x) ** 2 < radius**2, columns < line)
        pixels = 150 - 90 * masks[0][..., None] + [60, 0, -60] * masks[1][..., None] + rng.normal(0, 10, (*SIZE, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / "images" / f"{number:02}.png")
        for name, mask in zip(CLASSES, masks, strict=True):
            Image.fromarray(mask.astype(np.uint8)).save(root / "masks" / name / f"{number:02}.png")
    return root


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_overlapping(tmp_path_factory.mktemp("multilabel") / "photos")


@pytest.fixture
def own_photos(photos, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(photos, tmp_path / "photos")


@pytest.fixture(scope="module")
def run(photos):
    folder = photos.parent / "run"
    words = ["data=folder", f"data.root={photos}", "data.mode=multilabel", "data.classes=[dark,left]"]
    small = ["data.image_size=32", "data.batch_size=4", "data.num_workers=0", "data.val_fraction=0.3"]
    model = ["encoder=test_resnet", "encoder.weights=null", "loss=bce", "loss.class_weights=auto"]
    learning = ["trainer.epochs=40", "trainer.val_every=40", "optimizer.lr=0.005"]
    assert main([*words, *small, *model, *learning, f"hydra.run.dir={folder}"]) == 0
    return folder


def open_folder(root, **options):
    return Folder(split="train", root=str(root), classes=CLASSES, **{"mode": "multilabel", **options})


def test_a_sample_has_a_mask_for_each_class(photos):
    source = open_folder(photos)
    source.verify()
    raw = source[3]
    assert raw.mask.shape == (2, *SIZE)
    for name, mask in zip(CLASSES, raw.mask, strict=True):
        assert np.array_equal(mask, read_mask(photos / "masks" / name / f"{raw.id}.png"))
    assert np.array_equal(raw.mask, source.mask(3))
    assert (raw.mask.sum(0) == 2).any()  # they overlap


def test_augmentation_moves_all_classes_with_the_image(photos):
    import albumentations as A

    turned = [A.HorizontalFlip(p=1), A.Affine(translate_px={"x": 9, "y": 0}, fill_mask=IGNORE_INDEX, p=1)]
    raw = open_folder(photos)[0]
    sample = apply(Pipeline(Fitting("none", None), turned), raw, (0, 0))
    assert sample["mask"].shape == (2, *SIZE)
    assert (sample["mask"][..., :9] == IGNORE_INDEX).all()
    assert np.array_equal(sample["mask"][..., 9:], raw.mask[..., ::-1][..., :-9])
    assert np.array_equal(sample["image"][..., 9:], raw.image[:, ::-1].transpose(2, 0, 1)[..., :-9])


def test_the_border_of_a_padded_mask_is_ignored_in_every_class(photos):
    raw = open_folder(photos)[0]
    sample = apply(Pipeline(Fitting("pad", 38)), raw, (0,))
    assert sample["mask"].shape == (2, 38, 38)
    assert (sample["mask"][:, 26:] == IGNORE_INDEX).all()
    assert (sample["mask"][:, :26] != IGNORE_INDEX).all()


def test_a_batch_stacks_masks_of_several_sizes():
    sizes = ((4, 6), (5, 3))
    samples = [{"image": torch.ones(3, *size), "mask": torch.ones(2, *size).byte(), "id": "a"} for size in sizes]
    batch = collate(samples)
    assert batch["mask"].shape == (2, 2, 5, 6)
    assert (batch["mask"] == 1).sum() == 2 * (24 + 15)
    assert (batch["mask"] == IGNORE_INDEX).sum() == 2 * (60 - 24 - 15)


def test_a_class_without_a_file_is_an_error_unless_it_is_said_what_that_means(own_photos):
    (own_photos / "masks" / "dark" / "05.png").unlink()
    with pytest.raises(DataError, match=r"05\.png: no file of that name in .*dark, .*data\.missing=absent"):
        open_folder(own_photos)
    for missing, value in (("absent", 0), ("ignore", IGNORE_INDEX)):
        source = open_folder(own_photos, missing=missing, val_fraction=0)
        source.verify()
        mask = source[source.ids.index("05")].mask
        assert (mask[0] == value).all()
        assert mask[1].any()


def spoil(root, what):
    match what:
        case "no folder":
            shutil.rmtree(root / "masks" / "left")
        case "values":
            for path in root.glob("masks/*/*.png"):
                Image.fromarray(read_mask(path) * 255).save(path)
        case "size":
            Image.new("L", (9, 9)).save(root / "masks" / "left" / "00.png")
        case "no image":
            (root / "images" / "00.png").unlink()


@pytest.mark.parametrize(
    ("what", "options", "message"),
    [
        ("no folder", {}, r"masks: no folder left/ there \(found: dark\)"),
        (
            "values",
            {},
            r"00\.png: mask holds 0 and 255, expected 0\.\.1 \(absent, present\); add 'data\.class_map=\{0: 0",
        ),
        ("size", {}, r"left/00\.png: mask of 9x9 pixels for an image of 76x52"),
        ("no image", {}, r"dark/00\.png: no file of that name in .*images"),
        ("mode", {"mode": None}, r"masks: has folders of classes \(dark/, left/\).* set data\.mode=multilabel"),
        ("mode", {"mode": "multiclass", "missing": "absent"}, r"data\.missing: absent is for data\.mode=multilabel"),
    ],
)
def test_mistakes_are_explained(own_photos, what, options, message):
    spoil(own_photos, what)
    with pytest.raises((ConfigError, DataError), match=message):
        open_folder(own_photos, val_fraction=0, **options).verify()


def test_masks_of_0_and_255_are_translated(own_photos):
    for path in own_photos.glob("masks/*/*.png"):
        Image.fromarray(read_mask(path) * 255).save(path)
    source = open_folder(own_photos, class_map={0: 0, 255: 1})
    source.verify()
    assert set(np.unique(source[0].mask)) == {0, 1}


def test_later_classes_are_painted_over_earlier_ones():
    masks = np.array([[[0, 1, 1, 255]], [[0, 0, 1, 0]]], np.uint8)
    assert flatten(masks).tolist() == [[0, 1, 2, IGNORE_INDEX]]
    colours = [(0, 0, 0), (9, 0, 0), (0, 9, 0)]
    assert colorize(masks, colours)[0, :3].tolist() == [[0, 0, 0], [9, 0, 0], [0, 9, 0]]


def test_both_classes_are_learnt(run):
    scores = json.loads((run / "scores.json").read_text())["val"]["per_class"]
    assert list(scores) == list(CLASSES)
    assert min(row["iou"] for row in scores.values()) > 0.6


def test_eval_scores_each_class_at_the_images_own_size(run, photos):
    assert main(["eval", f"ckpt={run}", "eval.calibrate=true", "eval.bootstrap=20", "eval.boundary=true"]) == 0
    report = read_report(run / "eval" / "val")
    support = [sum(int(read_mask(photos / "masks" / name / f"{i}.png").sum()) for i in report.ids) for name in CLASSES]
    assert report.counts.total().support().tolist() == support
    assert report.counts.pixels().eq(SIZE[0] * SIZE[1]).all()
    assert len(load_model(run).thresholds) == 2


def test_predict_writes_what_the_data_reads(run, photos, tmp_path):
    assert main(["predict", f"ckpt={run}", f"input={photos / 'images'}", f"output={tmp_path / 'masks'}"]) == 0
    shutil.copytree(photos / "images", tmp_path / "images")
    predicted = open_folder(tmp_path, val_fraction=0)
    predicted.verify()
    assert len(predicted) == 12
    truth = open_folder(photos, val_fraction=0)
    agreement = np.mean([(predicted.mask(i) == truth.mask(i)).mean((1, 2)) for i in range(12)], axis=0)
    assert (agreement > 0.85).all()
    assert read_image(tmp_path / "masks" / "overlays" / "03.jpg").shape == (*SIZE, 3)


def test_masks_of_a_class_are_scored_as_a_binary_task(run, photos, tmp_path):
    assert main(["predict", f"ckpt={run}", f"input={photos / 'images'}", f"output={tmp_path}", "overlay=null"]) == 0
    words = [f"pred={tmp_path / 'left'}", f"truth={photos / 'masks' / 'left'}", "classes=[left]"]
    assert main(["score", *words, f"output={tmp_path / 'scores'}"]) == 0
    assert read_report(tmp_path / "scores").counts.pixels().sum() == 12 * SIZE[0] * SIZE[1]


def test_score_finds_in_the_predicted_files_what_eval_counted(run, photos, tmp_path):
    assert main(["eval", f"ckpt={run}", "eval.bootstrap=0", "eval.curves=false"]) == 0
    assert main(["predict", f"ckpt={run}", f"input={photos / 'images'}", f"output={tmp_path / 'masks'}"]) == 0
    words = [
        "mode=multilabel",
        f"pred={tmp_path / 'masks'}",
        f"truth={photos / 'masks'}",
        f"output={tmp_path / 'scores'}",
    ]
    assert main(["score", *words]) == 0
    evaluated, scored = read_report(run / "eval" / "val"), read_report(tmp_path / "scores")
    rows = [scored.ids.index(name) for name in evaluated.ids]
    for mine, counted in zip(scored.counts.tensors(), evaluated.counts.tensors(), strict=True):
        assert torch.equal(mine[rows], counted)
