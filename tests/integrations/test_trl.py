"""``GradVarCallback`` in a real ``GRPOTrainer`` of a tiny model: its log is right, the training untouched."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl")
transformers = pytest.importorskip("transformers")
datasets = pytest.importorskip("datasets")
tokenizers = pytest.importorskip("tokenizers")

from gradvar.integrations import Monitor  # noqa: E402
from gradvar.integrations.trl import GradVarCallback, last_parameters  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
WORDS = [f"w{i}" for i in range(24)]
GROUP, STEPS = 4, 4


def tokenizer():
    names = ["<pad>", "<eos>", "<unk>", *WORDS]
    model = tokenizers.models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>")
    plain = tokenizers.Tokenizer(model)
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )


def rewards(completions, **_):
    """1 where the first word is among the first half of the words."""
    return [float(text.split()[:1] != [] and text.split()[0] in WORDS[:12]) for text in completions]


def trainer(folder):
    transformers.set_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=27, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0, eos_token_id=1, bos_token_id=1,
    )  # fmt: skip
    settings = trl.GRPOConfig(
        output_dir=str(folder), per_device_train_batch_size=8 * GROUP, num_generations=GROUP, max_steps=STEPS,
        max_completion_length=6, logging_steps=1, report_to="none", use_cpu=True, bf16=False, learning_rate=1e-2,
        save_strategy="no", disable_tqdm=True, seed=3, gradient_checkpointing=False,
    )  # fmt: skip
    data = datasets.Dataset.from_dict({"prompt": [f"{a} {b}" for a in WORDS[:8] for b in WORDS[:4]]})
    return trl.GRPOTrainer(
        transformers.LlamaForCausalLM(config), rewards, args=settings, train_dataset=data,
        processing_class=tokenizer(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same training without the callback and with it."""
    plain = trainer(tmp_path_factory.mktemp("run"))
    plain.train()
    watched = trainer(tmp_path_factory.mktemp("run"))
    callback = GradVarCallback(
        watched, monitor=Monitor(group_sizes=(2, 4), window=STEPS), score_every=2, overhead=1e9
    )
    watched.add_callback(callback)
    watched.train()
    return plain, watched, callback


def test_the_numbers_are_in_the_trainers_log(runs):
    _, watched, callback = runs
    logs = [log for log in watched.state.log_history if "gradvar/effective_groups" in log]
    assert len(logs) == STEPS
    shares = [log["frac_reward_zero_std"] for log in logs]  # TRL's, step by step
    assert logs[-1]["gradvar/frac_reward_zero_std"] == pytest.approx(np.mean(shares), abs=1e-6)
    assert logs[-1]["gradvar/groups_with_signal/G=4"] == pytest.approx(1 - np.mean(shares), abs=1e-6)
    assert 0 < logs[-1]["gradvar/groups_with_signal/G=2"] < logs[-1]["gradvar/groups_with_signal/G=4"]
    assert "gradvar/snr_per_rollout/G=4" not in logs[0]
    assert np.isfinite(logs[-1]["gradvar/snr_per_rollout/G=4"])
    assert logs[-1]["gradvar/raise_or_lower_G"] in (-1.0, 0.0, 1.0)
    assert logs[-1]["gradvar/overhead"] > 0
    assert "equal rewards" in callback.monitor.advice()


def test_the_training_is_the_same_with_it(runs):
    plain, watched, _ = runs
    for (name, a), b in zip(plain.model.named_parameters(), watched.model.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_a_look_waits_until_it_fits(runs):
    callback = runs[2]
    callback.overhead, callback._looked = 1e-6, 0
    assert not callback._is_due()
    callback.overhead = 1e9  # of however short a training
    assert callback._is_due()


def test_the_last_layer_or_the_adapter_is_looked_at(runs):
    names = [name for name, _ in runs[1].model.named_parameters()]
    pattern = last_parameters(runs[1].model)
    import re

    assert {name for name in names if re.search(pattern, name)} == {n for n in names if ".layers.1." in n}


def test_what_is_no_trainer_is_refused_in_a_line():
    with pytest.raises(ValueError, match="trainer: object has no _calculate_rewards"):
        GradVarCallback(object())
