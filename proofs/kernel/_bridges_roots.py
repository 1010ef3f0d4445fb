"""Bridges for any rewards, with roots: the contrast of two rollouts (A1a), the bounded advantage (B30)."""

from collections.abc import Sequence

import sympy as sp
from _traced import group_of

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.symbolic.kernel.bridge import Bridge, traced_update, values
from gradvar.symbolic.kernel.term import coq_term


def contrast(
    names: Sequence[str] = ("grpo", "grpo_pair"), epsilon: sp.Expr = sp.Rational(1, 10**6)
) -> list[Bridge]:
    """The shipped pair, the first rollout the better one, is the development's with its deviation and epsilon."""
    rows = []
    for name in names:
        rollouts = group_of(2)
        r1, r2 = rollouts.rewards.reshape(-1)
        weights = rollouts.weights(catalogue.get(name), assume=sy.Witness({r1: 1, r2: 0}))
        update, _ = traced_update(rollouts, weights)
        s11, s21, s22 = sp.symbols("s11 s21 s22", real=True)
        eps = coq_term(epsilon if name == "grpo" else sp.Integer(0))
        shares = values([s11 / 2, (s21 + s22) / 4])
        rows.append(
            Bridge(
                "A1a",
                f"shipped_contrast_of_{name}",
                f"{name} as catalogued, rollouts of one and two tokens, token means; r1 above r2",
                update,
                f"\\sum_i standardised 0 {eps} {values([r1, r2])} i * {shares} i",
                _CONTRAST.format(eps=eps, forget="" if eps == "0" else f"move: {eps} eps0 low => e _ low.\n"),
                given=("0 < r1 - r2",),
                field="rcfType",
                also=("r1", "r2"),
            )
        )
    return rows


_CONTRAST = """\
move=> better; have eps0 : 0 <= {eps} :> F by rewrite ?divr_ge0 ?mulr_ge0 ?exprn_ge0 ?ler0n ?ler01 ?lexx.
rewrite (@pair_update_is_contrast F _ _ false) // /contrast_factor /kappa /values /= mul1r.
have d0 : r1 - r2 != 0 by exact: lt0r_neq0.
have low : r1 - r2 + 2%:R * ({eps}) != 0.
  by apply: lt0r_neq0; apply: ltr_paddr => //; apply: mulr_ge0 => //; exact: ler0n.
{forget}by field; rewrite ?d0 ?low."""
