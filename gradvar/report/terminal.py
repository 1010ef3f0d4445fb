"""The study in the terminal: one table for each policy and staleness."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from gradvar.core.moments import Moments
from gradvar.stats.effective import ENOUGH
from gradvar.stats.intervals import Interval
from gradvar.stats.sheet import Column, Sheet
from gradvar.stats.text import estimate_text
from gradvar.studies.findings import drops_groups
from gradvar.studies.rows import panel
from gradvar.studies.study import Measurement, Study

ROUTES = {"exact": "by enumeration", "direct": "by sampling"}


def relative_noise(moments: Moments) -> Interval:
    """tr Cov / ||E g||^2 of a batch, the inverse of ``snr``: it does not change where the estimator is rescaled.

    NaN where the signal cannot be told from zero; without an upper end where the SNR's interval reaches zero.
    """
    snr = moments.estimate("snr")
    if not snr.value > 0:
        return replace(snr, value=math.nan, low=math.nan, high=math.nan)
    if not snr.known:
        return replace(snr, value=1 / snr.value)
    return replace(snr, value=1 / snr.value, low=1 / snr.high, high=1 / snr.low if snr.low > 0 else math.inf)


def _figure(name: str) -> Callable[[Moments], Interval]:
    def estimate(moments: Moments) -> Interval:
        return moments.estimate(name)

    return estimate


BIAS: Mapping[str, tuple[str, Callable[[Moments], Interval], int]] = {
    "bias_factor": ("bias factor", _figure("bias_factor"), 0),
    "cosine": ("cosine", _figure("cosine"), 0),
}
SCALE_FREE = {
    **BIAS,
    "relative_noise": ("relative tr Cov", relative_noise, 1),
    "snr_per_rollout": ("SNR per rollout", _figure("snr_per_rollout"), 0),
}
RAW = {
    **BIAS,
    "trace_cov": ("tr Cov", _figure("trace_cov"), 0),
    "between": ("between prompts", _figure("between"), 1),
    "snr_per_rollout": ("SNR per rollout", _figure("snr_per_rollout"), 0),
}
"""Figures of a table: heading, estimate, and rank; ``RAW`` variances depend on the scale of the estimator."""


def tables(study: Study) -> Iterator[Sheet]:
    """The study's tables; a figure that was sampled has half its 95 % interval behind it."""
    for policy in study.config.policies:
        for steps in study.config.staleness:
            yield _table(study, policy, steps, study.select(policy=policy, staleness=steps))


def _table(study: Study, policy: str, steps: int, results: list[Measurement]) -> Sheet:
    age = panel({"sampler": study.config.sampler, "staleness": steps})
    rate = study.success[f"{policy}, {results[0].task}"]
    routes = list(dict.fromkeys(r.route for r in results))
    shown = RAW if study.config.raw else SCALE_FREE
    with_clip, mixed = any(r.clip is not None for r in results), len(routes) > 1
    columns = [Column("estimator", words=True, grouped=True)]
    columns += [Column("clip", grouped=True)] * with_clip
    columns += [Column("G"), Column("prompts", rank=3)]
    columns += [Column(heading, rank=rank) for heading, _, rank in shown.values()]
    columns += [Column("by", rank=2)] * mixed
    asked = study.config.asked is not None
    columns += [Column("batches", rank=1)] * asked
    rows = []
    for result in sorted(results, key=_order(results)):
        m = result.moments
        cells = [m.estimator, *(["" if result.clip is None else f"{result.clip:g}"] * with_clip)]
        cells += [str(m.group_size), str(m.prompts)]
        for name, (_, estimate, _) in shown.items():
            cells.append(estimate_text(estimate(m), 1.0 if name == "cosine" else math.inf))
        cells += [result.route] * mixed + [str(m.replicates or "all")] * asked
        rows.append(tuple(cells))
    where = "" if mixed else f", {ROUTES.get(routes[0], routes[0])}"
    title = f"{policy} on {results[0].task} (mean reward {rate:.2f}), {age}{where}"
    notes = (*_cautions(results, list(shown)), *_shortfalls(study, results))
    return Sheet(tuple(columns), tuple(rows), title, notes)


def _order(results: list[Measurement]) -> Callable[[Measurement], tuple[int, int]]:
    """Estimators in the order in which they were asked for, each with its clip ranges."""
    names = list(dict.fromkeys(r.moments.estimator for r in results))
    clips = list(dict.fromkeys(r.clip for r in results))
    return lambda r: (names.index(r.moments.estimator), clips.index(r.clip))


def _shortfalls(study: Study, results: list[Measurement]) -> list[str]:
    """What was not as narrow as was asked for."""
    asked = study.config.asked
    return [] if asked is None else [line for r in results if (line := asked.shortfall(r.moments))]


def _cautions(results: list[Measurement], shown: list[str]) -> Iterator[str]:
    """What the marks of a table mean, where it has any."""
    figures = [name for name in shown if name != "relative_noise"]
    estimates = [r.moments.estimate(name) for r in results for name in figures]
    estimates = [e for e in estimates if e.note and not math.isnan(e.value)]
    if any(e.known for e in estimates):
        yield f"* fewer than {ENOUGH} effective blocks carry the figure: its interval may be too narrow"
    reasons = dict.fromkeys(e.reason for e in estimates if not e.known)
    if reasons:
        yield f"±? no interval: {'; '.join(list(reasons)[:3])}"
    for name in dict.fromkeys(r.moments.estimator for r in results):
        if drops_groups(name):
            yield f"{name}: groups of equal rewards dropped, no others sampled"
