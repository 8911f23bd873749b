"""What other libraries call weights: the one table that maps their names to timm's tags."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

SMP_WEIGHTS: dict[str, tuple[str, ...]] = {
    "noisy-student": ("*.ns_jft_in1k",),
    "noisy-student-475": ("*.ns_jft_in1k_475",),
    "advprop": ("*.ap_in1k",),
    "ssl": ("*.fb_ssl_yfcc100m_ft_in1k",),
    "swsl": ("*.fb_swsl_ig1b_ft_in1k",),
    "instagram": ("*.fb_wsl_ig1b_ft_in1k",),
    "imagenet+5k": ("dpn68b.mx_in1k", "dpn92.mx_in1k", "dpn107.mx_in1k"),
    "imagenet+background": ("inception_*.tf_in1k",),  # one more class, which an encoder has not
    "imagenet21k": ("*.*in21k", "*.*in22k"),  # of the full ImageNet, not tuned on its thousand classes
}
"""Patterns of ``name.tag``; the first of a model's weights that matches is meant."""


def choose(weights: str, arch: str, tags: Sequence[str]) -> str | None:
    """Return the tag that ``weights`` means among those of a timm model, ``None`` if none of them."""
    if weights in tags:
        return weights
    patterns = SMP_WEIGHTS.get(weights, ())
    return next((tag for tag in tags if any(fnmatchcase(f"{arch}.{tag}", pattern) for pattern in patterns)), None)


def synonyms(arch: str, tags: Sequence[str]) -> dict[str, str]:
    """Map the other names that a model's weights go by to their tags."""
    chosen = {name: choose(name, arch, tags) for name in SMP_WEIGHTS}
    return {name: tag for name, tag in chosen.items() if tag is not None}
