"""The named estimators: one explicit tuple. A new paper is one file in ``estimators/`` and one line here.

names()                      every name, in the order of the tuple
get("grpo", clip_high=0.3)   the estimator with these settings; the same call gives the same instance
describe("grpo")             citation, equation, settings and what it needs, as data
"""

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradvar.core.estimator import Estimator, Objective, Paper, as_estimator
from gradvar.core.naming import resolve_name
from gradvar.estimators.bnpo import bnpo
from gradvar.estimators.cispo import cispo
from gradvar.estimators.dapo import dapo
from gradvar.estimators.dpo import dpo
from gradvar.estimators.dr_grpo import dr_grpo
from gradvar.estimators.ebpo import ebpo
from gradvar.estimators.gdpo import gdpo
from gradvar.estimators.gmpo import gmpo
from gradvar.estimators.gpg import gpg
from gradvar.estimators.grpo import grpo, grpo_sample_std
from gradvar.estimators.gspo import gspo, gspo_token
from gradvar.estimators.ipo import ipo
from gradvar.estimators.krpo import krpo
from gradvar.estimators.lpo import lpo_forward, lpo_reverse
from gradvar.estimators.maxrl import maxrl
from gradvar.estimators.opo import opo, opo_leave_one_out
from gradvar.estimators.pass_at_k import pass_at_k
from gradvar.estimators.pass_at_k_training import pass_at_k_standardised
from gradvar.estimators.ppo import ppo, ppo_dual_clip
from gradvar.estimators.reinforce import reinforce, reinforce_best_constant
from gradvar.estimators.reinforce_pp import reinforce_pp, reinforce_pp_baseline
from gradvar.estimators.remax import remax
from gradvar.estimators.rloo import rloo
from gradvar.estimators.sapo import sapo
from gradvar.estimators.softmax_grpo import softmax
from gradvar.estimators.spo import spo
from gradvar.estimators.two_grpo import grpo_contrastive, grpo_pair
from gradvar.pieces.own import load_estimator

Factory = Callable[..., Estimator]
# What ``gradvar list`` and ``gradvar cite`` read, as they need neither JAX nor three seconds. A test holds it equal.
TABLE = Path(__file__).with_suffix(".json")

ENTRIES: dict[str, Factory] = {
    factory.__name__: factory
    for factory in (
        reinforce,
        reinforce_best_constant,
        remax,
        rloo,
        dr_grpo,
        grpo,
        grpo_sample_std,
        grpo_pair,
        grpo_contrastive,
        reinforce_pp,
        reinforce_pp_baseline,
        opo,
        opo_leave_one_out,
        ppo,
        ppo_dual_clip,
        dapo,
        gspo,
        gspo_token,
        cispo,
        gmpo,
        sapo,
        gpg,
        maxrl,
        softmax,
        pass_at_k,
        pass_at_k_standardised,
        bnpo,
        krpo,
        ebpo,
        spo,
        gdpo,
        dpo,
        ipo,
        lpo_forward,
        lpo_reverse,
    )
}


@dataclass(frozen=True)
class Description:
    """What ``gradvar list`` shows of one estimator."""

    name: str
    summary: str
    paper: Paper
    needs: tuple[str, ...]
    settings: Mapping[str, Any]
    min_group: int


def names() -> tuple[str, ...]:
    """The names of all estimators, in the order of the tuple."""
    return tuple(ENTRIES)


def get(name: str, **settings: Any) -> Estimator:
    """The named estimator; settings that are not given keep the factory's defaults.

    "GRPO", "Dr. GRPO" and "dr-grpo" are read as the names that they stand for. Cached: equal calls return the same
    instance, so that jitted code that takes it as a static argument is compiled once. Raises ``ValueError`` for an
    unknown name, an unknown setting or a setting's bad value.
    """
    name = _known(name)
    defaults = _settings(ENTRIES[name])
    for setting in settings:
        if setting not in defaults:
            accepted = ", ".join(defaults) if defaults else "none"
            raise ValueError(f"{setting}: '{name}' has no such setting; it accepts: {accepted}")
    chosen = {k: tuple(v) if isinstance(v, list) else v for k, v in {**defaults, **settings}.items()}
    return _build(name, tuple(chosen.items()))


def resolve(estimator: str | Estimator | Objective) -> Estimator:
    """The estimator that is meant: a name of the catalogue, ``path/to/file.py:name``, or one of the caller's own.

    What a file may hold is said in ``pieces.own.load_estimator``. Raises ``ValueError`` where there is no such one.
    """
    if not isinstance(estimator, str):
        return as_estimator(estimator)
    if not is_own(estimator):
        return get(estimator)
    try:
        return _loaded(estimator)
    except ValueError as error:
        raise ValueError(f"estimators: {str(error).removeprefix('target: ')}") from error


def is_own(estimator: object) -> bool:
    """Return True for what the catalogue does not name: ``file.py:name``, or an object."""
    return not isinstance(estimator, str) or ":" in estimator


@functools.cache
def _loaded(target: str) -> Estimator:
    return load_estimator(target)


def describe(name: str) -> Description:
    """One entry as data: name, one line, citation with equation, settings with defaults, and needs."""
    name = _known(name)
    factory, estimator = ENTRIES[name], get(name)
    return Description(
        name=name,
        summary=(inspect.getdoc(factory) or "").split("\n")[0],
        paper=estimator.paper,
        needs=estimator.needs,
        settings=_settings(factory),
        min_group=estimator.min_group,
    )


def entries() -> tuple[Description, ...]:
    """The description of every entry, in the order of the tuple."""
    return tuple(describe(name) for name in names())


def rows() -> list[dict[str, Any]]:
    """Every entry as plain values."""
    return [
        {
            "name": entry.name,
            "summary": entry.summary,
            "title": entry.paper.title,
            "arxiv": entry.paper.arxiv,
            "equation": entry.paper.equation,
            "settings": dict(entry.settings),
            "needs": list(entry.needs),
            "min_group": entry.min_group,
        }
        for entry in entries()
    ]


@functools.cache
def _build(name: str, settings: tuple[tuple[str, Any], ...]) -> Estimator:
    return ENTRIES[name](**dict(settings))


def _known(name: str) -> str:
    try:
        return resolve_name(name, names())
    except ValueError as error:
        wrong, _, near = str(error).rpartition("; ")
        raise ValueError(f"estimator: {wrong} in the catalogue; {near}") from None


def _settings(factory: Factory) -> dict[str, Any]:
    return {p.name: p.default for p in inspect.signature(factory).parameters.values()}


def _write(path: Path) -> None:
    path.write_text(json.dumps(rows(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":  # python -m gradvar.catalogue: write the table anew
    _write(TABLE)
