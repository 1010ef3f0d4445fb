"""Banks of PyTorch models: against the JAX bank of the same weights and finite differences; and what is refused."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

torch = pytest.importorskip("torch")

from gradvar import catalogue  # noqa: E402
from gradvar.core.compose import corrected  # noqa: E402
from gradvar.gradients.per_rollout import rollout_score  # noqa: E402
from gradvar.gradients.sketch import Gram, PerToken, Sketch  # noqa: E402
from gradvar.measure.advise.group_size import advise  # noqa: E402
from gradvar.measure.bank.bank import ScoreBank  # noqa: E402
from gradvar.measure.bank.record import record  # noqa: E402
from gradvar.pieces import corrections  # noqa: E402
from gradvar.policies import Transformer, TransformerConfig  # noqa: E402

from . import models  # noqa: E402
from .scenes import PROMPT_MASK, STOP, logprobs_torch, record_torch  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model():
    return models.Llama()


@pytest.fixture(scope="module")
def clipping():
    return catalogue.get("dapo", clip_low=0.05, clip_high=0.05)


@pytest.fixture(scope="module")
def bank(model, rollouts, clipping):
    return record_torch(model, **rollouts, estimators=[clipping])


def house(layers=1):
    """The house's transformer of the same shape."""
    return Transformer(
        TransformerConfig(
            vocab=7, completion_length=4, layers=layers, width=8, heads=2, kv_heads=1, hidden=12, qkv_bias=True,
            stop=STOP, pad=-1, dtype="float64",
        )
    )  # fmt: skip


def as_ours(model, vectors):
    """Rows in PyTorch's order of parameters, as rows in the order of the house's transformer."""
    sizes = {name: p.shape for name, p in model.named_parameters()}
    edges = np.cumsum([0, *(int(np.prod(shape)) for shape in sizes.values())])
    named = [
        {
            n: row[a:b].reshape(shape)
            for (n, shape), a, b in zip(sizes.items(), edges, edges[1:], strict=False)
        }
        for row in vectors
    ]
    return np.stack([ravel_pytree(models.translated(x))[0] for x in named])


def test_what_the_engine_reports_is_what_corrections_weigh_with(model, rollouts):
    """At half the trainer's chance for every token each ratio is 2: the gradient doubles, and a cap of 1.5 binds."""
    plain = catalogue.get("rloo")
    twice, capped = (
        corrected(plain, c) for c in (corrections.token_ratio, partial(corrections.token_truncation, cap=1.5))
    )
    engine = rollouts["logp_old"] - np.log(2)
    banks = {
        name: record_torch(model, **rollouts, **fields, estimators=[plain, twice, capped])
        for name, fields in {"engine": {"logp_sampler": engine}, "none": {}}.items()
    }
    traces = {}
    for name, bank in banks.items():
        moments = bank.evaluate({"plain": plain, "twice": twice, "capped": capped}, group_sizes=[2]).moments
        traces[name] = [moments[label, 2].trace_cov for label in ("plain", "twice", "capped")]
    np.testing.assert_allclose(np.divide(traces["engine"], traces["engine"][0]), [1, 4, 2.25], rtol=1e-9)
    np.testing.assert_allclose(np.divide(traces["none"], traces["engine"][0]), [1, 1, 1], rtol=1e-9)
    kept = banks["engine"].rollouts.logp_sampler
    np.testing.assert_array_equal(kept, np.where(rollouts["mask"], engine, 0))


def test_rows_are_those_of_the_house_transformer(model, bank, rollouts):
    params = models.translated({n: p.detach().numpy() for n, p in model.named_parameters()})
    policy = house()
    given = jnp.where(rollouts["prompt_mask"], rollouts["prompts"], -1)
    completions = jnp.asarray(rollouts["completions"])
    np.testing.assert_array_equal(bank.rollouts.prompts, given)
    assert bank.recording.rows.basis.shape[2] > 1  # clips cut some rollouts in two
    logp = np.asarray(policy.logprobs(params, given, completions))
    np.testing.assert_allclose(bank.rollouts.logp, np.where(rollouts["mask"], logp, 0), rtol=0, atol=1e-12)
    q, m = np.nonzero(bank.recording.rows.is_used)
    n, b = bank.recording.rows.rollout[q, m], bank.recording.rows.basis_index[q, m]
    one = jax.jit(jax.vmap(lambda *row: rollout_score(policy, params, *row)))
    expected = np.asarray(one(given[q], completions[q, n], jnp.asarray(bank.recording.rows.basis[q, n, b])))
    found = as_ours(model, bank.recording.scores.vectors[q, m])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
    assert np.abs(found - np.roll(expected, 1, axis=0)).max() > 0.1  # the planted violator: another row's


@pytest.mark.slow
def test_the_bank_is_the_jax_bank(model, clipping):
    """Everything by JAX (sampling too, from older weights), then from its rollouts and weights by PyTorch."""
    policy, rng = house(), np.random.default_rng(1)
    params = models.translated({n: p.detach().numpy() for n, p in model.named_parameters()})
    old = jax.tree.map(lambda x: x + 0.02 * rng.normal(size=x.shape), params)

    class Digits:
        def prompts(self, key, num):
            return jax.random.randint(key, (num, 2), 0, 6)

        def reward(self, prompts, completions):
            return (completions.sum(-1) % 2).astype(float)

    estimators = [catalogue.get("rloo"), catalogue.get("grpo"), clipping]
    theirs = record(
        policy,
        params,
        Digits(),
        jax.random.key(0),
        24,
        8,
        old_params=old,
        ref_params=old,
        estimators=estimators,
    )
    pool = theirs.rollouts
    given = {
        "mask": pool.mask,
        "logp_old": pool.logp_old,
        "logp_ref": pool.logp_ref,
        "estimators": estimators,
    }
    ours = record_torch(model, pool.prompts, pool.completions, pool.rewards, **given)
    assert ours.recording.rows.count == theirs.recording.rows.count > 24 * 8
    found, expected = (x.evaluate(estimators, (2, 4), seed=3) for x in (ours, theirs))
    tilted = record_torch(
        model, pool.prompts, pool.completions, pool.rewards, **given, temperature=1.01
    ).evaluate(estimators[:2], (2,), seed=3)  # the planted violator
    for setting in expected.moments:
        for figure in ("trace_cov", "between", "within", "signal", "bias_factor"):
            values = [getattr(x.moments[setting], figure) for x in (found, expected)]
            np.testing.assert_allclose(values[0], values[1], rtol=1e-7, atol=1e-12)
    at = ("rloo", 2)
    assert abs(tilted.moments[at].trace_cov / expected.moments[at].trace_cov - 1) > 1e-4


@pytest.mark.parametrize(
    ("make", "only", "way"),
    [
        (models.Llama, None, "vmap"),
        (models.Llama, r"layers\.0\.mlp|norm", "loop"),
        (models.adapted, "lora_", "factors"),
    ],
)
def test_rows_are_directional_derivatives(make, only, way, rollouts, clipping):
    """Central differences of each row's weighted log-probability along random directions; errors of order 1e-9."""
    model = make()
    bank = record_torch(model, **rollouts, estimators=[clipping], only=only, way=way, temperature=0.8)
    names, rng, step = bank.info["parameters"], np.random.default_rng(0), 1e-5
    assert bank.info["way"].startswith(f"torch {way} on {len(names)} of")
    assert (only is None) == ("only=" not in repr(bank))
    parameters = dict(model.named_parameters())
    given = {k: v for k, v in rollouts.items() if k not in ("rewards", "logp_old")} | {"temperature": 0.8}
    q, m = np.nonzero(bank.recording.rows.is_used)
    basis = bank.recording.rows.basis[
        q, bank.recording.rows.rollout[q, m], bank.recording.rows.basis_index[q, m]
    ]

    def moved(direction, size):
        with torch.no_grad():
            for name in names:
                parameters[name].add_(size * torch.as_tensor(direction[name]))
        found = logprobs_torch(model, **given).numpy()[q, bank.recording.rows.rollout[q, m]]
        with torch.no_grad():
            for name in names:
                parameters[name].sub_(size * torch.as_tensor(direction[name]))
        return (found * basis).sum(-1)

    for _ in range(3):
        direction = {name: rng.normal(size=parameters[name].shape) for name in names}
        slope = (moved(direction, step) - moved(direction, -step)) / (2 * step)
        along = bank.recording.scores.vectors[q, m] @ np.concatenate(
            [direction[name].ravel() for name in names]
        )
        np.testing.assert_allclose(along, slope, rtol=1e-6, atol=1e-7)
        direction[names[0]] = 1.01 * direction[names[0]]  # the planted violator
        assert np.abs(along - (moved(direction, step) - moved(direction, -step)) / (2 * step)).max() > 1e-4


def test_ways_are_equal_and_auto_says_which(rollouts, monkeypatch):
    model = models.adapted()
    banks = {w: record_torch(model, **rollouts, only="lora_", way=w) for w in ("loop", "vmap", "factors")}
    for bank in banks.values():
        np.testing.assert_allclose(
            bank.recording.scores.vectors, banks["loop"].recording.scores.vectors, rtol=0, atol=1e-12
        )
    monkeypatch.setattr("gradvar.torch.model._LOGITS", 1)  # a row at a time
    small = record_torch(model, **rollouts, only="lora_")
    np.testing.assert_allclose(small.rollouts.logp, banks["loop"].rollouts.logp, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        small.recording.scores.vectors, banks["loop"].recording.scores.vectors, rtol=0, atol=1e-12
    )
    assert small.info["way"].startswith("torch factors on 12 of 38")
    with pytest.raises(ValueError, match=r"^way: factors want parameters of linear layers"):
        record_torch(model, **rollouts, way="factors")


def test_factors_that_miss_a_use_are_seen(rollouts):
    class Twice(models.Llama):
        def forward(self, input_ids):
            favour = torch.linspace(0, 1, 7, dtype=torch.float64)
            return super().forward(input_ids) + favour * self.model.layers[0].mlp.up_proj.weight.sum()

    model = Twice()
    with pytest.raises(ValueError, match=r"^way: factors miss a part of .*up_proj.weight's gradient"):
        record_torch(model, **rollouts, only="up_proj", way="factors")
    bank = record_torch(model, **rollouts, only="up_proj")
    assert bank.info["way"].startswith("torch vmap")
    assert "factors miss a part" in bank.info["passed_over"]["factors"]


def test_layers_that_see_rows_elsewhere_are_not_taken_apart(rollouts):
    class Turned(models.Llama):
        def forward(self, input_ids):
            x = self.model.embed_tokens(input_ids)
            x = x + self.model.layers[0].self_attn.o_proj(x.transpose(0, 1)).transpose(
                0, 1
            )  # [token, row, feature]
            return self.lm_head(x)

    model = Turned()
    only = {"only": "o_proj"}
    expected = record_torch(model, **rollouts, **only, way="loop").recording.scores.vectors
    for chunk in (5, 6):  # 6 rows of 6 tokens look like any others; their gradients do not
        with pytest.raises(ValueError, match=r"^way: factors (want layers that see|miss a part)"):
            record_torch(model, **rollouts, **only, way="factors", chunk=chunk)
    found = record_torch(model, **rollouts, **only)
    assert found.info["way"].startswith("torch vmap")
    np.testing.assert_allclose(found.recording.scores.vectors, expected, rtol=0, atol=1e-12)


def test_a_model_that_cannot_be_vectorised_is_looped(model, bank, rollouts, clipping):
    class Looking(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, input_ids):
            assert float(self.inner(input_ids).sum().item()) < 1e9  # no vmap looks into values
            return self.inner(input_ids)

    found = record_torch(Looking(), **rollouts, estimators=[clipping])
    assert found.info["way"].startswith("torch loop")
    np.testing.assert_allclose(
        found.recording.scores.vectors, bank.recording.scores.vectors, rtol=0, atol=1e-12
    )


def test_log_probabilities_do_not_see_padding(model, rollouts):
    given = {k: rollouts[k] for k in ("completions", "mask")}
    found = logprobs_torch(model, rollouts["prompts"], prompt_mask=PROMPT_MASK, chunk=4, **given)
    assert found.shape == (3, 6, 4)
    for q in range(3):
        bare = torch.as_tensor(rollouts["prompts"][q, PROMPT_MASK[q]])
        for n in (0, 3):
            row = torch.cat([bare, torch.as_tensor(rollouts["completions"][q, n])])
            model.eval()
            table = torch.log_softmax(model(row[None])[0], -1)[len(bare) - 1 : -1]
            expected = table[torch.arange(4), row[len(bare) :]] * torch.as_tensor(rollouts["mask"][q, n])
            torch.testing.assert_close(found[q, n], expected.detach(), rtol=0, atol=1e-12)
    unmasked = logprobs_torch(model, rollouts["prompts"], **given)  # the planted violator
    assert (found - unmasked)[0].abs().max() > 1e-3
    warm = logprobs_torch(model, rollouts["prompts"], temperature=2.0, **given)
    assert warm.sum() != unmasked.sum()


def test_maps_are_images_of_the_same_rows(model, bank, rollouts, clipping):
    vectors = bank.recording.scores.vectors
    size, most, params = vectors.shape
    flat = vectors.reshape(-1, params)

    def kept(**settings):
        return record_torch(model, **rollouts, estimators=[clipping], **settings).recording.scores

    np.testing.assert_allclose(
        kept(scores=Gram()).cross, (flat @ flat.T).reshape(size, most, size, most), atol=1e-11
    )
    within = np.einsum("qmp,qnp->qmn", vectors, vectors)
    np.testing.assert_allclose(kept(scores=Gram(cross=False)).gram, within, atol=1e-11)
    for name in ("hashed", "rademacher"):
        image = np.asarray(Sketch(name, 16).image(jnp.asarray(flat), jax.random.key(5))).reshape(
            size, most, 16
        )
        np.testing.assert_allclose(kept(scores=Sketch(name, 16), seed=5).vectors, image, atol=1e-11)
        assert (
            np.abs(kept(scores=Sketch(name, 16), seed=6).vectors - image).max() > 0.1
        )  # the planted violator


def test_rows_as_trainers_keep_them(model, bank, rollouts, clipping):
    by_row = {
        k: torch.as_tensor(v).flatten(0, 1)
        for k, v in rollouts.items()
        if k not in ("prompts", "prompt_mask")
    }
    prompts, allowed = (
        torch.as_tensor(rollouts[k]).repeat_interleave(6, 0) for k in ("prompts", "prompt_mask")
    )
    given = {"prompt_mask": allowed.long(), "estimators": [clipping]} | by_row
    found = record_torch(model, prompts, **given, group=6)
    np.testing.assert_array_equal(found.recording.scores.vectors, bank.recording.scores.vectors)
    np.testing.assert_array_equal(found.rollouts.rewards, bank.rollouts.rewards)
    with pytest.raises(ValueError, match=r"^prompts: row 1 differs from its group's first of 6"):
        record_torch(model, prompts[[0, 6, *range(2, 18)]], **given, group=6)
    with pytest.raises(ValueError, match=r"^group: None with 18 completions"):
        record_torch(model, prompts, **given)


def test_the_bank_is_a_bank(bank, clipping, tmp_path):
    found = bank.evaluate([catalogue.get("rloo"), clipping], (2,), independent="rollouts", slices=3)
    assert all(m.trace_cov > 0 for m in found.moments.values())
    opened = ScoreBank.open(bank.save(tmp_path / "bank"))
    again = opened.evaluate([catalogue.get("rloo"), clipping], (2,), independent="rollouts", slices=3)
    assert again.moments["rloo", 2].trace_cov == found.moments["rloo", 2].trace_cov
    assert opened.info["only"] is None
    assert repr(opened) == repr(bank)


@pytest.mark.slow
def test_advice_from_a_trainers_rollouts():
    model, rng = models.Llama(), np.random.default_rng(2)
    prompts, completions = rng.integers(0, 7, (40, 2)), rng.integers(0, 7, (40, 8, 3))
    rewards = (rng.random((40, 8)) < rng.random((40, 1))).astype(float)
    bank = record_torch(model, prompts, completions, rewards)
    assert advise(bank, cost_per_prompt=1.0).best >= 2


def test_the_model_is_left_as_it_was(rollouts):
    model = models.Llama()
    model.train()
    model.model.norm.eval()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    for parameter in list(model.parameters())[:3]:
        parameter.requires_grad_(False)
    bank = record_torch(model, **rollouts, way="loop")
    assert len(bank.info["parameters"]) == len(before) - 3  # what requires no gradient has no part
    assert model.training
    assert model.dropout.training
    assert not model.model.norm.training
    assert all(p.grad is None and torch.equal(p, before[n]) for n, p in model.named_parameters())
    np.testing.assert_array_equal(
        bank.rollouts.logp, record_torch(model, **rollouts, way="loop").rollouts.logp
    )  # dropout would differ


class Bad(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.table, self.kind = torch.nn.Embedding(7, 7).double(), kind

    def forward(self, tokens):
        logits = self.table(tokens)
        if self.kind == "around":
            return logits + 1e-6 * logits.mean(1, keepdim=True)
        return {
            "flat": logits[..., 0],
            "nan": logits * float("nan"),
            "int": tokens[..., None].repeat(1, 1, 7),
        }[self.kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("around", "give a causal model"),
        ("flat", r"torch.float64 of shape \(2, 4\).*\[row, token, vocab\]"),
        ("nan", "its logits are NaN"),
        ("int", "torch.int64 of shape"),
    ],
)
def test_bad_models_are_refused_in_one_line(kind, message, rollouts):
    with pytest.raises(ValueError, match=f"^model: .*{message}") as caught:
        record_torch(Bad(kind), **rollouts)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": PerToken()}, r"scores: PerToken\(width=1024\) is not made from PyTorch models"),
        ({"only": "absent"}, "only: 'absent' picks none of 14 parameters; their names are like 'model"),
        ({"memory": 1e3, "scores": Gram()}, "memory: .* GB for .* rows of 576 parameters with scores=Gram"),
        ({"temperature": 0}, "temperature: 0; give"),
        ({"rewards": np.ones((3, 5))}, r"rewards: shape \(3, 5\); give \(3, 6\)"),
        ({"rewards": np.full((3, 6), np.nan)}, r"rewards: nan at \[0, 0\]"),
        ({"logp_old": np.zeros((3, 6, 3))}, r"logp_old: shape \(3, 6, 3\); give \(3, 6, 4\)"),
        ({"prompt_mask": PROMPT_MASK[:, ::-1]}, "prompt_mask: prompt 0 has padding after a token"),
        ({"prompt_mask": 0 * PROMPT_MASK}, "prompts: prompt 0 is all padding"),
        ({"mask": np.ones((3, 6, 5))}, "mask: shape"),
        ({"completions": np.full((3, 6, 4), 9)}, "completions, prompts: token 9 is not among 0..6"),
        (
            {"completions": np.full((3, 6, 4), -100)},
            "completions: token -100 at prompt 0, rollout 0, place 0",
        ),
        ({"completions": np.ones((3, 6, 4))}, "completions: shape .* float64; give integer token ids"),
        ({"completions": np.ones((2, 6, 4), int)}, r"completions: shape \(2, 6, 4\) for 3 prompts"),
        (
            {k: None for k in ("mask", "logp_old")} | {"completions": np.ones((3, 3, 4), int)},
            "completions: 3 rollouts of each prompt; a bank needs at least 4",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(change, message, model, rollouts):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        record_torch(model, **rollouts | change)
    assert len(str(caught.value).splitlines()) == 1


def test_what_lies_behind_the_mask_does_not_matter(model, bank, rollouts, clipping):
    filled = np.where(rollouts["mask"], rollouts["completions"], -100)
    found = record_torch(model, **rollouts | {"completions": filled}, estimators=[clipping])
    np.testing.assert_allclose(
        found.recording.scores.vectors, bank.recording.scores.vectors, rtol=0, atol=1e-12
    )
    given = {k: v for k, v in rollouts.items() if k != "mask"}
    stopped = record_torch(model, **given, stop=STOP, estimators=[clipping])
    np.testing.assert_array_equal(stopped.rollouts.mask, bank.rollouts.mask)
    whole = record_torch(model, **given)  # the planted violator: what follows the stop token counts
    assert (whole.rollouts.mask != bank.rollouts.mask).any()
