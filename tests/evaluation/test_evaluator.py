"""Scores at the images' own size, against doing the same by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segtrain.data.loading.dataset import AugmentedDataset, OwnSizeDataset, collate
from segtrain.data.loading.transforms import Fitting, Pipeline
from segtrain.data.sample import RawSample, Source
from segtrain.errors import DataError
from segtrain.evaluation.evaluator import evaluate
from segtrain.inference.network import Network
from segtrain.metrics import Calibration, Curves, count, scores
from segtrain.models import Normalize
from segtrain.runtime.device import Runtime
from segtrain.task import Binary, Multiclass
from tests.waits import CountWaits

SIZES = [(40, 61), (61, 40), (33, 33), (64, 64)]
RUNTIME = Runtime(device=torch.device("cpu"), precision="fp32")


class Photos(Source):
    """Images of several sizes, the masks of which depend on their pixels."""

    class_names = ("a", "b", "c")
    image_labels = ()
    ids = tuple(f"photo{number}" for number in range(len(SIZES)))

    def __len__(self):
        return len(SIZES)

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        blobs = F.interpolate(torch.rand(1, 3, 5, 5, generator=generator), SIZES[index], mode="bicubic").clamp(0, 1)
        image = (255 * blobs[0]).byte().permute(1, 2, 0).numpy()
        mask = blobs[0].argmax(0).byte()
        mask[:3] = 255
        return RawSample(image, mask.numpy(), self.ids[index])


class Colours(nn.Conv2d):
    """A model that sees what the masks are made of, through one convolution."""

    def __init__(self, channels=3):
        super().__init__(3, channels, 5, padding=2)
        nn.init.constant_(self.weight, 0.01)
        with torch.no_grad():
            self.weight[range(channels), range(channels)] += 0.2
        self.normalize = Normalize([0.5] * 3, [0.5] * 3)


@pytest.fixture(params=["stretch", "pad", "none"])
def pipeline(request):
    return Pipeline(Fitting(request.param, 48))


def by_hand(model, source, fitting, task):
    counts = []
    for index in range(len(source)):
        raw = source[index]
        image = torch.from_numpy(fitting.image(raw.image)).permute(2, 0, 1)[None]
        height, width = fitting.content_size(raw.mask.shape)
        logits = model(model.normalize(image))[..., :height, :width]
        logits = F.interpolate(logits, raw.mask.shape, mode="bilinear")
        counts.append(count(task.predict(logits), torch.from_numpy(raw.mask)[None], task))
    return type(counts[0]).cat(counts)


@torch.inference_mode()
def test_logits_are_resized_to_the_image_and_compared_with_the_untouched_mask(pipeline):
    source, task, model = Photos(), Multiclass(Photos.class_names), Colours()
    dataset = OwnSizeDataset(source, pipeline, seed=0)
    batches = [collate([dataset[0, index] for index in pair]) for pair in ((0, 1), (2, 3))]
    found = evaluate(Network(model, RUNTIME), batches, task=task)
    expected = by_hand(model, source, pipeline.fitting, task)
    assert found.scores == {"at": "original", **scores(expected, task.class_names)}
    assert found.counts.decided.tolist() == [(height - 3) * width for height, width in SIZES]
    assert found.ids == source.ids
    assert 0.3 < found.scores["iou"] < 0.99


def test_the_size_the_model_saw_is_scored_where_no_truth_comes_along(pipeline):
    dataset = AugmentedDataset(Photos(), pipeline, seed=0)
    found = evaluate(Network(Colours(), RUNTIME), [collate([dataset[0, 0]])], task=Multiclass(Photos.class_names))
    assert found.scores["at"] == "input"
    assert int(found.counts.decided) <= 48 * 61


def test_the_confusion_matrix_holds_every_pixel_that_counts():
    dataset = OwnSizeDataset(Photos(), Pipeline(Fitting("stretch", 48)), seed=0)
    batch = collate([dataset[0, index] for index in range(len(SIZES))])
    found = evaluate(Network(Colours(), RUNTIME), [batch], task=Multiclass(Photos.class_names))
    assert found.confusion.shape == (1, 3, 3)
    assert int(found.confusion.sum()) == int(found.counts.decided.sum())
    assert int(found.confusion[0].trace()) == int(found.counts.correct.sum())


def test_logits_and_labels_are_shown_to_whatever_else_measures():
    dataset = OwnSizeDataset(Photos(), Pipeline(Fitting("pad", 48)), seed=0)
    batch = collate([dataset[0, index] for index in range(len(SIZES))])
    batch["truth"] = [(truth == 1).byte() for truth in batch["truth"]]
    seen = []
    task = Binary(cuts=[0.1])

    def measure(logits, prediction, target, names):
        assert len(names) == len(target)
        assert logits.dtype == torch.float32
        assert torch.equal(prediction, task.predict(logits))
        seen.append(target)

    evaluate(Network(Colours(1), RUNTIME), [batch], task=task, measure=measure)
    assert [tuple(target.shape) for target in seen] == [(1, *size) for size in SIZES]


@pytest.mark.parametrize("kind", [AugmentedDataset, OwnSizeDataset])
def test_a_device_is_waited_for_at_the_end_alone(kind):
    dataset, task = kind(Photos(), Pipeline(Fitting("pad", 48)), seed=0), Multiclass(Photos.class_names)

    def waits(images):
        curves, calibration = Curves(task), Calibration(task)

        def measure(logits, _prediction, target, names):
            curves.update(logits, target)
            calibration.update(logits, target, names)

        batches = [collate([dataset[0, image]]) for image in range(images)]
        with CountWaits() as counted:
            evaluate(Network(Colours(), RUNTIME), batches, task=task, measure=measure)
        return counted.waits

    assert waits(4) == waits(1) > 0


@pytest.mark.parametrize("kind", [AugmentedDataset, OwnSizeDataset])
def test_a_label_out_of_range_is_named_with_its_place(kind):
    dataset = kind(Photos(), Pipeline(Fitting("none", 48)), seed=0)
    batch = collate([dataset[0, image] for image in (2, 2)])
    (batch["truth"][1] if "truth" in batch else batch["mask"][1])[5, 7] = 9
    with pytest.raises(DataError, match=r"^image photo2: target holds 9 at row 5, column 7, expected 0\.\.2 or 255"):
        evaluate(Network(Colours(), RUNTIME), [batch], task=Multiclass(Photos.class_names))
