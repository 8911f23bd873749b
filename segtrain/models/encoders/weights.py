"""Encoder weights: resolve what the user asked for, load it and check that it fits."""

from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg, is_model_pretrained
from torch import nn

from segtrain.catalog.tags import choose, synonyms
from segtrain.errors import ConfigError
from segtrain.models.encoders import weight_sources
from segtrain.models.encoders.loading import check_complete, checked_loading
from segtrain.models.encoders.stem import adapt_stem
from segtrain.models.encoders.weight_files import check_finite, plain_weights
from segtrain.models.encoders.weight_sources import ALTERNATIVES, FOLDER, RANDOM, SUFFIXES
from segtrain.suggest import did_you_mean


def load_model(weights: str | None, *, arch: str, tag: str, in_chans: int = 3, **options: Any) -> nn.Module:
    """Build a timm model with the weights that the user asked for; with ``options`` of ``timm.create_model``.

    Its ``pretrained_cfg`` is that of these weights, with their mean and standard deviation on a scale from 0 to 1. For
    ``tag`` and what is raised see :func:`locate`; ``ConfigError`` also for a file that does not fit the model.
    """
    name = _full_name(arch, tag)
    _check_tag(name, weights_of(arch))
    if weights is None:
        return timm.create_model(name, in_chans=in_chans, **options)
    tag, path = locate(weights, arch=arch, tag=tag)
    name = _full_name(arch, tag)
    with plain_weights(path, _tensor_names(name), encoder=arch) as file, checked_loading(path, encoder=arch) as loads:
        source = {"file": str(file), "custom_load": False}  # no loader of a model's own, which would not be checked
        model: nn.Module = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=source, **options)
    check_complete(model, loads, path, encoder=arch)
    check_finite(model.state_dict(), path)
    if in_chans == 3:
        return model
    # timm adapts what its config calls the first convolution, `adapt_stem` every tensor that sees
    # the image.
    adapted: nn.Module = timm.create_model(name, in_chans=in_chans, **options)
    adapt_stem(model, adapted, encoder=arch)
    return adapted


def _tensor_names(name: str) -> list[str]:
    """List the tensors of timm's model except its classifier, which a file may lack."""
    with torch.device("meta"):
        return list(timm.create_model(name, num_classes=0).state_dict())


def locate(weights: str, *, arch: str, tag: str) -> tuple[str, Path]:
    """Return timm's tag and the file of the weights that the user asked for, downloading them if they are not here.

    ``tag`` is the one that goes with the encoder's name, empty for timm's default. Raises ``ConfigError`` for a missing
    or damaged file, unknown weights, and weights that cannot be downloaded.
    """
    if weights.endswith(SUFFIXES) or "/" in weights or Path(weights).is_file():
        path = Path(weights).expanduser()
        _check_exists(path)
        return _tag_in(path, arch) or tag, path
    cfg = described(weights, arch=arch, tag=tag)
    if cfg is None:
        raise ConfigError(_no_such_weights(weights, arch))
    default: Any = get_pretrained_cfg(_full_name(arch, tag))
    return cfg.tag or "", weight_sources.obtain(cfg, is_default=cfg.tag == default.tag)


def described(weights: str, *, arch: str, tag: str) -> Any:
    """Return timm's ``PretrainedCfg`` of weights by tag or name; ``None`` if timm has none."""
    chosen = tag if weights == "imagenet" else choose(weights, arch, weights_of(arch))
    if chosen is None or not is_model_pretrained(_full_name(arch, chosen)):
        return None
    return get_pretrained_cfg(_full_name(arch, chosen))


def weights_of(arch: str) -> list[str]:
    """List the tags of a timm model's weights, sorted."""
    return [name.partition(".")[2] for name in timm.list_models(f"{arch}.*", pretrained=True)]


def _full_name(arch: str, tag: str) -> str:
    return f"{arch}.{tag}" if tag else arch


def _check_tag(name: str, tags: list[str]) -> None:
    try:
        get_pretrained_cfg(name)
    except RuntimeError as error:  # which is how timm refuses a tag
        arch, _, tag = name.partition(".")
        raise ConfigError(
            f"encoder.name: {arch} has no weights {tag!r}{did_you_mean(tag, tags, listed=len(tags))}"
        ) from error


def _check_exists(path: Path) -> None:
    if path.is_dir():
        raise ConfigError(
            f"encoder.weights: {path} is a folder, expected a {'/'.join(SUFFIXES)} file; for a folder of files set the "
            f"environment variable {FOLDER}={path} and encoder.weights=imagenet"
        )
    if not path.is_file():
        raise ConfigError(f"encoder.weights: no such file {path}; correct it, or take {RANDOM}")


def _tag_in(path: Path, arch: str) -> str | None:
    """Return the tag of timm's weights that go by this file name, None for any other name."""
    tags = weights_of(arch)
    by_file = {f"{arch}.{tag}{suffix}": tag for tag in tags for suffix in SUFFIXES}
    cfgs: dict[str, Any] = {tag: get_pretrained_cfg(f"{arch}.{tag}") for tag in tags}
    by_file |= {cfg.url.rpartition("/")[2]: tag for tag, cfg in cfgs.items() if cfg.url}
    return by_file.get(path.name)


def _no_such_weights(weights: str, arch: str) -> str:
    tags = weights_of(arch)
    if not tags:
        return f"encoder.weights: timm has no weights for {arch}; take {ALTERNATIVES}"
    known = [*synonyms(arch, tags), *tags]
    near = did_you_mean(weights, known, listed=0)
    return (
        f"encoder.weights: {weights!r} is neither a file nor weights of {arch}{near}{';' if near else ','} "
        f"expected imagenet, null, a {'/'.join(SUFFIXES)} file or one of {', '.join(known)}"
    )
