"""What is typed is what is meant: letters beyond ASCII, apostrophes, commas, and names that are numbers."""

import shlex
from typing import Annotated, Any

import pytest

from segtrain.build.parts import checked_config
from segtrain.config.compose import compose, overlay
from segtrain.config.overrides import Overrides
from segtrain.config.signature import Range, with_texts
from segtrain.config.words import counted, quote, typed
from segtrain.errors import ConfigError

FOLDER = ("data=folder", "data.root=photos")


def values(words, key):
    return Overrides.of(words).one_job().values(key)


pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("name=Küche", "Küche"),
        ("name=it's", "it's"),
        ("name=~/runs", "~/runs"),
        ("name=a=b", "a=b"),
        ("name=foo(1)", "foo(1)"),
        ("name=日本 語", "日本 語"),
        ('name=5" screen', '5" screen'),
        ("name=C:\\ä\\", "C:\\ä\\"),
        ("data.classes=[bäck,thing]", ["bäck", "thing"]),
        ("data.classes=[it's, traffic light]", ["it's", "traffic light"]),
        ("data.classes=['a,b',ä]", ["a,b", "ä"]),
        ('data.classes="[bäck,thing]"', "[bäck,thing]"),
        ("x={a: {b: [1,ö]}}", {"a": {"b": [1, "ö"]}}),
        ("x={'decoder.*': {a: 'b c'}}", {"decoder.*": {"a": "b c"}}),
        ("x=[1,2.5,true,null]", [1, 2.5, True, None]),
    ],
)
def test_a_value_is_read_as_it_is_typed(word, value):
    assert values([word], word.partition("=")[0]) == [value]


@pytest.mark.parametrize("name", ["a,b", "it's", "[x]", "bäck", "a=b", "2 (1)", 'say "hi"', "{a,b}"])
def test_a_value_that_is_a_folder_is_its_name(tmp_path, name):
    (tmp_path / name).mkdir()
    assert values([f"data.root={tmp_path / name}"], "data.root") == [str(tmp_path / name)]


def test_a_list_of_numbers_is_no_folder_even_where_one_has_that_name(tmp_path):
    (tmp_path / "1,2").mkdir()
    (tmp_path / "3").mkdir()
    assert [job.words for job, _ in Overrides.of(["seed=1,2"]).jobs()] == [("seed=1",), ("seed=2",)]
    assert values(["seed=3"], "seed") == [3]


def test_a_sweep_takes_letters_beyond_ascii():
    jobs = Overrides.of(["name=Küche,Bad", "data.classes=[bäck,a],[b,c]"]).jobs()
    assert len(jobs) == 4
    names = [job.values("name") + job.values("data.classes") for job, _ in jobs]
    assert names[0] == ["Küche", ["bäck", "a"]]
    assert names[3] == ["Bad", ["b", "c"]]


def test_a_class_beyond_ascii_can_be_the_key_of_a_mapping():
    job = compose("train", [*FOLDER, "data.classes=[bäck,it's]", "loss.class_weights={bäck: 3, it's: 2}"]).job
    assert job["loss"]["class_weights"] == {"bäck": 3, "it's": 2}
    assert overlay(job, ["loss.class_weights={bäck:1}"])["loss"]["class_weights"] == {"bäck": 1, "it's": 2}


@pytest.mark.parametrize("word", ["name='abc", "data.root=[a,b", "name=choice(ä,b", "name=choice(ä,b)"])
def test_a_word_that_is_cut_off_is_not_made_into_a_text(word):
    with pytest.raises(ConfigError, match="expected closed quotes and brackets"):
        Overrides.of([word])


@pytest.mark.parametrize("value", ["a,b", "x's,y", 'a"b,c', "ä,ü"])
def test_the_remedies_for_a_comma_mean_what_they_say_when_typed(value):
    with pytest.raises(ConfigError, match="add -m to run every combination, or write") as caught:
        values([f"name={value}"], "name")
    as_list, as_text = (
        str(caught.value).partition("or write ")[2].removesuffix(" for a text with a comma").split(" for a list, ")
    )
    assert values(shlex.split(as_list), "name") == [value.split(",")]
    assert values(shlex.split(as_text), "name") == [value]


@pytest.mark.parametrize(
    "text", ["", "plain", "it's", 'say "hi"', "\\", 'a\\"', "\\\\", "ä,b", "[x]", "$HOME `id` it's"]
)
def test_a_quoted_text_comes_back_through_the_shell_and_the_grammar(text):
    (word,) = shlex.split(typed(f"name={quote(text)}"))
    assert values([word], "name") == [text]


def test_names_that_are_numbers_are_texts():
    words = ["data=folder", "data.root=2024", "data.classes=[1,2]", "data.images=7", "name=3", "data.seed=5"]
    config = checked_config(compose("train", words).job)
    leaf = config.data.leaf
    assert (leaf["root"], leaf["classes"], leaf["images"], config.name) == ("2024", ["1", "2"], "7", "3")
    assert (leaf["seed"], config.seed) == (5, 0)


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (7, str, "7"),
        (1.5, str | None, "1.5"),
        (None, str | None, None),
        (True, str, True),
        (7, int, 7),
        (7, str | list[float], 7),  # which may be meant as a number
        ([1, "a"], list[str], ["1", "a"]),
        ([1], list[int], [1]),
        (7, Annotated[str, Range()], "7"),
        (7, Any, 7),
    ],
)
def test_a_number_is_a_text_only_where_nothing_else_fits(value, annotation, expected):
    assert with_texts(value, annotation) == expected


def test_one_thing_is_not_several():
    assert [counted(number, "image") for number in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
