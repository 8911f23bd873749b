"""The topic pages of ``segtrain help``: Markdown files in ``segtrain/guide``, laid out for a terminal or a pipe."""

import shutil
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from segtrain.errors import ConfigError
from segtrain.suggest import did_you_mean

FOLDER = Path(__file__).resolve().parents[1] / "guide"
ALSO: Mapping[str, str] = {"weights": "models", "metrics": "losses", "resuming": "sweeps"}
"""Words that people look for, and the pages that answer them."""
_ORDER = ("data", "models", "losses", "evaluation", "sweeps", "python", "extending", "troubleshooting")
_WIDEST = 120  # columns; longer lines of prose are hard to read
_PIPED = 100  # columns, where the output is no terminal


def topics() -> dict[str, str]:
    """Give the title of each page by its topic, in the order to read them; topics without a place come last."""
    found = {file.stem: _title(file) for file in sorted(FOLDER.glob("*.md"))}
    known = [name for name in _ORDER if name in found]
    return {name: found[name] for name in (*known, *(name for name in found if name not in known))}


def read(topic: str, *, commands: Collection[str] = ()) -> str:
    """Return the Markdown of a page; raises ConfigError for a topic without one, naming a near topic or command."""
    known = topics()
    file = FOLDER / f"{ALSO.get(topic, topic)}.md"
    if file.stem in known:
        return file.read_text(encoding="utf-8")
    hint = did_you_mean(topic, [*known, *ALSO, *commands], listed=0) or f"; choose from {', '.join(known)}"
    raise ConfigError(f"help {topic}: no such topic{hint}")


def show_page(text: str) -> None:
    """Print Markdown: with colours on a terminal, as plain text of a readable width elsewhere."""
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.theme import Theme

    width = min(shutil.get_terminal_size((_PIPED, 0)).columns, _WIDEST)
    # rich's own theme puts a black box behind code, which a light terminal shows
    theme = Theme({"markdown.code": "cyan", "markdown.h1": "bold underline", "markdown.h2": "bold magenta"})
    console = Console(file=sys.stdout, width=width, theme=theme)
    page = Markdown(text, code_theme="ansi_dark", hyperlinks=False)
    with console.capture() as captured:
        console.print(page)
    sys.stdout.write("\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n")


def _title(file: Path) -> str:
    with file.open(encoding="utf-8") as lines:
        return next(lines).removeprefix("#").strip()
