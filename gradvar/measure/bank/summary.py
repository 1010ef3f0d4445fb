"""What closed-form laws need to know about prompts, estimated without bias from recorded rollouts.

For each prompt: p = P(r=1), ||grad J||^2, v1 = E[||s||^2 | r=1], v0 = E[||s||^2 | r=0] for binary rewards,
and for any rewards zeta1, zeta2 of the pair kernel h_ij = (1/2)(r_i - r_j)(s_i - s_j). All of them are
U-statistics in the Gram matrix of sequence scores (``pair_kernel``), so they cost nothing beyond the bank."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError

from gradvar.core.checks import at_least
from gradvar.files.cache import read_arrays, write_arrays
from gradvar.measure.bank.data import Recording
from gradvar.measure.bank.pair_kernel import joint_squares, prompt_numbers, squared_kernel
from gradvar.measure.exact.closed_forms import FourNumbers, four_number_law
from gradvar.stats.effective import effective_number
from gradvar.stats.figures import jackknife_error
from gradvar.stats.groups import unequal_share
from gradvar.stats.meetings import pairs_met

_BLOCKS = 16
_ROUNDING = 1e-5  # of what a prompt contributes, with scores in single precision


@dataclass(frozen=True, eq=False)
class Summary:
    """Numbers of Q prompts, each with N rollouts.

    ``rewards`` [Q, N]. ``gradients`` [Q, Q]: unbiased products of the prompts' gradients (the diagonal is ``signal``).
    ``length``: mean tokens. ``se`` [Q] by name, jackknifed over the rollouts of the prompt. ``halves``: the same
    numbers from each half of the rollouts, for cross-fitting. ``v1`` and ``v0`` are NaN where a prompt has no success
    or no failure among its rollouts, or where rewards are not binary. ``on_policy`` is a hypothesis of every law.
    ``joint`` [Q]: the mean of ||h_ij||^2 ||h_kl||^2 over disjoint pairs; where it is missing (files of before it was
    kept), nothing is asked of what has met.
    """

    rewards: Float[np.ndarray, "prompt rollout"]
    p: Float[np.ndarray, " prompt"]
    signal: Float[np.ndarray, " prompt"]
    v1: Float[np.ndarray, " prompt"]
    v0: Float[np.ndarray, " prompt"]
    zeta1: Float[np.ndarray, " prompt"]
    zeta2: Float[np.ndarray, " prompt"]
    length: Float[np.ndarray, " prompt"]
    gradients: Float[np.ndarray, "prompt prompt"]
    se: dict[str, Float[np.ndarray, " prompt"]]
    on_policy: bool
    halves: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] | None = None
    joint: Float[np.ndarray, " prompt"] | None = None

    @property
    def binary(self) -> bool:
        """True if all rewards are 0 or 1."""
        return bool(np.isin(self.rewards, (0.0, 1.0)).all())

    def budget(self) -> tuple[Budget, Budget]:
        """sigma_b^2, sigma_o^2 and Delta of leave-one-out over these prompts, and their leave-one-out values [Q]."""
        at_least("prompts", len(self.p), 3)
        by_prompt = [self.signal, 4 * self.zeta1, 2 * self.zeta2 - 4 * self.zeta1]
        (signal, single, pair), shared = (mean_over(x) for x in by_prompt), across(self.gradients)
        parts = list(zip(signal - shared, single, pair, shared, strict=True))
        return Budget(*map(float, parts[0])), Budget(*np.array(parts[1:]).T)

    def second_moments(self, group_size: int) -> Float[np.ndarray, " prompt"]:
        """E ||ghat||^2 of leave-one-out in one group, for every prompt: what each contributes to a variance."""
        pairs = group_size * (group_size - 1)
        return self.signal + 4 * self.zeta1 / group_size + (2 * self.zeta2 - 4 * self.zeta1) / pairs

    def carried(self) -> float:
        """The effective number of prompts behind the spread between them, and so behind group sizes compared.

        Large groups are weighed by that spread, of which a prompt with one success says nothing: all such prompts give
        the same quotient of two sizes' variances, whatever the truth is. It is a mean of products of two pairs, so
        prompts count only as far as the large ones have met (``stats.meetings.pairs_met``).
        """
        signal, scale = np.abs(self.signal), np.abs(self.second_moments(2))
        number = float(effective_number(np.where(signal > _ROUNDING * scale, signal, 0.0)))
        return number * self.met()

    def met(self) -> float:
        """How far large gradients of the same prompt have met each other, at most one."""
        if self.joint is None:
            return 1.0
        pairs = np.full(len(self.joint), 2.0)
        return min(1.0, float(pairs_met(self.joint, 2 * self.second_moments(2), pairs)))

    def save(self, path: Path | str) -> Path:
        """Write the numbers to one safetensors file: all that advice needs, and no rollout."""
        arrays = {n: x for n, x in vars(self).items() if isinstance(x, np.ndarray)}
        arrays |= {f"se.{n}": x for n, x in self.se.items()}
        for half, numbers in enumerate(self.halves or ()):
            arrays |= {f"half{half}.{n}": x for n, x in numbers.items()}
        facts = {"kind": "summary", "on_policy": self.on_policy}
        write_arrays(Path(path), {n: np.ascontiguousarray(x) for n, x in arrays.items()}, facts)
        return Path(path)

    @classmethod
    def open(cls, path: Path | str) -> Summary:
        """Read what ``save`` wrote; ``ValueError`` where the file is something else, or damaged."""
        try:
            arrays, facts = read_arrays(Path(path))
            _require_summary(arrays, facts)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            reason = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
            raise ValueError(
                f"summary: {path} is no summary ({reason}); give what Summary.save wrote"
            ) from None

        def under(prefix: str) -> dict[str, np.ndarray]:
            return {n.removeprefix(prefix): x for n, x in arrays.items() if n.startswith(prefix)}

        halves = under("half0."), under("half1.")
        return cls(
            **{n: x for n, x in arrays.items() if "." not in n},
            se=under("se."),
            on_policy=facts["on_policy"],
            halves=halves if halves[0] else None,
        )

    def forecast(self, advantage: Callable[[np.ndarray], np.ndarray], group_size: int) -> Forecast:
        """The four-number law over these prompts, for one prompt per batch: no simulation.

        ``advantage`` maps rewards [1, G] to advantages [1, G] and treats equal rewards of a group equally. Prompts
        whose rollouts all had the same reward are taken at p = 0 or 1, where a group estimator that is zero on equal
        rewards has no gradient. The numbers are plugged in, so that their errors enter at order 1/N.
        """
        if not self.binary:
            raise ValueError("rewards: not all 0 or 1; the four-number law is about binary rewards")
        laws = [
            _prompt_law(FourNumbers(*x), group_size, advantage)
            for x in zip(self.p, self.signal, self.v1, self.v0, strict=True)
        ]
        weight, within = np.array([x[0] for x in laws]), np.array([x[1] for x in laws])
        size, diagonal = len(weight), float(weight**2 @ np.diag(self.gradients))
        total = float(weight @ self.gradients @ weight)  # of all products of two prompts' weighted gradients
        shared = (total - diagonal) / (size * (size - 1)) if size > 1 else total
        between = float(diagonal / size - shared)
        return Forecast(group_size, weight, within, between, float(within.mean()), float(shared))

    def informative(self, group_size: int) -> Float[np.ndarray, " prompt"]:
        """Each prompt's probability that a group has two different rewards, unbiased."""
        count = self.rewards.shape[1]
        if group_size > count:
            raise ValueError(
                f"group_size: {group_size} with {count} recorded rollouts per prompt; record more"
            )
        return unequal_share(self.rewards, group_size)


def _require_summary(arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` unless a file holds what ``save`` writes: all arrays, of floats, of shapes that fit."""
    if facts["kind"] != "summary" or not isinstance(facts["on_policy"], bool):
        raise ValueError("another kind of file")
    numbers = ("p", "signal", "v1", "v0", "zeta1", "zeta2")
    named = {"rewards": 2, "gradients": 2, "length": 1} | dict.fromkeys(numbers, 1)
    optional = {"joint": 1}
    groups = dict.fromkeys((f"se.{n}" for n in numbers), 1)
    groups |= dict.fromkeys((f"half{half}.{n}" for half in (0, 1) for n in numbers), 1)
    if missing := sorted(named.keys() - arrays.keys()):
        raise ValueError(f"no {missing[0]}")
    size = len(arrays["p"]) if arrays["p"].ndim else 0
    halves = [n for n in arrays if n.startswith("half")]
    if len(halves) not in (0, 2 * len(numbers)):
        raise ValueError("numbers of a half are missing")
    for name, array in arrays.items():
        axes = (named | groups | optional).get(name)
        fits = array.dtype.kind == "f" and array.ndim == axes and size > 0 and len(array) == size
        if not fits or (name == "gradients" and array.shape != (size, size)):
            raise ValueError(f"{name[:40]} of {array.dtype} {array.shape}, which does not fit")
        if name.rpartition(".")[2] not in ("v1", "v0") and not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")


def mean_over(values: Float[np.ndarray, " prompt"]) -> Float[np.ndarray, " 1+prompt"]:
    """The mean over all prompts, then with each prompt left out."""
    return np.r_[values.mean(), (values.sum() - values) / (len(values) - 1)]


def across(
    products: Float[np.ndarray, "prompt prompt"],
    first: Float[np.ndarray, " prompt"] | float = 1.0,
    second: Float[np.ndarray, " prompt"] | float = 1.0,
) -> Float[np.ndarray, " 1+prompt"]:
    """The mean product of different prompts, weighted, over all of them, then with each prompt left out.

    >>> across(np.array([[9.0, 1.0, 2.0], [1.0, 9.0, 3.0], [2.0, 3.0, 9.0]])).tolist()
    [2.0, 3.0, 2.0, 1.0]
    """
    size = len(products)
    weights, partners = np.broadcast_to(first, size), np.broadcast_to(second, size)
    diagonal = weights * partners * np.diag(products)
    # each prompt's products with others
    rows = weights * (products @ partners) + partners * (weights @ products) - 2 * diagonal
    everything = rows.sum() / 2
    return np.r_[everything / (size * (size - 1)), (everything - rows) / ((size - 1) * (size - 2))]


@dataclass(frozen=True)
class Budget:
    """The variance of leave-one-out with one prompt: ``between`` + ``rollout`` / G + ``pair`` / (G (G - 1)).

    They are sigma_b^2, sigma_o^2 and Delta. ``signal`` is ||E grad J||^2 over prompts. Floats, or arrays of them.
    """

    between: float | np.ndarray
    rollout: float | np.ndarray
    pair: float | np.ndarray
    signal: float | np.ndarray

    def variance(self, group_size: float | np.ndarray) -> np.ndarray:
        """tr Cov of one prompt's gradient; divide by the number of prompts in a batch."""
        g = np.asarray(group_size, float)
        return np.asarray(self.between + self.rollout / g + self.pair / (g * (g - 1)))


@dataclass(frozen=True)
class Forecast:
    """A law's moments for one prompt per batch: ``weight`` [Q], the factor that each prompt's gradient gets;
    ``spread`` [Q], tr Cov within each prompt."""

    group_size: int
    weight: Float[np.ndarray, " prompt"]
    spread: Float[np.ndarray, " prompt"]
    between: float
    within: float
    signal: float

    @property
    def trace_cov(self) -> float:
        """The whole variance: ``between`` + ``within``."""
        return self.between + self.within


def summarise(recording: Recording) -> Summary:
    """Summarise a recording; sequence scores are the combination of rows with weight one on every token."""
    rollouts = recording.rollouts
    at_least("rollouts", rollouts.shape[1], 4)
    combinations = sequence_rows(recording)
    rewards = np.asarray(rollouts.rewards, np.float64)
    gram = np.asarray(recording.scores.set_gram(1), np.float64)
    # inner products of sequence scores [prompt, rollout, rollout]
    seq = np.einsum("qnm,qmk,qlk->qnl", combinations, gram, combinations, optimize=True)
    pair = squared_kernel(rewards, seq)
    numbers = prompt_numbers(rewards, seq, pair)
    count = rewards.shape[1]
    blocks = np.array_split(np.arange(count), min(_BLOCKS, count // 4) if count >= 16 else count)
    parts = []
    for block in blocks:
        rest = np.setdiff1d(np.arange(count), block)
        if len(rest) >= 4:
            parts.append(_numbers_of(rest, rewards, seq, pair))
    se = {n: jackknife_error(np.stack([x[n] for x in parts], -1)) for n in numbers} if len(parts) > 1 else {}
    # the leave-one-out gradient of every prompt, as a combination of rows [prompt, row]
    advantages = (rewards - rewards.mean(1, keepdims=True)) / (count - 1)
    leave_one_out = np.einsum("qn,qnm->qm", advantages, combinations)
    gradients = np.asarray(recording.scores.by_prompt(leave_one_out, leave_one_out), np.float64)
    np.fill_diagonal(gradients, numbers["signal"])
    return Summary(
        rewards=rewards,
        length=rollouts.lengths.mean(1).astype(float),
        gradients=gradients,
        se=se,
        on_policy=rollouts.on_policy,
        halves=_halves(rewards, seq, pair),
        joint=joint_squares(pair),
        **numbers,
    )


def _numbers_of(
    places: np.ndarray | slice, rewards: np.ndarray, seq: np.ndarray, pair: np.ndarray
) -> dict[str, np.ndarray]:
    """The numbers from some of every prompt's rollouts."""
    return prompt_numbers(
        rewards[:, places], *(products[:, places][:, :, places] for products in (seq, pair))
    )


def _halves(
    rewards: np.ndarray, seq: np.ndarray, pair: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]] | None:
    """The numbers from the even and from the odd rollouts; None where there are too few."""
    if rewards.shape[1] < 8:
        return None
    even, odd = (_numbers_of(slice(k, None, 2), rewards, seq, pair) for k in (0, 1))
    return even, odd


def sequence_rows(recording: Recording) -> Float[np.ndarray, "prompt rollout row"]:
    """Each rollout's sequence score as a combination of its prompt's rows."""
    rows, mask = recording.rows, recording.rollouts.mask
    along = np.einsum("qnt,qnbt->qnb", mask.astype(float), rows.basis.astype(float))
    combinations = np.zeros((*along.shape[:2], rows.shape[1]))
    q, m = rows.places()
    rollout = rows.rollout[q, m]
    combinations[q, rollout, m] = along[q, rollout, rows.basis_index[q, m]]
    return combinations


def _prompt_law(
    numbers: FourNumbers, group_size: int, advantage: Callable[[np.ndarray], np.ndarray]
) -> tuple[float, float]:
    if not 0 < numbers.p < 1:
        return 0.0, 0.0
    moments = four_number_law(numbers, group_size, advantage)
    return moments.bias_factor, moments.trace_cov
