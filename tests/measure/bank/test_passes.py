"""Backward passes: factors equal autodiff, sketches are unbiased with the variance they claim, tokens
contract."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.gradients import factored_sketch, hashed_blocks
from gradvar.gradients import ghost_norms as ghost
from gradvar.gradients.per_rollout import ScoreRows, project_scores
from gradvar.gradients.sketch import Gram, PerToken, Sketch, Whole
from gradvar.measure.bank.record import record
from gradvar.measure.bank.recorder import RecordSettings
from gradvar.policies import Tabular, Transformer
from gradvar.tasks import Lookup, ModularAddition
from tests.compilations import compilations


class TwoLayers:
    """A small network with a scan over layers, a tied embedding, a bias and a norm scale: a policy of one
    prompt token."""

    vocab, width, time = 64, 64, 5

    def init(self, key):
        keys = jax.random.split(key, 3)
        return {
            "embed": jax.random.normal(keys[0], (self.vocab, self.width)) * 0.3,
            "layers": {
                "w": jax.random.normal(keys[1], (2, self.width, self.width)) / 8,
                "scale": jnp.ones((2, self.width)),
            },
            "bias": 0.1 * jax.random.normal(keys[2], (self.width,)),
        }

    def logprobs(self, params, prompts, completions):
        before = jnp.concatenate(
            [jnp.broadcast_to(prompts[:, None, None], (*completions.shape[:2], 1)), completions], -1
        )

        @jax.checkpoint
        def layer(x, p):
            return x + jax.nn.silu((x * p["scale"]) @ p["w"]), None

        x = (
            jax.lax.scan(layer, jnp.cumsum(params["embed"][before[..., :-1]], 2), params["layers"])[0]
            + params["bias"]
        )
        logits = jax.nn.log_softmax(x @ params["embed"].T)
        return jnp.take_along_axis(logits, completions[..., None], -1)[..., 0]


@pytest.fixture(scope="module")
def network():
    policy = TwoLayers()
    rng = np.random.default_rng(0)
    rows = {
        "prompts": rng.integers(0, 64, 6).astype(np.int32),
        "completions": rng.integers(0, 64, (6, 5)).astype(np.int32),
        "cotangents": rng.normal(size=(6, 5)),
    }
    return policy, policy.init(jax.random.key(0)), rows


@pytest.fixture(scope="module")
def plain(network):
    return whole_scores(*network)


def whole_scores(policy, params, rows, chunk=6):
    images = project_scores(policy, params, ScoreRows(**rows), Whole(), jax.random.key(0), chunk)
    return np.concatenate(list(images))


@pytest.mark.slow
def test_factors_equal_autodiff(network, plain):
    policy, params, rows = network
    arrays = [jnp.asarray(x) for x in rows.values()]
    tapped = ghost.trace_policy(policy, params, arrays[0], 5)
    ways = tuple(p.way for p in ghost.plan_of(tapped, params, "formed"))
    for row, score in enumerate(plain):  # the sum over one row is that row's score
        _, total = ghost.norms_and_sum(tapped, params, *(x[row : row + 1] for x in arrays), ways)
        flat = np.concatenate([np.ravel(x) for x in total])
        np.testing.assert_allclose(flat, score, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(whole_scores(policy, params, rows, 4), plain, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("way", ["ghost", "formed", "auto"])
def test_norms_and_sum_without_forming_gradients(network, plain, way):
    policy, params, rows = network
    tapped = ghost.trace_policy(policy, params, jnp.asarray(rows["prompts"]), 5)
    plans = ghost.plan_of(tapped, params, way)
    assert {p.way for p in plans} >= {"direct", way} - {"auto"}
    assert len(ghost.describe(plans).splitlines()) == 1 + len(plans)
    norms, total = ghost.norms_and_sum(
        tapped, params, *(jnp.asarray(x) for x in rows.values()), tuple(p.way for p in plans)
    )
    np.testing.assert_allclose(norms, (plain**2).sum(1), rtol=1e-10)
    np.testing.assert_allclose(
        np.concatenate([np.ravel(x) for x in total]), plain.sum(0), rtol=1e-9, atol=1e-12
    )


def test_a_lost_use_is_noticed(network, plain):
    """Planted violator: without the embedding's second use (the tied head) the norms are wrong."""
    policy, params, rows = network
    tapped = ghost.trace_policy(policy, params, jnp.asarray(rows["prompts"]), 5)
    assert sum(use.leaf == tapped.heavy[0] for use in tapped.uses) == 2
    untied = {**params, "head": params["embed"].T}

    class Untied(TwoLayers):
        def logprobs(self, params, prompts, completions):
            return TwoLayers.logprobs(
                self, {**params, "embed": jax.lax.stop_gradient(params["embed"])}, prompts, completions
            )

    found = whole_scores(Untied(), untied, rows)
    assert not np.allclose((found**2).sum(1), (plain**2).sum(1), rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rademacher", "gaussian", "hashed"])
def test_sketches_are_unbiased_with_the_variance_they_claim(name, monkeypatch):
    """256 independent sketches of two fixed vectors; |z| < 4.5 for the mean, the variance within 4.5 of its
    own errors."""
    monkeypatch.setattr("gradvar.gradients.sketch._BLOCK", 128)  # three blocks: no more is drawn than used
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, 300))
    width, draws = 32, 256
    found = []
    for seed in range(draws):
        image = np.asarray(Sketch(name, width).image(jnp.stack([u, v]), jax.random.key(seed)))
        found.append(image[0] @ image[1])

    def pairs(u, v):  # sum over p != q of u_p^2 v_q^2 + u_p u_q v_p v_q
        return (u @ u) * (v @ v) + (u @ v) ** 2 - 2 * (u**2) @ (v**2)

    same = {
        "gaussian": -2 * (u**2) @ (v**2),
        "rademacher": 0.0,
        "hashed": sum(
            pairs(u[i : i + width], v[i : i + width]) for i in range(0, 300, width)
        ),  # never collide
    }
    variance = (pairs(u, v) - same[name]) / width
    assert abs(np.mean(found) - u @ v) < 4.5 * np.sqrt(variance / draws)
    assert abs(np.var(found, ddof=1) / variance - 1) < 4.5 * np.sqrt(2.5 / draws)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hashed", "rademacher"])
def test_the_image_is_the_sum_of_the_images_of_parts(kind):
    """As several processes make it, each of the parameters that it holds; wherever the cuts are."""
    scores = np.random.default_rng(1).normal(size=(2, 150))
    sketch, key = Sketch(kind, 16), jax.random.key(3)
    whole = sketch.image(jnp.asarray(scores), key)
    parts = [sketch.image(jnp.asarray(scores[:, a:b]), key, a) for a, b in ((0, 7), (7, 101), (101, 150))]
    np.testing.assert_allclose(sum(parts), whole, atol=1e-12)
    shifted = sketch.image(jnp.asarray(scores[:, 7:101]), key, 8)  # the planted violator
    assert np.abs(shifted - parts[1]).max() > 0.1


def test_blocks_that_are_added_some_at_a_time_make_the_same_image(monkeypatch):
    """Against block after block, turned by itself; the arrays begin and end within blocks, the last round overlaps."""
    monkeypatch.setattr("gradvar.gradients.hashed_blocks._CACHED", 4 * 3 * 2 * 8)  # three blocks of two rows
    scores, sketch, key = (
        np.random.default_rng(1).normal(size=(2, 999)),
        Sketch("hashed", 8),
        jax.random.key(3),
    )
    cuts = (0, 5, 301, 999)
    parts = [(jnp.asarray(scores[:, a:b]), a + 3) for a, b in itertools.pairwise(cuts)]
    blocks = np.pad(scores, ((0, 0), (3, 6))).reshape(2, -1, 1, 8)
    one_by_one = [
        sketch.image_of_blocks(jnp.asarray(blocks[:, i]), jnp.array([i]), key) for i in range(blocks.shape[1])
    ]
    np.testing.assert_allclose(sketch.image_of_parts(parts, key), sum(one_by_one), atol=1e-12)
    monkeypatch.setattr("gradvar.gradients.hashed_blocks._summed_in_turn", hashed_blocks._summed_at_once)
    assert not sketch.image(jnp.zeros((2, 0)), key).any()  # of no parameters
    elsewhere = hashed_blocks.hashed(jnp.asarray(blocks[:, :, 0]), jnp.arange(blocks.shape[1]), key)
    np.testing.assert_allclose(elsewhere, sum(one_by_one), atol=1e-12)  # as on an accelerator


KINDS = {
    "gram": Gram(),
    "hashed": Sketch("hashed", 4096),
    "rademacher": Sketch("rademacher", 4096),
    "tokens": PerToken(4096),
}


@pytest.fixture(scope="module")
def kept_whole(scene, estimators):
    """How to record a pool of 24 prompts, the pool with whole scores, and its figures."""
    call = (scene.policy, scene.params, scene.task, jax.random.key(4), 24, 8)
    recorded = functools.partial(record, *call, old_params=scene.old, estimators=estimators)
    bank = recorded()
    return recorded, bank, bank.evaluate(estimators, [2])


@pytest.mark.parametrize(
    "kind", ["gram", "hashed", *(pytest.param(k, marks=pytest.mark.slow) for k in ("rademacher", "tokens"))]
)
def test_every_map_gives_the_same_figures(kept_whole, estimators, kind, monkeypatch):
    """The same pool through other maps: the Gram matrix is exact, sketches agree within the error that they
    report."""
    monkeypatch.setattr("gradvar.gradients.sketch._BLOCK", 128)  # few signs are drawn that meet no parameter
    recorded, pool, whole = kept_whole
    bank = recorded(scores=KINDS[kind])
    assert np.array_equal(bank.rollouts.rewards, pool.rollouts.rewards)
    other = bank.evaluate(estimators, [2])
    for setting, moments in whole.items():
        exact = kind == "gram"
        error = 1e-9 if exact else 6 * other.sketch_error[setting] + 1e-9
        assert other[setting].trace_cov == pytest.approx(moments.trace_cov, rel=error)
        assert other.sketch_error[setting] == 0 if exact else other.sketch_error[setting] < 0.1


def test_memory_is_predicted_before_anything_is_drawn(scene):
    class NeverDrawn:
        def __getattr__(self, name):
            return getattr(scene.policy, name)

        def sample(self, *args):
            raise AssertionError("drawn before the memory was predicted")

    with pytest.raises(ValueError, match=r"memory: at least .* give scores=Sketch\('hashed'\)"):
        record(
            NeverDrawn(),
            scene.params,
            scene.task,
            jax.random.key(0),
            10_000,
            1000,
            scores=Gram(),
            settings=RecordSettings(memory=1e6),
        )


@pytest.mark.slow
def test_tokens_serve_any_objective(scene):
    bank = record(
        scene.policy,
        scene.params,
        scene.task,
        jax.random.key(1),
        8,
        8,
        old_params=scene.old,
        scores=PerToken(),
    )
    found = bank.evaluate(
        [catalogue.get("grpo"), catalogue.get("cispo"), lambda logp, batch: (logp**3).sum()], [2]
    )
    assert max(found.residual.values()) < 1e-9


class Recurrent(TwoLayers):
    """One layer, used twice: within a scan it is a constant, whose gradient adds up over the turns."""

    def logprobs(self, params, prompts, completions):
        def again(x, _):
            return x + jax.nn.silu(x @ params["layers"]["w"]), None

        x = params["embed"][jnp.broadcast_to(prompts[:, None, None], completions.shape)]
        x = jax.lax.scan(again, jnp.cumsum(x, 2) + params["bias"], None, length=2)[0]
        return jnp.take_along_axis(jax.nn.log_softmax(x @ params["embed"].T), completions[..., None], -1)[
            ..., 0
        ]


@pytest.mark.parametrize("way", ["ghost", "formed"])
def test_a_matrix_that_is_used_again_keeps_its_cross_terms(network, way):
    _, params, rows = network
    params = params | {"layers": jax.tree.map(lambda x: x[0], params["layers"])}
    policy, arrays = Recurrent(), [jnp.asarray(x) for x in rows.values()]
    plain = whole_scores(policy, params, rows)
    tapped = ghost.trace_policy(policy, params, arrays[0], 5)
    assert any(use.repeated for use in tapped.uses)
    assert not tapped.once()
    ways = tuple(p.way for p in ghost.plan_of(tapped, params, way))
    norms, total = ghost.norms_and_sum(tapped, params, *arrays, ways)
    np.testing.assert_allclose(norms, (plain**2).sum(1), rtol=1e-10)
    np.testing.assert_allclose(
        np.concatenate([np.ravel(x) for x in total]), plain.sum(0), rtol=1e-9, atol=1e-12
    )


def test_a_matrix_that_is_used_once_is_squared_where_its_cotangent_arises(network):
    _, params, rows = network
    tapped = ghost.trace_policy(TwoLayers(), params, jnp.asarray(rows["prompts"]), 5)
    shapes = [jax.tree.leaves(params)[i].shape for i in tapped.once()]
    assert shapes == [(2, 64, 64)]  # the embedding is tied


class Apart(TwoLayers):
    """A head of its own: the embedding is looked up, and nothing else; the layers are not used at all."""

    def init(self, key):
        params = super().init(key)
        return params | {"head": params["embed"][::-1] * 2}

    def logprobs(self, params, prompts, completions):
        before = jnp.concatenate(
            [jnp.broadcast_to(prompts[:, None, None], (*completions.shape[:2], 1)), completions], -1
        )
        x = jnp.cumsum(params["embed"][before[..., :-1]], 2) + params["bias"]
        return jnp.take_along_axis(jax.nn.log_softmax(x @ params["head"].T), completions[..., None], -1)[
            ..., 0
        ]


@pytest.mark.parametrize("way", ["ghost", "formed"])
def test_a_matrix_that_is_looked_up_only(network, way):
    rows = dict(network[2])
    rows["completions"] = rows["completions"].copy()
    rows["completions"][:, 2] = rows["completions"][
        :, 1
    ]  # the same row of the matrix read again: a cross term
    policy, arrays = Apart(), [jnp.asarray(x) for x in rows.values()]
    params = policy.init(jax.random.key(0))
    plain = whole_scores(policy, params, rows)
    tapped = ghost.trace_policy(policy, params, arrays[0], 5)
    assert {use.kind for use in tapped.uses if use.leaf in tapped.once()} == {"lookup", "product"}
    ways = tuple(p.way for p in ghost.plan_of(tapped, params, way))
    norms, total = ghost.norms_and_sum(tapped, params, *arrays, ways)
    np.testing.assert_allclose(norms, (plain**2).sum(1), rtol=1e-10)
    flat = np.concatenate([np.ravel(x) for x in total])
    np.testing.assert_allclose(flat, plain.sum(0), rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_another_key_needs_no_program_of_its_own():
    policy, task = Tabular(3, 2, num_prompts=3), Lookup(np.eye(3, 9), Tabular(3, 2).support())

    def recorded(number, width=4):
        params = policy.init(jax.random.key(number))
        return record(policy, params, task, jax.random.key(10 + number), 6, 4, scores=Sketch("hashed", width))

    first = recorded(1)
    with compilations() as names:
        second = recorded(2)
        assert not names
        recorded(2, width=5)  # the planted violator: another width is another program
        assert "_project" in names
    assert first.info["seed"] != second.info["seed"]


@pytest.mark.parametrize("kind", [TwoLayers, Recurrent])
def test_sketches_from_factors_are_those_of_whole_scores(network, kind, monkeypatch):
    """Also where blocks of the map begin within a matrix, and a matrix is formed in several pieces."""
    _, params, rows = network
    if kind is Recurrent:
        params = params | {"layers": jax.tree.map(lambda x: x[0], params["layers"])}
    policy, sketch, key = kind(), Sketch("hashed", 24), jax.random.key(2)
    monkeypatch.setattr(factored_sketch, "_FORMED", 8 * 3 * 64 * 20)  # of three rollouts, 16 rows of a matrix
    images = project_scores(policy, params, ScoreRows(**rows), sketch, key, 3, from_factors=True)
    expected = sketch.image(jnp.asarray(whole_scores(policy, params, rows)), key)
    np.testing.assert_allclose(np.concatenate(list(images)), expected, rtol=1e-10, atol=1e-12)


def test_scores_are_sketched_from_factors_where_they_are_large_and_have_factors(network, monkeypatch):
    policy, params, rows = network
    call = (policy, params, jnp.asarray(rows["prompts"]), 5)
    assert factored_sketch.factored_bytes(*call, Sketch("hashed")) is None  # a small score
    monkeypatch.setattr(factored_sketch, "LEAST", 1 << 16)
    layers, lookup, head = 2 * 5 * (64 + 64), 5 * 64, 5 * (64 + 64)
    assert factored_sketch.factored_bytes(*call, Sketch("hashed")) == 8 * (layers + lookup + head)
    assert factored_sketch.factored_bytes(*call, Sketch("rademacher")) is None
    assert factored_sketch.factored_bytes(*call, Whole()) is None
    monkeypatch.setattr(factored_sketch, "_LIGHT", 64)  # scale and bias are 192 of 12,480 parameters
    assert factored_sketch.factored_bytes(*call, Sketch("hashed")) is not None
    monkeypatch.setattr(factored_sketch, "_LIGHT", 66)
    assert factored_sketch.factored_bytes(*call, Sketch("hashed")) is None


@pytest.mark.slow
def test_a_transformers_bank_is_sketched_from_factors(tmp_path, monkeypatch):
    """A scan over layers, a tied embedding, rollouts that share a pass, into a folder; against whole scores."""
    task, sketch = ModularAddition(1, 7), Sketch("hashed", 64)
    policy = Transformer.for_task(task, layers=5, width=64, heads=2, hidden=96)
    call = (policy, policy.init(jax.random.key(0)), task, jax.random.key(1), 3, 4)
    whole = record(*call, scores=Whole()).recording
    assert whole.info["way"] == "vmap"
    passes = []
    images = factored_sketch.factored_images

    def heard(policy, params, rows, *rest):
        passes.append(rows[1].shape)
        return images(policy, params, rows, *rest)

    monkeypatch.setattr("gradvar.gradients.per_rollout.factored_images", heard)
    monkeypatch.setattr(factored_sketch, "LEAST", 1)
    monkeypatch.setattr("gradvar.measure.bank.record.LEAST", 1)
    bank = record(*call, scores=sketch, folder=tmp_path)
    assert passes == [(12, task.completion_length)]  # one program, of all rollouts together
    assert bank.info["way"] == "factors"
    vectors = whole.scores.vectors
    expected = sketch.image(
        jnp.asarray(vectors.reshape(-1, vectors.shape[-1])), jax.random.key(bank.info["seed"])
    )
    found = bank.recording.scores.vectors.reshape(-1, 64)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
