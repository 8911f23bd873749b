"""``segtrain replay``: make a step again that was not finite, and say where it begins."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import yaml

from segtrain.config.compose import check_changes, compose
from segtrain.config.overrides import Overrides
from segtrain.config.schema import ReplayConfig
from segtrain.config.spine import to_config
from segtrain.config.words import quote
from segtrain.errors import CheckpointError
from segtrain.run.plan import make_plan
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    from segtrain.training.replaying import Replayed


def run(arguments: Arguments) -> int:
    """Run the command; keys that replay.yaml lacks change the run's config, such as trainer.precision=fp32."""
    own, changes = arguments.overrides.split((*ReplayConfig.__dataclass_fields__, "hydra"))
    check_changes("replay", changes, config_dir=arguments.config_dir)
    job = compose("replay", own, config_dir=arguments.config_dir).job
    if arguments.cfg:
        show(yaml.safe_dump(job, sort_keys=False))
        return 0
    import_heavy("segtrain.build.training")
    file = find_step(to_config(job, ReplayConfig))
    replayed = replay_file(file, changes, arguments.config_dir)
    show(f"{file.stem.replace('step', 'step ')}: loss {replayed.loss:.6g}")
    show(replayed.origin or "all values are finite this time, and so are the gradients")
    return 0


def find_step(config: ReplayConfig) -> Path:
    """Return the file of a kept step; raises `CheckpointError` where there is none."""
    from segtrain.training.rollback import FOLDER, kept_steps

    run, steps = Path(config.run), kept_steps(Path(config.run))
    step = config.step or max(steps, default=None)
    if step not in steps:
        kept = f"kept are {', '.join(map(str, steps))}; give one of them" if steps else "none was; give another run"
        raise CheckpointError(f"{run / FOLDER}: no step{'' if step is None else f' {step}'} is kept there, {kept}")
    return run / FOLDER / f"step{step}.pt"


def replay_file(file: Path, changes: Overrides, config_dir: Path | None) -> "Replayed":
    """Build the run of a kept step in a folder that goes, and make the step again."""
    from segtrain.build.training import build_trainer
    from segtrain.training.replaying import replay

    with TemporaryDirectory() as folder:
        places = [f"resume={quote(str(file))}", f"hydra.run.dir={quote(folder)}", "logger=none"]
        words = Overrides.of([*places, "trainer.compile=false"])  # compiled modules could not be watched
        plan = make_plan(words + changes, config_dir)
        assert plan.resumed is not None
        trainer = build_trainer(plan.job, plan.folder, resumed=plan.resumed)
        return replay(trainer, plan.resumed["batches"])
