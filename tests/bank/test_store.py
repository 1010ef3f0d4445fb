"""Saving, opening in part, noticing damage, and growing a bank."""

from __future__ import annotations

import dataclasses
import json

import jax
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.measure.bank.bank import ScoreBank
from gradvar.measure.bank.extend import grow
from gradvar.measure.bank.record import record


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


def test_comes_back_as_it_was(small, tmp_path):
    again = ScoreBank.open(small.save(tmp_path / "bank"))
    assert same(small.evaluate([GRPO], [2]), again.evaluate([GRPO], [2]))
    assert again.info["seed"] == small.info["seed"]
    assert again.drawn == small.drawn
    assert {p.suffix for p in (tmp_path / "bank").iterdir()} == {".json", ".safetensors"}


def test_opens_in_part(small, tmp_path):
    small.save(tmp_path)
    part = ScoreBank.open(tmp_path, prompts=slice(2, 10))
    assert part.pool.shape[0] == 8
    assert np.array_equal(part.pool.completions, small.pool.completions[2:10])
    assert np.isfinite(part.evaluate([GRPO], [2])["grpo", 2].trace_cov)


def test_damage_is_noticed(small, tmp_path):
    small.save(tmp_path)
    path = tmp_path / "scores.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="checksum"):
        ScoreBank.open(tmp_path)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        ScoreBank.open(tmp_path)
    manifest.unlink()
    with pytest.raises(ValueError, match=r"no manifest\.json"):
        ScoreBank.open(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["identity", "gram"])
def test_grows_by_rollouts_prompts_and_estimators(scene, kind):
    settings = {"old_params": scene.old}
    call = (scene.policy, scene.params, scene.task)
    bank = record(*call, jax.random.key(1), 12, 8, estimators=[GRPO], map=kind, **settings)
    more = grow(bank, *call, jax.random.key(2), rollouts=8, estimators=[GRPO], **settings)
    assert more.pool.shape == (12, 16, 3)
    assert np.array_equal(more.pool.completions[:, :8], bank.pool.completions)
    wider = grow(more, *call, jax.random.key(3), prompts=4, estimators=[GRPO], **settings)
    assert wider.pool.shape == (16, 16, 3)
    served = grow(wider, *call, jax.random.key(4), estimators=[catalogue.get("cispo"), GRPO], **settings)
    found = served.evaluate([GRPO, catalogue.get("cispo")], [2, 4])
    # The same pool recorded in one go with both estimators gives the same figures: nothing was mixed up on the way.
    whole = dataclasses.replace(served, **_recorded_again(scene, served, kind))
    again = whole.evaluate([GRPO, catalogue.get("cispo")], [2, 4])
    for setting in found:
        assert found[setting].trace_cov == pytest.approx(again[setting].trace_cov, rel=1e-9)
        assert found[setting].signal == pytest.approx(again[setting].signal, rel=1e-8)


def _recorded_again(scene, bank, kind):
    from gradvar.measure.bank.bank import Rows
    from gradvar.measure.bank.record import find_basis, score_rows, with_truth

    rows = Rows.of(find_basis(bank.pool, [GRPO, catalogue.get("cispo")], (), 1e-10))
    truth = bank.scores.true_gradient
    scores = score_rows(scene.policy, scene.params, bank.pool, rows, kind, 0, 0, True, 1e9, None, truth)
    return {"rows": rows, "scores": with_truth(scores, truth, kind)}


def test_refuses_to_mix(scene, small):
    with pytest.raises(ValueError, match="recorded differently"):
        grow(small, scene.policy, scene.params, scene.task, jax.random.key(2), rollouts=4)
    with pytest.raises(ValueError, match="one of them at a time"):
        grow(small, scene.policy, scene.params, scene.task, jax.random.key(2), rollouts=4, prompts=1)


def test_a_bank_says_what_it_is(bank):
    text = repr(bank)
    size, rollouts, _ = bank.pool.shape
    assert f"{size} prompts x {rollouts} rollouts" in text
    assert f"{bank.rows.count} rows" in text
    assert "formed by vmap" in text
    assert len(text) < 500
