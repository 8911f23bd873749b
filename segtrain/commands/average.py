"""``segtrain average``: one checkpoint with the mean of the weights of several."""

import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from segtrain.config.compose import check_changes, compose
from segtrain.config.overrides import Overrides
from segtrain.config.schema import AverageConfig
from segtrain.config.spine import to_config
from segtrain.config.words import counted
from segtrain.errors import CheckpointError, ConfigError
from segtrain.run.folders import make_folder
from segtrain.run.opening import open_checkpoint
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

_KEPT = (
    *("format", "config", "mode", "class_names", "image_classes", "palette", "mask_values", "class_table"),
    *("typical_size", "trained_on", "normalize", "versions"),
)
"""Of a checkpoint: what describes the model, and not the run that it comes from."""
_ALIKE = ("mode", "class_names", "image_classes", "normalize")


def run(arguments: Arguments) -> int:
    """Run the command; keys that average.yaml lacks change the config of the first checkpoint."""
    own, changes = arguments.overrides.split(AverageConfig.__dataclass_fields__)
    check_changes("average", changes, config_dir=arguments.config_dir)
    job = compose("average", own, config_dir=arguments.config_dir).job
    if arguments.cfg:
        show(yaml.safe_dump(job, sort_keys=False))
        return 0
    average(to_config(job, AverageConfig), changes, arguments.config_dir)
    return 0


def average(config: AverageConfig, changes: Overrides, config_dir: Path | None) -> None:
    """Average the weights, estimate statistics anew where asked to, and write the checkpoint."""
    import_heavy("segtrain.build.restore")
    from segtrain.optim.weight_average import mean_of_weights
    from segtrain.run import checkpoint
    from segtrain.terminal.console import start_logging

    start_logging()
    # one checkpoint is its own mean, and may want statistics alone
    files = files_of([Path(run) for run in config.runs], config.top, least=1 if config.update_bn else 2)
    output = Path(config.output)
    if output.resolve() in [file.resolve() for file in files]:
        raise ConfigError(f"output={output}: is one of the checkpoints to average; give a name of its own")
    _, payload, job = open_checkpoint(files[0], changes, config_dir=config_dir)
    state = mean_of_weights(_weights(files, payload))
    described = {key: payload[key] for key in _KEPT if key in payload}
    made = {**described, "config": job, "model": state, "state": {"step": 0}}
    if config.update_bn:
        state.update(estimated(made, files[0], config))
    elif any(name.endswith("running_var") for name in state):
        log.warning(
            "statistics of batch normalisation are means of those of the checkpoints, which suit none of them; "
            "update_bn=true estimates them on training images"
        )
    make_folder(output.absolute().parent, key="output")
    checkpoint.write({**made, "averaged": [str(file.resolve()) for file in files]}, output)
    log.info("the mean of %s: %s", counted(len(files), "checkpoint"), ", ".join(map(str, files)))
    log.info("written to %s; go on with: segtrain eval %s", output, shlex.quote(str(output)))


def files_of(runs: Sequence[Path], top: int | None, *, least: int = 2) -> list[Path]:
    """Return the checkpoints to average: of one run folder the best epochs, of several the best of each.

    Raises `CheckpointError` for fewer files than ``least``, and for fewer epochs of a run than ``top``, or two.
    """
    from segtrain.run import checkpoint

    if len(runs) == 1 and runs[0].is_dir():
        return _best_epochs(runs[0], top)
    if top is not None:
        raise ConfigError(f"top={top}: is for the epochs of one run folder, got {len(runs)} paths; leave it out")
    files = list(dict.fromkeys(checkpoint.find(run, best=True) for run in runs))
    if len(files) < least:
        raise CheckpointError(f"{files[0]}: is one checkpoint, expected two or more; give several, or a run folder")
    return files


def _best_epochs(run: Path, top: int | None) -> list[Path]:
    """List the epochs that a run folder kept, the best first."""
    from segtrain.run import checkpoint

    last = checkpoint.find(run, best=False)
    kept = sorted(checkpoint.read(last)["state"].get("kept", ()), reverse=True)
    named = [last.parent / f"epoch{epoch + 1:04d}.pt" for _, epoch in kept]
    files = [file for file in named if file.exists()]
    if len(files) < (top or 2):
        raise CheckpointError(
            f"{run}: keeps {counted(len(files), 'epoch')} beside its best, expected {top or 'two'} or more; train with "
            f"checkpoint.keep_top_k={max(top or 5, 2)}, or give several checkpoints"
        )
    return files[:top]


def _weights(files: Sequence[Path], first: Mapping[str, Any]) -> "Iterator[tuple[str, dict[str, Tensor]]]":
    """Yield file and weights of each checkpoint, those that it is used with; raises for other classes or images."""
    from segtrain.run import checkpoint

    for file in files:
        payload = checkpoint.read(file)
        unlike = [key for key in _ALIKE if payload.get(key) != first.get(key)]
        if unlike:
            key = unlike[0]
            raise CheckpointError(
                f"{file}: its {key} is {payload.get(key)}, that of {files[0]} is {first.get(key)}, expected the same; "
                "average checkpoints of one config"
            )
        yield str(file), payload.get("ema") or payload["model"]


def estimated(payload: Mapping[str, Any], file: Path, config: AverageConfig) -> "dict[str, Tensor]":
    """Return buffers of the averaged model with the statistics of its own batches, by name."""
    from segtrain.build.parts import build_feed, checked_config, open_source
    from segtrain.build.restore import restore
    from segtrain.inference.batch_statistics import reestimate
    from segtrain.inference.network import Network
    from segtrain.runtime.device import keep_freed_memory, make_runtime
    from segtrain.runtime.random_state import seed_everything

    keep_freed_memory()
    training = checked_config(payload["config"])
    model, _ = restore(payload, file)
    runtime = make_runtime(config.device, config.precision, channels_last=training.trainer.channels_last)
    runtime.place(model)
    seed_everything(training.seed)
    source = open_source(training, "train")
    source.verify()
    feed = build_feed(training, source, runtime, training=True)
    count = min(config.batches or len(feed), len(feed))
    layers = reestimate(Network(model, runtime), islice(feed.batches(), count))
    log.info("%s of batch normalisation estimated on %s", counted(layers, "layer"), counted(count, "batch of training"))
    return {name: buffer.cpu() for name, buffer in model.named_buffers() if name in payload["model"]}
