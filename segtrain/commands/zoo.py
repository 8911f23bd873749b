"""``segtrain zoo``: list architectures and encoders, or show one model in detail."""

import shutil
from collections.abc import Sequence
from importlib.metadata import version

from segtrain.catalog import index
from segtrain.catalog.filters import parse
from segtrain.catalog.names import ALIASES, resolve
from segtrain.catalog.table import layout
from segtrain.config.groups import Groups
from segtrain.config.words import counted
from segtrain.errors import ConfigError
from segtrain.suggest import did_you_mean
from segtrain.terminal.arguments import Arguments, show

_FILE_WIDTH = 200  # columns where the output is no terminal


def run(arguments: Arguments) -> int:
    """Print a line for each match of ``[pattern] [filter=value ...]``, or a page for ``<arch> <encoder>``."""
    groups = Groups.find(arguments.config_dir)
    words = [word for word in arguments.words if "=" not in word]
    options = [word for word in arguments.words if "=" in word]
    width = shutil.get_terminal_size((_FILE_WIDTH, 0)).columns
    if len(words) > 1:
        arch, encoder = _model(words, groups)
        from segtrain.build.summary import describe

        lines = describe(arch, encoder, options, config_dir=arguments.config_dir)
    else:
        lines = _list(next(iter(words), ""), options, groups, width)
    show("\n".join(lines))
    return 0


def _model(words: Sequence[str], groups: Groups) -> tuple[str, str]:
    archs = groups.choices("arch")
    arch = groups.meant("arch", words[0])
    if len(words) > 2 or arch not in archs:
        raise ConfigError(
            f"zoo {' '.join(words)}: expected one pattern, or an architecture and an encoder such as `zoo unet "
            f"resnet34`{did_you_mean(words[0], archs)}"
        )
    return arch, words[1]


def _list(pattern: str, options: Sequence[str], groups: Groups, width: int) -> list[str]:
    filters = parse(options, archs=groups.choices("arch"))
    archs = [name for name in groups.choices("arch") if pattern.lower().strip("*") in name] if not options else []
    found = index.find(pattern)
    rows = filters.apply(found)
    if not archs and not rows:
        raise ConfigError(_nothing(pattern, options, bool(found), groups))
    lines = [counted(len(rows), "encoder"), *(layout(rows, width, also=_aliases()) if rows else [])]
    return [*_architectures(archs, groups), *lines]


def _architectures(names: Sequence[str], groups: Groups) -> list[str]:
    if not names:
        return []
    longest = max(map(len, names))
    lines = [f"{name:<{longest}}  {groups.summary('arch', name)}" for name in names]
    return [f"{len(names)} architectures", *lines, ""]


def _nothing(pattern: str, options: Sequence[str], found: bool, groups: Groups) -> str:
    asked = " ".join(["zoo", *([pattern] if pattern else []), *options])
    if found:
        return f"{asked}: no encoder passes these filters; relax one of them"
    if version("timm") != index.TIMM_VERSION:
        return (
            f"{asked}: nothing matches in the table of timm {index.TIMM_VERSION}; for a model that timm "
            f"{version('timm')} brings, `segtrain zoo <arch> <encoder>`"
        )
    hint = did_you_mean(pattern, [*groups.choices("arch"), *index.names(), *ALIASES], listed=0)
    return f"{asked}: nothing matches{hint or '; `segtrain zoo` lists all'}"


def _aliases() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for alias in ALIASES:
        found.setdefault(resolve(alias).partition(".")[0], []).append(alias)
    return found
