"""Saving, opening in part, noticing damage, and growing a bank."""

from __future__ import annotations

import dataclasses
import json

import jax
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.gradients.sketch import Gram, Whole
from gradvar.measure.bank.bank import ScoreBank
from gradvar.measure.bank.basis import find_basis
from gradvar.measure.bank.data import BasisRows
from gradvar.measure.bank.record import record
from gradvar.measure.bank.score import assemble, score_rows
from gradvar.measure.direct import PolicyOnTask


@pytest.fixture(scope="module")
def small(scene):
    return record(
        scene.policy,
        scene.params,
        scene.task,
        jax.random.key(1),
        12,
        8,
        old_params=scene.old,
        estimators=[GRPO],
    )


GRPO = catalogue.get("grpo")


def same(one, two):
    return all(one[s].trace_cov == two[s].trace_cov and one[s].signal == two[s].signal for s in one)


@pytest.mark.slow
def test_comes_back_as_it_was(small, tmp_path):
    again = ScoreBank.open(small.save(tmp_path / "bank"))
    assert same(small.evaluate([GRPO], [2]), again.evaluate([GRPO], [2]))
    assert again.info["seed"] == small.info["seed"]
    assert again.recording.drawn == small.recording.drawn
    assert {p.suffix for p in (tmp_path / "bank" / "shard-00000").iterdir()} == {".json", ".safetensors"}


@pytest.mark.slow
def test_opens_in_part(small, tmp_path):
    small.save(tmp_path)
    part = ScoreBank.open(tmp_path, prompts=slice(2, 10))
    assert part.rollouts.shape[0] == 8
    assert np.array_equal(part.rollouts.completions, small.rollouts.completions[2:10])
    assert np.isfinite(part.evaluate([GRPO], [2])["grpo", 2].trace_cov)


def test_damage_is_noticed(small, tmp_path):
    small.save(tmp_path)
    shard = tmp_path / "shard-00000"
    path = shard / "scores.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="checksum"):
        ScoreBank.open(tmp_path)
    manifest = shard / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        ScoreBank.open(tmp_path)
    (tmp_path / "run.json").unlink()
    with pytest.raises(ValueError, match=r"no run\.json"):
        ScoreBank.open(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Whole(), Gram()], ids=["whole", "gram"])
def test_grows_by_rollouts_prompts_and_estimators(scene, kind):
    settings = {"old_params": scene.old}
    call = (scene.policy, scene.params, scene.task)
    bank = record(*call, jax.random.key(1), 12, 8, estimators=[GRPO], scores=kind, **settings)
    more = bank.extend(*call, jax.random.key(2), rollouts=8, estimators=[GRPO], **settings)
    assert more.rollouts.shape == (12, 16, 3)
    assert np.array_equal(more.rollouts.completions[:, :8], bank.rollouts.completions)
    wider = more.extend(*call, jax.random.key(3), prompts=4, estimators=[GRPO], **settings)
    assert wider.rollouts.shape == (16, 16, 3)
    served = wider.extend(*call, jax.random.key(4), estimators=[catalogue.get("cispo"), GRPO], **settings)
    found = served.evaluate([GRPO, catalogue.get("cispo")], [2, 4])
    # The same pool recorded in one go with both estimators gives the same figures: nothing was mixed up on the way.
    whole = ScoreBank(dataclasses.replace(served.recording, **_recorded_again(scene, served, kind)))
    again = whole.evaluate([GRPO, catalogue.get("cispo")], [2, 4])
    for setting in found:
        assert found[setting].trace_cov == pytest.approx(again[setting].trace_cov, rel=1e-9)
        assert found[setting].signal == pytest.approx(again[setting].signal, rel=1e-8)


def _recorded_again(scene, bank, kind):
    rollouts, truth = bank.rollouts, bank.recording.scores.true_gradient
    rows = BasisRows.of(find_basis(rollouts, [GRPO, catalogue.get("cispo")], (), 1e-10))
    subject = PolicyOnTask(scene.policy, scene.task, scene.params)
    images = score_rows(subject, rollouts, rows, kind, jax.random.key(0))
    return {"rows": rows, "scores": assemble(rows, images, kind, scene.params.size, truth)}


def test_refuses_to_mix(scene, small):
    with pytest.raises(ValueError, match="recorded differently"):
        small.extend(scene.policy, scene.params, scene.task, jax.random.key(2), rollouts=4)
    with pytest.raises(ValueError, match="one of them at a time"):
        small.extend(scene.policy, scene.params, scene.task, jax.random.key(2), rollouts=4, prompts=1)


@pytest.mark.slow
def test_a_saved_bank_is_replaced_and_a_recording_is_not(scene, small, tmp_path):
    fresh = small.extend(
        scene.policy,
        scene.params,
        scene.task,
        jax.random.key(2),
        prompts=2,
        estimators=[GRPO],
        old_params=scene.old,
    )
    small.save(tmp_path / "bank")
    assert ScoreBank.open(fresh.save(tmp_path / "bank")).rollouts.shape[0] == 14
    folder = tmp_path / "shards"
    record(scene.policy, scene.params, scene.task, jax.random.key(1), 4, 8, folder=folder)
    with pytest.raises(ValueError, match=r"folder: .* holds a recording in shards; give another folder"):
        small.save(folder)


def test_a_gram_matrix_of_each_prompt_has_no_products_across_them(scene):
    """What was not kept is named, and what was kept is exact."""
    call = (scene.policy, scene.params, scene.task, jax.random.key(1), 12, 8)
    part = record(*call, scores=Gram(cross=False)).recording.scores
    np.testing.assert_allclose(part.set_gram(1), record(*call, scores=Gram()).recording.scores.set_gram(1))
    with pytest.raises(ValueError, match=r"prompts: 2, .* record with Gram\(cross=True\)"):
        part.set_gram(2)
    with pytest.raises(ValueError, match=r"kept no products across prompts"):
        record(*call, scores=Gram(cross=False)).evaluate([catalogue.get("rloo")], [2])


@pytest.mark.slow
def test_a_bank_says_what_it_is(bank):
    text = repr(bank)
    size, rollouts, _ = bank.rollouts.shape
    assert f"{size} prompts x {rollouts} rollouts" in text
    assert f"{bank.recording.rows.count} rows" in text
    assert "formed by vmap" in text
    assert len(text) < 500
