"""What one record of a dump is: a rollout, a step as lists, the samples of a prompt, or how many of them succeeded."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradvar.audit.formats import Format
from gradvar.audit.record_values import MISSING, Record, is_fraction, leaves, number_of, numbers, value_at

MOST = 1 << 20  # rollouts of one record
_WORDS = {
    "columns": "; an object is a step, a list a column",
    "samples": "; a row is a group, a list its samples",
    "tokens": ", summed over the tokens",
    "counts": "; a row is a group, k successes of n",
}


@dataclass(frozen=True)
class Shape:
    """A shape: its ``kind``, why (``reason``), the columns of counts, and what is said.

    ``lists``: columns whose values are lists, in the sample. ``attempts``: rollouts of a group where no column has it.
    ``nested``: some names are paths, or words stand for numbers, so that records cannot be read as they are.
    """

    kind: str = "rollouts"
    reason: str = ""
    lists: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()
    attempts: int = 0
    nested: bool = False
    values: Mapping[str, float] = field(default_factory=dict)
    within: str = ""
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
        return self.kind != "counts" and (is_list or self.kind not in ("samples", "columns"))

    def has_lists(self, name: str) -> bool:
        """Return True if the values of this column are lists."""
        return name in self.lists


def mostly(truths: Iterable[bool]) -> bool:
    """Return True where more than half are true: one damaged record does not give the others another meaning."""
    truths = list(truths)
    return 2 * sum(truths) > len(truths)


def find_shape(
    declared_kind: str,
    columns: Mapping[str, str],
    rewards: Sequence[str],
    sample: Sequence[Record],
    attempts: str,
    declared: Format,
    kinds: Mapping[str, str],
) -> Shape:
    """Find the shape of the records.

    Args:
        declared_kind: The shape that the format declares, if it does.
        columns: Columns by role.
        rewards: Columns of the reward, none where there are counts only.
        sample: The first records; without them, records are rollouts.
        attempts: How many rollouts a group has, or the column that says so.
        declared: The format.
        kinds: The kind of every column; another name is a path.

    Raises:
        ValueError: A rate stands there without the number of its rollouts.
    """
    names = (*columns.values(), *rewards)
    lists = frozenset(n for n in names if mostly(isinstance(value_at(r, n), list) for r in sample))
    paths = any(n not in kinds for n in names)
    roles = {"sampler_logp", "trainer_logp"} <= columns.keys()
    optional = any(columns.get(role) in lists for role in ("length", "logp", "advantage"))
    more: dict[str, Any] = {"lists": lists, "values": declared.values, "within": declared.within}
    nested = paths or bool(declared.within) or bool(declared.values) or roles or optional
    if declared_kind and declared_kind != "counts":
        return Shape(declared_kind, "", nested=nested or declared_kind == "rollouts", **more)
    counts = _counts(columns, rewards, sample, attempts)
    if counts:
        return Shape("counts", **{"nested": nested, **more, **counts})
    if not rewards or not any(n in lists for n in rewards):
        return Shape(nested=nested, **more)
    kind, reason = _of_lists(columns, rewards[0], sample)
    return Shape(kind, reason, nested=nested, **more)


def _of_lists(columns: Mapping[str, str], reward: str, sample: Sequence[Record]) -> tuple[str, str]:
    """The shape where the reward is a list: columns of a step, samples of a prompt, or tokens of a rollout."""

    def alike(name: str) -> bool:
        """Whether a column has as many entries as the reward, which are not the tokens of one response."""
        pairs = [(value_at(r, name), value_at(r, reward)) for r in sample]
        both = [(a, b) for a, b in pairs if isinstance(a, list) and isinstance(b, list)]
        is_chat = all(isinstance(x, dict) and "role" in x for a, _ in both for x in a)
        return not is_chat and mostly(len(a) == len(b) for a, b in both)

    prompt, response = columns["prompt"], columns.get("response", "")
    tokens = mostly(numbers(value_at(r, prompt)) for r in sample)
    if alike(prompt) and not tokens:
        return "columns", f"'{prompt}' and '{reward}' are lists of one length"
    values = [value_at(r, response) for r in sample] if response else []
    if mostly(isinstance(v, str) for v in values) or mostly(numbers(v) for v in values):
        return "tokens", f"'{reward}' is a list beside one '{response}': rewards per token"
    return "samples", f"'{reward}' is a list: the samples of a prompt"


def _counts(
    columns: Mapping[str, str], rewards: Sequence[str], sample: Sequence[Record], attempts: str
) -> dict[str, Any]:
    """What makes records counts: k of n by columns, as text, or a rate over as many responses as there are."""
    rate = rewards[0] if rewards else columns.get("rate", "")
    values = [value_at(r, rate) for r in sample] if rate else []
    if mostly(is_fraction(v) for v in values):
        return {"names": (rate,), "reason": f"'{rate}' is k/n"}
    number = int(attempts) if attempts.isdecimal() else 0
    trials = columns.get("attempts", "")
    if rewards:
        response = columns.get("response", "")
        sizes = [_size(r, response) for r in sample] if response else []
        rates = [number_of(v, {}) for v in values]
        is_rate = bool(sizes) and min(sizes) > 1 and all(isinstance(v, int | float) for v in rates)
        if is_rate and not any(isinstance(v, list) for v in values) and _whole(rates, sizes):
            reason = f"'{rate}' is one number beside {sizes[0]} of '{response}': their rate"
            return {"names": (rate, response), "reason": reason}
        return {}
    won = columns.get("successes", "")
    if won and (trials or number):
        return {
            "names": (won, *filter(None, [trials])),
            "attempts": number,
            "reason": f"'{won}' of '{trials or number}'",
        }
    if mostly(isinstance(v, int | float) for v in values):
        if not trials and not number:
            raise ValueError(
                f"'{rate}' is a rate, of how many rollouts is not said; give --attempts N, or the column that has it"
            )
        return {
            "names": (rate, *filter(None, [trials])),
            "attempts": number,
            "reason": f"'{rate}' of '{trials or number}'",
        }
    return {}


def _size(record: Record, name: str) -> int:
    """Responses under a name; neither a chat nor tokens are several responses."""
    value = value_at(record, name)
    if (
        not isinstance(value, list)
        or numbers(value)
        or any(isinstance(x, dict) and "role" in x for x in value)
    ):
        return 0
    return len(list(leaves(value)))


def _whole(rates: Sequence[Any], sizes: Sequence[int]) -> bool:
    """Return True if every rate is in [0, 1] and a whole number of so many."""
    pairs = zip(rates, sizes, strict=True)
    return all(0 <= r <= 1 and abs(r * n - round(r * n)) < 1e-6 * n for r, n in pairs)


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
    if shape.within:
        values[columns["prompt"]] = f"{value_at(record, shape.within)}/{values[columns['prompt']]}"
    if shape.kind == "counts":
        yield from _of_counts(record, values, shape, columns)
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


def _of_counts(
    record: Record, values: Mapping[str, Any], shape: Shape, columns: Mapping[str, str]
) -> Iterator[Record]:
    """n rollouts, k of which have the reward 1."""
    name = shape.counted
    value = value_at(record, name)
    if is_fraction(value):
        won, size = (float(x) for x in value.split("/"))
    else:
        beside = value_at(record, shape.names[1]) if len(shape.names) > 1 else shape.attempts
        size = len(list(leaves(beside))) if isinstance(beside, list) else beside
        value = number_of(value, shape.values)
        if isinstance(size, bool) or not isinstance(size, int | float) or not isinstance(value, int | float):
            raise ValueError(f"'{name}' is no count")
        is_rate = name == columns.get("rate") or isinstance(beside, list)
        won = round(value * size) if is_rate else value
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
