"""Counting what makes a GPU wait, where there is none."""

from contextlib import AbstractContextManager

from torch.profiler import ProfilerActivity, profile

WAITS = {"aten::_local_scalar_dense", "aten::nonzero"}
"""Reading a number from the device, by any of its names, and asking for as many places as there are."""


class CountWaits(AbstractContextManager["CountWaits"]):
    """Counts, while it is open, how often a device would be waited for; also in inference mode."""

    def __enter__(self):
        self._record = profile(activities=[ProfilerActivity.CPU])
        self._record.__enter__()
        return self

    def __exit__(self, *error):
        self._record.__exit__(*error)
        called = self._record.key_averages()
        assert called, "nothing was called"
        self.waits = sum(event.count for event in called if event.key in WAITS)
