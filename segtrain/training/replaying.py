"""Making one step again, watching every module: where a value begins that is not finite."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from segtrain.data.sample import Batch
from segtrain.training.memory import Attempt
from segtrain.training.trainer import Trainer


class Replayed(NamedTuple):
    """What a step came to, made again: its loss, and where the first value is that is not finite, if there is one."""

    loss: float
    origin: str | None


def replay(trainer: Trainer, batches: list[Batch]) -> Replayed:
    """Make the forward and backward passes of a step again, with anomaly detection; the weights stay."""
    trainer.model.start_epoch(trainer.state.epoch)
    trainer.network.module.train()
    trainer.loss.train()
    failure, losses = None, list[float]()
    counting = trainer.loss.register_forward_hook(lambda _module, _inputs, loss: losses.append(float(loss.detach())))
    with (
        Watch({"": trainer.network.module, "loss": trainer.loss.loss}).watching() as watch,
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Error detected in")  # with a traceback of all that called it
        try:
            with torch.autograd.set_detect_anomaly(True):
                trainer.step.gradients(batches, Attempt(trainer.world, may_fail=False))
        except RuntimeError as error:
            if "returned nan values" not in str(error):
                raise
            failure = f"backward: in {watch.reached}: {str(error).partition('.')[0]}"
    counting.remove()
    bad = [name for name, p in trainer.model.named_parameters() if p.grad is not None and not is_finite(p.grad)]
    gradients = f"backward: the gradient of {bad[-1]} is not finite (and of {len(bad) - 1} others)" if bad else None
    trainer.optimizer.zero_grad(set_to_none=True)
    return Replayed(sum(losses), watch.origin or failure or gradients)


class Watch:
    """Remembers the first module whose output, and else the first whose output's gradient, is not finite.

    Modules inside are looked at before those that hold them. ``roots`` are watched under a name each.
    """

    def __init__(self, roots: Mapping[str, nn.Module]) -> None:
        self.roots = roots
        self.origin: str | None = None
        self.reached = "the loss"  # the module whose output the backward pass has come to
        self._gradient: Tensor | None = None

    @contextmanager
    def watching(self) -> Iterator["Watch"]:
        """Watch while the context is open."""
        handles = [
            module.register_forward_hook(self._hook(".".join(filter(None, (root, name))) or "the model"))
            for root, tree in self.roots.items()
            for name, module in tree.named_modules()
        ]
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, name: str) -> Any:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            for tensor in tensors_in(output):
                if self.origin is None and not is_finite(tensor):
                    self.origin = f"forward: the output of {name} ({type(module).__name__}) {_described(tensor)}"
                    self.origin += f"; {_of_inputs(module, inputs)}"
                if tensor.requires_grad and tensor.grad_fn is not None:
                    tensor.register_hook(partial(self._look_at_gradient, name, module))  # type: ignore[no-untyped-call]

            for label, buffer in module.named_buffers(recurse=False):
                if self.origin is None and buffer.is_floating_point() and not is_finite(buffer):
                    self.origin = f"forward: {label} of {name} ({type(module).__name__}) {_described(buffer)}"
                    self.origin += f"; {_of_inputs(module, inputs)}"

        return look

    def _look_at_gradient(self, name: str, module: nn.Module, gradient: Tensor) -> None:
        if gradient is not self._gradient:  # the same one for a module and for those that hold it
            self._gradient, self.reached = gradient, f"{name} ({type(module).__name__})"
        if self.origin is None and not is_finite(gradient):
            self.origin = f"backward: the gradient at the output of {name} ({type(module).__name__}) "
            self.origin += _described(gradient)


def is_finite(tensor: Tensor) -> bool:
    """Tell whether all values of a tensor are finite; waits for the device."""
    return bool(tensor.detach().isfinite().all())


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the floating-point tensors in nested tuples, lists and mappings."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from tensors_in(part)


def _described(tensor: Tensor) -> str:
    bad = int((~tensor.detach().isfinite()).sum())
    return f"is not finite in {bad} of {tensor.numel()} values of {str(tensor.dtype).removeprefix('torch.')}"


def _of_inputs(module: nn.Module, inputs: Any) -> str:
    """Say how large what went into a module is, and whether its weights are finite."""
    largest = max((float(tensor.detach().abs().max()) for tensor in tensors_in(inputs) if tensor.numel()), default=0.0)
    weights = "finite" if all(map(is_finite, module.parameters())) else "not finite"
    return f"its inputs reach {largest:.3g}, its weights are {weights}"
