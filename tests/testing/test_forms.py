"""Functions in the forms in which trainers have them: each sound one passes, its planted twin is caught, in NumPy."""

import functools
from collections import defaultdict
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from gradvar.testing import SignatureError, advantage_target, check_advantage, check_loss, loss_target


def centred(rewards, index):
    """Rewards less their group's mean, zeros for a group with a NaN or of one."""
    rewards = np.asarray(rewards)
    rows = defaultdict(list)
    for place, label in enumerate(index):
        rows[label if isinstance(label, str) else int(label)].append(place)
    out = np.zeros(rewards.shape, rewards.dtype if rewards.dtype.kind == "f" else float)
    for members in rows.values():
        values = rewards[members].astype(out.dtype)
        if np.isfinite(values).all() and np.ptp(values) > 0:
            out[members] = values - values.mean()
    return out


def leaking(rewards, index):
    """The mean is that of the whole batch."""
    rewards = np.asarray(rewards, float)
    return np.where(np.isfinite(rewards), rewards - np.nanmean(rewards), 0.0)


def flat(core):
    return lambda rewards, uid: core(rewards, uid)


def with_mask(core):
    def advantages(rewards, response_mask, index):
        return core(rewards, index)[:, None] * response_mask

    return advantages


def list_of_dicts(core):
    def advantages(samples: list[dict]):
        return core([s["reward"] for s in samples], [s["group_id"] for s in samples]).tolist()

    return advantages


def rows_written_into(core):
    def advantages(samples: list[dict]):
        for sample, value in zip(
            samples, core([s["score"] for s in samples], [s["uid"] for s in samples]), strict=True
        ):
            sample["advantage"] = float(value)

    return advantages


def dict_batch(core):
    def advantages(batch):
        batch["advantages"] = core(batch["rewards"], batch["index"])
        return batch

    return advantages


def sections(core):
    def advantages(data):
        index = data.non_tensor_batch["uid"]
        rewards = np.where(data.batch["response_mask"] > 0, data.batch["token_level_rewards"], 0.0).sum(-1)
        data.batch["advantages"] = core(rewards, index)[:, None] * data.batch["response_mask"]
        data.batch["returns"] = data.batch["token_level_rewards"]
        return data

    return advantages


@dataclass
class Batch:
    rewards: np.ndarray
    group_ids: np.ndarray
    advantages: np.ndarray | None = None
    notes: list = field(default_factory=list)


def record(core):
    def advantages(batch: Batch) -> Batch:
        batch.advantages = core(batch.rewards, batch.group_ids)
        return batch

    return advantages


def keywords(core):
    return lambda **kwargs: core(kwargs["rewards"], kwargs["uids"])


def configured(core):
    def advantages(rewards, index, config):
        return core(rewards, index) / config.scale if config.algorithm.use_scale else core(rewards, index)

    return advantages


def with_defaults(core):
    def advantages(rewards, index, config):
        return core(rewards, index) * config.get("multiplier", 0.5)

    return advantages


def partial(core):
    return functools.partial(lambda rewards, index, settings: core(rewards, index), settings={"a": 1})


def pair(core):
    return lambda rewards, index: (core(rewards, index), rewards)


def pair_reversed(core):
    return lambda rewards, index: (np.asarray(rewards), core(rewards, index))


def odd_dict(core):
    return lambda rewards, index: {"rewards_copy": np.asarray(rewards), "a_hat": core(rewards, index)}


def namespace(core):
    def advantages(batch: dict):
        batch["advantages"] = core(batch["rewards"], batch.get("uid"))

    return advantages


FORMS = [
    flat, with_mask, list_of_dicts, rows_written_into, dict_batch, sections, record, keywords, configured,
    with_defaults, partial, pair, pair_reversed, odd_dict, namespace,
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.__name__)
@pytest.mark.usefixtures("unshrunk")
def test_a_sound_function_passes_in_every_form(form):
    report = check_advantage(form(centred), examples=12)
    assert report.ok, report.table()


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.__name__)
@pytest.mark.usefixtures("unshrunk")
def test_its_twin_is_caught_in_every_form(form):
    report = check_advantage(form(leaking), laws=["group_isolated"], examples=30)
    assert report["group_isolated"].status == "fails", report.table()


class Trainer:
    num_generations = 4

    def by_rows(self, rewards):
        groups = np.asarray(rewards).reshape(-1, self.num_generations)
        centre = groups - groups.mean(1, keepdims=True)
        return np.where(np.isfinite(centre).all(1, keepdims=True), centre, 0.0).reshape(-1)


def test_a_method_is_called_with_the_group_size_of_the_batch():
    trainer = Trainer()
    target = advantage_target(trainer.by_rows)
    assert target.kind == "num-generations"
    np.testing.assert_allclose(
        np.concatenate(target([[0.0, 1.0, 2.0], [1.0, 1.0, 4.0]])), [-1, 0, 1, -1, -1, 2]
    )
    assert trainer.num_generations == 4
    assert "num_generations is set to the group size" in target.signature.note


def test_the_note_says_which_output_was_read_and_output_chooses():
    target = advantage_target(pair_reversed(centred))
    assert "of its outputs 0, 1, '1' is read as the advantages" in target.remark
    assert target.remark in check_advantage(target, laws=["pure"], examples=3).note
    chosen = advantage_target(pair_reversed(centred), output="0")
    np.testing.assert_allclose(chosen([[0.0, 1.0], [2.0, 5.0]])[1], [2, 5])
    with pytest.raises(SignatureError, match="no 'adv'"):
        advantage_target(pair(centred), output="adv")


def test_a_square_result_is_a_fault_that_is_named():
    def squared(rewards, index):
        return np.asarray(rewards)[:, None] - np.asarray(rewards)

    report = check_advantage(squared)
    assert [r.name for r in report.failures] == ["shapes"]
    assert "[B] and [B, 1] are broadcast" in report["shapes"].why


def test_a_stated_shape_is_respected():
    def column(rewards, index):
        assert rewards.shape[1:] == (1,)
        return centred(rewards[:, 0], index)

    assert check_advantage(column, shapes={"rewards": "N1"}, laws=["group_isolated"], examples=5).ok


def test_a_parameter_that_is_not_understood_is_named():
    with pytest.raises(SignatureError, match="what 'temperature' of <lambda> is"):
        advantage_target(lambda rewards, index, temperature: 0)


def test_an_unknown_entry_of_a_batch_is_named():
    def advantages(batch):
        return centred(batch["rewards"], batch["colour"])

    with pytest.raises(SignatureError, match="what 'colour' of batch is"):
        advantage_target(advantages)


def surrogate(logp, old, adv, mask, clip=0.2):
    ratio = np.exp(np.where(mask > 0, logp - old, 0.0))
    adv = adv if np.ndim(adv) == np.ndim(logp) else adv[:, None]
    return -np.minimum(ratio * adv, np.clip(ratio, 1 - clip, 1 + clip) * adv) * mask


def row_mean(per_token, mask):
    return (per_token.sum(-1) / np.maximum(mask.sum(-1), 1)).mean()


def loss_config(sign):
    def loss(logp, old_logp, advantages, mask, config):
        return sign * row_mean(
            surrogate(logp, old_logp, advantages, mask, config.policy_loss.clip_ratio), mask
        )

    return loss


def loss_inputs(sign):
    def loss(logps, inputs):
        mask = inputs["completion_mask"]
        terms = surrogate(logps, inputs["old_per_token_logps"], inputs["advantages"], mask)
        return sign * row_mean(terms, mask), {"clip": 0.0}

    return loss


def loss_per_token(sign):
    return lambda log_probs, old_log_probs, advantages, action_mask: (
        sign * surrogate(log_probs, old_log_probs, advantages, action_mask)
    )


def loss_of_kl(sign):
    def loss(ppo_kl, advantages, eps_clip=0.2):
        ratio = np.exp(-ppo_kl)
        return sign * np.maximum(
            -ratio * advantages, -np.clip(ratio, 1 - eps_clip, 1 + eps_clip) * advantages
        ), 0.0

    return loss


def loss_of_log_ratio(sign):
    def loss(log_ratio, advantages, mask):
        return sign * row_mean(surrogate(log_ratio, 0.0, advantages, mask), mask)

    return loss


def loss_packed(sign):
    def loss(logprobs, old_logprobs, advantages, loss_mask, position_ids):
        assert logprobs.ndim == 1
        assert position_ids.shape == logprobs.shape
        terms = surrogate(logprobs, old_logprobs, advantages, loss_mask)
        return sign * terms.sum() / max(loss_mask.sum(), 1)

    return loss


def loss_of_model(sign):
    def loss(model, inputs):
        logp = model(inputs["input_ids"])
        mask = inputs["completion_mask"]
        return sign * row_mean(surrogate(logp, inputs["old_logps"], inputs["advantages"], mask), mask)

    return loss


def loss_of_logits(sign):
    def loss(logits, labels, old_logps, advantages, mask):
        shifted = logits - logits.max(-1, keepdims=True)
        normal = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        logp = np.take_along_axis(normal, labels[..., None], -1)[..., 0]
        return sign * row_mean(surrogate(logp, old_logps, advantages, mask), mask)

    return loss


def loss_of_steps(sign):
    def loss(logp, old_logp, advantages, mask, num_items_in_batch):
        return sign * surrogate(logp, old_logp, advantages, mask).sum() / num_items_in_batch

    return loss


def loss_object(sign):
    def loss(batch):
        mask = batch.response_mask
        terms = surrogate(batch.log_probs, batch.old_log_probs, batch.advantages, mask)
        return SimpleNamespace(loss=sign * row_mean(terms, mask))

    return loss


LOSSES = [
    loss_config, loss_inputs, loss_per_token, loss_of_kl, loss_of_log_ratio, loss_packed, loss_of_model,
    loss_of_logits, loss_of_steps, loss_object,
]  # fmt: skip


@pytest.mark.parametrize("form", LOSSES, ids=lambda f: f.__name__)
@pytest.mark.usefixtures("unshrunk")
def test_a_sound_loss_passes_in_every_form(form):
    report = check_loss(form(1), examples=5)
    assert report.ok, report.table()


@pytest.mark.parametrize("form", LOSSES, ids=lambda f: f.__name__)
@pytest.mark.usefixtures("unshrunk")
def test_a_loss_without_its_minus_is_caught_in_every_form(form):
    report = check_loss(form(-1), laws=["both_signs"], examples=10)
    assert report["both_signs"].status == "fails", report.table()


def test_weights_are_those_of_the_log_probabilities_in_every_form():
    from gradvar.testing.losses import LossBatch

    logp = -1.0 - np.arange(8.0).reshape(2, 4) / 10
    mask = np.array([[1, 1, 0, 0], [1, 0, 1, 1]], bool)
    batch = LossBatch(logp, logp + 0.05, np.array([1.0, -2.0]), mask)
    wanted = loss_target(loss_per_token(1)).weights(batch)[1]
    for form in (loss_of_kl, loss_of_log_ratio, loss_of_logits, loss_of_model):
        weights = loss_target(form(1)).weights(batch)[1] * (
            1 if form is loss_of_kl else 2 * mask.sum(-1)[:, None]
        )
        np.testing.assert_allclose(np.where(mask, weights, 0), wanted, atol=1e-7)


def test_a_loss_for_square_batches_alone_is_named():
    def loss(old_log_probs, log_probs, advantages, response_mask):
        mean = ((log_probs - old_log_probs) * response_mask).sum(-1) / np.maximum(response_mask.sum(-1), 1)
        return -(np.exp(mean * response_mask) * advantages[:, None] * response_mask).mean()

    report = check_loss(loss)
    assert [r.name for r in report.failures] == ["shapes"]
    assert "as many rollouts as tokens" in report["shapes"].why


@pytest.mark.slow
def test_the_command_takes_a_shape_and_an_output(tmp_path, capsys):
    from gradvar.cli import main as cli

    file = tmp_path / "columns.py"
    file.write_text(
        "import numpy as np\n"
        "def f(rewards, index):\n"
        "    assert rewards.shape[1:] == (1,), 'a column is expected'\n"
        "    index, out = np.asarray(index), np.zeros(len(rewards))\n"
        "    for g in set(index.tolist()):\n"
        "        r = rewards[index == g, 0]\n"
        "        out[index == g] = r - r.mean() if np.isfinite(r).all() and np.ptp(r) > 0 else 0\n"
        "    return rewards[:, 0], out\n"
    )
    assert cli.run(["check", f"{file}:f", "--examples", "8"]) == 2
    assert "a column is expected" in capsys.readouterr().err
    assert cli.run(["check", f"{file}:f", "--shape", "rewards=B,1", "--examples", "8"]) == 0
    assert "'1' is read as the advantages" in capsys.readouterr().out
    assert cli.run(["check", f"{file}:f", "--shape", "rewards=B,1", "--output", "0", "--examples", "8"]) == 1
    for words, message in (
        (["--shape", "colour=B,1"], "'colour' is no array that the kit knows"),
        (["--shape", "rewards=X,1"], "'rewards=X,1' is not understood"),
        (["--shape", "rewards=B,1", "--output", "9"], "no '9'"),
    ):
        capsys.readouterr()
        assert cli.run(["check", f"{file}:f", *words]) == 2
        assert message in capsys.readouterr().err
