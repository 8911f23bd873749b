"""A folder for a model hub: weights, config and model card; uploaded through huggingface_hub if asked to."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segtrain.build.exporting import write_safetensors
from segtrain.build.restore import restore
from segtrain.errors import ConfigError
from segtrain.models.smp.written import smp_config
from segtrain.run import portable
from segtrain.storage import write_text

log = logging.getLogger(__name__)

_UPLOADED = [portable.WEIGHTS, portable.CONFIG, portable.CARD]
_HEADLINES = ("iou", "iou_imagewise", "f1", "accuracy")


def write(folder: Path, payload: Mapping[str, Any], description: str, *, run: Path | None) -> None:
    """Write weights, config.json and README.md into a folder, which is made; scores are those of the run, if known.

    The config is that of segmentation_models_pytorch too where it has an equal model. What else lies in the folder
    stays. Raises `ConfigError` where the path is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output={folder}: is a file, expected a folder for format=hub_folder; choose another")
    model, _ = restore(payload, folder)
    theirs = smp_config(model, payload["config"]["arch"], payload["config"]["encoder"].get("depth"))
    if payload["config"]["arch"].get("aux_heads"):
        theirs = "it has no auxiliary heads"  # of training alone, but stored
    if isinstance(theirs, str):
        log.info("segmentation_models_pytorch cannot open it, as %s; segtrain.load_model does", theirs)
        theirs = {}
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(payload, folder / portable.WEIGHTS, description)
    about = {**theirs, f"_{portable.KEY}": json.loads(description)}
    write_text(folder / portable.CONFIG, json.dumps(about, indent=2, ensure_ascii=False) + "\n")
    write_text(folder / portable.CARD, card(payload, opens_in_smp=bool(theirs), run=run))


def without_places(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config without the paths of this machine, which others need not see: data, weights, runs."""
    data, encoder = dict(job["data"]), dict(job["encoder"])
    if isinstance(data.get("root"), str):
        data["root"] = Path(data["root"]).name
    if encoder.get("weights") is not None:
        encoder["weights"] = None
    return {**job, "data": data, "encoder": encoder, "resume": None, "init_from": None}


def card(payload: Mapping[str, Any], *, opens_in_smp: bool, run: Path | None) -> str:
    """Write the model card: classes, preprocessing, how to use it, and the scores of the run."""
    config = payload["config"]
    arch = config["arch"]["_target_"].rpartition(".")[2]
    encoder = config["encoder"].get("name", "an encoder of its own")
    lines = [
        "---",
        "library_name: segtrain",
        "pipeline_tag: image-segmentation",
        "# license: of your choice, such as apache-2.0; mind those of the data and of pretrained weights",
        "tags: [image-segmentation, semantic-segmentation, segtrain]",
        "---",
        "",
        f"# {arch} on {encoder}",
        "",
        f"A {payload['mode']} segmentation model, trained with segtrain.",
        "",
        "## Use",
        "",
        "```python",
        "from segtrain import Predictor",
        "",
        'labels = Predictor("this_folder")("photo.jpg")  # (H, W), or 0 and 1 of each class, (C, H, W)',
        "```",
        "",
        "`segtrain predict this_folder photos masks` writes masks; `segtrain.load_model` gives the torch module.",
        *_smp(payload, opens_in_smp),
        "",
        "## Classes",
        "",
        *_classes(payload),
        "",
        "## Preprocessing",
        "",
        *_preprocessing(payload),
        "",
        "## Scores",
        "",
        *_scores(run),
        "",
    ]
    return "\n".join(lines)


def _smp(payload: Mapping[str, Any], opens: bool) -> list[str]:
    if not opens:
        return []
    mean, std = payload["normalize"]["mean"], payload["normalize"]["std"]
    return [
        "`segmentation_models_pytorch.from_pretrained` opens it too; there images are yours to bring to their size,",
        f"and to normalise: 0..1, minus {_numbers(mean)}, over {_numbers(std)}.",
    ]


def _classes(payload: Mapping[str, Any]) -> list[str]:
    first = 1 if payload["mode"] == "binary" else 0  # 0 is the background
    rows = [f"| {number} | {name} |" for number, name in enumerate(payload["class_names"], first)]
    labels = payload.get("image_classes") or ()
    more = ["", f"Labels of whole images: {', '.join(labels)}."] if labels else []
    return ["| label | class |", "| --- | --- |", *rows, *more]


def _preprocessing(payload: Mapping[str, Any]) -> list[str]:
    data, normalize = payload["config"]["data"], payload["normalize"]
    size = data["image_size"]
    high, wide = (size, size) if isinstance(size, int) else size
    fits = {
        "stretch": f"stretched to {high}x{wide} (height x width)",
        "pad": f"brought to {high}x{wide} (height x width), aspect ratio kept, the rest padded with 0 below and right",
        "none": "left at their own size",
    }
    point = payload.get("operating_point") or {}
    lines = [
        f"- {len(normalize['mean'])} channels, {fits[data['fit']]}",
        f"- scaled to 0..1, minus {_numbers(normalize['mean'])}, over {_numbers(normalize['std'])}",
    ]
    if normalize.get("input_range") is not None:
        lines.append(f"- black and white of the images: {normalize['input_range']}")
    if point.get("thresholds"):
        lines.append(f"- thresholds of the probabilities: {_numbers(point['thresholds'])}")
    if point.get("temperature", 1.0) != 1.0:
        lines.append(f"- temperature: {point['temperature']:.4f}")
    return lines


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _scores(run: Path | None) -> list[str]:
    """Write the scores that the run folder holds, by split; says where there are none."""
    file = None if run is None else run / "scores.json"
    try:
        held = json.loads(file.read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError):
        held = {}
    scored = {name: row for name, row in held.items() if isinstance(row, dict) and "iou" in row}
    if not scored:
        return ["None are stored with the checkpoint: `segtrain eval` measures them."]
    rows = [
        f"| {name} | {' | '.join(_number(row.get(key)) for key in _HEADLINES)} | {row.get('at', '')} |"
        for name, row in scored.items()
    ]
    return [f"| split | {' | '.join(_HEADLINES)} | at size |", f"|{' --- |' * (len(_HEADLINES) + 2)}", *rows]


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else ""


def push(folder: Path, repository: str, api: Any = None) -> None:
    """Upload a folder to a repository of the Hugging Face hub, which is made if there is none; ``api`` is for tests.

    Raises `ConfigError` where that fails: offline, without a token, or of another's repository.
    """
    from huggingface_hub import HfApi

    api = HfApi() if api is None else api
    try:
        api.create_repo(repository, exist_ok=True)
        found = api.upload_folder(repo_id=repository, folder_path=str(folder), allow_patterns=_UPLOADED)
    except Exception as error:  # of the network, the hub or the token: httpx, requests and its own, by version
        reason = " ".join(str(error).split())[:160]
        raise ConfigError(
            f"push={repository}: the upload failed ({type(error).__name__}: {reason}); {folder} is complete, so that "
            "the same line tries again; `hf auth login` stores a token"
        ) from None
    log.info("uploaded to %s", found)
