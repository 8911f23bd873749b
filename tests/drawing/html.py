"""Reading the pages that segtrain writes: their tables by caption, their texts and attributes by tag."""

from html.parser import HTMLParser

VOID = {"img", "meta", "link", "br", "line", "input"}


class Parsed(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.open, self.tables = [], [], {}

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "attributes": dict(attrs), "text": []}
        self.tags.append(element)
        if tag in ("tr", "table"):
            element["cells"] = []
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.tags.append({"tag": tag, "attributes": dict(attrs), "text": []})

    def handle_endtag(self, tag):
        element = self.open.pop()
        assert element["tag"] == tag, (element["tag"], tag, self.getpos())
        text = " ".join(" ".join(element["text"]).split())
        element["whole"] = text
        row = next((each for each in reversed(self.open) if each["tag"] == "tr"), None)
        table = next((each for each in reversed(self.open) if each["tag"] == "table"), None)
        if tag in ("td", "th"):
            row["cells"].append(text)
        elif tag == "tr":
            table["cells"].append(element["cells"])
        elif tag == "caption":
            table["caption"] = text
        elif tag == "table":
            self.tables[element["caption"]] = element["cells"]

    def handle_data(self, data):
        for element in self.open:
            element["text"].append(data)

    def texts(self, tag):
        return [element["whole"] for element in self.tags if element["tag"] == tag]

    def of(self, tag):
        return [element["attributes"] for element in self.tags if element["tag"] == tag]

    @property
    def all(self):
        return [element["attributes"] for element in self.tags]


def parse(text):
    page = Parsed()
    page.feed(text)
    page.close()
    assert page.open == []  # every tag is closed
    return page
