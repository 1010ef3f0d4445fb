"""Laws of advantages that come with a mask of tokens: holes, padding, rows without a token.

Sums of token rewards are taken with the mask in some trainers and without it in others. Both are right where the
padding holds zeros; what stands in the padding must never count (``masked_inert``). A reward on an observation
token counts in the second and not in the first: ``hole_reward_counts`` tells them apart and does not decide.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from gradvar.testing import strategies as gen
from gradvar.testing.arrays import unwrapped
from gradvar.testing.calls import BadOutput, Raised
from gradvar.testing.digits import exact, shown, sides
from gradvar.testing.laws.base import Example, Law, Residue, close, expect, expect_pair, tolerance
from gradvar.testing.laws.examples import Likeness, shared
from gradvar.testing.laws.loss_batches import token_mask
from gradvar.testing.laws.signal import best_of_all
from gradvar.testing.laws.traits import batch_statistics, excused_by_statistics, once, takes_groups
from gradvar.testing.roles import role_of
from gradvar.testing.targets import AdvantageTarget

STEPS = 12


def rejected_rows_silent(
    target: AdvantageTarget, group: tuple[float, ...], lengths: tuple[int, ...], low: float
) -> None:
    """A rollout whose mask is empty has no vote in the scale of its group, and makes nothing NaN.

    It was rejected, or cut as overlong; nothing of it is trained on. Its vote in a mean moves a baseline, which on
    policy changes no expected gradient and is only reported; its vote in a std rescales every other rollout of
    the prompt. A whitening of the batch that comes after hides the vote in a batch of one prompt, where it takes out
    every common scale: there a second prompt stands beside, and the spread of the first is measured against its own.
    Report: verl-project/verl#6452, NVIDIA-NeMo/RL#4160.

    Args:
        target: The advantage function.
        group: The rewards of the rollouts that count.
        lengths: Tokens of each of them.
        low: The reward of the rejected one.
    """
    mask = token_mask(lengths[: len(group)], STEPS)
    more = np.vstack([mask, np.zeros((1, STEPS), bool)])
    alone = target.run([group], mask=mask)[0][0]
    beside, _ = target.tokens([(*group, low)], mask=more)
    expect(bool(np.all(np.isfinite(beside))), f"{exact(group)} and a row without a token -> {shown(beside)}")
    together = target.run([(*group, low)], mask=more)[0][0][:-1]
    if batch_statistics(target) and takes_groups(target):
        _scale_between_prompts(target, group, mask, low)
    if close(target, alone, together):
        return
    one, two = sides(alone, together)
    text = f"{exact(group)} -> {one}, beside a rejected rollout (empty mask, reward {low:g}) -> {two}"
    rescaled = not close(target, alone - alone[0], together - together[0])
    expect(not (rescaled and standardises(target)), f"{text}: it votes in the scale")
    raise Residue(f"{text}: it votes in the baseline")


def _scale_between_prompts(
    target: AdvantageTarget, group: tuple[float, ...], mask: np.ndarray, low: float
) -> None:
    """Break the law where a rejected rollout changes the spread of its prompt against another prompt's."""
    binary = target.domain == "binary"
    other = (1.0, 0.0, 1.0 if binary else 3.0, *(0.0,) * max(0, target.min_group - 3))
    tail = token_mask((1,) * len(other), STEPS)  # [rollouts of the other prompt, time]
    ratios: list[float] = []
    for rejected in ((), (low,)):
        rows_ = np.vstack([mask, np.zeros((len(rejected), STEPS), bool), tail])
        first, second = target.run([(*group, *rejected), other], mask=rows_)[0]
        ratios.append(float(np.std(first[: len(group)]) / max(float(np.std(second)), 1e-12)))
    expect_pair(
        abs(ratios[1] - ratios[0]) <= 1e-3 * abs(ratios[0]),
        ratios[1],
        ratios[0],
        f"{exact(group)} beside a prompt with rewards {exact(other)}, and a rejected rollout (empty mask, reward "
        f"{low:g}) in the first -> its advantages spread {{}} times as far as the other's, without it {{}} times: it "
        "votes in the scale",
    )


def few_tokens(target: AdvantageTarget, reward: float, steps: int) -> None:
    """A batch with one token left gives a number, and no error.

    Broken by an unbiased variance, which divides by n - 1: when all but one token are filtered the run stops, or
    every weight is NaN. Report: alibaba/ROLL#475.
    """
    mask = np.zeros((2, max(steps, 2)), bool)
    mask[0, 0] = True
    try:
        out = target.tokens([(reward, 0.0)], mask=mask)[0]
    except Raised as error:
        expect(False, f"one token left in the batch: {error}")
        return
    expect(bool(np.all(np.isfinite(out))), f"one token left in the batch -> {shown(out)}")


def empty_mask_finite(target: AdvantageTarget, group: tuple[float, ...]) -> None:
    """A batch without a token gives a number, or a refusal that says why.

    Report: allenai/OLMo-core#452, NousResearch/atropos#236.
    """
    mask = np.zeros((len(group), 3), bool)
    try:
        out = target.tokens([group], mask=mask)[0]
    except Raised as error:
        expect(error.clear, f"no token left in the batch: {error}")
        return
    expect(bool(np.all(np.isfinite(out))), f"no token left in the batch -> {shown(out)}")


def masked_tokens_zero(
    target: AdvantageTarget, group: tuple[float, ...], lengths: tuple[int, ...], layout: str
) -> None:
    """What a function returns for masked tokens is zero, or the rollout's own advantage, for the caller to mask.

    Broken by whitening after the mask: padding comes back as minus the mean over the std, and a loss that trusts
    it trains on padding. Report: verl-project/verl#1527.

    Args:
        target: The advantage function.
        group: The rewards.
        lengths: Tokens of each rollout.
        layout: Where the tokens stand in a row: right, left, or with holes between.
    """
    mask = token_mask(lengths[: len(group)], STEPS, layout)
    out, _ = target.tokens([group], mask=mask)
    small = tolerance(target) * max(1.0, float(np.nanmax(np.abs(out))))
    for row, real in zip(out, mask, strict=True):
        free = np.abs(row[~real][:, None] - row[real][None, :]).min(axis=1) <= small
        expect(
            bool(np.all(free | (np.abs(row[~real]) <= small))),
            f"{exact(group)}, mask {shown(real)} -> {shown(row)}: masked tokens are neither zero nor the "
            "rollout's own",
        )


def length_free(target: AdvantageTarget, group: tuple[float, ...], lengths: tuple[int, ...]) -> None:
    """How long the rollouts are changes nothing about what their outcomes are worth against each other.

    A baseline may weigh them by length (OPO, arXiv 2505.23585). Broken by a score that is a mean over tokens: the
    same outcome then counts less the longer the answer. Report: huggingface/trl#6654, verl-project/verl#3741.
    """
    lengths = lengths[: len(group)]
    short = target.run([group], mask=token_mask((1,) * len(group), STEPS))[0][0]
    long = target.run([group], mask=token_mask(lengths, STEPS))[0][0]
    if close(target, short, long):
        return
    one, two = sides(short, long)
    text = f"{exact(group)} -> {one} at one token each, {two} at {shown(lengths)} tokens"
    expect(close(target, short - short[0], long - long[0]), text)
    raise Residue(f"{text}: the baseline depends on the lengths")


def hole_reward_counts(target: AdvantageTarget, group: tuple[float, ...]) -> None:
    """A reward on an observation token inside the response counts as one on an action token.

    Functions that sum under the mask break it: a turn's reward on the tool's answer is lost. Which of the two a
    trainer does is its convention; what writes the rewards must know it. Report: huggingface/trl#5338.
    """
    mask = np.ones((len(group), 4), bool)
    mask[:, 1] = False
    last = target.run([group], mask=mask)[0][0]
    hole = target.run([group], mask=mask, places=np.ones(len(group), int))[0][0]
    text = f"{exact(group)} -> {{}}, on observation tokens -> {{}}"
    expect_pair(close(target, last, hole), last, hole, text)


def hole_ends_nothing(target: AdvantageTarget, group: tuple[float, ...]) -> None:
    """What comes after an observation token is read as what comes before it: the reward at the end counts.

    Broken by a mask that is multiplied up along the response, or by lengths that are counted to the first zero: in
    every rollout that called a tool the reward is lost. Report: AgentR1/Agent-R1#65.
    """
    mask = np.ones((len(group), 5), bool)
    mask[:, 2] = False
    a = target.run([group], mask=mask)[0][0]
    expect(
        bool(np.ptp(a) > 1e-6) or not np.all(np.isfinite(a)),
        f"{exact(group)} at the end of responses with a hole in their mask -> {shown(a)}: the best gets what the "
        "others get",
    )


def standardises(target: AdvantageTarget) -> bool:
    """Return True if twice the rewards give the same advantages, by a division by their spread."""
    return once(target, "standardises", _standardises)


def _standardises(target: AdvantageTarget) -> bool:
    rest = (0.0,) * max(0, target.min_group - 3)
    group = (0.0, 1.0, 1.0, *rest) if target.domain == "binary" else (0.0, 1.0, 3.0, *rest)
    try:
        one, two = (target([tuple(c * r for r in group)])[0] for c in (1.0, 2.0))
    except (Raised, BadOutput):
        return False
    return bool(np.any(np.abs(one) > 1e-3)) and bool(np.allclose(one, two, rtol=1e-2, atol=1e-3))


@shared
def rows(like: Likeness, **more: st.SearchStrategy[object]) -> st.SearchStrategy[Example]:
    """A group of rewards that are not negative, the tokens of each rollout, and further values to draw."""
    size = max(3, like.min_group)
    values = gen.binary() if like.domain == "binary" else gen.rewards("nonnegative")
    lengths = st.lists(st.sampled_from([1, 12, 2, 5, 11]), min_size=size + 2, max_size=size + 2).map(tuple)
    group = gen.groups(values, size, size + 2, mixed=True)
    return st.fixed_dictionaries({"group": group, "lengths": lengths, **more})


@shared
def group_only(like: Likeness) -> st.SearchStrategy[Example]:
    """A group of unequal rewards."""
    size = max(3, like.min_group)
    return st.fixed_dictionaries({"group": gen.groups(gen.rewards(like.domain), size, size, mixed=True)})


@shared
def one_token(like: Likeness) -> st.SearchStrategy[Example]:
    """A reward, and the width of the batch."""
    return st.fixed_dictionaries({"reward": st.sampled_from([1.0, 0.0]), "steps": st.sampled_from([2, 4])})


def needs_mask(target: AdvantageTarget) -> str:
    """For functions that take a mask."""
    return "" if target.by_token and target.signature.takes("mask") else "it takes no mask"


def needs_outcomes(target: AdvantageTarget) -> str:
    """For functions of outcomes, which neither discount nor are told lengths."""
    code = getattr(unwrapped(target.function), "__code__", None)
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if code is not None else ()
    if any(role_of(name) in ("gamma", "lengths") for name in names):
        return "it discounts, or is told lengths"
    return needs_mask(target)


def needs_token_rewards(target: AdvantageTarget) -> str:
    """For functions of rewards that stand on tokens."""
    return needs_mask(target) if target.signature.takes("token_rewards") else "rewards stand on no tokens"


_LOW = st.sampled_from([0.0, -1.0])
_NOT_NEGATIVE = st.just(0.0)
_LAYOUTS = st.sampled_from(["right", "holes", "left"])

LAWS = (
    Law(
        "rejected_rows_silent",
        rejected_rows_silent,
        lambda t: rows(t, low=_LOW if t.domain == "real" else _NOT_NEGATIVE),
        needs_mask,
        universal=True,
    ),
    Law("few_tokens", few_tokens, one_token, needs_mask, universal=True),
    Law(
        "empty_mask_finite",
        empty_mask_finite,
        group_only,
        needs_mask,
        universal=True,
        excused=excused_by_statistics,
    ),
    Law(
        "masked_tokens_zero",
        masked_tokens_zero,
        lambda t: rows(t, layout=_LAYOUTS),
        needs_mask,
        universal=True,
    ),
    Law("length_free", length_free, rows, needs_outcomes, universal=True, excused=excused_by_statistics),
    Law("hole_ends_nothing", hole_ends_nothing, best_of_all, needs_mask, universal=True),
    Law("hole_reward_counts", hole_reward_counts, group_only, needs_token_rewards),
)
