"""What one record of a dump is: a rollout, a step as lists, the samples of a prompt, or how many of them succeeded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gradvar.audit.record_values import (
    MISSING,
    Record,
    fraction_of,
    is_chat,
    mostly,
    number_of,
    question_of,
    real_of_text,
    repeats,
    value_at,
)

MOST = 1 << 20  # rollouts of one record
_WORDS = {
    "columns": "; an object is a step, a list a column",
    "matrix": "; an object is a step, with a list of samples for every prompt",
    "samples": "; a row is a group, a list its samples",
    "tokens": ", summed over the tokens",
    "steps": ", summed over the steps",
    "counts": "; a row is a group, k successes of n",
}


@dataclass(frozen=True)
class Shape:
    """A shape: its ``kind``, why (``reason``), the columns of counts, and what is said.

    ``lists``: columns whose values are lists, in the sample. ``attempts``: rollouts of a group where no column has it.
    ``nested``: some names are paths, or words stand for numbers, so that records cannot be read as they are. ``chat``:
    the prompt is a chat that goes on with the model's answers. ``rate``: the first of ``names`` is a share of the
    rollouts, or ``percent`` of them. ``beside_failures``: the second one counts those that failed, not all.
    """

    kind: str = "rollouts"
    reason: str = ""
    lists: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()
    attempts: int = 0
    nested: bool = False
    values: Mapping[str, float] = field(default_factory=dict)
    within: tuple[str, ...] = ()
    first_of: str = ""
    chat: bool = False
    rate: bool = False
    percent: bool = False
    beside_failures: bool = False
    notes: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Return True if a record is a rollout as it stands."""
        return self.kind == "rollouts" and not self.nested

    @property
    def counted(self) -> str:
        """The column that counts successes."""
        return self.names[0] if self.names else ""

    @property
    def words(self) -> str:
        """The shape, for the line that says how a file was read."""
        return _WORDS.get(self.kind, "")

    def has_part(self, name: str, sample: Sequence[Record]) -> bool:
        """Return True if a column has a number for every rollout."""
        is_list = mostly(isinstance(value_at(r, name), list) for r in sample)
        return self.kind != "counts" and (is_list or self.kind not in ("samples", "columns", "matrix"))

    def has_lists(self, name: str) -> bool:
        """Return True if the values of this column are lists."""
        return name in self.lists


def rollouts(
    record: Record, shape: Shape, columns: Mapping[str, str], numeric: Sequence[str]
) -> Iterator[Record]:
    """The rollouts of a record, as flat objects by the names of their columns.

    Args:
        record: The record.
        shape: What it is.
        columns: Columns by role.
        numeric: Columns of rewards and parts.

    Raises:
        ValueError: Lists differ in their length, or counts are none.
    """
    values = {name: value_at(record, name) for name in (*columns.values(), *numeric)}
    prompt = columns["prompt"]
    if shape.within:
        around = [value_at(record, name) for name in shape.within]
        values[prompt] = "/".join(str(x) for x in (*around, values[prompt]) if x is not MISSING)
    if shape.chat:
        asked = values[prompt]
        is_list = isinstance(asked, list) and not is_chat(asked)
        values[prompt] = [question_of(chat) for chat in asked] if is_list else question_of(asked)
    if shape.kind == "counts":
        yield from _of_counts(record, values, shape)
    elif shape.kind == "matrix":
        for row in _of_matrix(values, numeric):
            yield from _of_columns(row, replace(shape, kind="samples"), columns, numeric)
    elif shape.kind in ("columns", "samples"):
        yield from _of_columns(values, shape, columns, numeric)
    else:
        yield _one(values, shape, columns, numeric)


def _one(
    values: Mapping[str, Any], shape: Shape, columns: Mapping[str, str], numeric: Sequence[str]
) -> dict[str, Any]:
    """One rollout: lists of numbers are sums over its tokens, but for a length, which counts them."""
    row = {name: None if value is MISSING else value for name, value in values.items()}
    for name in numeric:
        row[name] = number_of(row[name], shape.values)
    for role in ("length", "logp", "advantage"):
        name = columns.get(role, "")
        value = row.get(name)
        if name and isinstance(value, list):
            row[name] = _of_tokens(role, value)
    return {name: _plain(value) for name, value in row.items()}


def _of_tokens(role: str, values: list[Any]) -> Any:
    """A rollout's figure from those of its tokens."""
    if role == "length":
        flags = all(x in (0, 1) for x in values)  # a mask counts what it keeps
        steps = len(values) < 64 and all(isinstance(x, int) and x > 1 for x in values)
        return sum(values) if flags or steps else len(values)
    if role == "advantage":
        distinct = {x for x in values if x}
        return distinct.pop() if len(distinct) == 1 else None if distinct else 0.0
    return number_of(values, {})


def _of_columns(
    values: Mapping[str, Any], shape: Shape, columns: Mapping[str, str], numeric: Sequence[str]
) -> Iterator[Record]:
    sizes = {name: len(values[name]) for name in numeric if isinstance(values[name], list)}
    if not sizes:
        raise ValueError("the reward is no list")
    size = next(iter(sizes.values()))
    whole = {columns[r] for r in ("prompt", "text", "step", "group", "source") if r in columns}
    for name, value in values.items():
        apart = name in numeric or (shape.kind == "columns" or name not in whole)
        if isinstance(value, list) and len(value) != size and apart:
            raise ValueError(f"'{name}' has {len(value)} entries, not {size}")
    for i in range(size):
        row = {}
        for name, value in values.items():
            repeated = not isinstance(value, list) or (shape.kind == "samples" and name in whole)
            row[name] = value if repeated else value[i]
        yield _one(row, shape, columns, numeric)


def _of_matrix(values: Mapping[str, Any], numeric: Sequence[str]) -> Iterator[Record]:
    """The prompts of a record, each with the lists of its samples."""
    size = max((len(values[name]) for name in numeric if isinstance(values[name], list)), default=0)
    for name in numeric:
        if not isinstance(values[name], list) or len(values[name]) != size:
            raise ValueError(f"'{name}' is no list of {size} lists")
    for i in range(size):
        yield {n: v[i] if isinstance(v, list) and len(v) == size else v for n, v in values.items()}


def _of_counts(record: Record, values: Mapping[str, Any], shape: Shape) -> Iterator[Record]:
    """n rollouts, k of which have the reward 1."""
    name = shape.counted
    value = value_at(record, name)
    fraction = fraction_of(value)
    if fraction:
        won, size = map(float, fraction)
    else:
        beside = value_at(record, shape.names[1]) if len(shape.names) > 1 else shape.attempts
        size = repeats(beside) if isinstance(beside, list) else beside
        value = real_of_text(number_of(value, shape.values))
        if isinstance(size, bool) or not isinstance(size, int | float) or not isinstance(value, int | float):
            raise ValueError(f"'{name}' is no count")
        size = value + size if shape.beside_failures else size
        won = round(value * size / (100 if shape.percent else 1)) if shape.rate else value
    if not 0 <= won <= size or size > MOST or won != int(won) or size != int(size):
        raise ValueError(f"'{name}' is {won} of {size}")
    row = {n: _plain(None if v is MISSING else v) for n, v in values.items()}
    for i in range(int(size)):
        yield {**row, name: int(i < won)}


def _plain(value: Any) -> Any:
    """Numbers that JSON does not have, as text."""
    return (
        str(value)
        if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf")))
        else value
    )
