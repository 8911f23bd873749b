"""The commands, one module each, imported only when called."""

COMMANDS = {
    "train": "segtrain.commands.train",
    "eval": "segtrain.commands.evaluate",
    "resume": "segtrain.commands.resume",
    "launch": "segtrain.commands.launch",
    "replay": "segtrain.commands.replay",
    "predict": "segtrain.commands.predict",
    "export": "segtrain.commands.export",
    "bench": "segtrain.commands.bench",
    "score": "segtrain.commands.score",
    "preview": "segtrain.commands.preview",
    "compare": "segtrain.commands.compare",
    "report": "segtrain.commands.report",
    "demo": "segtrain.commands.demo",
    "diff": "segtrain.commands.diff",
    "reproduce": "segtrain.commands.reproduce",
    "verify-resume": "segtrain.commands.verify_resume",
    "plan": "segtrain.commands.plan",
    "check": "segtrain.commands.check",
    "shard": "segtrain.commands.shard",
    "average": "segtrain.commands.average",
    "tune": "segtrain.commands.tune",
    "lr_find": "segtrain.commands.lr_find",
    "import": "segtrain.commands.import_smp",
    "search": "segtrain.commands.search",
    "runs": "segtrain.commands.runs",
    "zoo": "segtrain.commands.zoo",
    "help": "segtrain.commands.help",
}
"""The module of each command, whose ``run`` is called with the words of the command line."""
SWEEPS = {
    "train": "segtrain.commands.sweep",
    "eval": "segtrain.commands.evaluate",
    "launch": "segtrain.commands.launch",
}
"""The module of each command with ``-m``."""
