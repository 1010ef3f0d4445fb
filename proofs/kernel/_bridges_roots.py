"""Bridges for any rewards, with roots: the contrast of two rollouts (A1a), the bounded advantage (B30)."""

from collections.abc import Mapping, Sequence

import sympy as sp
from _traced import about, group_of, token_means

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.estimator import Estimator
from gradvar.symbolic.kernel.bridge import Bridge, traced_update, values
from gradvar.symbolic.kernel.term import coq_term


def contrast(
    estimators: Mapping[str, Estimator] | None = None, epsilon: sp.Expr = sp.Rational(1, 10**6)
) -> list[Bridge]:
    """The shipped pair, the first rollout the better one, is the development's with its deviation and epsilon.

    Args:
        estimators: by name, those of ``grpo`` and ``grpo_pair`` as catalogued if left out.
        epsilon: of ``grpo``, which it adds to the deviation.
    """
    rows = []
    for name, estimator in (estimators or {n: catalogue.get(n) for n in ("grpo", "grpo_pair")}).items():
        rollouts = group_of(2)
        r1, r2 = rollouts.rewards.reshape(-1)
        weights = rollouts.weights(estimator, assume=sy.Witness({r1: 1, r2: 0}))
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
  by apply: lt0r_neq0; apply: strictly_below_with_more => //; apply: mulr_ge0 => //; exact: ler0n.
{forget}by field; rewrite ?d0 ?low."""


def bounded(estimator: Estimator | None = None, sizes: Sequence[int] = (3, 4, 8)) -> list[Bridge]:
    """The shipped GRPO without epsilon, in the region of a witness, has the advantages that are bounded."""
    rows = []
    for size in sizes:
        rollouts = group_of(size)
        rewards = rollouts.rewards.reshape(-1)
        witness = sy.Witness({r: 5 * i % size + i * i for i, r in enumerate(rewards)})
        update, scores = traced_update(
            rollouts, rollouts.weights(estimator or catalogue.get("grpo", eps=0.0), assume=witness)
        )
        r, shares = values(rewards), token_means(scores)
        rows.append(
            Bridge(
                "B30",
                f"shipped_standardised_at_{size}",
                f"{about('grpo', size)}, without epsilon, where the advantages have the signs of the witness",
                update,
                f"(\\sum_i standardised 0 0 {r} i * {shares} i) / {size}%:R",
                _same_root(update, list(rewards)),
                field="rcfType",
            )
        )
    return rows


def _same_root(update: sp.Expr, rewards: Sequence[sp.Symbol]) -> str:
    """The proof: SymPy's root, with a square factor and a number taken out, is the deviation."""
    roots = [power for power in update.atoms(sp.Pow) if abs(power.exp) == sp.Rational(1, 2)]
    (radicand,) = {power.base for power in roots if power.free_symbols}
    number = next((power.base for power in roots if not power.free_symbols), sp.Integer(1))
    size, mean = len(rewards), sp.Add(*rewards) / len(rewards)
    variance = sp.Add(*[(r - mean) ** 2 for r in rewards]) / size
    factor = sp.sqrt(sp.cancel(sp.expand(number * variance) / radicand))
    deviation = f"Num.sqrt (squares_listed [:: {'; '.join(map(str, rewards))}] / {size}%:R)"
    a, q = coq_term(number), coq_term(radicand)
    root, letters, product = (
        (f"(Num.sqrt {q})^-1", "e", "e")
        if number == 1
        else (f"Num.sqrt {a} / Num.sqrt {q}", "a e", "(a * e)")
    )
    with_one = "rewrite -[LHS]mul1r -[X in X * _]sqrtr1; " if number == 1 else ""
    generalised = f"((Num.sqrt {q})^-1 : F)" if number == 1 else f"(Num.sqrt {a} : F) ((Num.sqrt {q})^-1 : F)"
    return (
        f"rewrite standardised_listed //.\nhave : {root} = {coq_term(factor)} / {deviation}.\n"
        f"  {with_one}apply: inverse_root_in_parts; rewrite ?divr_gt0 ?ltr0n ?ltr01 //.\n"
        "  by rewrite /squares_listed /=; field.\n"
        f"set d := {deviation}; rewrite /centred_listed /=.\n"
        f"move: {generalised} (d^-1 : F) => {letters} f root.\n"
        f"have -> : f = {coq_term(1 / factor)} * {product} :> F by rewrite root; field.\nby field."
    )
