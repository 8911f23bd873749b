"""Check that a weight file fits the model that timm loads it into."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from segtrain.errors import ConfigError
from segtrain.models.encoders.weight_files import unreadable
from segtrain.models.encoders.weight_sources import ALTERNATIVES


@dataclass(frozen=True)
class Load:
    """Keys that did not fit when a module's weights were loaded."""

    module: nn.Module
    missing: list[str]
    unexpected: list[str]


@contextmanager
def checked_loading(path: Path, *, encoder: str) -> Iterator[list[Load]]:
    """Record keys that do not fit while timm loads ``path``; any failure becomes a ``ConfigError`` that names it.

    timm loads leniently and only logs what was left out: with the weights of another model,
    training would start from random ones. Patches ``nn.Module.load_state_dict`` for the time of the
    block, so it is not for threads.
    """
    loads: list[Load] = []
    original = nn.Module.load_state_dict

    def load(module: nn.Module, state: dict[str, Any], **_: Any) -> Any:
        own = module.state_dict()
        misshapen = [key for key, value in state.items() if key in own and value.shape != own[key].shape]
        result = original(module, {key: value for key, value in state.items() if key not in misshapen}, strict=False)
        loads.append(Load(module, list(result.missing_keys), [*result.unexpected_keys, *misshapen]))
        result.unexpected_keys.clear()  # usually those of the classifier, of which timm would warn
        return result

    nn.Module.load_state_dict = load  # type: ignore[method-assign, assignment]
    try:
        yield loads
    except Exception as error:  # safetensors, pickle, zip and timm's key mapping each have their own
        raise unreadable(path, error, encoder=encoder) from error
    finally:
        nn.Module.load_state_dict = original  # type: ignore[method-assign]


def check_complete(model: nn.Module, loads: list[Load], path: Path, *, encoder: str) -> None:
    """Raise ``ConfigError`` if a tensor of ``model`` was not in the file; a classifier may be there or not."""
    assert loads, "timm loaded the file in a way that nobody watched"
    # By identity, as timm may load into a part of the model, or one that wraps it, under other names.
    used = {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}
    for load in loads:
        tensors = load.module.state_dict(keep_vars=True)  # without the classifier, if timm took it off after loading
        missing = [key for key in load.missing if key in tensors and id(tensors[key]) in used]
        if missing:
            raise ConfigError(
                f"{path}: not the weights of {encoder}: {_count(missing, 'missing')}, "
                f"{_count(load.unexpected, 'unexpected')}; give the file's own encoder.name, or {ALTERNATIVES}"
            )


def _count(keys: list[str], what: str) -> str:
    return f"{len(keys)} {what} tensors" + (f" (such as {', '.join(keys[:2])})" if keys else "")
