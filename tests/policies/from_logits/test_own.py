"""Models of one's own: against a NumPy double, an enumeration and the house's transformer; and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.core.protocols import FinitePolicy, Policy
from gradvar.gradients.score_trace import score_trace
from gradvar.measure.bank.record import record
from gradvar.measure.exact.enumerate import exact
from gradvar.policies import Bandit, FiniteLogitsPolicy, LogitsPolicy, Transformer
from gradvar.policies.sampler import stop_mask
from gradvar.tasks import Bandit as Rewards
from gradvar.tasks import Sorting

from . import models
from .models import PAD, STOP, VOCAB

SETTINGS = {"vocab": VOCAB, "completion_length": 3, "stop": STOP, "pad": PAD, "max_length": 16}
PROMPTS = jnp.array([[PAD, PAD, 0, 2], [1, 2, 0, 1], [PAD, 0, STOP, 1]])


class Tokens:
    """One-token prompts, a reward by the first token drawn."""

    def __init__(self, rewards):
        self.rewards = jnp.asarray(rewards)

    def all_prompts(self):
        return jnp.arange(len(self.rewards))[:, None]

    def prompts(self, key, num):
        return jax.random.randint(key, (num, 1), 0, len(self.rewards))

    def reward(self, prompts, completions):
        return self.rewards[prompts, completions[..., 0]]


@pytest.fixture(scope="module")
def policy():
    return FiniteLogitsPolicy(models.plain, models.plain_params(), **SETTINGS)


def everything(policy, prompts):
    support = policy.support()
    return jnp.broadcast_to(support, (len(prompts), *support.shape))


def test_log_probabilities_are_those_of_the_numpy_model(policy):
    assert isinstance(policy, FinitePolicy)
    assert policy.causal
    params, completions = models.plain_params(), everything(policy, PROMPTS)
    logp = np.asarray(policy.logprobs(params, PROMPTS, completions))
    np.testing.assert_allclose(np.exp(logp.sum(-1)).sum(-1), 1.0, rtol=1e-12)
    for q, prompt in enumerate(PROMPTS.tolist()):
        bare = [t for i, t in enumerate(prompt) if any(s != PAD for s in prompt[: i + 1])]
        expected = [models.plain_numpy(params, bare, row) for row in completions[q].tolist()]
        np.testing.assert_allclose(logp[q], expected, rtol=0, atol=1e-12)
        shifted = [models.plain_numpy(params, [0, *bare], row) for row in completions[q].tolist()]
        assert np.abs(logp[q] - shifted).max() > 1e-3  # the planted violator: padding taken for a token


@pytest.mark.slow
def test_the_sampler_has_the_log_probabilities_of_the_full_pass(policy):
    params, key = models.plain_params(), jax.random.key(0)
    completions, logp = policy.sample_with_logprobs(params, key, PROMPTS, 20)
    np.testing.assert_allclose(logp, policy.logprobs(params, PROMPTS, completions), rtol=0, atol=1e-13)
    stopped = ~np.asarray(stop_mask(completions, STOP))
    assert stopped.any()
    np.testing.assert_array_equal(np.asarray(completions)[stopped], STOP)
    np.testing.assert_array_equal(np.asarray(logp)[stopped], 0.0)
    part = policy.sample(params, key, PROMPTS[1:], 20, first_prompt=1, first_rollout=0)
    np.testing.assert_array_equal(part, completions[1:])
    greedy = policy.greedy(params, PROMPTS)
    best = policy.logprobs(params, PROMPTS, everything(policy, PROMPTS))[..., 0].max(1)
    np.testing.assert_allclose(policy.logprobs(params, PROMPTS, greedy)[:, 0, 0], best, atol=1e-13)


@pytest.mark.slow
def test_rows_taken_in_turn_are_rows_taken_together(policy, monkeypatch):
    params, key = models.plain_params(1), jax.random.key(0)
    tokens, logp = policy.sample_with_logprobs(params, key, PROMPTS, 5)
    monkeypatch.setattr("gradvar.policies.from_logits.policy._HELD", 1)
    other = LogitsPolicy(lambda *given: models.plain(*given), params, **SETTINGS)
    found, turned = other.sample_with_logprobs(params, key, PROMPTS, 5)
    np.testing.assert_array_equal(found, tokens)
    np.testing.assert_allclose(turned, logp, atol=1e-13)
    np.testing.assert_allclose(other.logprobs(params, PROMPTS, found), logp, atol=1e-13)


@pytest.mark.slow
def test_samples_have_the_stated_probabilities(policy):
    params, support = models.plain_params(), np.asarray(policy.support())
    drawn = np.asarray(policy.sample(params, jax.random.key(3), PROMPTS, 20_000))
    code = VOCAB ** np.arange(3)

    def largest_z(values):
        prob = np.exp(np.asarray(policy.logprobs(values, PROMPTS, everything(policy, PROMPTS))).sum(-1))
        share = np.stack([[np.mean(row @ code == number) for number in support @ code] for row in drawn])
        return np.abs((share - prob) / np.sqrt(prob * (1 - prob) / 20_000))[prob > 5 / 20_000].max()

    assert largest_z(params) < 4.5  # 120 frequencies: by chance once in 1,200 runs, and the seed is fixed
    assert largest_z(models.plain_params() | {"head": 1.1 * params["head"]}) > 4.5  # the planted violator


@pytest.mark.slow
def test_enumeration_of_a_table_is_that_of_the_bandit():
    rewards = np.array([[1.0, 0.0, 0.3], [0.0, 0.0, 1.0]])
    params = jax.random.normal(jax.random.key(0), (2, 3))

    def table(params, tokens):
        return params[jnp.minimum(tokens, 1)]

    own = FiniteLogitsPolicy(table, params, vocab=3, completion_length=1)
    grpo = catalogue.get("grpo")
    mine = exact(grpo, own, params, Tokens(rewards), group_size=2)
    house = exact(grpo, Bandit(3, num_prompts=2), params, Rewards(rewards), group_size=2)
    for figure in ("trace_cov", "between", "signal", "bias_factor"):
        np.testing.assert_allclose(getattr(mine, figure), getattr(house, figure), rtol=1e-12)
    np.testing.assert_allclose(mine.mean, np.ravel(house.mean), atol=1e-14)
    tilted = exact(grpo, own, 1.01 * params, Tokens(rewards), group_size=2)  # the planted violator
    assert abs(tilted.trace_cov / house.trace_cov - 1) > 1e-4


@pytest.mark.slow
def test_a_bank_agrees_with_enumeration(policy):
    params = jax.tree.map(lambda x: 0.4 * x, models.plain_params())  # no completion is rare
    rng = np.random.default_rng(0)
    task, rloo = Tokens(rng.random((3, VOCAB))), catalogue.get("rloo")
    bank = record(policy, params, task, jax.random.key(4), 400, 8)
    found = bank.evaluate([rloo], (2,))[("rloo", 2)]
    truth = exact(rloo, policy, params, task, group_size=2)
    for figure in ("trace_cov", "between", "within", "signal"):
        assert abs(getattr(found, figure) - getattr(truth, figure)) < 4 * found.se[figure]
    assert abs(found.trace_cov - 1.5 * truth.trace_cov) > 4 * found.se["trace_cov"]  # the planted violator


@pytest.mark.slow
def test_the_house_transformer_as_a_model_of_ones_own():
    task = Sorting(length=3, values=4)
    house = Transformer.for_task(task, width=8, hidden=12, heads=2, kv_heads=1, layers=1, dtype="float64")
    params = house.init(jax.random.key(0), 3.0)
    sizes = {"vocab": task.vocab, "completion_length": task.completion_length}
    own = LogitsPolicy(house.logits, params, **sizes, stop=task.stop, pad=task.pad, init=house.init)
    prompts = task.prompts(jax.random.key(1), 12)
    assert (np.asarray(prompts) == task.pad).any()
    completions, logp = house.sample_with_logprobs(params, jax.random.key(2), prompts, 5)
    found, mine = own.sample_with_logprobs(params, jax.random.key(2), prompts, 5)
    np.testing.assert_array_equal(found, completions)
    np.testing.assert_allclose(mine, logp, atol=1e-12)
    np.testing.assert_allclose(own.logprobs(params, prompts, completions), logp, atol=1e-12)
    np.testing.assert_array_equal(own.greedy(params, prompts), house.greedy(params, prompts))
    ours, theirs = (record(p, params, task, jax.random.key(3), prompts=8, rollouts=4) for p in (own, house))
    np.testing.assert_array_equal(ours.rollouts.completions, theirs.rollouts.completions)
    np.testing.assert_allclose(ours.recording.scores.vectors, theirs.recording.scores.vectors, atol=1e-12)
    traces = [score_trace(p, params, prompts, completions[:, 0]) for p in (own, house)]
    np.testing.assert_allclose(traces[0].trace_cov, traces[1].trace_cov, rtol=1e-10)
    tilted = {**params, "norm": 1.001 * params["norm"]}  # the planted violator
    assert np.abs(np.asarray(own.logprobs(tilted, prompts, completions) - logp)).max() > 1e-6


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (models.looks_around, "depend on no later token"),
        (models.looks_one_ahead, "depend on no later token"),
        (models.counts_from_the_right, "how many tokens follow"),
        (models.mixes_rows, "treats rows apart"),
        (models.is_nan, "nan after token 2"),
        (models.lacks_the_vocabulary, r"float64 of shape \(2, 7, 3\).*\(2, 7, 4\)"),
        (models.says_whole_numbers, "int32 of shape"),
    ],
)
def test_bad_models_are_refused_in_one_line(model, message):
    with pytest.raises(ValueError, match=f"^logits: .*{message}") as caught:
        LogitsPolicy(model, models.plain_params(), **SETTINGS)
    assert len(str(caught.value).splitlines()) == 1


def test_a_look_ahead_behind_zeros_is_seen():
    params = models.plain_params()
    params["head"] = 0 * params["head"]
    assert LogitsPolicy(models.plain, params, **SETTINGS).causal
    with pytest.raises(ValueError, match="depend on no later token"):
        LogitsPolicy(models.hides_its_look_ahead, params, **SETTINGS)


def test_banned_tokens_are_no_error():
    def banning(params, tokens):
        return models.plain(params, tokens).at[..., 1].set(-jnp.inf)

    params = models.plain_params()
    policy = LogitsPolicy(banning, params, **SETTINGS)
    completions = jnp.where(PROMPTS[:, None, :3] == 1, 2, PROMPTS[:, None, :3] % VOCAB)
    slope = jax.grad(lambda p: policy.logprobs(p, PROMPTS, completions).sum())(params)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(slope))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab": 1}, "vocab: 1; give a whole number from 2"),
        ({"stop": 9}, "stop: token 9"),
        ({"max_length": 3}, "max_length: 3; give a whole number from 4"),
        ({"temperature": 0.0}, "temperature: 0.0"),
        ({"params": {}}, "params: no arrays"),
        ({"params": {"table": jnp.arange(3)}}, r"params: \['table'\] is a .* int64"),
        ({"logits": 3}, "logits: 3 is not callable"),
    ],
)
def test_bad_settings_are_refused(change, message):
    given = SETTINGS | {"params": models.plain_params(), "logits": models.plain} | change
    with pytest.raises((ValueError, TypeError), match=message):
        LogitsPolicy(given.pop("logits"), given.pop("params"), **given)


def test_bad_prompts_are_refused(policy):
    params, row = models.plain_params(), jnp.zeros((1, 1, 3), int)
    for prompts, message in (
        ([[PAD, PAD]], "prompt 0 is all padding"),
        ([[0, PAD]], "token 4 is not among"),
        ([[0] * 14], "exceed max_length = 16"),
        ([0, 1], "give integer tokens"),
    ):
        with pytest.raises(ValueError, match=message):
            policy.logprobs(params, jnp.array(prompts), row)
    with pytest.raises(ValueError, match="init: not given"):
        policy.init(jax.random.key(0))
    with pytest.raises(ValueError, match="too many to list"):
        FiniteLogitsPolicy(models.plain, params, **SETTINGS | {"completion_length": 9}).support()


def test_equal_settings_are_equal_policies(policy):
    same = FiniteLogitsPolicy(models.plain, models.plain_params(3), **SETTINGS)
    assert same == policy
    assert hash(same) == hash(policy)
    assert same != LogitsPolicy(models.plain, models.plain_params(), **SETTINGS)
    assert same != FiniteLogitsPolicy(models.plain, models.plain_params(), **SETTINGS | {"stop": None})
    assert isinstance(same, Policy)
    assert "plain" in repr(same)
