"""LPO: listwise policy optimisation, forward and reverse.

Y. Qu et al., "Listwise policy optimization: Group-based RLVR as target-projection on the LLM response
simplex", arXiv 2605.06139. Over the rollouts of one group, s_i = log pi(o_i) - log pi_old(o_i):

    P = softmax(s),   w = softmax(r / tau + s_t)
    forward:  J = -KL(w || P), gradient sum_i (w_i - P_i) grad log pi(o_i)
    reverse:  J = -KL(P || w), gradient -sum_i P_i (d_i - mean_P d) grad log pi(o_i),   d = s - r/tau - s_t

tau is the divisor of an estimator's advantage (1 for Dr. GRPO, std for GRPO, mean for MaxRL), so that on
policy the reverse form's gradient is (1/G) sum_i A_i grad log pi(o_i).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gradvar.core.batch import Batch
from gradvar.core.checks import positive
from gradvar.core.compose import batch_arrays
from gradvar.core.estimator import Estimator, Objective, Paper
from gradvar.estimators.law_sets import PROMPT_WEIGHTED, ROW_WISE, merged
from gradvar.estimators.pairs import sequence_log_ratio
from gradvar.pieces import advantage

_TITLE = "Listwise policy optimization: Group-based RLVR as target-projection on the LLM response simplex"
PerRollout = Float[Array, "prompt group"]


def lpo_forward(*, temperature: float | str = "std", moving: bool = False) -> Estimator:
    """Minus the forward KL from the target to the group's softmax of log-ratios: covers every good rollout.

    ``temperature``: a number, ``"std"`` (the group's population standard deviation, GRPO's target) or
    ``"mean"`` (the group's mean reward, MaxRL's). The target is built at the policy that sampled, s_t = 0,
    which is the paper's case of one outer step per batch; with ``moving`` it is built anew at the current
    policy, s_t = s held, so that every optimiser step is an outer step of its own. Equal rewards make the
    target uniform: the gradient is zero on policy, and off it pulls the ratios together.
    """
    target = target_logits(temperature)

    def objective(logp: Float[Array, "prompt group time"], batch: Batch) -> Float[Array, ""]:
        arrays = batch_arrays(batch)
        ratio = sequence_log_ratio(logp, arrays["logp_old"], batch)
        log_p = jax.nn.log_softmax(ratio, axis=1)
        start = jax.lax.stop_gradient(ratio) if moving else 0.0
        log_w = jax.nn.log_softmax(target(batch.rewards) + start, axis=1)
        return jnp.mean(jnp.sum(jnp.exp(log_w) * (log_p - log_w), axis=1))

    return _estimator("lpo_forward", objective, "-KL(w || P), P = softmax(log pi/pi_old), w = softmax(r/tau)")


def lpo_reverse(*, temperature: float | str = "std", moving: bool = False) -> Estimator:
    """Minus the reverse KL: on policy the same gradient as the advantage (r - mean)/tau on whole rollouts.

    Settings as for ``lpo_forward``.
    """
    target = target_logits(temperature)

    def objective(logp: Float[Array, "prompt group time"], batch: Batch) -> Float[Array, ""]:
        arrays = batch_arrays(batch)
        ratio = sequence_log_ratio(logp, arrays["logp_old"], batch)
        log_p = jax.nn.log_softmax(ratio, axis=1)
        start = jax.lax.stop_gradient(ratio) if moving else 0.0
        log_w = jax.nn.log_softmax(target(batch.rewards) + start, axis=1)
        return -jnp.mean(jnp.sum(jnp.exp(log_p) * (log_p - log_w), axis=1))

    return _estimator("lpo_reverse", objective, "-KL(P || w), P = softmax(log pi/pi_old), w = softmax(r/tau)")


def target_logits(temperature: float | str) -> Callable[[PerRollout], PerRollout]:
    """From rewards to the target's logits, s_t = 0; centred, which a softmax does not see: equal rewards give zeros."""
    if temperature == "std":
        return lambda rewards: advantage.standardised(rewards, eps=0.0)
    if temperature == "mean":
        return advantage.over_mean
    if isinstance(temperature, str):
        raise ValueError(f"temperature: {temperature!r}; give a number above zero, 'std' or 'mean'")
    tau = positive("temperature", temperature)
    return lambda rewards: advantage.group_mean(rewards) / tau


def _estimator(name: str, objective: Objective, equation: str) -> Estimator:
    return Estimator(
        name=name,
        objective=objective,
        paper=Paper(_TITLE, "2605.06139", equation),
        laws=merged(ROW_WISE, PROMPT_WEIGHTED),
    )
