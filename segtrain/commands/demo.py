"""``segtrain demo``: a page on this machine where one drops an image and sees the mask over it."""

import json
import logging
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from segtrain.config.compose import check_changes, compose
from segtrain.config.overrides import Overrides
from segtrain.config.page_schema import DemoConfig
from segtrain.config.spine import to_config
from segtrain.errors import ConfigError
from segtrain.run.opening import open_checkpoint
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    from segtrain.inference.serving import Server

log = logging.getLogger(__name__)

TEMPLATE = "demo.html.j2"


def run(arguments: Arguments) -> int:
    """Serve until Ctrl-C; keys that demo.yaml lacks change the run's own config."""
    own, changes = arguments.overrides.split((*DemoConfig.__dataclass_fields__, "hydra"))
    check_changes("demo", changes, config_dir=arguments.config_dir)
    job = compose("demo", own, config_dir=arguments.config_dir).job
    if arguments.cfg:
        show(yaml.safe_dump(job, sort_keys=False))
        return 0
    config = to_config(job, DemoConfig)
    with make_server(config, changes, arguments.config_dir) as server:
        log.info("%s: drop an image there (Ctrl-C ends it)", server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            log.info("stopped")
    return 0


def make_server(config: DemoConfig, changes: Overrides, config_dir: Path | None = None) -> "Server":
    """Open the checkpoint, and a server for its page; raises `ConfigError` where the port is taken."""
    import_heavy("segtrain.build.demo")
    from segtrain.build.demo import Demo
    from segtrain.build.restore import make_predictor
    from segtrain.evaluation.operating_point import OperatingPoint
    from segtrain.inference.serving import Server
    from segtrain.terminal.console import start_logging

    start_logging()
    file, payload, job = open_checkpoint(Path(config.ckpt), changes, config_dir=config_dir)
    predictor = make_predictor(payload, job, file, device=config.device, precision=config.precision)
    demo = Demo(predictor, OperatingPoint.of(payload), max_pixels=config.max_pixels)
    page = page_of(str(file), demo.classes(), most_mb=config.max_mb)
    most = config.max_mb * 2**20
    try:
        return Server(page, demo, port=config.port, most_bytes=most, patience=float(config.patience))
    except OSError as error:
        raise ConfigError(
            f"port={config.port}: cannot be opened ({error.strerror}), expected a free one; choose another, or port=0"
        ) from None


def page_of(name: str, classes: list[dict[str, object]], *, most_mb: int) -> str:
    """Write the page for a model of these classes."""
    from segtrain.drawing.templates import template

    # a class may be called </script>: as JSON within HTML, < has to be written otherwise
    held = json.dumps(classes).replace("<", "\\u003c")
    nonce = secrets.token_urlsafe(16)
    return template(TEMPLATE).render(name=name, classes=classes, held=held, most_mb=most_mb, nonce=nonce)
