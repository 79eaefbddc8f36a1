"""Text is text: nothing that a user, a label map or a file name holds becomes markup."""

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from launcher.report.markup import Markup, join, tag


def test_an_element() -> None:
    cell = tag("td", "a < b & c", cls="number", stroke_width=2.0, hidden=True, title=None)
    assert cell == '<td class="number" stroke-width="2" hidden>a &lt; b &amp; c</td>'
    assert tag("br") == "<br/>"
    assert tag("div") == "<div></div>"  # a browser would not close <div/>
    assert tag("meta", name="x", content='"') == '<meta name="x" content="&quot;"/>'


def test_only_markup_is_taken_as_it_is() -> None:
    inner = tag("b", "<i>")
    assert tag("p", inner, [inner, None, ["<", 3]]) == (
        "<p><b>&lt;i&gt;</b><b>&lt;i&gt;</b>&lt;3</p>"
    )
    assert tag("p", str(inner) + "") == "<p>&lt;b&gt;&amp;lt;i&amp;gt;&lt;/b&gt;</p>"
    assert isinstance(join(inner, "&"), Markup)


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"])))
def test_any_text_comes_out_as_it_went_in(text: str) -> None:
    reader = Reader()
    reader.feed(tag("p", text, title=text))
    reader.close()
    assert reader.tags == [("p", {"title": text})]
    assert reader.text == text
