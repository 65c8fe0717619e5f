"""HTML in which text cannot become markup: every string is escaped unless it is `Html` already."""

import html

from electrain.escaping import printable

_VOID = {"meta", "br", "input", "wbr"}


class Html(str):
    """Finished HTML."""

    __slots__ = ()


def text(words: object) -> Html:
    """Text as it reads; control characters, and those that turn the direction of writing, are spelt out."""
    return words if isinstance(words, Html) else Html(html.escape(printable(str(words))))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element. An attribute is named as for_ or data_id; True leaves its name alone, None and False nothing."""
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{text(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def join(*parts: object) -> Html:
    """Parts one after the other; None is nothing."""
    return Html("".join(text(part) for part in parts if part is not None))
