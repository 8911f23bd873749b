"""Weights that other tools wrote: the encoder's tensors are found in them, or the line says what the file is."""

import logging

import pytest
import timm
import torch
from safetensors.torch import save_file

from segtrain.errors import ConfigError
from segtrain.models.encoders import TimmEncoder
from segtrain.models.encoders.weight_files import find_prefix, read_state

NAME = "test_resnet"


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return timm.create_model(NAME).state_dict()


def refusal(path):
    with pytest.raises(ConfigError) as caught:
        TimmEncoder(NAME, weights=str(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 390
    return message.removeprefix(f"{path}: ")


def under(prefix, state):
    return {f"{prefix}{key}": value for key, value in state.items()}


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "backbone.", "encoder.", "model.encoder.", "net.module.backbone."]
)
@pytest.mark.parametrize("container", ["", "state_dict", "model", "model_state_dict", "net"])
def test_the_tensors_of_the_encoder_are_found_under_what_tools_put_before_them(state, tmp_path, prefix, container):
    others = {"epoch": torch.tensor(3), "decode_head.conv.weight": torch.zeros(2), "loss.weight": torch.zeros(1)}
    held = {**under(prefix, state), **others}
    torch.save({container: held, "epoch": 3} if container else held, tmp_path / "weights.ckpt")
    encoder = TimmEncoder(NAME, weights=str(tmp_path / "weights.ckpt"))
    own = encoder.model.state_dict()
    assert len(own) > 20
    for key, value in own.items():
        torch.testing.assert_close(value, state[key])


def test_safetensors_have_prefixes_too_and_a_line_says_what_was_taken(state, tmp_path, caplog):
    save_file({**under("backbone.", state), "head.weight": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with caplog.at_level(logging.INFO, "segtrain"):
        encoder = TimmEncoder(NAME, weights=str(tmp_path / "weights.safetensors"))
    torch.testing.assert_close(encoder.model.conv1[0].weight, state["conv1.0.weight"])
    count = len(state)
    (line,) = caplog.messages
    assert line.endswith(f"{count} of its {count + 1} tensors taken, whose names begin with 'backbone.'")


def test_a_file_in_the_current_folder_needs_no_slash_and_no_known_suffix(state, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": under("model.", state)}, "last.ckpt")
    torch.testing.assert_close(TimmEncoder(NAME, weights="last.ckpt").model.conv1[0].weight, state["conv1.0.weight"])


@pytest.mark.parametrize(
    ("keys", "prefix"),
    [
        (["a.w", "b.w", "c.w"], ""),
        (["x.a.w", "x.b.w", "x.c.w"], "x."),
        (["x.y.a.w", "x.y.b.w", "head.c.w"], "x.y."),
        (["a.w", "b.w", "ema.a.w", "ema.b.w", "ema.c.w"], ""),  # the names as they are come first
        (["x.a.w", "y.b.w", "z.c.w"], ""),  # nothing makes most of them known
        ([], ""),
    ],
)
def test_a_prefix_is_what_makes_most_names_known(keys, prefix):
    assert find_prefix(keys, ["a.w", "b.w", "c.w"]) == prefix


@pytest.mark.parametrize("text", ["<html>404</html>", "\n<!DOCTYPE html><html>", "<?xml version='1.0'?><Error/>"])
@pytest.mark.parametrize("name", ["page.pth", "page.safetensors"])
def test_a_web_page_is_called_one(tmp_path, text, name):
    (tmp_path / name).write_text(text)
    assert refusal(tmp_path / name).startswith("is a web page, not weights; download the file itself")


def test_a_pointer_of_git_lfs_is_called_one(tmp_path):
    (tmp_path / "weights.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "is a pointer of Git LFS, not weights; fetch the file with git lfs pull" in refusal(
        tmp_path / "weights.safetensors"
    )


def test_a_checkpoint_of_segtrain_leads_to_init_from(state, tmp_path):
    torch.save({"format": 1, "config": {}, "model": state, "normalize": {}}, tmp_path / "my best.pt")
    message = refusal(tmp_path / "my best.pt")
    assert "is a checkpoint of segtrain; leave encoder.weights out" in message
    assert f"start with 'init_from={tmp_path}/my best.pt'" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(state, tmp_path, value):
    torch.save({**state, "conv1.0.weight": state["conv1.0.weight"] * value}, tmp_path / "broken.pth")
    message = refusal(tmp_path / "broken.pth")
    assert message.startswith("1 tensors, such as ")
    assert "hold values that are not finite; take weights of a run that did not diverge" in message


def test_pickled_objects_are_called_so_and_not_run(tmp_path):
    torch.save(torch.nn.Linear(1, 1), tmp_path / "model.pth")
    message = refusal(tmp_path / "model.pth")
    assert "it holds pickled objects, which could run any code; save model.state_dict() alone" in message


def test_a_file_without_tensors_is_named(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "log.pth")
    assert "cannot be read as weights of test_resnet (ValueError: it holds no tensors with names)" in refusal(
        tmp_path / "log.pth"
    )


def test_the_wrong_encoder_is_still_refused_under_a_prefix(state, tmp_path):
    other = timm.create_model("test_efficientnet").state_dict()
    torch.save(under("backbone.", other), tmp_path / "other.pth")
    assert "not the weights of test_resnet" in refusal(tmp_path / "other.pth")


def test_a_state_says_where_it_was(state, tmp_path):
    torch.save({"state_dict": {"a": torch.ones(1)}, "epoch": 1}, tmp_path / "a.pth")
    assert read_state(tmp_path / "a.pth", encoder=NAME) == ("state_dict", {"a": torch.ones(1)})
