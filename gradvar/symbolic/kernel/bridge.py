"""Theorems about traced code: what the code computes, printed as a term, is what the development defines."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sympy as sp

from gradvar.symbolic.group import SymbolicGroup
from gradvar.symbolic.kernel.development import PREFIX, CoqFile, read_source
from gradvar.symbolic.kernel.term import coq_term
from gradvar.symbolic.read.trace import symbols


@dataclass(frozen=True)
class Bridge:
    """One theorem: a traced formula is a definition of the development at these values.

    Args:
        claim: the id in the ledger.
        name: of the theorem.
        about: what was traced, in words.
        traced: the formula that the tracer read from the code.
        definition: the term of the development, with the formula's symbols as its variables.
        proof: of the equation, after its sides are unfolded to arithmetic.
        given: hypotheses, such as ``0 < r1 - r2``.
        field: the structure of the numbers: ``numFieldType``, or ``rcfType`` where there are roots.
        also: variables of the definition that the traced formula has lost.
        code: the theorem before it, in the same file, that is about the same traced formula; empty, or its own name,
            where there is none.
    """

    claim: str
    name: str
    about: str
    traced: sp.Expr
    definition: str
    proof: str
    given: tuple[str, ...] = ()
    field: str = "numFieldType"
    also: tuple[str, ...] = ()
    code: str = ""

    def text(self) -> str:
        """Return the definition of what was traced, and the theorem."""
        names = sorted({*map(str, self.traced.free_symbols), *self.also})
        variables = f"(F : {self.field}) ({' '.join(names)} : F)"
        hypotheses = "".join(f"{hypothesis} -> " for hypothesis in self.given)
        traced = f"traced_{self.code or self.name}"
        is_first = self.code in ("", self.name)
        definition = f"Definition {traced} {variables} : F :=\n  {coq_term(self.traced)}.\n\n"
        unfold = f"rewrite /{traced}.\n"
        return (
            f"{definition if is_first else ''}"
            f"(* {self.claim}: {self.about} *)\n"
            f"Theorem {self.name} {variables} :\n"
            f"  {hypotheses}@{traced} F {' '.join(names)} = {self.definition}.\n"
            f"Proof.\n{unfold if is_first else ''}{self.proof}\nQed.\n"
        )


def bridge_source(name: str, bridges: Sequence[Bridge], imports: Sequence[str]) -> CoqFile:
    """Return the file ``bridge_<name>.v`` with the theorems of some claims."""
    heading = (
        "(* Generated: what the shipped code computes, as its jaxpr was read, and the theorems of the development. *)\n"
        "From mathcomp Require Import all_ssreflect ssralg ssrnum ring.\n"
        f"From {PREFIX} Require Import {' '.join(imports)}.\n"
        "Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.\n"
        "Import Order.Theory GRing.Theory Num.Theory.\nLocal Open Scope ring_scope.\n"
    )
    return read_source(f"bridge_{name}", "\n".join([heading, *(bridge.text() for bridge in bridges)]))


def traced_update(rollouts: SymbolicGroup, weights: np.ndarray) -> tuple[sp.Expr, list[sp.Expr]]:
    """Return the group's update, and the score of each rollout, in one score ``s`` for each token.

    The update is the sum over tokens of weight times score; a rollout's score is the sum of its tokens'.
    """
    mask = np.asarray(rollouts.batch.mask)[0]  # [group, time]
    scores = symbols("s", mask.shape)
    update = sp.Add(
        *[w * s for w, s, token in zip(weights[0].flat, scores.flat, mask.flat, strict=True) if token]
    )
    return update, [sp.Add(*row[inside]) for row, inside in zip(scores, mask, strict=True)]


def values(entries: Sequence[sp.Expr] | np.ndarray) -> str:
    """Return a function from rollouts to these terms, in Coq."""
    return f"(@values F {len(entries)} [:: {'; '.join(map(coq_term, entries))}])"
