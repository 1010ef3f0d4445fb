"""The arms: one explicit tuple of settings. Copy one and change it: ``dataclasses.replace(get("grpo-2"), group=4)``.

Every loss is a catalogued objective, the same function, or a sum of such; where the catalogue has none, the objective
is put together here and says so. Groups are 16 unless the arm is about another number.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from jaxtyping import Array, Float

from gradvar import catalogue
from gradvar.core.batch import Batch
from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.core.naming import resolve_name
from gradvar.files.fingerprint import describe, fingerprint
from gradvar.pieces import advantage, aggregate, surrogate
from gradvar.train.allocation import Allocation, Rule
from gradvar.train.game import PairedActions
from gradvar.train.plan import Arm, Phase
from gradvar.train.ragged import RAGGED_RLOO
from gradvar.train.systems import PAIRED, dpo_one_pair, lpo_pointwise, own_likelihood, own_rollouts

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


_PAIRS = {"beta": 0.1}
# A few hundred offline pairs wear out: at the full learning rate DPO falls below the policy that drew them. A few
# thousand do not (dpo-offline).

POINTWISE = lpo_pointwise()


def _g2d(
    name: str,
    share: float,
    loss: Estimator | str = "dpo",
    *,
    summary: str,
    difficulty: tuple[float, float] = (0, 1),
) -> Arm:
    """GRPO for a share of the run, then DPO on stored mixed groups of the policy reached."""
    settings = _PAIRS if isinstance(loss, str) else {}
    pairs = Phase(
        loss, settings, 1 - share, source="stored", informative=True, rate=0.1, difficulty=difficulty
    )
    return Arm(name, "grpo", group=4, store=512, phases=(Phase("grpo", share=share), pairs), summary=summary)


def _dual(name: str, summary: str, **settings: Any) -> Arm:
    game = PairedActions(**settings)
    return Arm(name, PAIRED, group=game.rollouts, minibatches=1, game=game, summary=summary)


_RATED: tuple[tuple[Rule, str], ...] = (
    ("even", "4 of them probes that no rule uses: what probing costs"),
    ("vip", "4 of them probes, the rest as VIP gives them (2602.01601)"),
    ("gvm", "4 of them probes, the rest as GVM gives them (2505.02391)"),
    ("knapsack", "4 of them probes, the rest as Knapsack RL gives them (2509.25849)"),
    ("ada", "4 of them probes, the rest as Reinforce-Ada-Est gives them (2510.04996)"),
)

ARMS: tuple[Arm, ...] = (
    *(Arm(f"grpo-{g}", "grpo", group=g, summary=f"GRPO, {g} rollouts, population std") for g in (*SIZES, 32)),
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
    *(
        Arm(f"lpo-{form}{end}", estimator, group=group, summary=f"listwise, {what}, {group} rollouts")
        for form, estimator, what in (
            ("forward", "lpo_forward", "forward KL"),
            ("reverse", "lpo_reverse", "reverse KL"),
            ("pointwise", POINTWISE, "its pointwise ablation"),
        )
        for group, end in ((16, ""), *((k, f"-{k}") for k in (2, 4, 8, 32)))
    ),
    *(
        Arm(
            f"lpo-{form}-moving", f"lpo_{form}", {"moving": True}, minibatches=4, epochs=2,
            summary=f"listwise, {form} KL, the target built anew at each of 8 inner steps (s_t is not 0)",
        )
        for form in ("forward", "reverse")
    ),
    *(
        _g2d(f"g2d{end}", share, summary=f"GRPO for {share:.0%} of the run, DPO on stored mixed groups (2605.21266)")
        for share, end in ((0.5, ""), *((k / 100, f"-{k}") for k in (10, 25, 75, 90)))
    ),
    _g2d("g2d-one", 0.5, dpo_one_pair(beta=0.1), summary="the same, one pair of every group in place of all"),
    _g2d("g2d-calibrated", 0.5, difficulty=(0.25, 0.75), summary="the same, groups with 1/4 to 3/4 correct only"),
    *(
        Arm(
            f"sps{end}", "grpo", cycle=4, phases=(Phase("grpo", share=3), Phase(estimator, share=1)),
            summary=f"three GRPO steps, then one of {what} (2604.16995)",
        )
        for end, estimator, what in (
            ("", own_likelihood(), "reweighted likelihood on own correct rollouts, our reading"),
            ("-printed", own_rollouts(-1), "descending the likelihood of all own rollouts, as minimised, second-hand"),
            ("-intended", own_rollouts(1), "ascending it"),
        )
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
    # rollouts over prompts: by rates that four rollouts of each prompt estimate, or while drawing
    *(
        Arm(
            f"allocation-{rule}", RAGGED_RLOO, allocation=Allocation(rule),
            summary=f"leave-one-out, 16 rollouts a prompt on average, {what}",
        )
        for rule, what in _RATED
    ),
    Arm(
        "allocation-balanced", "reinforce_best_constant", group=4, allocation=Allocation("balanced"),
        summary="Reinforce-Ada: rounds of 8 until 2 are right and 2 wrong, 32 at the most; 4 trained on (2510.04996)",
    ),
    Arm("rloo-16-resampled", "rloo", attempts=4, summary="leave-one-out, equal groups replaced, up to 4 rounds"),
    _dual("dpa-grpo", "DPA-GRPO as its reference implementation has it: verifier, revisions, approver (task form)"),
    _dual("dpa-grpo-published", "the same, log-probabilities summed over tokens, as printed", published=True),
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
