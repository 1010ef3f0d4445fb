"""Recordings put together: rollouts, rows of the basis, shards and prompts, and what cannot be joined."""

import importlib
import pkgutil
from dataclasses import is_dataclass, replace

import equinox as eqx
import numpy as np
import pytest

from gradvar import measure, stats
from gradvar.files.fingerprint import fingerprint
from gradvar.measure.bank.data import BasisRows, Recording, Rollouts
from gradvar.measure.bank.disk import ShardLayout, join, load, prompt_range
from gradvar.measure.bank.extend import _extended_basis, _merged_vectors
from gradvar.measure.bank.scores import GramScores, PromptGramScores, SketchedScores, WholeScores
from gradvar.measure.bank.summary import sequence_rows


def rollouts(seed, size=2, count=3, time=4, **fields):
    rng = np.random.default_rng(seed)
    logs = {name: rng.normal(size=(size, count, time)) for name in ("logp", "logp_old", "logp_ref")}
    made = {
        "prompts": {"x": rng.integers(0, 9, (size, 2))},
        "completions": rng.integers(0, 5, (size, count, time)),
        "rewards": rng.normal(size=(size, count)),
        "mask": rng.random((size, count, time)) < 0.7,
        "baseline": rng.normal(size=size),
    }
    return Rollouts(**made | logs | fields)


def test_rollouts_are_joined_along_either_axis():
    first, second = rollouts(0), rollouts(1)
    prompts = first.join(second, 0)
    assert prompts.shape == (4, 3, 4)
    np.testing.assert_array_equal(prompts.prompts["x"][2:], second.prompts["x"])
    np.testing.assert_array_equal(prompts.baseline, [*first.baseline, *second.baseline])
    np.testing.assert_array_equal(prompts.rewards[2:], second.rewards)
    same = replace(second, prompts={"x": first.prompts["x"].copy()})
    longer = first.join(same, 1)
    assert longer.shape == (2, 6, 4)
    np.testing.assert_array_equal(longer.prompts["x"], first.prompts["x"])
    np.testing.assert_array_equal(longer.baseline, first.baseline)
    np.testing.assert_array_equal(longer.logp, np.concatenate([first.logp, second.logp], 1))
    np.testing.assert_array_equal(longer.lengths, longer.mask.sum(2))
    with pytest.raises(ValueError, match="prompts: rollouts can only be added to the same prompts"):
        first.join(second, 1)
    for one, other in ((first, replace(same, baseline=None)), (replace(first, baseline=None), same)):
        for axis in (0, 1):
            with pytest.raises(ValueError, match=r"rollouts: arrays \['baseline'\] are in one set only"):
                one.join(other, axis)


def test_on_policy_is_seen_where_tokens_are():
    made = rollouts(2)
    assert not made.on_policy
    elsewhere = np.where(made.mask, made.logp, 9.0)
    assert replace(made, logp_old=elsewhere).on_policy
    assert not replace(made, logp_old=elsewhere, logp_sampler=elsewhere).on_policy
    arrays = replace(made, logp_sampler=np.full((2, 3, 4), np.nan)).objective_arrays()
    assert {"prompts", "completions", "values"} & arrays.keys() == set()
    for name in ("logp", "logp_old", "logp_ref"):
        np.testing.assert_array_equal(arrays[name], np.where(made.mask, getattr(made, name), 0.0))
    assert np.isnan(np.asarray(arrays["logp_sampler"])[made.mask]).all()
    assert not np.asarray(arrays["logp_sampler"])[~made.mask].any()


# Of two prompts with three rollouts: which of two basis vectors there are.
THERE = np.array([[[1, 1], [0, 0], [0, 1]], [[1, 0], [1, 0], [0, 0]]])
BASIS = THERE[..., None] * np.random.default_rng(3).uniform(1.0, 2.0, (2, 3, 2, 4))


def test_every_vector_of_a_basis_is_a_row():
    rows = BasisRows.of(BASIS)
    assert rows.shape == (2, 3)
    assert rows.rollout.tolist() == [[0, 0, 2], [0, 1, 0]]
    assert rows.basis_index.tolist() == [[0, 1, 1], [0, 0, 0]]
    assert rows.is_used.tolist() == [[True] * 3, [True, True, False]]
    assert rows.count == 5
    assert [x.tolist() for x in rows.places()] == [[0, 0, 0, 1, 1], [0, 1, 2, 0, 1]]
    none = BasisRows.of(np.zeros((2, 3, 0, 4)))
    assert (none.shape, none.count) == ((2, 1), 0)


def recording(seed, scores=None, basis=BASIS, info=None, **fields):
    rows = BasisRows.of(basis)
    scores = scores or WholeScores(vectors=np.random.default_rng(seed).normal(size=(*rows.shape, 5)))
    told = {"seconds": {"sample": 1.0 + seed, "scores": 10.0}, "map": "identity", "cuts": (), "kept": seed}
    return Recording(rollouts(seed, **fields), rows, scores, True, 1e-6, told | (info or {}))


def test_a_sequence_score_is_a_combination_of_rows():
    made = recording(4)
    found = sequence_rows(made)
    for q, n in np.ndindex(2, 3):
        expected = [
            made.rollouts.mask[q, n] @ BASIS[q, n, b] if used and rollout == n else 0.0
            for rollout, b, used in zip(
                made.rows.rollout[q], made.rows.basis_index[q], made.rows.is_used[q], strict=True
            )
        ]
        np.testing.assert_allclose(found[q, n], expected)


def test_shards_of_different_numbers_of_rows_and_vectors_are_joined():
    """The second shard's basis has one vector and two rows at most: its arrays are filled up with zeros."""
    small = BASIS[:1, :, :1].copy()
    first, second = recording(0), recording(1, basis=small, size=1)
    joined = join([first, second])
    assert joined.rows.basis.shape == (3, 3, 2, 4)
    np.testing.assert_array_equal(joined.rows.basis[2, :, :1], small[0])
    assert not joined.rows.basis[2, :, 1].any()
    vectors = joined.scores.vectors
    assert (type(joined.scores), vectors.shape) == (WholeScores, (3, 3, 5))
    np.testing.assert_array_equal(vectors[:2], first.scores.vectors)
    np.testing.assert_array_equal(vectors[2, :1], second.scores.vectors[0])
    assert not vectors[2, 1:].any()
    assert joined.rollouts.shape == (3, 3, 4)
    assert joined.info["seconds"] == {"sample": 3.0, "scores": 20.0}
    assert [joined.info[name] for name in ("rows", "basis", "kept")] == [6, 2, 0]
    assert (joined.drawn, joined.tolerance) == (True, 1e-6)
    assert join([second]) is second
    label = {"map": "sketch"}
    sketched = [
        recording(s, SketchedScores(vectors=first.scores.vectors, label="sketch"), info=label) for s in (0, 1)
    ]
    assert join(sketched).scores.label == "sketch"


def test_gram_matrices_of_prompts_are_joined_and_the_true_gradient_is_one():
    truth = np.arange(5.0)

    def shard(seed, rows, size):
        basis = BASIS if rows == 3 else BASIS[:1, :, :1]
        gram = np.random.default_rng(seed).normal(size=(size, rows, rows))
        scores = PromptGramScores(gram=gram, truth=gram[..., 0], true_gradient=truth)
        return recording(seed, scores, basis, size=size)

    joined = join([shard(0, 3, 2), shard(1, 1, 1)]).scores
    assert joined.gram.shape == (3, 3, 3)
    assert joined.gram[2, 0, 0] == shard(1, 1, 1).scores.gram[0, 0, 0]
    assert np.abs(joined.gram[2]).sum() == abs(joined.gram[2, 0, 0])
    assert joined.truth.shape == (3, 3)
    assert joined.true_gradient is truth


def test_shards_that_do_not_fit():
    one = recording(0)
    cross = recording(0, GramScores(cross=np.zeros((2, 3, 2, 3))))
    others = [
        replace(one, rollouts=replace(one.rollouts, baseline=None)),
        replace(one, scores=WholeScores(vectors=one.scores.vectors, truth=np.zeros((2, 3)))),
    ]
    for other in others:
        for pair in ([one, other], [other, one]):
            with pytest.raises(ValueError, match="its shards do not hold the same arrays"):
                join(pair)
    with pytest.raises(ValueError, match="its shards hold no products across them"):
        join([cross, cross])


def test_ranges_of_prompts():
    for asked, size, expected in (
        (None, 3, slice(0, 3)), (slice(1, None), 3, slice(1, 3)), (slice(-1, None), 3, slice(2, 3)),
        (slice(0, 1), 1, slice(0, 1)),
    ):  # fmt: skip
        found = prompt_range(asked, size)
        assert (found.start, found.stop) == (expected.start, expected.stop)
    for wrong in (slice(2, 2), slice(0, 3, 2), slice(3, 1), slice(5, 9), slice(None, None, -1)):
        with pytest.raises(ValueError, match=r"prompts: slice\(.*\) of 3; give a range"):
            prompt_range(wrong, 3)


def test_how_prompts_lie_in_shards(tmp_path):
    for prompts, shard, count, last in ((7, 3, 3, (6, 7)), (6, 3, 2, (3, 6)), (2, 3, 1, (0, 2))):
        layout = ShardLayout(tmp_path, prompts, shard, "run")
        assert (layout.count, layout.range(count - 1), layout.range(0)) == (
            count,
            last,
            (0, min(shard, prompts)),
        )
    assert layout.path(12) == tmp_path / "shard-00012"
    layout = ShardLayout(tmp_path, 9, 3, "run")
    for number in (0, 2, 5):
        layout.path(number).mkdir()
    assert layout.written() == [0, 2]
    layout.remove(0)
    layout.remove(1)
    assert layout.written() == [2]


def test_a_shard_in_anothers_place_is_noticed(tmp_path):
    layout, other = ShardLayout(tmp_path, 4, 2, "run"), ShardLayout(tmp_path, 4, 2, "another", is_saved=True)
    layout.write(1, recording(0))
    np.testing.assert_array_equal(layout.read(1).rollouts.rewards, recording(0).rollouts.rewards)
    layout.path(1).rename(layout.path(0))
    for one, number, fix in ((layout, 0, "record it again"), (other, 0, "copy the whole folder again")):
        with pytest.raises(ValueError, match=f"shard-00000 holds a shard of another place or run; {fix}"):
            one.read(number)


def test_some_prompts_of_several_shards(tmp_path):
    """Six prompts in three shards; a range within one of them, across two, and across all."""
    for number in range(3):
        layout = ShardLayout(tmp_path, 6, 2, fingerprint({"prompts": 6, "shard": 2}))
        layout.write(number, recording(number))
    (tmp_path / "run.json").write_text('{"prompts": 6, "shard": 2}')
    rewards = np.concatenate([recording(number).rollouts.rewards for number in range(3)])
    for first, end in ((0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6), (0, 6), (5, 6)):
        found = load(tmp_path, slice(first, end))
        np.testing.assert_array_equal(found.rollouts.rewards, rewards[first:end])
        assert found.info["shards"] == {"there": 3, "of": 3}


def test_old_vectors_are_put_among_the_new_ones():
    """Two rollouts of three and one vector of two were scored; the rest is new."""
    old_basis = BASIS[:, :2, :1]
    old, rows = BasisRows.of(old_basis), BasisRows.of(BASIS)
    scores = WholeScores(vectors=np.random.default_rng(5).normal(size=(*old.shape, 5)))
    is_new = rows.is_used & ((rows.rollout == 2) | (rows.basis_index == 1))
    new = np.random.default_rng(6).normal(size=(*rows.shape, 5))
    found = _merged_vectors(old, scores, rows, is_new, new)
    for q, m in np.ndindex(rows.shape):
        place = [
            k
            for k in range(old.shape[1])
            if old.is_used[q, k]
            and (old.rollout[q, k], old.basis_index[q, k]) == (rows.rollout[q, m], rows.basis_index[q, m])
        ]
        expected = scores.vectors[q, place[0]] if rows.is_used[q, m] and not is_new[q, m] else new[q, m]
        np.testing.assert_array_equal(found[q, m], expected)


def test_a_basis_is_kept_and_what_it_lacks_is_added(monkeypatch):
    """The old one at its prompts and rollouts; a quarter of the tolerance is left to what is added."""
    asked = []

    def find_basis(*arguments):
        asked.append(arguments)
        return np.full((3, 4, 1, 4), 7.0)

    monkeypatch.setattr("gradvar.measure.bank.extend.find_basis", find_basis)
    made, larger = recording(0, info={"cuts": (0.8,)}), rollouts(1, size=3, count=4)
    found = _extended_basis(made, larger, ["some"])
    assert found.shape == (3, 4, 3, 4)
    np.testing.assert_array_equal(found[:2, :3, :2], BASIS)
    assert not found[2, :, :2].any()
    assert not found[:, 3, :2].any()
    assert (found[:, :, 2] == 7.0).all()
    (given, estimators, cuts, tolerance, known) = asked[0]
    assert (given is larger, estimators, cuts, tolerance) == (True, ["some"], (0.8,), 2.5e-7)
    np.testing.assert_array_equal(known, found[:, :, :2])


def test_what_was_measured_cannot_be_changed():
    """All public dataclasses of measurements and statistics are frozen."""
    modules = [
        importlib.import_module(found.name)
        for package in (measure, stats)
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    made = [
        x for m in modules for x in vars(m).values() if isinstance(x, type) and x.__module__ == m.__name__
    ]
    made = [x for x in made if is_dataclass(x) and not issubclass(x, eqx.Module) and x.__name__[0] != "_"]
    assert len(made) > 40
    assert [x.__name__ for x in made if not x.__dataclass_params__.frozen] == []
