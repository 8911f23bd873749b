"""``segtrain shard``: any data set written as tar files, for disks and servers that dislike many small ones."""

import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from segtrain.config.schema import ShardConfig, Split
from segtrain.config.spine import to_config
from segtrain.config.words import counted, quote
from segtrain.terminal.arguments import Arguments, compose_with_training, show
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    from segtrain.config.schema import TrainConfig
    from segtrain.data.sample import Source
    from segtrain.data.shards.manifest import Manifest
    from segtrain.data.shards.writing import Part

log = logging.getLogger(__name__)

SPLITS: tuple[Split, ...] = ("train", "val", "test")


def run(arguments: Arguments) -> int:
    """Run the command; keys that shard.yaml lacks are those of training."""
    job, trained = compose_with_training(arguments, ShardConfig)
    if arguments.cfg:
        show(yaml.safe_dump({**job, "data": trained["data"]}, sort_keys=False))
        return 0
    config = to_config(job, ShardConfig)
    import_heavy("segtrain.build.parts", "segtrain.data.shards.writing")
    from segtrain.build.parts import checked_config
    from segtrain.terminal.console import start_logging

    start_logging()
    write(config, checked_config(trained))
    return 0


def write(config: ShardConfig, trained: "TrainConfig") -> None:
    """Open the splits, look into their files, and write what is not yet in the output."""
    from segtrain.data.shards.writing import claim, write_shards
    from segtrain.terminal.console import counting

    folder = Path(config.output).expanduser()
    sources = open_sources(config, trained)
    for source in sources.values():
        source.verify()
    parts = {split: ordered(source, split, config, trained) for split, source in sources.items()}
    made_of = digest(config, trained, parts)
    manifest = claim(folder, made_of)
    if manifest is not None:
        log.info("%s: is complete already", folder)
    else:
        with counting(sum(len(part.order) for part in parts.values()), "sharding") as stepped:
            manifest = write_shards(parts, folder, shard_mb=config.shard_mb, made_of=made_of, on_sample=stepped)
    tell(folder, manifest)


def open_sources(config: ShardConfig, trained: "TrainConfig") -> "dict[str, Source]":
    """Open the split that was asked for, or every one that the data has; raises `DataError` for what cannot be read."""
    from segtrain.build.examined_data import NOTHING_SET_ASIDE
    from segtrain.build.parts import open_source
    from segtrain.config.signature import TARGET, locate
    from segtrain.errors import DataError

    if config.split is not None:
        return {config.split: open_source(trained, config.split)}
    leaf = trained.data.leaf
    kind = locate(str(leaf[TARGET]), "data")
    known = kind.splits_in(leaf) if hasattr(kind, "splits_in") else None
    sources: dict[str, Source] = {}
    for split in SPLITS:
        try:
            sources[split] = open_source(trained, split)
        except DataError as error:
            lacks = error.kind == NOTHING_SET_ASIDE or (known is not None and split not in known)
            if split == "train" or not lacks:
                raise
    return sources


def ordered(source: "Source", split: str, config: ShardConfig, trained: "TrainConfig") -> "Part":
    """Put the samples of a split in the order to write them: those of training shuffled, unless that is not wanted."""
    import numpy as np

    from segtrain.data.shards.writing import Part

    length = len(source)
    kept = min(trained.data.limit or length, length)
    order = np.arange(kept) * length // kept  # evenly spread
    if config.shuffle and split == "train":
        np.random.default_rng(trained.seed).shuffle(order)
    return Part(source, order.tolist())


def digest(config: ShardConfig, trained: "TrainConfig", parts: "dict[str, Part]") -> str:
    """Hash what decides every byte of the shards: the data, its files as they are, order and size."""
    found = hashlib.sha256(json.dumps([trained.data.leaf, config.shard_mb], default=str).encode())
    for split, part in parts.items():
        ids = "\0".join(part.source.ids[index] for index in part.order)
        found.update(f"{split} {part.source.version()} {ids}".encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def tell(folder: Path, manifest: "Manifest") -> None:
    """Log what there is, and the words that train on it."""
    for split, shards in manifest.splits.items():
        size = sum(shard.bytes for shard in shards) / 1e6
        samples = counted(sum(shard.samples for shard in shards), "image")
        log.info("%s: %s in %s, %.1f MB", split, samples, counted(len(shards), "shard"), size)
    log.info("train on them with: segtrain data=webdataset data.root=%s", quote(str(folder)))
