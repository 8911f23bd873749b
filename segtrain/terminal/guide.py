"""The topic pages of ``segtrain help``: Markdown files in ``segtrain/guide``, laid out for a terminal or a pipe."""

import re
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from segtrain.errors import ConfigError
from segtrain.suggest import did_you_mean
from segtrain.terminal.arguments import show

FOLDER = Path(__file__).resolve().parents[1] / "guide"
ALSO: Mapping[str, str] = {
    **{"weights": "models", "metrics": "losses", "resuming": "sweeps", "augment": "augmentation"},
    **dict.fromkeys(("mistakes", "suspects"), "reports"),
    "memory": "tuning",
    **dict.fromkeys(("onnx", "deployment", "quantization", "hub"), "exporting"),
    **dict.fromkeys(("optuna", "ranking"), "searching"),
    **dict.fromkeys(("logger", "wandb", "mlflow", "tensorboard"), "loggers"),
    **dict.fromkeys(("compile", "checkpointing"), "speed"),
    **dict.fromkeys(("tiles", "tta", "ensemble", "infer"), "prediction"),
    **dict.fromkeys(("optimizer", "schedules", "scheduler", "averaging"), "optimizers"),
}
"""Words that people look for, and the pages that answer them."""
_ORDER = (
    *("data", "checking", "augmentation", "models", "losses", "optimizers", "evaluation", "prediction", "reports"),
    *("exporting", "sweeps", "searching", "loggers", "reproducing", "tuning", "speed", "scaling"),
    *("python", "extending", "troubleshooting"),
)
_WIDEST = 120  # columns; longer lines of prose are hard to read
_PIPED = 100  # columns, where the output is no terminal
_INDENT = 4  # columns before code
_COMMAND = re.compile(r"([A-Z_]+=\S+ )?segtrain ")
_WORD = re.compile(r"""(?:[^\s'"]|'[^']*'|"[^"]*")+""")


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
    from rich.markdown import CodeBlock, Heading, Markdown
    from rich.padding import Padding
    from rich.syntax import Syntax
    from rich.text import Text
    from rich.theme import Theme

    width = min(shutil.get_terminal_size((_PIPED, 0)).columns, _WIDEST)

    class Code(CodeBlock):
        def __rich_console__(self, *_: object) -> Iterator[Padding]:
            lines = [part for line in str(self.text).rstrip().splitlines() for part in fold(line, width - _INDENT)]
            # a theme of the terminal's own colours, as others bring a dark background to a light terminal
            coloured = Syntax("", self.lexer_name, theme="ansi_dark").highlight("\n".join(lines))
            coloured.no_wrap = False  # what is too wide would be cut off
            yield Padding(coloured, (0, 0, 0, _INDENT))

    class LeftHeading(Heading):
        def __rich_console__(self, *_: object) -> Iterator[Text]:
            yield self.text

    class Page(Markdown):
        elements = {**Markdown.elements, "fence": Code, "heading_open": LeftHeading}  # noqa: RUF012 - as in rich

    theme = Theme({"markdown.code": "cyan", "markdown.h1": "bold underline", "markdown.h2": "bold magenta"})
    console = Console(file=sys.stdout, width=width, theme=theme)
    with console.capture() as captured:
        console.print(Page(text, hyperlinks=False))
    lines = [line.rstrip() for line in captured.get().strip("\n").splitlines()]
    show(re.sub(r"\n{3,}", "\n\n", "\n".join(lines)))


def fold(line: str, width: int) -> list[str]:
    """Break a command that is too long at spaces outside quotes, in a way that a shell takes when it is pasted.

    Its comment gets a line of its own before it. Other lines, which are not commands, stay.
    """
    if len(line) <= width or not _COMMAND.match(line):
        return [line]
    command, _, comment = line.partition("  # ")
    lines = [""]
    for word in _WORD.findall(command):
        if lines[-1] and len(lines[-1]) + len(word) + 3 > width:  # a space before it, " \\" after it
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return [f"# {comment}", *lines] if comment else lines


def _title(file: Path) -> str:
    with file.open(encoding="utf-8") as lines:
        return next(lines).removeprefix("#").strip()
