"""Group normalisation (Wu and He 2018, https://arxiv.org/abs/1803.08494) that trains fast in bf16 on CPUs."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_native = torch.ops.aten
_LEAST_PIXELS = 16  # of few values little but their mean is left out of a gradient, which bf16 would round away


def quicken_group_norm(model: nn.Module) -> int:
    """Give group normalisations the backward pass of `_GroupNorm`; return how many.

    torch's own takes ten times its forward pass in the channels_last layout in bf16 (2.14): six times as long as here.
    In other layouts and precisions, and on other devices, nothing changes; weights and ``state_dict`` never do.
    """
    found = [module for module in model.modules() if type(module) is nn.GroupNorm and module.affine]
    for norm in found:
        norm.__class__ = QuickGroupNorm  # parameters stay the same objects, which an optimizer may hold already
    return len(found)


class QuickGroupNorm(nn.GroupNorm):
    """`nn.GroupNorm` with the backward pass of `_GroupNorm` for maps in bf16 and channels_last on CPUs."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(N, C, H, W)``."""
        is_bf16 = input.device.type == "cpu" and input.dtype == torch.bfloat16
        is_last = input.ndim == 4 and input.is_contiguous(memory_format=torch.channels_last)
        if not (is_bf16 and is_last and input.requires_grad and input[0, 0].numel() >= _LEAST_PIXELS):
            return super().forward(input)
        found: Tensor = _GroupNorm.apply(input, self.weight, self.bias, self.num_groups, self.eps)
        return found


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        count, channels, height, width = x.shape
        out, mean, scale = _native.native_group_norm(x, weight, bias, count, channels, height * width, groups, eps)
        ctx.save_for_backward(x, weight, mean, scale)  # scale is 1 / standard deviation; both are (N, groups)
        ctx.eps = eps
        normalized: Tensor = out
        return normalized

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, weight, mean, scale = ctx.saved_tensors
        count, channels, height, width = x.shape
        groups = mean.shape[1]
        members = channels // groups
        mean, scale = (each.float().repeat_interleave(members, dim=1) for each in (mean, scale))  # (N, C)

        def over_group(sums: Tensor) -> Tensor:
            """Average weighted sums over the pixels of a channel ``(N, C)`` over pixels and channels of its group."""
            of_groups: Tensor = (sums * weight.float()).view(count, groups, members).sum(2) / (members * height * width)
            return of_groups.repeat_interleave(members, dim=1)

        # Batch normalisation of one image sums the same over pixels, and is fast. Its own gradient is not asked for.
        sums = [
            _native.native_batch_norm_backward(
                grad[i : i + 1], x[i : i + 1], weight, None, None, mean[i], scale[i], True, ctx.eps, [False, True, True]
            )[1:]
            for i in range(count)
        ]
        to_weight, to_bias = (torch.stack(each) for each in zip(*sums, strict=True))  # (N, C)
        tilt, shift = over_group(to_weight), over_group(to_bias)
        # the gradient is scale * (weight * grad - shift - normalized * tilt), with normalized = (x - mean) * scale
        factors = (scale * weight.float(), scale * (scale * mean * tilt - shift), -scale.square() * tilt)
        of_grad, constant, of_x = (each.to(grad.dtype).view(count, channels, 1, 1) for each in factors)
        to_x: Tensor = torch.addcmul(constant, grad, of_grad).addcmul_(x, of_x)
        return to_x, to_weight.sum(0), to_bias.sum(0), None, None
