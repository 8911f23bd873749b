"""Durations as a user writes them: ``2h30m``, ``45s``, ``1d``, or a number of minutes."""

import re

FORM = r"(?=\d)(\d+d)?(\d+h)?(\d+m)?(\d+s)?"
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def seconds_of(duration: float | str) -> float:
    """Return the seconds of a text of that form, or of a number of minutes."""
    if not isinstance(duration, str):
        return 60 * duration
    return sum(int(count) * _SECONDS[unit] for count, unit in re.findall(r"(\d+)([dhms])", duration))
