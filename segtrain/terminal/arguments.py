"""Arguments of a command, from the words of its command line."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtrain.config.words import quote
from segtrain.errors import ConfigError

if TYPE_CHECKING:
    from segtrain.config.overrides import Overrides


@dataclass(frozen=True)
class Arguments:
    """A parsed command line: the command, its words and flags."""

    command: str
    words: tuple[str, ...] = ()
    config_dir: Path | None = None
    multirun: bool = False
    cfg: str | None = None

    @cached_property
    def overrides(self) -> "Overrides":
        """The words as overrides, parsed once; positional words get their keys.

        Raises `ConfigError` for words that cannot be parsed, and for lists of choices outside a sweep.
        """
        from segtrain.config.overrides import Overrides  # Hydra's grammar takes a tenth of a second

        words = name_words(self.words, self.command) if self.command in OWN_KEYS else self.words
        found = Overrides.of(words)
        return found if self.multirun else found.one_job()


def compose_with_training(arguments: Arguments, schema: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compose a command's own job, and that of training from the keys that its schema lacks.

    Raises `ConfigError` for a mistake in either.
    """
    from segtrain.config.compose import compose  # Hydra, as above

    own, others = arguments.overrides.split((*(field.name for field in fields(schema)), "hydra"))
    job = compose(arguments.command, own, config_dir=arguments.config_dir).job
    return job, compose("train", others, config_dir=arguments.config_dir).job


_RUN = "outputs/<name>/<time>"
EXAMPLES = {
    "eval": f"segtrain eval {_RUN}",
    "predict": f"segtrain predict {_RUN} photos masks",
    "export": f"segtrain export {_RUN} format=onnx",
    "bench": f"segtrain bench {_RUN}",
    "resume": f"segtrain resume {_RUN}",
    "replay": f"segtrain replay {_RUN}",
    "score": "segtrain score masks true_masks",
    "compare": f"segtrain compare {_RUN} {_RUN}",
    "report": f"segtrain report {_RUN}",
    "demo": f"segtrain demo {_RUN}",
    "diff": f"segtrain diff {_RUN} {_RUN}",
    "reproduce": f"segtrain reproduce {_RUN}",
    "import": "segtrain import saved_folder model.pt",
    "average": f"segtrain average {_RUN} output=avg.pt",
    "runs": "segtrain runs outputs sort=val/iou",
}
"""Examples of the commands that take positional words, files or folders."""
OWN_KEYS = {
    "eval": ("ckpt",),
    "predict": ("ckpt", "input", "output"),
    "export": ("ckpt",),
    "bench": ("ckpt",),
    "resume": ("resume",),
    "replay": ("run",),
    "score": ("pred", "truth"),
    "compare": ("a", "b"),
    "report": ("runs",),
    "demo": ("ckpt",),
    "diff": ("a", "b"),
    "reproduce": ("run",),
    "import": ("smp", "output"),
    "average": ("runs",),
    "runs": ("folder",),
}
"""The keys of these positional words, in order."""
MANY = ("average", "report")
"""Commands whose one key takes all of them."""
_SPLITS = ("train", "val", "test")


def name_words(words: Sequence[str], command: str) -> list[str]:
    """Add keys to positional words: those that are no ``key=value``, or are paths that exist, in order.

    Raises `ConfigError` for too many words, or too few unless there are none: then the config decides.
    """
    places = [word for word in words if _is_place(word)]
    options = [word for word in words if not _is_place(word)]
    if places and command in MANY:
        return [f"{OWN_KEYS[command][0]}=[{','.join(map(quote, places))}]", *options]
    free = [key for key in OWN_KEYS[command] if not any(option.startswith(f"{key}=") for option in options)]
    if beyond := places[len(free) :]:
        raise ConfigError("\n".join(_without_a_key(word, command) for word in beyond))
    if places and (left := free[len(places) :]):
        raise ConfigError("\n".join(f"{key}: missing; write {EXAMPLES[command]}" for key in left))
    # no places leaves every key free: strict would refuse that
    named = [f"{key}={quote(place)}" for key, place in zip(free, places, strict=False)]
    return [*named, *options]


def _is_place(word: str) -> bool:
    """Tell a path from ``key=value`` and ``~key``; keys have no slash, names of files may have a ``=``."""
    key, equals, _ = word.partition("=")
    return "/" in key or Path(word).exists() or not (equals or word.startswith("~"))


def _without_a_key(word: str, command: str) -> str:
    keys = " ".join(OWN_KEYS[command])
    remedy = f"write data.split={word}" if word in _SPLITS else f"write {EXAMPLES[command]} [key=value ...]"
    return f"{word}: is one word more than {command} takes ({keys}), expected key=value; {remedy}"


def show(text: str) -> None:
    """Write to standard output, ending with a line break."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
