"""Writing the page of one run from what its folder holds: at the end of training, and by `segtrain report`."""

import logging
import shlex
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from segtrain.drawing.page import Gallery, Page, Picture, Section, render
from segtrain.drawing.thumbnails import data_uri
from segtrain.run.pages import closer, history, scores
from segtrain.run.pages.reading import RunFiles
from segtrain.run.record import CONFIG
from segtrain.storage import write_text
from segtrain.version import __version__

log = logging.getLogger(__name__)

_OVERVIEW = 900  # pixels that overview.png is shrunk to, in width


def page_file(folder: Path, name: str) -> Path:
    """Return where the page of a report lies: ``report.html`` of ``val``, ``report-<name>.html`` of others."""
    return folder / ("report.html" if name == "val" else f"report-{name}.html")


def write_page(folder: Path, name: str = "val", *, file: Path | None = None) -> Path:
    """Write the page of a run on its report of that name; returns the file.

    Raises `SegtrainError` where the folder holds no run, or files of another content.
    """
    run = RunFiles.of(folder, name)
    file = file or page_file(folder, name)
    write_text(file, render(page_of(run)))
    return file


def leave_page(folder: Path) -> None:
    """Write the page at the end of a training, from what training left; whatever fails there is a warning."""
    if not (folder / CONFIG).is_file():  # a trainer in somebody's own code, whose folder is no run's
        return
    command = f"segtrain report {shlex.quote(str(folder))}"
    try:
        file = write_page(folder)
    except Exception as error:  # a finished training must not fail for its page
        log.warning("no report (%s: %s); to write it: %s", type(error).__name__, error, command)
        return
    log.info("%s shows how it went; with pictures of mistakes and more: %s", file, command)


def page_of(run: RunFiles) -> Page:
    """Put the sections of a run together; those that its folder has nothing for are left out."""
    report, look = run.report, run.look
    sections: list[Section | None] = [history.curves(run)]
    numbers: Sequence[tuple[str, str, str]] = ()
    if report is not None:
        intervals = scores.intervals_of(report)
        numbers = scores.headlines(report, intervals)
        sections = [
            scores.overview(run, report, intervals),
            *sections,
            scores.classes(report, intervals),
            scores.confusion(run),
            scores.thresholds(run, report, intervals),
            scores.calibration(report, intervals),
        ]
    if look is not None:
        sections += [closer.images(run, look), closer.by_size(look), closer.by_distance(look), closer.labels(run, look)]
    else:
        sections.append(_not_looked_at(run))
    sections += [history.config(run), history.machine(run)]
    config = run.record.config
    return Page(
        title=f"{config.get('name', run.folder.name)}: {run.name}",
        summary=str(run.folder.resolve()),
        numbers=numbers,
        sections=[section for section in sections if section is not None],
        footer=f"Written by segtrain {__version__} from the run folder; this page fetches nothing from elsewhere.",
    )


def _not_looked_at(run: RunFiles) -> Section:
    """Name the command that looks at the model's mistakes; with the overview that training drew, if there is one."""
    command = f"segtrain report {shlex.quote(str(run.folder))}"
    words = [
        "What needs the model once more is not here yet: thresholds and calibration, the worst and best images of each "
        "class, IoU by object size and distance from the border, suspected label errors."
    ]
    overview = run.folder / "overview.png"
    galleries = []
    if overview.is_file():
        text = "Images, their truth and predictions, as training saw them: the best and the worst by IoU"
        galleries = [Gallery("Overview", [Picture(_shrunk(overview), text, text)], is_open=True)]
    return Section("Images", words=words, galleries=galleries, commands=[command])


def _shrunk(file: Path) -> str:
    """Encode a picture file at no more than the width of a page."""
    with Image.open(BytesIO(file.read_bytes())) as picture:
        rgb = picture.convert("RGB")
        rgb.thumbnail((_OVERVIEW, 10 * _OVERVIEW))
    return data_uri(np.asarray(rgb))
