"""What a recording keeps, how large its pieces are, and whether it fits the memory: by hand, with no model."""

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from gradvar.gradients.sketch import Gram, PerToken, Sketch, Whole
from gradvar.measure.bank import recorder, score
from gradvar.measure.bank.data import BasisRows
from gradvar.measure.bank.recorder import RecordPlan, RecordSettings, prepare
from gradvar.measure.bank.score import assemble, choose_map, predict_memory, score_rows
from gradvar.measure.bank.scores import GramScores, PromptGramScores, SketchedScores, WholeScores
from gradvar.measure.direct_plan import PolicyOnTask

# Of two prompts with three rollouts: which of two basis vectors there are; five rows, and room for six.
THERE = np.array([[[1, 1], [0, 0], [0, 1]], [[1, 0], [1, 0], [0, 0]]])
ROWS = BasisRows.of(THERE[..., None] * np.random.default_rng(0).uniform(1.0, 2.0, (2, 3, 2, 4)))
IMAGES = np.random.default_rng(1).normal(size=(5, 7))
TRUTH = np.arange(7.0)
PLACES = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]  # of the rows, in their order


def chunks(sizes=(2, 2, 1)):
    edges = np.cumsum([0, *sizes])
    return (IMAGES[a:b] for a, b in pairwise(edges))


def laid_out(values):
    """[prompt, row, ...] with zeros where there is no row."""
    found = np.zeros((2, 3, *values.shape[1:]))
    for place, value in zip(PLACES, values, strict=True):
        found[place] = value
    return found


def test_images_are_laid_out_by_prompt():
    vectors = laid_out(IMAGES)
    whole = assemble(ROWS, chunks(), Whole(), 7, TRUTH)
    assert type(whole) is WholeScores
    np.testing.assert_array_equal(whole.vectors, vectors)
    np.testing.assert_allclose(whole.truth, laid_out(IMAGES @ TRUTH))
    assert whole.true_gradient is TRUTH
    assert assemble(ROWS, chunks(), Whole(), 7).truth is None
    sketch = assemble(ROWS, chunks((5,)), Sketch("hashed", 7), 1000, TRUTH)
    assert (type(sketch), sketch.label, sketch.truth) == (SketchedScores, Sketch("hashed", 7).label, None)
    np.testing.assert_array_equal(sketch.vectors, vectors)
    of_prompts = assemble(ROWS, chunks(), Gram(cross=False), 7, TRUTH)
    assert type(of_prompts) is PromptGramScores
    np.testing.assert_allclose(of_prompts.truth, laid_out(IMAGES @ TRUTH))
    for q, i, j in np.ndindex(2, 3, 3):
        assert of_prompts.gram[q, i, j] == pytest.approx(vectors[q, i] @ vectors[q, j])
    assert assemble(ROWS, chunks(), Gram(cross=False), 7).truth is None


@pytest.mark.parametrize("sizes", [(2, 2, 1), (5,), (1, 3, 1)])
def test_products_of_all_rows_are_taken_chunk_by_chunk(sizes):
    vectors = laid_out(IMAGES)
    cross = assemble(ROWS, chunks(sizes), Gram(cross=True), 7, TRUTH)
    assert type(cross) is GramScores
    np.testing.assert_allclose(cross.cross, np.einsum("qmk,rnk->qmrn", vectors, vectors), atol=1e-12)
    np.testing.assert_allclose(cross.truth, laid_out(IMAGES @ TRUTH))
    assert cross.true_gradient is TRUTH
    assert assemble(ROWS, chunks(sizes), Gram(cross=True), 7).truth is None


def test_what_is_kept_where_nothing_is_asked_for(monkeypatch):
    """Two prompts with three rows of 56 bytes each are 336 bytes; all products of six rows are 288 more. Whole scores
    that are small are kept whole, however many products they have."""
    for memory, most, expected in (
        (336, 336, Whole()), (624, 335, Gram()), (623, 335, Sketch()), (336, 1000, Whole()), (335, 1000, None),
    ):  # fmt: skip
        monkeypatch.setattr(score, "WHOLE", most)
        if expected is None or isinstance(expected, Sketch):  # a sketch of 6 x width numbers is larger yet
            with pytest.raises(
                ValueError, match=r"rows with scores=Sketch\(.*are allowed; give scores=Sketch"
            ):
                choose_map("auto", ROWS, 56, memory)
        else:
            assert choose_map("auto", ROWS, 56, memory) == expected
    monkeypatch.setattr(score, "WHOLE", 0)
    large = 8 * 6 * Sketch().width
    assert choose_map("auto", ROWS, large, large) == Sketch()


@pytest.mark.parametrize(
    ("scores", "need"),
    [
        (Whole(), 336),
        (Gram(cross=True), 624),
        (Gram(cross=False), 336 + 2 * 9 * 8),
        (Sketch("hashed", 4), 6 * 4 * 8),
    ],
)
def test_what_is_asked_for_fits_or_is_refused(scores, need):
    assert choose_map(scores, ROWS, 56, need) == scores
    with pytest.raises(
        ValueError, match=rf"memory: 0\.00 GB for 5 rows with scores={scores.__class__.__name__}"
    ):
        choose_map(scores, ROWS, 56, need - 1)


def test_memory_in_gigabytes():
    with pytest.raises(ValueError, match=r"memory: 6\.00 GB for 5 rows with .*, and 2\.50 GB are allowed"):
        choose_map(Whole(), ROWS, 10**9, 2.5e9)
    with pytest.raises(
        ValueError, match=r"at least 3\.00 GB for 30 rollouts with .*, and 2\.50 GB are allowed; give"
    ):
        predict_memory(Whole(), 30, 10**8, 2.5e9)


@pytest.mark.parametrize(
    ("scores", "need"),
    [
        (Whole(), 560), (Gram(cross=True), 560), (Gram(cross=False), 560), (Sketch("hashed", 6), 10 * 4 * 6),
        (PerToken(6), 10 * 4 * 6), ("auto", 10 * 4 * Sketch().width),
    ],
)  # fmt: skip
def test_what_cannot_fit_is_refused_before_anything_is_drawn(scores, need):
    predict_memory(scores, 10, 56, need)
    with pytest.raises(ValueError, match=r"memory: at least .* for 10 rollouts with scores="):
        predict_memory(scores, 10, 56, need - 1)


def test_rows_are_scored_in_equal_chunks(monkeypatch):
    asked = []
    monkeypatch.setattr(
        score, "project_scores", lambda policy, params, rows, *rest: asked.append((rows, rest)) or iter(())
    )
    rollouts = SimpleNamespace(prompts={"x": np.arange(2)}, completions=np.arange(24).reshape(2, 3, 4))
    subject = SimpleNamespace(policy=None, params=np.zeros(4))  # 32 bytes of a score
    for most, given, chunk in (
        (32 * 5, None, 5),
        (32 * 4, None, 3),
        (32 * 2, None, 2),
        (32, None, 1),
        (1, None, 1),
        (1, 4, 4),
    ):
        monkeypatch.setattr(score, "CHUNK", most)
        score_rows(subject, rollouts, ROWS, Whole(), None, given)
        assert asked[-1][1][2] == chunk
        assert asked[-1][1][4:] == (False,)
    monkeypatch.setattr(score, "factored_bytes", lambda *_: 10)  # of a row's factors; there are six rollouts
    for most, given, chunk in ((60, None, 6), (50, None, 3), (10, None, 1), (5, None, 1), (60, 4, 4)):
        monkeypatch.setattr(score, "FACTORS", most)
        score_rows(subject, rollouts, ROWS, Sketch("hashed"), None, given)
        assert asked[-1][1][2::2] == (chunk, True)
    rows = asked[0][0]
    assert rows.prompts["x"].tolist() == [0, 0, 0, 1, 1]
    at = [(q, ROWS.rollout[q, m], ROWS.basis_index[q, m]) for q, m in PLACES]
    np.testing.assert_array_equal(rows.completions, [rollouts.completions[q, n] for q, n, _ in at])
    weights = next(x for x in jax.tree.leaves(rows) if x.shape == (5, 4) and x.dtype == np.float64)
    np.testing.assert_array_equal(weights, [ROWS.basis[place] for place in at])


class Asked(Exception):
    """What a piece was asked for."""


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize(
    ("at_once", "prompts", "held", "chunk", "rows"),
    [
        (100, 6, None, {True: 8, False: 8}, {True: None, False: None}),  # all fits: 12 prompts of 8
        (24, 6, None, {True: 8, False: 5}, {True: 3, False: 4}),
        (5, 6, None, {True: 5, False: 1}, {True: 1, False: 5}),
        (48, 6, None, {True: 8, False: 8}, {True: None, False: None}),
        (47, 6, None, {True: 8, False: 8}, {True: 5, False: 5}),
        (24, 6, 2, {True: 8, False: 5}, {True: 2, False: 2}),
    ],
)  # fmt: skip
def test_as_many_rollouts_are_sampled_together_as_fit(
    monkeypatch, numbered, at_once, prompts, held, chunk, rows
):
    """Eight of each prompt: whole prompts, or a part of each where a sampler needs all of them at once."""

    def sampler(subject, key, baselines, needs, chunk, devices, sampled_rows):
        raise Asked(chunk, sampled_rows)

    monkeypatch.setattr(recorder, "RolloutSampler", sampler)
    monkeypatch.setattr(recorder, "rollouts_at_once", lambda score_bytes: at_once)
    monkeypatch.setattr(recorder, "takes_numbers", lambda subject: numbered)
    subject = PolicyOnTask(None, SimpleNamespace(), np.zeros(3))
    plan = RecordPlan((), Whole(), RecordSettings(baselines=SimpleNamespace()))
    with pytest.raises(Asked) as asked:
        prepare(subject, jax.random.key(0), np.arange(prompts), 8, plan, held)
    assert asked.value.args == (chunk[numbered], rows[numbered])


def test_rollouts_whose_activations_fit():
    """A 64th of a score's bytes each, and one more, of 2^28."""
    assert recorder.rollouts_at_once(0) == 1 << 28
    assert recorder.rollouts_at_once(64 * 3) == 1 << 26
    assert recorder.rollouts_at_once(1 << 40) == 1
    assert recorder.params_bytes({"a": np.zeros((2, 3)), "b": np.zeros(4)}) == 80


def test_settings_of_a_recording():
    rollouts = SimpleNamespace(logp=np.zeros(3))
    assert recorder.default_tolerance(rollouts) == 1e-9
    assert recorder.default_tolerance(SimpleNamespace(logp=np.zeros(3, np.float32))) == 2e-6
    first = {"a": np.array([[1, 2], [3, 4]]), "b": np.array([5, 6])}
    second = {"a": np.array([[3, 4], [3, 4]]), "b": np.array([6, 7])}
    assert recorder._same_prompt(first, 1, second, 0)
    assert not recorder._same_prompt(first, 1, second, 1)
    assert not recorder._same_prompt(first, 0, second, 0)
    defaults = RecordSettings()
    assert (defaults.memory, defaults.devices, defaults.cuts, defaults.shard) == (4e9, "all", (), None)
    assert replace(RecordPlan(), scores="auto").settings.chunk is None
