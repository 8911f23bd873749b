"""``segtrain predict``: write masks and overlays for images, at their own size."""

import logging
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from segtrain.config.compose import check_changes, compose
from segtrain.config.schema import PredictConfig
from segtrain.config.spine import to_config
from segtrain.config.words import counted
from segtrain.data.files.inputs import Input, find_inputs, name_inputs, outside, real_path
from segtrain.data.files.walk import OVERLAYS, SUFFIXES
from segtrain.errors import ConfigError, DataError, Problems
from segtrain.run.folders import make_folder
from segtrain.run.opening import Opened, open_checkpoints
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    from segtrain.commands.written import ImageWriter
    from segtrain.run.predictions import Predictions

log = logging.getLogger(__name__)

_EVERY = 30.0  # seconds from one line of progress to the next, where no bar is shown


def run(arguments: Arguments) -> int:
    """Run the command; keys that predict.yaml lacks change the run's own config."""
    from segtrain.terminal.console import start_logging

    own, changes = arguments.overrides.split((*PredictConfig.__dataclass_fields__, "hydra"))
    check_changes("predict", changes, config_dir=arguments.config_dir)
    job = compose("predict", own, config_dir=arguments.config_dir).job
    if arguments.cfg:
        show(yaml.safe_dump(job, sort_keys=False))
        return 0
    config = to_config(job, PredictConfig)
    start_logging()
    problems = Problems()
    with problems.noted():
        config, images = plan_output(config)
    with problems.noted():
        opened = open_checkpoints(config.ckpt, changes, config_dir=arguments.config_dir)
    problems.raise_any()
    failed = predict(config, images, opened)
    if failed:
        raise DataError("\n".join(failed))
    return 0


def predict(config: PredictConfig, images: Sequence[Input], opened: Sequence[Opened]) -> list[str]:
    """Write a mask, an overlay and what else is asked for of each image; returns the errors of those that failed."""
    import_heavy("segtrain.build.restore")
    from segtrain.build.restore import make_predictor
    from segtrain.commands.written import ImageWriter
    from segtrain.data.loading.scale import warn_of_shrunk

    (file, payload, job), *others = opened
    predictor = make_predictor(payload, job, file, device=config.device, precision=config.precision, others=others)
    predictor.preprocess.max_pixels = min(predictor.preprocess.max_pixels, config.max_pixels)
    writer = ImageWriter(config, predictor)
    make_folder(writer.folder, key="output")
    record = None if writes_one_file(config) else open_record(config, opened)
    left = [image for image in images if not (record and _is_done(image, record, writer))]
    if len(left) < len(images):
        log.info("%s done already and skipped; redo=true predicts all", counted(len(images) - len(left), "image"))
    started = time.monotonic()
    failed = _predict_each(left, writer, record)
    warn_of_shrunk(writer.shrunk)
    if left:
        pace = len(left) / max(time.monotonic() - started, 1e-9)
        done = counted(len(left) - len(failed), "image")
        log.info("masks of %s written to %s (%.1f images/s)", done, config.output, pace)
    return failed


def _predict_each(images: Sequence[Input], writer: "ImageWriter", record: "Predictions | None") -> list[str]:
    """Predict one image after another; those that cannot be read are reported at the end, and stop no other."""
    from segtrain.terminal.console import counting

    failed: list[str] = []
    started = said = time.monotonic()
    # closing writes the annotations of what is done, after Ctrl-C too
    with closing(writer), counting(len(images), "predicting") as stepped:
        for number, image in enumerate(images):
            stepped()
            if (now := time.monotonic()) - said > _EVERY:
                said = now
                log.info("%d of %d images, %.1f images/s", number, len(images), number / (now - started))
            failed += _predict_one(image, writer, record)
    return failed


def _predict_one(image: Input, writer: "ImageWriter", record: "Predictions | None") -> list[str]:
    """Predict an image; returns what is wrong with it, in one line, if anything is."""
    try:
        files = writer.write(image)
    except DataError as error:
        return [" ".join(str(error).split())]
    if record:
        record.add(image.name, image.path, files)
    return []


def _is_done(image: Input, record: "Predictions", writer: "ImageWriter") -> bool:
    return record.has(image.name, image.path) and all(each.has(image) for each in writer.annotations)


def open_record(config: PredictConfig, opened: Sequence[Opened]) -> "Predictions":
    """Open the record of the output, for these checkpoints and options."""
    from segtrain.run.predictions import Predictions
    from segtrain.version import __version__

    asked = {key: value for key, value in asdict(config).items() if key not in ("ckpt", "input", "output", "redo")}
    files = [[str(each.file.resolve()), each.file.stat().st_mtime_ns] for each in opened]
    seen: list[Any] = [[each.job["data"], each.job["infer"]] for each in opened]
    settings = {"version": __version__, "checkpoints": files, "config": yaml.safe_dump(seen), **asked}
    return Predictions(Path(config.output), settings, anew=config.redo)


def writes_one_file(config: PredictConfig) -> bool:
    """Tell whether the output is a file for a single image."""
    return Path(config.output).suffix.lower() in SUFFIXES and not Path(config.output).is_dir()


def plan_output(config: PredictConfig) -> tuple[PredictConfig, list[Input]]:
    """Find the images by the names that their masks get, and where these go.

    For a single image, an output such as ``out.png`` is that file, without an overlay. Raises SegtrainError as
    `name_images` does, and for other images as output.
    """
    output = Path(config.output)
    if not writes_one_file(config):
        return config, name_images(config)
    is_folder = isinstance(config.input, str) and Path(config.input).is_dir()
    (first, *others) = find_inputs(config.input)
    if others or is_folder:
        raise ConfigError(f"output={output}: is one file, expected a folder for the masks of {config.input}; name one")
    if output.suffix not in (".png", ".tif"):
        raise ConfigError(f"output={output}: masks are PNG; write output={output.with_suffix('.png')}, or a folder")
    if config.annotations or config.scores:
        raise ConfigError(f"output={output}: is one file, expected a folder for annotations and scores; name one")
    config = replace(config, overlay=None, suffix="png" if output.suffix == ".png" else "tif")
    image = Input(output.stem, first.name, first)
    _refuse_overwriting(output.parent, [image])
    return config, [image]


def name_images(config: PredictConfig) -> list[Input]:
    """Find the images, with names of their own; raises `SegtrainError` for none, or where one would be overwritten."""
    output = Path(config.output)
    if isinstance(config.input, str) and output.resolve() == Path(config.input).resolve():
        raise ConfigError(f"output={output}: is the input; choose another output=...")
    root = Path(config.input) if isinstance(config.input, str) and Path(config.input).is_dir() else None
    found = name_inputs(find_inputs(config.input), root)
    # masks may well stand beside photos, but none of an earlier call is a photo
    images = found if root and not real_path(output).is_relative_to(real_path(root)) else outside(found, output)
    if not images and root is None:
        images = found
    if not images:
        raise DataError(f"input={config.input}: holds no images beside output={output}; choose another output=...")
    if len(images) < len(found):
        log.info("%d images in %s are left out: that is the output", len(found) - len(images), output)
    _refuse_overwriting(output, images)
    return images


def _refuse_overwriting(folder: Path, images: Sequence[Input]) -> None:
    """Raise `ConfigError` where a mask or an overlay would overwrite an input."""
    photos = {real_path(image.path): image.path for image in images}
    for image in images:
        for written in (f"{image.name}.png", f"{image.name}.tif", f"{OVERLAYS}{image.name}.jpg"):
            if photo := photos.get(real_path(folder / written)):
                raise ConfigError(f"output={folder}: would overwrite {photo}, an input; choose another output=...")
