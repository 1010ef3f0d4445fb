"""Values in records of any nesting: a name may be a path, and a value is a number, a text, or a list of them."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]
MISSING = object()
VERDICTS = {
    "yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0, "correct": 1.0, "incorrect": 0.0, "wrong": 0.0, "right": 1.0,
    "pass": 1.0, "passed": 1.0, "fail": 0.0, "failed": 0.0, "success": 1.0, "failure": 0.0, "timeout": 0.0,
}  # fmt: skip
"""Words that writers use for 1 and 0."""
_OF_OBJECT = ("score", "value", "reward", "total")  # where the number of an object stands
_FRACTION = re.compile(r"\s*(\d{1,9})\s*(?:/|of|out of)\s*(\d{1,9})\s*", re.ASCII | re.IGNORECASE)
_IDENTITIES = re.compile(r"(?:^|_)(?:id|idx|index|uuid|hash|key|task)$")
_REAL = re.compile(r"-?\d{1,300}(?:\.\d{1,300})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_NAMED_NUMBER = re.compile(r"([A-Za-z][A-Za-z _.:=#-]*)\d{1,12}", re.ASCII)
_ASKS = ("user", "human", "system")  # who speaks before the model does


def value_at(record: Any, name: str) -> Any:
    """The value under a name, or at a path such as ``a.b.0``; ``MISSING`` where there is none.

    ``*`` stands for all entries of a list or of an object (a list of those that have the rest of the path), ``?`` for
    the first. A name that the record has as it stands is no path.

    >>> value_at({"a": [{"b": 1}, {"b": 2}]}, "a.*.b"), value_at({"a.b": 3}, "a.b")
    ([1, 2], 3)
    """
    if isinstance(record, Mapping) and name in record:
        return record[name]
    first, _, rest = name.partition(".")
    if first in ("*", "?"):
        entries = list(record.values()) if isinstance(record, Mapping) else record
        if not isinstance(entries, list) or not entries:
            return MISSING
        if first == "?":
            return value_at(entries[0], rest) if rest else entries[0]
        values = [value_at(entry, rest) if rest else entry for entry in entries]
        return [value for value in values if value is not MISSING] or MISSING
    if isinstance(record, Mapping) and first in record:
        value = record[first]
    elif isinstance(record, list) and first.isdecimal() and int(first) < len(record):
        value = record[int(first)]
    else:
        return MISSING
    return value_at(value, rest) if rest else value


def kind(value: Any) -> str:
    """Return number, text, null or other; truth values are numbers too."""
    if isinstance(value, int | float):
        return "number"
    return "null" if value is None or value is MISSING else "text" if isinstance(value, str) else "other"


def kind_at(sample: Sequence[Record], name: str) -> str:
    """The most frequent kind at a path in the first records; null where less than half of them have it."""
    kinds = [kind(value_at(record, name)) for record in sample]
    there = [k for k in kinds if k != "null"]
    return max(set(there), key=there.count) if 2 * len(there) > len(kinds) else "null"


def numbers(values: Any) -> bool:
    """Return True for a list of numbers, of which some may be missing."""
    return isinstance(values, list) and all(isinstance(x, int | float) or x is None for x in values)


def number_of(value: Any, words: Mapping[str, float]) -> Any:
    """A value as a number where it has one: a word's, points of points, a sum over a list, a score times its weight."""
    if isinstance(value, str):
        points = fraction_of(value)
        if points and points[1]:
            return points[0] / points[1]
        return words.get(value, words.get(value.strip().lower(), value))
    if isinstance(value, Mapping):
        score = next((value[name] for name in _OF_OBJECT if name in value), None)
        weight = value.get("weight", 1.0)
        if isinstance(score, int | float) and isinstance(weight, int | float):
            return score * weight
        return value
    if isinstance(value, list):
        parts = [number_of(x, words) for x in value if x is not None]
        if parts and all(isinstance(x, int | float) for x in parts):
            return math.fsum(parts)
    return value


def is_chat(value: Any) -> bool:
    """Return True for a list of messages."""
    return isinstance(value, list) and bool(value) and all(map(_speaker, value))


def _speaker(message: Any) -> str:
    return str(message.get("role") or message.get("from") or "") if isinstance(message, Mapping) else ""


def question_of(chat: Any) -> Any:
    """The messages of a chat up to the last one that the model was asked; other values as they are.

    >>> question_of([{"role": "user", "content": "1 + 1 ="}, {"role": "assistant", "content": "2"}])
    [{'role': 'user', 'content': '1 + 1 ='}]
    """
    if not is_chat(chat):
        return chat
    last = max((i for i, message in enumerate(chat) if _speaker(message) in _ASKS), default=len(chat) - 1)
    return chat[: last + 1]


def after_system_prompt(path: str, sample: Sequence[Record]) -> str:
    """The path of the second message where the first one is a system prompt, by its role or as all have the same.

    >>> chats = [{"m": [{"role": "system", "content": "s"}, {"role": "user", "content": "1 + 1 ="}]}]
    >>> after_system_prompt("m.0.content", chats)
    'm.1.content'
    """
    before, first, after = f".{path}.".rpartition(".0.")
    if not first:
        return path
    start, end = before.lstrip("."), after.rstrip(".")
    second = ".".join(filter(None, (start, "1", end)))
    roles = [list(leaves(value_at(r, f"{start}.0.role"))) for r in sample]
    if mostly(role != [MISSING] for role in roles):
        return second if mostly(role[:1] == ["system"] for role in roles) else path
    if not mostly(
        list(leaves(value_at(r, ".".join(filter(None, (start, "2", end)))))) != [MISSING] for r in sample
    ):
        return path  # the second message is the last one: an answer
    texts, next_texts = ([str(value_at(r, name)) for r in sample] for name in (path, second))
    repeated = 1 < len(set(next_texts)) <= len(next_texts) / 2
    return second if len(set(texts)) == 1 and repeated else path


def repeats(responses: Any) -> int:
    """How many responses a value holds: of lists within a list, one for every request, those of a request.

    >>> repeats(["a", "b"]), repeats([["a", "b", "c"]]), repeats([[["-1.0", "False"]], [["-2.0", "True"]]])
    (2, 3, 1)
    """
    if not isinstance(responses, list):
        return 0
    inner = [len(x) for x in responses if isinstance(x, list)]
    return inner[0] if inner and len(inner) == len(responses) else len(responses)


def leaves(value: Any) -> Iterator[Any]:
    """What is in nested lists, in order: ``[["a", "b"]]`` has two leaves."""
    if isinstance(value, list):
        for entry in value:
            yield from leaves(entry)
    else:
        yield value


def is_identity(name: str) -> bool:
    """Return True for a name of a column that numbers or names prompts, and does not hold them."""
    return bool(_IDENTITIES.search(name.rpartition(".")[2].lower()))


def is_number(text: str) -> bool:
    """Return True for text that is a number, NaN and infinities among them, or a truth value."""
    try:
        float(text)
    except ValueError:
        return text.strip().lower() in ("true", "false")
    return True


def fraction_of(value: Any) -> tuple[int, int] | None:
    """The numbers of text such as 3/8 or 3 of 8; None for any other value.

    >>> fraction_of("3/8"), fraction_of("3 out of 8"), fraction_of("3.5")
    ((3, 8), (3, 8), None)
    """
    match = _FRACTION.fullmatch(value) if isinstance(value, str) else None
    return (int(match[1]), int(match[2])) if match else None


def real_of_text(value: Any) -> Any:
    """The number that text holds, written as JSON writes it; any other value as it is.

    >>> real_of_text("0.75"), real_of_text("1_0"), real_of_text("n/a")
    (0.75, '1_0', 'n/a')
    """
    return float(value) if isinstance(value, str) and _REAL.fullmatch(value.strip()) else value


def words_before_number(value: Any) -> str | None:
    """What stands before the number of text such as global_step_10; None for any other value.

    >>> words_before_number("global_step_10"), words_before_number("10"), words_before_number("v2 of 3")
    ('global_step_', None, None)
    """
    match = _NAMED_NUMBER.fullmatch(value) if isinstance(value, str) else None
    return match[1] if match else None


def mostly(truths: Iterable[bool]) -> bool:
    """Return True where more than half are true: one damaged record does not give the others another meaning."""
    truths = list(truths)
    return 2 * sum(truths) > len(truths)
