"""Input checks of losses and metrics: logits and labels in the layout of `Task`, or one clear error.

In a binary or multiclass task a target may have an axis for its one map, ``(N, 1, H, W)``, and in a
multilabel task with one class may lack it: both are unambiguous. Labels may have any integer type,
bool, or floats that are whole numbers. All other shapes would broadcast, or be read as something
else, and are refused.
"""

from collections.abc import Sequence
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segtrain.errors import ConfigError, DataError
from segtrain.suggest import did_you_mean
from segtrain.task.kinds import Mode, Task, make_task

# uint16 and wider unsigned types are missing, as torch supports few operations on them.
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_EXAMPLE = 'task=make_task("multiclass", ["sky", "cat"])'


def find_task(task: Task | Mode | None, mode: Mode | None = None, *, num_classes: int | None = None) -> Task | Mode:
    """Return the task, given as such or as a mode under either name; or the mode, if its classes are unknown.

    A binary task has one class; the other modes need ``num_classes``. Raises ConfigError for
    anything else.
    """
    if (task is None) == (mode is None):
        raise ConfigError(f"task: expected either a task or a mode, got {task!r} and mode {mode!r}; give mode='binary'")
    found = task if mode is None else mode
    if num_classes is not None and (isinstance(num_classes, bool) or not isinstance(num_classes, int)):
        raise ConfigError(f"num_classes: expected an integer, got {num_classes!r}; give num_classes=3")
    if isinstance(found, Task):
        if num_classes not in (None, found.out_channels):
            raise ConfigError(f"num_classes: {num_classes}, but {found} has {found.out_channels}; leave it out")
        return found
    if found is None or found not in get_args(Mode):
        hint = did_you_mean(str(found), get_args(Mode))
        raise ConfigError(f"mode: expected a task, binary, multiclass or multilabel, got {found!r}{hint}")
    if found == "binary":
        return make_task(found, 1 if num_classes is None else num_classes)
    return found if num_classes is None else make_task(found, num_classes)


def complete_task(task: Task | Mode | None, mode: Mode | None = None, *, num_classes: int | None = None) -> Task:
    """Find the task as `find_task` does; ConfigError without ``num_classes``, which labels alone do not tell."""
    found = find_task(task, mode, num_classes=num_classes)
    if isinstance(found, Task):
        return found
    raise ConfigError(f"num_classes: needed beside {found}, as labels need not show every class; give num_classes=3")


def with_names(found: Task | Mode, option: str) -> Task:
    """Return a task, whose classes have names; ConfigError for a mode alone, as ``option`` needs the names."""
    if isinstance(found, Task):
        return found
    raise ConfigError(f"{option}: goes by the classes, which {found} alone does not tell; give {_EXAMPLE}")


def task_of_logits(task: Task | Mode | None, mode: Mode | None, logits: Tensor) -> Task:
    """Return the given task, or that of a mode with as many classes as logits ``(N, C, H, W)`` have channels."""
    found = find_task(task, mode)
    if isinstance(found, Task):
        return found
    check_logits(logits)
    channels = logits.shape[1]
    if found == "multiclass" and channels == 1:
        raise ValueError(f"logits have shape {tuple(logits.shape)}, expected a channel for each class; mode is binary?")
    return make_task(found, channels)


def lay_out(target: Tensor, logits: Tensor, task: Task) -> Tensor:
    """Return the target of these logits in the layout of `Task`, without a copy where it has that already.

    Raises ValueError if the shapes do not fit together, and DataError for labels that the task does
    not have: at once on a CPU, on CUDA by a device assertion, without a synchronisation. While a
    graph is compiled or exported the values are not checked.
    """
    check_logits(logits, task, target)
    shape = tuple(logits.shape)
    expected = shape if task.classes_overlap else (shape[0], *shape[2:])
    target = _with_shape(target, expected, task, beside=logits, beside_name="logits")
    return to_labels(target, task)


def lay_out_maps(prediction: Tensor, target: Tensor, task: Task) -> tuple[Tensor, Tensor]:
    """Return predicted and true labels in the layout of `Task`, ``(N, H, W)`` or ``(N, C, H, W)``.

    Raises ValueError if the shapes do not fit together, or for dtypes that are not labels. Values
    are not checked.
    """
    _check_is_tensor("prediction", prediction)
    _check_is_tensor("target", target)
    if prediction.is_floating_point() or prediction.is_complex() or target.is_complex():
        raise ValueError(f"prediction is {prediction.dtype}, expected integer labels; logits become so by task.predict")
    _check_device("prediction", prediction, target)
    own = prediction.shape
    singleton = len(own) == 4 and own[1] == 1 and not task.classes_overlap
    shape = (own[0], *own[2:]) if singleton else tuple(own)  # (N, 1, H, W) to (N, H, W)
    # And (N, H, W) to (N, 1, H, W) for the one class of a multilabel task.
    if task.classes_overlap and len(own) == 3 and task.out_channels == 1:
        shape = (own[0], 1, *own[1:])
    if len(shape) != (4 if task.classes_overlap else 3) or (task.classes_overlap and shape[1] != task.out_channels):
        raise _mismatch("prediction", prediction, target, task)
    prediction = prediction.reshape(shape)
    target = _with_shape(target, shape, task, beside=prediction, beside_name="prediction")
    return as_integers(prediction), to_labels(target, task, checked=True)


def check_logits(logits: Tensor, task: Task | None = None, target: Tensor | None = None) -> None:
    """Raise ValueError unless logits are real, ``(N, out_channels, H, W)``, on the device of their target."""
    _check_is_tensor("logits", logits)
    if logits.is_complex():
        raise ValueError(f"logits are {logits.dtype}, expected floats")
    if target is not None:
        _check_is_tensor("target", target)
        _check_device("logits", logits, target)
    if logits.ndim != 4 or (task is not None and logits.shape[1] != task.out_channels):
        channels = "C" if task is None else task.out_channels
        classes = "" if task is None else f", a channel for each of {_listed(task.class_names)}"
        beside = "" if target is None else f" beside a target of shape {tuple(target.shape)}"
        raise ValueError(f"logits have shape {tuple(logits.shape)}{beside}, expected (N, {channels}, H, W){classes}")
    check_is_full("logits", logits)


def to_labels(target: Tensor, task: Task, *, checked: bool = False) -> Tensor:
    """Convert a target of any type and shape to integers, with the check of values that `lay_out` describes."""
    if not (checked or torch.compiler.is_compiling()):
        if target.is_cpu:
            require_labels(target, task)
        elif target.is_cuda:
            assert_labels(target, task)
    return as_integers(target)


def as_integers(labels: Tensor) -> Tensor:
    """Return labels of any type in an integer type that torch computes with."""
    if labels.dtype == torch.bool:
        return labels.view(torch.uint8)  # no copy, unlike `to`
    return labels if labels.dtype in _INTEGERS else labels.long()


def require_labels(target: Tensor, task: Task, *, ids: Sequence[str] | None = None) -> None:
    """Raise DataError with the first value that is no label of the task, and its place; for a target on the CPU.

    ``ids`` name the images.
    """
    if not target.numel():
        return
    labels = _as_numpy(target)
    if labels.dtype.kind in "iu":
        if counts_everywhere(target, task):
            return
        beyond = _unsigned(labels) >= task.num_labels
        if (labels[beyond] == task.ignore_index).all():
            return
    elif bool(_are_labels(target, task).all()):
        return
    raise stray_label(target, target, task, ids)


def counts_everywhere(target: Tensor, task: Task) -> bool:
    """Tell whether all of a target of integers on the CPU is in the range of labels: nothing ignored, nothing wrong."""
    return bool(_unsigned(_as_numpy(target)).max() < task.num_labels)


def _unsigned(labels: NDArray[np.generic]) -> NDArray[np.unsignedinteger]:
    """See what is negative as huge, so that one comparison tells what is in range."""
    return labels.view(f"u{labels.itemsize}")


def assert_labels(target: Tensor, task: Task) -> None:
    """Assert on the device that integers or floats are labels of the task, without a synchronisation.

    A CPU raises RuntimeError at once. CUDA reports it at the next call that waits, and is unusable
    after that.
    """
    torch._assert_async(_are_labels(target, task).all(), "the target holds what is no label of the task")


def stray_label(prediction: Tensor, target: Tensor, task: Task, ids: Sequence[str] | None = None) -> DataError:
    """Build the error for the first wrong label, of the target if it has one, with its value and place."""
    wrong, maps, name = ~_are_labels(target, task), target, "target"
    if not wrong.any():
        known = task.is_known(as_integers(target))
        wrong, maps, name = known & ~_in_range(prediction, task), prediction, "prediction"
    place = wrong.nonzero()[0].tolist()
    image = f"image {place[0] if ids is None else ids[place[0]]}"
    channel = f", class {task.class_names[place[1]]}" if task.classes_overlap and len(place) > 3 else ""
    value = maps[tuple(place)].item()
    if name == "prediction":
        remedy = ""
    elif isinstance(value, float):
        remedy = f" or {task.ignore_index} (ignored); give whole labels, as truth has no shades here"
    else:
        remedy = f" or {task.ignore_index} (ignored); data.ignore_index=[{value}] leaves it out"
    where = f"{image}{channel}: {name} holds {value:{'g' if isinstance(value, float) else ''}}"
    return DataError(f"{where} at row {place[-2]}, column {place[-1]}, expected 0..{task.num_labels - 1}{remedy}")


def _as_numpy(labels: Tensor) -> NDArray[np.generic]:
    """View a CPU tensor as an array; bfloat16, which numpy lacks, is widened."""
    labels = labels.detach()
    return (labels.float() if labels.dtype == torch.bfloat16 else labels).numpy()


def _are_labels(maps: Tensor, task: Task) -> Tensor:
    """Where values of any type are labels of the task, or ignored: bool."""
    return _in_range(maps, task) | ~task.is_known(maps if maps.is_floating_point() else as_integers(maps))


def _in_range(maps: Tensor, task: Task) -> Tensor:
    if not maps.is_floating_point():
        maps = as_integers(maps).long()
    return (maps >= 0) & (maps < task.num_labels) & (maps == maps.long())  # the last for floats: whole numbers only


def _with_shape(target: Tensor, shape: tuple[int, ...], task: Task, *, beside: Tensor, beside_name: str) -> Tensor:
    """Reshape a target that lacks, or has in excess, an axis of length 1 for its maps; else ValueError."""
    if tuple(target.shape) == shape:
        return target
    if not task.classes_overlap and tuple(target.shape) == (shape[0], 1, *shape[1:]):
        return target.squeeze(1)
    if task.classes_overlap and shape[1] == 1 and tuple(target.shape) == (shape[0], *shape[2:]):
        return target.unsqueeze(1)
    raise _mismatch(beside_name, beside, target, task)


def _mismatch(name: str, given: Tensor, target: Tensor, task: Task) -> ValueError:
    layout = f"(N, {task.out_channels}, H, W)" if task.classes_overlap else "(N, H, W) or (N, 1, H, W)"
    wanted = f"both {layout}" if name == "prediction" else f"a target {layout} of the same N, H and W"
    one_hot = not task.classes_overlap and target.ndim == 4 and target.shape[1] == task.out_channels > 1
    remedy = "; one map for each class becomes labels with target.argmax(1)" if one_hot else ""
    verb = "have" if name == "logits" else "has"
    shapes = f"{name} {verb} shape {tuple(given.shape)}, target {tuple(target.shape)}"
    return ValueError(f"{shapes}, expected {wanted} for a {task.mode} task{remedy}")


def _check_is_tensor(name: str, given: Tensor) -> None:
    if not isinstance(given, Tensor):
        raise ValueError(f"{name} is a {type(given).__name__}, expected a tensor; torch.as_tensor({name}) makes one")


def check_is_full(name: str, given: Tensor) -> None:
    """Raise ValueError for a batch without an image, or images without a pixel."""
    if 0 in given.shape:
        raise ValueError(f"{name}: shape {tuple(given.shape)} holds nothing, expected an image and a pixel at least")


def _check_device(name: str, given: Tensor, target: Tensor) -> None:
    if given.device != target.device:
        raise ValueError(f"{name}: on {given.device}, target: on {target.device}, expected one device for both")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names if len(names) < 6 else (*names[:4], "...", names[-1]))
