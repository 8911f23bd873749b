"""One process of several, as torchrun starts them: a job's ranks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    from segtrain.runtime.world import World


def is_distributed() -> bool:
    """Tell whether torchrun has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def joined() -> Iterator["World | None"]:
    """Connect the ranks while the context is open; None where this process is alone, without importing torch."""
    if not is_distributed():
        yield None
        return
    import_heavy("segtrain.runtime.world")
    from segtrain.runtime.world import World

    world = World.of_environment()
    with world.joined():
        yield world
