"""Settings of a model folder that mean something else than they seem to, and files that never end: one line each."""

import json
import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gradvar.files.atomic import read_json
from gradvar.policies import Transformer

from . import folders

FLAGS = ("tie_word_embeddings", "attention_bias", "mlp_bias", "use_sliding_window")
HUGE = 10**400
SETTINGS = [
    *((flag, value) for flag in FLAGS for value in ("false", "true", 0, 1, [], {})),
    ("rms_norm_eps", 5.0), ("rms_norm_eps", HUGE), ("rms_norm_eps", "1e-5"), ("rms_norm_eps", True),
    ("rope_theta", HUGE), ("rope_theta", "1e4"), ("vocab_size", HUGE), ("hidden_size", 8.0), ("layer_types", 5),
    ("layer_types", "full_attention"), ("eos_token_id", -1), ("eos_token_id", HUGE), ("eos_token_id", "2"),
    ("eos_token_id", [2, "3"]), ("eos_token_id", True), ("eos_token_id", 2.0), ("eos_token_id", 13),
    *((key, value) for key in ("layer_types", "rope_scaling", "rope_parameters") for value in (0, False, "")),
    *(("hidden_act", value) for value in (0, False, "", [])), ("mlp_only_layers", {}), ("head_dim", 0),
    ("decoder_sparse_step", True), ("partial_rotary_factor", True), ("model_type", HUGE),
    ("rope_scaling", {"factor": 4.0}),
    ("rope_scaling", {**folders.YARN, "truncate": "false"}),
    ("rope_scaling", {**folders.YARN, "attention_factor": "1"}),
]  # fmt: skip


def refused(folder, *says):
    with pytest.raises(ValueError, match=r"folder|stop") as caught:
        Transformer.from_pretrained(folder, completion_length=5)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 600
    for text in says:
        assert text in line


def test_every_setting_is_of_its_type(tmp_path):
    config, _ = folders.write(tmp_path, "llama")
    Transformer.from_pretrained(tmp_path, completion_length=5)
    for key, value in SETTINGS:
        (tmp_path / "config.json").write_text(json.dumps(config | {key: value}))
        refused(
            tmp_path, "stop" if (key, value) == ("eos_token_id", 13) else key if "rope_s" not in key else ""
        )


def test_a_tensor_in_two_files_is_refused(tmp_path):
    folders.write(tmp_path, "llama", shards=2)
    first, second = sorted(tmp_path.glob("*.safetensors"))
    tensors, name = load_file(second), next(iter(load_file(first)))
    save_file(tensors | {name: np.zeros_like(load_file(first)[name])}, second)
    refused(tmp_path, name, first.name, second.name)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json", "generation_config.json"])
def test_what_is_no_plain_file_is_not_read(tmp_path, name):
    folders.write(tmp_path, "llama", shards=2)
    path = tmp_path / name
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for target in (path, pipe):
        with pytest.raises(ValueError, match="no plain file"):
            read_json(target, "folder", "copy it again")
    if name == "config.json":
        refused(tmp_path, "config.json")
