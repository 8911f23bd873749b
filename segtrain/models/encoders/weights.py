"""Where an encoder's weights come from: a file, timm's hub, its local cache; and whether they fit."""

import logging
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError
from timm.models import get_pretrained_cfg, is_model_pretrained
from torch import nn

from segtrain.config.suggest import did_you_mean
from segtrain.errors import ConfigError

logger = logging.getLogger(__name__)

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_ALTERNATIVES = "encoder.weights=path/to/file.safetensors or encoder.weights=null (random)"
_CONNECT_SECONDS = 5.0


def locate(weights: str, *, arch: str, tag: str) -> tuple[str, Path]:
    """Return the tag and the file of the weights that the user asked for, downloading them if they are in no cache.

    ``tag`` is the one that goes with the encoder's name, empty for timm's default. Raises ``ConfigError`` for a missing
    file, an unknown tag, and weights that cannot be downloaded.
    """
    if weights.endswith(SUFFIXES) or "/" in weights:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise ConfigError(f"encoder.weights: no such file {path}; or take {_ALTERNATIVES.partition(' or ')[2]}")
        return tag, path
    if weights != "imagenet":
        tag = weights
    full_name = f"{arch}.{tag}" if tag else arch
    if not is_model_pretrained(full_name):
        raise ConfigError(_no_such_tag(weights, arch))
    cfg: Any = get_pretrained_cfg(full_name)
    return tag, _fetch(cfg, f"{arch}.{cfg.tag}")


def _no_such_tag(weights: str, arch: str) -> str:
    tags = [name.partition(".")[2] for name in timm.list_models(f"{arch}.*", pretrained=True)]
    if not tags:
        return f"encoder.weights: timm has no weights for {arch}; take {_ALTERNATIVES}"
    return (
        f"encoder.weights: {weights!r} is neither a file nor weights of {arch}{did_you_mean(weights, tags)}; "
        f"expected imagenet, null, a {'/'.join(SUFFIXES)} file or one of {', '.join(tags)}"
    )


def _fetch(cfg: Any, what: str) -> Path:
    origin = f"https://huggingface.co/{cfg.hf_hub_id}" if cfg.hf_hub_id else str(cfg.url)
    try:
        return _from_hub(cfg.hf_hub_id, cfg.hf_hub_filename, what) if cfg.hf_hub_id else _from_url(cfg.url, what)
    except Exception as error:  # the hub's client raises those of its network library, which changed between releases
        raise ConfigError(
            f"encoder.weights: the weights {what} are not cached and could not be fetched from {origin} "
            f"({type(error).__name__}: {_first_line(error)}); take {_ALTERNATIVES}"
        ) from error


def _from_hub(hub_id: str, filename: str | None, what: str) -> Path:
    repo, _, revision = hub_id.partition("@")
    filenames = (filename,) if filename else HUB_FILES
    for candidate in filenames:
        cached = try_to_load_from_cache(repo, candidate, revision=revision or None)
        if isinstance(cached, str):
            return Path(cached)
    for candidate in filenames:
        try:
            # Asked for first because hf_hub_download retries for half a minute where there is no network.
            url = hf_hub_url(repo, candidate, revision=revision or None)
            size = get_hf_file_metadata(url, timeout=_CONNECT_SECONDS).size
        except EntryNotFoundError:
            continue
        logger.info("downloading %s from %s%s", what, url, _readable(size))
        return Path(hf_hub_download(repo, candidate, revision=revision or None))
    raise FileNotFoundError(f"{repo} holds none of {', '.join(filenames)}")


def _from_url(url: str, what: str) -> Path:
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if path.is_file():
        return path
    request = urllib.request.Request(url, method="HEAD")
    with urllib.request.urlopen(request, timeout=_CONNECT_SECONDS) as response:
        size = response.headers.get("Content-Length")
    logger.info("downloading %s from %s%s", what, url, _readable(size and int(size)))
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.hub.download_url_to_file(url, str(path))
    return path


def _readable(size: int | None) -> str:
    return f" ({size / 1e6:.0f} MB)" if size else ""


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]


@dataclass(frozen=True)
class Load:
    """What did not fit when a module's weights were loaded."""

    module: nn.Module
    missing: list[str]
    unexpected: list[str]


@contextmanager
def checked_loading(path: Path, *, encoder: str) -> Iterator[list[Load]]:
    """Collect what does not fit while timm loads ``path``; anything that fails becomes a ``ConfigError`` naming it.

    timm loads leniently and says only in its log what was left out: weights of a wrong model would pass as random ones.
    """
    loads: list[Load] = []
    original = nn.Module.load_state_dict

    def load(module: nn.Module, state: dict[str, Any], **_: Any) -> Any:
        own = module.state_dict()
        misshapen = [key for key, value in state.items() if key in own and value.shape != own[key].shape]
        result = original(module, {key: value for key, value in state.items() if key not in misshapen}, strict=False)
        loads.append(Load(module, list(result.missing_keys), [*result.unexpected_keys, *misshapen]))
        result.unexpected_keys.clear()  # of the classifier, as a rule: timm would warn of them
        return result

    nn.Module.load_state_dict = load  # type: ignore[method-assign, assignment]
    try:
        yield loads
    except Exception as error:  # safetensors, pickle, zip and timm's key mapping each have their own
        raise ConfigError(
            f"{path}: cannot be read as weights of {encoder} ({type(error).__name__}: {_first_line(error)}); "
            f"take {_ALTERNATIVES}"
        ) from error
    finally:
        nn.Module.load_state_dict = original  # type: ignore[method-assign]


def check_complete(model: nn.Module, loads: list[Load], path: Path, *, encoder: str) -> None:
    """Raise ``ConfigError`` if a tensor of ``model`` was not in the file; a classifier may be there or not."""
    assert loads, "timm loaded the file in a way that nobody watched"
    used = {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}
    for load in loads:
        tensors = load.module.state_dict(keep_vars=True)
        missing = [key for key in load.missing if id(tensors[key]) in used]
        if missing:
            raise ConfigError(
                f"{path}: not the weights of {encoder}: {_count(missing, 'missing')}, "
                f"{_count(load.unexpected, 'unexpected')}; give the file's own encoder.name, or {_ALTERNATIVES}"
            )


def _count(keys: list[str], what: str) -> str:
    return f"{len(keys)} {what} tensors" + (f" (such as {', '.join(keys[:2])})" if keys else "")
