"""Building the optimizer of a run over the parameter groups of its model."""

from typing import Any

from torch import nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from segtrain.build.parts import construct
from segtrain.config.schema import OptimizerConfig
from segtrain.config.signature import TARGET, locate, parameters_of
from segtrain.errors import ConfigError
from segtrain.models.encoders.layers import layers_to_decoder
from segtrain.optim.parameter_groups import parameter_groups
from segtrain.runtime.device import Runtime

_FUSED = {f"torch.optim.{name}" for name in ("Adam", "AdamW", "SGD")}
_FUSED_IN_SHARDS = {"torch.optim.Adam", "torch.optim.AdamW"}  # of weights that are shared out (torch 2.14)
_FUSES = ("cpu", "cuda")  # devices that torch has them fused for


def build_optimizer(
    config: OptimizerConfig, model: nn.Module, runtime: Runtime, *, encoder: nn.Module | None = None
) -> Optimizer:
    """Build the optimizer over grouped parameters, fused where torch has it for the device.

    ``encoder`` is one like the model's, to see the order of its layers, where that cannot be run alone. Raises
    `ConfigError` for a weight decay that the optimizer does not know, and for groups without parameters.
    """
    name = config.leaf[TARGET]
    target = locate(name, "optimizer")
    takes = parameters_of(target)
    is_open = any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values())
    options: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    if "weight_decay" not in takes and not is_open and options.pop("weight_decay"):
        raise ConfigError(
            f"optimizer.weight_decay={config.weight_decay:g}: {name} has none; set optimizer.weight_decay=0"
        )
    is_sharded = any(isinstance(parameter, DTensor) for parameter in model.parameters())
    if name in (_FUSED & _FUSED_IN_SHARDS if is_sharded else _FUSED) and runtime.device.type in _FUSES:
        options["fused"] = True
    groups = parameter_groups(
        model,
        lr=config.lr,
        weight_decay=config.weight_decay,
        encoder_lr_factor=config.encoder_lr_factor,
        layer_decay=config.layer_decay,
        layers=layers_to_decoder(encoder or model.encoder) if config.layer_decay is not None else {},  # type: ignore[arg-type]
        decay_positions=config.decay_positions,
        groups=config.groups or {},
        matrices_apart=getattr(target, "takes_matrices_apart", False),
    )
    optimizer: Optimizer = construct(config.leaf, "optimizer", params=groups, **options)
    return optimizer
