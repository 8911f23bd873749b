"""Sources of timm's weights: the user's folder, the caches of torch.hub and Hugging Face, or a download."""

import hashlib
import logging
import os
import re
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any
from urllib.parse import urlsplit

import torch
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError

from segtrain.errors import ConfigError

logger = logging.getLogger(__name__)

FOLDER = "SEGTRAIN_WEIGHTS"
"""The environment variable that names the user's folder of weight files."""

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
RANDOM = "encoder.weights=null (random)"
ALTERNATIVES = f"{RANDOM} or encoder.weights=path/to/file.safetensors"
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_CONNECT_SECONDS = 5.0
_REASON = 80  # characters of the reason in the one-line error, where the remedy comes first; the log has it whole
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.")
"""The first digits of a file's sha256 in its name, as torch.hub writes them."""


def obtain(cfg: Any, *, is_default: bool) -> Path:
    """Return the file of the weights that a timm ``PretrainedCfg`` describes, downloaded if it is not on this machine.

    ``is_default`` accepts a file of the user's folder without a tag in its name, too. Raises
    ``ConfigError`` if they cannot be fetched, and for a file whose checksum is not the published
    one.
    """
    path = find(cfg, is_default=is_default) or _download(cfg)
    _verify(path)
    return path


def find(cfg: Any, *, is_default: bool) -> Path | None:
    """Find weights on this machine: in ``$SEGTRAIN_WEIGHTS``, torch.hub's cache, Hugging Face's cache."""
    return _in_folder(cfg, is_default=is_default) or _in_torch_cache(cfg) or _in_hub_cache(cfg)


def name_of(cfg: Any) -> str:
    """Return timm's full name of weights, such as ``resnet34.a1_in1k``."""
    return f"{cfg.architecture}.{cfg.tag}" if cfg.tag else str(cfg.architecture)


def _in_folder(cfg: Any, *, is_default: bool) -> Path | None:
    if not os.environ.get(FOLDER):
        return None
    folder = Path(os.environ[FOLDER]).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"{FOLDER}: no such folder {folder}, expected one with weight files; correct or unset it")
    stems = [name_of(cfg), *([cfg.architecture] if is_default else [])]
    names = [*(stem + suffix for stem in stems for suffix in SUFFIXES), *([_file_name(cfg.url)] if cfg.url else [])]
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path:
        logger.info("weights %s from %s", name_of(cfg), path)
    return path


def _in_torch_cache(cfg: Any) -> Path | None:
    path = _torch_cache_path(cfg.url) if _is_loadable(cfg.url) else None
    return path if path and path.is_file() else None


def _in_hub_cache(cfg: Any) -> Path | None:
    repo, revision, filenames = _hub_location(cfg)
    # A path, None for unknown, or a sentinel for a file that is known not to exist.
    found = (try_to_load_from_cache(repo, filename, revision=revision) for filename in filenames)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def _download(cfg: Any) -> Path:
    name, failures = name_of(cfg), []
    for origin, fetch in _origins(cfg):
        try:
            return fetch(name)
        except Exception as error:  # the hub's client raises those of its network library, which changed with releases
            logger.warning("cannot fetch %s: %s: %s", origin, type(error).__name__, first_line(error))
            failures.append(f"{urlsplit(origin).hostname}: {first_line(error) or type(error).__name__}")
    reason = shorten(", ".join(failures), _REASON, placeholder="...")
    raise ConfigError(
        f"encoder.weights: {name} is not on this machine; take {ALTERNATIVES}, or set {FOLDER} to a folder with "
        f"{name}.safetensors, as it could not be fetched ({reason})"
    )


def _origins(cfg: Any) -> Iterator[tuple[str, Callable[[str], Path]]]:
    if cfg.hf_hub_id:
        yield f"{constants.ENDPOINT}/{cfg.hf_hub_id}", partial(_from_hub, cfg)
    if _is_loadable(cfg.url):
        yield cfg.url, partial(_from_url, cfg.url)


def _from_hub(cfg: Any, name: str) -> Path:
    repo, revision, filenames = _hub_location(cfg)
    for filename in filenames:
        try:
            # Metadata first, because hf_hub_download retries for half a minute where there is no
            # network.
            url = hf_hub_url(repo, filename, revision=revision)
            size = get_hf_file_metadata(url, timeout=_CONNECT_SECONDS).size
        except EntryNotFoundError:
            continue
        _announce(name, url, size)
        return Path(hf_hub_download(repo, filename, revision=revision))
    raise FileNotFoundError(f"{repo} holds none of {', '.join(filenames)}")


def _from_url(url: str, name: str) -> Path:
    with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_CONNECT_SECONDS) as response:
        size = response.headers.get("Content-Length")
    _announce(name, url, size and int(size))
    path = _torch_cache_path(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    published = _HASH_IN_NAME.search(path.name)
    torch.hub.download_url_to_file(url, str(path), hash_prefix=published and published[1])
    return path


def _hub_location(cfg: Any) -> tuple[str, str | None, tuple[str, ...]]:
    """Split the location at Hugging Face into repository, revision and the file names to try."""
    repo, _, revision = (cfg.hf_hub_id or "").partition("@")
    filenames = (cfg.hf_hub_filename,) if cfg.hf_hub_filename else _HUB_FILES
    return repo, revision or None, filenames if repo else ()


def _is_loadable(url: str | None) -> bool:
    return bool(url) and not str(url).endswith(".npz")  # Flax's arrays; Hugging Face has these as tensors


def _torch_cache_path(url: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / _file_name(url)


def _file_name(url: str) -> str:
    return url.rpartition("/")[2]


def _announce(name: str, url: str, size: int | None) -> None:
    logger.info("downloading %s from %s%s", name, url, f" ({size / 1e6:.0f} MB)" if size else "")


def _verify(path: Path) -> None:
    """Check a file against the sha256 in its name or, in Hugging Face's cache, in the name of the blob."""
    stored = path.resolve().name  # the cache links to blobs that are named by their sha256
    in_name = _HASH_IN_NAME.search(path.name)
    published = stored if re.fullmatch(r"[0-9a-f]{64}", stored) else in_name and in_name[1]
    if published and not (actual := _sha256(path)).startswith(published):
        raise ConfigError(
            f"{path}: damaged, its sha256 begins with {actual[:8]} where {published[:8]} was published; delete it to "
            "have it fetched again, or give it as encoder.weights=<this file> if you trust it"
        )


def _sha256(path: Path) -> str:
    digest, block = hashlib.sha256(), memoryview(bytearray(2**20))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(block):
            digest.update(block[:size])
    return digest.hexdigest()


def first_line(error: Exception) -> str:
    """Return the first line of an error of another library, at most 200 characters."""
    return str(error).strip().partition("\n")[0][:200]
