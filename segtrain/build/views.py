"""The pictures of ``segtrain compare``: both models' predictions for the images that changed most."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from segtrain.config.renamed import with_current_names
from segtrain.config.schema import CompareConfig, Precision
from segtrain.data.files.labels import LabelMap
from segtrain.data.files.mask_pairs import pair_class_masks, pair_masks
from segtrain.data.formats.valued import STANDS_FOR
from segtrain.data.palette import colour_names, colours_of
from segtrain.data.sample import Source
from segtrain.drawing.pictures import as_rgb, stack_with_legend
from segtrain.errors import DataError, SegtrainError
from segtrain.evaluation.differences import Change, Shown, draw
from segtrain.evaluation.mask_files import Scorer
from segtrain.evaluation.reports import Report
from segtrain.run.opening import Opened
from segtrain.storage import write_picture
from segtrain.task import IGNORE_INDEX, make_task
from segtrain.terminal.slow_imports import import_heavy

log = logging.getLogger(__name__)

View: TypeAlias = Callable[[str], Shown]
"""Returns an image by its id, with truth and prediction, as a report saw it."""


def draw_changes(
    file: Path, a: Report, b: Report, changes: Sequence[Change], config: CompareConfig, *, trusted: Sequence[str]
) -> None:
    """Write a picture of the images that changed; warns where they are no longer available."""
    file.unlink(missing_ok=True)  # the picture of an earlier comparison
    changed = [change for change in changes if change.difference]
    if not changed:
        return
    task = make_task(a.mode, a.class_names)
    colours = colours_of(task)
    try:
        view_a, view_b = (view_of(report, config.device, config.precision, trusted=trusted) for report in (a, b))
        rows = [draw(change, view_a(change.id), view_b(change.id), colours) for change in changed]
    except SegtrainError as error:
        log.warning("no pictures: %s", error)
        return
    write_picture(file, stack_with_legend(rows, colour_names(task), colours))


def view_of(report: Report, device: str, precision: Precision, *, trusted: Sequence[str]) -> View:
    """Return a view of what a report is of, by its model on that device, or by mask files.

    ``trusted`` are classes of the user's own that the checkpoint may build. Raises `SegtrainError` where the model is
    gone; the view does for data that is gone.
    """
    return _view_of_model(report, device, precision, trusted) if "ckpt" in report.about else _view_of_masks(report)


def _view_of_model(report: Report, device: str, precision: Precision, trusted: Sequence[str]) -> View:
    """Return a view that predicts again with the model, as when it was scored."""
    import_heavy("segtrain.build.restore")
    from segtrain.build.parts import checked_config, construct
    from segtrain.build.restore import make_predictor
    from segtrain.run import checkpoint, opening

    file, evaluated = Path(report.about["ckpt"]), with_current_names(yaml.safe_load(report.about["config"]))
    payload = opening.read(file)
    for known in (payload["config"], evaluated):
        checkpoint.check_targets(known, file, named_by_user=trusted)
    job = checked_config(evaluated)
    source: Source = construct(job.data.leaf, "data", split=report.about["split"])
    others = [_member(Path(each), evaluated, trusted) for each in report.about.get("others", ())]
    predictor = make_predictor(payload, evaluated, file, device=device, precision=precision, others=others)
    places = {name: number for number, name in enumerate(source.ids)}

    def view(name: str) -> Shown:
        if name not in places:
            raise DataError(f"{name}: is not in the data any more, expected what was scored; restore it")
        image, mask, _ = source[places[name]]
        reduced = source.reduced(places[name], predictor.preprocess.fitting.least_size).image
        return Shown(as_rgb(image, predictor.value_range), mask, predictor.predict(image, reduced))

    return view


def _member(file: Path, evaluated: Mapping[str, Any], trusted: Sequence[str]) -> Opened:
    """Open another checkpoint of a mean, to see images as it was scored."""
    from segtrain.run import checkpoint, opening

    payload = opening.read(file)
    checkpoint.check_targets(payload["config"], file, named_by_user=trusted)
    return Opened(file, payload, {**payload["config"], "data": evaluated["data"], "infer": evaluated["infer"]})


def _view_of_masks(report: Report) -> View:
    """Return a view that reads the mask files that were scored."""
    about, task = report.about, make_task(report.mode, report.class_names)
    pred, truth = Path(about["pred"]), Path(about["truth"])
    names = task.class_names if task.classes_overlap else ()
    truth_labels, pred_labels = (
        LabelMap(task.value_names, class_map=about.get(key)) for key in ("truth_map", "pred_map")
    )
    missing = STANDS_FOR.get(about.get("missing", "error"), IGNORE_INDEX)
    scorer = Scorer(task=task, truth_labels=truth_labels, pred_labels=pred_labels, missing=missing)
    gone = DataError(f"{truth}: no masks there and in {pred} as they were scored, expected them still; restore them")
    try:
        pairs, _ = pair_class_masks(pred, truth, names, complete=False) if names else pair_masks(pred, truth)
    except DataError:
        raise gone from None
    places = {pair.id: pair for pair in pairs}

    def view(name: str) -> Shown:
        if name not in places:
            raise gone
        prediction, target = scorer.read(places[name])
        return Shown(None, target, prediction)

    return view
