"""Config groups: the YAML choices that exist, and the choice that a name means."""

import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from segtrain.catalog import index as encoders
from segtrain.catalog.names import ALIASES, resolve, without_hub
from segtrain.errors import ConfigError
from segtrain.suggest import did_you_mean

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

GROUPS = (
    "arch",
    "encoder",
    "loss",
    "image_head",
    "data",
    "augment",
    "optimizer",
    "scheduler",
    "trainer",
    "infer",
    "logger",
    "debug",
    "experiment",
)
GLOBAL_GROUPS = ("debug", "experiment")
"""Groups without a node of their own, which set keys of others."""
_LISTED = 40  # choices that an error line lists at most
OPTIONAL_GROUPS = (*GLOBAL_GROUPS, "image_head")  # may be left out, or be null


def config_root() -> Path:
    """Return the folder of the YAML files: inside an installed package, next to it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


@dataclass(frozen=True)
class Groups:
    """The config folders in use: the package's own, then the user's."""

    roots: tuple[Path, ...]

    @classmethod
    def find(cls, config_dir: Path | None = None) -> "Groups":
        """Find the folders; raises `ConfigError` where the user's does not exist."""
        if config_dir is None:
            return cls((config_root(),))
        if not config_dir.is_dir():
            raise ConfigError(
                f"--config-dir {config_dir}: no such folder, expected one with YAML groups; correct --config-dir"
            )
        return cls((config_root(), config_dir.resolve()))

    def search_path(self) -> list[str]:
        """Return the override that adds the user's folder to Hydra's search path."""
        extra = [f"file://{root}" for root in self.roots[1:]]
        return [f"hydra.searchpath=[{','.join(extra)}]"] if extra else []

    def is_group(self, key: str) -> bool:
        """Tell whether a key is the name of a group."""
        return key in GROUPS or (key.isidentifier() and any((root / key).is_dir() for root in self.roots))

    def choices(self, group: str) -> list[str]:
        """List a group's YAML files, sorted; names that start with ``_`` are parts of others."""
        files = {path.stem for root in self.roots for path in (root / group).glob("*.yaml")}
        return sorted(name for name in files if not name.startswith("_"))

    def summary(self, group: str, choice: str) -> str:
        """Return the first comment in a choice's YAML file, which describes it."""
        files = (root / group / f"{choice}.yaml" for root in self.roots)
        path = next(file for file in files if file.exists())
        lines = path.read_text(encoding="utf-8").splitlines()
        comments = (line.lstrip("# ").rstrip() for line in lines if line.startswith("#"))
        return next((comment for comment in comments if not comment.startswith("@package")), "")

    def choice_problem(self, override: "Override") -> str | None:
        """Describe what is wrong with ``group=choice``; None if it is right."""
        group, choice = override.key_or_group, override.value()
        if choice is None or override.is_delete():
            return None if group in OPTIONAL_GROUPS else f"{group}: cannot be left out{self._hint('', group)}"
        if group == "logger" and isinstance(choice, list):
            return self._several_problem(choice)
        if not isinstance(choice, str | int):
            return f"{override.input_line}: expected the name of one choice{self._hint('', group)}"
        name = self.meant(group, str(choice))
        if name in self.choices(group):
            return None
        if group == "encoder":
            return encoder_problem(name)
        return f"{group}={choice}: no such choice{self._hint(str(choice), group)}"

    def _several_problem(self, names: list[object]) -> str | None:
        """Describe what is wrong with the list of ``logger=[a,b]``."""
        known = [name for name in self.choices("logger") if name not in ("several", "none")]
        strange = [name for name in names if name not in known]
        if strange:
            return f"logger=[{strange[0]}]: no such choice{did_you_mean(str(strange[0]), known, listed=_LISTED)}"
        if len(set(map(str, names))) < len(names) or not names:
            return f"logger=[{','.join(map(str, names))}]: expected some loggers, each once; or write logger=none"
        return None

    def meant(self, group: str, word: str) -> str:
        """Return the choice that a word means in another spelling; an unknown word is returned as it is.

        ``deeplabv3+`` and ``DeepLabV3Plus`` are deeplabv3plus, ``AdamW`` is adamw, ``ResNet-50`` and
        ``timm/resnet50`` are resnet50.
        """
        choices = self.choices(group)
        if word in choices:
            return word
        if group == "encoder":
            word = without_hub(word)
            if encoders.lookup(word):
                return word
            choices = [*choices, *encoders.names(), *ALIASES]
        same = {name for name in choices if _letters(name) == _letters(word)}
        return same.pop() if len(same) == 1 else word  # ambiguous spellings are not guessed

    def _hint(self, word: str, group: str) -> str:
        return did_you_mean(word, self.choices(group), listed=_LISTED)

    def expand(self, override: "Override") -> list[str]:
        """Return the overrides for Hydra: an encoder without YAML file is ``encoder=timm encoder.name=...``."""
        group, choice = override.key_or_group, override.value()
        if choice is None:
            return [f"~{group}"]
        if isinstance(choice, list):  # several loggers
            return [f"{group}=several", *(f"+{group}@{group}.loggers.{name}={name}" for name in choice)]
        name = self.meant(group, str(choice))
        if group == "encoder" and name not in self.choices(group):
            return ["encoder=timm", f"encoder.name={name}"]
        return [str(override.input_line) if name == str(choice) else f"{group}={name}"]


def _letters(name: str) -> str:
    """Normalise a name: lower case, without separators, ``+`` as plus."""
    return re.sub(r"[\W_]", "", name.lower().replace("+", "plus"))


def encoder_problem(name: str) -> str | None:
    """Describe an unknown or unusable encoder, from the shipped index; None where that cannot tell."""
    if encoders.lookup(name):
        return None
    reason = encoders.UNUSABLE.get(resolve(name).partition(".")[0])
    if reason:
        return f"encoder={name}: timm has this model, but it cannot be an encoder: {reason}"
    if version("timm") != encoders.TIMM_VERSION:  # another timm may have it: building the model tells
        return None
    hint = did_you_mean(name, [*encoders.names(), *ALIASES], listed=0)
    return f"encoder={name}: no such encoder{hint or '; `segtrain zoo <part of a name>` lists them'}"
