"""A small forward and backward pass on a device, compared with the CPU: some kernels compute wrong numbers."""

import logging
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segtrain.errors import ConfigError

log = logging.getLogger(__name__)

_NOTABLE = 1e-3
_WRONG = 0.1
_CPU = torch.device("cpu")
_PATTERN = 2.3  # of numbers that need no random ones: sines of their places
Answers = Mapping[str, Tensor]


def check_device(device: torch.device, run: Callable[[torch.device], Answers] | None = None) -> None:
    """Compare what `answers` on ``device`` with the CPU; ``run`` replaces it.

    Warns of differences beyond a thousandth of a tensor's norm, and raises `ConfigError` for those beyond a tenth.
    """
    compute = run or answers
    expected, found = compute(_CPU), compute(device)
    differences = {name: _difference(value, found[name].to(_CPU)) for name, value in expected.items()}
    name, worst = max(differences.items(), key=lambda item: item[1])
    where = f"device={device}: {name} of a small network differs by {worst:.2g} of its norm from the CPU's"
    if worst > _WRONG:
        raise ConfigError(
            f"{where}, expected less than {_NOTABLE:g}: kernels there are wrong; update torch, or device=cpu"
        )
    if worst > _NOTABLE:
        log.warning("%s, expected less than %g; compare a short run with device=cpu before a long one", where, _NOTABLE)
    else:
        log.info("device=%s: a small network agrees with the CPU's to %.1g (%s)", device, worst, name)


def answers(device: torch.device) -> dict[str, Tensor]:
    """Return the loss of a small network of all that segmentation takes, and the gradient of each weight.

    In float32: convolutions, plain, strided, depthwise and transposed, normalisations, pooling, attention, resizing.
    """
    with torch.random.fork_rng(devices=[]):  # layers draw weights, which are replaced; those of the run stay its own
        network = nn.ModuleDict(
            {
                "stem": nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
                "norm": nn.BatchNorm2d(8),
                "depthwise": nn.Conv2d(8, 8, 3, padding=1, groups=8),
                "group norm": nn.GroupNorm(2, 8),
                "layer norm": nn.LayerNorm(8),
                "up": nn.ConvTranspose2d(8, 8, 2, stride=2),
                "head": nn.Conv2d(16, 3, 1),
            }
        )
    for number, parameter in enumerate(network.parameters()):
        parameter.data = _numbers(parameter.shape, number)
    network.to(device)
    image = _numbers(torch.Size((2, 3, 16, 16)), 0).to(device)
    target = torch.arange(2 * 16 * 16).reshape(2, 16, 16).remainder(3).to(device)

    fine = F.relu(network["norm"](network["stem"](image)))  # (2, 8, 8, 8)
    coarse = F.max_pool2d(F.gelu(network["group norm"](network["depthwise"](fine))), 2)  # (2, 8, 4, 4)
    tokens = network["layer norm"](coarse.flatten(2).transpose(1, 2))  # (2, 16, 8)
    attended = F.scaled_dot_product_attention(tokens, tokens, tokens)
    pooled = F.adaptive_avg_pool2d(coarse, 1) * attended.transpose(1, 2).reshape(coarse.shape)
    larger = F.interpolate(network["up"](pooled), size=(16, 16), mode="bilinear", align_corners=True)
    both = torch.cat([larger, F.interpolate(fine, scale_factor=2.0)], dim=1)
    loss = F.cross_entropy(network["head"](both), target)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = {f"the gradient of {name}": p.grad for name, p in network.named_parameters() if p.grad is not None}
    return {"the loss": loss.detach(), **gradients}


def _numbers(shape: torch.Size, phase: int) -> Tensor:
    return (torch.arange(shape.numel(), dtype=torch.float32) * _PATTERN + phase).sin().reshape(shape)


def _difference(expected: Tensor, found: Tensor) -> float:
    """Return the norm of the difference by that of what is expected; infinite where a value is not finite."""
    difference = float((expected - found).norm() / expected.norm().clamp_min(1e-12))
    return difference if torch.isfinite(found).all() else float("inf")
