"""Starting from the weights of another run."""

import pytest
import torch

from segtrain import load_model
from segtrain.commands.train import plan
from segtrain.errors import CheckpointError
from segtrain.models import create_model, transfer_weights
from tests.conftest import TINY
from tests.processes import run

FOREIGN = [word for word in TINY if not word.startswith("encoder")]  # the checkpoint says what the encoder is


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    run(*TINY, "arch=fpn", "trainer.max_steps=2", f"hydra.run.dir={folder}", output=folder.with_name("printed"))
    return folder


def go_on(trained, folder, *words):
    """Train one step from the weights of a run; returns the models before and after, and what was printed."""
    words = [f"init_from={trained}", *FOREIGN, "trainer.max_steps=1", f"hydra.run.dir={folder}/next", *words]
    printed = run(*words, output=folder / "printed")
    return load_model(trained), load_model(folder / "next"), printed


def test_the_architecture_and_the_encoder_are_those_of_the_checkpoint(trained, tmp_path):
    first, second, printed = go_on(trained, tmp_path)
    assert first.state_dict().keys() == second.state_dict().keys()
    assert f"{len(first.state_dict())} tensors taken" in printed


def test_training_starts_where_the_checkpoint_stopped(trained, tmp_path):
    first, second, _ = go_on(trained, tmp_path, "optimizer.lr=1e-12", "optimizer.weight_decay=0")
    for name, parameter in first.named_parameters():
        torch.testing.assert_close(second.get_parameter(name), parameter, msg=name)


def test_what_the_user_says_of_the_model_applies_on_top(trained, tmp_path):
    first, second, _ = go_on(trained, tmp_path, "encoder.freeze=true")
    moved = {name for name, tensor in second.state_dict().items() if not torch.equal(tensor, first.state_dict()[name])}
    assert moved
    assert not any(name.startswith("encoder") for name in moved)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ((), "fpn-test_resnet-shapes"),
        (("arch=unet",), "unet-test_resnet-shapes"),
        (("arch.dropout=0.1",), "fpn-test_resnet-shapes"),
        (("name=mine",), "mine"),
    ],
)
def test_the_run_has_a_name_of_its_own(trained, words, name):
    planned = plan([f"init_from={trained}", *FOREIGN, *words], None)
    assert planned.job["name"] == name
    assert planned.folder.parent.name == name


def test_the_name_of_the_donor_is_not_taken_over(tmp_path):
    donor = tmp_path / "donor"
    run(*TINY, "name=donor", "trainer.max_steps=1", f"hydra.run.dir={donor}", output=tmp_path / "printed")
    assert plan([f"init_from={donor}", *FOREIGN], None).job["name"] == "unet-test_resnet-shapes"


def test_a_head_of_other_classes_starts_anew_and_the_report_says_so():
    donor, model = create_model("fpn", "test_resnet", num_classes=5), create_model("fpn", "test_resnet", num_classes=2)
    fresh = model.segmentation_head[0].weight.clone()
    report = transfer_weights(model, donor.state_dict())
    assert report.fresh == ("segmentation_head.0.bias", "segmentation_head.0.weight")
    assert torch.equal(model.segmentation_head[0].weight, fresh)
    assert all(torch.equal(p, donor.get_parameter(n)) for n, p in model.named_parameters() if "head" not in n)
    names = "segmentation_head.0.bias, segmentation_head.0.weight"
    assert str(report).endswith(f" tensors taken; {names} begin anew, as the checkpoint has them in another shape")


def test_heads_that_one_of_the_two_lacks_are_named_once():
    plain = create_model("fpn", "test_resnet", num_classes=2)
    with_labels = create_model("fpn", "test_resnet", num_classes=2, classification={"num_classes": 3})
    donor = plain.state_dict()
    names = ", ".join(sorted(with_labels.state_dict().keys() - donor.keys()))
    said = str(transfer_weights(with_labels, donor))
    assert said == f"{len(donor)} tensors taken; {names} begin anew, as the checkpoint has none"
    said = str(transfer_weights(plain, with_labels.state_dict()))
    assert said == f"{len(donor)} tensors taken; {names} of the checkpoint have no place here"


def test_another_architecture_is_refused():
    donor, model = create_model("unet", "test_resnet"), create_model("fpn", "test_resnet")
    with pytest.raises(CheckpointError, match=r"init_from: the checkpoint's model is another one: \d+ tensors"):
        transfer_weights(model, donor.state_dict())


def test_a_checkpoint_that_is_not_there_is_one_line(tmp_path):
    printed = run(*TINY, f"init_from={tmp_path}/none.pt", output=tmp_path / "printed", code=2)
    assert "none.pt" in printed
    assert len(printed.splitlines()) == 1
