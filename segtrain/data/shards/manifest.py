"""``segtrain.json`` beside shards: what they hold, as `segtrain shard` wrote them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, get_args

from segtrain.data.palette import Colour
from segtrain.data.sample import Source
from segtrain.errors import DataError
from segtrain.task import Mode

NAME = "segtrain.json"
FORMAT = 1  # raise it when earlier versions cannot read what is written


@dataclass(frozen=True)
class Shard:
    """A tar file, its samples and bytes, and the SHA-256 of the index beside it."""

    name: str
    samples: int
    bytes: int
    index: str

    @property
    def index_name(self) -> str:
        """The name of that index."""
        return f"{self.name.removesuffix('.tar')}.json"


@dataclass(frozen=True)
class Manifest:
    """What the shards of a folder have in common, as in `Source`, and the shards of each split.

    ``made_of`` is a digest of the data that they were made of, and how.
    """

    mode: Mode
    class_names: Sequence[str]
    palette: Sequence[Colour]
    channels: int
    value_range: tuple[float, float] | None
    image_classes: Sequence[str]
    mask_values: Sequence[int | Colour]
    class_table: Sequence[tuple[str, str]]
    splits: Mapping[str, Sequence[Shard]]
    made_of: str

    @classmethod
    def of(cls, source: Source, splits: Mapping[str, Sequence[Shard]], made_of: str) -> "Manifest":
        """Take over what a source says of its samples."""
        return cls(
            source.mode,
            source.class_names,
            source.palette,
            source.channels,
            source.value_range,
            source.image_classes,
            source.mask_values,
            source.class_table,
            splits,
            made_of,
        )

    def to_json(self) -> str:
        """Write it as JSON, which `from_json` reads."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: bytes, where: str) -> "Manifest":
        """Read what `to_json` wrote; raises `DataError` for what is not, ``where`` being its address."""
        try:
            found: dict[str, Any] = json.loads(text)
            version = found["format"]
            if version == FORMAT:
                return cls._of_plain({each.name: found[each.name] for each in fields(cls)})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = " ".join(repr(error).split())[:120]
            raise DataError(
                f"{where}: is not as `segtrain shard` writes it ({reason}); write the shards again"
            ) from None
        raise DataError(f"{where}: has format {version}, expected {FORMAT}; update segtrain, or write the shards again")

    @classmethod
    def _of_plain(cls, found: dict[str, Any]) -> "Manifest":
        splits = {split: [Shard(**shard) for shard in shards] for split, shards in found["splits"].items()}
        if found["mode"] not in get_args(Mode):
            raise ValueError(f"mode {found['mode']}")
        ends = found["value_range"]
        return cls(
            **{
                **found,
                "class_names": tuple(found["class_names"]),
                "image_classes": tuple(found["image_classes"]),
                "palette": tuple(_colour(colour) for colour in found["palette"]),
                "mask_values": tuple(each if isinstance(each, int) else _colour(each) for each in found["mask_values"]),
                "class_table": tuple((str(name), str(counts_as)) for name, counts_as in found["class_table"]),
                "value_range": None if ends is None else (float(ends[0]), float(ends[1])),
                "splits": splits,
            }
        )


def _colour(channels: Sequence[int]) -> Colour:
    red, green, blue = channels
    return int(red), int(green), int(blue)
