"""The score bank: a pool of rollouts with their scores under a linear map, and every estimator evaluated
from it.

A *row* is a rollout and one vector of its token-weight basis; its score is J^T phi, a vector of P numbers
of which the bank keeps an image: the vector itself (small P), its inner products with other rows, or a
random sketch of it. The gradient of any batch is a combination of rows, so its inner products are quadratic
forms in the combination's coefficients. ``record`` makes a bank; this module uses it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from gradvar.core.devices import map_threads
from gradvar.core.estimator import Estimator, Objective, as_estimator, check_group_size
from gradvar.core.moments import Moments
from gradvar.measure.bank.evaluate import Evaluation, Setting
from gradvar.measure.bank.partition import Design, coefficients, design, large_quadratics, quadratics
from gradvar.measure.bank.sample import Pool, separable
from gradvar.measure.direct import REFERENCE
from gradvar.stats.figures import FIGURES, BlockSums, figures, leave_one_out

if TYPE_CHECKING:
    from gradvar.measure.bank.summary import Summary

Over = Literal["auto", "prompts", "rollouts"]
_FEWEST_PROMPTS = 8
_FEWEST_SLICES = 3  # with one left out, products across slices must be left
_LARGE_SET = 1024  # rows of a set of prompts from which cutting out each batch's part of the Gram matrix pays
_LARGEST_GRAM = 1 << 32  # bytes of one set of prompts' Gram matrices


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of every prompt: ``rollout`` [Q, M], which of its rollouts; ``slot`` [Q, M], which vector of
    that rollout's basis; ``real`` [Q, M], false where a prompt has fewer rows than others; ``basis`` [Q, N,
    B, T], orthonormal in B."""

    rollout: Int[np.ndarray, "prompt row"]
    slot: Int[np.ndarray, "prompt row"]
    real: np.ndarray
    basis: Float[np.ndarray, "prompt rollout basis time"]

    @classmethod
    def of(cls, basis: Float[np.ndarray, "prompt rollout basis time"]) -> Rows:
        """One row for every basis vector that is not zero."""
        used = np.any(basis != 0, axis=-1)
        most = max(1, int(used.sum((1, 2)).max()))
        shape = (basis.shape[0], most)
        rollout, slot, real = np.zeros(shape, np.int32), np.zeros(shape, np.int32), np.zeros(shape, bool)
        for q, here in enumerate(used):
            n, b = np.nonzero(here)
            rollout[q, : len(n)], slot[q, : len(n)], real[q, : len(n)] = n, b, True
        return cls(rollout, slot, real, basis)

    @property
    def count(self) -> int:
        """Rows that are real: backward passes."""
        return int(self.real.sum())


@dataclass(frozen=True, eq=False)
class Scores:
    """Images of the rows' scores: ``vectors`` [Q, M, K], the scores themselves or a sketch of them; ``gram``
    [Q, M, M], exact inner products within each prompt; ``cross`` [Q, M, Q, M], exact inner products of all
    rows. At least one of ``vectors`` and ``cross`` is there. ``truth`` [Q, M]: the products with grad J, and
    ``true_gradient`` [P], where known."""

    vectors: Float[np.ndarray, "prompt row image"] | None = None
    gram: Float[np.ndarray, "prompt row row"] | None = None
    cross: Float[np.ndarray, "prompt row prompt row"] | None = None
    truth: Float[np.ndarray, "prompt row"] | None = None
    true_gradient: Float[np.ndarray, " param"] | None = None

    def set_gram(self, prompts: int) -> Float[np.ndarray, "set row row"]:
        """Inner products of all rows within each set of ``prompts`` consecutive prompts."""
        known = next(x for x in (self.vectors, self.cross, self.gram) if x is not None)
        size, rows = known.shape[:2]
        sets, width = size // prompts, prompts * rows
        if sets * width**2 * known.itemsize > _LARGEST_GRAM:
            need = sets * width**2 * known.itemsize / 1e9
            raise ValueError(
                f"prompts: {prompts} in a batch make Gram matrices of {need:.1f} GB; "
                "take smaller batches, or fewer rollouts"
            )
        if self.cross is not None:
            flat = self.cross.reshape(size * rows, size * rows)
            return np.stack(
                [flat[a * width : (a + 1) * width, a * width : (a + 1) * width] for a in range(sets)]
            )
        if prompts == 1 and self.gram is not None:
            return self.gram
        if self.vectors is None:
            raise ValueError(
                f"prompts: {prompts}, and the bank kept no products across prompts; record with cross=True"
            )
        joined = self.vectors[: sets * prompts].reshape(sets, width, -1)
        found = np.matmul(joined, np.swapaxes(joined, 1, 2))
        if self.gram is not None:  # exact within a prompt, sketched across
            for q in range(sets * prompts):
                at = slice(q % prompts * rows, (q % prompts + 1) * rows)
                found[q // prompts, at, at] = self.gram[q]
        return found

    def products(self, one: np.ndarray, two: np.ndarray) -> Float[np.ndarray, "*lead block block2"]:
        """<one_i, two_j> for combinations of rows [*lead, block, Q, M] each; the leads broadcast."""
        size = one.shape[-2]

        def flat(x: np.ndarray) -> np.ndarray:
            """Leads and blocks in one axis: one matrix product, not many thin ones that each read the whole bank."""
            return x.reshape(-1, x.shape[-2] * x.shape[-1])

        if self.vectors is not None:
            vectors = self.vectors[:size].reshape(-1, self.vectors.shape[-1])
            left, right = (_times(flat(x), vectors).reshape(*x.shape[:-2], -1) for x in (one, two))
            return left @ np.swapaxes(right, -1, -2)
        assert self.cross is not None
        cross = self.cross[:size, :, :size].reshape(size * self.cross.shape[1], -1)
        along = _times(flat(one), cross).reshape(*one.shape[:-2], -1)
        return along @ np.swapaxes(two.reshape(*two.shape[:-2], -1), -1, -2)

    def by_prompt(self, one: np.ndarray, two: np.ndarray) -> Float[np.ndarray, "*lead prompt prompt"]:
        """<one's part of prompt q, two's part of prompt r> for combinations of rows [*lead, Q, M]."""
        size = one.shape[-2]
        if self.vectors is not None:
            left, right = (
                np.einsum("...qm,qmk->...qk", x, self.vectors[:size], optimize=True) for x in (one, two)
            )
            return left @ np.swapaxes(right, -1, -2)
        assert self.cross is not None
        cross = self.cross[:size, :, :size]
        lead = one.shape[:-2]
        flat = one.reshape(-1, *one.shape[-2:])
        along = np.stack([_times(flat[:, q], cross[q].reshape(cross.shape[1], -1)) for q in range(size)], 1)
        along = along.reshape(*lead, size, size, -1)
        return np.einsum("...qrm,...rm->...qr", along, np.broadcast_to(two, one.shape))


@dataclass(frozen=True, eq=False, repr=False)
class ScoreBank:
    """Rollouts, rows and scores. ``drawn``: whether the prompts are a sample of the task's or all there is;
    ``info``: how it was recorded, as plain values (map, seed, versions, parameters, cost)."""

    pool: Pool
    rows: Rows
    scores: Scores
    drawn: bool
    tolerance: float
    info: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """What it holds, how the scores were formed, and what that took."""
        size, rollouts, time = self.pool.shape
        known = self.info.get
        seconds = " + ".join(f"{v:.1f} s {n}" for n, v in known("seconds", {}).items()) or "unknown"
        held = sum(x.nbytes for x in vars(self.scores).values() if x is not None) / 1e6
        return (
            f"ScoreBank: {size} prompts x {rollouts} rollouts of up to {time} tokens, "
            f"{'on' if self.pool.on_policy else 'off'} policy; {self.rows.count} rows "
            f"(at most {self.rows.basis.shape[2]} a rollout) of {known('params', '?')} parameters, kept as "
            f"{known('map', '?')} in {held:.1f} MB; formed by {known('way', '?')}; took {seconds}"
        )

    def evaluate(
        self,
        estimators: Sequence[Estimator | Objective] | Mapping[str, Estimator | Objective],
        group_sizes: Sequence[int],
        *,
        prompts: int = 1,
        replicates: int = 512,
        over: Over = "auto",
        slices: int | None = None,
        seed: int = 0,
    ) -> Evaluation:
        """Moments of every estimator at every group size, from the recorded rollouts alone.

        ``estimators``: a sequence (keyed by their names), or a mapping from a label of your choice.
        ``prompts``: how many prompts a batch has. ``over``: what the error bars are about. "prompts": the
        bank's prompts are a sample, errors are jackknifed over them; "rollouts": these prompts are all there
        is, a batch holds all of them (``prompts`` is then the bank's number), errors come from ``slices``
        disjoint slices of the rollouts (three or more: of two there is no jackknife, errors are NaN and a warning
        says so); "auto": prompts where they were drawn from the task and there are at
        least 8 batches' worth of them. ``replicates``: at least how many batches are formed; it brings point
        estimates near the complete U-statistic and costs time, no honesty.

        Every figure that ``Moments`` calls unbiased is so. ``mean`` is in the parameters' space where the
        bank keeps whole scores, and empty elsewhere. Raises ``ValueError`` where the pool is too small, or
        where the basis does not span an estimator's token weights (``extend`` it)."""
        named = _labelled(estimators)
        for estimator in named.values():
            self._check_needs(estimator)
            for group_size in group_sizes:
                check_group_size(estimator, int(group_size))
        if over == "auto":
            over = (
                "prompts" if self.drawn and self.pool.shape[0] // prompts >= _FEWEST_PROMPTS else "rollouts"
            )
        if over not in ("prompts", "rollouts"):
            raise ValueError(f"over: '{over}'; choose auto, prompts or rollouts")
        if over == "prompts" and self.pool.shape[0] // prompts < 2:
            raise ValueError(
                f"over: prompts, and the bank's {self.pool.shape[0]} make fewer than 2 batches of {prompts}; "
                "record more, or give over='rollouts'"
            )
        apart = dict.fromkeys(named, True)
        if over == "prompts" and prompts > 1:
            least = min(map(int, group_sizes))
            apart = dict(zip(named, separable(tuple(named.values()), self.pool, least), strict=True))
        found = _Found({}, {}, {}, {})
        few: list[int] = []

        def at(group_size: int) -> None:
            rng = np.random.default_rng((seed, group_size))
            if over == "rollouts":
                count = slices or _slices(self.pool.shape[1], group_size)
                if count < _FEWEST_SLICES:
                    few.append(group_size)
                plan = design(rng, self.pool, group_size, self.pool.shape[0], replicates, count)
                self._measure(named, plan, self.pool.shape[0], found)
                return
            alone = {n: e for n, e in named.items() if apart[n]}
            coupled = {n: e for n, e in named.items() if not apart[n]}
            if alone:
                self._measure(alone, design(rng, self.pool, group_size, 1, replicates), prompts, found)
            if coupled:
                plan = design(rng, self.pool, group_size, prompts, replicates)
                self._measure(coupled, plan, prompts, found)

        map_threads(at, map(int, group_sizes))
        if few:
            warnings.warn(
                f"group_sizes: {max(few)} with {self.pool.shape[1]} rollouts of each prompt and slices="
                f"{slices or 'None'} leaves fewer than {_FEWEST_SLICES} independent slices, so there are no standard "
                f"errors; record {_FEWEST_SLICES * max(few)} rollouts, or take smaller groups",
                stacklevel=2,
            )
        order = [(name, int(g)) for name in named for g in group_sizes]
        return Evaluation(
            {s: found.moments[s] for s in order},
            {s: found.parts[s] for s in order},
            over,
            found.residual,
            found.sketch,
        )

    def summary(self) -> Summary:
        """The four numbers and the U-statistic's numbers of every prompt, with errors:
        ``gradvar.measure.bank.summary``."""
        from gradvar.measure.bank.summary import summarise

        return summarise(self)

    def save(self, folder: str | Path) -> Path:
        """Write the bank to ``folder`` (safetensors and a manifest): ``gradvar.measure.bank.disk``."""
        from gradvar.measure.bank.disk import save

        return save(self, Path(folder))

    @classmethod
    def open(cls, folder: str | Path, *, prompts: slice | None = None) -> ScoreBank:
        """Open a saved bank, or only a range of its prompts."""
        from gradvar.measure.bank.disk import load

        return load(Path(folder), prompts)

    def extend(self, policy: Any, params: Any, task: Any, key: Any, **settings: Any) -> ScoreBank:
        """More prompts, rollouts or estimators: ``gradvar.measure.bank.extend``."""
        from gradvar.measure.bank.extend import grow

        return grow(self, policy, params, task, key, **settings)

    def coefficients(
        self, named: Mapping[str, Estimator], plan: Design
    ) -> tuple[Float[np.ndarray, "estimator partition prompt row"], Float[np.ndarray, " estimator"]]:
        """Every batch's combination of rows; raises where the basis does not span an estimator's weights."""
        found, residual = coefficients(tuple(named.values()), self.pool, self.rows, plan)
        for name, left in zip(named, residual, strict=True):
            if left > self.tolerance:
                raise ValueError(
                    f"estimators: the bank's basis leaves {left:.1e} of the token weights of '{name}' "
                    f"unexplained (allowed: {self.tolerance:.1e}); record with estimators=[...] that include "
                    "it, or extend the bank"
                )
        return found, residual

    def _check_needs(self, estimator: Estimator) -> None:
        have = {*self.pool.arrays(), "logp_sampler"}
        if missing := [n for n in estimator.needs if n not in have]:
            raise ValueError(
                f"estimators: {estimator.name} needs {', '.join(missing)}, which the bank did not record; "
                f"record with estimators=[...] that include it"
            )

    def _measure(self, named: Mapping[str, Estimator], plan: Design, prompts: int, found: _Found) -> None:
        """All figures of some estimators under one design; ``prompts``: the batch that they are quoted
        for."""
        coefs, residual = self.coefficients(named, plan)
        sums, sketch = self.block_sums(coefs, plan)
        with np.errstate(
            divide="ignore", invalid="ignore"
        ):  # a cosine without a signal is NaN, and said to be
            values, errors = figures(sums)
            parts = leave_one_out(sums)
        blocks = sums.count.shape[-1]
        scale = prompts // plan.prompts  # a mean over independent prompts
        factor = {"trace_cov": 1 / scale, "between": 1 / scale, "within": 1 / scale, "snr": float(scale)}
        mean, mean_se = self._means(coefs, plan)
        for index, (name, estimator) in enumerate(named.items()):
            setting = (name, plan.group_size)
            found.residual[setting] = float(residual[index])
            found.sketch[setting] = float(sketch[index])
            found.parts[setting] = {n: parts[n][index] * factor.get(n, 1.0) for n in FIGURES}
            found.moments[setting] = Moments(
                estimator=name if name else estimator.name,
                group_size=plan.group_size,
                prompts=prompts,
                mean=mean[index],
                mean_se=mean_se[index],
                se={n: float(errors[n][index]) * factor.get(n, 1.0) for n in FIGURES},
                true_gradient=self.scores.true_gradient,
                dof=blocks - 1,
                replicates=plan.replicates,
                **{n: float(values[n][index]) * factor.get(n, 1.0) for n in FIGURES},
            )

    def block_sums(self, coefs: np.ndarray, plan: Design) -> tuple[BlockSums, np.ndarray]:
        """Sums over blocks: sets of prompts, or slices of rollouts where there are several."""
        estimators, partitions, used, width = coefs.shape
        sets, batches = plan.prompt_sets, plan.batches
        by_rollout = plan.groups(self.pool.shape[1])
        groups = np.take_along_axis(
            by_rollout, np.broadcast_to(self.rows.rollout[:used], (partitions, used, width)), 2
        )
        gram = self.scores.set_gram(plan.prompts)[:sets]
        by_set = coefs.reshape(estimators, partitions, sets, -1)
        members = groups.reshape(partitions, sets, -1)
        if members.shape[-1] > _LARGE_SET:
            squares, together = large_quadratics(by_set, members, gram, batches, together=plan.slices == 1)
        else:
            squares, together = (
                np.asarray(x, np.float64)
                for x in quadratics(by_set, jnp.asarray(members), jnp.asarray(gram), jnp.arange(batches))
            )
        sketch = self._sketch_error(coefs, groups, plan)
        reference = self._reference(plan)
        if plan.slices == 1:
            totals = _sums(coefs, groups, 1, batches)[:, 0]  # [estimator, prompt, row]
            count = np.full(sets, float(partitions * batches))
            inner = _by_set(self.scores.by_prompt(totals, totals), plan.prompts)
            spread = (together - squares.sum(-1)).mean(1) / (batches * (batches - 1))
            if self.scores.truth is not None:
                aligned = np.einsum("eqm,qm->eq", totals, self.scores.truth[:used])
                aligned = aligned.reshape(estimators, sets, plan.prompts).sum(-1)
                truth: Any = _squared(self.scores)
            else:
                scaled = reference[0] * (count[0] / plan.prompts)
                aligned = _by_set(self.scores.by_prompt(totals, scaled), plan.prompts)
                truth = _by_set(self.scores.by_prompt(scaled, scaled), plan.prompts)
                truth = np.broadcast_to(truth, aligned.shape)
            sums = BlockSums(
                count=count, gram=inner, squares=squares.sum((1, 3)), pairs=spread * count / 2,
                aligned=aligned, truth=truth, truth_known=self.scores.truth is not None,
            )  # fmt: skip
            return sums, sketch
        each = batches // plan.slices
        totals = _sums(coefs, groups, plan.slices, each)
        count = np.full(plan.slices, float(partitions * each))
        if self.scores.truth is not None:
            aligned = np.einsum("ekqm,qm->ek", totals, self.scores.truth[:used])
            truth = _squared(self.scores)
        else:
            scaled = reference * (count[0] / plan.prompts)
            aligned = self.scores.products(totals, scaled)
            truth = np.broadcast_to(self.scores.products(scaled, scaled), aligned.shape)
        sums = BlockSums(
            count=count, gram=self.scores.products(totals, totals),
            squares=squares.reshape(estimators, partitions, plan.slices, each).sum((1, 3)), pairs=None,
            aligned=aligned, truth=truth, truth_known=self.scores.truth is not None,
        )  # fmt: skip
        return sums, sketch

    def _reference(self, plan: Design) -> Float[np.ndarray, "slice prompt row"]:
        """Row combinations of an unbiased estimate of every prompt's own gradient, from each slice of the
        rollouts."""
        used, width = plan.orders.shape[1], self.pool.shape[1] // plan.slices
        if self.scores.truth is not None:
            return np.zeros((plan.slices, used, self.rows.rollout.shape[1]))
        found = []
        for k in range(plan.slices):
            order = np.broadcast_to(np.arange(k * width, (k + 1) * width, dtype=np.int32), (1, used, width))
            found.append(
                np.asarray(self.coefficients({"reference": REFERENCE}, Design(width, 1, order))[0])[0, 0]
            )
        return np.stack(found).astype(np.float64)

    def _means(self, coefs: np.ndarray, plan: Design) -> tuple[np.ndarray, np.ndarray]:
        """Mean gradients and their standard errors [estimator, P], where whole scores are kept; else
        [estimator, 0]."""
        if self.scores.vectors is None or self.info.get("map") != "identity":
            return np.zeros((coefs.shape[0], 0)), np.zeros((coefs.shape[0], 0))
        totals = np.asarray(coefs, np.float64).sum(1) / (len(plan.orders) * plan.batches)
        if plan.slices > 1:
            whole = np.einsum("eqm,qmp->ep", totals, self.scores.vectors, optimize=True)
            return whole, np.full_like(whole, np.nan)
        own = np.einsum("eqm,qmp->eqp", totals, self.scores.vectors[: totals.shape[1]], optimize=True)
        own = own.reshape(len(own), plan.prompt_sets, plan.prompts, -1).sum(2)
        return own.mean(1), own.std(1, ddof=1) / np.sqrt(own.shape[1])

    def _sketch_error(self, coefs: np.ndarray, groups: np.ndarray, plan: Design) -> np.ndarray:
        """The relative standard error that a sketch adds to the mean of ||ghat||^2.

        The sum over columns is unbiased and the columns are exchangeable and nearly independent, so their
        spread tells."""
        if self.scores.vectors is None or not str(self.info.get("map", "")).startswith("sketch"):
            return np.zeros(len(coefs))
        if (
            self.info["map"] == "sketch hashed"
        ):  # its columns are not exchangeable: a bound, from var <u, u> <= 2 |u|^4 / K
            return np.full(len(coefs), np.sqrt(2 / self.scores.vectors.shape[-1]))
        columns = np.zeros((len(coefs), self.scores.vectors.shape[-1]))
        vectors = self.scores.vectors[: coefs.shape[2]].reshape(
            plan.prompt_sets, -1, self.scores.vectors.shape[-1]
        )
        first = np.where(groups[0] >= 0, coefs[:, 0], 0.0).astype(np.float64)
        first = first.reshape(len(coefs), plan.prompt_sets, -1)
        member = groups[0].reshape(plan.prompt_sets, -1)
        for j in range(min(plan.batches, 16)):
            columns += (
                np.einsum("eax,axk->eak", np.where(member == j, first, 0.0), vectors, optimize=True) ** 2
            ).sum(1)
        width = columns.shape[1]
        return columns.std(1, ddof=1) / columns.mean(1) / np.sqrt(width)


@dataclass(frozen=True)
class _Found:
    moments: dict[Setting, Moments]
    parts: dict[Setting, dict[str, np.ndarray]]
    residual: dict[Setting, float]
    sketch: dict[Setting, float]


def _labelled(
    estimators: Sequence[Estimator | Objective] | Mapping[str, Estimator | Objective],
) -> dict[str, Estimator]:
    if isinstance(estimators, Mapping):
        named = {label: as_estimator(e) for label, e in estimators.items()}
    else:
        made = [as_estimator(e) for e in estimators]
        named = {e.name: e for e in made}
        if len(named) < len(made):
            raise ValueError("estimators: two have the same name; give a mapping {label: estimator}")
    if not named:
        raise ValueError("estimators: none given; give at least one")
    return named


def _slices(rollouts: int, group_size: int) -> int:
    """As many slices as leave whole groups in each, 32 at most."""
    return max(2, min(32, rollouts // group_size))


def _sums(
    coefs: Float[np.ndarray, "estimator partition prompt row"],
    groups: Int[np.ndarray, "partition prompt row"],
    slices: int,
    each: int,
) -> Float[np.ndarray, "estimator slice prompt row"]:
    """Coefficients summed over partitions, for the batches of each slice; a partition at a time, for memory."""
    totals = np.zeros((len(coefs), slices, *coefs.shape[2:]))
    for partition, members in enumerate(groups):
        for k in range(slices):
            here = (members >= k * each) & (members < (k + 1) * each)
            totals[:, k] += np.where(here, coefs[:, partition], 0.0)
    return totals


def _by_set(products: np.ndarray, prompts: int) -> np.ndarray:
    """Sums over sets of consecutive prompts, of [..., Q, Q]."""
    sets = products.shape[-1] // prompts
    return products.reshape(*products.shape[:-2], sets, prompts, sets, prompts).sum((-3, -1))


def _times(few: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """Their product in the bank's precision: NumPy would first make a wider copy of the whole bank."""
    return (few.astype(bank.dtype) @ bank).astype(np.float64)


def _squared(scores: Scores) -> float:
    assert scores.true_gradient is not None
    return float(scores.true_gradient @ scores.true_gradient)
