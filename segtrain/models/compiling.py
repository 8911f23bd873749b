"""Regional compilation: `torch.compile` for a model's blocks, one by one, in training alone."""

import logging
from collections.abc import Callable
from typing import Any, Literal, TypeAlias
from weakref import WeakSet

import torch
import torch._dynamo.config as dynamo
import torch._functorch.config as functorch
from torch import nn
from torch._dynamo import exc

from segtrain.models.blocks import blocks, called_by

log = logging.getLogger(__name__)

Mode: TypeAlias = Literal["default", "reduce-overhead"]
_MOST_VARIANTS = 64
"""Compiled variants of a class: its blocks differ in widths and strides, and torch stops at 8."""

FAULTS = (
    exc.TorchDynamoException,
    *(getattr(exc, name) for name in ("FailOnRecompileLimitHit", "FailOnCacheLimitHit") if hasattr(exc, name)),
)
"""What torch raises where it cannot compile; an error of a block itself is raised again by the block as it is."""


def compile_blocks(model: nn.Module, *, mode: Mode = "default", backend: str = "inductor") -> int:
    """Compile each of a model's `blocks` at its first call with gradients; return how many there are.

    Blocks of one class, widths and sizes share their code, so that a deep encoder takes little longer than a shallow
    one. Without gradients blocks run as they are: evaluation, export and checkpoints are untouched, and so are names in
    the ``state_dict``. What cannot be compiled runs as it is, too, and the log says so once.
    """
    _prepare()
    found = list(blocks(model))
    compiler = Compiler(mode=mode, backend=backend)
    for kind in {type(block) for block in found}:
        derived = called_by(compiler.of(kind), kind)
        for block in found:
            if type(block) is kind:
                block.__class__ = derived
    if mode == "reduce-overhead":
        # a graph's memory is its own until the next pass: what an earlier step left there is not read any more
        model.register_forward_pre_hook(_begin_pass)
    return len(found)


def _begin_pass(*_: Any) -> None:
    torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]


class Compiler:
    """Compiles classes of blocks, and gives up on those that it cannot compile."""

    def __init__(self, *, mode: Mode, backend: str) -> None:
        self.options: dict[str, Any] = {"backend": backend, **({"mode": mode} if backend == "inductor" else {})}
        self.has_failed = False

    def of(self, kind: type[nn.Module]) -> Callable[..., Any]:
        """Return what calls a block of a class: compiled where gradients are asked for."""
        # In one piece: where a part of a block failed behind another, that would run twice, and count its batch twice.
        # For the very sizes: a block that runs again in the backward pass has to find the same code, not a general one.
        compiled = torch.compile(kind.forward, fullgraph=True, dynamic=False, **self.options)
        running: WeakSet[nn.Module] = (
            WeakSet()
        )  # they go on compiled where another of their class fails, for that reason
        has_failed = False

        def call(base: Callable[..., Any], block: nn.Module, *inputs: Any, **options: Any) -> Any:
            nonlocal has_failed
            if not torch.is_grad_enabled() or (has_failed and block not in running):
                return base(*inputs, **options)
            try:
                found = compiled(block, *inputs, **options)
            except FAULTS as error:
                has_failed = True
                running.discard(block)
                self.tell(kind, error)
                return base(*inputs, **options)
            running.add(block)
            return found

        return call

    def tell(self, kind: type[nn.Module], error: Exception) -> None:
        """Log the first fault."""
        if not self.has_failed:
            cause = getattr(error, "inner_exception", error)  # that of a backend is wrapped
            reason = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
            log.warning("trainer.compile: %s runs as it is, others are tried: %s", kind.__name__, reason[:200])
        self.has_failed = True


def _prepare() -> None:
    limit = "recompile_limit" if hasattr(dynamo, "recompile_limit") else "cache_size_limit"  # torch 2.6 has the latter
    setattr(dynamo, limit, max(_MOST_VARIANTS, getattr(dynamo, limit)))
    if hasattr(functorch, "force_non_lazy_backward_lowering"):
        # so that what cannot be compiled shows in the forward pass, where it can still run as it is
        functorch.force_non_lazy_backward_lowering = True
