"""YAML is the visible menu of the signatures: every choice composes, and lists every keyword with its default."""

import inspect
from dataclasses import fields
from importlib import import_module

import pytest
import yaml

from segtrain.build.parts import checked_config
from segtrain.config.compose import compose
from segtrain.config.groups import GROUPS, Groups, config_root
from segtrain.config.page_schema import DemoConfig, ReportConfig
from segtrain.config.schema import (
    ArchConfig,
    AverageConfig,
    CompareConfig,
    DataConfig,
    DiffConfig,
    EvalConfig,
    ImageHeadConfig,
    ImportConfig,
    LaunchConfig,
    LossConfig,
    LrFindConfig,
    PlanConfig,
    PredictConfig,
    PreviewConfig,
    ReplayConfig,
    ReproduceConfig,
    ScoreConfig,
    ShardConfig,
    TrainConfig,
    TuneConfig,
    VerifyResumeConfig,
)
from segtrain.config.signature import MISSING, TARGET, locate, parameters_of
from segtrain.config.spine import PROVIDED, check_spine

CHOICES = [(group, choice) for group in GROUPS for choice in Groups.find().choices(group)]
MIXED = {"arch": ArchConfig, "loss": LossConfig, "image_head": ImageHeadConfig, "data": DataConfig}
SPINE_KEYS = {group: {field.name for field in fields(schema)} for group, schema in MIXED.items()}
VALUES = {"classes": "[a,b]", "name": "resnet18"}
"""Of keys that a choice leaves to the user, ``key: ???``; others are a path."""


def targets_in(node):
    """Yield what each ``_target_`` of a YAML file names, however deep it lies."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    if isinstance(node, dict) and TARGET in node:
        yield node[TARGET]
    for child in children:
        yield from targets_in(child)


FILES = sorted(config_root().rglob("*.yaml"))
TARGETS = sorted({target for file in FILES for target in targets_in(yaml.safe_load(file.read_text()))})


def overrides_for(group, choice):
    node = compose("train", [f"{group}={choice}"]).job.get(group) or {}
    left_open = [key for key, value in node.items() if value == MISSING]
    named = [f"{group}.{key}={VALUES.get(key, 'here')}" for key in left_open]
    data = ["data=oxford_pets"] if group == "encoder" else []  # as shapes would set encoder.weights
    return [f"{group}={choice}", *data, *named]


def test_every_group_has_choices():
    assert len(CHOICES) > 30
    assert {group for group, _ in CHOICES} == set(GROUPS)


def test_the_targets_are_those_of_all_groups():
    assert len(TARGETS) > 40
    rooms = {".".join(target.split(".")[:2]) for target in TARGETS if target.startswith("segtrain.")}
    assert rooms == {f"segtrain.{room}" for room in ("data", "inference", "loggers", "losses", "models", "optim")}


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_is_a_public_name_of_a_package_so_that_files_can_move(target):
    place, _, name = target.rpartition(".")
    package = import_module(place)
    assert hasattr(package, "__path__"), f"{place} is a file; give the name to its package"
    assert callable(getattr(package, name))
    if place.partition(".")[0] == "segtrain":
        assert name in package.__all__


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_into_a_config_that_can_be_built(group, choice):
    checked_config(compose("train", overrides_for(group, choice)).job)


@pytest.mark.parametrize(
    ("group", "choice"), [pair for pair in CHOICES if pair[0] in PROVIDED and pair[0] != "optimizer"]
)
def test_a_leaf_lists_every_keyword_with_its_default(group, choice):
    node = compose("train", overrides_for(group, choice)).job[group]
    parameters = parameters_of(locate(node[TARGET], group))
    tunable = {name for name in parameters if name not in PROVIDED[group]}
    assert set(node) - {TARGET} - SPINE_KEYS.get(group, set()) == tunable
    if group == "augment" or choice == "tiles_tta" or (group == "encoder" and choice != "timm"):
        return  # these are made of their own values
    defaults = {name: parameters[name].default for name in tunable}
    with_default = {name for name, value in defaults.items() if value is not inspect.Parameter.empty}
    assert {name: node[name] for name in with_default} == {name: as_yaml(defaults[name]) for name in with_default}


def as_yaml(default):
    return list(default) if isinstance(default, tuple) else default


@pytest.mark.parametrize(
    ("primary", "schema", "needed"),
    [
        ("train", TrainConfig, []),
        ("eval", EvalConfig, ["ckpt=run"]),
        ("predict", PredictConfig, ["ckpt=run", "input=a", "output=b"]),
        ("score", ScoreConfig, ["pred=a", "truth=b"]),
        ("preview", PreviewConfig, []),
        ("launch", LaunchConfig, []),
        ("replay", ReplayConfig, ["run=a"]),
        ("compare", CompareConfig, ["a=x", "b=y"]),
        ("report", ReportConfig, ["runs=[a]"]),
        ("demo", DemoConfig, ["ckpt=run"]),
        ("diff", DiffConfig, ["a=x", "b=y"]),
        ("reproduce", ReproduceConfig, ["run=x"]),
        ("verify-resume", VerifyResumeConfig, []),
        ("plan", PlanConfig, []),
        ("shard", ShardConfig, ["output=shards"]),
        ("average", AverageConfig, ["runs=[a]", "output=b"]),
        ("lr_find", LrFindConfig, []),
        ("tune", TuneConfig, []),
        ("import", ImportConfig, ["smp=saved", "output=model.pt"]),
    ],
)
def test_a_primary_config_holds_exactly_the_keys_of_its_schema(primary, schema, needed):
    assert check_spine(compose(primary, needed).job, schema) == []


def test_an_encoder_needs_no_file():
    node = compose("train", ["encoder=efficientnet-b3"]).job["encoder"]
    assert node["name"] == "efficientnet-b3"


def test_shapes_download_nothing_unless_asked_to():
    assert compose("train", ["encoder=resnet34"]).job["encoder"]["weights"] is None
    assert compose("train", ["encoder.weights=imagenet"]).job["encoder"]["weights"] == "imagenet"


def test_a_folder_of_the_users_adds_choices(tmp_path):
    (tmp_path / "arch").mkdir()
    options = yaml.safe_dump({TARGET: "segtrain.models.decoders.FPN", "dropout": 0.1})
    (tmp_path / "arch" / "mine.yaml").write_text(options)
    job = compose("train", ["arch=mine"], config_dir=tmp_path).job
    assert job["arch"]["dropout"] == 0.1
    checked_config(job)


def test_the_heads_beside_the_main_one_are_off_unless_asked_for():
    config = checked_config(compose("train", []).job)
    assert (config.arch.aux_heads, config.image_head) == ([], None)
    asked = checked_config(compose("train", ["image_head=classification", "arch=fpn", "arch.aux_heads=[16]"]).job)
    assert asked.arch.aux_heads == [16]
    assert asked.image_head.leaf["pooling"] == "avg"


@pytest.mark.parametrize("word", ["image_head=null", "~image_head", "debug=null"])
def test_an_optional_group_can_be_left_out(word):
    assert compose("train", [word]).job["image_head"] is None
