"""From a piece of a corpus to its documents' texts, one at a time, with bounded memory."""

import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from electrain.data.corpus import COMPRESSIONS, ByteStream, Kind, Layout, damage, no_column, open_file, open_hub
from electrain.data.pieces import Piece
from electrain.data.work import Resumable
from electrain.errors import UserError

Place = Literal["whole", "first", "more"]  # of a part in its document
LARGEST_RECORD = 8  # a line of jsonl may be this many times longer than a document may be: escapes and other keys


@dataclass(frozen=True)
class Rules:
    """What to do with documents that cannot be taken as they are.

    invalid:            invalid UTF-8 or JSON: refuse (stop, naming the place) or skip (leave the document out)
    long:               a document above `max_document_bytes`: refuse, split (cut at white space) or drop
    max_document_bytes: bytes of UTF-8; a tokenizer needs about 80 times as much memory
    """

    invalid: Literal["refuse", "skip"] = "refuse"
    long: Literal["refuse", "split", "drop"] = "refuse"
    max_document_bytes: int = 16_000_000


@dataclass
class Tally:
    """What the reader has seen: documents left out, by reason; documents cut into several; bytes of the piece read."""

    dropped: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    read: int = 0

    def reset(self) -> None:
        """Back to nothing."""
        self.dropped.clear()
        self.cut = self.read = 0


def read(piece: Piece, layout: Layout, rules: Rules, tally: Tally) -> Iterator[str]:
    """The texts of a piece's documents, stripped, in order, none of them empty; `tally` is kept while it goes on.

    UserError with file and place on what the rules refuse.
    """
    before = tally.read
    match piece.kind:
        case "jsonl":
            texts = _read_jsonl(piece, layout.text_column, rules, tally)
        case "parquet":
            texts = _read_parquet(piece, layout.text_column, rules, tally)
        case "hub":
            texts = _read_hub(piece, layout, rules, tally)
        case _:
            texts = _read_text(piece, rules, tally)
    try:
        for text in texts:
            if stripped := text.strip():
                yield stripped
            else:
                tally.dropped["empty"] += 1
    except damage(piece.path) as error:
        raise UserError(f"{piece.path}: cannot be read to its end ({error}); copy it again or leave it out") from error
    tally.read = before + piece.size


def _read_text(piece: Piece, rules: Rules, tally: Tally) -> Iterator[str]:
    base, compressed = tally.read, piece.path.endswith(COMPRESSIONS)
    with open_file(piece.path) as file:
        if piece.start:
            file.seek(piece.start)
        stop = None if compressed else piece.stop
        for at, raw, whole in _parts(file, piece.start, stop, piece.kind, rules.max_document_bytes):
            if not compressed:
                tally.read = base + at - piece.start
            yield from _decoded(f"{piece.path}: byte {at}", piece.path, at, raw, whole, rules, tally)


def _read_jsonl(piece: Piece, column: str, rules: Rules, tally: Tally) -> Iterator[str]:
    base, compressed = tally.read, piece.path.endswith(COMPRESSIONS)
    limit = LARGEST_RECORD * rules.max_document_bytes
    at = piece.start
    with open_file(piece.path) as file:
        if at:
            file.seek(at)
        while (compressed or at < piece.stop) and (line := file.readline(limit)):
            where, start = f"{piece.path}: the record at byte {at}", at
            at += len(line)
            if len(line) == limit and not line.endswith(b"\n"):
                while (rest := file.readline(limit)) and not rest.endswith(b"\n"):
                    at += len(rest)
                at += len(rest)
                _too_long(where, limit, rules, tally, divisible=False)
                continue
            if not compressed:
                tally.read = base + start - piece.start
            line = line.removeprefix(b"\xef\xbb\xbf") if start == 0 else line
            if line.strip():
                yield from _record(line, where, piece.path, start, column, rules, tally)


def _record(line: bytes, where: str, path: str, at: int, column: str, rules: Rules, tally: Tally) -> Iterator[str]:
    string = _decode(line, path, at, rules, tally)
    if string is None:
        return
    try:
        record = json.loads(string)
        if not isinstance(record, dict):
            raise ValueError(f"it is a {type(record).__name__}, not an object")
        text = record.get(column)
        raw = text.encode("utf-8") if isinstance(text, str) else b""
    except (ValueError, RecursionError) as error:  # UnicodeEncodeError, a lone surrogate, is a ValueError
        if rules.invalid == "refuse":
            raise UserError(f"{where} is not valid JSON ({error}); mend it, or pass --invalid skip") from error
        tally.dropped["invalid JSON"] += 1
        return
    if text is None:
        tally.dropped["no text"] += 1
    elif not isinstance(text, str):
        raise UserError(f"{where} holds {type(text).__name__} in {column!r}, not text; see --text-column")
    else:
        yield from _bounded(text, raw, where, path, rules, tally)


def _read_parquet(piece: Piece, column: str, rules: Rules, tally: Tally) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    base, row = tally.read, 0
    with pq.ParquetFile(piece.path) as parquet:
        first = sum(parquet.metadata.row_group(g).num_rows for g in range(piece.start))
        rows = max(1, sum(parquet.metadata.row_group(g).num_rows for g in range(piece.start, piece.stop)))
        try:
            for batch in parquet.iter_batches(256, row_groups=range(piece.start, piece.stop), columns=[column]):
                values = batch.column(0)
                if isinstance(values, pa.DictionaryArray):
                    values = values.dictionary_decode()
                # As bytes: what a writer that did not check has put there is then found here, with its place.
                for raw in values.cast(pa.large_binary()).to_pylist():
                    where = f"{piece.path}: row {first + row}"
                    row += 1
                    if raw is None:
                        tally.dropped["no text"] += 1
                        continue
                    text = _decode(raw, where, 0, rules, tally)
                    if text is not None:
                        yield from _bounded(text, raw, where, piece.path, rules, tally)
                tally.read = base + piece.size * row // rows
        except pa.ArrowException as error:
            raise UserError(f"{piece.path}: damaged near row {first + row} ({error}); copy it again") from error


def _read_hub(piece: Piece, layout: Layout, rules: Rules, tally: Tally) -> Iterator[str]:
    for row, record in enumerate(_hub_records(piece, layout)):
        where = f"{piece.path}: row {row} of shard {piece.start}"
        if layout.text_column not in record:
            raise no_column(where, layout.text_column, list(record))
        text = record[layout.text_column]
        if text is None:
            tally.dropped["no text"] += 1
        elif not isinstance(text, str):
            raise UserError(f"{where} holds {type(text).__name__}, not text; see --text-column")
        else:
            yield from _bounded(text, text.encode("utf-8", "replace"), where, piece.path, rules, tally)


def _hub_records(piece: Piece, layout: Layout) -> Iterator[dict]:
    try:
        yield from open_hub(piece.path, layout).shard(num_shards=piece.stop, index=piece.start)
    except UserError:
        raise
    except Exception as error:  # of many kinds, most often the network: what was done is kept
        raise Resumable(
            f"{piece.path}: the data set broke off ({type(error).__name__}: {error}); the same command goes on "
            "where it was cut"
        ) from error


def _bounded(text: str, raw: bytes, where: str, path: str, rules: Rules, tally: Tally) -> Iterator[str]:
    """A text that is in memory already, by the rule for long ones where it is one."""
    if len(raw) <= rules.max_document_bytes:
        yield text
        return
    for at, part, whole in _parts(io.BytesIO(raw), 0, None, "file", rules.max_document_bytes):
        if at == 0 or rules.long == "split":
            yield from _decoded(where, path, at, part, whole, rules, tally)


def _decoded(where: str, path: str, at: int, raw: bytes, whole: Place, rules: Rules, tally: Tally) -> Iterator[str]:
    """One part of a document as text: what is to be done with a document that came in parts is decided here."""
    if whole == "first" and _too_long(where, rules.max_document_bytes, rules, tally, divisible=True):
        tally.cut += 1
    if whole == "whole" or rules.long == "split":
        text = _decode(raw.removeprefix(b"\xef\xbb\xbf") if at == 0 else raw, path, at, rules, tally)
        if text is not None:
            yield text


def _parts(file: ByteStream, at: int, stop: int | None, kind: Kind, limit: int) -> Iterator[tuple[int, bytes, Place]]:
    """Documents up to byte `stop` as (offset, bytes, place): one longer than `limit` comes as first, more, more...

    kind: "file", "line" or "lines"
    The parts of a long document end at white space where there is any. Never holds more than two times `limit`.
    """
    place: Place = "whole"
    start, buffer = at, bytearray()
    take = file.read if kind == "file" else file.readline
    while True:
        chunk = take(limit if stop is None else min(limit, stop - at))
        at += len(chunk)
        blank = kind != "file" and not chunk.strip()
        if not blank:
            buffer += chunk
        while len(buffer) > limit:
            place = "first" if place == "whole" else "more"
            cut = max(buffer.rfind(b"\n", 1, limit), buffer.rfind(b" ", 1, limit))
            if cut < 1:
                cut = limit
                while cut > 1 and buffer[cut] & 0xC0 == 0x80:  # not inside a character
                    cut -= 1
            yield start, bytes(buffer[:cut]), place
            del buffer[:cut]
            start += cut
        if blank or not chunk or (kind == "line" and chunk.endswith(b"\n")):
            if buffer:
                yield start, bytes(buffer), "whole" if place == "whole" else "more"
            buffer.clear()
            start, place = at, "whole"
        if not chunk:
            return


def _decode(raw: bytes, path: str, at: int, rules: Rules, tally: Tally) -> str | None:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if rules.invalid == "refuse":
            raise UserError(
                f"{path}: invalid UTF-8 at byte {at + error.start} (0x{raw[error.start]:02x}); "
                "convert the file to UTF-8, or pass --invalid skip to leave such documents out"
            ) from error
        tally.dropped["invalid UTF-8"] += 1
        return None


def _too_long(where: str, limit: int, rules: Rules, tally: Tally, *, divisible: bool) -> bool:
    """True if the document is to be split, False if it was dropped; UserError if it is refused."""
    if rules.long == "split" and divisible:
        return True
    if rules.long == "drop":
        tally.dropped[f"longer than {rules.max_document_bytes} bytes"] += 1
        return False
    choice = "pass --long split or --long drop" if divisible else "pass --long drop"
    raise UserError(
        f"{where}: the document there is longer than {limit} bytes; {choice}, or raise --max-document-bytes "
        "(memory needed: about 80 times that a worker)"
    )
