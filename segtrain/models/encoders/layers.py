"""How deep in an encoder each parameter lies, for learning rates that decay layer by layer."""

import re

from segtrain.models.contract import Encoder
from segtrain.models.encoders.freezing import first_maps

_BLOCK = re.compile(r"model\.blocks\.(\d+)\.")
_LAST = re.compile(r"model\.(?:fc_)?norm\d*\.")  # behind all blocks


def layers_to_decoder(encoder: Encoder) -> dict[str, int]:
    """Return for each parameter how many layers lie between it and the decoder, itself included.

    In a plain transformer a layer is a block (Bao et al. 2022, BEiT, appendix); what comes before the blocks is one
    more. In an encoder whose maps have several strides it is a stage, the first with the stem (Liu et al. 2022,
    ConvNeXt). 1 is the layer next to the decoder; what is new, such as a pyramid over a transformer, has 0.
    """
    names = [name for name, _ in encoder.named_parameters()]
    blocks = {name: int(found[1]) for name in names if (found := _BLOCK.match(name))}
    is_plain = getattr(encoder, "pyramid", None) is not None or getattr(encoder, "layout", "pyramid") == "tokens"
    if not (is_plain and blocks):
        stages = first_maps(encoder)
        last = max(stages.values(), default=1)
        return {name: last - stages.get(name, last) + 1 for name in names}
    count = max(blocks.values()) + 1
    return {name: _layer_of_plain(name, blocks.get(name), count) for name in names}


def _layer_of_plain(name: str, block: int | None, count: int) -> int:
    if not name.startswith("model.") or _LAST.match(name):
        return 0
    return count + 1 if block is None else count - block
