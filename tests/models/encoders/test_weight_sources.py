import hashlib
import logging
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file

from segtrain.catalog.names import resolve
from segtrain.errors import ConfigError
from segtrain.models.encoders import TimmEncoder, weight_sources
from segtrain.models.encoders import weights as weight_files
from tests.models.encoders.refusals import refusal
from tests.newer_timm import newer_timm

LIGHT, DARK = {"mean": (0.7, 0.7, 0.7)}, {"mean": (0.2, 0.2, 0.2)}
NOWHERE = {"hf_hub_id": "timm/"}


@pytest.fixture(autouse=True)
def _no_folder(monkeypatch):
    monkeypatch.delenv("SEGTRAIN_WEIGHTS", raising=False)


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(weight_sources, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(weight_sources, "get_hf_file_metadata", refuse)
    monkeypatch.setattr(weight_sources.urllib.request, "urlopen", refuse)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Weights of the model that `newer_timm` registers."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.pth"
    with newer_timm() as name:
        torch.save(timm.create_model(name).state_dict(), path)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    path = tmp_path / "weights"
    path.mkdir()
    monkeypatch.setenv("SEGTRAIN_WEIGHTS", str(path))
    return path


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server on this machine, and its folder."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def end_headers(self):
            file = Path(self.translate_path(self.path))
            if not file.is_file():
                self.send_header("X-Error-Code", "EntryNotFound")  # as Hugging Face's servers do
            elif file.suffix == ".safetensors":
                self.send_header("ETag", f'"{_sha256(file)}"')
                self.send_header("X-Repo-Commit", "0" * 40)
            super().end_headers()

    root = tmp_path / "www"
    root.mkdir()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=root)) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield root, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def hub(server, tmp_path, monkeypatch):
    """Hugging Face's hub and its cache, on this machine."""
    root, address = server
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    return root / "timm" / "resnet_of_tomorrow.a" / "resolve" / "main" / "model.safetensors"


@pytest.mark.parametrize(("weights", "tag", "mean"), [("imagenet", "a", 0.7), ("a", "a", 0.7), ("b", "b", 0.2)])
def test_a_folder_of_files_is_looked_at_first_and_the_tag_sets_mean_and_std(
    no_network, folder, tiny, weights, tag, mean, caplog
):
    with newer_timm(a={**LIGHT, **NOWHERE}, b={**DARK, **NOWHERE}) as name, caplog.at_level(logging.INFO, "segtrain"):
        shutil.copy(tiny, folder / f"{name}.{tag}.pth")
        assert TimmEncoder(name, weights=weights).mean == (mean,) * 3
        assert caplog.messages == [f"weights {name}.{tag} from {folder / f'{name}.{tag}.pth'}"]


def test_a_file_without_a_tag_in_its_name_stands_for_the_default_alone(no_network, folder, tiny):
    with newer_timm(a={**LIGHT, **NOWHERE}, b={**DARK, **NOWHERE}) as name:
        shutil.copy(tiny, folder / f"{name}.pth")
        assert TimmEncoder(name).mean == (0.7,) * 3
        assert TimmEncoder(f"{name}.b").mean == (0.2,) * 3  # the default of that name
        assert f"{name}.b is not on this machine" in refusal(name, weights="b")


def test_a_file_in_the_folder_may_keep_the_name_that_it_is_published_under(no_network, folder, tiny):
    with newer_timm(a={"url": "https://nowhere.example/light-net.pth"}) as name:
        shutil.copy(tiny, folder / "light-net.pth")
        assert TimmEncoder(name).out_channels[-1] == 24


def test_a_local_file_named_after_its_tag_brings_the_mean_of_that_tag(tmp_path, tiny):
    with newer_timm(a={**LIGHT, **NOWHERE}, b={**DARK, "url": "https://nowhere.example/dark-net.pth"}) as name:
        for file, mean in ((f"{name}.b.pth", 0.2), ("dark-net.pth", 0.2), ("mine.pth", 0.7)):
            path = shutil.copy(tiny, tmp_path / file)
            assert TimmEncoder(name, weights=str(path)).mean == (mean,) * 3


def test_a_folder_that_does_not_exist_is_named(monkeypatch):
    monkeypatch.setenv("SEGTRAIN_WEIGHTS", "/no/such/folder")
    assert "SEGTRAIN_WEIGHTS: no such folder /no/such/folder" in refusal("resnet18")


def test_a_folder_for_a_file_is_told_from_one(tmp_path):
    assert (
        f"is a folder, expected a .safetensors/.pth/.pt/.bin file; for a folder of files set the environment "
        f"variable SEGTRAIN_WEIGHTS={tmp_path}" in refusal("resnet18", weights=f"{tmp_path}")
    )


def test_a_file_is_downloaded_once_announced_and_kept(server, tiny, tmp_path, caplog):
    root, address = server
    file = f"tiny-{_sha256(tiny)[:8]}.pth"
    shutil.copy(tiny, root / file)
    with newer_timm(a={"url": f"{address}/{file}"}) as name, caplog.at_level(logging.INFO, "segtrain"):
        TimmEncoder(name)
        (root / file).unlink()
        TimmEncoder(name)
    assert caplog.messages == [f"downloading {name}.a from {address}/{file} (0 MB)"]
    assert _sha256(tmp_path / "hub" / "checkpoints" / file) == _sha256(tiny)


def test_a_download_with_a_wrong_checksum_is_refused_and_not_kept(server, tiny, tmp_path):
    root, address = server
    shutil.copy(tiny, root / "tiny-0123abcd.pth")
    with newer_timm(a={"url": f"{address}/tiny-0123abcd.pth"}) as name:
        assert 'invalid hash value (expected "0123abcd"' in refusal(name)
    assert list((tmp_path / "hub" / "checkpoints").iterdir()) == []


def test_a_cached_file_with_a_wrong_checksum_is_refused_with_a_remedy(server, tiny, tmp_path):
    cached = tmp_path / "hub" / "checkpoints" / "tiny-0123abcd.pth"
    cached.parent.mkdir(parents=True)
    shutil.copy(tiny, cached)
    with newer_timm(a={"url": f"{server[1]}/tiny-0123abcd.pth"}) as name:
        message = refusal(name)
        assert f"{cached}: damaged, its sha256 begins with {_sha256(tiny)[:8]} where 0123abcd was published" in message
        assert "delete it to have it fetched again" in message
        TimmEncoder(name, weights=str(cached))  # the user's word counts


def test_a_file_of_the_hub_is_downloaded_and_found_again_in_its_cache(hub, tiny, caplog):
    hub.parent.mkdir(parents=True)
    save_file(torch.load(tiny), hub)
    with newer_timm(a={"hf_hub_id": "timm/"}) as name, caplog.at_level(logging.INFO, "segtrain"):
        TimmEncoder(name)
        hub.unlink()
        TimmEncoder(name)
    assert len(caplog.messages) == 1
    assert f"downloading {name}.a from http://127.0.0.1" in caplog.messages[0]


def test_a_damaged_file_in_the_cache_of_the_hub_is_refused(hub, tiny, tmp_path):
    hub.parent.mkdir(parents=True)
    save_file(torch.load(tiny), hub)
    with newer_timm(a={"hf_hub_id": "timm/"}) as name:
        TimmEncoder(name)
        (blob,) = (tmp_path / "hf").glob("models--*/blobs/*")
        blob.write_bytes(blob.read_bytes()[:-1] + b"x")
        assert "damaged, its sha256 begins with" in refusal(name)


def test_what_the_hub_has_not_is_fetched_from_the_other_address(hub, server, tiny):
    root, address = server
    shutil.copy(tiny, root / "tiny.pth")
    with newer_timm(a={"hf_hub_id": "timm/", "url": f"{address}/tiny.pth"}) as name:
        TimmEncoder(name)


def test_where_all_addresses_fail_both_are_named(hub, server, caplog):
    _, address = server
    with newer_timm(a={"hf_hub_id": "timm/", "url": f"{address}/gone.pth"}) as name:
        message = refusal(name)
    assert f"could not be fetched (127.0.0.1: timm/{name}.a holds none of" in message
    assert f"cannot fetch {address}/timm/{name}.a: FileNotFoundError" in caplog.text
    assert f"cannot fetch {address}/gone.pth: HTTPError" in caplog.text
    assert f"set SEGTRAIN_WEIGHTS to a folder with {name}.a.safetensors" in message


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        (
            "efficientnet-b4",
            "https://huggingface.co/timm/tf_efficientnet_b4",
        ),
        ("resnet34.tv_in1k", "https://huggingface.co/timm/resnet34.tv_in1k"),
        ("legacy_seresnet18", "https://github.com/"),
    ],
)
def test_without_a_network_the_message_says_what_and_what_instead_and_the_log_from_where(
    no_network, name, origin, caplog
):
    with pytest.raises(
        ConfigError, match=rf"^encoder\.weights: {resolve(name)}\S* is not on this machine; take "
    ) as caught:
        TimmEncoder(name)
    message = str(caught.value)
    assert (
        "take encoder.weights=null (random) or encoder.weights=path/to/file.safetensors, or set SEGTRAIN_W" in message
    )
    assert "could not be fetched" in message
    assert len(message) < 350
    assert origin in caplog.text


def test_the_longest_name_of_weights_still_fits_a_line(no_network):
    name = max(timm.list_pretrained(), key=len)
    arch, _, tag = name.partition(".")
    with pytest.raises(ConfigError) as caught:
        weight_files.load_model("imagenet", arch=arch, tag=tag)
    assert name in str(caught.value)
    assert len(str(caught.value)) < 390
