"""Mutants of the shipped estimators, made by rules: does some claim fail for each, and which one?

    python -m benchmarks.mutation.shipped                        # every mutant against the definitions
    python -m benchmarks.mutation.shipped --ledger proof.json    # what they miss, against the other claims
    python -m benchmarks.mutation.shipped --only rloo grpo --out table.csv

Rules change what an estimator computes (leave-one-out dividing by G, the other standard deviation, wrong from G = 8 on,
wrong for three levels of reward or for shorter rollouts, statistics of the batch, the sign, the length rule, the clip,
the form and sign of the penalty), or one default of a setting. ``proof.json`` is written by ``gradvar prove --json``.
A survivor is printed, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import csv
import inspect
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import jax.numpy as jnp

from gradvar import catalogue
from gradvar.core.compose import compose, everything, no_penalty, required
from gradvar.core.estimator import Estimator
from gradvar.pieces import aggregate, penalty
from gradvar.symbolic import Claim, load, proofs_folder, verify

Change = Callable[[Estimator], Estimator | None]
FACTOR = 0.9


@dataclass(frozen=True)
class Mutant:
    """One estimator with one change; ``get`` stands in for the catalogue's."""

    estimator: str
    rule: str
    get: Callable[..., Estimator]


def rewired(estimator: Estimator, **changes: Callable[..., Any]) -> Estimator:
    """The composed estimator with other pieces."""
    parts: dict[str, Any] = {**estimator.parts, **changes}
    return compose(**parts, name=estimator.name, min_group=estimator.min_group)


def on_advantage(factor: Callable[[Any, Any, Any], Any]) -> Change:
    """Change the advantages [Q, G] or [Q, G, T] of a composed estimator: ``factor(advantages, rewards, mask)``."""

    def change(estimator: Estimator) -> Estimator | None:
        piece = estimator.parts.get("advantage")
        if piece is None:
            return None
        names = required(piece)

        def advantage(rewards: Any, mask: Any, **arrays: Any) -> Any:
            every = {"rewards": rewards, "mask": mask, **arrays}
            return factor(piece(**{name: every[name] for name in names}), rewards, mask)

        return rewired(estimator, advantage=with_arguments(advantage, names))

    return change


def with_arguments(piece: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    """The piece under a signature that asks for these arrays, besides rewards and mask."""
    asked = dict.fromkeys(("rewards", "mask", *names))
    kind = inspect.Parameter.KEYWORD_ONLY
    piece.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in asked])  # type: ignore[attr-defined]
    return piece


def on_objective(factor: Callable[[Any, Any], Any]) -> Change:
    """Multiply the objective by ``factor(logp, batch)``, a constant for the gradient."""

    def change(estimator: Estimator) -> Estimator:
        def objective(logp: Any, batch: Any) -> Any:
            return factor(logp, batch) * estimator.objective(logp, batch)

        return replace(estimator, objective=objective)

    return change


def group_of(array: Any) -> int:
    """G, the size of the second axis."""
    return array.shape[1]


def per_row(array: Any, like: Any) -> Any:
    """[Q, G] as it is, or with a last axis where the advantages have one."""
    return array[..., None] if like.ndim == 3 else array


def three_levels(rewards: Any) -> Any:
    """[Q, 1]: True where a reward of the group lies strictly between its least and its largest."""
    low, high = jnp.min(rewards, 1, keepdims=True), jnp.max(rewards, 1, keepdims=True)
    return jnp.any((rewards > low) & (rewards < high), 1, keepdims=True)


ADVANTAGES: dict[str, Change] = {
    "divided by G for G - 1": on_advantage(lambda a, r, m: a * (1 - 1 / group_of(r))),
    "the other standard deviation": on_advantage(lambda a, r, m: a * (1 - 1 / group_of(r)) ** 0.5),
    "wrong from G = 8 on": on_advantage(lambda a, r, m: a * (1.0 if group_of(r) < 8 else 1 - 1 / group_of(r))),
    "wrong at G = 31 alone": on_advantage(lambda a, r, m: a * (1.0 if group_of(r) != 31 else FACTOR)),
    "statistics of the batch": on_advantage(
        lambda a, r, m: a + per_row(jnp.mean(r, 1, keepdims=True) - jnp.mean(r), a)
    ),
    "wrong for three levels": on_advantage(lambda a, r, m: jnp.where(per_row(three_levels(r), a), FACTOR * a, a)),
    "wrong for shorter rollouts": on_advantage(
        lambda a, r, m: jnp.where(per_row(jnp.all(m, -1), a), a, FACTOR * a)
    ),
    "the sign": on_advantage(lambda a, r, m: -a),
    "the positive part alone": on_advantage(lambda a, r, m: jnp.maximum(a, 0)),
    "cut at 1": on_advantage(lambda a, r, m: jnp.minimum(a, 1)),
    "wrong for the last rollout": on_advantage(
        lambda a, r, m: a * jnp.where(jnp.arange(group_of(r)) == group_of(r) - 1, FACTOR, 1.0).reshape(
            (1, -1) + (1,) * (a.ndim - 2)
        )
    ),
}  # fmt: skip
OBJECTIVES: dict[str, Change] = {
    "a constant factor": on_objective(lambda logp, batch: FACTOR),
    "wrong from G = 8 on": on_objective(lambda logp, batch: 1.0 if group_of(batch.rewards) < 8 else FACTOR),
    "wrong at G = 31 alone": on_objective(
        lambda logp, batch: 1.0 if group_of(batch.rewards) != 31 else FACTOR
    ),
    "wrong for three levels": on_objective(
        lambda logp, batch: jnp.where(jnp.any(three_levels(batch.rewards)), FACTOR, 1.0)
    ),
    "the sign": on_objective(lambda logp, batch: -1.0),
    "wrong at two prompts": on_objective(lambda logp, batch: 1.0 if batch.rewards.shape[0] == 1 else FACTOR),
    "wrong for shorter rollouts": on_objective(
        lambda logp, batch: jnp.where(jnp.all(batch.mask), 1.0, FACTOR)
    ),
}


def other_aggregate(rule: Callable[..., Any]) -> Change:
    """Another length rule."""

    def change(estimator: Estimator) -> Estimator | None:
        piece = estimator.parts.get("aggregate")
        return None if piece is None or piece is rule else rewired(estimator, aggregate=rule)

    return change


def other_bounds(change_bounds: Callable[[float, float], tuple[float, float]]) -> Change:
    """Other bounds of the clip."""

    def change(estimator: Estimator) -> Estimator | None:
        piece = estimator.parts.get("surrogate")
        if not isinstance(piece, partial) or "low" not in piece.keywords:
            return None
        low, high = change_bounds(piece.keywords["low"], piece.keywords["high"])
        if (low, high) == (piece.keywords["low"], piece.keywords["high"]):
            return None
        return rewired(
            estimator, surrogate=partial(piece.func, **{**piece.keywords, "low": low, "high": high})
        )

    return change


def other_penalty(form: Callable[..., Any], sign: float = 1.0) -> Change:
    """Another form or sign of the penalty, where there is one."""

    def change(estimator: Estimator) -> Estimator | None:
        piece = estimator.parts.get("penalty")
        if not isinstance(piece, partial) or (piece.func is form and sign == 1.0):
            return None

        def changed(logp: Any, logp_ref: Any) -> Any:
            return sign * form(logp, logp_ref, **piece.keywords)

        return rewired(estimator, penalty=changed)

    return change


def every_rollout(estimator: Estimator) -> Estimator | None:
    """The selection left out."""
    select = estimator.parts.get("select", everything)
    return None if select is everything else rewired(estimator, select=everything)


PARTS: dict[str, Change] = {
    **{f"aggregated by {rule.__name__}": other_aggregate(rule) for rule in (
        aggregate.token_mean, aggregate.sequence_token_mean, aggregate.sequence_token_sum, aggregate.prompt_mean
    )},
    "wider below": other_bounds(lambda low, high: (low * 3 if low < 1 else low, high)),  # a ratio is above zero
    "wider above": other_bounds(lambda low, high: (low, high * 3)),
    "bounds exchanged": other_bounds(lambda low, high: (high, low)),
    "every rollout selected": every_rollout,
}  # fmt: skip
PENALTIES: dict[str, Change] = {
    "the penalty's sign": other_penalty(penalty.k3, -1.0),
    "k2 for k3": other_penalty(penalty.k2),
    "k1 for k3": other_penalty(penalty.k1),
    "no penalty": lambda e: (
        rewired(e, penalty=no_penalty) if isinstance(e.parts.get("penalty"), partial) else None
    ),
}


# What changes nothing: GPG divides by no deviation by default; what a rollout adds to the best is never negative.
SAME = {("gpg", "ddof"), ("gpg", "eps"), ("pass_at_k", "the positive part alone")}


def mutants(names: tuple[str, ...]) -> Iterator[Mutant]:
    """Every rule that applies to each estimator, and every default of it."""
    for name in names:
        estimator = catalogue.get(name)
        rules = ADVANTAGES | PARTS if estimator.parts else OBJECTIVES
        for rule, change in rules.items():
            if (name, rule) not in SAME and change(estimator) is not None:
                yield Mutant(name, rule, changed(name, change))
        if "beta" in catalogue.describe(name).settings and estimator.parts:
            penalised = catalogue.get(name, beta=0.04)
            for rule, change in PENALTIES.items():
                if change(penalised) is not None:
                    yield Mutant(name, rule, changed(name, change, penalised=True))
        for setting, value in catalogue.describe(name).settings.items():
            if (name, setting) in SAME:
                continue
            other = other_default(setting, value)
            yield Mutant(name, f"{setting}={other!r} by default", with_default(name, setting, other))


def changed(name: str, change: Change, *, penalised: bool = False) -> Callable[..., Estimator]:
    """A catalogue in which this estimator is changed, only with a penalty if ``penalised``."""
    original = catalogue.get

    @cache
    def cached(chosen: str, settings: tuple[tuple[str, Any], ...]) -> Estimator:
        estimator = original(chosen, **dict(settings))
        if chosen != name or (penalised and not dict(settings).get("beta")):
            return estimator
        return change(estimator) or estimator

    return lambda chosen, **settings: cached(chosen, tuple(settings.items()))


def with_default(name: str, setting: str, value: Any) -> Callable[..., Estimator]:
    """A catalogue in which a setting that is not given has another default."""
    original = catalogue.get
    return lambda chosen, **settings: original(
        chosen, **({setting: value} | settings if chosen == name else settings)
    )


def other_default(setting: str, value: Any) -> Any:
    """Another sound value of a setting."""
    special = {"dual": 4.5, "over": "tokens", "f_norm": "std", "temperature": 1.0, "weights": (1.0, 2.0), "k": 1,
               "discount": 0.5, "decay": 0.5, "low": -1.0, "cap": 1.01}  # fmt: skip
    if setting in special:
        return special[setting]
    if isinstance(value, bool):
        return not value
    if setting == "ddof":
        return 1 - value
    if setting == "clip_low" and value == 1.0:
        return 0.5  # a lower bound of zero binds nowhere
    return value * 1.5 if value else (1e-3 if setting == "eps" else 0.04)


def claims_by_estimator(ledger: Path | None) -> dict[str, list[str]]:
    """The claims that ran each estimator, its definition first."""
    users: dict[str, list[str]] = {}
    if ledger is not None:
        for row in json.loads(ledger.read_text(encoding="utf-8"))["claims"]:
            for estimator in row["estimators"]:
                users.setdefault(estimator, []).append(row["id"])
    return users


def definitions(folder: Path) -> dict[str, list[tuple[str, Path]]]:
    """The claims that define each estimator, with their files."""
    defined: dict[str, list[tuple[str, Path]]] = {}
    for claim in load(folder / "shipped"):
        name = claim.statement.setting.split("`")[1]
        defined.setdefault(name, []).append((claim.id, Path(claim.path)))
    return defined


def caught_by(mutant: Mutant, candidates: list[tuple[str, Path]]) -> str:
    """The first claim that fails under the mutant; empty if none does."""
    with mock.patch.object(catalogue, "get", mutant.get):
        for identifier, path in candidates:
            try:
                claim = next(c for c in load(path) if c.id == identifier)
            except Exception:  # a file of claims that cannot be loaded under the mutant has noticed it
                return identifier
            if not holds(claim):
                return identifier
    return ""


def holds(claim: Claim) -> bool:
    """Return True if every step and counterexample passes; sabotages are not run."""
    claim.sabotages.clear()
    return all(outcome.holds for outcome in verify(claim).outcomes)


def main() -> int:
    """Run every mutant, print the table, and return 1 if one survives."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(catalogue.names()), help="estimators")
    parser.add_argument("--ledger", type=Path, default=None, help="written by gradvar prove --json")
    parser.add_argument("--out", type=Path, default=None, help="a table: one row per mutant")
    options = parser.parse_args()
    folder = proofs_folder()
    defined, users = definitions(folder), claims_by_estimator(options.ledger)
    places = {c.id: Path(c.path) for c in load(folder)} if users else {}
    rows, start = [], time.perf_counter()
    for mutant in mutants(tuple(options.only)):
        candidates = list(dict.fromkeys(defined[mutant.estimator]))
        candidates += [
            (i, places[i]) for i in users.get(mutant.estimator, []) if (i, places[i]) not in candidates
        ]
        rows.append((mutant.estimator, mutant.rule, caught_by(mutant, candidates)))
        if not rows[-1][2]:
            print(f"survived: {mutant.estimator}, {mutant.rule}", flush=True)
    survivors = [row for row in rows if not row[2]]
    print(f"{len(rows)} mutants, {len(rows) - len(survivors)} caught; {time.perf_counter() - start:.0f} s")
    if options.out is not None:
        with options.out.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("estimator", "rule", "claim"), *rows])
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
