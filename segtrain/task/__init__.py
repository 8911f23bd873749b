"""Binary, multiclass or multilabel: the one place that says what follows from it."""

from segtrain.task.door import (
    as_integers,
    check_is_full,
    complete_task,
    counts_everywhere,
    find_task,
    lay_out,
    lay_out_maps,
    require_labels,
    stray_label,
    task_of_logits,
    with_names,
)
from segtrain.task.kinds import IGNORE_INDEX, Binary, Mode, Multiclass, Multilabel, Task, make_task
from segtrain.task.two_labels import as_float, binary_nll

__all__ = [
    "IGNORE_INDEX",
    "Binary",
    "Mode",
    "Multiclass",
    "Multilabel",
    "Task",
    "as_float",
    "as_integers",
    "binary_nll",
    "check_is_full",
    "complete_task",
    "counts_everywhere",
    "find_task",
    "lay_out",
    "lay_out_maps",
    "make_task",
    "require_labels",
    "stray_label",
    "task_of_logits",
    "with_names",
]
