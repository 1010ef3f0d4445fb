# ruff: noqa: E501 - tables of cases, one a line
"""Adapters: the advantage functions and losses of the installed trainers, in a signature that the kit reads.

Each is a few lines around their own code, imported from the installed release. Nothing of it is copied here.
"""

from __future__ import annotations

import stand_ins

stand_ins.install()

from collections import defaultdict  # noqa: E402
from collections.abc import Callable  # noqa: E402
from functools import partial  # noqa: E402
from types import SimpleNamespace  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from excerpt import excerpt  # noqa: E402

CLIP = 0.2
WIDTH = 8  # the fixed length that Dr. GRPO's aggregation divides by


# --- TRL -------------------------------------------------------------------------------------------------------------


def trl_grpo(rewards: torch.Tensor, num_generations: int, scale: str = "group") -> torch.Tensor:
    """The advantage part of GRPOTrainer._generate_and_score_completions, one reward function."""
    run = _trl_statements()[0]
    self = SimpleNamespace(
        multi_objective_aggregation="sum_then_normalize",
        reward_weights=torch.ones(1, dtype=rewards.dtype if rewards.is_floating_point() else torch.float32),
        scale_rewards=scale,
    )
    names = {
        "self": self,
        "rewards_per_func": rewards[:, None].clone(),
        "num_generations": num_generations,
        "device": "cpu",
    }
    return run(names)["advantages"]


def trl_rloo(rewards: torch.Tensor, num_generations: int) -> torch.Tensor:
    """The advantage part of RLOOTrainer._generate_and_score_completions, without its batch normalisation."""
    run = _trl_statements()[1]
    self = SimpleNamespace(normalize_advantages=False)
    return run({"self": self, "rewards": rewards.clone(), "num_generations": num_generations})["advantages"]


def _trl_statements(_cache: list[Any] = []) -> list[Any]:  # noqa: B006
    if not _cache:
        from trl.trainer.grpo_trainer import GRPOTrainer
        from trl.trainer.rloo_trainer import RLOOTrainer

        nan_to_num = "advantages = torch.nan_to_num"
        _cache.append(excerpt(GRPOTrainer._generate_and_score_completions, "unscorable_mask", nan_to_num))
        _cache.append(excerpt(RLOOTrainer._generate_and_score_completions, "grouped_rewards", nan_to_num))
    return _cache


class _TrlTrainer(SimpleNamespace):
    """What GRPOTrainer._compute_loss reads of its trainer: the settings, and the model's
    log-probabilities."""

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        return self.logps, torch.zeros_like(self.logps), None


def trl_grpo_loss(
    logp: torch.Tensor,
    old_logp: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    ref_logp: torch.Tensor,
    loss_type: str = "grpo",
    beta: float = 0.0,
    level: str = "token",
    low: float = CLIP,
    high: float = CLIP,
) -> torch.Tensor:
    """GRPOTrainer._compute_loss; advantages [N]."""
    from trl.trainer.grpo_trainer import GRPOTrainer

    same = SimpleNamespace(
        gather=lambda x: x,
        reduce=lambda x, reduction: x,
        gather_for_metrics=lambda x: x,
        num_processes=1,
        sync_gradients=True,
    )
    trainer = _TrlTrainer(
        logps=logp, aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None, loss_type=loss_type,
        importance_sampling_level=level, beta=beta, epsilon_low=low, epsilon_high=high, use_vllm=False, accelerator=same,
        vllm_importance_sampling_correction=False, model=SimpleNamespace(training=True), max_completion_length=WIDTH,
        current_gradient_accumulation_steps=1, _entropy_bonus_enabled=False, use_adaptive_entropy=False, entropy_coef=0.0,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1),
        _metrics=defaultdict(lambda: defaultdict(list)),
    )  # fmt: skip
    rows, steps = logp.shape
    ids = torch.zeros(rows, steps, dtype=torch.long)
    inputs = {
        "prompt_ids": ids[:, :1], "prompt_mask": ids[:, :1] + 1, "completion_ids": ids, "completion_mask": mask,
        "advantages": advantages, "old_per_token_logps": old_logp, "ref_per_token_logps": ref_logp,
        "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    return GRPOTrainer._compute_loss(trainer, None, inputs)


# --- verl ------------------------------------------------------------------------------------------------------------


def verl_advantage(name: str, **settings: Any) -> Callable[..., Any]:
    """One of verl.trainer.ppo.core_algos' registered estimators, which all take token-level rewards."""

    def advantage(
        token_level_rewards: torch.Tensor, response_mask: torch.Tensor, index: np.ndarray
    ) -> torch.Tensor:
        from verl.trainer.ppo.core_algos import get_adv_estimator_fn

        estimator = get_adv_estimator_fn(name)
        return estimator(
            token_level_rewards=token_level_rewards, response_mask=response_mask, index=index, **settings
        )[0]

    advantage.__name__ = f"verl_{name}"
    return advantage


def verl_loss(name: str = "vanilla", mode: str = "token-mean", **settings: Any) -> Callable[..., Any]:
    """One of verl's registered policy losses; advantages [N, T]."""

    def loss(old_log_prob: Any, log_prob: Any, advantages: Any, response_mask: Any) -> torch.Tensor:
        from verl.trainer.ppo.core_algos import get_policy_loss_fn

        return get_policy_loss_fn(name)(
            old_log_prob, log_prob, advantages, response_mask, mode, _verl_config(**settings)
        )[0]

    loss.__name__ = f"verl_{name}_{mode}"
    return loss


def _verl_config(**settings: Any) -> Any:
    """verl's own ActorConfig with the fields that its losses read, at their defaults."""
    from verl.workers.config import ActorConfig

    fields: dict[str, Any] = {
        "clip_ratio": CLIP, "clip_ratio_low": CLIP, "clip_ratio_high": CLIP, "clip_ratio_c": 3.0, "tau_pos": 1.0,
        "tau_neg": 1.05, "global_batch_info": {},
    }  # fmt: skip
    config = object.__new__(ActorConfig)  # its constructor asks for the settings of a cluster
    for name, value in {**fields, **settings}.items():
        object.__setattr__(config, name, value)
    return config


# --- OpenRLHF --------------------------------------------------------------------------------------------------------


def openrlhf_advantage(
    rewards: torch.Tensor, num_generations: int, estimator: str = "group_norm"
) -> torch.Tensor:
    """The reward shaping of its experience maker (rewards promoted to float32 first, as it does)."""
    from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker

    rewards = rewards.to(torch.promote_types(rewards.dtype, torch.float32))
    method = RemoteExperienceMaker.compute_advantages_and_returns
    run = excerpt(
        inspect_unwrap(method),
        "if args.algo.advantage.estimator == 'rloo'",
        "if args.algo.advantage.estimator",
    )
    args = SimpleNamespace(
        algo=SimpleNamespace(advantage=SimpleNamespace(estimator=estimator)),
        rollout=SimpleNamespace(n_samples_per_prompt=num_generations),
    )
    return run({"args": args, "rewards": rewards.reshape(-1, num_generations).clone()})["rewards"].reshape(-1)


def inspect_unwrap(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method under torch.no_grad's wrapper."""
    return getattr(method, "__wrapped__", method)


def openrlhf_loss(
    log_probs: Any,
    old_log_probs: Any,
    advantages: Any,
    action_mask: Any,
    kind: str = "ppo",
    tokens: bool = True,
) -> torch.Tensor:
    """openrlhf.models.loss.PolicyLoss; advantages [N, T]."""
    from openrlhf.models.loss import PolicyLoss

    module = PolicyLoss(CLIP, CLIP, token_level_loss=tokens, policy_loss_type=kind)
    result = module(log_probs, old_log_probs, advantages, action_mask)
    return result[0] if isinstance(result, tuple) else result


# --- torchrl ---------------------------------------------------------------------------------------------------------


def torchrl_advantage(rewards: torch.Tensor, num_generations: int) -> torch.Tensor:
    """torchrl.objectives.llm.MCAdvantage, one-step trajectories handed to it one by one."""
    from tensordict import TensorDict
    from torchrl.objectives.llm import MCAdvantage

    transform = MCAdvantage(num_generations, prompt_key="group", rewards_key="reward", done_key="done")
    out = []
    for row, reward in enumerate(rewards):
        fields = {
            "group": torch.tensor([[row // num_generations]]),
            "reward": reward.reshape(1, 1),
            "done": torch.ones(1, 1, dtype=torch.bool),
        }
        done = transform._inv_call(TensorDict(fields, [1]))
        if done is not None:
            out.append(done.get("advantage").reshape(-1))
    return torch.cat(out)


def torchrl_loss(
    logp: torch.Tensor,
    old_logp: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    aggregation: str = "token_mean",
) -> torch.Tensor:
    """torchrl.objectives.llm.GRPOLoss with the model's log-probabilities handed in; advantages [N, T]."""
    from tensordict import TensorDict
    from torchrl.objectives.llm import GRPOLoss

    loss = GRPOLoss(None, clip_epsilon=CLIP, aggregation=aggregation, entropy_bonus=False)
    loss._get_cur_log_prob = lambda tensordict: (logp, SimpleNamespace(mask=mask.bool()), False)
    batch = TensorDict(
        {
            "advantage": advantages.unsqueeze(-1),
            ("log_probs", "full"): old_logp,
            ("tokens", "full"): torch.zeros_like(old_logp),
        },
        [len(logp)],
    )
    return loss(batch).loss_objective.sum()


# --- tunix and rlax (JAX) --------------------------------------------------------------------------------------------


def tunix_advantage(name: str) -> Callable[..., Any]:
    """One of tunix.rl.algo_core's advantage estimators."""
    import jax.numpy as jnp
    import tunix.rl.algo_core as core

    function = {
        "grpo": core.compute_advantages,
        "rloo": core.compute_rloo_advantages,
        "drgrpo": core.compute_drgrpo_advantages,
    }

    def advantage(rewards: Any, num_generations: int) -> Any:
        given = np.asarray(rewards) if name == "grpo" else jnp.asarray(rewards)  # as its trainer calls them
        return function[name](given, num_generations)

    advantage.__name__ = f"tunix_{name}"
    return advantage


def tunix_loss(
    logp: Any, old_logp: Any, advantages: Any, mask: Any, ref_logp: Any, beta: float = 0.0, mode: str = "sequence-mean-token-mean",
    algo: str = "grpo",
) -> Any:  # fmt: skip
    """tunix.rl.algo_core.grpo_loss_fn with the model's log-probabilities handed in; advantages [N]."""
    import jax.numpy as jnp
    import tunix.rl.algo_core as core

    core.nnx = SimpleNamespace(split=lambda model: (None, None))
    core.common.compute_per_token_logps = lambda *args, **kwargs: (logp, jnp.zeros((*logp.shape, 2)))
    config = SimpleNamespace(
        beta=beta, epsilon=CLIP, loss_algo=algo, loss_agg_mode=mode, temperature=1.0, kl_loss_mode="low_var_kl", kl_clamp_value=None
    )  # fmt: skip
    example = SimpleNamespace(
        completion_ids=jnp.zeros(logp.shape, int), completion_mask=mask, prompt_ids=jnp.zeros((len(logp), 1), int),
        advantages=advantages, old_per_token_logps=old_logp, ref_per_token_logps=ref_logp,
    )  # fmt: skip
    return core.grpo_loss_fn(None, example, config, 0, 0)[0]


def rlax_loss(logp: Any, old_logp: Any, advantages: Any) -> Any:
    """rlax.clipped_surrogate_pg_loss over all tokens of a batch; it takes no mask."""
    import jax.numpy as jnp
    import rlax

    ratios = jnp.exp(logp - old_logp).reshape(-1)
    return rlax.clipped_surrogate_pg_loss(ratios, jnp.asarray(advantages).reshape(-1), CLIP)


# library, estimator, kind, library of arrays, function, settings for the target
Case = tuple[str, str, str, str, Callable[..., Any], dict[str, Any]]


def cases() -> list[Case]:
    """Everything that is checked."""
    torch_flat: list[Case] = [
        ("trl", "GRPOTrainer, scale_rewards=group", "advantage", "torch", trl_grpo, {}),
        ("trl", "GRPOTrainer, scale_rewards=none", "advantage", "torch", partial(trl_grpo, scale="none"), {}),
        (
            "trl",
            "GRPOTrainer, scale_rewards=batch",
            "advantage",
            "torch",
            partial(trl_grpo, scale="batch"),
            {},
        ),
        ("trl", "RLOOTrainer", "advantage", "torch", trl_rloo, {}),
        ("openrlhf", "group_norm", "advantage", "torch", openrlhf_advantage, {}),
        ("openrlhf", "rloo", "advantage", "torch", partial(openrlhf_advantage, estimator="rloo"), {}),
        ("openrlhf", "dr_grpo", "advantage", "torch", partial(openrlhf_advantage, estimator="dr_grpo"), {}),
        ("torchrl", "MCAdvantage", "advantage", "torch", torchrl_advantage, {}),
    ]
    for name in ("grpo", "grpo_vectorized", "rloo", "rloo_vectorized", "opo", "gpg"):
        torch_flat.append(("verl", name, "advantage", "torch", verl_advantage(name), {}))
    dr = verl_advantage("grpo", norm_adv_by_std_in_grpo=False)
    torch_flat.append(("verl", "grpo, norm_adv_by_std_in_grpo=False", "advantage", "torch", dr, {}))
    baseline = verl_advantage("reinforce_plus_plus_baseline")
    torch_flat.append(("verl", "reinforce_plus_plus_baseline", "advantage", "torch", baseline, {}))
    jax_cases: list[Case] = [
        ("google-tunix", n, "advantage", "jax", tunix_advantage(n), {}) for n in ("grpo", "rloo", "drgrpo")
    ]
    losses: list[Case] = [
        ("trl", f"GRPOTrainer loss, {t}", "loss", "torch", partial(trl_grpo_loss, loss_type=t), {})
        for t in ("grpo", "bnpo", "dr_grpo", "dapo", "cispo")
    ]
    losses.append(
        ("trl", "GRPOTrainer loss, grpo, beta=0.1", "loss", "torch", partial(trl_grpo_loss, beta=0.1), {})
    )
    losses.append(
        (
            "trl",
            "GRPOTrainer loss, sequence level",
            "loss",
            "torch",
            partial(trl_grpo_loss, level="sequence"),
            {},
        )
    )
    for mode in ("token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"):
        losses.append(("verl", f"vanilla, {mode}", "loss", "torch", verl_loss("vanilla", mode), {}))
    losses.append(
        ("verl", "gspo, seq-mean-token-mean", "loss", "torch", verl_loss("gspo", "seq-mean-token-mean"), {})
    )
    losses.append(("verl", "cispo, token-mean", "loss", "torch", verl_loss("cispo"), {}))
    losses.append(("openrlhf", "PolicyLoss, token level", "loss", "torch", openrlhf_loss, {}))
    losses.append(
        ("openrlhf", "PolicyLoss, sequence level", "loss", "torch", partial(openrlhf_loss, tokens=False), {})
    )
    losses.append(("openrlhf", "PolicyLoss, gspo", "loss", "torch", partial(openrlhf_loss, kind="gspo"), {}))
    losses.append(("torchrl", "GRPOLoss, token_mean", "loss", "torch", torchrl_loss, {}))
    prompt_mean = partial(torchrl_loss, aggregation="prompt_mean")
    losses.append(("torchrl", "GRPOLoss, prompt_mean", "loss", "torch", prompt_mean, {}))
    losses.append(("google-tunix", "grpo_loss_fn", "loss", "jax", tunix_loss, {}))
    losses.append(
        ("google-tunix", "grpo_loss_fn, beta=0.1", "loss", "jax", partial(tunix_loss, beta=0.1), {})
    )
    losses.append(("rlax", "clipped_surrogate_pg_loss", "loss", "jax", rlax_loss, {}))
    return [*torch_flat, *jax_cases, *losses]
