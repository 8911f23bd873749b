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
from torch.utils.flop_counter import FlopCounterMode

from segtrain.catalog import index
from segtrain.errors import ConfigError
from segtrain.models.encoders import TimmEncoder
from segtrain.models.encoders.outline import outline

TARGET = Path(index.__file__).with_name("index.json")
COLUMNS = ("params", "macs", "strides", "channels", "size_multiple", "tile", "plain", "dilates", "statistics", "tags")
SIDE = 256


def main() -> None:
    """Write the table and print what was left out."""
    statistics, licences = Positions(), Positions()
    encoders: dict[str, Any] = {}
    unusable: dict[str, list[str]] = defaultdict(list)
    tags = _tags()
    names = sorted(timm.list_models(exclude_filters="smp_*"))  # which serve imported models alone
    with ProcessPoolExecutor() as pool:
        for name, found in zip(names, pool.map(describe, names, chunksize=8), strict=True):
            print(f"\r{name:60}", end="", file=sys.stderr, flush=True)
            if isinstance(found, str):
                unusable[found].append(name)
                continue
            *row, normalisation = found
            listed = [[tag, statistics.of(_normalisation(cfg)), licences.of(cfg.license)] for tag, cfg in tags[name]]
            encoders[name] = [*row, statistics.of(normalisation), listed]
    head = {"timm": timm.__version__, "columns": COLUMNS, "statistics": statistics.values, "licences": licences.values}
    _write({**head, "unusable": unusable}, encoders)
    for reason, left_out in unusable.items():
        print(f"{len(left_out)} left out, {reason}: {', '.join(left_out)}")
    print(f"{len(encoders)} encoders, strides {Counter(tuple(row[2]) for row in encoders.values())}")


class Positions:
    """Values that many rows share, each listed once."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def of(self, value: Any) -> int:
        """Return a value's position in the list."""
        if value not in self.values:
            self.values.append(value)
        return self.values.index(value)


def describe(name: str) -> tuple[Any, ...] | str:
    """Return an encoder's columns up to its mean and std, or the reason why it cannot be one."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    index.UNUSABLE.clear()  # of the table that is about to be replaced
    index.ENCODERS.clear()
    try:
        found = outline(name)
        with torch.device("meta"):
            encoder = TimmEncoder(name, weights=None).eval()
            macs = _macs(encoder)
    except ConfigError as error:
        return str(error).partition(": ")[2].replace(name, "it")
    except Exception as error:  # each family of models has its own way to refuse
        return f"it fails with {type(error).__name__}"
    if any(stride & (stride - 1) for stride in encoder.strides):
        return "its strides are no powers of two"
    params = sum(parameter.numel() for parameter in encoder.parameters())
    normalisation = [_rounded(encoder.mean), _rounded(encoder.std)]
    kept = [stride for stride in (8, 16) if found.plain or found.dilation(found.choose(5), stride)]
    kinds = (found.size_multiple, found.tile, int(found.plain), min(kept, default=0))
    return params, macs, encoder.strides, encoder.out_channels, *kinds, normalisation


def _macs(encoder: TimmEncoder) -> int:
    """Count the multiply-accumulates for one image; raises ConfigError if its maps are not as stated."""
    side = -(-SIDE // encoder.size_multiple) * encoder.size_multiple
    with FlopCounterMode(display=False) as counter:
        maps = encoder(torch.empty(1, 3, side, side))
    stated = zip(encoder.out_channels, encoder.strides, strict=True)
    if [tuple(m.shape) for m in maps] != [(1, channels, side // stride, side // stride) for channels, stride in stated]:
        raise ConfigError("encoder.name: its maps have not the strides that timm states")
    return int(counter.get_total_flops() // 2)


def _tags() -> dict[str, list[tuple[str, Any]]]:
    """List the tags of each model's weights with what timm says of them, the default first."""
    tags: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    for full_name in timm.list_models(pretrained=True):
        name, _, tag = full_name.partition(".")
        tags[name].append((tag, get_pretrained_cfg(full_name)))
    for name, listed in tags.items():
        default = get_pretrained_cfg(name)
        listed.sort(key=lambda entry, first=default: first is None or entry[0] != first.tag)  # type: ignore[misc]
    return tags


def _normalisation(cfg: Any) -> list[list[float]]:
    return [_rounded(cfg.mean), _rounded(cfg.std)]


def _rounded(values: tuple[float, ...]) -> list[float]:
    return [round(value, 6) for value in values]


def _write(head: dict[str, Any], encoders: dict[str, Any]) -> None:
    def compact(value: Any) -> str:
        return json.dumps(value, separators=(",", ":"))

    lines = ",\n".join(f"{compact(name)}:{compact(row)}" for name, row in encoders.items())
    top = ",\n".join(f"{compact(key)}:{compact(value)}" for key, value in head.items())
    TARGET.write_text(f'{{{top},\n"encoders":{{\n{lines}\n}}}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
