"""The same weights in a model of ours and in one of segmentation_models_pytorch's, and what has to agree then."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from segtrain.models import create_model

Renaming = Callable[[str], str | None]


def same(key: str) -> str | None:
    return key


def pair(
    theirs: nn.Module, arch: str, encoder: str, *, rename: Renaming = same, num_classes: int = 3, **options: Any
) -> tuple[nn.Module, nn.Module]:
    """Build our twin of their model; ``rename`` maps their keys to ours, to None what they store and never use."""
    torch.manual_seed(1)
    for name, buffer in theirs.named_buffers():  # statistics that differ from their initial values
        if name.endswith("running_mean"):
            buffer.normal_(std=0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    ours = create_model(arch, encoder, num_classes=num_classes, **options)
    state = {rename(key): value for key, value in theirs.state_dict().items()}
    state.pop(None, None)
    ours.load_state_dict(state)
    return ours, theirs


def assert_close(ours: Tensor, theirs: Tensor, *, tolerance: float = 1e-5) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max() + 1e-12


def assert_same_logits(ours: nn.Module, theirs: nn.Module, size: tuple[int, int] = (64, 96)) -> None:
    """Compare in float64: in float32 two orders of the same sums may differ by more, after norms of few pixels."""
    image = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert_close(ours.double().eval()(image), theirs.double().eval()(image), tolerance=1e-9)


def assert_same_gradients(
    ours: nn.Module, theirs: nn.Module, *, rename: Renaming = same, size: tuple[int, int] = (64, 64)
) -> None:
    """Compare a step in training mode in float64; dropout has to be 0."""
    image = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    gradients = []
    for model in (ours, theirs):
        model.double().train()(image).square().mean().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    expected = {rename(name): gradient for name, gradient in gradients[1].items()}
    assert gradients[0].keys() == expected.keys() == {name for name, _ in ours.named_parameters()}
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name, gradient in gradients[0].items():
        assert (gradient - expected[name]).abs().max() <= 1e-5 * largest, name
