"""Runs that are killed by SIGKILL at random moments, again and again until they end, as one run that nobody killed.

    python scripts/torture.py --runs 100
    python scripts/torture.py --runs 20 --ranks 2

Every start has the same words, with ``trainer.auto_resume=true``, and a process of its own, forked from a server that
has imported torch already; ranks are started by ``segtrain launch``, and one of them is killed, or all with the
launcher. Kills aim at any time of a run, at its start, at a checkpoint that is being written (one is at each step),
or at a validation; what they hit is told from what they left behind. At the end each run is compared with the one that
nobody killed: all numbers of its log but times, all that its checkpoints hold, its best scores.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch, for the server that forks

from segtrain.run import checkpoint
from segtrain.run.sameness import STATE, compare, hash_of

EPOCHS, STEPS = 2, 4  # of a run, and of an epoch
TRAINING = (
    "data=shapes",
    "data.image_size=32",
    "data.train=16",
    "data.val=24",
    "data.num_workers=0",
    "arch=fpn",  # its decoder drops out
    "encoder=test_resnet",
    "encoder.weights=null",
    "augment=standard",
    "augment.mosaic=0.3",
    "augment.cutmix=0.3",
    "device=cpu",
    f"trainer.epochs={EPOCHS}",
    "trainer.ema_decay=0.9",
    "trainer.log_every=1",
    "trainer.auto_resume=true",
    "checkpoint.every_steps=1",
    "logger=none",
)
AIMS = ("any time", "start", "checkpoint", "validation")
HITS = ("start", "step", "checkpoint being written", "checkpoint being put in place", "validation", "end")
_AGAIN = 0.4  # chance of a run that goes on to be killed too
_WRITING, _VALIDATING = 0.01, 0.1  # seconds within which a kill follows the beginning of what it aims at
_POLL = 0.0003  # seconds
_PATIENCE = 120  # seconds for a training to end
_BUILT, _DONE = "steps an epoch", "done: "  # are printed when all is built, and at the end

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["segtrain.build.training", "torch._dynamo", "torch.distributed.launcher.api"])


@dataclass(frozen=True)
class Result:
    """How often runs were killed at what, and what differs from the one that nobody killed, by the run's number."""

    runs: int
    kills: Counter[str]
    differing: dict[int, list[str]]

    def lines(self) -> Iterator[str]:
        """Yield a table in Markdown, and a line that sums up."""
        yield from ("| killed at | times |", "| --- | --- |")
        yield from (f"| {hit} | {self.kills[hit]} |" for hit in HITS)
        equal = self.runs - len(self.differing)
        yield f"{self.runs} runs, killed {sum(self.kills.values())} times: {equal} of {self.runs} bitwise equal"


def torture(folder: Path, *, runs: int, ranks: int = 1, seed: int = 0) -> Result:
    """Train so many runs to their end, one after the other, in ``folder``; ``seed`` decides when each is killed."""
    whole = Training(folder / "whole", ranks)
    whole.until(lambda: _BUILT in whole.printed())
    start = whole.age
    whole.end()
    times = {"any time": whole.age, "start": start}
    result = Result(runs, Counter(), {})
    for number in range(runs):
        rng = random.Random(f"{seed} {number}")
        run = folder / f"run{number}"
        hits = killed_until_it_ends(run, ranks, AIMS[number % len(AIMS)], times, rng)
        result.kills.update(hits)
        found = differences(whole.folder, run)
        print(f"run {number}: killed at {', '.join(hits)}; {'; '.join(found) or 'equal'}", flush=True)
        if found:
            result.differing[number] = found
        else:
            shutil.rmtree(run)
    return result


def killed_until_it_ends(folder: Path, ranks: int, aim: str, times: dict[str, float], rng: random.Random) -> list[str]:
    """Start a run until it comes to its end, and kill it once or more; returns what each kill hit."""
    hits: list[str] = []
    while True:
        training = Training(folder, ranks)
        if not hits or rng.random() < _AGAIN:
            training.wait_for(aim, times, rng)
            if training.kill(rng):
                hits.append(training.hit())
                aim = rng.choice(AIMS)
                continue
        training.end()
        if hits:
            return hits
        shutil.rmtree(folder)  # it came to its end before the kill: again


class Training:
    """One start of a run in its folder: a process, or a launcher and its ranks."""

    def __init__(self, folder: Path, ranks: int) -> None:
        self.folder, self.ranks = folder, ranks
        self.output, self.places = folder.with_suffix(".out"), folder.with_suffix(".ranks")
        self.output.unlink(missing_ok=True)
        shutil.rmtree(self.places, ignore_errors=True)
        self.places.mkdir(parents=True)
        self.began, self.logged = time.time(), len(self.rows())
        launch = ["launch", f"nproc={ranks}"] if ranks > 1 else []
        words = [*launch, *TRAINING, f"data.batch_size={4 // ranks}", f"hydra.run.dir={folder}"]
        self.process = forked(words, self.output, self.places)

    @property
    def age(self) -> float:
        """The seconds since the start."""
        return time.time() - self.began

    def printed(self) -> str:
        """Return what has been printed until now."""
        with suppress(FileNotFoundError):
            return self.output.read_text(encoding="utf-8")
        return ""

    def rows(self) -> list[str]:
        """Return the whole lines of the run's log."""
        with suppress(FileNotFoundError):
            *whole, _ = (self.folder / "metrics.jsonl").read_text(encoding="utf-8").split("\n")
            return whole
        return []

    def until(self, condition: Callable[[], bool]) -> None:
        """Return when a condition holds, or the training has ended."""
        while not condition() and self.process.is_alive():
            time.sleep(_POLL)

    def wait_for(self, aim: str, times: dict[str, float], rng: random.Random) -> None:
        """Return at the moment to kill at, or when the training has ended."""
        if aim == "checkpoint":
            partial = self.folder / "checkpoints/.next.pt.partial"
            for _ in range(rng.randint(1, EPOCHS * (STEPS + 1) + 1)):
                self.until(lambda: not partial.exists())
                self.until(partial.exists)
            self.process.join(rng.uniform(0, _WRITING))
        elif aim == "validation":
            epoch = rng.randint(1, EPOCHS)
            self.until(lambda: len(self.rows()) == epoch * (STEPS + 1) - 1)
            self.process.join(rng.uniform(0, _VALIDATING))
        else:
            self.process.join(rng.uniform(0, times[aim]))

    def kill(self, rng: random.Random) -> bool:
        """Kill the process; of several ranks one, or all with their launcher. Tells whether that was before its end."""
        kills_all = self.ranks == 1 or rng.random() < 0.5
        found = sorted(self.places.iterdir())
        if kills_all or not found:
            self.process.kill()
            self._kill_ranks()
        else:
            _kill(rng.choice(found))
        self._join()
        return self.process.exitcode != 0

    def _kill_ranks(self) -> None:
        """Kill the ranks of a launcher that is dead, also those that it had asked for just before."""
        last = time.monotonic() + 0.3 * (self.ranks > 1)
        while (left := list(self.places.iterdir())) or time.monotonic() < last:
            for place in left:
                _kill(place)
                place.unlink()
            time.sleep(0.01)

    def end(self) -> None:
        """Wait for the end of the run."""
        self._join()
        assert self.process.exitcode == 0, self.printed()

    def _join(self) -> None:
        self.process.join(_PATIENCE)
        assert not self.process.is_alive(), self.printed()

    def hit(self) -> str:
        """Tell what a kill has hit: one of ``HITS``."""
        if _BUILT not in self.printed():
            return "start"
        files = [file for file in (self.folder / "checkpoints").iterdir() if file.stat().st_mtime > self.began]
        names = [file.name for file in files]
        if ".next.pt.partial" in names:
            return "checkpoint being written"
        if "next.pt" in names:
            return "checkpoint being put in place"
        rows = [json.loads(row) for row in self.rows()]
        if rows and rows[-1]["split"] == "train" and rows[-1]["step"] % STEPS == 0:
            return "validation"
        return "end" if _DONE in self.printed() else "step"


def _kill(place: Path) -> None:
    with suppress(ProcessLookupError):
        os.kill(int(place.name.partition("-")[2]), signal.SIGKILL)


def forked(words: Sequence[str], output: Path, places: Path | None = None) -> BaseProcess:
    """Start ``segtrain <words>``, forked from a server that has imported all; what it prints is added to a file.

    If it is ``segtrain launch``, so are its ranks, each of which puts a file ``<rank>-<process>`` into ``places``.
    """
    process = context.Process(target=_start, args=(list(words), str(output), None if places is None else str(places)))
    process.start()
    return process


def _start(words: list[str], output: str, places: str | None) -> None:
    from torch.distributed.launcher import api

    from segtrain.cli import main

    def forking(plan: Any, _python: str) -> Callable[..., Any]:
        launcher = elastic_launch(replace(plan, start_method="fork"), _rank)
        return lambda _flag, _module, *words: launcher(output, places, *words)

    print_to(output)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so would this
    elastic_launch, api.elastic_launch = api.elastic_launch, forking  # type: ignore[assignment,misc]
    sys.exit(main(words))


def _rank(output: str, places: str | None, *words: str) -> None:
    from segtrain.cli import main

    print_to(output)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)  # the launcher's handlers would not come along with a program
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if places is not None:
        Path(places, f"{os.environ['RANK']}-{os.getpid()}").touch()
    try:
        code = main(words)
    except Exception:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    if code:
        os._exit(code)  # as `segtrain.cli.entry_point` does


def print_to(output: str) -> None:
    """Add what this process prints to a file."""
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def differences(whole: Path, run: Path) -> list[str]:
    """Return a line for each part in which two runs differ: log, all checkpoints, scores."""
    found = [str(finding) for finding in compare(whole, run, STATE) if not finding.is_equal]
    names = [sorted(file.name for file in (folder / "checkpoints").glob("[!.]*")) for folder in (whole, run)]
    if names[0] != names[1]:
        return [*found, f"checkpoints: {names[0]} and {names[1]}"]
    for name in names[0]:
        one, other = (checkpoint.read(folder / "checkpoints" / name) for folder in (whole, run))
        found += [f"{name}: {key}" for key in ("model", "ema", "optimizer") if hash_of(one[key]) != hash_of(other[key])]
    if (whole / "scores.json").read_bytes() != (run / "scores.json").read_bytes():
        found.append("scores.json")
    return found


def main() -> None:
    """Torture as the command line says; exit code 1 where a run differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="segtrain-") as folder:
        result = torture(Path(folder), runs=options.runs, ranks=options.ranks, seed=options.seed)
    print("\n".join(result.lines()))
    sys.exit(1 if result.differing else 0)


if __name__ == "__main__":
    main()
