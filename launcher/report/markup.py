"""HTML and SVG from function calls. Every text is escaped; only what `tag` made is taken as it is.

tag("td", "a < b", cls="number")   ->   <td class="number">a &lt; b</td>
"""

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

VOID = frozenset({"br", "hr", "img", "meta", "input", "line", "rect", "circle", "polyline", "path"})
"""Elements that are written without an end tag when they have no content; HTML's and SVG's."""

Attribute = str | float | int | bool | None


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Child: TypeAlias = "str | int | float | Iterable[Child] | None"


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """An element. `cls` is `class`, `stroke_width` is `stroke-width`, `_for` is `for`; attributes
    that are None or False are left out, one that is True has no value. Children may be nested
    lists; None is left out."""
    head = name + "".join(_attribute(k, v) for k, v in attributes.items())
    content = "".join(_content(children))
    if not content and name in VOID:
        return Markup(f"<{head}/>")
    return Markup(f"<{head}>{content}</{name}>")


def join(*children: Child) -> Markup:
    return Markup("".join(_content(children)))


def _content(children: Iterable[Child]) -> Iterable[str]:
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            yield child
        elif isinstance(child, str | int | float):
            yield escape(str(child), quote=False)
        else:
            yield from _content(child)


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = "class" if name == "cls" else name.strip("_").replace("_", "-")
    if name == "viewbox":
        name = "viewBox"
    if value is True:
        return f" {name}"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return f' {name}="{escape(text)}"'
