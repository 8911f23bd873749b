"""The table of what each class of the data counts as, shown where classes are merged or left out."""

from collections.abc import Sequence

from segtrain.terminal.console import out


def show_class_table(rows: Sequence[tuple[str, str]]) -> None:
    """Print the classes of the data that each class is made of; nothing where all count as themselves.

    ``rows`` are those of `Source.class_table`.
    """
    if all(name == counts_as for name, counts_as in rows):
        return
    from rich.markup import escape
    from rich.table import Table

    made_of: dict[str, list[str]] = {}
    for name, counts_as in rows:
        made_of.setdefault(counts_as, []).append(name)
    ignored = made_of.pop("ignore", [])
    table = Table("class", "in the data", title="what the classes of the data count as", title_justify="left")
    for counts_as, names in made_of.items():
        table.add_row(escape(counts_as), escape(", ".join(names)))
    if ignored:
        table.add_row("(ignored)", escape(", ".join(ignored)))
    out.print(table)
