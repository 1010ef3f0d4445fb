"""What an estimator estimates, decided by enumeration: every group that a small policy can sample, with its
probability.

A softmax policy over K answers has scores s(y) = e_y - pi and grad J = pi * (r - J). All K^G groups are
listed, the function under test gives each its advantages, and E[(1/G) sum A_i s_i] is a finite sum: exact
up to rounding. So "unbiased" is a fact here and not a test statistic. For a loss, sequences of different
length are listed, the input advantages are leave-one-out (unbiased by themselves), and the token weights
come from its own framework.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from gradvar.testing.calls import BadOutput, Raised
from gradvar.testing.digits import shown
from gradvar.testing.laws.base import Law, expect, expect_pair
from gradvar.testing.laws.loss_batches import parallel, plain_batch
from gradvar.testing.laws.rollouts import advantage_parts
from gradvar.testing.laws.traits import excused_by_normalising, once
from gradvar.testing.losses import LossBatch, LossTarget
from gradvar.testing.targets import AdvantageTarget


@dataclass(frozen=True)
class World:
    """A policy over K answers (probabilities) and the reward of each."""

    policy: tuple[float, ...]
    rewards: tuple[float, ...]
    group: int
    lengths: tuple[int, ...] = ()

    @property
    def gradient(self) -> np.ndarray:
        """grad J with respect to the K logits."""
        pi, r = np.asarray(self.policy), np.asarray(self.rewards)
        return pi * (r - pi @ r)

    def groups(self) -> Iterator[tuple[tuple[int, ...], float]]:
        """Every group of answers with its probability."""
        for answers in itertools.product(range(len(self.policy)), repeat=self.group):
            yield answers, float(np.prod([self.policy[a] for a in answers]))

    def __str__(self) -> str:
        return f"policy {shown(self.policy)}, rewards {shown(self.rewards)}, G = {self.group}"


BINARY = (
    ((0.2, 0.5, 0.3), (1.0, 0.0, 0.0)),
    ((0.5, 0.25, 0.25), (1.0, 0.0, 0.0)),
    ((0.6, 0.3, 0.1), (1.0, 1.0, 0.0)),
)
GRADED = (
    ((0.2, 0.5, 0.3), (0.0, 0.5, 2.0)),
    ((0.3, 0.1, 0.6), (1.0, 0.25, 0.0)),
    ((0.5, 0.3, 0.2), (0.0, 1.0, 3.0)),
)
SHIFTED = (((0.4, 0.4, 0.2), (-1.0, 0.5, 1.0)),)


def worlds(target: AdvantageTarget, binary: bool) -> list[World]:
    """The policies and rewards that the statistical laws are decided on."""
    chosen = list(BINARY)
    if not binary and target.domain != "binary":
        chosen += [*GRADED, *(SHIFTED if target.domain == "real" else ())]
    least = max(2, target.min_group)
    sizes = (least, least + 1) if least > 2 else (2, 3, 4)
    return [World(p, r, g) for g in sizes for p, r in chosen]


def expected_gradient(target: AdvantageTarget, world: World) -> np.ndarray:
    """E[(1/G) sum A_i s_i] over every group, with respect to the logits."""
    pi, r = np.asarray(world.policy), np.asarray(world.rewards)
    total = np.zeros(len(pi))
    memo: dict[tuple[float, ...], np.ndarray] = {}
    for answers, probability in world.groups():
        rewards = tuple(float(r[a]) for a in answers)
        if rewards not in memo:
            memo[rewards] = target([rewards])[0]
        scores = np.eye(len(pi))[list(answers)] - pi
        total += probability * (memo[rewards] @ scores) / world.group
    return total


def unbiased(target: AdvantageTarget) -> None:
    """In expectation over groups the update is grad J itself, for any rewards.

    Broken by a baseline that includes the rollout (a factor), a division by the group's std (a weight on
    prompts, and for graded rewards another direction), a clip. arXiv 2402.14740, 2503.20783. Whether that
    hurts is a question of taste; that it is so is not: the difference is printed.
    """
    for world in worlds(target, binary=False):
        expected, wanted = expected_gradient(target, world), world.gradient
        equal = bool(np.allclose(expected, wanted, atol=_slack(target)))
        expect_pair(equal, expected, wanted, f"{world}: E[g] = {{}}, grad J = {{}}")


def unbiased_up_to_constant(target: AdvantageTarget) -> None:
    """In expectation it is c(G) grad J, one constant for all prompts and rewards: a learning rate, not a
    bias.

    Broken by anything that divides by a statistic of the group: hard prompts are then weighted otherwise
    than easy ones (arXiv 2503.20783, 2601.08521).
    """
    constants: dict[int, tuple[float, World]] = {}
    for world in worlds(target, binary=False):
        expected, wanted = expected_gradient(target, world), world.gradient
        factor = float(expected @ wanted / (wanted @ wanted))
        known, first = constants.setdefault(world.group, (factor, world))
        expect(
            bool(np.allclose(expected, factor * wanted, atol=_slack(target))),
            f"{world}: E[g] = {shown(expected)} is not along grad J = {shown(wanted)}: direction-biased",
        )
        text = f"{first}: E[g] = {{}} grad J, but {{}} grad J for {world}"
        expect_pair(abs(factor - known) <= 10 * _slack(target), known, factor, text)
        expect(factor > _slack(target), f"{world}: E[g] = {factor:.4g} grad J, not a positive multiple of it")


def prompt_weighted(target: AdvantageTarget) -> None:
    """For binary rewards each prompt's expected update is along grad p, with a weight w(p, G) of its own.

    GRPO's std gives such a weight, about 1/sqrt(p(1-p)) in large groups (arXiv 2510.13651, 2602.02710).
    Broken where advantages depend on more than the rewards, or push failures apart.
    """
    for world in worlds(target, binary=True):
        expected, wanted = expected_gradient(target, world), world.gradient
        expect(
            parallel(expected, wanted),
            f"{world}: E[g] = {shown(expected)} is not along grad p = {shown(wanted)}",
        )


def loss_unbiased_up_to_constant(target: LossTarget) -> None:
    """With unbiased advantages and ratios of one, the expected gradient of the loss is along grad J.

    Broken by advantages that are cut or squared on the way. A loss that divides by a rollout's own length, or by
    the batch's random number of tokens, favours answers for their length by design (arXiv 2503.20783), and one
    that normalises the advantages itself weighs prompts: there the law does not apply. Answers here are one, two
    and three tokens long.
    """
    factors = []
    for rewards in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.5, 1.0)):
        world = World((0.3, 0.5, 0.2), rewards, 2, lengths=(1, 2, 3))
        expected, wanted = expected_loss_gradient(target, world), world.gradient
        factors.append(float(expected @ wanted / (wanted @ wanted)))
        expect(
            bool(
                np.allclose(
                    expected, factors[-1] * wanted, atol=100 * _slack(target) * max(1.0, abs(factors[-1]))
                )
            ),
            f"{world}, lengths {world.lengths}: E[g] = {shown(expected)} is not along grad J = {shown(wanted)}",
        )
        equal = abs(factors[-1] - factors[0]) <= 1e-3 * abs(factors[0])
        text = f"{world}: E[g] = {{}} grad J, {{}} for other rewards"
        expect_pair(equal, factors[-1], factors[0], text)


def expected_loss_gradient(target: LossTarget, world: World) -> np.ndarray:
    """The expected gradient with respect to the logits; the tokens of an answer share its score evenly."""
    pi, r, count = np.asarray(world.policy), np.asarray(world.rewards), np.asarray(world.lengths)
    steps = int(count.max())
    total = np.zeros(len(pi))
    for answers, probability in world.groups():
        chosen = list(answers)
        reward = r[chosen]
        advantages = (reward - reward.mean()) * world.group / (world.group - 1)
        mask = np.arange(steps)[None, :] < count[chosen][:, None]
        logp = np.where(mask, (np.log(pi[chosen]) / count[chosen])[:, None], -1.0)
        weights = target.weights(LossBatch(logp, logp, advantages, mask, world.group, logp))[1]
        # log pi(answer) = sum over its tokens of logp, each of which carries 1/length of the score
        share = np.where(mask, weights, 0.0).sum(-1) / count[chosen]
        total += probability * (share @ (np.eye(len(pi))[chosen] - pi))
    return total


def _slack(target: AdvantageTarget | LossTarget) -> float:
    return 1e-7 if target.library.wide == "float64" else 1e-5


def _nothing(target: object) -> st.SearchStrategy[dict[str, object]]:
    return st.just({})


def _needs_mask(target: LossTarget) -> str:
    return "" if target.takes("mask") else "the loss takes no mask"


def _excused(target: LossTarget) -> str:
    """For losses whose weights are those of summed tokens, whatever the lengths in the batch."""
    excuse = excused_by_normalising(target)
    return excuse or ("" if once(target, "sums", _sums) else "tokens weigh by the lengths in the batch")


def _sums(target: LossTarget) -> bool:
    found = []
    for lengths in ((4, 2, 3, 1), (2, 4, 4, 4)):
        batch = plain_batch(moved=False, lengths=lengths)
        positive = replace(batch, advantages=np.ones(4))
        try:
            found.append(advantage_parts(target, positive)[batch.mask])
        except (Raised, BadOutput, TypeError, ValueError):
            return False
    every = np.concatenate(found)
    return bool(np.allclose(every, every[0], rtol=1e-4)) and abs(every[0]) > 0


ADVANTAGE_LAWS = (
    Law("unbiased", unbiased, _nothing, exact=True),
    Law("unbiased_up_to_constant", unbiased_up_to_constant, _nothing, exact=True),
    Law("prompt_weighted", prompt_weighted, _nothing, exact=True),
)
LOSS_LAWS = (
    Law(
        "unbiased_up_to_constant",
        loss_unbiased_up_to_constant,
        _nothing,
        _needs_mask,
        exact=True,
        excused=_excused,
    ),
)
