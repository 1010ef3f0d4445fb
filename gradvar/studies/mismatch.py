"""What a correction costs: bias and variance of the gradient's direction, engine by engine, and which costs least."""

import contextlib
import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from gradvar.core.estimator import Estimator
from gradvar.core.labelled import Labelled
from gradvar.core.progress import ProgressMonitor, Silent
from gradvar.core.protocols import FinitePolicy
from gradvar.core.spelling import read_sampler
from gradvar.files.provenance import provenance
from gradvar.files.tables import write_csv, write_json
from gradvar.measure.direct import block_sums
from gradvar.measure.direct_plan import PolicyOnTask
from gradvar.measure.exact.enumerate import TooLarge, exact
from gradvar.stats.choice import LeastCost, least
from gradvar.stats.direction import direction_losses, effective_share, sampled_losses
from gradvar.stats.figures import jackknife_interval
from gradvar.stats.intervals import Interval
from gradvar.stats.text import interval_texts, number_text
from gradvar.studies.config import plain_settings
from gradvar.studies.findings import listed
from gradvar.studies.mismatch_config import MismatchConfig
from gradvar.studies.problems import Problem, problems
from gradvar.studies.study import variants

_PILOT = (64, 16)  # prompts, and rollouts of each, on which the size of a mismatch is measured
PARTS = ("loss", "bias", "variance")


@dataclass(frozen=True)
class Cost:
    """What one correction loses of the direction with one engine; ``loss`` is ``bias`` plus ``variance``."""

    sampler: str
    correction: str
    loss: Interval
    bias: Interval
    variance: Interval


@dataclass(frozen=True)
class Distance:
    """How far an engine is from the trainer: KL(engine || trainer) in nats per token, and what weights would leave.

    ``effective``: effective sample size of the sequence weights W as a share of the rollouts, 1 / (1 + chi-square);
    ``kept``: E W, the mass of the trainer's rollouts that the engine can draw at all.
    """

    divergence: Interval
    effective: float
    kept: float


@dataclass(frozen=True)
class Mismatch(Labelled):
    """What was measured, with where it came from; ``sizes`` and ``choices`` by engine."""

    config: MismatchConfig
    route: str
    costs: tuple[Cost, ...]
    sizes: dict[str, Distance]
    choices: dict[str, LeastCost]

    def __repr__(self) -> str:
        return f"Mismatch({len(self.costs)} costs of {self.config.estimator_name}, {self.route})"

    def at(self, sampler: str) -> list[Cost]:
        """Every correction's cost with this engine."""
        return [cost for cost in self.costs if cost.sampler == sampler]

    def rows(self) -> list[dict[str, Any]]:
        """A tidy row for every engine, correction and part of the loss."""
        return [
            {
                "policy": self.config.policy, "estimator": self.config.estimator_name,
                "group_size": self.config.group_size,
                "sampler": cost.sampler, "divergence": self.sizes[cost.sampler].divergence.value,
                "effective_share": self.sizes[cost.sampler].effective,
                "chi_square": 1 / self.sizes[cost.sampler].effective - 1, "kept": self.sizes[cost.sampler].kept,
                "correction": cost.correction, "figure": part, "route": self.route,
                "value": (x := getattr(cost, part)).value, "low": x.low, "high": x.high, "note": x.note,
            }
            for cost in self.costs
            for part in PARTS
        ]  # fmt: skip

    def findings(self) -> list[str]:
        """Which correction costs least with each engine, in sentences that keep to the intervals."""
        return [self._finding(sampler) for sampler in self.config.samplers]

    def _finding(self, sampler: str) -> str:
        choice, costs = self.choices[sampler], self.at(sampler)
        names = [cost.correction for cost in costs]
        best = costs[choice.best]
        alike, cost = (
            listed([names[index] for index in choice.alike]),
            "costs" if len(choice.alike) == 1 else "cost",
        )
        if choice.rival is None or choice.gap is None:
            return f"{sampler}: {alike} cost the same, {_words(best.loss)}."
        rival, gap = names[choice.rival], choice.gap
        if not choice.certain:
            between = "" if not gap.known else f": their difference is {_words(gap)}"
            return (
                f"{sampler}: which costs least cannot be told; {alike} {'has' if cost == 'costs' else 'have'} the "
                f"smallest estimate, {_words(best.loss)}, "
                f"and {rival} may cost no more{between}."
            )
        exactly = gap.low == gap.high
        corrected = "" if exactly else f" (corrected for choosing among {len(costs)})"
        return f"{sampler}: {alike} {cost} least, {_words(best.loss)}; {rival} costs {_words(gap)} more{corrected}."

    def save(self, folder: Path) -> list[Path]:
        """Write the tidy table and the JSON with provenance to ``folder``, and return the files written."""
        written = [folder / "mismatch.csv", folder / "mismatch.json"]
        write_csv(written[0], self.rows())
        write_json(written[1], self.as_json())
        return written

    def as_json(self) -> dict[str, Any]:
        """Rows with full provenance, as plain values."""
        settings = plain_settings(self.config)
        return {
            "kind": "mismatch",
            "findings": self.findings(),
            "provenance": provenance(settings),
            "rows": self.rows(),
        }


def mismatch(
    config: MismatchConfig | None = None, monitor: ProgressMonitor | None = None, **settings: Any
) -> Mismatch:
    """Measure every correction with every engine, all corrections of an engine on the same rollouts.

    Args:
        config: What is measured; the default where there is none.
        monitor: Receives the progress.
        **settings: Settings of ``MismatchConfig`` that differ from ``config``.

    Raises:
        ValueError: On settings that cannot be met.
    """
    config = dataclasses.replace(config or MismatchConfig(), **settings)
    config.check()
    measured, monitor = config.measured(), monitor or Silent()
    estimators = [estimator for _, estimator in variants(measured)]
    costs: list[Cost] = []
    sizes, choices, route = {}, {}, "exact"
    with contextlib.closing(problems(measured, monitor)) as prepared:
        problem = next(prepared)
        monitor.stage(f"{problem.name}: measuring", len(config.samplers))
        for text in config.samplers:
            served = dataclasses.replace(problem, engine=read_sampler(text), _computed={})
            exactly = _enumerated(served, estimators, config) if _finite(served) else None
            if exactly is None:
                route = "direct"
                intervals, choice = _sampled(served, estimators, config)
            else:
                intervals, choice = exactly
            names = config.corrections
            costs += [
                Cost(text, name, *(x[part] for part in PARTS))
                for name, x in zip(names, intervals, strict=True)
            ]
            sizes[text], choices[text] = _size(served, config), choice
            monitor.advance(note=text)
    return Mismatch(config, route, tuple(costs), sizes, choices)


def _finite(problem: Problem) -> bool:
    return isinstance(problem.policy, FinitePolicy)


def _enumerated(
    problem: Problem, estimators: list[Estimator], config: MismatchConfig
) -> tuple[list[dict[str, Interval]], LeastCost] | None:
    """Every correction's losses and the choice, by enumeration; None where there are too many batches."""
    tables, losses = problem.tables(config.staleness), []
    for estimator in estimators:
        try:
            m = exact(estimator, tables=tables, group_size=config.group_size, prompts=config.prompts)
        except TooLarge:
            return None
        figures = (np.asarray(x) for x in (m.signal, m.trace_cov, m.bias_factor, m.true_signal))
        losses.append({name: float(x) for name, x in direction_losses(*figures).items()})
    intervals = [{part: Interval(x[part], x[part], x[part], 0.0) for part in PARTS} for x in losses]
    return intervals, least([x["loss"] for x in losses], None)


def _sampled(
    problem: Problem, estimators: list[Estimator], config: MismatchConfig
) -> tuple[list[dict[str, Interval]], LeastCost]:
    """The same from rollouts that all corrections share."""
    steps = config.staleness
    subject = PolicyOnTask(
        problem.policy, problem.task, problem.params(steps), None if steps == 0 else problem.params(0),
        engine=problem.sampler,
    )  # fmt: skip
    key = jax.random.fold_in(jax.random.key(config.seed), 1000 * steps + config.group_size)
    every = block_sums(
        estimators, subject, config.group_size, key=key, replicates=config.replicates, prompts=config.prompts
    )
    losses = [sampled_losses(sums) for sums in every]
    intervals = [
        {part: jackknife_interval(x.values[part], x.parts[part], effective=x.effective) for part in PARTS}
        for x in losses
    ]
    totals = np.stack([x.parts["loss"] for x in losses])
    return intervals, least([x.values["loss"] for x in losses], totals, [x.effective for x in losses])


def _size(problem: Problem, config: MismatchConfig) -> Distance:
    """How far the engine is from the trainer's proximal policy."""
    if _finite(problem):
        tables = problem.tables(config.staleness)
        probs, trained = np.asarray(tables.probs), np.asarray(tables.logp_old).sum(-1)
        lengths = np.broadcast_to(np.asarray(tables.mask).sum(-1), probs.shape)
        drawn = probs > 0
        log_weights = np.where(drawn, trained - np.log(np.where(drawn, probs, 1.0)), 0.0)
        divergence = -(probs * log_weights).sum() / (probs * lengths).sum()
        kept = (probs * np.exp(log_weights)).sum(-1).mean()
        second = (probs * np.exp(2 * log_weights)).sum(-1).mean()
        return Distance(
            Interval(divergence, divergence, divergence, 0.0), float(kept**2 / second), float(kept)
        )
    return _sampled_size(problem, config)


def _sampled_size(problem: Problem, config: MismatchConfig) -> Distance:
    engine, policy, old = problem.sampler, problem.policy, problem.params(0)
    if engine is None:
        return Distance(Interval(0.0, 0.0, 0.0, 0.0), 1.0, 1.0)
    prompt_key, key = jax.random.split(jax.random.key(config.seed))
    prompts = problem.task.prompts(prompt_key, _PILOT[0])
    completions = engine.sample(policy, old, key, prompts, _PILOT[1])
    mask = np.asarray(policy.mask(completions))
    logs = (
        engine.log_chances(policy, old, prompts, completions), policy.logprobs(old, prompts, completions)
    )  # fmt: skip
    drawn, trained = (
        np.where(mask, np.asarray(x, np.float64), 0.0).sum(-1) for x in logs
    )  # [prompt, rollout]
    totals, lengths = (drawn - trained).sum(1), mask.sum((1, 2)).astype(float)
    parts = (totals.sum() - totals) / (lengths.sum() - lengths)
    weights: Float[np.ndarray, " rollout"] = (trained - drawn).ravel()
    alike = not totals.any()  # the engine is the trainer
    divergence = jackknife_interval(float(totals.sum() / lengths.sum()), parts, by_identity=alike)
    return Distance(divergence, effective_share(weights), float(np.exp(weights).mean()))


def _words(x: Interval) -> str:
    """A figure with its interval, or alone where it is exact or has none."""
    if not x.known or math.isclose(x.low, x.high, rel_tol=1e-12, abs_tol=0.0):
        return number_text(x.value)
    value, low, high = interval_texts(x.value, x.low, x.high)
    return f"{value} ({low} to {high})"
