"""Which shipped code the bridges are about: for every claim the theorems to generate, and the files they rest on."""

import itertools
from collections.abc import Callable, Sequence

import jax
import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator
from gradvar.pieces import advantage, aggregate, penalty, surrogate
from gradvar.symbolic.kernel.bridge import Bridge, bridge_source, traced_update, values
from gradvar.symbolic.kernel.development import CoqFile
from gradvar.symbolic.kernel.term import coq_relation, coq_term

SIZES = (2, 3, 4, 8)
_LISTED = "rewrite /values /estimate !big_ord_recl !big_ord0 /=.\nby field."
_OF_ANSWERS = "rewrite !big_ord_recl !big_ord0 !ffunE /values /=.\nby field."
_CENTRED = "under eq_bigr do rewrite leave_one_out_is_scaled_centring /mean."


def group_of(size: int) -> sy.SymbolicGroup:
    """Symbolic rewards, on policy, rollouts of one and two tokens in turn."""
    return sy.symbolic_group(size, lengths=[1 + i % 2 for i in range(size)], on_policy=True)


def listed(estimator: Estimator, size: int) -> tuple[sp.Expr, str, str]:
    """The traced update of an estimator, and the rewards and scores of its rollouts in Coq."""
    rollouts = group_of(size)
    update, scores = traced_update(rollouts, rollouts.weights(estimator))
    return sp.expand(update), values(rollouts.rewards.reshape(-1)), values(scores)


def about(name: str, size: int) -> str:
    """What was traced, in words."""
    return f"{name} as catalogued, {size} rollouts of one and two tokens, any rewards and scores"


def leave_one_out(estimator: Estimator | None = None, sizes: Sequence[int] = SIZES) -> list[Bridge]:
    """The shipped leave-one-out is the leave-one-out of the development."""
    rows = []
    for size in sizes:
        update, rewards, scores = listed(estimator or catalogue.get("rloo"), size)
        rows.append(
            Bridge(
                "B1",
                f"shipped_leave_one_out_at_{size}",
                about("rloo", size),
                update,
                f"rloo {rewards} {scores}",
                f"rewrite /rloo /estimate; {_CENTRED}\n{_LISTED}",
            )
        )
    return rows


def pairs(sizes: Sequence[int] = SIZES) -> list[Bridge]:
    """The shipped leave-one-out is the average over pairs."""
    rows = []
    for size in sizes:
        update, r, s = listed(catalogue.get("rloo"), size)
        kernel = f"({r} i - {r} j) * ({s} i - {s} j) / 2%:R"
        average = f"(\\sum_(i < {size}) \\sum_(j < {size} | (i < j)%N) {kernel}) / 'C({size}, 2)%:R"
        rows.append(
            Bridge(
                "B3a",
                f"shipped_average_over_pairs_at_{size}",
                about("rloo", size),
                update,
                average,
                f"rewrite -[RHS]rloo_is_average_over_pairs /rloo /estimate; {_CENTRED}\n{_LISTED}",
            )
        )
    return rows


def mean_centred(name: str = "dr_grpo", sizes: Sequence[int] = SIZES) -> list[Bridge]:
    """The shipped mean-centred estimator, whose code is clipped, in the region of two witnesses at each size."""
    rows = []
    for size, sign in itertools.product(sizes, (1, -1)):
        rollouts = group_of(size)
        rewards = rollouts.rewards.reshape(-1)
        witness = sy.Witness({r: sign * (5 * i % size + i * i) for i, r in enumerate(rewards)})
        update, scores = traced_update(rollouts, rollouts.weights(catalogue.get(name), assume=witness))
        rows.append(
            Bridge(
                "A17b",
                f"shipped_centring_{'up' if sign > 0 else 'down'}_at_{size}",
                f"{about(name, size)}, where the advantages have the signs of the hypotheses",
                sp.expand(update),
                f"estimate (centred {values(rewards)}) {values(scores)}",
                f"move=> *; rewrite /estimate /centred /mean.\n{_LISTED}",
                given=tuple(map(coq_relation, witness.conditions)),
            )
        )
    return rows


def general_baseline(sizes: Sequence[int] = (2, 3, 4)) -> list[Bridge]:
    """The shipped REINFORCE with a constant, binary rewards, k of G correct, is the update with the baseline b."""
    constant, rows = sp.Symbol("b", real=True), []
    for size in sizes:
        for right in range(1, size):
            rewards = [1] * right + [0] * (size - right)
            rollouts = sy.symbolic_group(
                size, rewards=rewards, on_policy=True, baseline=np.asarray([constant], object)
            )
            weights = rollouts.weights(catalogue.get("reinforce_best_constant"))
            update, scores = traced_update(rollouts, weights)
            rows.append(
                Bridge(
                    "A6",
                    f"shipped_baseline_at_{right}_of_{size}",
                    f"reinforce_best_constant, {right} of {size} rollouts correct, any baseline and scores",
                    update,
                    f"update [set i : 'I_{size} | (i < {right})%N] {values(scores)} b",
                    "rewrite /update /reward /values !big_ord_recl !big_ord0 !inE /=.\nby field.",
                )
            )
    return rows


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


def kl_slopes() -> list[Bridge]:
    """The shipped penalties' slopes by the log-probability are those of the development."""
    k, p, q = sp.symbols("k p q", real=True)
    rows = []
    for name, definition in (
        ("k1", "k1_slope F tt"),
        ("k2", "k2_slope (fun _ : unit => k) tt"),
        ("k3", "k3_slope (fun _ : unit => p) (fun _ : unit => q) tt"),
    ):
        piece = getattr(penalty, name)
        logp, ref = sy.symbols("logp", (1, 1, 1)), sy.symbols("ref", (1, 1, 1))
        slope = sy.trace(jax.grad(lambda a, b, piece=piece: piece(a, b).sum()), logp, ref).item()
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


def update_of_a_law(sizes: Sequence[int] = SIZES) -> list[Bridge]:
    """The shipped leave-one-out on a group of answers is the update whose variance the development has."""
    rows = []
    for size in sizes:
        update, rewards, scores = listed(catalogue.get("rloo"), size)
        rows.append(
            Bridge(
                "N2",
                f"shipped_update_at_{size}",
                about("rloo", size),
                update,
                f"@update F {size - 2} [finType of 'I_{size}] {rewards} {scores} [ffun i => i]",
                f"rewrite /update /rloo /estimate; {_CENTRED}\n{_OF_ANSWERS}",
            )
        )
    return rows


def two_advantages(sizes: Sequence[int] = (2, 3, 4, 8)) -> list[Bridge]:
    """The shipped leave-one-out with binary rewards gives correct and wrong rollouts the two numbers of the law."""
    rows = []
    for size in sizes:
        for right in range(1, size) if size < 8 else (3,):
            rewards = [1] * right + [0] * (size - right)
            lengths = [1 + i % 2 for i in range(size)]
            rollouts = sy.symbolic_group(size, lengths=lengths, rewards=rewards, on_policy=True)
            update, scores = traced_update(rollouts, rollouts.weights(catalogue.get("rloo")))
            a, b = sp.Rational(size - right, size - 1), -sp.Rational(right, size - 1)
            law = f"[set i : 'I_{size} | (i < {right})%N]"
            rows.append(
                Bridge(
                    "N1",
                    f"shipped_two_numbers_at_{right}_of_{size}",
                    f"rloo as catalogued, {right} of {size} rollouts correct, of one and two tokens, any scores",
                    sp.expand(update),
                    f"@update F {size} {law} [finType of 'I_{size}] {values(scores)} {coq_term(a)} {coq_term(b)}"
                    " [ffun i => i]",
                    "rewrite /update /advantage !big_ord_recl !big_ord0 !inE !ffunE /values /=.\nby field.",
                )
            )
    return rows


def truncated_weight(cap: int = 2) -> list[Bridge]:
    """The shipped truncated weight, averaged over a sampler of two answers, is the development's update."""
    estimator = compose(
        advantage=advantage.raw,
        surrogate=surrogate.truncated_importance(surrogate.likelihood, cap=float(cap)),
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


BRIDGES: dict[str, tuple[Callable[[], list[Bridge]], tuple[str, ...]]] = {
    "A1a": (contrast, ("group_means", "standardised", "bridging")),
    "A6": (general_baseline, ("general_baseline", "bridging")),
    "A17b": (mean_centred, ("group_means", "bridging")),
    "B1": (leave_one_out, ("group_means", "bridging")),
    "B3a": (pairs, ("group_means", "bridging")),
    "N1": (two_advantages, ("four_numbers", "bridging")),
    "N2": (update_of_a_law, ("group_means", "variance", "bridging")),
    "R1": (truncated_weight, ("importance", "bridging")),
    "B24a": (kl_slopes, ("kl_estimators", "bridging")),
}


def bridge(claim: str) -> CoqFile:
    """The generated file of one claim."""
    make, imports = BRIDGES[claim]
    return bridge_source(claim, make(), imports)
