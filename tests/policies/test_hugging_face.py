"""The transformer against the Llama and Qwen2 of the transformers library, where that is installed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.policies import Transformer, TransformerConfig

pytestmark = pytest.mark.slow

SIZES = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5}
OURS = {
    "attention_norm": "input_layernorm.weight",
    "mlp_norm": "post_attention_layernorm.weight",
    "query": "self_attn.q_proj.weight",
    "key": "self_attn.k_proj.weight",
    "value": "self_attn.v_proj.weight",
    "output": "self_attn.o_proj.weight",
    "gate": "mlp.gate_proj.weight",
    "up": "mlp.up_proj.weight",
    "down": "mlp.down_proj.weight",
    "query_bias": "self_attn.q_proj.bias",
    "key_bias": "self_attn.k_proj.bias",
    "value_bias": "self_attn.v_proj.bias",
}


def translated(state):
    """Their weights in our tree: layers stacked, matrices as inputs by outputs."""
    layers = {}
    for name, theirs in OURS.items():
        found = [state[key].T for i in range(3) if (key := f"model.layers.{i}.{theirs}") in state]
        if found:
            layers[name] = jnp.asarray(np.stack(found))
    return {
        "embed": jnp.asarray(state["model.embed_tokens.weight"]),
        "norm": jnp.asarray(state["model.norm.weight"]),
        "layers": layers,
        "head": jnp.asarray(state["lm_head.weight"].T),
    }


@pytest.mark.parametrize(("family", "tied"), [("Llama", False), ("Llama", True), ("Qwen2", True)])
def test_logits_are_those_of_the_public_implementation(family, tied):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    theirs = getattr(transformers, f"{family}Config")(**SIZES, tie_word_embeddings=tied)
    model = getattr(transformers, f"{family}ForCausalLM")(theirs).double().eval()
    tokens = torch.randint(0, 50, (3, 12))
    filled = torch.cat([torch.zeros(3, 4, dtype=torch.long), tokens], dim=1)
    valid = torch.cat([torch.zeros(3, 4, dtype=torch.long), torch.ones_like(tokens)], dim=1)
    with torch.no_grad():
        for parameter in model.parameters():  # no zero bias, no unit norm
            parameter.add_(0.2 * torch.randn_like(parameter))
        plain = model(tokens).logits.numpy()
        positions = (valid.cumsum(-1) - 1).clamp(min=0)
        padded = model(filled, attention_mask=valid, position_ids=positions).logits.numpy()[:, 4:]
    params = translated({key: value.numpy() for key, value in model.state_dict().items()})
    if tied:
        del params["head"]
    config = TransformerConfig(
        vocab=50, completion_length=4, layers=3, width=32, heads=4, kv_heads=2, hidden=48,
        norm_eps=1e-5, qkv_bias=family == "Qwen2", tied=tied, dtype="float64", pad=-1,
    )  # fmt: skip
    policy = Transformer(config)
    assert jax.tree.structure(params) == jax.tree.structure(jax.eval_shape(policy.init, jax.random.key(0)))
    # they compute angles in float32 also for double weights: 1e-7 per layer, times logits of about 4
    ours = jnp.asarray(tokens.numpy())
    np.testing.assert_allclose(policy.logits(params, ours), plain, atol=1e-5)
    left = jnp.concatenate([jnp.full((3, 4), -1), ours], axis=1)
    np.testing.assert_allclose(policy.logits(params, left)[:, 4:], padded, atol=1e-5)
    params["norm"] = params["norm"] * 1.001  # the planted violator
    assert np.abs(np.asarray(policy.logits(params, ours)) - plain).max() > 1e-4
