"""Describe every timm model that yields features in segtrain/models/encoders/index.json; takes some minutes."""

import json
import logging
import sys
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg

from segtrain.errors import ConfigError
from segtrain.models.encoders import index
from segtrain.models.encoders.timm_encoder import TimmEncoder

TARGET = Path(__file__).parents[1] / "segtrain" / "models" / "encoders" / "index.json"


def main() -> None:
    """Write the table and print what was left out."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    index.UNUSABLE.clear()  # of the table that is about to be replaced
    statistics: list[list[list[float]]] = []
    encoders: dict[str, Any] = {}
    unusable: dict[str, list[str]] = defaultdict(list)
    tags = _tags()
    for count, name in enumerate(sorted(timm.list_models())):
        print(f"\r{count} {name:60}", end="", file=sys.stderr)
        try:
            encoder = _verified(name)
        except (ConfigError, UnusableError) as problem:
            unusable[str(problem)].append(name)
            continue
        pair = [_rounded(encoder.mean), _rounded(encoder.std)]
        if pair not in statistics:
            statistics.append(pair)
        params = sum(parameter.numel() for parameter in encoder.parameters())
        row = [params, encoder.strides, encoder.out_channels, statistics.index(pair), tags[name]]
        encoders[name] = row
    _write({"timm": timm.__version__, "statistics": statistics, "encoders": encoders, "unusable": unusable})
    for reason, names in unusable.items():
        print(f"{len(names)} left out, {reason}: {', '.join(names)}")
    print(f"{len(encoders)} encoders, strides {Counter(tuple(row[1]) for row in encoders.values())}")


class UnusableError(Exception):
    """The model cannot be an encoder."""


def _verified(name: str) -> TimmEncoder:
    """Build the encoder without memory, and have it take images of two sizes."""
    with torch.device("meta"):
        encoder = TimmEncoder(name, weights=None)
    encoder.eval()
    stride = max(encoder.strides)
    for height, width in ((2 * stride, 3 * stride), (10 * stride, 7 * stride)):
        try:
            maps = encoder(torch.empty(1, 3, height, width, device="meta"))
        except Exception as error:
            raise UnusableError("it takes images of one size only") from error
        expected = [
            (1, channels, -(-height // s), -(-width // s))
            for channels, s in zip(encoder.out_channels, encoder.strides, strict=True)
        ]
        if [tuple(m.shape) for m in maps] != expected:
            raise UnusableError("its maps have not the strides that timm states")
    return encoder


def _tags() -> dict[str, list[str]]:
    """List the tags of each model's weights, the default first."""
    tags: dict[str, list[str]] = defaultdict(list)
    for full_name in timm.list_models(pretrained=True):
        name, _, tag = full_name.partition(".")
        tags[name].append(tag)
    for name, listed in tags.items():
        cfg = get_pretrained_cfg(name)
        if cfg is not None and cfg.tag in listed:
            listed.remove(cfg.tag)
            listed.insert(0, cfg.tag)
    return tags


def _rounded(values: tuple[float, ...]) -> list[float]:
    return [round(value, 6) for value in values]


def _write(table: dict[str, Any]) -> None:
    rows = table["encoders"].items()
    compact = {key: json.dumps(value, separators=(",", ":")) for key, value in table.items() if key != "encoders"}
    lines = ",\n".join(f"{json.dumps(name)}:{json.dumps(row, separators=(',', ':'))}" for name, row in rows)
    head = ",\n".join(f"{json.dumps(key)}:{value}" for key, value in compact.items())
    TARGET.write_text(f'{{{head},\n"encoders":{{\n{lines}\n}}}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
