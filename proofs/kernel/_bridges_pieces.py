"""Bridges of single pieces: the penalties' slopes (B24a), and a truncated importance weight (R1)."""

import jax
import numpy as np
import sympy as sp

from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, penalty, surrogate
from gradvar.symbolic.kernel.bridge import Bridge


def kl_slopes(scale: float = 1.0) -> list[Bridge]:
    """The shipped penalties' slopes by the log-probability are those of the development, with the scale 1."""
    k, p, q = sp.symbols("k p q", real=True)
    rows = []
    for name, definition in (
        ("k1", "k1_slope F tt"),
        ("k2", "k2_slope (fun _ : unit => k) tt"),
        ("k3", "k3_slope (fun _ : unit => p) (fun _ : unit => q) tt"),
    ):
        piece = getattr(penalty, name)
        logp, ref = sy.symbols("logp", (1, 1, 1)), sy.symbols("ref", (1, 1, 1))
        slope = sy.trace(jax.grad(lambda a, b, piece=piece: piece(a, b, beta=scale).sum()), logp, ref).item()
        x, y = logp.item(), ref.item()
        formula = sp.expand(slope).subs(x, k + y).subs(sp.exp(-k), q / p)
        rows.append(
            Bridge(
                "B24a",
                f"shipped_slope_of_{name}",
                f"the penalty {name}; k is the log-ratio, exp(-k) = q / p",
                sp.expand(formula),
                definition,
                f"rewrite /{name}_slope; by ring.",
                also=("k", "p", "q"),
            )
        )
    return rows


def truncated_weight(cap: int = 2, shipped_cap: float = 2.0) -> list[Bridge]:
    """The shipped truncated weight, averaged over a sampler of two answers, is the development's update.

    Args:
        cap: of the development's.
        shipped_cap: of the shipped one, the same.
    """
    estimator = compose(
        advantage=advantage.raw,
        surrogate=surrogate.truncated_importance(surrogate.likelihood, cap=shipped_cap),
        aggregate=aggregate.sequence_token_sum,
        min_group=1,
    )
    p, m = sp.symbols("p1 p2", positive=True), sp.symbols("m1 m2", positive=True)
    r, s = sp.symbols("r1 r2", real=True), sp.symbols("s1 s2", real=True)
    sampler, policy = (np.asarray([[[sp.log(x)] for x in row]], object) for row in (m, p))
    batch = sy.symbolic_batch(np.asarray([r], object), policy, logp_sampler=sampler)
    weights = sy.trace(sy.gradient(estimator), policy, batch).reshape(-1)  # each a half: two rollouts
    update = sp.Add(*[2 * chance * w * score for chance, w, score in zip(m, weights, s, strict=True)])
    functions = (f"(fun y : bool => if y then {x} else {y})" for x, y in (p, m, r, s))
    return [
        Bridge(
            "R1",
            "shipped_truncated_weight",
            f"truncated_importance around the likelihood with the cap {cap}, two answers of one token, each once",
            update,
            f"truncated_update {' '.join(functions)} {cap}%:R",
            "rewrite /truncated_update big_bool /= ![_^-1 * _]mulrC.\n"
            f"by move: (Num.min (p1 / m1) {cap}%:R) (Num.min (p2 / m2) {cap}%:R) => x y; ring.",
            field="realFieldType",
        )
    ]
