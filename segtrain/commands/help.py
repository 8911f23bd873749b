"""``segtrain help``: the topics there are, the page of a topic, or the keys of a command."""

from segtrain.commands import COMMANDS
from segtrain.config.groups import Groups
from segtrain.errors import ConfigError
from segtrain.terminal import guide, manual
from segtrain.terminal.arguments import Arguments, show

_INTRODUCTION = "usage: segtrain help <topic>, or segtrain help <command>\n\ntopics"


def run(arguments: Arguments) -> int:
    """List the topics, or show one page: of a topic or of a command."""
    if not arguments.words:
        show(_contents())
        return 0
    word, *others = arguments.words
    if others:
        raise ConfigError(f"help {' '.join(arguments.words)}: expected one topic; write segtrain help {word}")
    if word in COMMANDS:
        show(manual.page(word, Groups.find(arguments.config_dir)))
    else:
        guide.show_page(guide.read(word, commands=COMMANDS))
    return 0


def _contents() -> str:
    titles = guide.topics()
    longest = max(map(len, titles))
    lines = [f"  {name:<{longest}}  {title.partition(': ')[2]}" for name, title in titles.items()]
    return "\n".join([_INTRODUCTION, *lines, "", f"commands\n  {', '.join(COMMANDS)}"])
