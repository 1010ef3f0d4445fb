"""Growing a score bank: more prompts, more rollouts of the same prompts, or a basis for more estimators."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from gradvar.core.devices import DeviceChoice, choose_devices
from gradvar.core.estimator import Estimator, Objective, as_estimator
from gradvar.core.protocols import Policy, Task
from gradvar.measure.bank.bank import Rows, ScoreBank, Scores
from gradvar.measure.bank.record import (
    exact_truth,
    find_basis,
    on_policy,
    score_rows,
    side_for,
    with_truth,
)
from gradvar.measure.bank.sample import Draw, Pool
from gradvar.measure.baselines import BASELINE_FIELDS, BaselineSource


def grow(
    bank: ScoreBank,
    policy: Policy,
    params: PyTree,
    task: Task,
    key: PRNGKeyArray,
    *,
    prompts: int = 0,
    rollouts: int = 0,
    estimators: Sequence[Estimator | Objective] = (),
    old_params: PyTree | None = None,
    ref_params: PyTree | None = None,
    side: BaselineSource | None = None,
    memory: float = 4e9,
    devices: DeviceChoice = "all",
) -> ScoreBank:
    """The bank with ``prompts`` more prompts, or ``rollouts`` more rollouts of each prompt, and a basis for
    ``estimators`` too.

    Give the policy, parameters and task that it was recorded with, and *all* estimators that new rollouts
    must serve. Rows that exist are kept as they are where their images are vectors (identity, sketches);
    with a Gram matrix every row's backward pass is run again, because products of old and new rows are
    needed."""
    if prompts and rollouts:
        raise ValueError(f"prompts: {prompts} and rollouts: {rollouts}; add one of them at a time")
    if prompts and not bank.drawn:
        raise ValueError(
            "prompts: the bank's prompts were given, not drawn; record the new ones on their own"
        )
    if bank.info["map"] == "sketch tokens":
        raise ValueError(
            "map: a bank of tokens serves every objective already; record more with record(map='tokens')"
        )
    old = params if old_params is None else old_params
    ref = old if ref_params is None else ref_params
    if (old_params is None) != bank.info["on_policy"]:
        raise ValueError(
            "old_params: the bank was recorded differently (on or off policy); give what it was recorded with"
        )
    served, who = tuple(as_estimator(e) for e in estimators), choose_devices(devices)
    pool, size, count = bank.pool, *bank.pool.shape[:2]
    if prompts or rollouts:
        key_prompts, key_draw = jax.random.split(key)
        listed = task.prompts(key_prompts, prompts) if prompts else pool.prompts
        truth, tables = exact_truth(policy, params, task, old, ref, listed, bank.drawn)
        needs = tuple(n for n in BASELINE_FIELDS if n in pool.arrays())
        side = side or side_for(policy, task, old, tables, needs, key_draw)
        more = rollouts or count
        sampler = None if old is params else old
        reference = None if ref is old else ref
        draw = Draw(policy, task, params, sampler, reference, key_draw, side, needs, more, who)
        new = draw(listed, more)
        pool = pool.join(on_policy(new) if old_params is None else new, 0 if prompts else 1)
    else:
        truth = bank.scores.true_gradient
    basis = _extended(bank, pool, served)
    rows = Rows.of(basis)
    info: dict[str, Any] = {**bank.info, "rows": rows.count, "basis": int(basis.shape[2])}
    info["estimators"] = list(dict.fromkeys([*bank.info["estimators"], *(e.name for e in served)]))
    kept, settings = info["map"], (info["width"], info["seed"], info["cross"], memory, None)
    if bank.scores.vectors is None:
        scores = score_rows(policy, params, pool, rows, kept, *settings, truth, devices=who)
    else:
        known = np.zeros((*pool.shape[:2], basis.shape[2]), bool)
        known[:size, :count, : bank.rows.basis.shape[2]] = np.any(bank.rows.basis != 0, -1)
        fresh = rows.real & ~known[np.arange(len(known))[:, None], rows.rollout, rows.slot]
        new_rows = dataclasses.replace(rows, real=fresh)
        made = score_rows(policy, params, pool, new_rows, kept, *settings, truth, devices=who)
        assert made.vectors is not None
        scores = Scores(vectors=_merged(bank, rows, fresh, made.vectors))
    if truth is not None:
        scores = with_truth(scores, truth, kept)
    return ScoreBank(pool, rows, scores, bank.drawn, bank.tolerance, info)


def _extended(bank: ScoreBank, pool: Pool, served: Sequence[Estimator]) -> np.ndarray:
    """The bank's basis, then what it lacks for the new rollouts and estimators."""
    size, count, time = pool.shape
    had = bank.rows.basis
    known = np.zeros((size, count, had.shape[2], time), had.dtype)
    known[: had.shape[0], : had.shape[1]] = had
    more = find_basis(pool, served, bank.info["cuts"], bank.tolerance / 4, known=known)
    return np.concatenate([known, more], 2)


def _merged(bank: ScoreBank, rows: Rows, fresh: np.ndarray, made: np.ndarray) -> np.ndarray:
    """Old rows' vectors at their new places, beside the new ones."""
    old = bank.rows
    place = np.full((*rows.basis.shape[:3],), -1)
    q, m = np.nonzero(old.real)
    place[q, old.rollout[q, m], old.slot[q, m]] = m
    vectors = made.copy()
    q, m = np.nonzero(rows.real & ~fresh)
    assert bank.scores.vectors is not None
    vectors[q, m] = bank.scores.vectors[q, place[q, rows.rollout[q, m], rows.slot[q, m]]]
    return vectors
