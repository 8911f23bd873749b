"""A model that the installed timm has and the shipped table does not know, as after an update of timm."""

import sys
from contextlib import contextmanager
from copy import copy

from timm.models import _registry, build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, ResNet

NAME = "resnet_of_tomorrow"


@contextmanager
def newer_timm(**tags):
    """Register a tiny residual network whose weights have these tags, given as ``tag=PretrainedCfg fields``."""
    own = {
        key: copy(value) for key, value in vars(_registry).items() if key.startswith("_mod") and hasattr(value, "copy")
    }
    assert own
    module = sys.modules[__name__]
    common = {"input_size": (3, 64, 64), "first_conv": "conv1", "classifier": "fc", "num_classes": 10}
    module.default_cfgs = generate_default_cfgs(
        {f"{NAME}.{tag}": {**common, **fields} for tag, fields in tags.items()} or {NAME: common}
    )
    try:
        register_model(resnet_of_tomorrow)
        yield NAME
    finally:
        for key, value in own.items():
            getattr(_registry, key).clear()
            getattr(_registry, key).update(value)


def resnet_of_tomorrow(pretrained=False, **options):
    options = {"block": BasicBlock, "layers": (1, 1, 1, 1), "channels": (8, 8, 16, 24), **options}
    return build_model_with_cfg(ResNet, NAME, pretrained, **options)
