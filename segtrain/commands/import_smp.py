"""``segtrain import``: convert a model of segmentation_models_pytorch to a checkpoint."""

import json
import logging
import pickle
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from segtrain.config.compose import check_changes, compose
from segtrain.config.overrides import Overrides
from segtrain.config.schema import SMALLEST, ImportConfig
from segtrain.config.spine import to_config
from segtrain.errors import CheckpointError, ConfigError
from segtrain.run.folders import make_folder
from segtrain.terminal.arguments import Arguments, show

if TYPE_CHECKING:
    from torch import Tensor

    from segtrain.models import Segmenter
    from segtrain.models.smp.recipe import Recipe
    from segtrain.models.smp.weights import Translation

log = logging.getLogger(__name__)

_THEIRS = ("arch", "encoder")
"""Keys that are groups in other commands; here they name the model and encoder in SMP."""
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
_WRAPPINGS = ("state_dict", "model_state_dict", "model")
"""Keys under which training tools store the weights in a file."""
_SIZES = ("data.image_size=", "data.fit=", "data=")
"""Beginnings of overrides that set the image size."""
_LISTED = 6


def run(arguments: Arguments) -> int:
    """Run the command; keys that import.yaml lacks go into the config of the checkpoint."""
    theirs, words = arguments.overrides.split(_THEIRS)
    own, changes = words.split(ImportConfig.__dataclass_fields__)
    check_changes("import", changes, config_dir=arguments.config_dir)
    job = compose("import", own, config_dir=arguments.config_dir).job
    job |= {key: values[-1] for key in _THEIRS if (values := theirs.values(key))}
    if arguments.cfg:
        show(yaml.safe_dump(job, sort_keys=False))
        return 0
    import_model(to_config(job, ImportConfig), changes, arguments.config_dir)
    return 0


def import_model(config: ImportConfig, changes: Overrides, config_dir: Path | None) -> None:
    """Convert the weights, write the checkpoint, and report renamed and unused tensors."""
    from segtrain.build.parts import build_model, checked_config
    from segtrain.build.restore import describe
    from segtrain.data.palette import colours_of
    from segtrain.models import Normalize
    from segtrain.models.smp.weights import count_classes, count_image_classes, translate, unwrap
    from segtrain.run import checkpoint
    from segtrain.task import make_task
    from segtrain.terminal.console import start_logging

    start_logging()
    file, saved = _find(Path(config.smp))
    recipe = _recipe(config, saved, file)
    try:
        state = unwrap(_read(file))
        names = _class_names(config.classes, count_classes(state))
        labels = _image_classes(config.image_classes, recipe, count_image_classes(state))
        task = make_task(config.mode or ("binary" if len(names) == 1 else "multiclass"), names)
        job = _job(recipe, changes, config_dir)
        model = build_model(
            checked_config(job), task, channels=recipe.in_channels, image_classes=labels, pretrained=False
        )
        translation = translate(state, model, recipe.their_encoder)
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from None
    model.load_state_dict(translation.state)
    model.normalize = Normalize(recipe.mean, recipe.std)
    make_folder(Path(config.output).absolute().parent, key="output")
    described = describe(job, model, task, palette=colours_of(task))
    payload = {**described, "format": checkpoint.FORMAT, "model": model.state_dict(), "state": {"step": 0}}
    checkpoint.write(payload, Path(config.output))
    _report(config, recipe, translation, model)


def _find(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return the file of the weights, and the content of config.json next to it, if any.

    Raises `CheckpointError` where there are no weights, or config.json is damaged.
    """
    folder = path if path.is_dir() else path.parent
    files = [folder / name for name in _WEIGHTS] if path.is_dir() else [path]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        what = f"holds no {_WEIGHTS[0]}" if path.is_dir() else "no such file or folder"
        raise CheckpointError(
            f"{path}: {what}, expected the folder of a model's save_pretrained or a file of its state_dict() "
            f"({', '.join(_SUFFIXES)}); correct smp=..."
        )
    beside = folder / "config.json"
    if not beside.is_file():
        return file, {}
    try:
        saved = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(
            f"{beside}: is no JSON ({error}); fix it, or remove it and give arch=, encoder="
        ) from None
    return file, saved if isinstance(saved, dict) else {}


def _read(file: Path) -> "dict[str, Tensor]":
    """Read tensors by name without running code from the file; raises `CheckpointError` if it cannot be read."""
    import torch
    from safetensors.torch import load_file

    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        held = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a file of another kind can raise anything
        reason = (
            "holds pickled objects, which could run any code"
            if isinstance(error, pickle.UnpicklingError)
            else (f"cannot be read ({str(error).strip().partition(chr(10))[0][:120]})")
        )
        raise CheckpointError(
            f"{reason}; save it with torch.save(model.state_dict(), ...) or save_pretrained"
        ) from None
    for key in _WRAPPINGS:  # may be nested: {"state_dict": {"model": ...}}
        if isinstance(held, Mapping) and isinstance(held.get(key), Mapping):
            held = held[key]
    tensors = held.items() if isinstance(held, Mapping) else ()
    return {str(key): value for key, value in tensors if isinstance(value, torch.Tensor)}


def _recipe(config: ImportConfig, saved: Mapping[str, Any], file: Path) -> "Recipe":
    from segtrain.models.smp.recipe import read_recipe

    given = {**saved, **(config.model or {})}
    arch, encoder = config.arch or saved.get("_model_class"), config.encoder or given.get("encoder_name")
    missing = [key for key, value in (("arch", arch), ("encoder", encoder)) if not value]
    if missing:
        raise ConfigError(
            f"{file}: no config.json beside it says what model it is; add "
            f"{' and '.join(f'{key}=...' for key in missing)}, such as arch=unet encoder=resnet34"
        )
    recipe = read_recipe(str(arch), {**given, "encoder_name": encoder})
    statistics: dict[str, Any] = {
        key: tuple(value) for key in ("mean", "std") if (value := getattr(config, key)) is not None
    }
    for key, value in statistics.items():
        if len(value) != recipe.in_channels:
            raise ConfigError(
                f"{key}: got {len(value)} numbers, expected one for each of {recipe.in_channels} channels"
            )
    return replace(recipe, **statistics)


def _class_names(given: Sequence[str] | None, count: int) -> list[str]:
    if given is None:
        return ["foreground"] if count == 1 else [f"class{i}" for i in range(count)]
    if len(given) != count:
        raise ConfigError(f"classes: got {len(given)} names, the model predicts {count}; give classes=[...] of {count}")
    return list(given)


def _image_classes(given: Sequence[str] | None, recipe: "Recipe", count: int) -> list[str]:
    """Return the class names of whole images: as given, else numbers, as SMP stores no names."""
    if recipe.classification and not count:
        raise CheckpointError(
            "holds no classification_head, which aux_params speaks of; leave it out with 'model={aux_params:null}'"
        )
    if count and not recipe.classification:
        log.warning(
            "the classification head is left out, as nothing says how it pools; add "
            "'model={aux_params:{pooling:avg,dropout:0.2}}'"
        )
    if given is None:
        return [str(number) for number in range(count)]
    if len(given) != count:
        remedy = f"give image_classes=[...] of {count}" if count else "leave it out"
        raise ConfigError(f"image_classes: got {len(given)} name(s), the classification head has {count}; {remedy}")
    return list(given)


def _job(recipe: "Recipe", changes: Overrides, config_dir: Path | None) -> dict[str, Any]:
    """Compose the config of a training run with that model, for the checkpoint to hold."""
    words = [f"arch={recipe.arch}", "encoder=timm", f"encoder.name={recipe.encoder}", "encoder.weights=null"]
    if recipe.classification:
        words.append("image_head=classification")
    if not any(change.startswith(_SIZES) for change in changes.words):
        words += ["data.fit=none", f"data.image_size={SMALLEST}"]
        log.info("images keep their own size; if the model was trained at one, give data.image_size=...")
    job = compose("train", Overrides.of(words) + changes, config_dir=config_dir).job
    changed = {"arch": recipe.arch_options, "encoder": recipe.encoder_options, "image_head": recipe.classification}
    return {**job, **{key: {**job[key], **options} for key, options in changed.items() if options and job[key]}}


def _report(config: ImportConfig, recipe: "Recipe", translation: "Translation", model: "Segmenter") -> None:
    """Log renamed and unused tensors, notes on the model, and the next command."""
    count = len(translation.state)
    log.info("%s %s: %d tensors, %d of them renamed", recipe.arch, recipe.their_encoder, count, translation.renamed)
    unused = translation.unused
    if unused:
        more = f", and {len(unused) - _LISTED} more" if len(unused) > _LISTED else ""
        log.info(
            "%d tensors that the model never uses are left out: %s%s", len(unused), ", ".join(unused[:_LISTED]), more
        )
    for note in recipe.notes:
        log.warning("%s", note)
    mean, std = (", ".join(f"{value:.3f}" for value in values) for values in (recipe.mean, recipe.std))
    log.info("images are normalised with mean [%s] and std [%s]; if trained otherwise, give mean=, std=", mean, std)
    log.info("classes: %s", ", ".join(model.class_names))
    if model.image_classes:
        log.info("labels of whole images: %s", ", ".join(model.image_classes))
    log.info("written to %s; go on with: segtrain eval %s data=...", config.output, shlex.quote(config.output))
