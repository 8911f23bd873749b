"""The page as a browser and a screen reader take it: landmarks, captions, scopes, escaped names, nothing fetched."""

import re

from segtrain.drawing.charts import Line, line_chart
from segtrain.drawing.page import Cell, Chart, Gallery, Page, Picture, Section, Table, render
from tests.drawing.html import parse

LINES = [Line("a", [(0, 1.0), (1, 2.0)]), Line("b & c", [(0, 2.0), (1, 1.0)])]
PAGE = Page(
    title="<run>",
    summary="of cats & dogs",
    numbers=[("IoU", "0.9", "0.8 to 1.0")],
    sections=[
        Section(
            "Object size", words=["<i>text</i>"], tables=[Table("T", ["class", "x"], [["<cat>", Cell("1", 0.5, "n")]])]
        ),
        Section("Curves", charts=[Chart("Loss", line_chart(LINES, title="Loss", across="s", up="l"), LINES)]),
        Section("Images", galleries=[Gallery("worst", [Picture("data:,", "a <dog>", "c")])], commands=["segtrain <x>"]),
    ],
)


def test_there_is_one_heading_and_a_way_to_each_section():
    page = parse(render(PAGE))
    assert page.texts("h1") == ["<run>"]
    assert page.texts("h2") == ["Object size", "Curves", "Images"]
    links = [attributes["href"].removeprefix("#") for attributes in page.of("a")]
    assert links == ["content", "object-size", "curves", "images"]
    assert set(links) <= {attributes.get("id") for attributes in page.all}
    assert [len(page.of(tag)) for tag in ("header", "nav", "main", "footer")] == [1, 1, 1, 1]


def test_tables_have_captions_and_scopes_and_say_what_is_shaded():
    page = parse(render(PAGE))
    assert page.tables == {"T": [["class", "x"], ["<cat>", "1 n"]]}
    assert [attributes.get("scope") for attributes in page.of("th")] == ["col", "col", "row"]
    assert "0.250" in page.of("td")[0]["style"]


def test_names_from_data_stay_text():
    text = render(PAGE)
    assert "<i>" not in text
    assert "<dog>" not in text
    assert parse(text).of("img")[0]["alt"] == "a <dog>"


def test_the_legend_names_each_line():
    page = parse(render(PAGE))
    assert [words for words in page.texts("li") if words in ("a", "b & c")] == ["a", "b & c"]


def test_the_page_fetches_nothing_and_runs_nothing():
    text = render(PAGE)
    assert not re.search(r"<script|<link|<iframe|https?://|url\(|@import", text)
    assert "default-src 'none'" in text
