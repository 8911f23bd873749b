"""Layers that training on CPUs computes otherwise, forward and backward, against torch's and timm's own.

In bf16 and channels_last, batches of 8. Both take turns; the figures are medians, in milliseconds.

    python scripts/bench_layers.py
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn

from segtrain.models.depthwise import tile_depthwise
from segtrain.models.group_norm import quicken_group_norm
from segtrain.models.squeeze_excitation import share_means
from segtrain.models.upsampling import convolve_joined

Call = Callable[[Sequence[Tensor]], Tensor]


def main() -> None:
    """Print a row for each layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch.manual_seed(0)
    for coarse, skip, out, size in ((256, 128, 128, 16), (128, 64, 64, 32), (64, 64, 32, 64), (32, 0, 16, 128)):
        conv = nn.Conv2d(coarse + skip, out, 3, padding=1, bias=False)
        maps = [pixels(coarse, size), *([pixels(skip, 2 * size)] if skip else [])]
        row(f"doubled {coarse} channels and {skip}, {2 * size}x{2 * size}", joined(conv), short(conv), maps, rounds)
    for channels, size, kernel, stride in ((144, 128, 3, 2), (192, 64, 5, 2), (960, 16, 5, 1)):
        plain = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
        name = f"depthwise {kernel}x{kernel}, stride {stride}, {channels} channels, {size}x{size}"
        row(name, of(plain), of(changed(plain, tile_depthwise)), [pixels(channels, size)], rounds)
    for channels, size in ((192, 64), (960, 16)):
        block = SqueezeExcite(channels, rd_channels=channels // 24, act_layer=nn.SiLU)
        name = f"squeeze-and-excitation, {channels} channels, {size}x{size}"
        row(name, of(block), of(changed(block, share_means)), [pixels(channels, size)], rounds)
    norm = nn.GroupNorm(32, 128)
    for size in (64, 32):
        name = f"group normalisation, 128 channels, {size}x{size}"
        row(name, of(norm), of(changed(norm, quicken_group_norm)), [pixels(128, size)], rounds)


def joined(conv: nn.Conv2d) -> Call:
    """Return the convolution of the doubled and joined map, which is written."""
    return lambda maps: conv(torch.cat([F.interpolate(maps[0], scale_factor=2), *maps[1:]], dim=1))


def short(conv: nn.Conv2d) -> Call:
    """Return the same without that map."""
    return lambda maps: convolve_joined(
        conv, maps[0], maps[1] if len(maps) > 1 else None, [2 * side for side in maps[0].shape[-2:]], mode="nearest"
    )


def of(layer: nn.Module) -> Call:
    """Return a call of a layer of one map."""
    return lambda maps: layer(maps[0])


def changed(layer: nn.Module, change: Callable[[nn.Module], int]) -> nn.Module:
    """Return a changed copy."""
    twin = nn.Sequential(copy.deepcopy(layer))
    assert change(twin) == 1
    return twin


def pixels(channels: int, size: int) -> Tensor:
    """Make a map."""
    return torch.randn(8, channels, size, size).bfloat16().to(memory_format=torch.channels_last)


def row(name: str, plain: Call, ours: Call, maps: Sequence[Tensor], rounds: int) -> None:
    """Let both take turns, the first of which warms up, and print medians and the median of their ratios."""
    turns = [(seconds(plain, maps), seconds(ours, maps)) for _ in range(rounds + 1)][1:]
    before, after = (1000 * statistics.median(each) for each in zip(*turns, strict=True))
    ratio = statistics.median(one / other for one, other in turns)
    print(f"{name}: {before:.1f} to {after:.1f} ms, {ratio:.2f} times as fast", flush=True)


def seconds(call: Call, maps: Sequence[Tensor]) -> float:
    """Time a forward and a backward pass."""
    inputs = [each.detach().clone(memory_format=torch.preserve_format).requires_grad_() for each in maps]
    inner = [each * 1.0 for each in inputs]  # not leaves: their gradients are not copied
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        out = call(inner)
    forward = time.perf_counter() - start
    gradient = torch.randn_like(out)
    start = time.perf_counter()
    out.backward(gradient)  # type: ignore[no-untyped-call]
    return forward + time.perf_counter() - start


if __name__ == "__main__":
    main()
