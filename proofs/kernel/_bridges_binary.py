"""Bridges for binary rewards: a baseline (A6), the numbers of leave-one-out and GRPO (N1, B6a, B6b), the contrast (A2)."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import sympy as sp
from _traced import SIZES, group_of, lengths_of, token_means

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.estimator import Estimator
from gradvar.symbolic.kernel.bridge import Bridge, traced_update, values
from gradvar.symbolic.kernel.term import coq_term

ALL_COUNTS = (2, 3, 4)  # sizes at which every number of correct rollouts is traced


def mixed(sizes: Sequence[int]) -> Iterator[tuple[int, int, list[int]]]:
    """Group size, number of correct rollouts, rewards; of a large group three are correct."""
    for size in sizes:
        for right in range(1, size) if size in ALL_COUNTS else (3,):
            yield size, right, [1] * right + [0] * (size - right)


def general_baseline(estimator: Estimator | None = None, sizes: Sequence[int] = SIZES) -> list[Bridge]:
    """The shipped REINFORCE with a constant, binary rewards, k of G correct, is the update with the baseline b."""
    constant, rows = sp.Symbol("b", real=True), []
    for size, right, rewards in mixed(sizes):
        baseline = np.asarray([constant], object)
        rollouts = sy.symbolic_group(size, rewards=rewards, on_policy=True, baseline=baseline)
        update, scores = traced_update(
            rollouts, rollouts.weights(estimator or catalogue.get("reinforce_best_constant"))
        )
        rows.append(
            Bridge(
                "A6",
                f"shipped_baseline_at_{right}_of_{size}",
                f"reinforce_best_constant, {right} of {size} rollouts correct, any baseline and scores",
                update,
                f"general_baseline.update [set i : 'I_{size} | (i < {right})%N] {values(scores)} b",
                f"rewrite /general_baseline.update (eq_bigr (fun i : 'I_{size} => (((i < {right})%N)%:R - b) * {values(scores)} i));"
                " last by move=> i _; rewrite /general_baseline.reward inE.\n"
                f"rewrite (sum_listed (fun i x => (((i < {right})%N)%:R - b) * x)) //=.\nby field.",
            )
        )
    return rows


def two_numbers(size: int, right: int, scores: str, numbers: tuple[str, str]) -> tuple[str, str]:
    """The development's update with one number for correct and one for wrong rollouts, and its sum over a list.

    Args:
        size: the group size.
        right: how many rollouts are correct, the first ones.
        scores: of the rollouts, in Coq.
        numbers: for a correct and for a wrong rollout, in Coq.
    """
    a, b = numbers
    law = f"[set i : 'I_{size} | (i < {right})%N]"
    definition = f"@four_numbers.update F {size} {law} _ {scores} {a} {b} [ffun i => i]"
    case = f"(if (i < {right})%N then {a} else {b})"
    return definition, (
        f"rewrite /four_numbers.update (eq_bigr (fun i : 'I_{size} => {case} * {scores} i));"
        " last by move=> i _; rewrite /four_numbers.advantage inE ffunE.\n"
        f"rewrite (sum_listed (fun i x => {case} * x)) //=.\n"
    )


def two_advantages(estimator: Estimator | None = None, sizes: Sequence[int] = SIZES) -> list[Bridge]:
    """The shipped leave-one-out gives correct and wrong rollouts the two numbers of the law."""
    rows = []
    for size, right, rewards in mixed(sizes):
        rollouts = group_of(size, rewards)
        update, scores = traced_update(rollouts, rollouts.weights(estimator or catalogue.get("rloo")))
        a, b = sp.Rational(size - right, size - 1), -sp.Rational(right, size - 1)
        definition, unfolded = two_numbers(size, right, values(scores), (coq_term(a), coq_term(b)))
        rows.append(
            Bridge(
                "N1",
                f"shipped_two_numbers_at_{right}_of_{size}",
                f"rloo as catalogued, {right} of {size} rollouts correct, of one and two tokens, any scores",
                sp.expand(update),
                definition,
                f"{unfolded}by field.",
            )
        )
    return rows


def root_of_share(size: int, right: int, term: str, unfold: str, then: str = "") -> str:
    """A proof step that a term is the root of k/G (1 - k/G) as SymPy writes it, in which the root is then a letter.

    Args:
        size: G.
        right: k.
        term: in Coq.
        unfold: opens the proof that the term is that root.
        then: done to the goal afterwards.
    """
    rational, radical = sp.sqrt(sp.Rational(right * (size - right), size**2)).as_coeff_Mul()
    c, x = coq_term(rational), coq_term(radical**2)
    parts = f"apply: root_in_parts; [by rewrite divr_ge0 ?ler01 ?ler0n | {unfold}field]"
    root = f"have root : {term} = {c} * Num.sqrt {x} :> F by {parts}.\n"
    if radical == 1:
        return f"{root}rewrite root sqrtr1 mulr1; {then}by field.\n"
    return (
        f"{root}have : Num.sqrt {x} ^+ 2 = {x} :> F by rewrite sqr_sqrtr ?ler0n.\n"
        f"have : Num.sqrt {x} != 0 :> F by rewrite gt_eqF // sqrtr_gt0 ltr0n.\n"
        f"rewrite root; {then}move: (Num.sqrt {x}) => x x0 square; field: square; rewrite ?x0 //.\n"
    )


def standardised_numbers(estimator: Estimator | None = None, sizes: Sequence[int] = SIZES) -> list[Bridge]:
    """The shipped GRPO without epsilon gives correct and wrong rollouts the advantages of the prompt weight."""
    rows = []
    for size, right, rewards in mixed(sizes):
        rollouts = group_of(size, rewards)
        update, scores = traced_update(
            rollouts, rollouts.weights(estimator or catalogue.get("grpo", eps=0.0))
        )
        sigma = f"@sigma F {size - 2} {right}"
        spread = f"rewrite /spread -[({size} - {right})%N]/({size - right})%N; "
        of_correct, of_wrong = (f"(@advantage F {size - 2} {reward} {right})" for reward in (1, 0))
        definition, unfolded = two_numbers(size, right, token_means(scores), (of_correct, of_wrong))
        rows.append(
            Bridge(
                "B6a",
                f"shipped_advantages_at_{right}_of_{size}",
                f"grpo without epsilon, {right} of {size} rollouts correct, of one and two tokens, any scores",
                sp.expand(update),
                definition,
                unfolded + "rewrite /advantage.\n" + root_of_share(size, right, sigma, spread),
                field="rcfType",
            )
        )
    return rows


def prompt_weights(estimator: Estimator | None = None, sizes: Sequence[int] = SIZES) -> list[Bridge]:
    """The shipped GRPO without epsilon gives a prompt of success rate p the development's weight."""
    p, rows = sp.Symbol("p", real=True), []
    for size in sizes:
        weight, advantages = sp.Integer(0), []
        for right in range(1, size):
            rollouts = group_of(size, [1] * right + [0] * (size - right))
            shares = rollouts.weights(estimator or catalogue.get("grpo", eps=0.0))[0].sum(axis=1)  # [group]
            of_correct, of_wrong = (sp.Add(*part) for part in (shares[:right], shares[right:]))
            chance = math.comb(size, right) * p**right * (1 - p) ** (size - right)
            # The mean score of a correct rollout is the gradient of p by p, that of a wrong one less it by 1 - p.
            weight += chance * (of_correct / p - of_wrong / (1 - p))
            advantages += [
                (right, 1, of_correct * size / right),
                (right, 0, of_wrong * size / (size - right)),
            ]
        rows.append(
            Bridge(
                "B6b",
                f"shipped_weight_at_{size}",
                f"grpo without epsilon, {size} rollouts of one and two tokens, the mean over all numbers of correct ones",
                weight,
                f"weight {size - 2} p",
                _weights_term_by_term(size, advantages),
                given=("p != 0", "1 - p != 0"),
                field="rcfType",
                also=("p",),
            )
        )
    return rows


def weights_at_the_ends(estimator: Estimator | None = None, sizes: Sequence[int] = SIZES) -> list[Bridge]:
    """The shipped GRPO without epsilon gives a prompt that is nearly never, or nearly always, solved the weight at an end.

    As p goes to 0 only groups with one correct rollout count, and as p goes to 1 only those with one wrong: their
    chances are G p and G (1 - p) but for higher powers, and the mean score of the odd one out is grad p by p, or less
    it by 1 - p.
    """
    gradient, rows = sp.Symbol("g", real=True), []
    for size in sizes:
        for end, right, odd_one in (("zero", 1, 0), ("one", size - 1, -1)):
            weights = group_of(size, [1] * right + [0] * (size - right)).weights(
                estimator or catalogue.get("grpo", eps=0.0)
            )
            share = weights[0].sum(axis=1)[odd_one]
            index, side, sign = (0, 1, 1) if end == "zero" else (size - 2, 2, -1)
            root = f"move: (Num.sqrt {coq_term(sp.Integer(size - 1))} : F) => x; " if size > 2 else ""
            rows.append(
                Bridge(
                    "B7a",
                    f"shipped_weight_at_{end}_of_{size}",
                    f"grpo without epsilon, {size} rollouts of one and two tokens, the mean update as p goes to {end}",
                    sp.radsimp(sign * size * share) * gradient,
                    f"coefficient F {size - 2} {index} * g",
                    f"rewrite (weight_at_the_ends_is_root F {size - 2}).{side}{'' if root else ' sqrtr1'}.\n{root}by field.",
                    field="rcfType",
                )
            )
    return rows


def _weights_term_by_term(size: int, advantages: Sequence[tuple[int, int, sp.Expr]]) -> str:
    """Proof steps: every advantage as SymPy writes it, then the sum over the number of correct rollouts."""
    steps, names = [], []
    for right, reward, value in advantages:
        sigma, name = f"@sigma F {size - 2} {right}", f"of_{reward}_at_{right}"
        spread = f"rewrite /spread -[({size} - {right})%N]/({size - right})%N; "
        steps.append(
            f"have {name} : @advantage F {size - 2} {reward} {right} = {coq_term(value)}.\n  rewrite /advantage."
        )
        steps.append(root_of_share(size, right, sigma, spread).rstrip())
        names.append(name)
    numbers = " ".join(
        f"-[({size} - {k})%N]/({size - k})%N -['C({size}, {k})]/({math.comb(size, k)})%N"
        for k in range(1, size)
    )
    below = " ".join(f"(big_ltn (isT : ({k} < {size})%N))" for k in range(1, size))
    roots = {
        root for *_, value in advantages for root in value.atoms(sp.Pow) if root.exp == sp.Rational(1, 2)
    }
    letters = " ".join(f"(Num.sqrt {coq_term(root.base)} : F)" for root in sorted(roots, key=str))
    general = f"move: {letters} => {' '.join(f'x{i}' for i in range(len(roots)))}; " if roots else ""
    return (
        "move=> p0 q0.\n" + "\n".join(steps) + "\n"
        f"rewrite /weight {below} (big_geq (isT : ({size} <= {size})%N)) /term /chance.\n"
        f"rewrite {numbers} {' '.join(names)}.\n"
        f"{general}by field; rewrite p0 q0."
    )


def clipped_contrast(estimator: Estimator | None = None, sizes: Sequence[int] = SIZES) -> list[Bridge]:
    """The shipped GRPO without epsilon, binary rewards and any ratios, has the value of the clipped objective."""
    rows = []
    for size, right, rewards in mixed(sizes):
        rollouts = sy.symbolic_group(size, lengths_of(size), rewards=rewards)
        value = sp.expand(rollouts.value(estimator or catalogue.get("grpo", eps=0.0)))
        rows_of = [row[:length] for row, length in zip(rollouts.rho[0], lengths_of(size), strict=True)]
        ratios = "; ".join(f"[:: {'; '.join(map(str, row))}]" for row in rows_of)
        share = f"Num.sqrt ({right}%:R / {size}%:R * (1 - {right}%:R / {size}%:R))"
        places = f"F {size - 2} [:: {ratios}]"
        rows.append(
            Bridge(
                "A2",
                f"shipped_clipped_contrast_at_{right}_of_{size}",
                f"grpo without epsilon, {right} of {size} rollouts correct, of one and two tokens, any ratios",
                value,
                f"grpo (@lengths {places}) (@ratio {places}) (1 / 5%:R) (1 / 5%:R)"
                f" (standardised 0 0 (@reward F {size - 2} (@first {size - 2} {right})))",
                "rewrite grpo_listed //; last by rewrite !divr_ge0 ?ler01 ?ler0n.\n"
                + root_of_share(size, right, share, "", _clipped(right, rows_of)),
                field="rcfType",
            )
        )
    return rows


def _clipped(right: int, ratios: Sequence[np.ndarray]) -> str:
    """Proof steps: the contrast as sums over lists, each clipped ratio a letter."""
    bounds = [("min", "6%:R") if i < right else ("max", "4%:R") for i in range(len(ratios))]
    tokens = [(*bound, str(rho)) for bound, row in zip(bounds, ratios, strict=True) for rho in row]
    clipped = " ".join(f"(Num.{name} ({bound} / 5%:R) {rho} : F)" for name, bound, rho in tokens)
    letters = " ".join(f"c{i}" for i in range(len(tokens)))
    return (
        f"rewrite /contrast_listed /mean_listed /= -[({len(ratios)} - {right})%N]/({len(ratios) - right})%N.\n"
        "have -> : 1 + 1 / 5%:R = 6%:R / 5%:R :> F by field.\n"
        "have -> : 1 - 1 / 5%:R = 4%:R / 5%:R :> F by field.\n"
        "rewrite ![Num.min _ (6%:R / 5%:R)]minC ![Num.max _ (4%:R / 5%:R)]maxC.\n"
        f"move: {clipped} => {letters}; "
    )
