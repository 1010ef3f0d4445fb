"""Bridges for any rewards, without roots: leave-one-out (B1, B3a, N2) and mean-centring (A17b)."""

import itertools
from collections.abc import Sequence

import sympy as sp
from _traced import SIZES, about, group_of, listed

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.estimator import Estimator
from gradvar.symbolic.kernel.bridge import Bridge, traced_update, values
from gradvar.symbolic.kernel.term import coq_relation


def leave_one_out(estimator: Estimator | None = None, sizes: Sequence[int] = SIZES) -> list[Bridge]:
    """The shipped leave-one-out is that of the development, the average over pairs, and the update of a law's group."""
    rows = []
    for size in sizes:
        update, r, s = listed(estimator or catalogue.get("rloo"), size)
        first = f"shipped_leave_one_out_at_{size}"
        kernel = f"({r} i - {r} j) * ({s} i - {s} j) / 2%:R"
        average = f"(\\sum_(i < {size}) \\sum_(j < {size} | (i < j)%N) {kernel}) / 'C({size}, 2)%:R"
        of_indices = f"@update F {size - 2} _ {r} {s} [ffun i => i]"
        rows += [
            Bridge(claim, name, about("rloo", size), update, definition, proof, code=first)
            for claim, name, definition, proof in (
                ("B1", first, f"rloo {r} {s}", "rewrite rloo_listed // /centred_listed /=.\nby field."),
                (
                    "B3a",
                    f"shipped_average_over_pairs_at_{size}",
                    average,
                    f"rewrite {first}; exact: (@rloo_is_average_over_pairs F {size - 2}).",
                ),
                (
                    "N2",
                    f"shipped_update_at_{size}",
                    of_indices,
                    f"by rewrite {first} (@update_of_indices F {size - 2}).",
                ),
            )
        ]
    return rows


def mean_centred(estimator: Estimator | None = None, sizes: Sequence[int] = SIZES) -> list[Bridge]:
    """The shipped mean-centred estimator, whose code is clipped, in the region of two witnesses at each size."""
    rows = []
    for size, sign in itertools.product(sizes, (1, -1)):
        rollouts = group_of(size)
        rewards = rollouts.rewards.reshape(-1)
        witness = sy.Witness({r: sign * (5 * i % size + i * i) for i, r in enumerate(rewards)})
        update, scores = traced_update(
            rollouts, rollouts.weights(estimator or catalogue.get("dr_grpo"), assume=witness)
        )
        rows.append(
            Bridge(
                "A17b",
                f"shipped_centring_{'up' if sign > 0 else 'down'}_at_{size}",
                f"{about('dr_grpo', size)}, where the advantages have the signs of the hypotheses",
                sp.expand(update),
                f"estimate (centred {values(rewards)}) {values(scores)}",
                "move=> *; rewrite estimate_listed // /centred_listed /=.\nby field.",
                given=tuple(map(coq_relation, witness.conditions)),
            )
        )
    return rows
