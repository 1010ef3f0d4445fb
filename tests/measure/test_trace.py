"""tr Cov of scores: equal to what whole scores give, on every way, cut off or not; and its standard error."""

import dataclasses

import jax
import numpy as np
import pytest

from gradvar.gradients import score_trace as trace
from gradvar.gradients.per_rollout import ScoreRows, project_scores
from gradvar.gradients.sketch import Whole
from gradvar.measure import score_trace
from gradvar.policies import Transformer, TransformerConfig
from tests.compilations import compilations

CONFIG = TransformerConfig(
    vocab=11, completion_length=6, layers=1, width=32, heads=4, kv_heads=2, stop=3, max_length=32, dtype="float64",
)  # fmt: skip
ROWS = 21


@pytest.fixture(scope="module")
def scene():
    policy = Transformer(CONFIG)
    params = policy.init(jax.random.key(0), 2.0)
    rng = np.random.default_rng(1)
    prompts = rng.integers(4, 11, (ROWS, 3)).astype(np.int32)
    completions = np.asarray(policy.sample(params, jax.random.key(1), prompts, 1))[:, 0]
    weights = rng.normal(size=(ROWS, 1)) * np.asarray(policy.mask(completions))
    weights *= np.arange(6) < rng.integers(1, 7, (ROWS, 1))  # nothing is made of the last tokens
    weights[2] = 0.0  # a rollout of an equal group
    return policy, params, prompts, completions, weights


@pytest.fixture(scope="module")
def whole(scene):
    return formed(*scene)


def formed(policy, params, prompts, completions, weights):
    """Whole scores."""
    rows = ScoreRows(prompts, completions, weights)
    return np.concatenate(
        list(project_scores(policy, params, rows, Whole(), jax.random.key(0), len(weights)))
    )


def spread(scores):
    return scores.var(0, ddof=1).sum()


def flat(tree):
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])


_SLOW = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "chunk"),
    [("auto", None), pytest.param("ghost", 8, marks=_SLOW), pytest.param("formed", 8, marks=_SLOW)],
)
def test_equal_to_whole_scores(scene, whole, way, chunk):
    found = score_trace(*scene, way=way, chunk=chunk)
    np.testing.assert_allclose(found.norms, (whole**2).sum(1), rtol=1e-9)
    np.testing.assert_allclose(flat(found.mean), whole.mean(0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.trace_cov, spread(whole), rtol=1e-9)
    without = [spread(np.delete(whole, i, 0)) for i in range(ROWS)]
    np.testing.assert_allclose(found.se, np.sqrt((ROWS - 1) ** 2 / ROWS * np.var(without, ddof=1)), rtol=1e-9)
    assert found.norms[2] == 0


@pytest.mark.slow
def test_the_default_is_the_score_up_to_the_stop(scene):
    policy, params, prompts, completions, _ = scene
    found = score_trace(policy, params, prompts, completions, error=False)
    scores = formed(policy, params, prompts, completions, np.asarray(policy.mask(completions), float))
    np.testing.assert_allclose(found.trace_cov, spread(scores), rtol=1e-9)
    assert np.isnan(found.se)
    assert str(found).startswith(f"tr Cov {found.trace_cov:.4g}")


class Late(Transformer):
    """The planted violator: it calls itself causal, and its log-probabilities know how many tokens come."""

    def logprobs(self, params, prompts, completions):
        return super().logprobs(params, prompts, completions) * completions.shape[-1]


@_SLOW
def test_only_the_causal_are_cut_off(scene):
    _, params, prompts, completions, weights = scene
    order, parts = trace._parts(np.array([3, 12, 1, 1, 9]), 2, 12)
    assert (list(order), parts) == ([1, 4, 0, 2, 3], [(12, 0, 1), (3, 1, 3)])
    lengths = CONFIG.completion_length - np.argmax(weights[:, ::-1] != 0, 1)
    assert lengths.min() < 4
    late = Late(CONFIG)
    right = formed(late, params, prompts, completions, weights)
    wrong = score_trace(late, params, prompts, completions, weights, chunk=8)
    assert abs(wrong.trace_cov / spread(right) - 1) > 1e-3

    class Known(Late):
        causal = False

    found = score_trace(Known(CONFIG), params, prompts, completions, weights, chunk=8)
    np.testing.assert_allclose(found.trace_cov, spread(right), rtol=1e-9)


@_SLOW
def test_the_standard_error_covers():
    """Bandit-like scores with a known trace: intervals of two standard errors hold it about as often as they say."""
    policy = Transformer(dataclasses.replace(CONFIG, completion_length=1, layers=1, stop=None))
    params = policy.init(jax.random.key(3), 2.0)
    prompts = np.full((400, 2), 5, np.int32)
    every = np.arange(CONFIG.vocab, dtype=np.int32)
    logp = np.asarray(policy.logprobs(params, prompts[:1], every[None, :, None]))[0, :, 0]
    scores = formed(policy, params, prompts[: len(every)], every[:, None], np.ones((len(every), 1)))
    p = np.exp(logp)
    truth = float(p @ (scores**2).sum(1) - ((p @ scores) ** 2).sum())
    rng, distances = np.random.default_rng(5), []
    for _ in range(60):
        drawn = rng.choice(CONFIG.vocab, size=(60, 1), p=p / p.sum()).astype(np.int32)
        found = score_trace(policy, params, prompts[:60], drawn)
        distances.append(abs(found.trace_cov - truth) / found.se)
    inside = np.array(distances)
    assert (inside < 2).sum() >= 51  # 57 expected; below 51 with probability 0.004
    assert (inside < 1).sum() < 51  # the planted violator: half the standard error


@_SLOW
def test_nothing_is_compiled_twice(scene):
    policy, params, prompts, completions, weights = scene
    score_trace(policy, params, prompts, completions, weights, chunk=8)
    with compilations() as names:
        score_trace(dataclasses.replace(policy), params, prompts, completions, weights, chunk=8)
        assert "_norms" not in names
        score_trace(policy, params, prompts, completions, weights, chunk=7)
        assert "_norms" in names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"completions": np.zeros((2, 5), int)},
            r"completions: shape \(2, 5\); give \[row, time\] with 3 rows",
        ),
        ({"completions": np.zeros((ROWS, 6))}, "completions: float64, 0.0 the least; give integer tokens"),
        (
            {"weights": np.zeros((ROWS, 4))},
            r"weights: shape \(21, 4\) for completions \(21, 6\); give one per token",
        ),
        ({"weights": np.full((ROWS, 6), np.nan)}, "weights: row 0 holds nan; give finite numbers"),
        ({"prompts": np.zeros((4, 3), int)}, r"prompts: shape \(4, 3\) for 21 rows; give one prompt per row"),
        ({"completions": np.full((ROWS, 6), 11)}, "completions: "),
        ({"prompts": np.full((ROWS, 3), 11)}, "prompts: "),
        ({"chunk": 0}, "chunk: 0; give 1 or more"),
    ],
)
def test_bad_inputs(scene, change, message):
    names = ("policy", "params", "prompts", "completions", "weights")
    with pytest.raises(ValueError, match=message):
        score_trace(**(dict(zip(names, scene, strict=True)) | change))
