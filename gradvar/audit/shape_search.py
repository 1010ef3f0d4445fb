"""Finding what one record of a dump is, by the values of its first records."""

from collections.abc import Mapping, Sequence
from typing import Any

from gradvar.audit.formats import Format
from gradvar.audit.record_values import (
    MISSING,
    VERDICTS,
    Record,
    is_chat,
    is_fraction,
    leaves,
    number_of,
    numbers,
    question_of,
    repeats,
    value_at,
)
from gradvar.audit.shapes import Shape, mostly

STEPS = ("steps", "turns", "trajectory", "transitions", "events", "messages")
"""Lists of what one rollout did in turn."""
_COUNTED = ("correct", "passed", "pass", "success", "solved", "resolved")  # verdicts, or how many of them


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
    words = declared.values or _verdicts(rewards, sample)
    chat = mostly(question_of(v) != v for v in (value_at(r, columns["prompt"]) for r in sample))
    several = declared.first_of and len({str(value_at(r, declared.first_of)) for r in sample}) > 1
    more: dict[str, Any] = {
        "lists": lists, "values": words, "within": declared.within, "chat": chat,
        "first_of": declared.first_of if several else "", "notes": _notes(declared, sample) if several else (),
    }  # fmt: skip
    nested = paths or bool(declared.within) or bool(words) or roles or optional or chat or bool(several)
    if declared_kind and declared_kind != "counts":
        return Shape(declared_kind, "", nested=nested or declared_kind == "rollouts", **more)
    counts = _counts(columns, rewards, sample, attempts)
    if counts:
        return Shape("counts", **{"nested": nested, **more, **counts})
    reason = f"the words of '{rewards[0]}' are verdicts" if rewards and words and not declared.values else ""
    if not rewards or not any(n in lists for n in rewards):
        return Shape(reason=reason, nested=nested, **more)
    kind, reason = _of_lists(columns, rewards[0], sample)
    return Shape(kind, reason, nested=nested, **more)


def _verdicts(rewards: Sequence[str], sample: Sequence[Record]) -> Mapping[str, float]:
    """The words for 1 and 0, where the rewards of the sample are some of them and nothing else."""
    marks = [mark for name in rewards for record in sample for mark in leaves(value_at(record, name))]
    marked = [mark for mark in marks if mark is not MISSING and mark is not None]
    is_verdict = [isinstance(mark, str) and mark.strip().lower() in VERDICTS for mark in marked]
    return VERDICTS if marked and all(is_verdict) else {}


def _notes(declared: Format, sample: Sequence[Record]) -> tuple[str, ...]:
    """Which records are read where several grade the same rollouts."""
    graders = list(dict.fromkeys(str(value_at(r, declared.first_of)) for r in sample))
    others = ", ".join(f"'{x}'" for x in graders[1:])
    return (
        f"only the records whose '{declared.first_of}' is '{graders[0]}' are read, not {others}: the same rollouts",
    )


def _of_lists(columns: Mapping[str, str], reward: str, sample: Sequence[Record]) -> tuple[str, str]:
    """The shape where the reward is a list: columns of a step, samples of a prompt, or tokens of a rollout."""

    def alike(name: str) -> bool:
        """Whether a column has as many entries as the reward, which are not the tokens of one response."""
        pairs = [(value_at(r, name), value_at(r, reward)) for r in sample]
        both = [(a, b) for a, b in pairs if isinstance(a, list) and isinstance(b, list)]
        return not all(is_chat(a) for a, _ in both) and mostly(len(a) == len(b) for a, b in both)

    if reward.partition(".")[0] in STEPS:
        return "steps", f"'{reward}': rewards of the steps of one rollout"
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
    sizes = [value_at(r, trials) if trials else number for r in sample]
    if rewards:
        if rate in _COUNTED and trials and trials not in rewards and _are_counts(values, sizes):
            return {"names": (rate, trials), "reason": f"'{rate}' of '{trials}'"}
        return _rate_of_responses(rate, columns.get("response", ""), sample)
    won = columns.get("successes", "")
    if won and (trials or number):
        reason = f"'{won}' of '{trials or number}'"
        return {"names": (won, *filter(None, [trials])), "attempts": number, "reason": reason}
    rates = [v for v in values if _is_real(v)]
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
    return {"names": names, "attempts": number, "percent": not is_share, "reason": reason}


def _rate_of_responses(rate: str, response: str, sample: Sequence[Record]) -> dict[str, Any]:
    """Counts where the reward is one number beside several responses, and a whole number of so many."""
    sizes = [_size(r, response) for r in sample] if response else []
    values = [value_at(r, rate) for r in sample]
    rates = [number_of(v, {}) for v in values]
    is_rate = bool(sizes) and min(sizes) > 1 and all(map(_is_real, rates))
    if not is_rate or any(isinstance(v, list) for v in values) or not _whole(rates, sizes):
        return {}
    reason = f"'{rate}' is one number beside {sizes[0]} of '{response}': their rate"
    return {"names": (rate, response), "reason": reason}


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float)


def _are_counts(values: Sequence[Any], beside: Sequence[Any]) -> bool:
    """Return True for numbers of successes of numbers of rollouts, some above one."""
    pairs = zip(values, beside, strict=True)
    real = [(k, n) for k, n in pairs if _is_real(k) and _is_real(n)]
    counts = [(k, n) for k, n in real if 0 <= k <= n and k == int(k) and n == int(n)]
    return 2 * len(counts) > len(values) and len(counts) == len(real) and any(k > 1 for k, _ in counts)


def _size(record: Record, name: str) -> int:
    """Responses under a name; neither a chat nor tokens are several responses."""
    value = value_at(record, name)
    return 0 if numbers(value) or is_chat(value) else repeats(value)


def _whole(rates: Sequence[Any], sizes: Sequence[int]) -> bool:
    """Return True if every rate is in [0, 1] and a whole number of so many."""
    pairs = zip(rates, sizes, strict=True)
    return all(0 <= r <= 1 and abs(r * n - round(r * n)) < 1e-6 * n for r, n in pairs)
