"""The smallest encoder of each family: of each of timm's modules that define some."""

import timm

import segtrain.models.encoders.timm_encoder  # noqa: F401 - registers those that timm lacks
from segtrain.catalog import index
from segtrain.catalog.index import Row


def smallest(most_macs: float) -> dict[str, Row]:
    """Name families as timm's modules are called; those of more multiply-accumulates at 256x256 are left out."""
    found: dict[str, Row] = {}
    for row in sorted((index.lookup(name) for name in index.names()), key=lambda row: row.macs):
        family = timm.models.model_entrypoint(row.name).__module__.rpartition(".")[2]
        if row.macs <= most_macs:
            found.setdefault(family, row)
    return found
