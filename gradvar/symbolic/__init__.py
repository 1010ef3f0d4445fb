"""Proofs about the code that ships: read a JAX function as formulas, decide about them, state and check claims.

Claim files import it as ``from gradvar import symbolic as sy``.
"""

# A claim: its statement and checked steps; where claim files lie; a run.
from gradvar.symbolic.claims.claim import Claim, Exhibit
from gradvar.symbolic.claims.ledger import load, proofs_folder
from gradvar.symbolic.claims.report import ClaimReport
from gradvar.symbolic.claims.run import verify
from gradvar.symbolic.claims.source import Source
from gradvar.symbolic.claims.statement import (
    Hypothesis,
    Lemma,
    Quantity,
    Statement,
    above,
    between,
    one_of,
    real,
    whole,
)

# Exact expectations: over binomial counts, over independent rollouts, over all groups of a bandit.
from gradvar.symbolic.decide.enumerate import ExactMoments, SymbolicBandit, group_moments, mixture, weights_of

# Decisions: identities, solvers, regions; each raises Rejected or Undecided rather than guess.
from gradvar.symbolic.decide.equality import Rejected, enumerate_rationals, equal, identity, require, vanishes
from gradvar.symbolic.decide.expectation import (
    centred_score_moments,
    falling,
    over_binomial,
    over_binomial_symbolic,
    over_rollouts,
    prompt_weight,
)
from gradvar.symbolic.decide.nearness import below, near
from gradvar.symbolic.decide.regions import Region, explore
from gradvar.symbolic.decide.smt import find_point, smt_valid

# A group of rollouts in symbols, and the bridge to the engine that measures.
from gradvar.symbolic.group import (
    SymbolicGroup,
    engine,
    engines_agree,
    executed_weights,
    note_engine,
    symbolic_group,
)

# The shipped code as formulas.
from gradvar.symbolic.read.elementwise import Unreadable
from gradvar.symbolic.read.numbers import Inconsistent, Undecided, Vacuous, exact_sign, rational
from gradvar.symbolic.read.trace import Witness, gradient, jaxpr_text, symbolic_batch, symbols, trace

__all__ = [
    "Claim",
    "ClaimReport",
    "ExactMoments",
    "Exhibit",
    "Hypothesis",
    "Inconsistent",
    "Lemma",
    "Quantity",
    "Region",
    "Rejected",
    "Source",
    "Statement",
    "SymbolicBandit",
    "SymbolicGroup",
    "Undecided",
    "Unreadable",
    "Vacuous",
    "Witness",
    "above",
    "below",
    "between",
    "centred_score_moments",
    "engine",
    "engines_agree",
    "enumerate_rationals",
    "equal",
    "exact_sign",
    "executed_weights",
    "explore",
    "falling",
    "find_point",
    "gradient",
    "group_moments",
    "identity",
    "jaxpr_text",
    "load",
    "mixture",
    "near",
    "note_engine",
    "one_of",
    "over_binomial",
    "over_binomial_symbolic",
    "over_rollouts",
    "prompt_weight",
    "proofs_folder",
    "rational",
    "real",
    "require",
    "smt_valid",
    "symbolic_batch",
    "symbolic_group",
    "symbols",
    "trace",
    "vanishes",
    "verify",
    "weights_of",
    "whole",
]
