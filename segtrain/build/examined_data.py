"""The data of a config as the doctor looks at it: every split that can be opened, and why others cannot."""

from pathlib import Path
from typing import NamedTuple

from segtrain.build.parts import open_source
from segtrain.config.schema import Split, TrainConfig
from segtrain.config.words import is_address
from segtrain.data.doctor.finding import Finding
from segtrain.data.doctor.subject import Subject
from segtrain.data.formats.paired import PairedSource
from segtrain.data.sample import Source
from segtrain.errors import ConfigError, DataError

NOTHING_SET_ASIDE = "nothing set aside"
"""The kind of the error where a data set has no test images, which it need not have."""
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Opened(NamedTuple):
    """The splits of a data set that could be opened, by name, and findings on the others."""

    sources: dict[Split, PairedSource]
    findings: list[Finding]

    @property
    def subjects(self) -> list[Subject]:
        """What the doctor looks at in each split."""
        return [source.subject() for source in self.sources.values()]


def open_splits(config: TrainConfig) -> Opened:
    """Open training, validation and, where there are any, test images.

    Raises `ConfigError` for wrong options, and `DataError` where the root is not there.
    """
    root = config.data.leaf.get("root")
    if root is not None and not is_address(str(root)) and not Path(str(root)).expanduser().exists():
        raise DataError(f"data.root={root}: no such folder or file, expected that of the data; correct it")
    sources: dict[Split, PairedSource] = {}
    lines: dict[str, Finding] = {}  # a problem that two splits have is one
    for split in SPLITS:
        try:
            sources[split] = _with_files(open_source(config, split))
        except ConfigError:
            raise
        except DataError as error:
            if split != "test" or error.kind != NOTHING_SET_ASIDE:
                lines.update((line, _finding(line, error.kind)) for line in str(error).splitlines())
    return Opened(sources, list(lines.values()))


def _with_files(source: Source) -> PairedSource:
    """Return a source that has files; raises `ConfigError` for any other."""
    if not isinstance(source, PairedSource):
        name = type(source).__name__
        raise ConfigError(f"data: {name} has no files to look into, expected images and masks; choose another data=...")
    return source


def _finding(line: str, kind: str) -> Finding:
    """Turn a line of an error on the layout into a finding; it begins with the file where there is one."""
    place = Path(line.partition(": ")[0])
    kind = "layout" if kind == DataError.KIND else kind
    return Finding.of_error(DataError(line, kind=kind), *([place] if place.exists() else []))
