"""Checks of what masks say, over their values: soft edges, nothing drawn, one label alone, classes never drawn."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from segtrain.data.doctor.content import Edges
from segtrain.data.doctor.finding import Finding
from segtrain.data.doctor.mask_checks import Masks
from segtrain.data.files.labels import LabelMap, listing
from segtrain.task import IGNORE_INDEX

SOFT = 0.25  # of the steps in a mask that go through a value between; drawn masks have 1 to 5 %
_STEPS = 16  # in a mask, below which the share says nothing


def soft_edges(edges: Mapping[Path, Edges]) -> list[Finding]:
    """Find masks that were resized with interpolation, though each value has a label: an edge runs through others."""
    soft = [file for file, found in edges.items() if found.gradual + found.jumps >= _STEPS and _softness(found) > SOFT]
    if not soft:
        return []
    share = _softness(edges[soft[0]])
    text = f"{share:.0%} of the steps between its values go through a value between, which is another class"
    remedy = "save the mask again from where it is whole, resized without interpolation (nearest)"
    count = f"({len(soft)} masks are so)" if len(soft) > 1 else ""
    return [Finding("warning", "soft edges", tuple(soft), text, remedy, count)]


def _softness(edges: Edges) -> float:
    return edges.gradual / max(1, edges.gradual + edges.jumps)


def blank_masks(masks: Masks, labels: LabelMap, class_names: Sequence[str]) -> list[Finding]:
    """Find masks that hold one label alone: nothing is drawn, everything is ignored, or one class is everywhere.

    Labels that are not in ``class_names`` stand for background.
    """
    groups: dict[str, list[Path]] = {}
    for file, facts in masks:
        held = {labels.label_of(value) for value in facts.counts}
        if len(held) == 1 and (label := held.pop()) is not None:
            groups.setdefault(_what_is_alone(label, labels, class_names), []).append(file)
    findings = []
    for text, files in groups.items():
        kind = "empty mask" if text.startswith("nothing") else "uniform mask"
        remedy = (
            "draw what is missing, or leave it if that is so" if kind == "empty mask" else "look whether that is so"
        )
        count = f"({len(files)} of {len(masks)} masks are so)"
        findings.append(Finding("warning", kind, tuple(files), text, remedy, count))
    return findings


def _what_is_alone(label: int, labels: LabelMap, class_names: Sequence[str]) -> str:
    if label == IGNORE_INDEX:
        return "everything in it is ignored: it teaches nothing"
    name = labels.label_names[label]
    is_background = name not in class_names or (label == 0 and name.lower() in ("background", "bg"))
    return "nothing is drawn in it: all of it is background" if is_background else f"all of it is {name}"


def absent_classes(held: Mapping[str, Collection[str]], names: Sequence[str]) -> list[Finding]:
    """Find classes that no mask of a split holds; ``held`` are the names of those that are there, by split."""
    findings = []
    never = [name for name in names if not any(name in there for there in held.values())]
    if never:
        text = f"no mask at all holds {listing(never)}, expected each class of data.classes somewhere"
        remedy = "correct data.classes, or draw what is missing"
        findings.append(Finding("warning", "class never drawn", (), text, remedy))
    for split, there in held.items():
        missing = [name for name in names if name not in there and name not in never]
        if missing:
            text = f"no mask for {split} holds {listing(missing)}, expected each class in every split"
            remedy = "move images that show it there: its score would say nothing"
            findings.append(Finding("warning", "class absent in split", (), text, remedy))
    return findings
