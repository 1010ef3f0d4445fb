"""Laws of advantages that are algebra: what changes when rewards are moved, scaled, reordered or regrouped.

They run on dyadic rewards, in the library's widest dtype, where sums are exact. The docstring of each check
says why the law matters, what breaking it does to training, and where it was broken.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from gradvar.testing.digits import exact, shown
from gradvar.testing.laws import examples
from gradvar.testing.laws.base import Law, close, expect, expect_pair, tolerance
from gradvar.testing.laws.examples import Groups
from gradvar.testing.laws.signal import needs_groups
from gradvar.testing.laws.traits import excused_by_statistics
from gradvar.testing.targets import AdvantageTarget


def zero_sum(target: AdvantageTarget, groups: Groups) -> None:
    """A group that sums to zero says nothing about the prompt as a whole, only about its rollouts.

    Broken, a prompt pushes all of its rollouts up or down together: the policy drifts towards prompts that
    are easy, and the entropy moves without any comparison behind it. Report: XU-YIJIE/grpo-flat#2 (one mean
    over the batch).
    """
    for rewards, a in zip(groups, target(groups), strict=True):
        off = abs(float(a.sum()))
        expect(
            off <= tolerance(target) * max(1.0, np.abs(a).max()) * len(a),
            f"{exact(rewards)} -> {shown(a)}: the sum is {a.sum():.4g}",
        )


def shift_invariant(target: AdvantageTarget, groups: Groups, shift: float) -> None:
    """What counts is the comparison; whether a reward is 0/1 or -1/0 is a convention of the verifier.

    Broken, a format bonus that every rollout gets changes the update, and a penalty turns learning off or
    around. Report: huggingface/trl#5026 (divided by the group's mean reward, which may be negative: every
    sign turns).
    """
    moved = tuple(tuple(r + shift for r in g) for g in groups)
    before, after = target(groups), target(moved)
    for g, a, b in zip(groups, before, after, strict=True):
        expect_pair(close(target, a, b), a, b, f"{exact(g)} -> {{}}, with {shift:g} added -> {{}}")


def scale_equivariant(target: AdvantageTarget, groups: Groups, scale: float) -> None:
    """Advantages in the units of the reward: the learning rate then means the same for every prompt.

    Broken on purpose by every division by a std (arXiv 2503.20783 argues against it); then
    ``scale_invariant`` should hold. Neither holding is a bug: an epsilon or a clamp of the size of the
    rewards.
    """
    before, after = target(groups), target(_scaled(groups, scale))
    for g, a, b in zip(groups, before, after, strict=True):
        text = f"{exact(g)} -> {shown(a)}, times {scale:g} -> {{}}, expected {{}}"
        expect_pair(close(target, scale * a, b), b, scale * a, text)


def scale_invariant(target: AdvantageTarget, groups: Groups, scale: float) -> None:
    """Standardised advantages do not depend on the reward's unit, up to the declared epsilon (default 1e-4).

    Broken by an epsilon that is large against small rewards, rewards in thousandths train at a fraction of
    the rate; broken by computing the std after another scaling, at any rate. Report: THUDM/slime#233
    (rewards near 1e-9).
    """
    before, after = target(groups), target(_scaled(groups, scale))
    for g, a, b in zip(groups, before, after, strict=True):
        spread = np.std(g) * min(scale, 1.0)
        if spread > 0:
            slack = 3 * target.epsilon / (spread + target.epsilon) + 10 * tolerance(target)
            expect_pair(
                bool(np.all(np.abs(a - b) <= slack * max(1e-3, np.abs(a).max()))),
                a,
                b,
                f"{exact(g)} -> {{}}, times {scale:g} -> {{}} "
                f"(epsilon {target.epsilon:g} would allow {slack:.2g})",
            )


def permutation_equivariant(target: AdvantageTarget, groups: Groups, order: tuple[int, ...]) -> None:
    """A rollout's advantage belongs to the rollout, not to its place in the batch.

    Broken, rollouts are trained with each other's advantages: the run looks healthy and learns nothing or the
    opposite. Report: huggingface/trl#5030 (rows of several devices not in the order that the grouping
    assumes).
    """
    size = len(groups[0])
    places = [i for i in order if i < size]
    shuffled = (tuple(groups[0][i] for i in places), *groups[1:])
    before, after = target(groups)[0], target(shuffled)[0]
    expect_pair(
        close(target, before[places], after),
        after,
        before[places],
        f"{exact(groups[0])} -> {shown(before)}, reordered {exact(shuffled[0])} -> {{}}, expected {{}}",
    )


def order_preserving(target: AdvantageTarget, groups: Groups) -> None:
    """A better rollout of the same prompt never gets a smaller advantage.

    Broken, the worse answer is reinforced over the better one: a sign error, an absolute value, or an
    argsort that should have been a rank (argsort of argsort). Report: huggingface/trl#5026 (a negative
    mean as the divisor reinforces the worse answers).
    """
    for g, a in zip(groups, target(groups), strict=True):
        slack = tolerance(target) * max(1.0, float(np.nanmax(np.abs(a), initial=0.0)))
        for i, j in np.argwhere(np.subtract.outer(np.asarray(g), np.asarray(g)) > 0):
            expect_pair(
                bool(a[i] >= a[j] - slack),
                a[i],
                a[j],
                f"{exact(g)} -> {shown(a)}: reward {g[i]:.9g} gets less than reward {g[j]:.9g}, {{}} and {{}}",
            )


def sign_against_mean(target: AdvantageTarget, groups: Groups) -> None:
    """Above the group's mean is pushed up, below it down.

    Broken by a baseline from somewhere else (the batch, a moving average): then a correct answer to an easy
    prompt can be pushed down. Batch baselines break it by design and say so. Report:
    PrimeIntellect-ai/prime-rl#2040 (the mean of other rewards than those that were centred: correct answers
    at -0.01 and -0.1), langfengQ/verl-agent#138.
    """
    for g, a in zip(groups, target(groups), strict=True):
        slack = tolerance(target) * max(1.0, float(np.nanmax(np.abs(a), initial=0.0)))
        away = (np.asarray(g) - np.mean(g)) * np.asarray(a)
        wrong = (away < 0) & (np.abs(a) > slack) | ~np.isfinite(a)
        expect(not wrong.any(), f"{exact(g)} (mean {np.mean(g):.9g}) -> {shown(a)}: sign against the mean")


def bounded(target: AdvantageTarget, groups: Groups) -> None:
    """Standardised by its own std, no advantage exceeds sqrt(G - 1), which one success among failures
    attains.

    Broken by a std of something else than the group's own rewards (leave-one-out, another group, after
    clipping), one rollout can outweigh the batch. Report: NVIDIA-NeMo/RL#1518 (advantages of 1e6 from
    rewards 1, 0, 0, 0).
    """
    for g, a in zip(groups, target(groups), strict=True):
        limit = np.sqrt(len(g) - 1)
        expect_pair(
            bool(np.all(np.abs(a) <= limit * (1 + 1e-3) + 1e-6)),
            float(np.abs(a).max()),
            limit,
            f"{exact(g)} -> {shown(a)}: {{}} is above sqrt(G-1) = {{}}",
        )


def group_isolated(target: AdvantageTarget, groups: Groups, other: tuple[float, ...]) -> None:
    """What one prompt's rollouts earned changes nothing for another prompt.

    Broken by a mean or std over the batch, an update then depends on which prompts happened to come
    together, and an easy prompt makes a hard one's failures look worse. By design in batch-normalised
    estimators, which declare it. Report: XU-YIJIE/grpo-flat#2, langfengQ/verl-agent#138.
    """
    changed = (*groups[:-1], other)
    before, after = target(groups), target(changed)
    for g, a, b in zip(groups[:-1], before[:-1], after[:-1], strict=True):
        expect_pair(
            close(target, a, b),
            a,
            b,
            f"{exact(g)} -> {{}} beside {exact(groups[-1])}, but {{}} beside {exact(other)}",
        )


def layout_independent(target: AdvantageTarget, groups: Groups, seed: int) -> None:
    """The order of the prompts, and in a flat layout of the rows, is the data loader's business.

    Broken by grouping in strides over rows that are interleaved, prompts share a baseline at random.
    Report: PrimeIntellect-ai/prime-rl#600 (problem 1, problem 2, problem 1, problem 2).
    """
    shuffle = np.random.default_rng(seed)
    order = shuffle.permutation(len(groups))
    before = target(groups)
    after = target([groups[i] for i in order])
    for place, i in enumerate(order):
        a, b = before[i], after[place]
        text = f"{exact(groups[i])} -> {{}}, with the prompts reordered -> {{}}"
        expect_pair(close(target, a, b), a, b, text)
    if target.kind in ("flat", "token-level"):
        rows = shuffle.permutation(sum(len(g) for g in groups))
        mixed = target(groups, order=rows)
        for g, a, b in zip(groups, before, mixed, strict=True):
            text = f"{exact(g)} -> {{}}, with the rows interleaved -> {{}}"
            expect_pair(close(target, a, b), a, b, text)


def ragged_groups(target: AdvantageTarget, groups: Groups) -> None:
    """Filtering and failed rollouts leave groups of unequal size; each is normalised by its own.

    Broken by a fixed stride or a reshape, rows of different prompts share statistics, and a leftover group
    explodes over its epsilon. Report: areal-project/AReaL#1419, THUDM/slime#1918, areal-project/AReaL#1454.
    """
    together = target(groups)
    for g, a in zip(groups, together, strict=True):
        alone = target([g])[0]
        text = f"{exact(g)} -> {{}} alone, but {{}} in {exact(groups)}"
        expect_pair(close(target, a, alone), alone, a, text)


def duplicate_prompts(target: AdvantageTarget, groups: Groups, prompts: tuple[int, ...]) -> None:
    """A prompt drawn twice has two groups, sampled and rewarded apart; equal rewards do not make them one
    either.

    Broken by keying on the prompt's text (or on the rewards), groups merge when a data set repeats a
    prompt: the baseline is another group's and the group size is not G. Report: yifan123/flow_grpo#46
    (grouping by unique prompts).
    """
    twice = (*groups, groups[0])
    alone = [target([g])[0] for g in twice]
    together = target.run(twice, prompts=np.array([*prompts[: len(groups)], prompts[0]]))[0]
    for g, a, b in zip(twice, alone, together, strict=True):
        text = f"{exact(g)} -> {{}} alone, but {{}} where a prompt comes twice"
        expect_pair(close(target, a, b), a, b, text)


def antisymmetric_pair(target: AdvantageTarget, pair: tuple[float, float], beside: Groups) -> None:
    """Two rollouts: what one gains the other loses, and swapping rewards swaps advantages.

    It is what makes the two-rollout estimator a contrast of two log-probabilities (arXiv 2510.00977).
    Broken by a baseline that is not the pair's own.
    """
    a, b = target([pair, *beside])[0], target([pair[::-1], *beside])[0]
    expect(
        close(target, a[0], -a[1]) and close(target, b, a[::-1]),
        f"{exact(pair)} -> {shown(a, 9)}, swapped -> {shown(b, 9)}",
    )


def leave_one_out_factor(target: AdvantageTarget, groups: Groups) -> None:
    """RLOO is G/(G-1) times the mean-centred advantage (arXiv 2402.14740), which is what makes it unbiased.

    Broken by a baseline divided by G instead of G-1, or by one that forgets to leave itself out.
    Report: OpenRLHF/OpenRLHF#843 asks which one it is.
    """
    for g, a in zip(groups, target(groups), strict=True):
        wanted = len(g) / (len(g) - 1) * (np.asarray(g) - np.mean(g))
        expect_pair(close(target, a, wanted), a, wanted, f"{exact(g)} -> {{}}, expected {{}}")


def _scaled(groups: Groups, scale: float) -> Groups:
    return tuple(tuple(r * scale for r in g) for g in groups)


SMALL_AND_LARGE = (2.0, 0.5, 4.0, 1 / 64, 64.0)

LAWS = (
    Law("permutation_equivariant", permutation_equivariant, examples.reordered, universal=True),
    Law("order_preserving", order_preserving, examples.small_batches, universal=True),
    Law(
        "group_isolated",
        group_isolated,
        examples.isolated,
        needs_groups,
        universal=True,
        excused=excused_by_statistics,
    ),
    Law("zero_sum", zero_sum, examples.small_batches),
    Law("shift_invariant", shift_invariant, examples.shifted, examples.needs_real),
    Law(
        "scale_equivariant",
        scale_equivariant,
        partial(examples.rescaled, scales=(2.0, 0.5, 8.0)),
        examples.needs_real,
    ),
    Law(
        "scale_invariant",
        scale_invariant,
        partial(examples.rescaled, scales=SMALL_AND_LARGE),
        examples.needs_real,
    ),
    Law("sign_against_mean", sign_against_mean, examples.small_batches),
    Law("bounded", bounded, partial(examples.small_batches, max_size=8)),
    Law("layout_independent", layout_independent, examples.laid_out, examples.needs_batch),
    Law("ragged_groups", ragged_groups, examples.several, examples.needs_ragged),
    Law("duplicate_prompts", duplicate_prompts, examples.doubled, examples.needs_batch),
    Law("antisymmetric_pair", antisymmetric_pair, examples.pairs, examples.needs_pairs),
    Law("leave_one_out_factor", leave_one_out_factor, examples.small_batches),
)
