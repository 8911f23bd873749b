"""Aliases of pretrained weights: names of other libraries, mapped to timm's tags."""

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
    "imagenet+background": ("inception_*.tf_in1k",),  # the extra class is in the classifier, which is dropped
    "imagenet21k": ("*.*in21k", "*.*in22k"),  # of the full ImageNet, not fine-tuned on its 1000 classes
}
"""Patterns of ``name.tag``; of a model's weights, the first that matches is meant."""


def choose(weights: str, arch: str, tags: Sequence[str]) -> str | None:
    """Return the tag of a timm model that ``weights`` means, a tag itself or an alias; ``None`` without one."""
    if weights in tags:
        return weights
    patterns = SMP_WEIGHTS.get(weights, ())
    for tag in tags:
        if any(fnmatchcase(f"{arch}.{tag}", pattern) for pattern in patterns):
            return tag
    return None


def synonyms(arch: str, tags: Sequence[str]) -> dict[str, str]:
    """Return the aliases that apply to a model's weights, mapped to their tags."""
    chosen = {name: choose(name, arch, tags) for name in SMP_WEIGHTS}
    return {name: tag for name, tag in chosen.items() if tag is not None}
