"""Model folders made by hand: against the NumPy transformer, and what is refused. PyTorch's own: test_hugging_face."""

import json
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gradvar.policies import Transformer
from gradvar.policies.transformer.rope import Rope

from . import folders
from .reference import frequency, next_token_logprobs


def ours_of(policy, params, tokens):
    return jax.nn.log_softmax(policy.logits(params, jnp.asarray([tokens]))[0], axis=-1)


TOKENS = np.random.default_rng(1).integers(0, 13, 20)


@pytest.mark.parametrize("family", folders.FAMILIES)
def test_log_probabilities_are_those_of_the_numpy_transformer(tmp_path, family):
    _, tensors = folders.write(tmp_path, family, shards=1 if family == "llama" else 3)
    policy, params, tokenizer = Transformer.from_pretrained(tmp_path, dtype="float64", completion_length=5)
    assert tokenizer is None
    assert (policy.config.stop, policy.config.max_length) == (2, 64)
    expected = next_token_logprobs(policy.config, params, TOKENS)
    np.testing.assert_allclose(ours_of(policy, params, TOKENS), expected, atol=1e-10)
    # the tree against the names on disk: outputs by inputs there, inputs by outputs here
    np.testing.assert_array_equal(
        params["layers"]["key"][1], tensors["model.layers.1.self_attn.k_proj.weight"].T
    )
    np.testing.assert_array_equal(
        params["layers"]["down"][0], tensors["model.layers.0.mlp.down_proj.weight"].T
    )
    assert policy.num_params() == sum(x.size for x in tensors.values())
    violated = dict(params, layers=dict(params["layers"], value=params["layers"]["value"] * 1.01))
    assert np.abs(ours_of(policy, violated, TOKENS) - expected).max() > 1e-4


def test_tied_weights_under_the_name_of_the_head(tmp_path):
    """Some writers keep the shared matrix as ``lm_head.weight`` alone."""
    _, tensors = folders.write(tmp_path, "smollm")
    file = tmp_path / "model.safetensors"
    renamed = {n.replace("model.embed_tokens", "lm_head"): x for n, x in load_file(file).items()}
    save_file(renamed, file)
    _, params, _ = Transformer.from_pretrained(tmp_path, dtype="float64", completion_length=5)
    np.testing.assert_array_equal(params["embed"], tensors["model.embed_tokens.weight"])
    save_file({n: x for n, x in renamed.items() if n != "lm_head.weight"}, file)
    with pytest.raises(ValueError, match=r"embed_tokens"):
        Transformer.from_pretrained(tmp_path, dtype="float64", completion_length=5)


@pytest.mark.parametrize("rope", [
    Rope(10_000.0), Rope(500.0, "linear", 3.0), Rope(1e6, "llama3", 8.0, 256, 1.0, 4.0),
    Rope(1e4, "yarn", 4.0, 128), Rope(1e6, "yarn", 2.0, 4096, 1.0, 32.0),
])  # fmt: skip
def test_frequencies_by_cases(rope):
    expected = [frequency(rope, pair, 32) for pair in range(16)]
    np.testing.assert_allclose(rope.frequencies(32), expected, rtol=1e-12)
    plain = Rope(rope.theta).frequencies(32)
    share = rope.frequencies(32) / plain
    assert np.all((share < 1 + 1e-12) & (share > (1 - 1e-12) / rope.factor))


@pytest.mark.slow
def test_bfloat16_weights_and_activations(tmp_path):
    folders.write(tmp_path, "qwen3", dtype="bfloat16")
    wide, params, _ = Transformer.from_pretrained(tmp_path, completion_length=5)
    narrow, kept, _ = Transformer.from_pretrained(tmp_path, completion_length=5, dtype="bfloat16")
    assert (params["embed"].dtype, kept["embed"].dtype) == (jnp.float32, jnp.bfloat16)
    np.testing.assert_array_equal(params["embed"], kept["embed"].astype(jnp.float32))
    away = np.abs(ours_of(narrow, kept, TOKENS) - ours_of(wide, params, TOKENS))
    assert 1e-4 < away.max() < 0.5


@pytest.mark.slow
def test_everything_else_works_on_it(tmp_path):
    folders.write(tmp_path, "smollm3")
    policy, params, _ = Transformer.from_pretrained(tmp_path, completion_length=5, dtype="float64", stop=3)
    prompts = jnp.asarray([[-1, 4, 5], [6, 7, 8]])
    completions, logp = policy.sample_with_logprobs(params, jax.random.key(0), prompts, 4)
    np.testing.assert_allclose(policy.logprobs(params, prompts, completions), logp, atol=1e-12)
    alone = policy.logprobs(params, prompts[:1, 1:], completions[:1])
    np.testing.assert_allclose(alone, logp[:1], atol=1e-12)  # padding on the left changes nothing


CONFIGS = {
    "model_type 'gpt2'": {"model_type": "gpt2"},
    "hidden_act 'gelu'": {"hidden_act": "gelu"},
    "attention_bias True": {"attention_bias": True},
    "mlp_bias True": {"mlp_bias": True},
    "use_sliding_window True": {"use_sliding_window": True},
    "layer_types": {"layer_types": ["full_attention", "sliding_attention"]},
    "quantization_config": {"quantization_config": {"bits": 4}},
    "partial_rotary_factor 0.5": {"partial_rotary_factor": 0.5},
    "rope type 'longrope'": {"rope_scaling": {"rope_type": "longrope", "factor": 2.0}},
    "factor -1": {"rope_scaling": {"rope_type": "linear", "factor": -1}},
    "rope_scaling 3": {"rope_scaling": 3},
    "hidden_size None": {"hidden_size": None},
    "num_hidden_layers 10000000000": {"num_hidden_layers": 10**10},
    "num_attention_heads '4'": {"num_attention_heads": "4"},
    "rms_norm_eps 0": {"rms_norm_eps": 0},
    "heads: 3": {"num_attention_heads": 3, "num_key_value_heads": 3},
    "_norm.weight": {"model_type": "qwen3", "head_dim": 2},
    "shape": {"vocab_size": 14},
    "model.layers.2.": {"num_hidden_layers": 3},
    "does not fit|do not belong": {"num_hidden_layers": 1},
}


@pytest.mark.parametrize("message", CONFIGS)
def test_what_is_not_supported_is_refused_by_name(tmp_path, message):
    config, _ = folders.write(tmp_path, "llama")
    (tmp_path / "config.json").write_text(json.dumps(config | CONFIGS[message]))
    if message == "model.layers.2.":
        message = r"no tensor model\.layers\.2\."
    with pytest.raises(ValueError, match=message) as caught:
        Transformer.from_pretrained(tmp_path, completion_length=5)
    assert "\n" not in str(caught.value)


def test_damaged_and_dangerous_folders_are_one_clear_line(tmp_path):
    def refused(message):
        with pytest.raises(ValueError, match=message) as caught:
            Transformer.from_pretrained(tmp_path, completion_length=5)
        assert "\n" not in str(caught.value)

    refused("no file")
    config, tensors = folders.write(tmp_path, "llama")
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    refused("no whole safetensors file")
    weights.write_bytes((1 << 62).to_bytes(8, "little") + whole[8:])  # a header of four exabytes
    refused("no whole safetensors file")
    weights.unlink()
    refused(r"no model\.safetensors")
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(tensors))
    refused("may hold code and is not read")
    index = tmp_path / "model.safetensors.index.json"
    for name in ("../outside.safetensors", "/etc/passwd", "model.bin"):
        index.write_text(json.dumps({"weight_map": {"model.norm.weight": name}}))
        refused("plain names")
    index.write_text(json.dumps({"weight_map": {"model.norm.weight": "gone.safetensors"}}))
    refused("is missing")
    index.write_text("[1, 2")
    refused("json is damaged")
    index.unlink()
    save_file(tensors | {"model.norm.weight": np.full(8, np.nan, np.float32)}, weights)
    refused("NaN or an infinity")
    save_file(tensors | {"model.norm.weight": np.ones(8, np.int8)}, weights)
    refused("holds I8, and quantised weights are not supported; save the model again in float32")
    save_file(tensors | {"model.norm.weight": np.ones(8, np.complex64)}, weights)
    refused(
        r"model\.norm\.weight in .*model\.safetensors holds C64, complex numbers.* save the model again in float32"
    )
    (tmp_path / "config.json").write_text("[" * 100_000)
    refused("json is damaged")
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="context is 64"):
        Transformer.from_pretrained(tmp_path, completion_length=5, max_length=100)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "model.safetensors.index.json"])
def test_no_damage_gives_anything_but_a_clear_error(tmp_path, name):
    """400 random damages of each file: bits flipped, bytes cut out, repeated or replaced, the end cut off."""
    folders.write(tmp_path, "qwen3", shards=1 if name == "model.safetensors" else 2)
    path, rng, refused = tmp_path / name, np.random.default_rng(0), []
    whole = path.read_bytes()
    head = len(whole) if name.endswith("json") else 8 + int.from_bytes(whole[:8], "little")
    for _ in range(400):
        data, at = bytearray(whole), int(rng.integers(head))
        kind, size = rng.integers(5), int(rng.integers(1, 9))
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del data[at : at + size]
        elif kind == 2:
            data[at:at] = data[at : at + size]
        elif kind == 3:
            data[at : at + size] = rng.bytes(size)
        else:
            del data[at:]
        path.write_bytes(bytes(data))
        try:
            Transformer.from_pretrained(tmp_path, completion_length=5)
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) > 200
    assert all("\n" not in line and len(line) < 1000 for line in refused)


def test_weights_are_not_copied_more_than_needed(tmp_path):
    """A tied head in the file is left alone; so are buffers that other versions save too."""
    folders.write(tmp_path, "smollm")
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    extra = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(1, np.float32)}
    save_file(tensors | extra | {"lm_head.weight": tensors["model.embed_tokens.weight"]}, path)
    _, params, _ = Transformer.from_pretrained(tmp_path, completion_length=5)
    assert "head" not in params
    save_file(tensors | {"model.layers.0.surprise.weight": np.ones(1, np.float32)}, path)
    with pytest.raises(ValueError, match="surprise"):
        Transformer.from_pretrained(tmp_path, completion_length=5)
