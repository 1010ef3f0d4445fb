"""Sound functions in the signatures of public trainers, and one fault for each: written for these tests."""

from dataclasses import dataclass
from types import SimpleNamespace

import torch


def centred(rewards, labels):
    out = torch.zeros_like(rewards)
    for label in set(labels):
        rows = [row for row, other in enumerate(labels) if other == label]
        group = rewards[rows]
        if torch.isfinite(group).all() and len(rows) > 1:
            out[rows] = group - group.mean()
    return out


def clipped(logp, old_logp, advantages, mask, low=0.2, high=0.2):
    """Token losses, [N, T]: zero on masked tokens, whatever they hold."""
    ratio = torch.exp(torch.where(mask.bool(), logp - old_logp, 0.0))
    return -torch.min(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages) * mask


def sequence_mean(tokens, mask):
    return (tokens.sum(-1) / mask.sum(-1).clamp(min=1)).mean()


def numpy_labels(index):
    assert index.dtype == object
    assert isinstance(index[0], str)
    return list(index)


# --- verl
def verl_advantage(token_level_rewards, response_mask, index, epsilon=1e-6, config=None, **kwargs):
    scores = torch.where(response_mask.bool(), token_level_rewards, 0.0).sum(-1)
    if config.get("norm_adv_by_std_in_grpo", True) and config.norm_adv_by_std_in_grpo != "no":
        assert config.gamma == 1.0
    advantages = centred(scores, numpy_labels(index)).unsqueeze(-1) * response_mask
    return advantages, advantages


def verl_advantage_of_the_batch(token_level_rewards, response_mask, index, config=None):
    scores = torch.where(response_mask.bool(), token_level_rewards, 0.0).sum(-1)
    advantages = (scores - scores.mean()).unsqueeze(-1) * response_mask
    return advantages, advantages


def verl_loss(
    old_log_prob, log_prob, advantages, response_mask, loss_agg_mode="seq-mean-token-mean", config=None,
    rollout_is_weights=None,
):  # fmt: skip
    assert rollout_is_weights is None
    assert loss_agg_mode == "seq-mean-token-mean"
    tokens = clipped(
        log_prob, old_log_prob, advantages, response_mask, config.clip_ratio_low, config.clip_ratio_high
    )
    return sequence_mean(tokens, response_mask), {"actor/pg_loss": 0.0}


def verl_loss_swapped(old_log_prob, log_prob, advantages, response_mask, loss_agg_mode="", config=None):
    return verl_loss(log_prob, old_log_prob, advantages, response_mask, config=config)


# --- TRL
class TrlTrainer:
    def _compute_loss(self, model, inputs):
        mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
        logps, _, _ = self._get_per_token_logps_and_entropies(model, inputs["completion_ids"])
        advantages = inputs["advantages"]
        advantages = advantages if advantages.ndim == 2 else advantages.unsqueeze(1)
        tokens = clipped(
            logps, inputs["old_per_token_logps"], advantages, mask, self.epsilon_low, self.epsilon_high
        )
        if self.beta:
            gap = torch.where(mask.bool(), inputs["ref_per_token_logps"] - logps, 0.0)
            tokens = tokens + self.beta * (torch.exp(gap) - gap - 1) * mask
        self._metrics["train"]["kl"].append(0.0)
        return sequence_mean(tokens, mask) / self.current_gradient_accumulation_steps


class TrlTrainerUnclipped(TrlTrainer):
    def _compute_loss(self, model, inputs):
        self.epsilon_low, self.epsilon_high = self.epsilon_high, 1e9
        return TrlTrainer._compute_loss(self, model, inputs)


def trl_loss(model, inputs):
    logits = model(inputs["completion_ids"]).logits[:, :-1]
    logps = torch.log_softmax(logits, -1)[..., 0]
    tokens = clipped(logps, inputs["old_per_token_logps"], inputs["advantages"], inputs["completion_mask"])
    return sequence_mean(tokens, inputs["completion_mask"])


def trl_loss_of_padding(model, inputs):
    logps = torch.log_softmax(model(inputs["completion_ids"]).logits[:, :-1], -1)[..., 0]
    ones = torch.ones_like(inputs["completion_mask"])
    return sequence_mean(clipped(logps, inputs["old_per_token_logps"], inputs["advantages"], ones), ones)


def trl_advantage(rewards, num_generations, device="cpu"):
    return centred(rewards, [row // num_generations for row in range(len(rewards))])


def trl_advantage_of_functions(rewards_per_func, reward_weights, num_generations):
    return trl_advantage((rewards_per_func * reward_weights).sum(1), num_generations), None


def trl_advantage_of_the_batch(rewards, num_generations):
    return rewards - rewards.mean()


# --- OpenRLHF
class OpenRlhfLoss(torch.nn.Module):
    def __init__(self, clip_eps_low=0.2, clip_eps_high=0.2):
        super().__init__()
        self.low, self.high = clip_eps_low, clip_eps_high

    def forward(self, log_probs, old_log_probs, advantages, action_mask=None, rollout_log_probs=None):
        tokens = clipped(log_probs, old_log_probs, advantages, action_mask, self.low, self.high)
        return sequence_mean(tokens, action_mask), torch.tensor(0.0), None


class OpenRlhfLossOfSums(OpenRlhfLoss):
    def forward(self, log_probs, old_log_probs, advantages, action_mask=None):
        rows = clipped(log_probs, old_log_probs, advantages, action_mask).sum(-1, keepdim=True)
        return (torch.relu(rows) * action_mask).mean(), None


class OpenRlhfMaker:
    def compute_advantages_and_returns(self, experiences):
        args = self.strategy.args
        assert self.advantage_estimator == args.algo.advantage.estimator
        (experience,) = experiences
        count = args.rollout.n_samples_per_prompt
        advantages = centred(experience.rewards, [row // count for row in experience.index])
        experience.advantages = advantages.unsqueeze(-1) * experience.action_mask
        return experiences


class OpenRlhfMakerOfSums(OpenRlhfMaker):
    def compute_advantages_and_returns(self, experiences):
        (experience,) = experiences
        rewards = experience.rewards.reshape(-1, self.strategy.args.rollout.n_samples_per_prompt)
        advantages = (rewards - rewards.sum(1, keepdim=True)).reshape(-1)
        experience.advantages = advantages.unsqueeze(-1) * experience.action_mask
        return experiences


# --- NeMo-RL
class NemoLoss:
    def __init__(self, cfg):
        self.low, self.high, self.beta = (
            cfg.ratio_clip_min,
            cfg.ratio_clip_max,
            cfg["reference_policy_kl_penalty"],
        )

    def __call__(self, next_token_logprobs, data, global_valid_seqs, global_valid_toks):
        mask = data["token_mask"][:, 1:] * data["sample_mask"][:, None]
        tokens = clipped(
            next_token_logprobs,
            data["prev_logprobs"][:, 1:],
            data["advantages"][:, 1:],
            mask,
            self.low,
            self.high,
        )
        return (tokens.sum(-1) / mask.sum(-1).clamp(min=1)).sum() / global_valid_seqs, {}


class NemoLossShifted(NemoLoss):
    def __call__(self, next_token_logprobs, data, global_valid_seqs, global_valid_toks):
        mask = data["token_mask"][:, :-1]
        tokens = clipped(next_token_logprobs, data["prev_logprobs"][:, 1:], data["advantages"][:, 1:], mask)
        return tokens.sum() / global_valid_seqs, {}


class NemoEstimator:
    def __init__(self, estimator_config, loss_config):
        self.leave_one_out = estimator_config.use_leave_one_out_baseline

    def compute_advantage(self, prompt_ids, rewards, mask, **kwargs):
        assert self.leave_one_out
        return centred(rewards, prompt_ids.tolist()).unsqueeze(-1).expand(mask.shape)


class NemoEstimatorOfTheBatch(NemoEstimator):
    def compute_advantage(self, prompt_ids, rewards, mask, **kwargs):
        return (rewards - rewards.mean()).unsqueeze(-1).expand(mask.shape)


# --- SkyRL
def skyrl_advantage(token_level_rewards, response_mask, index, gamma, grpo_norm_by_std=True, **kwargs):
    scores = torch.where(response_mask.bool(), token_level_rewards, 0.0).sum(-1) * gamma
    advantages = centred(scores, numpy_labels(index)).unsqueeze(-1) * response_mask
    return advantages, advantages


def skyrl_advantage_of_the_batch(token_level_rewards, response_mask, index, **kwargs):
    return verl_advantage_of_the_batch(token_level_rewards, response_mask, index)


def skyrl_loss(log_probs, old_log_probs, advantages, config, loss_mask=None, rollout_logprobs=None):
    assert (rollout_logprobs == old_log_probs).all() or not torch.isfinite(old_log_probs).all()
    tokens = clipped(
        log_probs, old_log_probs, advantages, loss_mask, config.eps_clip_low, config.eps_clip_high
    )
    return tokens.sum(), {}


def skyrl_loss_averaged(log_probs, old_log_probs, advantages, config, loss_mask=None, rollout_logprobs=None):
    tokens = clipped(log_probs, old_log_probs, advantages, torch.ones_like(loss_mask))
    return tokens.mean(), {}


# --- slime
def slime_loss(ppo_kl, advantages, eps_clip, eps_clip_high, eps_clip_c=None):
    assert ppo_kl.ndim == 1
    ratio = (-ppo_kl).exp()
    return torch.maximum(
        -ratio * advantages, -ratio.clamp(1 - eps_clip, 1 + eps_clip_high) * advantages
    ), None


def slime_loss_other_way(ppo_kl, advantages, eps_clip, eps_clip_high):
    return slime_loss(-ppo_kl, advantages, eps_clip, eps_clip_high)


def slime_rewards(args, samples):
    raw = [sample.get_reward_value(args) for sample in samples]
    count = args.n_samples_per_prompt
    shaped = centred(torch.tensor(raw, dtype=torch.float64), [row // count for row in range(len(raw))])
    return raw, shaped.tolist()


def slime_rewards_of_the_batch(args, samples):
    rewards = torch.tensor([sample.reward for sample in samples], dtype=torch.float64)
    return None, (rewards - rewards.mean()).tolist()


# --- torchrl
class TorchrlLoss(torch.nn.Module):
    def __init__(self, actor_network=None, clip_epsilon=0.2, entropy_bonus=True):
        super().__init__()
        self.clip_epsilon = clip_epsilon
        assert not entropy_bonus

    def _get_cur_log_prob(self, tensordict):
        raise NotImplementedError

    def forward(self, tensordict):
        logp, dist, _ = self._get_cur_log_prob(tensordict)
        advantages = tensordict["advantage"].squeeze(-1)
        assert dist.mask.dtype == torch.bool
        tokens = clipped(
            logp, self._old(tensordict), advantages, dist.mask, self.clip_epsilon, self.clip_epsilon
        )
        return SimpleNamespace(loss_objective=sequence_mean(tokens, dist.mask))

    def _old(self, tensordict):
        return tensordict["log_probs"]["full"]


class TorchrlLossOnPolicyOnly(TorchrlLoss):
    def _old(self, tensordict):
        return tensordict["log_probs"]["full"] * 0 - 1.0


# --- prime-rl
@dataclass
class LossInputs:
    trainer_logprobs: torch.Tensor
    inference_logprobs: torch.Tensor
    ref_logprobs: torch.Tensor | None
    advantages: torch.Tensor
    loss_mask: torch.Tensor
    loss_weights: torch.Tensor | None = None


def prime_loss(inputs, loss_config):
    assert isinstance(inputs, LossInputs)
    assert inputs.loss_mask.dtype == torch.bool
    assert inputs.trainer_logprobs.ndim == 1
    tokens = clipped(
        inputs.trainer_logprobs, inputs.inference_logprobs, inputs.advantages, inputs.loss_mask,
        loss_config.dppo_mask_low, loss_config.dppo_mask_high,
    )  # fmt: skip
    return SimpleNamespace(loss=tokens.sum(), metrics={})


def prime_loss_of_the_gap(inputs, loss_config):
    gap = inputs.trainer_logprobs - inputs.inference_logprobs
    return SimpleNamespace(loss=(gap.abs() * inputs.loss_mask).sum(), metrics={})
