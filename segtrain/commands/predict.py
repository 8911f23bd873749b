"""``segtrain predict``: write masks and overlays for images, at their own size."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import yaml

from segtrain.config.compose import check_changes, compose
from segtrain.config.schema import PredictConfig
from segtrain.config.spine import to_config
from segtrain.config.words import counted
from segtrain.data.files.walk import OVERLAYS, SUFFIXES, find_images
from segtrain.errors import ConfigError, DataError, Problems
from segtrain.run.folders import make_folder
from segtrain.run.opening import Opened, open_checkpoint
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.slow_imports import import_heavy

log = logging.getLogger(__name__)


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
        config, names = plan_output(config)
    with problems.noted():
        opened = open_checkpoint(Path(config.ckpt), changes, config_dir=arguments.config_dir)
    problems.raise_any()
    failed = predict(config, names, opened)
    if failed:
        raise DataError("\n".join(failed))
    return 0


def list_images(path: Path) -> list[Path]:
    """Return an image, or the images of a folder and its sub-folders, sorted; raises `DataError` for none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(
            f"input={path}: no such file or folder, expected an image or a folder of images; correct input=..."
        )
    found = find_images(path)
    if not found:
        raise DataError(f"input={path}: holds no images, expected {', '.join(SUFFIXES)}; correct input=...")
    return found


def without_output(images: list[Path], config: PredictConfig) -> list[Path]:
    """Leave out images in an output folder inside the input: masks and overlays of an earlier call."""
    output = Path(config.output).resolve()
    if not output.is_relative_to(Path(config.input).resolve()):
        return images
    kept = [image for image in images if not image.resolve().is_relative_to(output)]
    if not kept:
        raise DataError(
            f"input={config.input}: holds no images beside output={config.output}; choose another output=..."
        )
    if len(kept) < len(images):
        log.info("%d images in %s are left out: that is the output", len(images) - len(kept), config.output)
    return kept


def predict(config: PredictConfig, names: Mapping[str, Path], opened: Opened) -> list[str]:
    """Write a mask and an overlay for each image; returns the errors of images that could not be read."""
    from segtrain.terminal.console import counting

    import_heavy("segtrain.build.restore")
    from segtrain.build.restore import make_predictor
    from segtrain.data.loading.scale import warn_of_shrunk
    from segtrain.drawing.masks import write_labels, write_overlay

    file, payload, job = opened
    predictor = make_predictor(payload, job, file, device=config.device, precision=config.precision)
    values = predictor.mask_values if config.values == "original" else ()
    make_folder(Path(config.output), key="output")
    failed = []
    shrunk: dict[str, str] = {}
    with counting(len(names), "predicting") as stepped:
        for name, image_path in names.items():
            stepped()
            try:
                image = predictor.preprocess.pixels(image_path)
            except DataError as error:
                failed.append(str(error))  # reported at the end too: one bad file does not stop the others
                continue
            if problem := predictor.scale.problem(image.shape[:2]):
                shrunk[name] = problem
            labels = predictor.predict(image, predictor.preprocess.reduced(image_path, image))
            write_labels(labels, predictor.task.class_names, Path(config.output), name, values=values)
            if config.overlay is not None:
                picture = Path(config.output) / OVERLAYS / f"{name}.jpg"
                value_range, alpha = predictor.value_range, config.overlay
                write_overlay(image, labels, predictor.palette, picture, alpha=alpha, value_range=value_range)
    warn_of_shrunk(shrunk)
    log.info("masks of %s written to %s", counted(len(names) - len(failed), "image"), config.output)
    return failed


def plan_output(config: PredictConfig) -> tuple[PredictConfig, dict[str, Path]]:
    """Find the images by the names that their masks get, and where these go.

    For a single image, an output such as ``out.png`` is that file, without an overlay. Raises SegtrainError as
    `name_images` does, and for other images as output.
    """
    output = Path(config.output)
    if output.suffix.lower() not in SUFFIXES or output.is_dir():
        return config, name_images(config)
    (first, *others) = list_images(Path(config.input))
    if others or Path(config.input).is_dir():
        raise ConfigError(f"output={output}: is one file, expected a folder for the masks of {config.input}; name one")
    if output.suffix != ".png":
        raise ConfigError(f"output={output}: masks are PNG; write output={output.with_suffix('.png')}, or a folder")
    config = replace(config, output=str(output.parent), overlay=None)
    names = {output.stem: first}
    _refuse_overwriting(config, names)
    return config, names


def name_images(config: PredictConfig) -> dict[str, Path]:
    """Find the images, by the names of their masks; raises `SegtrainError` for none, or for equal names."""
    if Path(config.output).resolve() == Path(config.input).resolve():
        raise ConfigError(f"output={config.output}: is the input; choose another output=...")
    images = without_output(list_images(Path(config.input)), config)
    root = Path(config.input) if Path(config.input).is_dir() else Path(config.input).parent
    names: dict[str, Path] = {}
    for image in images:
        name = image.relative_to(root).with_suffix("").as_posix()
        if name in names:
            raise ConfigError(
                f"input={config.input}: {names[name].name} and {image.name} would share one mask; rename one"
            )
        names[name] = image
    _refuse_overwriting(config, names)
    return names


def _refuse_overwriting(config: PredictConfig, names: Mapping[str, Path]) -> None:
    """Raise `ConfigError` where a mask or an overlay would overwrite an input."""
    photos = {image.resolve(): image for image in names.values()}
    folder = Path(config.output)
    for name in names:
        for written in (folder / f"{name}.png", folder / OVERLAYS / f"{name}.jpg"):
            if photo := photos.get(written.resolve()):
                raise ConfigError(f"output={folder}: would overwrite {photo}, an input; choose another output=...")
