"""Compare a forward and backward pass of our twelve architectures with segmentation_models_pytorch's, in turns.

Prints ratios above 1 where we are faster, and our peak memory as a share of theirs.
"""

import argparse
import gc
import statistics
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import segmentation_models_pytorch as smp
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from segtrain import create_model

ENCODERS = {"dpt": "vit_tiny_patch16_224", "segformer": "mit_b0"}
THEIRS = {
    "deeplabv3": smp.DeepLabV3,
    "deeplabv3plus": smp.DeepLabV3Plus,
    "dpt": smp.DPT,
    "fpn": smp.FPN,
    "linknet": smp.Linknet,
    "manet": smp.MAnet,
    "pan": smp.PAN,
    "pspnet": smp.PSPNet,
    "segformer": smp.Segformer,
    "unet": smp.Unet,
    "unetplusplus": smp.UnetPlusPlus,
    "upernet": smp.UPerNet,
}


def main() -> None:
    """Measure and print one line for each architecture and precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archs", nargs="*", default=sorted(THEIRS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--precision", choices=["fp32", "bf16"], nargs="*", default=["fp32", "bf16"])
    parser.add_argument("--encoder", default="resnet34")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for precision in options.precision:
        speeds = []
        for arch in options.archs:
            models = build(arch, ENCODERS.get(arch, options.encoder), precision)
            image = torch.randn(options.batch, 3, options.size, options.size)
            if precision == "bf16":
                image = image.contiguous(memory_format=torch.channels_last)
            memory = [peak_memory(model, image, precision) for model in models]
            ours, theirs = times(models, image, precision, options.rounds)
            speeds.append(statistics.median(b / a for a, b in zip(ours, theirs, strict=True)))
            print(
                f"{precision} {arch:<14} ours {1000 * statistics.median(ours):6.0f} ms, "
                f"SMP {1000 * statistics.median(theirs):6.0f} ms, speed {speeds[-1]:.2f}, "
                f"memory {memory[0] / 2**20:5.0f} of {memory[1] / 2**20:5.0f} MiB, {memory[0] / memory[1]:.2f}",
                flush=True,
            )
        print(f"{precision} geometric mean {statistics.geometric_mean(speeds):.2f}, least {min(speeds):.2f}")


def build(arch: str, encoder: str, precision: str) -> list[nn.Module]:
    """Build ours and theirs, with the same options and layout."""
    torch.manual_seed(0)
    extra = {"dynamic_img_size": True} if arch == "dpt" else {}
    prefix = "tu-" if arch == "dpt" else ""
    theirs = THEIRS[arch](prefix + encoder, encoder_weights=None, classes=4, **extra)
    models = [create_model(arch, encoder, num_classes=4), theirs]
    layout = torch.channels_last if precision == "bf16" else torch.contiguous_format
    return [model.train().to(memory_format=layout) for model in models]


@contextmanager
def autocast(precision: str) -> Iterator[None]:
    """Compute in that precision."""
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        yield


def step(model: nn.Module, image: torch.Tensor, precision: str) -> None:
    """Go forward and backward once."""
    with autocast(precision):
        logits = model(image)
    logits.float().square().mean().backward()
    model.zero_grad(set_to_none=True)


def times(models: list[nn.Module], image: torch.Tensor, precision: str, rounds: int) -> list[list[float]]:
    """Return the seconds of each round of each model, measured in turns after a round that does not count."""
    seconds: list[list[float]] = [[] for _ in models]
    for number in range(rounds + 1):
        order = list(enumerate(models))
        for which, model in order if number % 2 else order[::-1]:
            gc.collect()
            start = time.perf_counter()
            step(model, image, precision)
            if number:
                seconds[which].append(time.perf_counter() - start)
    return seconds


def peak_memory(model: nn.Module, image: torch.Tensor, precision: str) -> int:
    """Return the most bytes that a step holds at once beyond what was there before."""
    step(model, image, precision)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step(model, image, precision)
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


if __name__ == "__main__":
    main()
