"""Results by task: an object whose keys are prompts and whose values are the rollouts of each."""

from collections.abc import Mapping, Sequence
from typing import Any

KEY = "^key"
"""The name that the key of an entry gets as its column."""
PASSES = "base and plus pass"
"""The column that says whether a sample of EvalPlus passes all tests that ran."""
_STATUSES = frozenset({"pass", "fail", "timeout"})


def rows_of_tasks(tasks: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The rollouts, or the groups of them, by the keys of their prompts; None where the values are something else.

    A value is one object, a list of objects, a list of rewards, or what EvalPlus wrote at some time: objects with the
    status of both kinds of tests, lists of such statuses, or pairs of them.

    >>> rows_of_tasks({"a": [0.0, 1.0]}), rows_of_tasks({"a": "text"})
    ([{'^key': 'a', 'rewards': [0.0, 1.0]}], None)
    """
    values = list(tasks.values())
    if not values:
        return None
    if all(isinstance(v, Mapping) for v in values):
        if all({"base", "plus"} <= v.keys() for v in values):
            return [
                {KEY: key, **_with_pass(_status(base), _status(plus))}
                for key, v in tasks.items()
                for base, plus in _pairs(v["base"], v["plus"])
            ]
        return [{KEY: key, **value} for key, value in tasks.items()]
    if not all(isinstance(v, list) and v for v in values):
        return None
    if all(_is_numbered(x) for v in values for x in v):
        tasks = {key: [entry for _, entry in numbered] for key, numbered in tasks.items()}
        values = list(tasks.values())
    if all(isinstance(x, Mapping) for v in values for x in v):
        return [{KEY: key, **_passed(entry)} for key, entries in tasks.items() for entry in entries]
    if all(_is_pair(x) for v in values for x in v):
        return [{KEY: key, **_with_pass(*pair)} for key, pairs in tasks.items() for pair in pairs]
    if all(isinstance(x, int | float) for v in values for x in v):
        return [{KEY: key, "rewards": value} for key, value in tasks.items()]
    return None


def _passed(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A sample, with whether it passes where it has the statuses of EvalPlus."""
    if "base_status" not in entry:
        return dict(entry)
    return {**entry, **_with_pass(entry["base_status"], entry.get("plus_status"))}


def _with_pass(base: Any, plus: Any) -> dict[str, Any]:
    passes = base == "pass" and plus in ("pass", None)  # None: the extra tests did not run
    return {"base_status": base, "plus_status": plus, PASSES: int(passes)}


def _is_pair(value: Any) -> bool:
    is_pair = isinstance(value, list) and len(value) == 2
    return is_pair and value[0] in _STATUSES and (value[1] is None or value[1] in _STATUSES)


def _is_numbered(value: Any) -> bool:
    """Return True for the number of a sample and its result, as bigcode-evaluation-harness writes them."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], int)
        and isinstance(value[1], Mapping)
    )


def _pairs(base: Sequence[Any], plus: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Results of both kinds of tests; none of the second kind where these did not run."""
    return list(zip(base, plus or [None] * len(base), strict=True))


def _status(result: Any) -> Any:
    """The word of a result that goes on with what every test gave."""
    return result[0] if isinstance(result, list) and result else result
