"""From settings to partitions and from block sums to moments, with no program compiled."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from gradvar.measure.bank import evaluate as module
from gradvar.measure.bank.bank import ScoreBank
from gradvar.measure.bank.evaluate import _couples, _measure, _Results, evaluate
from gradvar.stats.figures import FIGURES, BlockSums, effective_blocks, figures, leave_one_out, pivots
from tests.measure.bank.test_parts_of_banks import recording, rollouts

BLOCKS, PARAMS = 9, 4


def sums_of_blocks():
    """Of two estimators, with prompts that were drawn and a known gradient."""
    rng = np.random.default_rng(0)
    sums, truth = rng.normal(1.0, 0.5, (2, BLOCKS, PARAMS)), np.array([1.0, 0.5, 1.0, 2.0])
    squares = (sums**2).sum(-1)
    return BlockSums(
        count=np.full(BLOCKS, 2.0), gram=sums @ sums.swapaxes(1, 2), squares=squares, pairs=0.2 * squares,
        aligned=sums @ truth, truth=np.full(2, truth @ truth), truth_known=True,
    )  # fmt: skip


@pytest.mark.parametrize(("prompts", "measured", "factor"), [(6, 2, 3.0), (6, 1, 6.0), (2, 2, 1.0)])
def test_figures_of_batches_of_more_prompts_than_were_measured(monkeypatch, prompts, measured, factor):
    """A batch is then a mean of independent ones: variances are divided, the signal-to-noise ratio is multiplied."""
    sums, means = sums_of_blocks(), np.arange(8.0).reshape(2, PARAMS)
    monkeypatch.setattr(module, "row_coefficients", lambda *_: (None, np.array([1e-9, 2e-9])))
    monkeypatch.setattr(module, "block_sums", lambda *_: sums)
    monkeypatch.setattr(module, "sketch_errors", lambda *_: np.array([0.1, 0.2]))
    monkeypatch.setattr(module, "mean_gradients", lambda *_: (means, means + 10))
    held = SimpleNamespace(scores=SimpleNamespace(true_gradient=np.ones(PARAMS)))
    partition = SimpleNamespace(group_size=4, prompts=measured, replicates=80)
    named = {"label": SimpleNamespace(name="a"), "": SimpleNamespace(name="b")}
    results = _Results()
    _measure(held, named, partition, prompts, results)
    values, errors = figures(sums)
    parts, effective = leave_one_out(sums), effective_blocks(sums)
    shapes = pivots(values, parts, effective)
    scale = dict.fromkeys(FIGURES, 1.0) | dict.fromkeys(("trace_cov", "between", "within"), 1 / factor)
    scale["snr"] = factor
    for index, (label, name) in enumerate((("label", "label"), ("", "b"))):
        found = results.moments[label, 4]
        assert (found.estimator, found.group_size, found.prompts) == (name, 4, prompts)
        assert (found.dof, found.replicates) == (BLOCKS - 1, 80)
        np.testing.assert_array_equal([found.mean, found.mean_se], [means[index], means[index] + 10])
        assert results.residual[label, 4] == (1 + index) * 1e-9
        assert results.sketch_error[label, 4] == pytest.approx((1 + index) / 10)
        for figure, by in scale.items():
            assert getattr(found, figure) == pytest.approx(by * values[figure][index]), figure
            assert found.se[figure] == pytest.approx(by * errors[figure][index])
            assert found.effective[figure] == pytest.approx(effective[figure][index])
            np.testing.assert_allclose(results.parts[label, 4][figure], by * parts[figure][index])
            assert found.pivots[figure] == pytest.approx(shapes[figure][index].scaled(by).numbers())


def test_prompts_are_coupled_or_not_on_pairs_of_them(monkeypatch):
    """Eight pairs of different prompts, with as many different rollouts of each as a group has."""
    numbers = 100.0 * np.arange(5)[:, None] + np.arange(7)
    logs = np.broadcast_to(numbers[..., None], (5, 7, 2))
    arrays = {"rewards": numbers, "baseline": np.arange(5.0), "logp": logs}
    pool = SimpleNamespace(shape=logs.shape, objective_arrays=lambda: arrays)
    asked = []
    monkeypatch.setattr(
        module, "is_separable", lambda estimators, x: asked.append(x) or np.array([True, False])
    )
    assert _couples((None, None), pool, 3).tolist() == [False, True]
    (fields,) = asked
    rewards = fields["rewards"]
    assert rewards.shape == (8, 2, 3)
    for pair, baseline in zip(rewards.astype(int), fields["baseline"], strict=True):
        first, second = (set((x // 100).tolist()) for x in pair)
        assert (len(first), len(second), first != second) == (1, 1, True)
        assert [first, second] == [{int(x)} for x in baseline]
        assert [len(set(x.tolist())) for x in pair] == [3, 3]
    np.testing.assert_array_equal(fields["logp"], np.repeat(rewards[..., None], 2, -1))
    assert len({tuple(x) for x in fields["baseline"].tolist()}) > 1
    assert _couples((None, None), rollouts(0, 1, 7, 2), 3).tolist() == [False, False]


def planned(monkeypatch, sizes, pool, couples=(False, True), drawn=True, **settings):
    """(prompts, slices, replicates, batch, labels) of everything that is measured, by group size."""
    calls = {}

    def measure(recording, named, partition, prompts, results):
        shape = (partition.prompts, partition.slices, partition.replicates, prompts)
        calls.setdefault(partition.group_size, []).append((*shape, *named))
        for store in (results.moments, results.parts):
            store.update({(name, partition.group_size): shape for name in named})

    monkeypatch.setattr(module, "_measure", measure)
    monkeypatch.setattr(module, "_couples", lambda *_: np.array(couples))
    held = SimpleNamespace(rollouts=pool, drawn=drawn)
    answer = evaluate(held, {"a": lambda *_: 0.0, "b": lambda *_: 0.0}, sizes, **settings)
    return calls, answer


def test_what_is_dealt_for_which_question(monkeypatch):
    """Batches of one prompt where that is enough; slices of the rollouts where all prompts are known."""
    pool = rollouts(0, 16, 12)
    calls, answer = planned(monkeypatch, [2, 3], pool, prompts=2, replicates=200)
    # 16 prompts of six groups make 96 batches a deal, eight pairs of them 48
    assert calls == {
        2: [(1, 1, 288, 2, "a"), (2, 1, 240, 2, "b")],
        3: [(1, 1, 256, 2, "a"), (2, 1, 224, 2, "b")],
    }
    assert (answer.independent, answer.prompts, list(answer)) == (
        "prompts", 16, [("a", 2), ("a", 3), ("b", 2), ("b", 3)]
    )  # fmt: skip
    one, _ = planned(monkeypatch, [2], pool, couples=(True, True), replicates=1)
    assert one == {2: [(1, 1, 96, 1, "a", "b")]}  # nothing is coupled in a batch of one
    for drawn, settings, slices in (
        (False, {}, 6), (True, {"independent": "rollouts"}, 6), (True, {"prompts": 3}, 6),
        (False, {"slices": 4}, 4), (False, {"slices": 3}, 3),
    ):  # fmt: skip
        calls, answer = planned(monkeypatch, [2], pool, drawn=drawn, replicates=1, **settings)
        assert answer.independent == "rollouts"
        ((prompts, found, _, batch, *_),) = calls[2]
        assert (prompts, found, batch) == (16, slices, 16)
    calls, _ = planned(monkeypatch, [2], rollouts(0, 2, 70), drawn=False)
    assert calls[2][0][1] == 32


def test_too_few_slices_for_errors_are_said(monkeypatch):
    line = (
        r"^group_sizes: 6 with 12 rollouts of each prompt and slices=None leaves fewer than 3 independent slices, "
        r"so there are no standard errors; record 18 rollouts, or take smaller groups$"
    )
    with pytest.warns(UserWarning, match=line):
        calls, _ = planned(monkeypatch, [2, 5, 6], rollouts(0, 4, 12), drawn=False)
    assert {size: x[0][1] for size, x in calls.items()} == {2: 6, 5: 2, 6: 2}
    with pytest.warns(UserWarning, match="and slices=2 leaves fewer"):
        planned(monkeypatch, [2], rollouts(0, 4, 12), drawn=False, slices=2)


def test_what_is_asked_of_a_bank_has_a_name_and_what_it_needs():
    held = SimpleNamespace(rollouts=rollouts(0, baseline=None), drawn=True)

    def objective(logp, batch):
        return 0.0

    for given, line in (
        ([], "estimators: none given; give at least one"),
        ({}, "estimators: none given; give at least one"),
        ([objective, objective], "estimators: two have the same name"),
    ):
        with pytest.raises(ValueError, match=line):
            evaluate(held, given, [2])
    needy = replace(module.as_estimator(objective), needs=("baseline", "logp_sampler", "values"))
    with pytest.raises(ValueError, match=r"objective needs baseline, values, which the bank did not record"):
        evaluate(held, [needy], [2])


def test_a_bank_in_words():
    made = recording(0, info={"params": 7, "way": "vmap", "map": "identity"})
    text = (
        "ScoreBank: 2 prompts x 3 rollouts of up to 4 tokens, off policy; 5 rows (at most 2 a rollout) of 7 "
        "parameters, kept as identity in 0.0 MB; formed by vmap; took 1.0 s sample + 10.0 s scores"
    )
    assert repr(ScoreBank(made)) == text
    vectors = np.zeros((2, 3, 200_000))
    large = replace(made, scores=replace(made.scores, vectors=vectors), info={})
    assert repr(ScoreBank(large)).endswith(" of ? parameters, kept as ? in 9.6 MB; formed by ?; took unknown")
