"""Token weights of every arm's objective where a run begins, on policy, against closed forms in NumPy.

That an arm's step is its objective's gradient is ``test_step``; of games and allocations ``test_dual`` and
``test_allocation``; off policy ``test_systems``.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradvar as gv
from gradvar.core.batch import Batch
from gradvar.train import arms
from gradvar.train.step import estimator_of

RNG = np.random.default_rng(5)
REWARDS = np.array([[1.0, 0, 0, 1], [0, 1, 0, 0], [1, 1, 1, 1]])
QUESTIONS, GROUP = REWARDS.shape
MASK = np.arange(3) < np.array([[3, 1, 2, 2], [1, 3, 3, 2], [2, 2, 1, 3]])[..., None]  # [prompt, group, time]
OLD, REFERENCE = (-RNG.uniform(0.2, 2, MASK.shape) * MASK for _ in range(2))
VALUES, BASELINE, SQUARES = (
    RNG.uniform(size=MASK.shape),
    RNG.uniform(size=QUESTIONS),
    RNG.uniform(1, 3, REWARDS.shape),
)
LENGTHS, TOKENS = MASK.sum(-1), MASK.sum()
MIXED = (REWARDS.max(1) > REWARDS.min(1))[:, None]


def of_rollouts(weights):
    """The same weight on all tokens of a rollout, the mean over rollouts."""
    return weights[..., None] * MASK / REWARDS.size


def of_means(weights):
    """A rollout's weight shared over its tokens."""
    return of_rollouts(weights / LENGTHS)


def deviations():
    return REWARDS - REWARDS.mean(1, keepdims=True)


def standardised(ddof=0):
    return deviations() / (REWARDS.std(1, keepdims=True, ddof=ddof) + 1e-6)


def less_others(weights):
    """The reward less the others' mean reward, weighted."""
    total, sums = weights.sum(1, keepdims=True), (weights * REWARDS).sum(1, keepdims=True)
    return REWARDS - (sums - weights * REWARDS) / (total - weights)


def target():
    std = REWARDS.std(1, keepdims=True)
    shares = np.exp(REWARDS / np.where(std > 0, std, 1))
    return shares / shares.sum(1, keepdims=True)


def pairs(beta):
    """beta sigmoid(-beta m) for every pair, m the margin of the better one; the mean over pairs."""
    ratio = (OLD - REFERENCE).sum(-1)
    margin = ratio[:, :, None] - ratio[:, None]
    sign = np.sign(REWARDS[:, :, None] - REWARDS[:, None])
    pull = (beta * sign / (1 + np.exp(beta * sign * margin))).sum(2)
    return pull[..., None] * MASK * 2 / (QUESTIONS * GROUP * (GROUP - 1))


def one_pair(beta=0.1):
    ratio, weights = (OLD - REFERENCE).sum(-1), np.zeros(REWARDS.shape)
    for q in np.flatnonzero(MIXED):
        best, worst = REWARDS[q].argmax(), REWARDS[q].argmin()
        pull = beta / (1 + np.exp(beta * (ratio[q, best] - ratio[q, worst])))
        weights[q, best], weights[q, worst] = pull, -pull
    return weights[..., None] * MASK / QUESTIONS


def rare_ones_first():
    """pi_old^(-1/2) on the best of a mixed group, normalised, less its mean."""
    weights = np.where((REWARDS == 1) & MIXED, np.exp(-0.5 * OLD.sum(-1)), 0.0)
    shares = weights / np.where(MIXED, weights.sum(1, keepdims=True), 1)
    return (shares - shares.mean(1, keepdims=True))[..., None] * MASK / QUESTIONS


def with_contrast(base, coefficient):
    return base - coefficient * of_rollouts(REWARDS - less_others(np.ones(REWARDS.shape)))


PENALTY = 0.04 * (np.exp(REFERENCE - OLD) - 1) / LENGTHS[..., None] * MASK / REWARDS.size
GRPO, CENTRED = of_means(standardised()), of_means(deviations())
FORMS = {
    "grpo": GRPO,
    "grpo beta=0.04": GRPO + PENALTY,
    "grpo_sample_std": of_means(standardised(1)),
    "gspo": GRPO,
    **dict.fromkeys(
        ("grpo_without_std", "unclipped", "clip_0.05", "clip_0.2_0.28", "length_sequence"), CENTRED
    ),
    "length_token": deviations()[..., None] * MASK / TOKENS,
    "group_mean": of_rollouts(deviations()),
    "cispo": standardised()[..., None] * MASK / TOKENS,
    "dapo": standardised()[..., None] * MASK / (MASK * MIXED[..., None]).sum(),
    "rloo": of_rollouts(less_others(np.ones(REWARDS.shape))),
    "opo_leave_one_out": of_rollouts(less_others(LENGTHS)),
    "reinforce_optimal": of_rollouts(less_others(SQUARES)),
    "reinforce": of_rollouts(REWARDS),
    "reinforce_best_constant": of_rollouts(REWARDS - BASELINE[:, None]),
    "reinforce_with_contrast": with_contrast(of_rollouts(REWARDS), 0.5),
    "grpo_with_contrast": with_contrast(GRPO, -0.2),
    "ppo": (REWARDS[..., None] - VALUES) * MASK / TOKENS,
    "dpo beta=0.1": pairs(0.1),
    "dpo beta=0.5": pairs(0.5),
    "dpo_one_pair": one_pair(),
    "lpo_pointwise": GROUP * of_rollouts(target()),
    **dict.fromkeys(("lpo_forward", "lpo_forward moving=True"), GROUP * of_rollouts(target() - 1 / GROUP)),
    **dict.fromkeys(("lpo_reverse", "lpo_reverse moving=True"), of_rollouts(standardised())),
    "own_likelihood": rare_ones_first(),
    "own_rollouts +": of_rollouts(np.ones(REWARDS.shape)),
    "own_rollouts -": -of_rollouts(np.ones(REWARDS.shape)),
}


def key_of(phase, estimator):
    settings = " ".join(f"{k}={v}" for k, v in dict(phase.settings).items())
    sign = estimator.paper.equation[0] if estimator.name == "own_rollouts" else ""
    return " ".join(filter(None, (estimator.name, settings, sign)))


def objectives():
    phases = [
        phase
        for arm in arms.ARMS
        if arm.game is None and arm.allocation is None
        for phase in arm.all_phases()
    ]
    return {key_of(phase, estimator_of(phase)): estimator_of(phase) for phase in phases}


@pytest.fixture(scope="module")
def taken():
    """Token weights of all objectives, in one program."""
    batch = Batch(
        REWARDS, OLD, MASK, logp_ref=REFERENCE, values=VALUES, baseline=BASELINE, score_squares=SQUARES
    )
    program = jax.jit(lambda logp: {key: gv.token_weights(e, logp, batch) for key, e in objectives().items()})
    return {key: np.asarray(weights) for key, weights in program(jnp.asarray(OLD)).items()}


def test_every_arm_has_a_closed_form():
    assert set(objectives()) == set(FORMS)


@pytest.mark.slow
@pytest.mark.parametrize("key", FORMS)
def test_the_first_weights_are_the_closed_form(taken, key):
    tolerance = 1e-5 * np.abs(FORMS[key]).max()  # an epsilon of 1e-6 beside the standard deviation
    np.testing.assert_allclose(taken[key], FORMS[key], atol=tolerance)
    wrong = FORMS[key] * (
        1 + 0.01 * (REWARDS == 1)[..., None]
    )  # the planted violator: 1 % on the correct ones
    assert np.abs(taken[key] - wrong).max() > 100 * tolerance
