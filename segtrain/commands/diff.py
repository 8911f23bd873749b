"""``segtrain diff``: what differs between two runs: config, words, data, versions, devices and git."""

from pathlib import Path

import yaml

from segtrain.config.compose import compose
from segtrain.config.schema import DiffConfig
from segtrain.config.spine import to_config
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.slow_imports import import_heavy


def run(arguments: Arguments) -> int:
    """Print a line for each difference; with ``--cfg``, the command's config instead."""
    job = compose("diff", arguments.overrides, config_dir=arguments.config_dir).job
    if arguments.cfg:
        show(yaml.safe_dump(job, sort_keys=False))
        return 0
    config = to_config(job, DiffConfig)
    import_heavy("segtrain.run.record")
    from segtrain.run.record import Record, differences

    found = list(differences(Record.of(Path(config.a), key="a"), Record.of(Path(config.b), key="b")))
    show("\n".join([f"A: {config.a}", f"B: {config.b}", *(found or ["nothing differs"])]))
    return 0
