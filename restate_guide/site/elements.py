"""Elements of a page, built so that no text in them can become markup."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element

Content = Element | str | None | Iterable["Content"]

_CONTROL = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"} | {0x7F: 0x2421}
"""Control characters and their pictures (␛): themselves they would be invisible in a page."""


def el(tag: str, *content: Content, **attributes: str | None) -> Element:
    """An element with its content; `class_` is the attribute `class`, `data_x` is `data-x`."""
    element = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            element.set(name.rstrip("_").replace("_", "-"), text(value))
    append(element, content)
    return element


def append(element: Element, content: Content) -> None:
    """Adds text and elements at the end of an element."""
    if content is None:
        return
    if isinstance(content, str):
        if len(element):
            element[-1].tail = (element[-1].tail or "") + text(content)
        else:
            element.text = (element.text or "") + text(content)
    elif isinstance(content, Element):
        element.append(content)
    else:
        for piece in content:
            append(element, piece)


def text(plain: str) -> str:
    """Plain text for Python-Markdown's serializer, which takes `&lt;` in it for an entity."""
    return plain.translate(_CONTROL).replace("&", "&amp;")


def prose(sentence: str) -> list[Content]:
    """A sentence in which `this` is code, and quotes are set as those of the pages' own text."""
    return [
        el("code", piece) if at % 2 else re.sub('"([^"]*)"', r"“\1”", piece).replace("'", "’")
        for at, piece in enumerate(sentence.split("`"))
    ]


def classes(*names: str | None) -> str | None:
    """The value of a class attribute; None if there is nothing in it."""
    return " ".join(filter(None, names)) or None


def slug(name: str) -> str:
    """A name as part of an id."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
