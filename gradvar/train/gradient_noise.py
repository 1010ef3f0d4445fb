"""Gradient noise along a training run: a score bank of the policy at every evaluation.

The figures are of one step's first gradient at the arm's own numbers of prompts and rollouts, on policy: its squared
mean (``signal``), tr Cov (``noise``) and their quotient (``snr``), from rollouts of their own that no step sees. They
say what variance the estimator has where training has brought the policy, beside what it learns.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PyTree
from scipy import stats

from gradvar.core.estimator import Estimator
from gradvar.core.protocols import Policy, Task
from gradvar.measure.bank.record import record
from gradvar.measure.baselines import BASELINE_FIELDS
from gradvar.stats.bootstrap import bootstrap
from gradvar.stats.intervals import Interval
from gradvar.train.plan import Plan
from gradvar.train.state import State
from gradvar.train.step import estimator_of

FIGURES = ("signal", "noise", "snr")
_SERVED = {*BASELINE_FIELDS, "logp_ref", "logp_sampler"}  # optional fields of a batch that a bank fills
_STREAM = 0x4015E  # keys of the bank are apart from those of training


class Probe:
    """Measures ``FIGURES`` for every seed; NaN for an arm that plays a game, whose first phase draws no fresh rollouts,
    or whose estimator needs what a bank does not hold (squared scores).

    ``prompts``: of the bank; it holds two groups of each. ``reference``: parameters of the reference policy.
    """

    def __init__(self, policy: Policy, task: Task, plan: Plan, prompts: int, reference: PyTree) -> None:
        self.policy, self.task, self.plan = policy, task, plan
        self.prompts, self.reference = prompts, reference
        phase = plan.arm.all_phases()[0]
        estimator = estimator_of(phase)
        served = set(estimator.needs) <= _SERVED and phase.source == "fresh" and plan.arm.game is None
        self.estimator: Estimator | None = estimator if served else None

    def __call__(self, states: State) -> dict[str, Float[np.ndarray, " seed"]]:
        """The figures at the states' parameters, [seed]."""
        params = jax.tree.map(np.asarray, states.params)
        rows = [
            self._measure(jax.tree.map(lambda x, s=s: jnp.asarray(x[s]), params), int(seed), int(step))
            for s, (seed, step) in enumerate(zip(states.seed, states.step, strict=True))
        ]
        return {name: np.array([row[i] for row in rows]) for i, name in enumerate(FIGURES)}

    def _measure(self, params: PyTree, seed: int, step: int) -> tuple[float, float, float]:
        if self.estimator is None:
            return (np.nan,) * 3
        group = self.plan.arm.group
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), _STREAM), step)
        bank = record(
            self.policy, params, self.task, key, self.prompts, max(2 * group, 4),
            ref_params=self.reference, estimators=[self.estimator],
        )  # fmt: skip
        results = bank.evaluate([self.estimator], [group], replicates=4 * self.prompts, independent="prompts")
        moments = next(iter(results.values()))
        # one prompt's gradient was measured; a step takes the mean over its prompts, which are independent
        noise = moments.trace_cov / self.plan.prompts
        return moments.signal, noise, moments.signal / noise if noise > 0 else np.nan


def rank_correlation(
    first: Sequence[Float[np.ndarray, " seed"]], second: Sequence[Float[np.ndarray, " seed"]]
) -> Interval:
    """Spearman's correlation over arms of the seeds' means of two figures, with a bootstrap interval over seeds.

    ``first`` and ``second``: a row of seeds for every arm, paired. NaN with fewer than three arms.
    """
    arms = len(first)
    if arms < 3:
        return Interval(np.nan, np.nan, np.nan).without("fewer than three arms")

    def spearman(*rows: Float[np.ndarray, "*batch seed"]) -> np.ndarray:
        means = np.stack([row.mean(-1) for row in rows], -1)  # [*batch, 2 arms]
        ranks = [stats.rankdata(part, axis=-1) for part in (means[..., :arms], means[..., arms:])]
        centred = [rank - rank.mean(-1, keepdims=True) for rank in ranks]
        spread = np.sqrt(np.prod([(c**2).sum(-1) for c in centred], axis=0))
        with np.errstate(invalid="ignore"):
            return (centred[0] * centred[1]).sum(-1) / spread

    return bootstrap(spearman, *first, *second)
