"""Faults planted in copies of data: each is found, none in the clean copies, and no training stumbles over one."""

import logging
import shlex

import pytest

from segtrain.build.examined_data import open_splits
from segtrain.build.parts import checked_config
from segtrain.cli import main
from segtrain.commands.check import examine_all
from segtrain.config.compose import compose
from tests.conftest import SHARED
from tests.data.doctor import faults, tool_faults
from tests.data.doctor.faults import COPIES

FAULTS = [*faults.FAULTS, *tool_faults.FAULTS]
TWO_STEPS = (
    "data.image_size=32",
    "data.batch_size=2",
    "data.num_workers=0",
    "encoder=test_resnet",
    "encoder.weights=null",
    "logger=none",
    "trainer.max_steps=2",
    "hydra.run.dir=run",
)


def examined(words):
    return examine_all(open_splits(checked_config(compose("train", words).job)))


def planted(fault, root):
    words = [*fault.make(root), *fault.words]
    fault.plant(root)
    return words


def matching(fault, found, root):
    """The finding that the fault is to bring, of all."""
    file = fault.file and root / fault.file
    return next(
        (
            finding
            for finding in found.findings
            if finding.level == fault.level
            and fault.kind in ("*", finding.kind)
            and fault.said in str(finding)
            and (file is None or file in finding.files)
        ),
        None,
    )


def test_the_corpus_is_large():
    assert len(FAULTS) >= 100
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("copy", COPIES)
def test_nothing_is_found_in_a_clean_copy(copy, tmp_path):
    found = examined(COPIES[copy](tmp_path / "data"))
    # nine scenes hold not all of 150 classes
    aside = {"class never drawn", "class absent in split"} if copy == "ade20k" else set()
    assert [str(each) for each in found.findings if each.level != "note" and each.kind not in aside] == []
    assert {"train", "val"} <= set(found.numbers)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_found_and_its_line_repairs_it(fault, here):
    words = planted(fault, here / "data")
    found = examined(words)
    finding = matching(fault, found, here / "data")
    assert finding is not None, [f"{each.level} {each.kind} {each.files} {each}" for each in found.findings]
    assert finding.remedy
    assert bool(finding.line) == fault.repaired, finding.line
    if finding.line:
        repaired = [*words, *shlex.split(finding.line)]
        again = matching(fault, examined(repaired), here / "data")
        assert again is None
        assert main([*repaired, *TWO_STEPS]) == 0


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_training_with_a_fault_ends_with_a_line_or_trains(fault, here, capsys):
    words = planted(fault, here / "data")
    code = main([*words, *TWO_STEPS])  # a traceback would be an exception here
    said = capsys.readouterr()
    if fault.level == "fatal" and fault.kind != "leak":
        assert code == 2
        assert fault.said in said.err
        assert not (here / "run").exists()
    else:
        assert code == 0
    if fault.kind == "leak":  # it trains, but no score is silently wrong
        assert "is the same file as" in said.out
        assert "flatters" in said.out


def test_the_png_with_alpha_that_is_called_jpg_is_found(shared_pets, caplog):
    caplog.set_level(logging.CRITICAL)
    found = examined(["data=oxford_pets", f"data.root={shared_pets}", "data.download=false"])
    kinds = {finding.kind: finding for finding in found.findings}
    for kind in ("misnamed", "alpha"):
        assert [file.name for file in kinds[kind].files] == ["Abyssinian_5.jpg"]
    assert not found.is_fatal
    assert [len(each) for each in (found.numbers["train"].classes, found.numbers)] == [2, 3]


def test_camvid_as_it_lies_is_sound():
    if not (SHARED / "data/camvid").is_dir():
        pytest.skip("CamVid is not on this machine")
    found = examined(["data=camvid", f"data.root={SHARED}/data/camvid"])
    assert [finding for finding in found.findings if finding.level == "fatal"] == []
    assert [found.numbers[split].images for split in ("train", "val")] == [367, 101]
    assert all(row.images for row in found.numbers["train"].classes)
