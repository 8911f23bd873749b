"""What `segtrain report` found with the model: mistakes in pictures, IoU by size and distance, suspected labels."""

import base64
import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from segtrain.config.words import counted
from segtrain.drawing.mistakes import EXTRA, FOUND, MISSED
from segtrain.drawing.page import Cell, Gallery, Picture, Section, Table
from segtrain.run.pages.reading import RunFiles
from segtrain.run.pages.scores import ends, score

SUSPECTS, LIST = "suspects.csv", "suspects.txt"
_LISTING = re.compile(r"data\.(train_list|val_list|test_list|split|limit)=")  # what chooses other images
_LISTED = 40  # suspects in the table of the page
_OPEN = 2  # classes whose pictures are unfolded at first


def images(run: RunFiles, look: Mapping[str, Any]) -> Section:
    """Show the worst and the best images of each class, with what is missed and what is too much."""
    key = [("found", _css(FOUND)), ("too much (false positive)", _css(EXTRA)), ("missed, striped", _css(MISSED))]
    groups: dict[tuple[str, str], list[Picture]] = {}
    for shown in look["shown"]:
        name, kind = shown["class_name"], shown["kind"]
        caption = (
            f"{shown['id']}: {name}, IoU {shown['iou']:.3f}, {counted(shown['fp'], 'pixel')} too much, "
            f"{shown['fn']} missed"
        )
        groups.setdefault((name, kind), []).append(Picture(_uri(run.place / shown["file"]), caption, caption))
    names = list(dict.fromkeys(name for name, _ in groups))
    galleries = [
        Gallery(f"{name}: the {kind} images", pictures, names.index(name) < _OPEN and kind == "worst", key)
        for (name, kind), pictures in groups.items()
    ]
    all_classes = len(look["by_size"])
    of = f" Of {all_classes} classes those with the least IoU." if len(names) < all_classes else ""
    words = [
        "By the IoU of the class in the image; images in which neither truth nor prediction has it are left out." + of
    ]
    if look["unseen"]:
        words.append(f"No pictures: {look['unseen']}")
    return Section("Images", words=words, galleries=galleries)


def by_size(look: Mapping[str, Any]) -> Section:
    """Show the mean IoU of objects by their size."""
    sides = [0, *look["sides"]]
    columns = ["class", *(f"{low}² to {high}² px" for low, high in pairwise(sides)), f"from {sides[-1]}² px"]
    columns[1] = f"below {sides[1]}² px"
    words = [
        "An object is a connected part of a class in the truth. Its IoU is the component-wise one (Chan et al. 2021): "
        "with all predicted parts of its class that touch it, without those pixels of theirs that are other objects. "
        "Below each mean are its interval and the number of objects."
    ]
    rows = _rows(look["by_size"], "object")
    return Section("Object size", words=words, tables=[Table("Mean IoU of objects, by area", columns, rows)])


def by_distance(look: Mapping[str, Any]) -> Section:
    """Show the IoU by the distance of pixels from the contour of the truth."""
    last = [0, *look["distances"]]
    columns = ["class", *(f"{low + 1} to {high} px" for low, high in pairwise(last)), f"above {last[-1]} px"]
    words = [
        "The IoU of the pixels in a band along the contour of the class in the truth, inside and outside, as of the "
        "trimaps of Kohli et al. (2009). Low in the first bands alone: outlines are imprecise; low far from it: "
        "whole objects are missed or invented. A band without a pixel of the class in the truth has IoU 0 if any is "
        "predicted there. Below each IoU are its interval and the pixels of the class."
    ]
    rows = _rows(look["by_distance"], "pixel")
    caption = "IoU by distance from the contour of the class"
    return Section("Distance from the border", words=words, tables=[Table(caption, columns, rows)])


def labels(run: RunFiles, look: Mapping[str, Any]) -> Section:
    """Show the regions whose label is most suspected, and how to go on with them."""
    suspects = look["suspects"]
    words = [
        "Regions where the model is sure of another label than the one given (confident disagreement, after Northcutt "
        "et al. 2021): by at least 0.5 of probability at every pixel, and wider than an outline. The score is the sum "
        "of the margins as a share of the image. A model can be sure and wrong: look before you relabel.",
    ]
    if run.name.partition("-")[0] == "train":
        words.append("The model was trained on these images: errors that it has learned by heart are not here.")
    if not suspects:
        return Section("Suspected labels", words=[*words, "None were found."])
    rows = [
        [
            f"{rank}. {each['id']}",
            each["given"],
            each["predicted"],
            f"{each['pixels']:,}",
            f"{each['margin']:.3f}",
            f"{each['score']:.4f}",
            f"{each['x']}, {each['y']}, {each['width']} x {each['height']}",
        ]
        for rank, each in enumerate(suspects[:_LISTED], 1)
    ]
    columns = ["image", "given", "predicted", "pixels", "margin", "score", "box: x, y, width x height"]
    pictures = [
        Picture(_uri(run.place / each["file"]), _described(each), _described(each))
        for each in suspects
        if "file" in each
    ]
    files = ", ".join(str(run.place / name) for name in (SUSPECTS, LIST))
    words.append(
        f"All {len(suspects)} are in {files}: a table with a column for your verdict, and a list of the images."
    )
    table = Table(f"The {len(rows)} most suspected regions", columns, rows, is_open=False)
    named = {each[which] for each in suspects if "file" in each for which in ("given", "predicted")}
    colours = look.get("colours", {})  # looks of earlier versions have none
    key = [(name, _css(colour)) for name, colour in colours.items() if name in named]
    gallery = Gallery("The most suspected regions: given labels, then predicted ones", pictures, True, key)
    return Section(
        "Suspected labels",
        words=words,
        galleries=[gallery] if pictures else [],
        tables=[table],
        commands=_commands(run),
    )


def _commands(run: RunFiles) -> list[str]:
    """Return the line that examines the suspected images, where the data takes lists of images: the run's own words."""
    words = shlex.split(run.record.words[0]) if run.record.words else []
    own = [word for word in words if word.startswith(("data=", "data.")) and not _LISTING.match(word)]
    if f"{run.name}_list" not in run.record.config["data"] or not any(word.startswith("data=") for word in own):
        return []
    chosen = [f"data.val_list={(run.place / LIST).resolve()}", "report=html"]
    return [" ".join(map(shlex.quote, ["segtrain", "check", *own, *chosen]))]


def _described(suspect: Mapping[str, Any]) -> str:
    return f"{suspect['id']}: given {suspect['given']}, predicted {suspect['predicted']}, score {suspect['score']:.4f}"


def _rows(table: Mapping[str, Sequence[Mapping[str, Any]]], thing: str) -> list[list[Cell | str]]:
    return [[name, *(_cell(each, thing) for each in cells)] for name, cells in table.items()]


def _cell(found: Mapping[str, Any], thing: str) -> Cell:
    if found["iou"] is None:
        return Cell("")
    support = f"{found['support']:,} {thing}{'s' * (found['support'] != 1)}"
    hint = [text for text in (ends(found["interval"]), support) if text]
    return Cell(score(found["iou"]), found["iou"], "\n".join(hint))


def _uri(file: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"


def _css(colour: Sequence[int]) -> str:
    return f"rgb{tuple(colour)}"
