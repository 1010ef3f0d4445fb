"""Objectives of the systems that build on two-rollout GRPO, where the catalogue has none: SPS, LPO's ablation, G2D.

What is the source's, what is second-hand and what is our reading is said at each.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gradvar.core.batch import Batch
from gradvar.core.checks import one_of, positive
from gradvar.core.compose import batch_arrays, compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.lpo import target_logits
from gradvar.estimators.pairs import sequence_log_ratio
from gradvar.pieces import advantage, aggregate, penalty, surrogate

LogProbs = Float[Array, "prompt group time"]

PAIRED = compose(
    name="dpa_grpo",
    advantage=partial(advantage.standardised, eps=1e-8),
    surrogate=surrogate.likelihood,
    penalty=partial(penalty.k1, beta=0.04),
    aggregate=aggregate.sequence_token_mean,
)
"""DPA-GRPO's loss of one group of actions; what the groups are is in ``train.dual`` and ``train.paired``."""


def own_rollouts(direction: float) -> Estimator:
    """Return SPS's second stage: ``direction`` times the mean log-likelihood of all of the group's whole rollouts.

    SPS (arXiv 2604.16995). Source (abstract): reinforcement learning alternates with inverse reinforcement learning
    whose demonstrations are on-policy rollouts. Second-hand (a summary of Section 4.1, Eq. 4 and Algorithm 1): the
    second stage minimises the *negative* forward KL from the rollouts' empirical distribution to the policy. As
    printed, that *raises* the KL, so the likelihood descends (-1, ``sps-printed``); to imitate the demonstrations, it
    must ascend (1, ``sps-intended``). Our reading: all rollouts, none filtered, and one step of four.

    Either way the expected step is zero (claim C5), and the effect of a step is of second order, the same for both
    signs: see ``measure.exact.step_effect``.
    """
    one_of("direction", str(direction), ("1", "-1", "1.0", "-1.0"))

    def objective(logp: LogProbs, batch: Batch) -> Float[Array, ""]:
        return direction * jnp.mean(jnp.sum(jnp.where(batch.mask, logp, 0.0), axis=-1))

    equation = f"{'+' if direction > 0 else '-'} mean_i log pi(o_i)"
    return Estimator(
        "own_rollouts", objective, Paper("SPS, second-hand", "2604.16995", equation), min_group=1
    )


def own_likelihood(flatten: float = 0.5) -> Estimator:
    """Return a likelihood step on the policy's correct rollouts, weighted to the rare ones: our reading of SPS.

    Of what SPS (arXiv 2604.16995) is for: to undo the squeezing of probability. Maximum-entropy
    inverse reinforcement learning ascends E_demonstrations[s] - E_policy[s]. Here demonstrations are the group's
    best rollouts, weighted by pi_old(o)^-flatten (normalised in the group), and the policy's expectation is the
    group's mean. Without weights and selection the expected step would be zero (claim C5).
    """

    def objective(logp: LogProbs, batch: Batch) -> Float[Array, ""]:
        old = jnp.sum(batch_arrays(batch)["logp_old"], axis=-1)
        top = jnp.max(batch.rewards, axis=1, keepdims=True)
        best = (batch.rewards == top) & (top > jnp.min(batch.rewards, axis=1, keepdims=True))
        logits = jnp.where(best, -flatten * old, -jnp.inf)
        weights = jnp.where(
            best, jax.nn.softmax(jnp.where(best.any(1, keepdims=True), logits, 0.0), axis=1), 0.0
        )
        centred = jax.lax.stop_gradient(weights - jnp.mean(weights, axis=1, keepdims=True))
        sequence_logp = jnp.sum(jnp.where(batch.mask, logp, 0.0), axis=-1)  # [prompt, group]
        return jnp.mean(jnp.sum(centred * sequence_logp, axis=1))

    equation = "sum_i (w_i - mean w) log pi(o_i), w ~ pi_old^-a on the best"
    return Estimator("own_likelihood", objective, Paper("SPS, our reading", "2604.16995", equation))


def lpo_pointwise(*, temperature: float | str = "std") -> Estimator:
    """Return LPO's pointwise ablation: sum_i w_i log pi(o_i) with the listwise target w, no softmax over the group.

    arXiv 2605.06139, loss -sum_k w_k log pi(o_k). Without the group's own shares P nothing is subtracted: the weights
    sum to one where those of ``lpo_forward`` sum to zero.
    """
    target = target_logits(temperature)

    def objective(logp: LogProbs, batch: Batch) -> Float[Array, ""]:
        weights = jax.nn.softmax(target(batch.rewards), axis=1)
        sequence_logp = jnp.sum(jnp.where(batch.mask, logp, 0.0), axis=-1)  # [prompt, group]
        return jnp.mean(jnp.sum(jax.lax.stop_gradient(weights) * sequence_logp, axis=1))

    paper = Paper("LPO, pointwise ablation", "2605.06139", "sum_i w_i log pi(o_i), w = softmax(r/tau)")
    return Estimator("lpo_pointwise", objective, paper)


def dpo_one_pair(*, beta: float = 0.1) -> Estimator:
    """Return DPO on one pair of a group: its first best rollout over its first worst; equal rewards are no pair.

    The catalogued ``dpo`` takes all pairs of a group. The mean is over prompts, a group without a pair counting as
    zero.
    """
    beta = positive("beta", beta)

    def objective(logp: LogProbs, batch: Batch) -> Float[Array, ""]:
        ratio = sequence_log_ratio(logp, batch_arrays(batch, ("logp_ref",))["logp_ref"], batch)
        best, worst = (pick(batch.rewards, axis=1)[:, None] for pick in (jnp.argmax, jnp.argmin))
        margin = jnp.take_along_axis(ratio, best, 1) - jnp.take_along_axis(ratio, worst, 1)
        mixed = jnp.max(batch.rewards, axis=1) > jnp.min(batch.rewards, axis=1)
        return jnp.mean(jnp.where(mixed, jax.nn.log_sigmoid(beta * margin[:, 0]), 0.0))

    paper = Paper(
        "DPO, one pair of a group", "2305.18290", "log sigmoid(beta (h_w - h_l)), first best, first worst"
    )
    return Estimator("dpo_one_pair", objective, paper, needs=("logp_ref",))
