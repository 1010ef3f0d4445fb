"""Bridges of an update's parts: the mean that is subtracted (A17a), the pair kernel (B3b), silence (A15a), scores (A20)."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import sympy as sp
from _traced import SIZES, group_of

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import Piece
from gradvar.core.estimator import Estimator
from gradvar.pieces import advantage
from gradvar.policies import Bandit
from gradvar.symbolic.kernel.bridge import Bridge, traced_update, values
from gradvar.symbolic.kernel.term import coq_term

_SILENT = ("rloo", "dr_grpo", "grpo", "grpo_pair")


def subtracted_mean(piece: Piece = advantage.group_mean, sizes: Sequence[int] = SIZES) -> list[Bridge]:
    """What the shipped piece ``group_mean`` takes off every reward is the development's mean of the group."""
    rows = []
    for size in sizes:
        rewards = sy.symbols("r", (1, size))
        taken_off = (rewards - sy.trace(piece, rewards)).reshape(-1)
        weights = sy.symbols("c", (size,))  # of any sum over rollouts, so that it is said of each
        rows.append(
            Bridge(
                "A17a",
                f"shipped_mean_at_{size}",
                f"the piece group_mean, {size} rollouts, what it subtracts in a weighted sum over rollouts",
                sp.expand(sp.Add(*(weights * taken_off))),
                f"{coq_term(sp.Add(*weights))} * mean {values(rewards.reshape(-1))}",
                "rewrite /mean total_values //=.\nby field.",
            )
        )
    return rows


def pair_kernel(estimator: Estimator | None = None) -> list[Bridge]:
    """The shipped leave-one-out of two rollouts is the kernel whose projection is taken."""
    rollouts = group_of(2)
    update, scores = traced_update(rollouts, rollouts.weights(estimator or catalogue.get("rloo")))
    answers = (
        f"(fun y : bool => if y then {coq_term(x)} else {coq_term(y)})"
        for x, y in (rollouts.rewards.reshape(-1), scores)
    )
    return [
        Bridge(
            "B3b",
            "shipped_pair_kernel",
            "rloo as catalogued, two rollouts, of one and two tokens, any rewards and scores",
            sp.expand(update),
            f"pair_kernel {' '.join(answers)} true false",
            "rewrite /pair_kernel /=.\nby field.",
        )
    ]


def silent_pairs(estimators: Mapping[str, Estimator] | None = None) -> list[Bridge]:
    """Shipped estimators give a pair of equal rewards the update zero: what replacement takes for granted."""
    reward, rows = sp.Symbol("r", real=True), []
    for name, estimator in (estimators or {name: catalogue.get(name) for name in _SILENT}).items():
        rollouts = group_of(2, [reward, reward])
        update, scores = traced_update(rollouts, rollouts.weights(estimator))
        rows.append(
            Bridge(
                "A15a",
                f"shipped_silence_of_{name}",
                f"{name} as catalogued, rollouts of one and two tokens with one reward for both, any scores",
                sp.expand(update),
                "0",
                "by ring.",
                also=("r", *(str(token) for score in scores for token in score.free_symbols)),
            )
        )
    return rows


def softmax_score(policy: type = Bandit, sizes: Sequence[int] = SIZES) -> list[Bridge]:
    """The derivative of the shipped bandit's log-probabilities by its logits is the development's score."""
    rows = []
    for size in sizes:
        logits = sy.symbols("t", (1, size))
        answers = jnp.arange(size)[None, :, None]

        def scores(logits: jax.Array, size: int = size, answers: jax.Array = answers) -> jax.Array:
            logprobs = policy(size).logprobs
            return jax.jacrev(lambda x: logprobs(x, jnp.zeros(1, int), answers).reshape(-1))(logits)[:, 0]

        traced = sy.trace(scores, logits)  # [answer, logit]
        unscaled = {
            sp.exp(t - sp.Max(*logits.flat)): e
            for t, e in zip(logits.flat, sy.symbols("e", (size,)), strict=True)
        }
        of_answers, of_logits = sy.symbols("a", (size,)), sy.symbols("b", (size,))
        total = sp.Add(*unscaled.values())
        weighted = sp.Add(
            *[
                a * b * s
                for (a, row) in zip(of_answers, traced, strict=True)
                for b, s in zip(of_logits, row, strict=True)
            ]
        )
        chances = values([e / total for e in unscaled.values()])
        rows.append(
            Bridge(
                "A20",
                f"shipped_score_at_{size}",
                f"a bandit of {size} answers, e the exponentials of its logits less the largest; any sum over answers and logits",
                weighted.xreplace(unscaled),
                f"\\sum_x {values(of_logits)} x * (\\sum_y {values(of_answers)} y * score {chances} x y)",
                "move=> total0; rewrite scores_listed //=.\nby field.",
                given=(f"{coq_term(total)} != 0",),
            )
        )
    return rows
