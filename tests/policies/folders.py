"""Model folders as the transformers library writes them, made by hand."""

import json

import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

BASE = {
    "vocab_size": 13, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "max_position_embeddings": 64, "hidden_act": "silu",
    "rope_theta": 10000.0, "eos_token_id": 2, "attention_dropout": 0.0, "architectures": ["Anything"],
}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
LLAMA3 = {"type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3 |= {"original_max_position_embeddings": 32}
FAMILIES = {
    "llama": {"model_type": "llama", "tie_word_embeddings": False},
    "smollm": {"model_type": "llama", "tie_word_embeddings": True, "num_key_value_heads": 1},
    "llama 3.1": {"model_type": "llama", "rope_scaling": LLAMA3, "head_dim": 6},
    "llama linear": {"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 4.0}},
    "qwen2": {
        "model_type": "qwen2",
        "tie_word_embeddings": True,
        "use_sliding_window": False,
        "sliding_window": 9,
    },
    "qwen2 yarn": {"model_type": "qwen2", "rope_scaling": YARN, "head_dim": 8},
    "qwen3": {
        "model_type": "qwen3",
        "head_dim": 6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    },
    "smollm3": {"model_type": "smollm3", "no_rope_layers": [1, 0]},
}


def tensors_of(config, rng):
    """Random weights by the names that the library gives them, outputs by inputs."""
    width, vocab = config["hidden_size"], config["vocab_size"]
    head = config.get("head_dim") or width // config["num_attention_heads"]
    query, kv = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    shapes = {"model.embed_tokens": (vocab, width), "model.norm": (width,)}
    if not config.get("tie_word_embeddings", config["model_type"] == "smollm3"):
        shapes["lm_head"] = (vocab, width)
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}"
        shapes |= {f"{at}.input_layernorm": (width,), f"{at}.post_attention_layernorm": (width,)}
        shapes |= {f"{at}.self_attn.q_proj": (query, width), f"{at}.self_attn.o_proj": (width, query)}
        shapes |= {f"{at}.self_attn.{x}_proj": (kv, width) for x in "kv"}
        shapes |= {f"{at}.mlp.{x}_proj": (config["intermediate_size"], width) for x in ("gate", "up")}
        shapes |= {f"{at}.mlp.down_proj": (width, config["intermediate_size"])}
        if config["model_type"] == "qwen3":
            shapes |= {f"{at}.self_attn.{x}_norm": (head,) for x in "qk"}
    named = {f"{name}.weight": shape for name, shape in shapes.items()}
    if config["model_type"] == "qwen2":
        named |= {
            name.replace("weight", "bias"): shape[:1]
            for name, shape in named.items()
            if any(f"{x}_proj" in name for x in "qkv")
        }
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in named.items()}


def write(folder, family, *, shards=1, dtype="float32", **more):
    """A folder of this family; its configuration and tensors."""
    config = BASE | FAMILIES[family] | more
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    tensors = tensors_of(config, np.random.default_rng(0))
    kept = {name: np.asarray(x, jnp.dtype(dtype)) for name, x in tensors.items()}
    if shards == 1:
        save_file(kept, folder / "model.safetensors")
        return config, tensors
    names = [f"model-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)]
    where = {name: names[i % shards] for i, name in enumerate(sorted(kept))}
    for file in names:
        save_file({n: x for n, x in kept.items() if where[n] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return config, tensors
