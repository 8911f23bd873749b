"""Kernels of torch whose results may differ from call to call, as they say themselves."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_NAME = re.compile(r"^(\S+) does not have a deterministic implementation")


@contextmanager
def kernels_named() -> Iterator[set[str]]:
    """Yield a set that gets, when the context closes, the names of such kernels called while it was open.

    They are those that ``torch.use_deterministic_algorithms`` knows of; cuDNN chooses deterministic ones meanwhile.
    """
    found: set[str] = set()
    was_on = torch.are_deterministic_algorithms_enabled()
    was_mild = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            yield found
        found.update(match[1] for warning in said if (match := _NAME.match(str(warning.message))))
    finally:
        torch.use_deterministic_algorithms(was_on, warn_only=was_mild)
