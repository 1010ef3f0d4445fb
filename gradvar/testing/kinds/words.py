"""From logits: the log-probabilities of labels, their cross entropy, and the entropy over the words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradvar.testing.calls import BadOutput, Raised
from gradvar.testing.kinds.averages import averages_of, observed
from gradvar.testing.kinds.base import Answer, Kind, KindTarget, KnownForm, difference, told
from gradvar.testing.kinds.common import EMPTY_ROWS, EVERY, finite_law, masked_law
from gradvar.testing.kinds.draws import Draw, Plan, Rows, Scene, Unit, holes, right, strategy
from gradvar.testing.laws.base import Law, expect

LOGITS = (0.0, 1.0, -1.0, 0.4, 2.0)
LABELS = (0, 2, 1)
TEMPERATURES = (0.7, 1.5)
IGNORED = -100
NUMBERS = frozenset({"logits", "mask", "temperature", "token_count"})
SIZES = ({"N": 1, "T": 3, "V": 3}, {"N": 2, "T": 3, "V": 3}, {"N": 3, "T": 4, "V": 3})
Cell = Callable[[Scene], np.ndarray]


def plan(target: KindTarget) -> Plan:
    """Rows of unequal length, a temperature on each side of one."""
    drawn: dict[str, Unit] = {
        "logits": Draw("NTV", LOGITS), "labels": Draw("NT", LABELS), "mask": Rows(right),
        "temperature": Draw("", TEMPERATURES), "token_count": Draw("", (10.0, 7.0)),
    }  # fmt: skip
    return {role: draw for role, draw in drawn.items() if target.takes(role)}


def log_softmax(logits: Any) -> np.ndarray:
    """The logarithms of the words' probabilities, [N, T, V]."""
    values = np.asarray(logits, float)
    values = values - values.max(-1, keepdims=True)
    return np.asarray(values - np.log(np.exp(values).sum(-1, keepdims=True)))


def _tempered(scene: Scene) -> np.ndarray:
    return log_softmax(np.asarray(scene["logits"], float) / float(scene.get("temperature", 1.0)))


def _picked(values: np.ndarray, labels: Any) -> np.ndarray:
    """The entry of each label, [N, T, V] -> [N, T]."""
    return np.take_along_axis(values, np.asarray(labels, int)[..., None], -1)[..., 0]


def _of_labels(scene: Scene) -> np.ndarray:
    return _picked(_tempered(scene), scene["labels"])


def _entropy(scene: Scene) -> np.ndarray:
    logs = _tempered(scene)
    return -(np.exp(logs) * logs).sum(-1)


def _over_temperature(scene: Scene) -> np.ndarray:
    return _picked(log_softmax(scene["logits"]), scene["labels"]) / float(scene.get("temperature", 1.0))


def _wrong_way(scene: Scene) -> np.ndarray:
    return _picked(
        log_softmax(np.asarray(scene["logits"]) * float(scene.get("temperature", 1.0))), scene["labels"]
    )


MISTAKES: dict[str, tuple[Cell, str]] = {
    "over temperature": (
        _over_temperature,
        "the log-probabilities are divided by the temperature, where the logits are meant",
    ),
    "times temperature": (_wrong_way, "the logits are multiplied with the temperature"),
    "logit": (lambda s: _picked(np.asarray(s["logits"], float), s["labels"]), "the logit is not normalised"),
    "probability": (lambda s: np.exp(_of_labels(s)), "it is the probability, not its logarithm"),
    "neighbour": (
        lambda s: _picked(_tempered(s), np.roll(s["labels"], -1, axis=-1)),
        "each label is that of the next token",
    ),
}


def _shifted(scene: Scene) -> Scene:
    """The scene as a function reads it whose logits at a place are those of the next token."""
    cut = {"logits": np.asarray(scene["logits"])[:, :-1], "labels": np.asarray(scene["labels"])[:, 1:]}
    return {**scene, **cut, **({"mask": np.asarray(scene["mask"])[:, 1:]} if "mask" in scene else {})}


def _times(sign: float, cell: Cell) -> Cell:
    return lambda scene: sign * cell(scene)


def _later(answer: Callable[[Scene], Answer]) -> Callable[[Scene], Answer]:
    return lambda scene: answer(_shifted(scene))


def label_forms(target: KindTarget) -> Sequence[KnownForm]:
    """Log-probabilities and cross entropies in every average, at the same place or one place on."""
    faults = dict(MISTAKES)
    if not target.takes("temperature"):
        faults = {name: entry for name, entry in faults.items() if not name.endswith("temperature")}
    cells: dict[str, Cell] = {"log_probabilities": _of_labels, "cross_entropy": lambda s: -_of_labels(s)}
    words: dict[str, str] = {}
    for name, (cell, text) in faults.items():
        for sign, kind in ((1.0, "log_probabilities"), (-1.0, "cross_entropy")):
            cells[f"{kind}, {name}"] = _times(sign, cell)
            words[f"{kind}, {name}"] = text
    here = averages_of(target, "", cells, words)
    later = [replace(f, name=f"{f.name} of the next token", answer=_later(f.answer)) for f in here]
    return sorted([*here, *later], key=lambda form: bool(form.fault))


def entropy_forms(target: KindTarget) -> Sequence[KnownForm]:
    """The entropy in every average, and its negative, which a loss adds."""
    count = {"over words": "it is a mean over the words, where a sum is meant"}
    cells: dict[str, Cell] = {
        "entropy": _entropy,
        "negative entropy": lambda s: -_entropy(s),
        "over words": lambda s: _entropy(s) / np.shape(s["logits"])[-1],
    }
    return averages_of(target, "", cells, count)


def observe(target: KindTarget, scene: Scene) -> Answer:
    """The function's first output, or its loss."""
    return observed(target, scene)


def ignored_labels_silent(target: KindTarget, scene: Scene) -> None:
    """A token whose label is -100 leaves the sum, and the count that the sum is divided by.

    Broken by a mean over all places of losses that are zero at the ignored ones, long prompts make the loss of their
    answers small. A function that reads -100 as any other label, or refuses it, has no such convention. Report:
    huggingface/trl#6439 (tokens leave the numerator and stay in the denominator).
    """
    labels, logits = np.asarray(scene["labels"]), np.asarray(scene["logits"], float)
    hidden = labels == IGNORED
    try:
        before = target.observe(scene)
        noise = np.where(hidden[..., None], 3.0 * np.arange(logits.shape[-1]), 0.0)
        after = target.observe({**scene, "logits": logits + noise})
    except (Raised, BadOutput, IndexError, ValueError, RuntimeError):
        return
    reads = any(not np.allclose(before[k], after[k], atol=1e-6, equal_nan=True) for k in before)
    form = target.form
    if reads or form is None:
        return
    clean = {**scene, "labels": np.where(hidden, 0, labels), "mask": ~hidden}
    gap = difference(before, form, clean, target.factor, target.tolerance)
    expect(
        not gap, f"labels of {IGNORED} are ignored in the sum and counted in the mean: {gap}; {told(scene)}"
    )


def _ignored_examples(target: KindTarget) -> st.SearchStrategy[dict[str, Any]]:
    rows = Rows(lambda steps: [*right(steps), *holes(steps)])
    drawn = strategy(target.plan(mask=rows), target.sizes)

    def hide(scene: Scene) -> Scene:
        counts = np.asarray(scene["mask"]) > 0
        return {r: v for r, v in scene.items() if r != "mask"} | {
            "labels": np.where(counts, scene["labels"], IGNORED)
        }

    return st.fixed_dictionaries({"scene": drawn.map(hide)})


def _without_mask(target: KindTarget) -> str:
    if target.takes("mask"):
        return "its mask says which tokens count"
    form = target.form
    return "" if form is not None and "next token" not in form.name else "no known form to compare with"


_FINITE = finite_law(lambda t: {"logits": Draw("NTV", (0.0, 1000.0, -1000.0))})
_COMMON = (*EVERY, masked_law(lambda steps: [*right(steps), *holes(steps)]), EMPTY_ROWS, _FINITE)

LABELLED = Kind(
    "labels",
    "log-probabilities of labels, or their cross entropy: logits, labels, mask, temperature -> by token, or averaged",
    lambda roles: {"logits", "labels"} <= roles <= NUMBERS | {"labels"},
    plan,
    observe,
    label_forms,
    (
        *_COMMON,
        Law("ignored_labels_silent", ignored_labels_silent, _ignored_examples, _without_mask, universal=True),
    ),
    sizes=SIZES,
    matters=("logits", "temperature"),
)

ENTROPY = Kind(
    "entropy",
    "the entropy over the words: logits, mask, temperature -> for each token, or averaged",
    lambda roles: {"logits"} <= roles <= NUMBERS,
    plan,
    observe,
    entropy_forms,
    _COMMON,
    sizes=SIZES,
    matters=("logits", "temperature"),
    scaled=True,
)
