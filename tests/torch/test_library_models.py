"""Banks of models and adapters of the libraries that trainers use."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from .scenes import PROMPT_MASK, logprobs_torch, record_torch  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("family", ["Qwen2", "Llama", "GPT2"])
@pytest.mark.slow
def test_hugging_face_models(family, rollouts):
    """Log-probabilities as the library has them with left padding and positions; rows as plain autograd has them."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"vocab_size": 7, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 2, "num_key_value_heads": 1}
    if family == "GPT2":
        sizes = {
            "vocab_size": 7,
            "n_embd": 16,
            "n_layer": 2,
            "n_head": 2,
            "bos_token_id": 0,
            "eos_token_id": 6,
        }
    model = getattr(transformers, f"{family}{'LMHeadModel' if family == 'GPT2' else 'ForCausalLM'}")(
        getattr(transformers, f"{family}Config")(**sizes)
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    prompts, completions = (torch.as_tensor(rollouts[k]) for k in ("prompts", "completions"))
    rows = torch.cat([prompts.repeat_interleave(6, 0), completions.flatten(0, 1)], 1)
    allowed = torch.cat([torch.as_tensor(PROMPT_MASK).repeat_interleave(6, 0), torch.ones(18, 4).bool()], 1)
    positions = (allowed.long().cumsum(-1) - 1).clamp(min=0)
    logits = model(input_ids=rows, attention_mask=allowed.long(), position_ids=positions).logits
    logp = torch.log_softmax(logits, -1)[:, 2:-1].gather(-1, rows[:, 3:, None])[..., 0].reshape(3, 6, 4)
    counted = torch.as_tensor(rollouts["mask"])
    given = {k: v for k, v in rollouts.items() if k not in ("rewards", "logp_old")}
    found = logprobs_torch(model, **given)
    torch.testing.assert_close(found, torch.where(counted, logp, 0.0).detach(), rtol=0, atol=2e-5)
    bank = record_torch(model, **rollouts)
    assert bank.info["way"].startswith("torch vmap")
    vectors = bank.recording.scores.vectors
    for q, n in ((0, 0), (2, 5)):
        weights = bank.recording.rows.basis[q, n, 0]
        slope = torch.autograd.grad(
            (logp[q, n] * torch.as_tensor(weights)).sum(), list(model.parameters()), retain_graph=True
        )
        expected = torch.cat([g.flatten() for g in slope]).numpy()
        row = int(np.flatnonzero(bank.recording.rows.rollout[q] == n)[0])
        np.testing.assert_allclose(vectors[q, row], expected, rtol=0, atol=1e-4 * np.abs(expected).max())
        assert np.abs(vectors[q, row - 1] - expected).max() > 0.01  # the planted violator: another row's


@pytest.mark.filterwarnings("ignore::FutureWarning")  # between those two libraries
@pytest.mark.slow
def test_low_rank_adapters(rollouts):
    """LoRA of the library that trainers use: what it marks as trainable, by factors, is what a loop finds."""
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"vocab_size": 7, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 2, "num_key_value_heads": 1}
    base = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**sizes))
    config = peft.LoraConfig(
        r=2, target_modules=["q_proj", "down_proj"], lora_dropout=0.5, init_lora_weights=False
    )
    model = peft.get_peft_model(base, config)
    banks = [record_torch(model, **rollouts, way=way) for way in ("auto", "loop")]
    assert banks[0].info["way"].startswith("torch factors on 8 of")
    assert all("lora_" in name for name in banks[0].info["parameters"])
    np.testing.assert_allclose(
        banks[0].recording.scores.vectors, banks[1].recording.scores.vectors, rtol=0, atol=1e-4
    )
    assert np.abs(banks[0].recording.scores.vectors).max() > 0.1
