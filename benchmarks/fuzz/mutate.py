"""Changed inputs: bytes, trees of JSON, and argument lists, each a function of a random generator alone."""

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from random import Random
from typing import Any, Literal

Kind = Literal["bytes", "text", "json", "jsonl"]

# What parsers stumble over: NUL, byte order marks, half surrogates, overlong forms, line ends of other worlds, marks
# that turn the direction of writing, joined signs, terminal escapes, markup.
ODD = (
    *(b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80", b"\x80", b"\r", b"\r\n"),
    *(
        b"\x0b",
        b"\x0c",
        b"\x1c",
        b"\x1b[2J",
        b"\xc2\x85",
        b"\xe2\x80\xa8",
        b"\xe2\x80\xae",
        b"\xc2\xa0",
        b"\xe2\x80\x8b",
    ),
    *(
        "é".encode(),
        "e\u0301".encode(),
        "👩‍👩‍👧".encode(),
        "𝔘".encode(),
        "\u0130ß".encode(),
        b"<script>",
        b"|",
        b"](x)",
    ),
    *(b'"', b"'", b",", b"\t", b"\n\n", b"{", b"}", b"[", b"]", b"\\", b"\\ud800", b"\\u0000", b"../", b"%s", b"{}"),
    *(b"NaN", b"-Infinity", b"1e999", b"9" * 30, b"9" * 5000, b"-1", b"[CLS]", b"[MASK]", b"null", b"-DOCSTART-"),
)
NAMES = ("", "..", "../../x", "/etc/passwd", "a\0b", "\\\\host\\x", "x" * 300, "\ud800", "CON", "~", "é", "-", "--help")
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 0.5, -0.0, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**30, 10**400, 1e308),
    *(float("nan"), float("inf"), float("-inf"), [], {}, [None], [[]], {"": None}, {"type": "x"}, "0", "NaN", *NAMES),
)
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "cp1252", "cp037", "utf-7", "shift_jis")
DEEP = (100, 1200, 20_000)


def changed(content: bytes, kind: Kind, others: Sequence[bytes], random: Random) -> bytes:
    """One to four changes of a valid input; trees of JSON are changed as trees half the time, else as bytes."""
    if kind in ("json", "jsonl") and random.random() < 0.6:
        content = tree(content, random) if kind == "json" else lines(content, random)
        if random.random() < 0.8:
            return content
    for _ in range(1 + int(random.random() * random.random() * 4)):
        content = random.choice(BYTES)(content, others, random)
    return content


def tree(content: bytes, random: Random) -> bytes:
    """A JSON document with one to three of its nodes changed; as it is where it is none."""
    try:
        root = json.loads(content)
        for _ in range(1 + int(random.random() * random.random() * 3)):
            root = _grown(root, random)
        return _written(root, random)
    except (ValueError, RecursionError):  # no JSON, or what became of it cannot be written as such
        return content


def lines(content: bytes, random: Random) -> bytes:
    """Lines of JSON, one or two of them changed."""
    parts = content.split(b"\n")
    for _ in range(random.randint(1, 2)):
        place = random.randrange(len(parts))
        parts[place] = tree(parts[place], random)
    return b"\n".join(parts)


def _written(root: Any, random: Random) -> bytes:
    text = json.dumps(root, ensure_ascii=random.random() < 0.5, indent=random.choice((None, None, 1)))
    return text.encode("utf-8", "surrogatepass")


def _grown(root: Any, random: Random) -> Any:
    """The tree with one node taken away, exchanged, nested, doubled, or made many."""
    places = [(None, None), *_places(root)]
    holder, key = random.choice(places)
    value = root if holder is None else holder[key]
    what = random.randrange(10)
    if what <= 3:
        new = deepcopy(random.choice(VALUES))  # a list of theirs must not grow from one input to the next
    elif what == 4:
        new = _other(value, random)
    elif what == 5:
        other = random.choice(places)
        new = root if other[0] is None else other[0][other[1]]
        new = json.loads(json.dumps(new))
    elif what == 6:
        new = [value] if random.random() < 0.5 else {"value": value}
    elif what == 7 and isinstance(value, (list, str)):
        new = value * random.choice((0, 2, 2, 30))
    elif what == 8:
        new = _deep(random.choice((3, 200)), random)
    else:
        if isinstance(holder, dict):
            if random.random() < 0.3:
                holder[random.choice((*NAMES, f"{key}2"))] = holder[key]
            del holder[key]
        elif isinstance(holder, list):
            del holder[key]
        return root
    if holder is None:
        return new
    holder[key] = new
    return root


def _places(root: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    waiting = [root]
    while waiting and len(found) < 2000:
        node = waiting.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            found.append((node, key))
            waiting.append(node[key])
    return found


def _other(value: Any, random: Random) -> Any:
    """The same said in another type, or a neighbour."""
    if isinstance(value, bool) or value is None:
        return random.choice((0, 1, "true", ""))
    if isinstance(value, int | float):
        if abs(value) > 2.0**1000:
            return value // 10**300 if isinstance(value, int) else 0
        return random.choice((-value, value + 1, value - 1, value * 1000, value / 3, float(value), str(value), [value]))
    if isinstance(value, str):
        odd = random.choice(ODD).decode("utf-8", "surrogatepass" if random.random() < 0.5 else "replace")
        place = random.randint(0, len(value))
        return random.choice(
            (value[:place] + odd + value[place:], value[:place], value.swapcase(), odd, list(value[:9]))
        )
    if isinstance(value, list):
        return random.choice((dict(enumerate(value)), value[::-1], value[:1], None, "".join(map(str, value))[:1000]))
    return random.choice((list(value), list(value.values()), str(value)[:1000]))


def _deep(depth: int, random: Random) -> Any:
    node: Any = "x"
    for _ in range(depth):
        node = [node] if random.random() < 0.5 else {"a": node}
    return node


def _flip(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    raw = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8)) if raw else 0):
        raw[random.randrange(len(raw))] ^= 1 << random.randrange(8)
    return bytes(raw)


def _put(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    raw = bytearray(content)
    for _ in range(random.choice((1, 2, 8)) if raw else 0):
        raw[random.randrange(len(raw))] = random.choice((0, 255, 127, 128, 10, 34, random.randrange(256)))
    return bytes(raw)


def _cut(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    return content[: random.randint(0, len(content))]


def _remove(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    start, stop = sorted((random.randint(0, len(content)), random.randint(0, len(content))))
    return content[:start] + content[stop:]


def _repeat(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    start = random.randint(0, len(content))
    stop = min(len(content), start + random.choice((1, 20, 200)))
    return content[:stop] + content[start:stop] * random.choice((1, 1, 3, 3, 100)) + content[stop:]


def _insert(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    place = random.randint(0, len(content))
    return content[:place] + random.choice(ODD) + content[place:]


def _noise(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    place = random.randint(0, len(content))
    return content[:place] + random.randbytes(random.choice((1, 8, 100))) + content[place:]


def _splice(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    other = random.choice(others) if others else content
    return content[: random.randint(0, len(content))] + other[random.randint(0, len(other)) :]


def _swap(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    a, b, c = sorted(random.randint(0, len(content)) for _ in range(3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def _whole(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Another file altogether: empty, blank, brackets without end, in another encoding, with other line ends."""
    what = random.randrange(8)
    if what == 0:
        return random.choice((b"", b"\n", b" ", b"\0" * 16, b"\xef\xbb\xbf", b"null", b"[]", b"{}", b"0", b'""'))
    if what == 1:
        return random.choice((b"[", b'{"a":', b"(", b"<")) * random.choice(DEEP)
    if what == 2:
        return random.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\n\n", b"\r\n")) + content
    if what == 3:
        return content.replace(b"\n", random.choice((b"\r\n", b"\r", b"\xe2\x80\xa8", b" ", b"\0")))
    if what == 4:
        return random.randbytes(random.choice((1, 16, 500)))
    if what == 5 and others:
        return random.choice(others)
    text = content.decode("utf-8", "replace")
    return text.encode(random.choice(ENCODINGS), "replace")


BYTES: tuple[Callable[[bytes, Sequence[bytes], Random], bytes], ...] = (
    *(_flip, _put, _cut, _remove, _repeat, _insert, _insert, _noise, _splice, _swap, _whole),
)


def arguments(words: Sequence[str], options: Sequence[str], random: Random) -> list[str]:
    """A command with some of its words exchanged, left out, doubled, glued together, or odd."""
    made = list(words)
    for _ in range(random.randint(1, 3)):
        place = random.randint(0, len(made))
        value = random.choice(
            (*NAMES, *options, *map(str, VALUES[:20]), "[red]x[/red]", "1,2", "=", "{}", "a b", "0x10")
        )
        what = random.randrange(7)
        if what == 0 and made:
            made[min(place, len(made) - 1)] = value
        elif what == 1 and made:
            del made[min(place, len(made) - 1)]
        elif what == 2:
            made.insert(place, value)
        elif what == 3:
            made[place:place] = [random.choice(options), value]
        elif what == 4 and made:
            made[min(place, len(made) - 1)] += random.choice(("=", "\n", "\x1b[31m", " ", "9", "\u2028", ".x"))
        elif what == 5 and len(made) > 1:
            one, two = random.randrange(len(made)), random.randrange(len(made))
            made[one], made[two] = made[two], made[one]
        elif made:
            made.insert(place, made[random.randrange(len(made))])
    return [word.replace("\0", "") for word in made]  # no argument of a process can hold one
