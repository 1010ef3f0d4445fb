"""JSON that is no lines: an array in any layout, one object over many lines, a table of columns and data."""

import codecs
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

from gradvar.audit.columns import ColumnLayout
from gradvar.audit.database import FilePart, Reject
from gradvar.audit.formats import FORMATS, Format
from gradvar.audit.json_lines import json_kinds
from gradvar.audit.malformed import UnreadableFile, one_line
from gradvar.audit.task_results import rows_of_tasks

BLOCK = 1 << 20  # bytes at once
LONGEST = 1 << 26  # characters of an element
LARGEST = 1 << 30  # bytes of a document that is one object
SAMPLE = 64
_SPACE = " \t\r\n"
_RUNS = {characters: re.compile(f"[{characters}]*") for characters in (_SPACE, _SPACE + ",")}
_COLUMNS = {"prompt", "problem", "question", "input", "reward", "rewards", "score", "scores", "step"}
_DEEPEST = 4  # arrays within arrays whose values are rollouts


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
        return _rows_of_table(list(map(str, names)), data)
    if not inside:
        lists = [
            k
            for k, v in document.items()
            if isinstance(v, list) and v and all(isinstance(x, dict) for x in v)
        ]
        prompts = {"prompt", "problem", "question", "messages", "input"}
        inside = lists[0] if len(lists) == 1 and not prompts & document.keys() else ""
    if not inside:
        return _rows_by_key(document)
    above = {f"^{k}": v for k, v in document.items() if isinstance(v, int | float | str)}
    return [{**above, **x} if isinstance(x, dict) else x for entry in document[inside] for x in _flat(entry)]


def _rows_of_table(names: list[str], data: list[list[Any]]) -> list[Any]:
    """The rows of a table of columns and data."""
    return [dict(zip(names, row, strict=True)) if len(row) == len(names) else "a short row" for row in data]


def _rows_by_key(document: dict[str, Any]) -> list[Any]:
    """An object of columns by row numbers, of objects or of lists by the keys of prompts; else the object alone."""
    values = list(document.values())
    if len(values) > 1 and all(isinstance(v, dict) for v in values):
        keys = values[0].keys()
        if _COLUMNS & document.keys() and all(v.keys() == keys for v in values):  # as pandas writes a table
            return [{name: column[key] for name, column in document.items()} for key in keys]
    if _COLUMNS & document.keys():
        return [document]
    tasks = [name for name, v in document.items() if isinstance(v, dict)]
    facts = {f"^{name}": v for name, v in document.items() if isinstance(v, str | int | float)}
    if len(tasks) == 1 and len(tasks) + len(facts) + values.count(None) == len(
        values
    ):  # below what is said of them
        return [{**facts, **row} for row in rows_of_tasks(document[tasks[0]]) or ()] or [document]
    return (rows_of_tasks(document) if len(values) > 1 else None) or [document]


def read_object(stream: IO[bytes]) -> dict[str, Any] | None:
    """The one object of a file; None where another one follows it.

    Raises:
        ValueError: It is larger than 1 GB, no JSON, or no object.
    """
    data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError("one JSON object of more than 1 GB; write one object per line (JSONL)")
    try:
        value = json.loads(data.removeprefix(codecs.BOM_UTF8))
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            return None
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
    """The values of one array or of several, or of objects one after another, each as soon as it is whole.

    Of an array within an array the values are yielded, not the array.

    Raises:
        UnreadableFile: The text is damaged or ends early; elements before are yielded.
    """
    reader = _ValueReader(stream)
    first = reader.following(_SPACE)
    if first not in ("[", "{"):
        raise UnreadableFile("", "no JSON array")
    while (opening := reader.following(_SPACE)) == "[":
        reader.place += 1
        while (following := reader.following(_SPACE + ",")) not in ("]", ""):
            yield from _flat(reader.value(following))
        if not following:
            raise reader.damage("the array does not end")
        reader.place += 1
    while opening:
        yield from _flat(reader.value(opening))
        opening = reader.following(_SPACE + ",")


def _flat(value: Any, depth: int = 0) -> Iterator[Any]:
    """The values within arrays; an array of anything but objects and arrays is a value."""
    is_group = isinstance(value, list) and value and all(isinstance(x, (dict, list)) for x in value)
    if not is_group or depth > _DEEPEST:
        yield value
        return
    for entry in value:
        yield from _flat(entry, depth + 1)


class _ValueReader:
    """Values of JSON from a stream, in bounded memory; ``place`` is where the next one begins in what was read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._decode = stream, codecs.getincrementaldecoder("utf-8-sig")()
        self._decoder, self._text, self._ended, self._count = json.JSONDecoder(), "", False, 0
        self.place = 0
        self._more()

    def damage(self, reason: str) -> UnreadableFile:
        """The error that names what cannot be read."""
        return UnreadableFile(f"from element {self._count + 1} on", reason)

    def _more(self) -> bool:
        try:
            data = self._stream.read(BLOCK)
            self._text, self.place = self._text[self.place :] + self._decode.decode(data, not data), 0
        except (OSError, EOFError, ValueError) as error:
            raise self.damage(one_line(error)) from None
        self._ended = not data
        return bool(data)

    def following(self, characters: str) -> str:
        """The next character that is none of these; empty at the end."""
        while True:
            skipped = _RUNS[characters].match(self._text, self.place)
            self.place = skipped.end() if skipped else self.place
            if self.place < len(self._text):
                return self._text[self.place]
            if not self._more():
                return ""

    def value(self, following: str) -> Any:
        """The value that begins here, with this character."""
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self.place)
                if (
                    end == len(self._text) and not self._ended and following not in '{["'
                ):  # a number may go on
                    raise ValueError("cut")
            except (ValueError, RecursionError) as error:
                if self._ended or isinstance(error, RecursionError) or len(self._text) - self.place > LONGEST:
                    raise self.damage(one_line(error)) from None
                self._more()
                continue
            self.place, self._count = end, self._count + 1
            return value
