"""Rebuilding a trained model from its checkpoint."""

import logging
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from segtrain.build.parts import build_fitting, build_inference, build_model, checked_config, inference_fitting
from segtrain.config.schema import Precision, TrainConfig
from segtrain.config.spine import to_config
from segtrain.data.files.images import ANY_SIZE
from segtrain.data.formats.paired import checked_range
from segtrain.data.loading.scale import TrainingScale, shrinkage, typical_size
from segtrain.data.loading.transforms import Fitting
from segtrain.data.palette import Colour
from segtrain.data.sample import Source
from segtrain.errors import CheckpointError, ConfigError
from segtrain.evaluation.operating_point import OperatingPoint
from segtrain.inference.averaging import Ensemble
from segtrain.inference.exported_network import Computed, open_network
from segtrain.inference.network import Network
from segtrain.inference.predictor import ImagePredictor, Preprocess
from segtrain.models import (
    Activation,
    Normalize,
    SegmentationHead,
    Segmenter,
)
from segtrain.run import checkpoint, portable
from segtrain.run.opening import Opened
from segtrain.runtime.device import Runtime, make_runtime
from segtrain.task import Task, make_task
from segtrain.version import __version__

log = logging.getLogger(__name__)

_FAR = 1.5  # times that training shrank images, from which tiles of their own size are another scale to a model
_LIBRARIES = ("torch", "torchvision", "timm", "albumentations", "numpy")


def describe(
    job: Mapping[str, Any],
    model: Segmenter,
    task: Task,
    *,
    palette: Sequence[Colour],
    source: Source | None = None,
) -> dict[str, Any]:
    """Return what a checkpoint holds besides the weights, to rebuild the model and its preprocessing.

    ``source`` are the images that the model was trained on: their typical height and width, and type of number; what
    its masks hold for each label, and what its classes count as.
    """
    return {
        "config": dict(job),
        "mode": task.mode,
        "class_names": list(task.class_names),
        "image_classes": list(model.image_classes),
        "palette": [list(colour) for colour in palette],
        "mask_values": [] if source is None else [_plain(value) for value in source.mask_values],
        "class_table": [] if source is None else [list(row) for row in source.class_table],
        "typical_size": None if source is None else list(typical_size(source)),
        "trained_on": None if source is None else source[0].image.dtype.name,
        "normalize": model.normalize.config(),
        "versions": {"segtrain": __version__, **{name: version(name) for name in _LIBRARIES}},
    }


def _plain(value: int | Colour) -> int | list[int]:
    return value if isinstance(value, int) else list(value)


def restore(payload: Mapping[str, Any], path: Path, *, activation: Activation | None = None) -> tuple[Segmenter, Task]:
    """Rebuild the model of a checkpoint on the CPU, in eval mode, and its task; loads no pretrained weights.

    Auxiliary heads, which only training uses, are removed.
    """
    config = to_config(payload["config"], TrainConfig)
    if portable.EXPORTED in payload:
        raise CheckpointError(
            f"{path}: holds no weights that could be changed, expected a checkpoint; give the one it was exported from"
        )
    point = OperatingPoint.of(payload)
    task = restore_task(payload)
    model = build_model(
        config,
        task,
        channels=len(payload["normalize"]["mean"]),
        image_classes=payload.get("image_classes", ()),
        activation=activation,
        pretrained=False,
    )
    model.normalize = Normalize(**payload["normalize"])
    try:
        model.load_state_dict(payload.get("ema") or payload["model"])  # the EMA is what was validated
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{path}: its weights do not fit its own config ({reason}...); take another") from error
    model.aux_heads.clear()  # after loading: the checkpoint has their weights
    model.thresholds = point.thresholds
    model.config = dict(payload["config"])
    model.preprocess = build_preprocess(payload, config, model.normalize)
    if activation is not None:
        assert isinstance(model.segmentation_head, SegmentationHead)
        model.segmentation_head.cool(point.temperature)
    return model.eval(), task


def restore_task(payload: Mapping[str, Any]) -> Task:
    """Rebuild the task of a checkpoint, with the thresholds that `segtrain eval` kept in it, as logits."""
    return make_task(payload["mode"], payload["class_names"], cuts=OperatingPoint.of(payload).cuts())


def build_preprocess(
    payload: Mapping[str, Any], config: TrainConfig, normalize: Normalize, *, fitting: Fitting | None = None
) -> Preprocess:
    """Build the preprocessing of a checkpoint's model, with the limits of a config, and its size unless given."""
    return Preprocess(
        fitting or build_fitting(config),
        normalize,
        trained_on=payload.get("trained_on"),
        max_pixels=config.data.leaf.get("max_pixels", ANY_SIZE),
    )


def load_model(path: str | Path, *, activation: Activation | None = None, trust: Sequence[str] = ()) -> Segmenter:
    """Load a trained model from a run folder (its best checkpoint) or a checkpoint file, in eval mode on the CPU.

    ``model.preprocess(image)`` turns pixels ``(H, W, C)`` as a file holds them into its input, at the size that it was
    trained at, and ``model.preprocess.restore(logits, image.shape[:2])`` brings its logits back to the image's size: so
    does `segtrain predict`, and `segtrain.Predictor` in one call. ``model.normalize`` alone leaves the size as it is.
    ``model.class_names`` names its classes; if it was trained with labels of whole images it answers ``(logits,
    labels)``, and ``model.image_classes`` names those. With an
    ``activation`` it gives the pixels' probabilities in place of their logits, calibrated by the temperature that
    `segtrain eval eval.calibrate=true` stored; ``model.thresholds`` are those that it found. A model with classes of
    your own needs them named: ``trust=["my_package.MyDecoder"]``. Raises CheckpointError for a file that is damaged,
    foreign, or that would run code, and ConfigError for an activation that makes no sense.
    """
    file = checkpoint.find(Path(path), best=True)
    payload = checkpoint.read(file)
    checkpoint.check_targets(payload["config"], file, named_by_user=trust)
    return restore(payload, file, activation=activation)[0]


def with_changed_range(normalize: Normalize, trained: Mapping[str, Any], job: Mapping[str, Any]) -> Normalize:
    """Return a run's normalisation, with the ``data.value_range`` of a job if that differs from the run's.

    Raises `ConfigError` where it does not ascend.
    """
    before, now = (config["data"].get("value_range") for config in (trained, job))
    return normalize if before == now else Normalize(normalize.mean, normalize.std, input_range=checked_range(now))


def training_scale(payload: Mapping[str, Any], config: TrainConfig) -> TrainingScale:
    """Return the check for images that a config downscales far more than the training of a checkpoint did."""
    typical = payload.get("typical_size")
    trained = build_fitting(to_config(payload["config"], TrainConfig))
    return TrainingScale(inference_fitting(config), None if typical is None else shrinkage(trained, typical))


def make_network(
    payload: Mapping[str, Any],
    job: Mapping[str, Any],
    file: Path,
    runtime: Runtime,
    *,
    value_range: Sequence[float] | None = None,
) -> tuple[Network, Task]:
    """Make the network of an opened checkpoint on the device, with the normalisation of a job, and its task.

    ``value_range`` is that of the data that it will see, where the data has one of its own. An exported graph is run by
    its engine.
    """
    if portable.EXPORTED in payload:
        return _open_exported(payload, job, file, runtime, value_range), restore_task(payload)
    model, task = restore(payload, file)
    model.normalize = with_changed_range(model.normalize, payload["config"], job).with_range(value_range)
    runtime.place(model)
    return Network(model, runtime), task


def make_inference(
    members: Sequence[Opened], runtime: Runtime, *, value_range: Sequence[float] | None = None
) -> tuple[Network, Task]:
    """Make the network of one opened checkpoint, or the mean of several, as ``infer`` shows images to it; and its task.

    Raises `CheckpointError` where several do not go together. Thresholds that were kept for each of several are those
    of none of their means, so 1/2 decides.
    """
    refuse_unlike(members)
    made = [make_network(each.payload, each.job, each.file, runtime, value_range=value_range) for each in members]
    network, task = made[0]
    if len(made) > 1:
        if any(OperatingPoint.of(each.payload).thresholds for each in members):
            log.warning("thresholds that eval.calibrate kept are of one model each: the mean of %d has none", len(made))
        task = make_task(task.mode, task.class_names)
        network = Ensemble([member for member, _ in made], task)
    config = checked_config(members[0].job)
    size, method = config.data.image_size, build_inference(config)
    usual = training_scale(members[0].payload, config).usual
    if method.own_size and usual is not None and usual > _FAR:
        log.warning(
            "infer: tiles show images at their own size, the training showed them shrunk %.1f times, so things are "
            "larger than it has seen; compare with infer=whole by segtrain eval, or train on crops with data.fit=none",
            usual,
        )
    return method.around(network, task, (size, size) if isinstance(size, int) else size), task


def refuse_unlike(members: Sequence[Opened]) -> None:
    """Raise `CheckpointError` for checkpoints of other classes or channels, or that see images of another size."""
    first = members[0]
    for other in members[1:]:
        for what, of, remedy in _ALIKE:
            has, want = of(other), of(first)
            if has != want:
                raise CheckpointError(
                    f"{other.file}: its {what} {_said(has)}, of {first.file} {_said(want)}, expected the same; {remedy}"
                )


_ALIKE: tuple[tuple[str, Callable[[Opened], Any], str], ...] = (
    ("mode is", lambda each: each.payload["mode"], "take checkpoints of one task"),
    ("classes are", lambda each: list(each.payload["class_names"]), "take checkpoints of the same classes"),
    ("channels are", lambda each: len(each.payload["normalize"]["mean"]), "take checkpoints of the same images"),
    ("data.image_size is", lambda each: each.job["data"]["image_size"], "write data.image_size=... for all"),
    ("data.fit is", lambda each: each.job["data"]["fit"], "write data.fit=... for all"),
    ("data.resize is", lambda each: each.job["data"]["resize"], "write data.resize=... for all"),
    ("infer is", lambda each: each.job["infer"], "write infer=... for all"),
)


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _open_exported(
    payload: Mapping[str, Any],
    job: Mapping[str, Any],
    file: Path,
    runtime: Runtime,
    value_range: Sequence[float] | None,
) -> Network:
    """Open an exported graph; raises `ConfigError` for another normalisation than that in it."""
    network = open_network(file, payload, Computed(**payload[portable.EXPORTED]), runtime)
    held = network.model.normalize
    wanted = with_changed_range(held, payload["config"], job).with_range(value_range)
    if wanted.value_range != held.value_range:
        raise ConfigError(
            f"{file}: normalises images by value_range {held.value_range or 'of the dtype'}, the data has "
            f"{wanted.value_range}; export the checkpoint with data.value_range=..."
        )
    return network


def make_predictor(
    payload: Mapping[str, Any],
    job: Mapping[str, Any],
    file: Path,
    *,
    device: str,
    precision: Precision,
    others: Sequence[Opened] = (),
) -> ImagePredictor:
    """Make the predictor of `segtrain predict`: the model of a checkpoint, with the resizing of its config.

    With ``others`` it predicts the mean of all, with the resizing of the first.
    """
    config = checked_config(job)
    runtime = make_runtime(device, precision, channels_last=config.trainer.channels_last)
    network, task = make_inference([Opened(file, dict(payload), dict(job)), *others], runtime)
    return ImagePredictor(
        network,
        task=task,
        preprocess=build_preprocess(payload, config, network.model.normalize, fitting=inference_fitting(config)),
        palette=[tuple(colour) for colour in payload["palette"]],
        mask_values=payload.get("mask_values", ()),
        scale=training_scale(payload, config),
        temperature=1.0 if others else OperatingPoint.of(payload).temperature,
    )
