"""Extending a recording: more prompts, more rollouts of the same prompts, or a basis for more estimators."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray

from gradvar.core.devices import choose_devices
from gradvar.core.estimator import Estimator, as_estimator
from gradvar.files.fingerprint import describe
from gradvar.gradients.sketch import PerToken, map_from
from gradvar.measure.bank.basis import find_basis
from gradvar.measure.bank.data import BasisRows, Recording, Rollouts
from gradvar.measure.bank.recorder import RecordPlan, equal_policies, exact_truth, params_bytes
from gradvar.measure.bank.sample import RolloutSampler
from gradvar.measure.bank.score import assemble, score_rows, whole_scores
from gradvar.measure.bank.scores import SketchedScores, VectorScores, WholeScores
from gradvar.measure.baselines import BASELINE_FIELDS, default_baselines
from gradvar.measure.direct_plan import PolicyOnTask


def extend(
    recording: Recording,
    subject: PolicyOnTask,
    key: PRNGKeyArray,
    plan: RecordPlan,
    *,
    prompts: int = 0,
    rollouts: int = 0,
) -> Recording:
    """Add prompts, or rollouts of each prompt, and make a basis for the plan's estimators too.

    Args:
        recording: What is extended.
        subject: The policy, parameters and task that it was recorded with.
        key: Of the new rollouts.
        plan: All estimators that new rollouts must serve, and settings; scores are kept as before.
        prompts: How many to add.
        rollouts: How many to add to each prompt.

    Raises:
        ValueError: Both are to be added, the prompts were not drawn, or it was recorded differently.
    """
    if prompts and rollouts:
        raise ValueError(f"prompts: {prompts} and rollouts: {rollouts}; add one of them at a time")
    if prompts and not recording.drawn:
        raise ValueError(
            "prompts: the bank's prompts were given, not sampled; record the new ones on their own"
        )
    scores_map = map_from(recording.info)
    if isinstance(scores_map, PerToken):
        raise ValueError(
            "scores: a bank of tokens serves every objective already; record more with scores=PerToken(...)"
        )
    if (subject.old_params is None) != recording.info["on_policy"]:
        raise ValueError(
            "old_params: the bank was recorded differently (on or off policy); give what it was recorded with"
        )
    if recording.info.get("sampler") != (None if subject.engine is None else describe(subject.engine)):
        raise ValueError("sampler: the bank was sampled by another; give what it was recorded with")
    estimators, truth = tuple(as_estimator(e) for e in plan.estimators), recording.scores.true_gradient
    joined, size = recording.rollouts, recording.rollouts.shape[0]
    devices = choose_devices(plan.settings.devices)
    if prompts or rollouts:
        key_prompts, key_draw = jax.random.split(key)
        listed = subject.task.prompts(key_prompts, prompts) if prompts else joined.prompts
        truth, tables = exact_truth(subject, listed, recording.drawn)
        needs = tuple(n for n in BASELINE_FIELDS if n in joined.arrays())
        baselines = plan.settings.baselines or default_baselines(
            subject.policy, subject.old, subject.task, key_draw, needs=needs, tables=tables
        )
        count = rollouts or joined.shape[1]
        new = RolloutSampler(subject, key_draw, baselines, needs, count, devices)(listed, count)
        joined = joined.join(equal_policies(new) if subject.old_params is None else new, 0 if prompts else 1)
    basis = _extended_basis(recording, joined, estimators)
    rows = BasisRows.of(basis)
    names = [*recording.info["estimators"], *(e.name for e in estimators)]
    info: dict[str, Any] = {**recording.info, "rows": rows.count, "basis": int(basis.shape[2])}
    info["estimators"] = list(dict.fromkeys(names))

    def scored(wanted: BasisRows) -> Any:
        key, chunk = jax.random.key(info["seed"]), plan.settings.chunk
        images = score_rows(subject, joined, wanted, scores_map, key, chunk, devices)
        params = params_bytes(subject.params) // basis.dtype.itemsize
        return assemble(wanted, images, scores_map, params, truth)

    if not isinstance(recording.scores, VectorScores):
        return replace(recording, rollouts=joined, rows=rows, scores=scored(rows), info=info)
    was_scored = np.zeros((*joined.shape[:2], basis.shape[2]), bool)  # [prompt, rollout, basis]
    old_basis = recording.rows.basis
    was_scored[:size, : old_basis.shape[1], : old_basis.shape[2]] = np.any(old_basis != 0, -1)
    prompt_index = np.arange(len(was_scored))[:, None]
    is_new = rows.is_used & ~was_scored[prompt_index, rows.rollout, rows.basis_index]
    vectors = scored(replace(rows, is_used=is_new)).vectors
    vectors = _merged_vectors(recording.rows, recording.scores, rows, is_new, vectors)
    if isinstance(recording.scores, WholeScores):
        scores: VectorScores = whole_scores(vectors, truth)
    else:
        scores = SketchedScores(vectors=vectors, label=scores_map.label)
    return replace(recording, rollouts=joined, rows=rows, scores=scores, info=info)


def _extended_basis(
    recording: Recording, rollouts: Rollouts, estimators: Sequence[Estimator]
) -> Float[np.ndarray, "prompt rollout basis time"]:
    """The recording's basis, then what it lacks for the new rollouts and estimators."""
    size, count, time = rollouts.shape
    old = recording.rows.basis
    known = np.zeros((size, count, old.shape[2], time), old.dtype)
    known[: old.shape[0], : old.shape[1]] = old
    cuts, tolerance = recording.info["cuts"], recording.tolerance / 4
    return np.concatenate([known, find_basis(rollouts, estimators, cuts, tolerance, known)], 2)


def _merged_vectors(
    old_rows: BasisRows,
    old_scores: VectorScores,
    rows: BasisRows,
    is_new: Bool[np.ndarray, "prompt row"],
    new_vectors: Float[np.ndarray, "prompt row image"],
) -> Float[np.ndarray, "prompt row image"]:
    """Old rows' vectors at their new places, among the new ones."""
    place = np.full(rows.basis.shape[:3], -1)  # [prompt, rollout, basis] -> old row
    q, m = old_rows.places()
    place[q, old_rows.rollout[q, m], old_rows.basis_index[q, m]] = m
    vectors = new_vectors.copy()
    q, m = np.nonzero(rows.is_used & ~is_new)
    vectors[q, m] = old_scores.vectors[q, place[q, rows.rollout[q, m], rows.basis_index[q, m]]]
    return vectors
