"""``segtrain zoo <arch> <encoder>``: one model in detail, built on the meta device."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg
from torch.utils.flop_counter import FlopCounterMode

from segtrain.build.parts import build_model, checked_config
from segtrain.catalog.names import ALIASES, resolve
from segtrain.catalog.table import aligned, numbers, quantity
from segtrain.catalog.tags import synonyms
from segtrain.config.compose import compose
from segtrain.config.groups import Groups
from segtrain.config.signature import TARGET
from segtrain.models import Segmenter
from segtrain.models.encoders import weight_sources
from segtrain.models.encoders.weights import weights_of
from segtrain.models.smp.natives import NATIVES
from segtrain.task import Binary

_SIDE = 256  # pixels of the image that MACs are stated for
_PARTS = {"encoder": "encoder", "decoder": "decoder", "head": "segmentation_head"}


def describe(arch: str, encoder: str, overrides: Sequence[str], *, config_dir: Path | None) -> list[str]:
    """Describe the model that ``segtrain arch=<arch> encoder=<encoder> <overrides>`` trains for a binary task.

    Raises ``ConfigError`` for what cannot be built.
    """
    groups = Groups.find(config_dir)
    composed = compose("train", [f"arch={arch}", f"encoder={encoder}", *overrides], config_dir=config_dir)
    config = checked_config(composed.job)
    with torch.device("meta"):
        model = build_model(config, Binary(), channels=3, pretrained=False).eval()
    sections = [[f"{arch}: {groups.summary('arch', arch)}"], _sizes(model), _maps(model)]
    sections.append([f"options, as arch.<key>=<value>, and their defaults; {arch} takes", *_options(groups, arch)])
    if "name" in config.encoder:
        sections.append(_weights(*resolve(config.encoder["name"]).partition(".")[::2]))
    return [line for section in sections for line in [*section, ""]][:-1]


def _sizes(model: Segmenter) -> list[str]:
    """Tabulate the parameters and MACs of a model's parts, on the meta device."""
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, _SIDE, _SIDE, device="meta"))
    rows = [("", "parameters", f"MACs at {_SIDE}x{_SIDE}")]
    for part, name in _PARTS.items():
        # the counter counts a multiply-accumulate as two operations
        macs = sum(counter.flop_counts[f"{type(model).__name__}.{name}"].values()) // 2
        params = sum(parameter.numel() for parameter in model.get_submodule(name).parameters())
        rows.append((part, quantity(params), quantity(macs)))
    total = sum(parameter.numel() for parameter in model.parameters())
    rows.append(("all", quantity(total), quantity(counter.get_total_flops() // 2)))
    return aligned(rows, right={1, 2})


def _maps(model: Segmenter) -> list[str]:
    """Tabulate the feature maps for an image of 256x256, or the next size that the encoder takes."""
    encoder, side = model.encoder, -(-_SIDE // model.size_multiple) * model.size_multiple  # rounded up
    names = ["image", *(f"map {i}" for i in range(1, len(encoder.strides)))]
    rows = [("", "stride", "channels", "pixels")]
    for name, stride, channels in zip(names, encoder.strides, encoder.out_channels, strict=True):
        rows.append((name, str(stride), str(channels), f"{side // stride}x{side // stride}"))
    logits = model(torch.empty(1, 3, _SIDE, _SIDE, device="meta"))
    shape = "x".join(map(str, logits.shape[-2:]))
    rows.append(("logits", "1", str(logits.shape[1]), shape))
    return aligned(rows, right={1, 2, 3})


def _options(groups: Groups, arch: str) -> list[str]:
    """Return the lines of an architecture's YAML file that hold its options, comments included."""
    files = (root / "arch" / f"{arch}.yaml" for root in groups.roots)
    lines = next(file for file in files if file.is_file()).read_text(encoding="utf-8").splitlines()
    return [f"  {line}" for line in lines if line and not line.startswith(("#", TARGET))]


def _weights(arch: str, tag: str) -> list[str]:
    """Tabulate the pretrained weights of a timm model, those that ``imagenet`` means first."""
    cfg: Any = get_pretrained_cfg(f"{arch}.{tag}" if tag else arch)
    default = cfg.tag if cfg else ""
    tags = sorted(weights_of(arch), key=lambda name: name != default)
    names = {"imagenet": default, **synonyms(arch, tags)}
    rows = [("encoder.weights=", "or", "mean", "std", "licence", "on this machine")]
    for name in tags:
        cfg = get_pretrained_cfg(f"{arch}.{name}")
        also = ", ".join(other for other, meant in names.items() if meant == name)
        file = weight_sources.find(cfg, is_default=name == default)
        rows.append((name, also, numbers(cfg.mean), numbers(cfg.std), cfg.license or "unknown", str(file or "no")))
    heading = f"weights of {arch}, for images from 0 to 1" if tags else f"timm has no weights for {arch}"
    return [heading, *(aligned(rows) if tags else []), *_other_names(arch)]


def _other_names(arch: str) -> list[str]:
    """List the names of this encoder in segmentation_models_pytorch, as a line or none."""
    names = {alias for alias in ALIASES if resolve(alias).partition(".")[0] == arch}
    names |= {name for name, native in NATIVES.items() if native.name == arch}
    if timm.model_entrypoint(arch).__module__.startswith("timm."):
        names.add(f"tu-{arch}")
    return [f"in segmentation_models_pytorch: {', '.join(sorted(names))}"] if names else []
