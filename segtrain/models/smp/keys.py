"""Tensor names of segmentation_models_pytorch's own encoders, translated to timm's.

Most encoders have timm's names already. EfficientNets and MobileNetV2 number their blocks through
there, timm by stage.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

Block: TypeAlias = tuple[int, int]
"""The stage of a block, and its number within the stage."""

_EFFICIENTNET = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_MOBILENET = {"0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2": "conv_pwl", "3": "bn3"}
_MOBILENET_FIRST = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}
_MOBILENET_HEAD = {"0": "conv_head", "1": "bn2"}
_WITHOUT_EXPANSION = {"conv_dw": "conv_dw", "bn2": "bn1", "conv_pwl": "conv_pw", "bn3": "bn2"}
"""Parts of a block without expansion, as in the first stage: timm counts its layers from the depthwise one."""
_MOBILEONE = [
    (r"^stage0\.", "stem."),
    (r"\.rbr_conv\.", ".conv_kxk."),
    (r"\.rbr_scale\.", ".conv_scale."),
    (r"\.rbr_skip\.", ".identity."),
    (r"\.se\.reduce\.", ".attn.fc1."),
    (r"\.se\.expand\.", ".attn.fc2."),
]


def timm_key(encoder: str, key: str, blocks: Sequence[Block]) -> str:
    """Translate the name of a tensor of an encoder there to timm's.

    ``blocks`` are those of timm's model, in order. Tensors behind the last of them may keep their
    names.
    """
    if encoder.startswith("efficientnet-"):
        return _efficientnet_key(key, blocks)
    if encoder == "mobilenet_v2":
        return _mobilenet_key(key, blocks)
    if encoder.startswith("mobileone"):
        return _mobileone_key(key)
    return key


def find_blocks(keys: Iterable[str]) -> list[Block]:
    """List the blocks of timm's EfficientNet or MobileNet, by the names of its tensors."""
    found = (re.match(r"blocks\.(\d+)\.(\d+)\.", key) for key in keys)
    return sorted({(int(match[1]), int(match[2])) for match in found if match})


def _efficientnet_key(key: str, blocks: Sequence[Block]) -> str:
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+?)\.(\w+)", key)
    if not match:
        stem = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
        part, _, tensor = key.partition(".")
        return f"{stem.get(part, part)}.{tensor}"
    if int(match[1]) >= len(blocks):  # behind the last map, where our encoder ends
        return key
    stage, number = blocks[int(match[1])]
    part = _EFFICIENTNET[match[2]]
    if stage == 0:
        part = _WITHOUT_EXPANSION.get(part, part)
    return f"blocks.{stage}.{number}.{part}.{match[3]}"


def _mobilenet_key(key: str, blocks: Sequence[Block]) -> str:
    match = re.fullmatch(r"features\.(\d+)\.(?:conv\.)?([\d.]+)\.(\w+)", key)
    if not match:
        return key
    index, part, tensor = int(match[1]), match[2], match[3]
    if index == 0:  # the stem, so that blocks count from 1
        return f"{('conv_stem', 'bn1')[int(part)]}.{tensor}"
    if index > len(blocks):
        return f"{_MOBILENET_HEAD[part]}.{tensor}" if part in _MOBILENET_HEAD else key
    stage, number = blocks[index - 1]
    return f"blocks.{stage}.{number}.{(_MOBILENET if stage else _MOBILENET_FIRST)[part]}.{tensor}"


def _mobileone_key(key: str) -> str:
    key = re.sub(r"^stage([1-4])\.", lambda match: f"stages.{int(match[1]) - 1}.", key)
    for pattern, renamed in _MOBILEONE:
        key = re.sub(pattern, renamed, key)
    return key
