"""Tables with a column for every rollout: completion_1, reward_1, completion_2, reward_2, ... become rollouts."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gradvar.audit.formats import FORMATS
from gradvar.audit.json_documents import JsonArray
from gradvar.audit.json_lines import json_kinds
from gradvar.audit.malformed import NO_OBJECT
from gradvar.audit.record_values import VERDICTS, Record, mostly, value_at

_NUMBERED = re.compile(r"(.*?[A-Za-z])[_.-]?(\d{1,4})")
_REWARDS = re.compile(
    r"(?:^|_)(?:rewards?|scores?|correct|passed|pass|success|solved|acc|accuracy|verdict|grade)$"
)
_ROLLOUTS = (
    "run",
    "trial",
    "attempt",
    "sample",
    "try",
    "rollout",
    "seed",
    "generation",
    "response",
    "completion",
)


class NumberedColumns(JsonArray):
    """The records of another reader, each cut into its rollouts by the numbers at the end of its columns' names."""

    def __init__(self, reader: Any, families: Mapping[str, Mapping[str, str]]) -> None:
        self._reader, self._families = reader, families
        self.unit, self.format = reader.unit, reader.format
        self.sample = [row for record in reader.sample for row in cut(record, families)]
        self.kinds, self.rare = json_kinds(self.sample)

    def records(self) -> Iterator[tuple[int, Any]]:
        """Every rollout, with the number of its record."""
        for number, record in self._reader.records():
            if not isinstance(record, dict):
                yield number, record if isinstance(record, str) else NO_OBJECT
                continue
            for row in cut(record, self._families):
                yield number, row


def families_of(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The columns of every number by their common beginning, of those that have the most numbers, two at least.

    >>> families_of(["prompt", "reward_1", "reward_2", "level_2"])
    {'reward': {'1': 'reward_1', '2': 'reward_2'}}
    """
    families: dict[str, dict[str, str]] = {}
    for name in names:
        if match := _NUMBERED.fullmatch(name):
            families.setdefault(match[1], {})[match[2]] = name
    longest = max((len(columns) for columns in families.values()), default=0)
    return {base: columns for base, columns in families.items() if longest > 1 and len(columns) == longest}


def cut(record: Record, families: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    """The rollouts of a record: what has no number is in each of them; numbers without any value are left out."""
    numbered = {name for columns in families.values() for name in columns.values()}
    shared = {name: value for name, value in record.items() if name not in numbered}
    numbers = next(iter(families.values()))
    rows = [{base: record.get(columns[number]) for base, columns in families.items()} for number in numbers]
    return [{**shared, **row} for row in rows if any(value not in (None, "") for value in row.values())]


def rollout_families(sample: Sequence[Record], names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The numbered columns of a table whose numbers are those of rollouts; empty where they are none.

    They are where rewards and responses have the same numbers, or where rewards alone have and every prompt stands in
    one record, without a response: else they are several rewards of one rollout.
    """
    families = families_of(names)
    if len({tuple(columns) for columns in families.values()}) > 1:
        return {}
    usual = FORMATS["table"].names
    rewards = [base for base in families if _REWARDS.search(base.lower())]
    marks = [base for base in families if base.lower() in _ROLLOUTS and _are_verdicts(sample, families[base])]
    if rewards and any(base in usual["response"] or f"{base}s" in usual["response"] for base in families):
        return families
    if not (rewards or marks) or any(name in usual["response"] for name in names):
        return {}
    prompt = next((name for name in usual["prompt"] if name in names), "")
    prompts = [str(value_at(record, prompt)) for record in sample]
    if not prompt or len(set(prompts)) < len(prompts) or len(prompts) < 2:
        return {}
    if len(rewards) == 1:
        return {rewards[0]: families[rewards[0]]}
    return {f"{marks[0]}_reward": families[marks[0]]} if len(marks) == 1 and not rewards else {}


def _are_verdicts(sample: Sequence[Record], columns: Mapping[str, str]) -> bool:
    values = [record.get(name) for record in sample for name in columns.values()]
    return mostly(
        v in (0, 1) if isinstance(v, int | float) else isinstance(v, str) and v.strip().lower() in VERDICTS
        for v in values
    )
