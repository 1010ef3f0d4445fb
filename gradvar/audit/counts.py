"""Records that say how many rollouts of a prompt succeeded: k of n by columns, as text, or as a rate."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gradvar.audit.record_values import (
    Record,
    fraction_of,
    is_chat,
    mostly,
    number_of,
    numbers,
    real_of_text,
    repeats,
    value_at,
)

COUNT_ROLES = ("successes", "failures", "attempts")
_NOISE = frozenset({"num", "n", "number", "no", "count", "counts", "cnt", "of", "the", "total"})
_OF_ROLE = {
    "successes": frozenset({
        "correct", "correctly", "solved", "success", "successes", "successful", "succeeded", "pass", "passes", "passed",
        "hit", "hits", "right", "positive", "positives", "win", "wins", "won", "accepted", "resolved",
    }),
    "failures": frozenset({
        "incorrect", "wrong", "fail", "fails", "failed", "failure", "failures", "miss", "misses", "missed", "negative",
        "negatives", "loss", "losses", "lost", "unsolved", "rejected", "unresolved",
    }),
    "attempts": frozenset({
        "samples", "sample", "rollouts", "rollout", "generations", "generation", "attempts", "attempt", "trials",
        "trial", "tries", "try", "responses", "completions", "repeats", "runs", "solutions",
    }),
}  # fmt: skip


def count_role(name: str) -> str:
    """What a column of counts counts by its name: successes, failures or attempts; empty where it says neither.

    >>> count_role("num_incorrect"), count_role("passes"), count_role("total"), count_role("numCorrectSamples")
    ('failures', 'successes', 'attempts', 'successes')
    """
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.rpartition(".")[2]).lower())
    meant = [word for word in words if word not in _NOISE]
    if words and not meant:
        return "attempts"
    roles = {next((role for role, known in _OF_ROLE.items() if word in known), "") for word in meant}
    roles = roles - {"attempts"} if len(roles) > 1 else roles
    return roles.pop() if len(roles) == 1 else ""


def find_counts(
    columns: Mapping[str, str], rewards: Sequence[str], sample: Sequence[Record], attempts: str
) -> dict[str, Any]:
    """What makes records counts, as settings of their shape; empty where they are none.

    Args:
        columns: Columns by role.
        rewards: Columns of the reward, none where there are counts only.
        sample: The first records.
        attempts: How many rollouts a group has, or the column that says so.

    Raises:
        ValueError: A rate stands there without the number of its rollouts.
    """
    rate = rewards[0] if rewards else columns.get("rate", "")
    values = [value_at(r, rate) for r in sample] if rate else []
    if mostly(fraction_of(v) is not None for v in values):
        if rewards and _has_one_response(columns, sample) and not _are_distinct(columns, sample):
            return {}  # so many points of one rollout
        return {"names": (rate,), "reason": f"'{rate}' is k/n"}
    number = int(attempts) if attempts.isdecimal() else 0
    trials = columns.get("attempts", "")
    if rewards:
        if count_role(rate) == "successes":
            for role in ("attempts", "failures"):
                column = columns.get(role, "")
                if column and column not in rewards and _are_counts(columns, rate, column, role, sample):
                    return _of_columns(rate, column, role)
        return _of_responses(rate, columns.get("response", ""), sample)
    won, lost, response = (columns.get(role, "") for role in ("successes", "failures", "response"))
    if won and (trials or number):
        reason = f"'{won}' of '{trials or number}'"
        return {"names": (won, *filter(None, [trials])), "attempts": number, "reason": reason}
    if won and lost:
        return _of_columns(won, lost, "failures")
    if won and response and all(_size(r, response) for r in sample):
        return _of_columns(won, response, "attempts")
    return _of_rates(rate, values, trials, number)


def _of_columns(won: str, beside: str, role: str) -> dict[str, Any]:
    joined = "and" if role == "failures" else "of"
    return {
        "names": (won, beside),
        "beside_failures": role == "failures",
        "reason": f"'{won}' {joined} '{beside}'",
    }


def _of_rates(rate: str, values: Sequence[Any], trials: str, number: int) -> dict[str, Any]:
    """Counts where there are rates, and it is known of how many rollouts."""
    rates = [v for v in map(real_of_text, values) if _is_real(v)]
    is_share = all(0 <= v <= 1 for v in rates)
    if 2 * len(rates) <= len(values) or not all(0 <= v <= 100 for v in rates):
        return {}
    if not trials and not number:
        if not is_share:  # a difficulty or the like
            return {}
        raise ValueError(
            f"'{rate}' is a rate, of how many rollouts is not said; give --attempts N, or the column that has it"
        )
    reason = f"'{rate}' {'' if is_share else 'in percent '}of '{trials or number}'"
    names = (rate, *filter(None, [trials]))
    return {"names": names, "attempts": number, "rate": True, "percent": not is_share, "reason": reason}


def _of_responses(rate: str, response: str, sample: Sequence[Record]) -> dict[str, Any]:
    """Counts where the reward is one number beside several responses: their rate, or how many of them succeeded."""
    sizes = [_size(r, response) for r in sample] if response else []
    values = [value_at(r, rate) for r in sample]
    rates = [number_of(v, {}) for v in values]
    one_number = bool(sizes) and min(sizes) > 1 and all(map(_is_real, rates))
    if not one_number or any(isinstance(v, list) for v in values):
        return {}
    if _whole(rates, sizes):
        reason = f"'{rate}' is one number for {sizes[0]} of '{response}': their rate"
        return {"names": (rate, response), "rate": True, "reason": reason}
    counted = all(0 <= k <= n and k == int(k) for k, n in zip(rates, sizes, strict=True))
    return _of_columns(rate, response, "attempts") if counted and count_role(rate) == "successes" else {}


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float)


def _are_counts(
    columns: Mapping[str, str], won: str, beside: str, role: str, sample: Sequence[Record]
) -> bool:
    """Return True for numbers of successes of numbers of rollouts.

    Not for the verdict of one rollout, nor for how many tests a rollout passed: its prompt stands in several records,
    each with its one response.
    """
    pairs = [(value_at(r, won), value_at(r, beside)) for r in sample]
    real = [(k, n) for k, n in pairs if _is_real(k) and _is_real(n) and not isinstance(k, bool)]
    sizes = [k + n if role == "failures" else n for k, n in real]
    counts = [
        0 <= k <= size and k == int(k) and size == int(size) for (k, _), size in zip(real, sizes, strict=True)
    ]
    if 2 * len(real) <= len(sample) or not all(counts) or max(sizes) < 2:
        return False
    several = not _has_one_response(columns, sample) and any(k > 1 for k, _ in real)
    return several or _are_distinct(columns, sample)


def _are_distinct(columns: Mapping[str, str], sample: Sequence[Record]) -> bool:
    """Return True where every prompt of a step stands in one record."""
    roles = [role for role in ("step", "prompt") if role in columns]
    keys = [str([value_at(record, columns[role]) for role in roles]) for record in sample]
    return len(set(keys)) == len(keys)


def _has_one_response(columns: Mapping[str, str], sample: Sequence[Record]) -> bool:
    response = columns.get("response", "")
    return bool(response) and mostly(isinstance(value_at(r, response), str) for r in sample)


def _size(record: Record, name: str) -> int:
    """Responses under a name; neither a chat nor tokens are several responses."""
    value = value_at(record, name)
    return 0 if numbers(value) or is_chat(value) else repeats(value)


def _whole(rates: Sequence[Any], sizes: Sequence[int]) -> bool:
    """Return True if every rate is in [0, 1] and a whole number of so many."""
    pairs = zip(rates, sizes, strict=True)
    return all(0 <= r <= 1 and abs(r * n - round(r * n)) < 1e-6 * n for r, n in pairs)
