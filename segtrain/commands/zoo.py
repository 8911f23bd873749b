"""``segtrain zoo [pattern]``: list architectures and encoders whose name matches."""

from segtrain.catalog import index
from segtrain.catalog.names import ALIASES, resolve
from segtrain.commands.arguments import Arguments, show
from segtrain.config.groups import Groups
from segtrain.config.suggest import did_you_mean
from segtrain.errors import ConfigError


def run(arguments: Arguments) -> int:
    """Print a line for each match."""
    if len(arguments.overrides) > 1:
        raise ConfigError(f"zoo: expected one pattern, got {' '.join(arguments.overrides)}; quote it if it has spaces")
    pattern = next(iter(arguments.overrides), "")
    groups = Groups.find(arguments.config_dir)
    archs = [name for name in groups.choices("arch") if pattern.lower().strip("*") in name]
    rows = index.find(pattern)
    if not archs and not rows:
        hint = did_you_mean(pattern, [*groups.choices("arch"), *index.names(), *ALIASES], listed=0)
        raise ConfigError(f"zoo {pattern}: nothing matches{hint or '; `segtrain zoo` lists all'}")
    aliases = _aliases()
    lines = [f"architectures ({len(archs)})", *(f"  {name:<40} {groups.summary('arch', name)}" for name in archs)]
    lines += [f"encoders ({len(rows)})", f"  {'name':<40} {'params':>8}  {'strides':<15} channels"]
    for row in rows:
        strides, channels = (" ".join(map(str, numbers)) for numbers in (row.strides[1:], row.channels[1:]))
        also = f"  = {', '.join(aliases[row.name])}" if row.name in aliases else ""
        lines.append(f"  {row.name:<40} {row.params / 1e6:7.1f}M  {strides:<15} {channels}{also}")
    show("\n".join(lines))
    return 0


def _aliases() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for alias in ALIASES:
        found.setdefault(resolve(alias).partition(".")[0], []).append(alias)
    return found
