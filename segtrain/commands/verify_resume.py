"""``segtrain verify-resume``: prove, for a config and a machine, that a training that is killed goes on exactly."""

import logging
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import yaml

from segtrain.config.overrides import Overrides
from segtrain.config.schema import VerifyResumeConfig
from segtrain.config.spine import to_config
from segtrain.config.words import quote
from segtrain.errors import ConfigError, SegtrainError
from segtrain.run.folders import make_folder
from segtrain.storage import read_text
from segtrain.terminal.arguments import Arguments, compose_with_training, show
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    from segtrain.run.sameness import Finding

log = logging.getLogger(__name__)

_OURS = {
    "resume": "leave it out: this is about new runs",
    "hydra.run.dir": "write output=...",
    "trainer.max_steps": "write steps=...",
}
"""Keys of training that are set here, and what to write instead."""
_KILLED = -signal.SIGKILL
_LOST = (128 + signal.SIGKILL, 1)
"""Exit codes of segtrain launch after a kill: that of the killed process, or of another that lost it."""


def run(arguments: Arguments) -> int:
    """Run the command; keys that verify-resume.yaml lacks are those of training."""
    job, trained = compose_with_training(arguments, VerifyResumeConfig)
    if arguments.cfg:
        show(yaml.safe_dump({**job, **trained}, sort_keys=False))
        return 0
    config = to_config(job, VerifyResumeConfig)
    refuse_contradictions(config, arguments.overrides)
    _, others = arguments.overrides.split(VerifyResumeConfig.__dataclass_fields__)
    flags = [] if arguments.config_dir is None else ["--config-dir", str(arguments.config_dir)]
    import_heavy("segtrain.run.sameness")
    from segtrain.terminal.console import start_logging

    start_logging()
    with place_for(config) as folder:
        return verify(config, Proof(folder, config, others.words, flags), arguments.config_dir)


def refuse_contradictions(config: VerifyResumeConfig, words: Overrides) -> None:
    """Raise `ConfigError` for keys of training that are set here, and for more kills than steps."""
    for override in words:
        key = next((key for key in _OURS if f"{override.key_or_group}.".startswith(f"{key}.")), None)
        if key is not None:
            raise ConfigError(f"{override.input_line}: is not for verify-resume, which sets {key} itself; {_OURS[key]}")
    if config.kills > config.steps - 3:
        raise ConfigError(f"kills={config.kills}: needs steps={config.kills + 3} or more; raise steps")


@contextmanager
def place_for(config: VerifyResumeConfig) -> Iterator[Path]:
    """Give the folder of the runs: the one chosen, or one that is removed at the end."""
    if config.output is None:
        with TemporaryDirectory(prefix="segtrain-") as temporary:
            yield Path(temporary)
        return
    folder = Path(config.output).absolute()
    make_folder(folder, key="output")
    if any(folder.iterdir()):
        raise ConfigError(f"output={config.output}: is not empty, expected a new folder; choose another")
    yield folder


@dataclass(frozen=True)
class Proof:
    """The trainings of a proof, each a process of its own: straight to the end, or killed and gone on with."""

    folder: Path
    config: VerifyResumeConfig
    words: Sequence[str]
    flags: Sequence[str]

    @property
    def kills_at(self) -> list[int]:
        """The steps to kill at, each more than the one before.

        From the third on, so that no resume starts at 0: the checkpoint of the step before may still be written.
        """
        steps, kills = self.config.steps, self.config.kills
        return [2 + (steps - 2) * number // (kills + 1) for number in range(1, kills + 1)]

    def training(self, name: str) -> list[str]:
        """Return the words of a new run in a folder of that name."""
        own = (
            f"trainer.max_steps={self.config.steps}",
            "trainer.log_every=1",
            "trainer.auto_resume=false",
            "logger=none",
        )
        return [*self.words, *own, f"hydra.run.dir={quote(str(self.folder / name))}"]

    def straight(self, name: str = "straight") -> Path:
        """Train without a stop; returns the run folder."""
        self.start(self.training(name), expected=(0,))
        return self.folder / name

    def killed(self, name: str = "killed") -> Path:
        """Train, kill the first process at each of the steps, and go on each time; returns the run folder."""
        first, *more = self.kills_at
        killed = (_KILLED,) if self.config.ranks == 1 else _LOST
        saving = ("checkpoint.every_steps=1", "logger._target_=segtrain.loggers.Crash", f"+logger.step={first}")
        self.start([*self.training(name), *saving], expected=killed)
        resume = f"resume={quote(str(self.folder / name))}"
        for step in more:
            self.start([resume, f"logger.step={step}"], expected=killed)
        self.start([resume, "logger=none"], expected=(0,))
        return self.folder / name

    def start(self, words: Iterable[str], *, expected: Sequence[int]) -> None:
        """Run one training to its end, or until it is killed; raises `SegtrainError` with what it said otherwise."""
        launch = ["launch", f"nproc={self.config.ranks}"] if self.config.ranks > 1 else []
        file = self.folder / "output.txt"
        code = started([*launch, *words, *self.flags], file)
        if code not in expected:
            said = _said(file)
            raise SegtrainError(f"a training ended with exit code {code}, expected {expected[0]}; it said\n{said}")


def started(words: Sequence[str], output: Path) -> int:
    """Run ``segtrain <words>`` as a process, with what it prints in a file, and return its exit code."""
    with output.open("wb") as file:
        return subprocess.run([sys.executable, "-m", "segtrain", *words], stdout=file, stderr=file).returncode


def _said(output: Path) -> str:
    lines = read_text(output).splitlines()
    ours = [line.removeprefix("segtrain: ") for line in lines if line.startswith("segtrain: ")]
    return "\n".join(ours or lines)


def verify(config: VerifyResumeConfig, proof: Proof, config_dir: Path | None) -> int:
    """Compare a straight training with a killed one; returns 0 where all is equal, else 1 after saying why."""
    from segtrain.run.sameness import STATE, compare

    log.info("training %d steps straight, all of them logged, but to no logger", config.steps)
    straight = proof.straight()
    kills = ", ".join(map(str, proof.kills_at))
    log.info("training them again, killed at step %s", kills)
    found = compare(straight, proof.killed(), STATE)
    show_findings(found)
    if all(finding.is_equal for finding in found):
        log.info("equal: killed at step %s, this training goes on here as if it had not been, bit for bit", kills)
        return 0
    log.warning("not equal: A was not stopped, B was killed at step %s", kills)
    log.info("training straight once more, to tell why")
    again = compare(straight, proof.straight("again"), STATE)
    if all(finding.is_equal for finding in again):
        log.warning(
            "two trainings that nobody stops are equal: a part of this config keeps state that checkpoints lack"
        )
        return 1
    log.warning("two trainings that nobody stops differ too, so that it is not the resume:")
    show_findings([finding for finding in again if not finding.is_equal])
    tell_kernels(proof, config_dir)
    return 1


def show_findings(found: "Iterable[Finding]") -> None:
    """Log what is equal, and warn of what is not."""
    for finding in found:
        log.log(logging.INFO if finding.is_equal else logging.WARNING, "%s", finding)


def tell_kernels(proof: Proof, config_dir: Path | None) -> None:
    """Train one step in this process, and name the kernels that say of themselves that they are not deterministic."""
    from segtrain.commands.train import train
    from segtrain.run.plan import make_plan
    from segtrain.runtime.determinism import kernels_named

    with kernels_named() as kernels:
        train(make_plan([*proof.training("kernels"), "trainer.max_steps=1"], config_dir))
    if kernels:
        log.warning("not deterministic, by their own words: %s", ", ".join(sorted(kernels)))
        return
    log.warning(
        "no kernel of torch says that it is not deterministic: look at your own classes for random numbers of other "
        "generators, time or threads; on a GPU, cuDNN may choose other convolutions each time, and augment.device=auto "
        "measures time"
    )
