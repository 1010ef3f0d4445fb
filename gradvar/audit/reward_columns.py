"""Which columns are the reward: a total alone, or several that are added up; and the parts beside a total."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise

import numpy as np

from gradvar.audit.counts import COUNT_ROLES
from gradvar.audit.formats import Format
from gradvar.audit.record_values import (
    MISSING,
    VERDICTS,
    Record,
    is_number,
    kind_at,
    leaves,
    mostly,
    numbers,
    value_at,
)

TOTALS = ("reward", "rewards", "total_reward", "reward_total", "total", "final_reward", "overall_reward", "reward_sum",
          "sum_reward", "combined_reward", "overall", "score")  # fmt: skip
_WORDS = ("reward", "score", "correct", "accuracy", "penalty", "bonus", "format")
_SHORT = ("acc", "em", "pass", "passed")
_VERDICT_NAMES = (
    "label", "labels", "grade", "grades", "verdict", "verdicts", "judgement",
    "judgment", "outcome", "outcomes", "result", "results",
)  # fmt: skip
_LIKELY = ("reward", "penalty", "bonus")
_OVER = "mean|avg|average|std|var|min|max|median"
_STATISTIC = re.compile(rf"(?:{_OVER})(?:_(?:reward|score)s?|/.*)|(?:(?:reward|score)s?_|.*/)(?:{_OVER})")
"""A figure of a group's rewards, such as reward_std or mean/reward, which is no reward of a rollout."""


@dataclass(frozen=True)
class RewardColumns:
    """Columns that are added up (``names``), ``parts`` that are shown beside them, what is said, and why."""

    names: tuple[str, ...]
    parts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""


def find_rewards(
    declared: Format,
    kinds: Mapping[str, str],
    usual: Mapping[str, str],
    columns: Mapping[str, str],
    by_hand: Sequence[str],
    sample: Sequence[Record],
) -> RewardColumns:
    """Find the reward.

    Args:
        declared: The format.
        kinds: The kind of every column.
        usual: The same of columns that are not rare.
        columns: Columns that are taken already, by role.
        by_hand: RewardColumns that were named.
        sample: The first records.

    Raises:
        ValueError: A total and its parts were named together.
    """
    counts = (*COUNT_ROLES, "rate")
    taken = {*(n for role, n in columns.items() if role not in counts), *declared.columns}
    candidates = [n for n in kinds if _holds_numbers(n, kinds, sample) and not n.startswith("__")]
    likely = [n for n in candidates if n not in taken and _sounds_like_one(n)]
    if by_hand:
        total = _sum_of_others(by_hand, sample)
        if total:
            others = ", ".join(n for n in by_hand if n != total)
            raise ValueError(
                f"reward: '{total}' is the sum of {others} in the first rows; name the total or the parts"
            )
        return RewardColumns(tuple(by_hand), tuple(n for n in likely if n not in by_hand))
    if declared.rewards_between:
        between = [n for n in _between(declared.rewards_between, kinds) if n in candidates and n not in taken]
        names = [n for n in between if not _STATISTIC.fullmatch(n.lower())]
        if names:
            return _without_total(names, likely, sample)
    here = {n for n in usual if _may_be_reward(n, kinds, sample)}
    name = next((n for n in _declared_names(declared, sample) if n in here or _at_path(n, sample)), "")
    if name:
        if score := _score_of_object(name, sample):
            return _with_parts(f"{name}.{score}", name, sample)
        _refuse_object(name, sample)
        parts = tuple(
            n for n in candidates if n != name and n not in columns.values() and _is_part(n, declared, likely)
        )
        return RewardColumns((name,), parts, _left_out(parts, name))
    figures = [n for n in usual if _STATISTIC.fullmatch(n.lower())]
    is_summary = any("/" in n for n in figures)  # a table of figures by task has no rewards of rollouts
    marked = [n for n in likely if n in usual and n not in figures and not is_summary]
    names = [n for n in marked if any(word in n.lower() for word in _LIKELY)]
    names = names or _numbers_of_object(declared.names["reward"], usual, sample)
    if not names:
        nested = _inside(declared.names["reward"], usual, sample) or _verdict(usual, columns, sample)
        if nested:
            return nested
    return _without_total(names, likely, sample)


def _may_be_reward(name: str, kinds: Mapping[str, str], sample: Sequence[Record]) -> bool:
    """Return False for an object of several numbers: its entries are rewards, and it is none."""
    values = [value_at(record, name) for record in sample]
    objects = sum(isinstance(v, Mapping) and "score" not in v and "value" not in v for v in values)
    return kinds[name] != "other" or 2 * objects <= len(values)


def _score_of_object(name: str, sample: Sequence[Record]) -> str:
    """Under which key the number of an object stands; empty where values are no objects, or have a weight."""
    keys = _keys_at(name, sample) if mostly(isinstance(value_at(r, name), Mapping) for r in sample) else []
    return "" if "weight" in keys else next((key for key in ("score", "value") if key in keys), "")


def _refuse_object(name: str, sample: Sequence[Record]) -> None:
    """Raise ``ValueError`` for an object of several numbers, of which none is known to be the reward."""
    if "." not in name or not mostly(isinstance(value_at(r, name), Mapping) for r in sample):
        return
    keys = _keys_at(name, sample)
    marks = [key for key in keys if _are_marks(f"{name}.{key}", sample)]
    if marks and {"weight", "reward", "total"}.isdisjoint(keys):
        shown = ", ".join(f"'{key}'" for key in marks[:8])
        raise ValueError(
            f"'{name}' holds several numbers ({shown}); name one with --reward {name}.{marks[0]}"
        )


def _numbers_of_object(names: Sequence[str], kinds: Mapping[str, str], sample: Sequence[Record]) -> list[str]:
    """The paths of all numbers in an object that has the name of a reward."""
    for column in (n for n in names if kinds.get(n) == "other"):
        first = next((v for r in sample if isinstance(v := value_at(r, column), Mapping)), {})
        paths = [f"{column}.{key}" for key in first]
        if paths := [path for path in paths if kind_at(sample, path) == "number" or _are_lists(path, sample)]:
            return paths
    return []


def _are_lists(path: str, sample: Sequence[Record]) -> bool:
    """Return True where most records have a list of numbers at a path."""
    values = [value_at(record, path) for record in sample]
    return 2 * sum(isinstance(v, list) and bool(v) and numbers(v) for v in values) > len(values)


def _inside(names: Sequence[str], kinds: Mapping[str, str], sample: Sequence[Record]) -> RewardColumns | None:
    """A reward inside of an object, or of every object of a list, or one object further in; None where there is none.

    Numbers beside it that may be its parts are named.
    """
    known = (*names, *(n for n in _VERDICT_NAMES if not n.startswith("label")))
    for column in (n for n, kind in kinds.items() if kind == "other"):
        for start in (f"{column}.*",) if _are_entries(column, sample) else (column, f"{column}.*"):
            keys = _keys_at(start, sample)
            for name in (n for n in known if n in keys):
                if _are_marks(f"{start}.{name}", sample):
                    return _with_parts(f"{start}.{name}", start, sample)
            for key in (*(n for n in known if n in keys), *(k for k in keys if k not in known)):
                inner = _keys_at(f"{start}.{key}", sample)
                total = next((n for n in (*known, *TOTALS, "value") if n in inner), "")
                if total and _are_marks(f"{start}.{key}.{total}", sample):
                    if key in known or total in known:
                        return _with_parts(f"{start}.{key}.{total}", f"{start}.{key}", sample)
                elif key in known:
                    paths = [path for n in inner if _are_marks(path := f"{start}.{key}.{n}", sample)]
                    if paths:
                        return _without_total(paths, (), sample)
    return None


def _are_entries(column: str, sample: Sequence[Record]) -> bool:
    """Return True for objects of objects alike, such as samples by their numbers."""
    values = [value_at(record, column) for record in sample]
    return mostly(
        isinstance(v, Mapping)
        and len(v) > 1
        and all(isinstance(x, Mapping) for x in v.values())
        and len({tuple(x) for x in v.values()}) == 1
        for v in values
    )


def _are_marks(path: str, sample: Sequence[Record]) -> bool:
    """Return True where most records have a number or a verdict at a path, or in each object of a list."""
    if kind_at(sample, path) == "number" or ("*" in path and _are_lists(path, sample)):
        return True
    marks = [mark for record in sample for mark in leaves(value_at(record, path))]
    return bool(marks) and all(isinstance(mark, str) and _mark(mark) is not None for mark in marks)


def _keys_at(path: str, sample: Sequence[Record]) -> list[str]:
    """The keys of the objects at a path."""
    values = (value_at(record, path) for record in sample)
    entries = (v[0] if isinstance(v, list) and v else v for v in values)
    return list(next((v for v in entries if isinstance(v, Mapping)), {}))


def _with_parts(path: str, above: str, sample: Sequence[Record]) -> RewardColumns:
    """The reward at a path; numbers beside it, ``above`` them, that may be its parts are named."""
    paths = (f"{above}.{key}" for key in _keys_at(above, sample))
    of_reward = above.endswith((".reward", ".rewards", ".score", ".scores"))
    parts = tuple(
        p
        for p in paths
        if p != path and (of_reward or _sounds_like_one(p.rpartition(".")[2])) and _are_marks(p, sample)
    )
    return RewardColumns((path,), parts, _left_out(parts, path))


def _verdict(
    kinds: Mapping[str, str], columns: Mapping[str, str], sample: Sequence[Record]
) -> RewardColumns | None:
    """A column of verdicts that has the name of one: 0 and 1, or words for them; None where there is none.

    A label may be the answer that was wanted; it is a verdict where it differs between rollouts of a prompt.

    Raises:
        ValueError: A label may be a verdict as well as an answer.
    """
    for name in (n for n in kinds if n.lower() in _VERDICT_NAMES and n not in columns.values()):
        by_prompt: dict[str, set[float]] = {}
        values = [(value_at(r, columns["prompt"]), value_at(r, name)) for r in sample]
        marks = [(prompt, mark) for prompt, value in values for mark in leaves(value)]
        known = [(prompt, _mark(mark)) for prompt, mark in marks if mark is not None and mark is not MISSING]
        if not known or any(mark is None for _, mark in known):
            continue
        for prompt, mark in known:
            by_prompt.setdefault(str(prompt), set()).add(float(mark or 0))
        if not any(len(marks) > 1 for marks in by_prompt.values()) and name.lower().startswith("label"):
            raise ValueError(
                f"no column for reward; '{name}' is 0 or 1 and the same for all rollouts of a prompt, so it may be the "
                f"answer that was wanted; if it is the verdict, say --reward {name}"
            )
        return RewardColumns((name,), reason=f"'{name}' is a verdict by its name and its values")
    return None


def _mark(value: object) -> float | None:
    """A verdict as a number; None for any other value."""
    if isinstance(value, str):
        return VERDICTS.get(value.strip().lower())
    return float(value) if isinstance(value, int | float) and value in (-1, 0, 1) else None


def _sounds_like_one(name: str) -> bool:
    return name.lower() in _SHORT or any(word in name.lower() for word in _WORDS)


def _declared_names(declared: Format, sample: Sequence[Record]) -> Iterator[str]:
    if declared.rewards_in and sample:
        named = value_at(sample[0], declared.rewards_in)
        yield from (n for n in named if isinstance(n, str)) if isinstance(named, list) else ()
    yield from declared.names["reward"]


def _at_path(name: str, sample: Sequence[Record]) -> bool:
    return "." in name and bool(sample) and kind_at(sample, name) != "null"


def _holds_numbers(name: str, kinds: Mapping[str, str], sample: Sequence[Record]) -> bool:
    """Return True for a column of numbers, or of lists of numbers."""
    values = [value_at(record, name) for record in sample]
    if kinds[name] == "number":  # of a CSV every column may be, so the values are asked
        texts = sum(isinstance(v, str) and not is_number(v) for v in values)
        return 2 * texts <= len(values)
    return kinds[name] == "other" and 2 * sum(map(numbers, values)) > len(values)


def _between(ends: Sequence[str], kinds: Mapping[str, str]) -> list[str]:
    """The columns after the first of two and before the second, where there is one."""
    names = list(kinds)
    start = names.index(ends[0]) + 1 if ends[0] in names else 0
    stop = names.index(ends[1]) if ends[1] in names else len(names)
    return names[start:stop] if stop >= start else names[start:]


def _is_part(name: str, declared: Format, likely: Sequence[str]) -> bool:
    return name in likely or any(fnmatchcase(name, pattern) for pattern in declared.parts)


def _left_out(parts: Sequence[str], total: str) -> tuple[str, ...]:
    if not parts:
        return ()
    shown = ", ".join(f"'{n}'" for n in parts)
    return (f"the reward is '{total}' alone; not added to it: {shown} (--reward A B adds columns up)",)


def _without_total(names: Sequence[str], likely: Sequence[str], sample: Sequence[Record]) -> RewardColumns:
    """Of several candidates the total alone, if one of them is it; else all of them, added up."""
    others = tuple(n for n in likely if n not in names)
    last = {n.rpartition(".")[2]: n for n in names}
    total = next((last[n] for n in TOTALS if n in last), "") if len(names) > 1 else ""
    reason = f"'{total}' is the total by its name" if total else ""
    if not total and (total := _sum_of_others(names, sample)):
        reason = f"'{total}' is the sum of the others in the first rows"
    if total:
        parts = tuple(n for n in (*names, *others) if n != total)
        return RewardColumns((total,), parts, _left_out(parts, total), reason)
    notes: tuple[str, ...] = ()
    if len(names) > 1:
        notes = (f"{len(names)} columns are rewards and are added up; --reward-weights gives their weights",)
    if others and names:
        shown = ", ".join(f"'{n}'" for n in others)
        notes = (*notes, f"not in the reward: {shown} (--reward A B adds columns up)")
    return RewardColumns(tuple(names), (*(names if len(names) > 1 else ()), *others), notes)


def _sum_of_others(names: Sequence[str], sample: Sequence[Record]) -> str:
    """The column that is the sum of all others in every record of the sample; empty where none is."""
    if len(names) < 3 or len(sample) < 3:
        return ""
    rows = [[value_at(record, n) for n in names] for record in sample]
    rows = [r for r in rows if all(isinstance(x, int | float) for x in r)]
    table = np.array(rows, float).reshape(-1, len(names))
    if len(table) < 3 or not np.isfinite(table).all():
        return ""
    for index, name in enumerate(names):
        others = np.delete(table, index, axis=1)
        varies = sum(a != b for a, b in pairwise(table[:, index].tolist())) > 0
        if (
            varies
            and (np.abs(others).sum(0) > 0).sum() > 1
            and np.allclose(others.sum(1), table[:, index], atol=1e-6)
        ):
            return name
    return ""
