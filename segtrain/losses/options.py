"""Range checks of the options under ``loss``."""

from segtrain.errors import ConfigError


def check_range(
    option: str,
    value: object,
    low: float,
    high: float = float("inf"),
    *,
    including_low: bool = True,
    including_high: bool = False,
    whole: bool = False,
) -> None:
    """Raise ConfigError unless low <= value < high, or as the flags say."""
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        kind = "a whole number" if whole else "a number"
        raise ConfigError(f"loss.{option}: expected {kind}, got {value!r}; set loss.{option}=1")
    above = low <= value if including_low else low < value
    below = value <= high if including_high else value < high
    if above and below:
        return
    start = f"{low:g} {'<=' if including_low else '<'} {option}"
    end = "" if high == float("inf") else f" {'<=' if including_high else '<'} {high:g}"
    valid = low if including_low else 1 if high == float("inf") else (low + high) / 2
    raise ConfigError(f"loss.{option}: {value:g} is out of range, expected {start}{end}; set loss.{option}={valid:g}")
