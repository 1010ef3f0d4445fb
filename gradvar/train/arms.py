"""The arms: one explicit tuple of settings. Copy one and change it: ``dataclasses.replace(get("grpo-2"), group=4)``.

Every loss is a catalogued objective, the same function, or a sum of such; where the catalogue has none, the objective
is put together here and says so. Groups are 16 unless the arm is about another number.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gradvar import catalogue
from gradvar.core.batch import Batch
from gradvar.core.compose import batch_arrays, compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.core.naming import resolve_name
from gradvar.files.fingerprint import describe, fingerprint
from gradvar.pieces import advantage, aggregate, penalty, surrogate
from gradvar.train.plan import Arm, Phase

SIZES = (2, 4, 8, 16)


def _centred(name: str, token: Callable[..., Array], total: Callable[..., Array]) -> Estimator:
    """Return the reward less the group's mean, with a surrogate for each token and an aggregate of tokens."""
    return compose(name=name, advantage=advantage.group_mean, surrogate=token, aggregate=total)


def _clipped(name: str, low: float, high: float) -> Estimator:
    return _centred(name, partial(surrogate.ppo_clip, low=low, high=high), aggregate.sequence_token_mean)


def _policy_gradient(name: str, total: Callable[..., Array]) -> Estimator:
    return _centred(name, surrogate.likelihood, total)


GRPO_WITHOUT_STD = _clipped("grpo_without_std", 0.2, 0.2)
"""GRPO with nothing changed but the division by the standard deviation, which is left out."""

UNCLIPPED = _centred("unclipped", surrogate.importance_ratio, aggregate.sequence_token_mean)
"""GRPO without the division and without a clip."""

GROUP_MEAN = _policy_gradient("group_mean", aggregate.sequence_token_sum)
"""RLOO with the mean of the whole group, the rollout's reward included: (1 - 1/G) of RLOO."""


OPTIMAL = compose(
    name="reinforce_optimal",
    advantage=advantage.score_weighted,
    surrogate=surrogate.likelihood,
    aggregate=aggregate.sequence_token_sum,
)
"""REINFORCE less the variance-optimal baseline, estimated from the group's other rollouts and their squared scores."""


def with_contrast(base: Estimator, coefficient: float) -> Estimator:
    """Return ``base`` less ``coefficient`` times the control variate f - h: REINFORCE less the two-sample contrast.

    f is the catalogued ``reinforce`` and h, half the mean over pairs of (r_i - r_j)(s_i - s_j), the catalogued
    ``rloo``. Both have the mean grad J on policy, so their difference has mean zero, and it is the only multiple
    of h with a known mean (claim C7): 0 leaves ``base`` alone, and ``reinforce`` with 1 is ``rloo``.
    """
    single, contrast = catalogue.get("reinforce"), catalogue.get("rloo")

    def objective(logp: Float[Array, "prompt group time"], batch: Batch) -> Float[Array, ""]:
        return base(logp, batch) - coefficient * (single(logp, batch) - contrast(logp, batch))

    return Estimator(
        name=f"{base.name}_with_contrast",
        objective=objective,
        paper=Paper("this project", "", f"base - {coefficient:g} (REINFORCE - contrast)"),
        needs=base.needs,
        min_group=2,
    )


def own_likelihood(flatten: float = 0.5) -> Estimator:
    """Return a likelihood step on the policy's correct rollouts, weighted to the rare ones: our reading of SPS.

    SPS (arXiv 2604.16995) alternates reinforcement learning with inverse reinforcement learning on its rollouts as
    demonstrations, to undo the squeezing of probability; its equations were not at hand. Maximum-entropy
    inverse reinforcement learning ascends E_demonstrations[s] - E_policy[s]. Here demonstrations are the group's
    best rollouts, weighted by pi_old(o)^-flatten (normalised in the group), and the policy's expectation is the
    group's mean. Without weights and selection the expected step would be zero (claim C5).
    """

    def objective(logp: Float[Array, "prompt group time"], batch: Batch) -> Float[Array, ""]:
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

    return Estimator(
        name="own_likelihood",
        objective=objective,
        paper=Paper(
            "SPS, our reading", "2604.16995", "sum_i (w_i - mean w) log pi(o_i), w ~ pi_old^-a on the best"
        ),
    )


DPA = compose(
    name="dpa_grpo",
    advantage=advantage.group_mean,
    surrogate=surrogate.likelihood,
    penalty=partial(penalty.k1, beta=0.01),
    aggregate=aggregate.sequence_token_sum,
)
"""-A log pi + beta (log pi - log pi_ref) on both actions of a decision, to be minimised: DPA-GRPO (2605.08327).

The loss of claims C4a and C4b with the sum over tokens; the released code averages over a rollout's tokens by default.
"""

_PAIRS = {"beta": 0.1}
# A few hundred offline pairs wear out: at the full learning rate DPO falls below the policy that drew them. A few
# thousand do not (dpo-offline).

ARMS: tuple[Arm, ...] = (
    *(Arm(f"grpo-{g}", "grpo", group=g, summary=f"GRPO, {g} rollouts, population std") for g in SIZES),
    *(
        Arm(f"grpo-{g}-sample-std", "grpo_sample_std", group=g, summary=f"GRPO, {g} rollouts, sample std")
        for g in SIZES
    ),
    *(
        Arm(f"grpo-{g}-no-std", GRPO_WITHOUT_STD, group=g, summary=f"GRPO, {g} rollouts, no division")
        for g in SIZES
    ),
    Arm("grpo-16-kl", "grpo", {"beta": 0.04}, summary="GRPO with the paper's penalty, k3 to the start"),
    Arm("grpo-2-resampled", "grpo", group=2, attempts=4, summary="equal groups replaced, up to 4 rounds"),
    Arm("rloo-2", "rloo", group=2, summary="leave-one-out, 2 rollouts"),
    Arm("rloo-16", "rloo", summary="leave-one-out, 16 rollouts"),
    Arm("reinforce", "reinforce", group=1, summary="no baseline, one rollout"),
    Arm(
        "reinforce-baseline", "reinforce_best_constant", group=1,
        summary="less the running mean reward, one rollout",
    ),
    Arm("ppo", "ppo", group=1, epochs=2, summary="learned critic (value head), GAE, one rollout, 2 epochs"),
    Arm("dpo-online", "dpo", _PAIRS, group=2, summary="DPO on fresh own pairs, reference the start"),
    Arm(
        "dpo-offline", "dpo", group=2, store=4096,
        phases=(Phase("dpo", {"beta": 0.5}, source="stored", informative=True),),
        summary="DPO on the mixed ones of 4096 pairs of the start's rollouts, drawn once",
    ),
    Arm("dapo", "dapo", attempts=4, summary="clip-higher, token mean, equal groups replaced, up to 4 rounds"),
    Arm("gspo", "gspo", summary="one ratio per sequence"),
    Arm("cispo", "cispo", summary="clipped weights"),
    Arm("lpo-forward", "lpo_forward", summary="listwise, forward KL"),
    Arm("lpo-reverse", "lpo_reverse", summary="listwise, reverse KL"),
    Arm(
        "g2d", "grpo", group=4, store=512,
        phases=(
            Phase("grpo", share=0.5),
            Phase("dpo", _PAIRS, share=0.5, source="stored", informative=True, rate=0.1),
        ),
        summary="GRPO for half of the run, then DPO on stored mixed groups of the policy reached (2605.21266)",
    ),
    Arm(
        "sps", "grpo", cycle=4, phases=(Phase("grpo", share=3), Phase(own_likelihood(), share=1)),
        summary="three GRPO steps, then one of reweighted likelihood on own rollouts (2604.16995, our reading)",
    ),
    # One step per batch: the control variate's mean is zero on policy only.
    Arm(
        "reinforce-contrast", with_contrast(catalogue.get("reinforce"), 0.5), group=2, minibatches=1,
        summary="REINFORCE and half the two-sample contrast as a control variate",
    ),
    # A pair of GRPO is the contrast already, and the best coefficient lies below 1 (C7): some of it is taken back,
    # divided by about the length, as GRPO's mean over tokens is.
    Arm(
        "grpo-2-contrast", with_contrast(catalogue.get("grpo"), -0.2), group=2, minibatches=1,
        summary="GRPO, 2 rollouts, and the same control variate with coefficient -0.2",
    ),
    Arm(
        "dpa", "grpo", group=2, cycle=2,
        phases=(Phase("grpo", share=1), Phase(DPA, share=1, source="enumerated")),
        summary="GRPO on answers and verdicts, then both verdicts on an own answer enumerated (task verification)",
    ),
    # one change at a time, exactly on policy: the baseline alone
    Arm("baseline-none", "reinforce", minibatches=1, summary="ablation: no baseline, 16 rollouts"),
    Arm(
        "baseline-constant", "reinforce_best_constant", minibatches=1,
        summary="ablation: running mean reward, 16 rollouts",
    ),
    Arm("baseline-others", "rloo", minibatches=1, summary="ablation: leave-one-out, 16 rollouts"),
    Arm("baseline-mean", GROUP_MEAN, minibatches=1, summary="ablation: group mean, 16 rollouts"),
    Arm(
        "baseline-weighted", "opo_leave_one_out", minibatches=1,
        summary="ablation: length-weighted, the optimal one if squared scores grow with length, 16 rollouts",
    ),
    Arm("baseline-optimal", OPTIMAL, minibatches=1, summary="ablation: the variance-optimal baseline, 16 rollouts"),
    # the clip alone, with eight inner steps on every batch: far enough off policy for it to act
    *(
        Arm(f"clip-{name}", estimator, minibatches=4, epochs=2, summary=f"ablation: {what}, 8 inner steps")
        for name, estimator, what in (
            ("none", UNCLIPPED, "ratios without a clip"),
            ("narrow", _clipped("clip_0.05", 0.05, 0.05), "clip at 0.05"),
            ("usual", GRPO_WITHOUT_STD, "clip at 0.2"),
            ("higher", _clipped("clip_0.2_0.28", 0.2, 0.28), "clip at 0.2 and 0.28"),
        )
    ),
    # the length's part alone, exactly on policy
    *(
        Arm(f"length-{name}", estimator, minibatches=1, summary=f"ablation: {what}")
        for name, estimator, what in (
            ("sequence", _policy_gradient("length_sequence", aggregate.sequence_token_mean), "mean over each rollout"),
            ("token", _policy_gradient("length_token", aggregate.token_mean), "mean over the batch's tokens"),
            ("sum", GROUP_MEAN, "sum over each rollout (baseline-mean by another name)"),
        )
    ),
)  # fmt: skip


def names() -> tuple[str, ...]:
    """Return the name of every arm, as ``get`` takes it."""
    return tuple(arm.name for arm in ARMS)


def get(name: str) -> Arm:
    """Return the named arm, or one of the user's own: ``path/to/file.py:name``, ``...@4`` for groups of four.

    What a file may hold is said in ``pieces.own.load_estimator``. Raises ``ValueError`` for an unknown name, with the
    nearest ones.
    """
    if ":" in name:
        return own(name)
    try:
        return ARMS[names().index(resolve_name(name, names()))]
    except ValueError as error:
        raise ValueError(f"arms: {error}") from None


def with_engine(arm: Arm, sampler: str, corrections: Sequence[str]) -> list[Arm]:
    """Return the arm with rollouts of an engine, once for each correction; ``+tis_2`` is added to its name.

    >>> [arm.name for arm in with_engine(get("grpo-4"), "top_p:0.95", ["none", "tis:2"])]
    ['grpo-4', 'grpo-4+tis_2']
    """
    return [
        replace(
            arm,
            name=arm.name if correction == "none" else f"{arm.name}+{correction.replace(':', '_')}",
            sampler=sampler,
            correction=correction,
        )
        for correction in corrections
    ]


def own(target: str) -> Arm:
    """Return an arm with an estimator of the user's, in groups of 16 unless ``@GROUP`` follows."""
    place, _, group = target.partition("@")
    if group and not group.isdigit():
        raise ValueError(f"arms: {target}; give path/to/file.py:name@GROUP, such as @4")
    size = int(group) if group else 16
    try:
        estimator = catalogue.resolve(place)
    except ValueError as error:
        raise ValueError(f"arms: {str(error).removeprefix('estimators: ')}") from error
    # what was trained is named by its code, so that another version of it does not continue the run
    identity = {"code": fingerprint({"estimator": describe(estimator)})}
    name = f"{estimator.name}-{size}"
    return Arm(name, estimator, identity, group=size, summary=f"{place}, {size} rollouts")
