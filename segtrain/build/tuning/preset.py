"""The result as an experiment of the user's, and the command line that trains with it."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from segtrain.build.tuning.settings import Settings
from segtrain.config.groups import config_root
from segtrain.config.words import typed
from segtrain.errors import ConfigError
from segtrain.storage import read_text, write_text

FOLDER = Path("my_configs")
"""The folder of the user's own choices, unless --config-dir names one."""
_MARK = "Written by `segtrain tune`"


def place_for(name: str, config_dir: Path | None, *, chosen: str | None) -> Path:
    """Return the file of an experiment of that name; raises `ConfigError` where it is somebody else's.

    ``chosen`` is the experiment that the settings go on from.
    """
    if not name.isidentifier():
        raise ConfigError(f"preset={name}: expected a name of letters, digits and _; write preset=tuned")
    file = (config_dir or FOLDER) / "experiment" / f"{name}.yaml"
    if (config_root() / "experiment" / file.name).exists() or name == chosen:
        raise ConfigError(f"preset={name}: is an experiment already, expected a new name; choose another preset")
    if file.exists() and _MARK not in read_text(file):
        raise ConfigError(f"preset={name}: {file} was not written by segtrain tune; choose another preset")
    return file


def text_of(settings: Settings, *, chosen: str | None, about: str) -> str:
    """Write the YAML of an experiment that sets these values, after those of the experiment ``chosen``.

    It is an experiment and no trainer's choice, as those of the data come after the trainer's and set batches too.
    """
    lines = ["# @package _global_", f"# {_MARK} {about}"]
    if chosen is not None:
        lines += ["defaults:", f"  - {chosen}", "  - _self_", ""]
    groups: dict[str, dict[str, object]] = {}
    for key, value in settings.items():
        group, _, name = key.partition(".")
        groups.setdefault(group, {})[name] = value
    lines += [yaml.safe_dump({group: values}, default_flow_style=None).rstrip() for group, values in groups.items()]
    return "\n".join(lines) + "\n"


def write(file: Path, text: str) -> None:
    """Write the experiment, and make its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, text)


def command_line(words: Sequence[str], file: Path | None, settings: Settings, config_dir: Path | None) -> str:
    """Return the line that trains with an experiment's file, from the folder where it was written.

    Words that it sets are left out, as they would win. Without a file it is the line of the words as they are.
    """
    folder = config_dir if file is None else file.parent.parent
    replaced = () if file is None else ("experiment", *settings)
    kept = [word for word in words if word.partition("=")[0] not in replaced]
    flags = [] if folder is None else ["--config-dir", shlex.quote(str(folder))]
    added = [] if file is None else [f"experiment={file.stem}"]
    return " ".join(["segtrain", *flags, *map(typed, kept), *added])


def changes(before: Settings, after: Settings) -> Mapping[str, object]:
    """Return the values that are not as before."""
    return {key: value for key, value in after.items() if before.get(key) != value}
