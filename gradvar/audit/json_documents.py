"""JSON that is no lines: an array in any layout, one object over many lines, a table of columns and data."""

import codecs
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

from gradvar.audit.columns import ColumnLayout
from gradvar.audit.database import FilePart, Reject
from gradvar.audit.formats import FORMATS, Format
from gradvar.audit.json_lines import json_kinds
from gradvar.audit.malformed import UnreadableFile, one_line

BLOCK = 1 << 20  # bytes at once
LONGEST = 1 << 26  # characters of an element
LARGEST = 1 << 30  # bytes of a document that is one object
SAMPLE = 64
_SPACE = " \t\r\n"


class JsonArray:
    """An array of objects; elements are read one by one, in bounded memory."""

    unit = "element"
    format = ""

    def __init__(self, open_again: Callable[[], IO[bytes]]) -> None:
        self._open = open_again
        self.sample = [
            x
            for _, x in zip(range(SAMPLE), _safe(elements(open_again())), strict=False)
            if isinstance(x, dict)
        ]
        self.kinds, self.rare = json_kinds(self.sample)
        if not self.kinds:
            raise ValueError("a JSON array without objects; give an array of objects, or one object per line")

    def records(self) -> Iterator[tuple[int, Any]]:
        """Every element and its number."""
        yield from enumerate(elements(self._open()), 1)

    def parts(self, layout: ColumnLayout, weights: Sequence[float], reject: Reject) -> Iterator[FilePart]:
        """Not to be called: elements are always reshaped."""
        raise NotImplementedError


class JsonObject(JsonArray):
    """One object: rollouts under a key, columns of a table beside its data, or lists as columns."""

    unit = "row"

    def __init__(self, document: dict[str, Any], formats: Mapping[str, Format] | None = None) -> None:
        formats = formats or FORMATS
        fitting = (f for f in formats.values() if f.inside and f.fits(document))
        declared = next(fitting, None)
        self.format = declared.name if declared else ""
        self._rows = _rows_of(document, declared.inside if declared else "")
        self.sample = [x for x in self._rows[:SAMPLE] if isinstance(x, dict)]
        self.kinds, self.rare = json_kinds(self.sample)

    def records(self) -> Iterator[tuple[int, Any]]:
        """Every row and its number."""
        yield from enumerate(self._rows, 1)


def _rows_of(document: dict[str, Any], inside: str) -> list[Any]:
    names, data = document.get("columns"), document.get("data")
    if (
        isinstance(names, list) and isinstance(data, list) and all(isinstance(row, list) for row in data)
    ):  # W&B
        return [
            dict(zip(map(str, names), row, strict=False)) if len(row) == len(names) else "a short row"
            for row in data
        ]
    if not inside:
        lists = [
            k
            for k, v in document.items()
            if isinstance(v, list) and v and all(isinstance(x, dict) for x in v)
        ]
        prompts = {"prompt", "problem", "question", "messages", "input"}
        inside = lists[0] if len(lists) == 1 and not prompts & document.keys() else ""
    if not inside:
        return [document]
    above = {f"^{k}": v for k, v in document.items() if isinstance(v, int | float | str)}
    return [{**above, **x} if isinstance(x, dict) else x for x in document[inside]]


def read_object(stream: IO[bytes]) -> dict[str, Any]:
    """The one object of a file.

    Raises:
        ValueError: It is larger than 1 GB, no JSON, or no object.
    """
    data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError("one JSON object of more than 1 GB; write one object per line (JSONL)")
    try:
        value = json.loads(data.removeprefix(codecs.BOM_UTF8))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no JSON ({one_line(error)}); write one object per line (JSONL)") from None
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__}; give objects")
    return value


def _safe(values: Iterator[Any]) -> Iterator[Any]:
    """The values up to where the file is damaged."""
    try:
        yield from values
    except UnreadableFile:
        return


def elements(stream: IO[bytes]) -> Iterator[Any]:
    """The elements of an array, each as soon as it is whole.

    Raises:
        UnreadableFile: The array is damaged or ends early; elements before are yielded.
    """
    decoder, decode = json.JSONDecoder(), codecs.getincrementaldecoder("utf-8-sig")()
    text, place, count, ended = "", 0, 0, False

    def more() -> bool:
        nonlocal text, place, ended
        try:
            data = stream.read(BLOCK)
            text, place = text[place:] + decode.decode(data, not data), 0
        except (OSError, EOFError, ValueError) as error:
            raise UnreadableFile(f"from element {count + 1} on", one_line(error)) from None
        ended = not data
        return bool(data)

    def skip(characters: str) -> str:
        """The next character that is none of these; empty at the end."""
        nonlocal place
        while True:
            while place < len(text) and text[place] in characters:
                place += 1
            if place < len(text):
                return text[place]
            if not more():
                return ""

    more()
    if skip(_SPACE) != "[":
        raise UnreadableFile("", "no JSON array")
    place += 1
    while (following := skip(_SPACE + ",")) not in ("]", ""):
        try:
            value, end = decoder.raw_decode(text, place)
            if end == len(text) and not ended and following not in '{["':  # a number may go on
                raise ValueError("cut")
        except (ValueError, RecursionError) as error:
            if ended or isinstance(error, RecursionError) or len(text) - place > LONGEST:
                raise UnreadableFile(f"from element {count + 1} on", one_line(error)) from None
            more()
            continue
        place, count = end, count + 1
        yield value
    if not following:
        raise UnreadableFile(f"from element {count + 1} on", "the array does not end")
