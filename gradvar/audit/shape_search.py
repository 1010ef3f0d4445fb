"""Finding what one record of a dump is, by the values of its first records."""

from collections.abc import Mapping, Sequence
from typing import Any

from gradvar.audit.counts import find_counts
from gradvar.audit.formats import Format
from gradvar.audit.record_values import (
    MISSING,
    VERDICTS,
    Record,
    fraction_of,
    is_chat,
    is_identity,
    leaves,
    mostly,
    numbers,
    question_of,
    value_at,
)
from gradvar.audit.shapes import Shape

STEPS = ("steps", "turns", "trajectory", "transitions", "events", "messages")
"""Lists of what one rollout did in turn."""


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
    chat = mostly(_goes_on(value_at(r, columns["prompt"])) for r in sample)
    several = declared.first_of and len({str(value_at(r, declared.first_of)) for r in sample}) > 1
    more: dict[str, Any] = {
        "lists": lists, "values": words, "within": declared.within, "chat": chat,
        "first_of": declared.first_of if several else "", "notes": _notes(declared, sample) if several else (),
    }  # fmt: skip
    nested = paths or bool(declared.within) or bool(words) or roles or optional or chat or bool(several)
    if declared_kind in ("columns", "samples") and sample and lists.isdisjoint(rewards):
        declared_kind = ""  # the same columns, written a rollout a record
    if declared_kind and declared_kind != "counts":
        return Shape(declared_kind, "", nested=nested or declared_kind == "rollouts", **more)
    counts = find_counts(columns, rewards, sample, attempts)
    if counts:
        return Shape("counts", **{"nested": nested, **more, **counts})
    reason = f"the words of '{rewards[0]}' are verdicts" if rewards and words and not declared.values else ""
    if rewards and mostly(fraction_of(value_at(r, rewards[0])) is not None for r in sample):
        nested, reason = True, f"'{rewards[0]}' is so many points of so many"
    if not rewards or not any(n in lists for n in rewards):
        return Shape(reason=reason, nested=nested, **more)
    kind, reason = _of_lists(columns, rewards[0], sample)
    return Shape(kind, reason, nested=nested, **more)


def _goes_on(prompt: Any) -> bool:
    """Return True for a chat, or a list of them, that goes on after the last message to the model."""
    chats = prompt if isinstance(prompt, list) and not is_chat(prompt) else [prompt]
    return any(question_of(chat) != chat for chat in chats)


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
    tokens = not is_identity(prompt) and mostly(numbers(value_at(r, prompt)) for r in sample)
    if alike(prompt) and not tokens and _is_matrix(columns, reward, sample):
        return (
            "matrix",
            f"'{prompt}' and the lists in '{reward}' are of one length: the samples of every prompt",
        )
    if alike(prompt) and not tokens:
        return "columns", f"'{prompt}' and '{reward}' are lists of one length"
    values = [value_at(r, response) for r in sample] if response else []
    if mostly(isinstance(v, str) for v in values) or mostly(numbers(v) for v in values):
        return "tokens", f"'{reward}' is a list where '{response}' is one text: rewards per token"
    return "samples", f"'{reward}' is a list: the samples of a prompt"


def _is_matrix(columns: Mapping[str, str], reward: str, sample: Sequence[Record]) -> bool:
    """Return True where every prompt of a list has a list of rewards, which are not those of one response's tokens."""

    def first(name: str) -> list[Any]:
        values = [value_at(r, name) for r in sample] if name else []
        return [v[0] for v in values if isinstance(v, list) and v]

    if not mostly(numbers(v) for v in first(reward)):
        return False
    if responses := first(columns.get("response", "")):
        return mostly(isinstance(v, list) and not numbers(v) and not is_chat(v) for v in responses)
    prompts = [str(p) for r in sample for p in value_at(r, columns["prompt"])]
    return len(set(prompts)) == len(prompts)
