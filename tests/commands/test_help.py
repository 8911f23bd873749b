"""``segtrain help``: topics, pages, commands, and what is answered where there is none."""

import shlex
import subprocess
import sys

import pytest

from segtrain.cli import main
from segtrain.terminal import guide
from tests.pages import GUIDE, blocks


def shown(capsys, *words):
    assert main(["help", *words]) == 0
    return capsys.readouterr().out


def test_the_topics_are_listed_with_their_titles_and_the_commands(capsys):
    text = shown(capsys)
    assert next(iter(guide.topics())) == "data"
    assert {file.stem for file in guide.FOLDER.glob("*.md")} == set(guide.topics())
    for name, title in guide.topics().items():
        assert f"  {name} " in text
        assert title.partition(": ")[2] in text
    assert "train, eval, resume, launch" in text


@pytest.mark.parametrize("topic", list(guide.topics()))
@pytest.mark.parametrize("width", [80, 140])
def test_a_page_keeps_to_the_terminal_and_piped_it_is_plain_text(topic, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    text = shown(capsys, topic)
    assert "\x1b" not in text
    assert len(text.splitlines()) > 20
    assert max(map(len, text.splitlines())) <= min(width, 120)


@pytest.mark.parametrize("topic", list(guide.topics()))
def test_code_is_shown_whole_and_only_commands_are_broken_at_80_columns(topic, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = [line.strip() for line in shown(capsys, topic).splitlines()]
    code = [line for block in blocks(GUIDE / f"{topic}.md") for line in block.text.splitlines() if line]
    assert len(code) > 3
    expected = [part.strip() for line in code for part in guide.fold(line, 76)]
    assert [line for line in expected if line not in lines] == []


def test_a_page_has_the_words_of_its_file(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    text = shown(capsys, "data")
    assert text.splitlines()[0].strip().startswith("Data: your own images")
    assert "segtrain data=folder data.root=my_photos 'data.classes=[background,cat,dog]'" in text
    assert "1073741824" in text


@pytest.mark.parametrize("width", [50, 76, 200])
def test_a_long_command_is_broken_so_that_a_shell_takes_it(width):
    line = "segtrain data=folder 'data.class_map={0: 0, 255: cat}' data.root=my_photos loss=dice  # the mask's values"
    parts = guide.fold(line, width)
    assert max(map(len, parts)) <= width
    assert (len(parts) > 1) == (width < 200)
    words = [word for part in parts for word in shlex.split(part.removesuffix(" \\"), comments=True)]
    assert words == shlex.split(line, comments=True)
    commands = [part for part in parts if not part.startswith("#")]
    assert [part.endswith(" \\") for part in commands] == [True] * (len(commands) - 1) + [False]


def test_lines_that_are_no_commands_are_not_broken():
    assert guide.fold("my_photos/masks/*.png " * 5, 40) == ["my_photos/masks/*.png " * 5]


def test_words_that_people_look_for_lead_to_a_page(capsys):
    assert all(page in guide.topics() for page in guide.ALSO.values())
    assert shown(capsys, "metrics") == shown(capsys, "losses")


@pytest.mark.parametrize("command", ["train", "eval", "resume", "zoo", "help"])
def test_the_help_of_a_command_is_the_same_as_its_flag(command, capsys):
    text = shown(capsys, command)
    assert main([command, "--help"]) == 0
    assert capsys.readouterr().out == text


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("dta", "help dta: no such topic, did you mean 'data'?"),
        ("evalution", "help evalution: no such topic, did you mean 'evaluation'?"),
        ("xyzzy", f"help xyzzy: no such topic; choose from {', '.join(guide.topics())}"),
        ("data models", "help data models: expected one topic; write segtrain help data"),
    ],
)
def test_what_is_no_topic_is_answered(words, answer, refused):
    (line,) = refused("help", *words.split())
    assert line.startswith(f"segtrain: {answer}")


def test_help_needs_neither_torch_nor_hydra():
    program = (
        "import sys; from segtrain.cli import main; main(['help', 'data']); "
        "print(sorted({'torch', 'timm', 'numpy', 'hydra'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
