"""Folders saved by the transformers library, against its own PyTorch models, where that is installed."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.policies import Transformer

pytestmark = pytest.mark.slow

SIZES = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
SIZES |= {
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 5000.0}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16, "rope_theta": 500000.0,
}  # fmt: skip

CAPS = {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}  # so low that they bind
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "partial_rotary_factor": 0.5,
    "short_factor": [1.5, 3.0],
}
LONGROPE |= {"long_factor": [9.0, 20.0], "original_max_position_embeddings": 64}

# family, and what its configuration has besides SIZES
MODELS = {
    "llama": ("Llama", {"tie_word_embeddings": False}),
    "smollm: llama, tied, one key head": ("Llama", {"tie_word_embeddings": True, "num_key_value_heads": 1}),
    "llama 3.1": ("Llama", {"rope_parameters": LLAMA3}),
    "llama, linear": (
        "Llama",
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}},
    ),
    "llama, dynamic": (
        "Llama",
        {"rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}},
    ),
    "qwen2": (
        "Qwen2",
        {"tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
    ),
    "qwen2, yarn": ("Qwen2", {"rope_parameters": YARN}),
    "qwen2, yarn untruncated": (
        "Qwen2",
        {"rope_parameters": YARN | {"truncate": False, "attention_factor": 1.3}},
    ),
    "qwen2, yarn mscale": ("Qwen2", {"rope_parameters": YARN | {"mscale": 0.7, "mscale_all_dim": 1.1}}),
    "qwen3, wide heads": ("Qwen3", {"head_dim": 16, "tie_word_embeddings": True}),
    "qwen3, yarn": ("Qwen3", {"head_dim": 8, "rope_parameters": YARN}),
    "mistral, window": ("Mistral", {"sliding_window": 7, "head_dim": 12}),
    "gemma2": ("Gemma2", {"head_dim": 12, "sliding_window": 9, "query_pre_attn_scalar": 20} | CAPS),
    "gemma3": ("Gemma3Text", {"head_dim": 12, "sliding_window": 9, "num_hidden_layers": 7}),
    "gemma3, stretched": (
        "Gemma3Text",
        {
            "head_dim": 8,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
            "sliding_window": 6,
        }
        | {
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 5e3},
            }
        },
    ),
    "phi3, window": ("Phi3", {"sliding_window": 11, "pad_token_id": 0}),
    "phi3, longrope": (
        "Phi3",
        {"rope_parameters": LONGROPE, "max_position_embeddings": 256, "pad_token_id": 0}
        | {"original_max_position_embeddings": 64, "tie_word_embeddings": True},
    ),
    "olmo2": ("Olmo2", {"pad_token_id": 0}),
    "granite": (
        "Granite",
        {"tie_word_embeddings": True, "embedding_multiplier": 3.0, "attention_multiplier": 0.2}
        | {"residual_multiplier": 0.5, "logits_scaling": 2.0},
    ),
    "qwen3 experts": (
        "Qwen3Moe",
        {"num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 20}
        | {"norm_topk_prob": True, "head_dim": 8},
    ),
    "qwen3 experts, plain weights": (
        "Qwen3Moe",
        {"num_experts": 4, "num_experts_per_tok": 3, "head_dim": 8} | {"moe_intermediate_size": 12},
    ),
    "smollm3": ("SmolLM3", {"no_rope_layers": [1, 0, 1], "tie_word_embeddings": True, "pad_token_id": 0}),
    "smollm3, default layers": ("SmolLM3", {"num_hidden_layers": 5, "pad_token_id": 0}),
}


def saved(folder, name, *, dtype="float32", shard="1GB"):
    """A random model of the family in ``folder``, and itself in double precision."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    family, more = MODELS[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(
        **(SIZES | {"bos_token_id": 1, "eos_token_id": 2} | more)
    )
    config._experts_implementation = "eager"  # their grouped product has no double precision
    model = getattr(transformers, f"{family.removesuffix('Text')}ForCausalLM")(config)
    stored = getattr(torch, dtype)
    with torch.no_grad():
        for parameter in model.parameters():  # no zero bias, no unit norm; numbers that are kept exactly
            parameter.copy_((parameter + 0.2 * torch.randn_like(parameter)).to(stored))
    copy.deepcopy(model).to(stored).save_pretrained(folder, max_shard_size=shard)
    return torch, model.double().eval()  # converted as a whole, the angles would be rounded too


def theirs_of(torch, model, tokens, left=0):
    """Logits of the public implementation, with ``left`` tokens of padding before."""
    tokens = torch.as_tensor(np.asarray(tokens), dtype=torch.long)
    filled = torch.cat([torch.zeros(len(tokens), left, dtype=torch.long), tokens], dim=1)
    valid = torch.cat([torch.zeros(len(tokens), left, dtype=torch.long), torch.ones_like(tokens)], dim=1)
    positions = (valid.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        return model(filled, attention_mask=valid, position_ids=positions).logits.numpy()[:, left:]


TOKENS = np.random.default_rng(0).integers(0, 50, (3, 40))


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_the_public_implementation(tmp_path, name):
    torch, model = saved(tmp_path, name)
    policy, params, tokenizer = Transformer.from_pretrained(tmp_path, dtype="float64", completion_length=8)
    assert tokenizer is None
    assert policy.config.stop == 2
    assert jax.tree.structure(params) == jax.tree.structure(jax.eval_shape(policy.init, jax.random.key(0)))
    # they compute angles in float32 also for double weights: 1e-7 per layer and position, times logits of about 4
    plain = theirs_of(torch, model, TOKENS)
    np.testing.assert_allclose(policy.logits(params, jnp.asarray(TOKENS)), plain, atol=3e-5)
    left = jnp.concatenate([jnp.full((3, 4), -1), jnp.asarray(TOKENS)], axis=1)
    padded = theirs_of(torch, model, TOKENS, left=4)
    if np.isnan(
        padded
    ).any():  # theirs has no number for padding that sees nothing in its window, nor for what follows
        padded = plain
    np.testing.assert_allclose(policy.logits(params, left)[:, 4:], padded, atol=3e-5)
    params["norm"] = params["norm"] * 1.001  # the planted violator
    assert np.abs(np.asarray(policy.logits(params, jnp.asarray(TOKENS))) - plain).max() > 2e-4


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3, wide heads", "smollm3"])
def test_in_single_precision_sharded_and_from_bfloat16(tmp_path, name):
    torch, model = saved(tmp_path, name, dtype="bfloat16", shard="8KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    policy, params, _ = Transformer.from_pretrained(tmp_path, completion_length=8)
    assert params["embed"].dtype == jnp.float32
    ours = policy.logits(params, jnp.asarray(TOKENS))
    np.testing.assert_allclose(
        ours, theirs_of(torch, model, TOKENS), atol=1e-4
    )  # 100 roundings of logits near 5
    half, kept, _ = Transformer.from_pretrained(tmp_path, completion_length=8, dtype="bfloat16")
    assert kept["embed"].dtype == jnp.bfloat16
    assert np.abs(np.asarray(half.logits(kept, jnp.asarray(TOKENS))) - ours).max() < 0.5


def test_samples_have_the_log_probabilities_of_the_public_implementation(tmp_path):
    torch, model = saved(tmp_path, "qwen3, yarn")
    policy, params, _ = Transformer.from_pretrained(
        tmp_path, dtype="float64", completion_length=6, temperature=0.8
    )
    prompts = jnp.asarray([[-1, -1, 3, 4], [5, 6, 7, 8]])
    completions, sampled = policy.sample_with_logprobs(params, jax.random.key(0), prompts, 3)
    np.testing.assert_allclose(policy.logprobs(params, prompts, completions), sampled, atol=1e-12)
    for row, start in ((0, 2), (1, 0)):
        whole = np.concatenate(
            [np.broadcast_to(prompts[row, start:], (3, 4 - start)), completions[row]], axis=1
        )
        logits = theirs_of(torch, model, whole)[:, 3 - start : -1] / 0.8
        logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        chosen = np.take_along_axis(logp, np.asarray(completions[row])[..., None], -1)[..., 0]
        mask = np.asarray(policy.mask(completions[row]))
        np.testing.assert_allclose(np.where(mask, chosen, 0), sampled[row], atol=1e-5)
