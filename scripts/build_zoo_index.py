"""Describe every timm model that yields features in segtrain/catalog/index.json; takes some minutes."""

import json
import logging
import sys
import warnings
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg

from segtrain.catalog import index
from segtrain.errors import ConfigError
from segtrain.models.encoders.timm_encoder import TimmEncoder

TARGET = Path(__file__).parents[1] / "segtrain" / "catalog" / "index.json"


def main() -> None:
    """Write the table and print what was left out."""
    statistics: list[list[list[float]]] = []
    encoders: dict[str, Any] = {}
    unusable: dict[str, list[str]] = defaultdict(list)
    tags = _tags()
    names = sorted(timm.list_models())
    with ProcessPoolExecutor() as pool:
        for name, found in zip(names, pool.map(_describe, names, chunksize=8), strict=True):
            print(f"\r{name:60}", end="", file=sys.stderr, flush=True)
            if isinstance(found, str):
                unusable[found].append(name)
                continue
            *row, mean, std = found
            if [mean, std] not in statistics:
                statistics.append([mean, std])
            encoders[name] = [*row, statistics.index([mean, std]), tags[name]]
    _write({"timm": timm.__version__, "statistics": statistics, "encoders": encoders, "unusable": unusable})
    for reason, names in unusable.items():
        print(f"{len(names)} left out, {reason}: {', '.join(names)}")
    print(f"{len(encoders)} encoders, strides {Counter(tuple(row[1]) for row in encoders.values())}")


def _describe(name: str) -> tuple[int, tuple[int, ...], tuple[int, ...], list[float], list[float]] | str:
    """Return an encoder's parameters, strides, channels, mean and std, or the reason why it cannot be one."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    index.UNUSABLE.clear()  # of the table that is about to be replaced
    try:
        with torch.device("meta"):
            encoder = TimmEncoder(name, weights=None).eval()
    except ConfigError as error:
        return str(error)
    reason = _reject(encoder)
    if reason:
        return reason
    params = sum(parameter.numel() for parameter in encoder.parameters())
    return params, encoder.strides, encoder.out_channels, _rounded(encoder.mean), _rounded(encoder.std)


def _reject(encoder: TimmEncoder) -> str:
    """Have the encoder, built without memory, take an image of an unusual size; return what is wrong, or nothing."""
    size = [count * max(encoder.strides) for count in (5, 3)]
    try:
        maps = encoder(torch.empty(1, 3, *size, device="meta"))
    except Exception:  # each family of models has its own way to refuse
        return "it takes images of one size only"
    expected = [
        (1, channels, size[0] // stride, size[1] // stride)
        for channels, stride in zip(encoder.out_channels, encoder.strides, strict=True)
    ]
    return "" if [tuple(m.shape) for m in maps] == expected else "its maps have not the strides that timm states"


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
