"""Composing YAML groups and overrides with Hydra into plain mappings, with errors for what is wrong."""

import copy
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from segtrain.config.groups import GLOBAL_GROUPS, GROUPS, Groups
from segtrain.config.overrides import Overrides
from segtrain.config.page_schema import DemoConfig, ReportConfig
from segtrain.config.renamed import current_key, with_current_names
from segtrain.config.schema import (
    AverageConfig,
    CheckConfig,
    CompareConfig,
    DiffConfig,
    EvalConfig,
    ImportConfig,
    LaunchConfig,
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
from segtrain.config.schema_shipping import BenchConfig, ExportConfig
from segtrain.config.signature import MISSING, with_texts
from segtrain.config.spine import check_spine, key_of
from segtrain.config.studies import RunsConfig, SearchConfig, SweepConfig
from segtrain.config.words import is_address, with_keys_restored
from segtrain.errors import ConfigError
from segtrain.suggest import did_you_mean, nearest_key, suggest_key

log = logging.getLogger(__name__)

SCHEMAS: Mapping[str, type] = {
    "train": TrainConfig,
    "eval": EvalConfig,
    "check": CheckConfig,
    "predict": PredictConfig,
    "export": ExportConfig,
    "bench": BenchConfig,
    "score": ScoreConfig,
    "preview": PreviewConfig,
    "launch": LaunchConfig,
    "replay": ReplayConfig,
    "shard": ShardConfig,
    "compare": CompareConfig,
    "report": ReportConfig,
    "demo": DemoConfig,
    "plan": PlanConfig,
    "diff": DiffConfig,
    "reproduce": ReproduceConfig,
    "verify-resume": VerifyResumeConfig,
    "import": ImportConfig,
    "average": AverageConfig,
    "lr_find": LrFindConfig,
    "tune": TuneConfig,
    "sweep": SweepConfig,
    "search": SearchConfig,
    "runs": RunsConfig,
}
_NOTHING = object()  # no value at a key, as None is a value
HYDRA_KEYS = ("hydra.run.dir", "hydra.sweep.dir")


@dataclass(frozen=True)
class Composed:
    """A composed job: its config, interpolations resolved, and the folders that Hydra would use."""

    job: dict[str, Any]
    run_dir: Path
    sweep_dir: Path


def compose(
    primary: str,
    overrides: Overrides | Sequence[str] = (),
    *,
    config_dir: Path | None = None,
    called: Mapping[str, str] = MappingProxyType({}),
) -> Composed:
    """Compose ``configs/<primary>.yaml`` with overrides such as ``arch=fpn`` and ``trainer.epochs=8``.

    ``called`` gives, by group, another word than the choice for the automatic name of the run. Unknown
    keys and choices, and values that do not fit the schema, are all reported in one `ConfigError`,
    before anything is built.
    """
    groups = Groups.find(config_dir)
    parsed = Overrides.of(overrides).one_job()
    choices = [override for override in parsed if groups.is_group(override.key_or_group)]
    problems = [p for override in choices if (p := groups.choice_problem(override))]
    known_choices = [override for override in choices if not groups.choice_problem(override)]
    unknown = [override.key_or_group for override in choices if override not in known_choices]
    # keys below a group with a wrong choice are not checked: they are most likely right for the meant one
    values = [o for o in parsed if o not in choices and o.key_or_group.partition(".")[0] not in unknown]
    chosen = [word for override in known_choices for word in groups.expand(override)]
    with _hydra(groups.roots[0]):
        # first without values: Hydra stops at the first unknown key, we report all of them
        words = (*groups.search_path(), *chosen)
        base = _of_package(primary, words) if config_dir is None else _compose(primary, words)
        tree = OmegaConf.to_container(base, resolve=False)  # an unresolved ${...} may depend on another override
        found = [(override, _key_problem(override, tree)) for override in values]
        problems += [problem for _, problem in found if problem]
        right = [override for override, problem in found if not problem]
        config = _with_values(base, right) if config_dir is None else None
        if config is None:  # Hydra reads all files once more
            config = _compose(primary, (*words, *(str(override.input_line) for override in right)))
    picked = {o.key_or_group: groups.meant(o.key_or_group, str(o.value())) for o in known_choices}
    composed = _resolve(config, {**picked, **called})
    problems += _stray_problems(composed.job) + check_spine(composed.job, SCHEMAS[primary])
    if problems:
        raise ConfigError("\n".join(problems))
    return composed


def _stray_problems(job: dict[str, Any]) -> list[str]:
    """Remove nodes of groups that have none from a job, and describe them: their files lack the first line."""
    stray = [group for group in GLOBAL_GROUPS if job.pop(group, None) is not None]
    return [
        f"{group}: the YAML file sets keys below {group!r}, expected the top level; begin it with '# @package _global_'"
        for group in stray
    ]


def overlay(
    job: Mapping[str, Any], overrides: Overrides | Sequence[str], *, config_dir: Path | None = None
) -> dict[str, Any]:
    """Apply overrides to a job composed before, as of a checkpoint; a group's choice replaces its node.

    Raises `ConfigError` with every problem of the keys and of the schema.
    """
    groups = Groups.find(config_dir)
    config = OmegaConf.create(dict(job))
    problems = []
    # groups first: infer.overlap=0.25 infer=tiles is meant as the other way around
    for override in sorted(Overrides.of(overrides).one_job(), key=lambda one: not groups.is_group(one.key_or_group)):
        if groups.is_group(override.key_or_group):
            problems += _replace_group(config, override, config_dir)
        elif problem := _key_problem(override, OmegaConf.to_container(config, resolve=False)):
            problems.append(problem)
        else:
            OmegaConf.update(config, override.key_or_group, override.value(), force_add=True)
    changed = _plain(config)
    problems += check_spine(changed, TrainConfig)
    if problems:
        raise ConfigError("\n".join(problems))
    return changed


def rooted(job: dict[str, Any]) -> dict[str, Any]:
    """Make the data's root absolute, so that a run can be resumed from any folder."""
    root = with_texts(job["data"].get("root"), str)
    if not isinstance(root, str) or root in ("", MISSING) or is_address(root):  # leaves are checked later
        return job
    return {**job, "data": {**job["data"], "root": str(Path(root).expanduser().absolute())}}


def _replace_group(config: DictConfig, override: Override, config_dir: Path | None) -> list[str]:
    """Replace a group's node in place; returns the problems."""
    group = override.key_or_group
    if group not in config:
        return [f"{override.input_line}: cannot be changed for a run that exists; start a new run instead"]
    try:
        config[group] = compose("train", [str(override.input_line)], config_dir=config_dir).job[group]
    except ConfigError as error:
        return str(error).splitlines()
    return []


def train_key(word: str) -> str | None:
    """Return the key of a training config most similar to a word; None if none is."""
    return nearest_key(word, _keys(compose("train").job))


def check_changes(command: str, changes: Overrides, *, config_dir: Path | None = None) -> None:
    """Raise `ConfigError` for unknown keys in changes to a run's config, suggesting the command's own first."""
    groups, own = Groups.find(config_dir), list(_keys_of(SCHEMAS[command]))
    keys = [override.key_or_group for override in changes]
    known = set(_keys_of(TrainConfig))
    strange = [key for key in keys if key.partition(".")[0] not in known and not groups.is_group(key)]
    problems = []
    for key in strange:
        if now := current_key(key):
            problems.append(f"{key}: is called {now} now; write {now}=...")
            continue
        near = nearest_key(key, own) or train_key(key)
        listed = ", ".join(name for name in own if "." not in name)
        hint = f", did you mean {near!r}?" if near else f"; {command} has {listed}"
        problems.append(f"{key}: unknown key{hint}{'' if near else ', and the keys of the run, such as data.root'}")
    if problems:
        raise ConfigError("\n".join(problems))


def _keys_of(schema: type, path: str = "") -> Iterator[str]:
    """List the dotted keys of a schema; the keys of leaves are not part of it."""
    for name, kind in get_type_hints(schema).items():
        yield f"{path}{key_of(name)}"
        if isinstance(kind, type) and is_dataclass(kind):
            yield from _keys_of(kind, f"{path}{key_of(name)}.")


def _key_problem(override: Override, tree: Any) -> str | None:
    """Describe an override of a key that a config lacks, or adds one that it has; None if it is right."""
    key = override.key_or_group
    if re.match(r"hydra\b", key):
        return _hydra_problem(override)
    exists = _at(tree, key) is not _NOTHING
    if override.type is OverrideType.ADD and exists:
        return f"{override.input_line}: is there already, expected a new key; write it without the +"
    if exists or override.type in (OverrideType.ADD, OverrideType.FORCE_ADD):
        return None
    if now := current_key(key):
        return f"{key}: is called {now} now; write {now}={override.value()}"
    group = key.partition(".")[0]
    if group == "sweep" and group not in tree:
        return f"{key}: is of sweeps, expected a line with -m; add -m, or leave it out"
    if group in GROUPS and group in tree and tree[group] is None:
        return f"{key}: nothing is chosen for {group}; add {group}={'|'.join(Groups.find().choices(group))}"
    parent, _, child = key.rpartition(".")
    if parent and _at(tree, parent) is None:
        return f"{key}: {parent} has no keys yet; write '{parent}={{{child}: {override.value()}}}'"
    known = [*_keys(tree), *GROUPS]
    if key in GROUPS or override.type is OverrideType.DEL:
        return f"{key}: there is nothing of that name to remove or replace"
    return f"{key}: unknown key{suggest_key(key, known)}"


def _hydra_problem(override: Override) -> str | None:
    key, value = override.key_or_group, override.value()
    if key == "hydra/launcher":
        remedy = "write segtrain launch -m executor=slurm|local jobs=4 ..."
        return f"{key}: is of programs that Hydra starts, expected segtrain's own key; {remedy}"
    if key not in HYDRA_KEYS:
        return f"{key}: unknown key{did_you_mean(key, HYDRA_KEYS)}"
    is_folder = isinstance(value, str | int | float) and value != ""
    return None if is_folder else f"{key}: expected a folder, got {value!r}; write {key}=outputs/my_run"


def _at(tree: Any, key: str) -> Any:
    """Return the value at a dotted key, with indices into lists; `_NOTHING` where there is none."""
    for part in key.split("."):
        if isinstance(tree, list) and part.isdigit() and int(part) < len(tree):
            tree = tree[int(part)]
        elif isinstance(tree, Mapping) and part in tree:
            tree = tree[part]
        else:
            return _NOTHING
    return tree


def _keys(tree: Any, path: str = "") -> Iterator[str]:
    """List the dotted keys of a tree, except Hydra's own."""
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        if path or key != "hydra":
            yield f"{path}{key}"
            yield from _keys(value, f"{path}{key}.")


@contextmanager
def _hydra(root: Path) -> Iterator[None]:
    with initialize_config_dir(config_dir=str(root), job_name="segtrain", version_base="1.3"):
        yield


@lru_cache(maxsize=64)
def _of_package(primary: str, choices: tuple[str, ...]) -> DictConfig:
    """Compose the files of this package once for each of a sweep's choices; what is returned must not be changed."""
    return _compose(primary, choices)


def _with_values(base: DictConfig, values: Sequence[Override]) -> DictConfig | None:
    """Put values into a copy of what the choices give, as Hydra does itself after reading; a third of the time.

    None where a value asks for what Hydra knows of the whole line, such as ``${hydra.job.override_dirname}``.
    """
    if any("${hydra" in str(override.input_line) for override in values):
        return None
    config = copy.deepcopy(base)
    with _errors_in_one_line():
        ConfigLoaderImpl._apply_overrides_to_config(list(values), config)
    return config


def _compose(primary: str, overrides: Sequence[str]) -> DictConfig:
    with _errors_in_one_line():
        composed: DictConfig = hydra_compose(primary, overrides=list(overrides), return_hydra_config=True)
        return composed


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    try:
        yield
    except yaml.MarkedYAMLError as error:
        at = f"{error.problem_mark.name}:{error.problem_mark.line + 1}" if error.problem_mark else "a config file"
        raise ConfigError(f"{at}: not YAML ({error.problem}), expected key: value lines; fix the file") from None
    except MissingConfigException as error:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        hint = did_you_mean(choice, error.options or ())
        raise ConfigError(f"{group}={choice}: no such choice, but a config file asks for it{hint}") from None
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_one_line(error)) from None


def _one_line(error: Exception) -> str:
    """Write an error of Hydra or OmegaConf, which has several lines, in one."""
    cause = error.__cause__ or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip() and "Config search path" not in line]
    text = re.sub(r"\s+", " ", " ".join(lines[:3]))
    if unknown := re.match(r"In '(.+?)': Could not override '(.+?)'", text):
        return f"{unknown[1]}.yaml: {unknown[2]!r} is no group to override{did_you_mean(unknown[2], GROUPS)}"
    return text


@contextmanager
def _interpolating() -> Iterator[None]:
    """Raise `ConfigError` for an interpolation that cannot be resolved."""
    try:
        yield
    except OmegaConfBaseException as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"{error.full_key}: {reason}, expected a value for each ${{...}}; write it out") from None


def _plain(config: DictConfig) -> dict[str, Any]:
    """Convert to plain dicts and lists, with interpolations resolved."""
    with _interpolating():
        plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): with_keys_restored(value) for key, value in plain.items()}


def _resolve(config: DictConfig, picked: Mapping[str, str]) -> Composed:
    """Name the run after its choices unless it has a name, and resolve the job and Hydra's folders."""
    OmegaConf.set_struct(config, False)
    hydra = config.hydra
    picked = {**hydra.runtime.choices, **picked}
    tree = OmegaConf.to_container(config, resolve=False)
    assert isinstance(tree, dict)
    if tree.get("name", "") is None:  # before resolving: folders interpolate the name
        words = [str(picked[group]) for group in ("arch", "encoder", "data")]
        config.name = re.sub(r"[^\w.\-]+", "_", "-".join(words))
    job = with_current_names(_plain(OmegaConf.masked_copy(config, [str(key) for key in tree if key != "hydra"])))
    with _interpolating():
        run_dir, sweep_dir = Path(hydra.run.dir), Path(hydra.sweep.dir)
    return Composed(job=job, run_dir=run_dir, sweep_dir=sweep_dir)
