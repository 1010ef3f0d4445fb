"""Mutants of the shipped code: for each bridge one that computes something else, which the kernel must refuse."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import _bridges_any as any_rewards
import _bridges_binary as binary
import _bridges_parts as parts
import _bridges_pieces as pieces
import _bridges_roots as roots

from gradvar import catalogue
from gradvar.core.compose import Piece, compose
from gradvar.core.estimator import Estimator
from gradvar.pieces import advantage, aggregate, surrogate
from gradvar.policies import Bandit
from gradvar.symbolic.kernel.bridge import Bridge


@dataclass(frozen=True)
class Mutant:
    """Bridges with a mutant in the place of the shipped code, and the same with the shipped code.

    Args:
        claim: the id in the ledger.
        file: the generated file, a key of ``FILES``, whose imports these bridges need.
        about: what was changed, in words.
        mutated: what makes the bridges of the mutant.
        shipped: what makes those of the shipped code, at the same sizes.
    """

    claim: str
    file: str
    about: str
    mutated: Callable[[], Sequence[Bridge]]
    shipped: Callable[[], Sequence[Bridge]]


def _of(claim: str, file: str, about: str, maker: Callable[..., Any], mutant: Any, size: int = 2) -> Mutant:
    """A mutant for a maker that takes code, mostly an estimator, and sizes, whose first theorem is the one about the code.

    Args:
        claim: the id in the ledger.
        file: the generated file.
        about: what was changed, in words.
        maker: of the bridges.
        mutant: in place of the shipped code.
        size: of the group.
    """
    return Mutant(
        claim,
        file,
        about,
        lambda: maker(mutant, sizes=(size,))[:1],
        lambda: maker(sizes=(size,))[:1],
    )


def _sums(piece: Piece) -> Estimator:
    """The advantage times the likelihood, added up over tokens."""
    return compose(
        advantage=piece, surrogate=surrogate.likelihood, aggregate=aggregate.sequence_token_sum, min_group=1
    )


class _Squared(Bandit):
    """A policy that reports the logarithm of the squared chance."""

    def logprobs(self, params: Any, prompts: Any, completions: Any) -> Any:
        return 2 * super().logprobs(params, prompts, completions)


def _twice(rewards: Any, baseline: Any) -> Any:
    return advantage.given(rewards, 2 * baseline)


_SAMPLE = catalogue.get("grpo_sample_std", eps=0.0)

MUTANTS = (
    _of(
        "B1",
        "any_rewards",
        "divides by G in place of G - 1",
        any_rewards.leave_one_out,
        _sums(advantage.group_mean),
    ),
    _of(
        "A17b",
        "any_rewards",
        "leaves one out in place of centring",
        any_rewards.mean_centred,
        _sums(advantage.leave_one_out),
    ),
    _of(
        "A6",
        "binary_rewards",
        "subtracts the baseline twice",
        binary.general_baseline,
        _sums(_twice),
    ),
    _of(
        "N1",
        "binary_rewards",
        "divides by G in place of G - 1",
        binary.two_advantages,
        _sums(advantage.group_mean),
    ),
    _of("B6a", "binary_rewards", "takes the sample standard deviation", binary.standardised_numbers, _SAMPLE),
    _of("B6b", "binary_rewards", "takes the sample standard deviation", binary.prompt_weights, _SAMPLE),
    _of(
        "B7a",
        "binary_rewards",
        "takes the sample standard deviation",
        binary.weights_at_the_ends,
        _SAMPLE,
        size=3,
    ),
    _of(
        "A2",
        "roots",
        "clips at 1.3 in place of 1.2",
        binary.clipped_contrast,
        catalogue.get("grpo", eps=0.0, clip_high=0.3),
    ),
    _of(
        "B30",
        "roots",
        "adds up tokens in place of their mean",
        roots.bounded,
        _sums(partial(advantage.standardised, eps=0.0)),
        size=3,
    ),
    Mutant(
        "A1a",
        "roots",
        "adds up tokens in place of their mean",
        lambda: roots.contrast({"grpo": _sums(advantage.standardised)}),
        lambda: roots.contrast({"grpo": catalogue.get("grpo")}),
    ),
    _of(
        "A17a", "parts", "leaves one out in place of centring", parts.subtracted_mean, advantage.leave_one_out
    ),
    _of("A20", "parts", "twice the log-probability", parts.softmax_score, _Squared),
    Mutant(
        "A15a",
        "parts",
        "has no baseline, so that equal rewards weigh something",
        lambda: parts.silent_pairs({"reinforce": _sums(advantage.raw)}),
        lambda: parts.silent_pairs({"rloo": catalogue.get("rloo")}),
    ),
    Mutant(
        "B3b",
        "parts",
        "divides by G in place of G - 1",
        lambda: parts.pair_kernel(_sums(advantage.group_mean)),
        parts.pair_kernel,
    ),
    Mutant("B24a", "pieces", "twice the penalty", lambda: pieces.kl_slopes(2.0), pieces.kl_slopes),
    Mutant(
        "R1",
        "pieces",
        "truncates at 3 in place of 2",
        lambda: pieces.truncated_weight(shipped_cap=3.0),
        pieces.truncated_weight,
    ),
)
