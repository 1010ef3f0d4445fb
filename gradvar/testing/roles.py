"""The roles that a parameter can play, and the names under which trainers pass them.

A role says what an array is (``mask``, ``old_logp``), whatever the trainer calls it. The table is read by
``signatures``: names first, patterns for log-probabilities after. Shapes are written with N rollouts, T tokens,
Q prompts, B pairs, K rewards and V words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Role:
    """What a parameter is.

    ``shape`` is the shape of its value ("" for one number); ``dtype`` says how the value is made: "float" (the
    dtype of the check), "mask", "label", "int", "bool" or "number"; ``usual`` is the value of a required number.
    """

    shape: str
    dtype: str
    names: str
    usual: float | None = None


ROLES: dict[str, Role] = {
    "rewards": Role("N", "float", "rewards reward scores score rm_scores outcome_rewards r sequence_rewards"),
    "token_rewards": Role("NT", "float", "token_level_rewards token_rewards token_level_scores token_scores"),
    "reward_matrix": Role(
        "NK",
        "float",
        "rewards_per_func reward_matrix rewards_per_function reward_components multi_rewards "
        "per_func_rewards rewards_per_funcs reward_per_func component_rewards rewards_by_func scores_per_func",
    ),
    "reward_weights": Role("K", "float", "reward_weights rewards_weights weights func_weights component_weights"),
    "ids": Role(
        "N",
        "label",
        "group_ids group_id ids id index indices uid uids groups group group_index group_indices group_idx "
        "segment_ids segments group_labels group_uids prompt_group_ids prompt_group_id",
    ),
    "prompts": Role(
        "N",
        "label",
        "prompt_ids prompt_id prompts prompt prompt_index prompt_indices prompt_idx prompt_uids prompt_uid",
    ),
    "count": Role(
        "",
        "int",
        "num_generations group_size n_samples_per_prompt num_samples n_samples samples_per_prompt num_rollouts "
        "rollouts_per_prompt num_return_sequences n_rollouts samples_per_problem group_num num_repeat k n g "
        "n_per_prompt num_rollouts_per_prompt rollout_n",
    ),
    "row_count": Role("", "int", "batch_size bsz num_sequences num_rows"),
    "mask": Role(
        "NT",
        "mask",
        "mask masks response_mask completion_mask loss_mask eos_mask attention_mask token_mask response_masks "
        "loss_masks padding_mask action_mask",
    ),
    "second_mask": Role("NT", "mask", "tool_mask env_mask observation_mask assistant_mask policy_mask"),
    "lengths": Role("N", "int", "lengths lens response_lengths completion_lengths seq_lens response_length"),
    "max_length": Role("", "int", "max_len max_length max_response_length max_tokens max_completion_length", 8),
    "buffer": Role("", "int", "buffer buffer_len buffer_length overlong_buffer overlong_buffer_len cache_len", 4),
    "length_penalty": Role("", "number", "penalty_factor overlong_penalty overlong_penalty_factor", 1.0),
    "correct": Role("N", "bool", "correct is_correct correctness success successes acc"),
    "steps": Role(
        "N",
        "label",
        "step_ids step_id step_index step_indices step_idx step_uids steps turn_ids turn_index turn_idx turns",
    ),
    "last_step": Role("N", "bool", "is_last_step last_step is_last"),
    "trajectories": Role("N", "label", "trajectory_ids traj_ids traj_uid trajectory_id episode_ids traj_index"),
    "advantages": Role("NT", "float", "advantages advantage adv advs a"),
    "returns": Role("NT", "float", "returns ret rets value_targets targets return_"),
    "values": Role("NT", "float", "values value vpreds v values_pred value_preds critic_values"),
    "old_values": Role("NT", "float", "old_values old_value values_old prev_values"),
    "dones": Role("NT", "float", "dones done terminals"),
    "terminated": Role("NT", "float", "terminated terminations"),
    "truncated": Role("NT", "float", "truncated truncations truncateds time_outs timeouts"),
    "next_done": Role("N", "float", "next_done next_dones last_done"),
    "next_values": Role("NT", "float", "next_values next_state_value next_state_values v_next"),
    "last_value": Role("", "float", "last_value next_value bootstrap_value last_values bootstrap last_val", 0.0),
    "kl": Role("NT", "float", "kl kls kl_penalty kl_div"),
    "ppo_kl": Role("NT", "float", "ppo_kl log_ratio_neg"),
    "log_ratio": Role("NT", "float", "log_ratio log_ratios logratio logratios"),
    "ratio": Role("NT", "float", "ratio ratios importance_ratio"),
    "logp": Role("NT", "float", "new new_lp"),
    "old_logp": Role("NT", "float", "old old_lp logits_old"),
    "ref_logp": Role("NT", "float", ""),
    "sampler_logp": Role("NT", "float", ""),
    "logits": Role("NTV", "float", "logits"),
    "ref_logits": Role("NTV", "float", "ref_logits reference_logits teacher_logits"),
    "labels": Role("NT", "int", "labels actions tokens token_ids input_ids response_ids"),
    "positions": Role("NT", "int", "position_ids positions"),
    "sequence_ids": Role("NT", "int", "seq_ids sequence_ids doc_ids document_ids seq_idx sample_ids"),
    "sequence_ends": Role("", "ends", "cu_seqlens cu_seq_lens cu_seqlens_q"),
    "entropy": Role("NT", "float", "entropy entropies"),
    "chosen_logp": Role("B", "float", ""),
    "rejected_logp": Role("B", "float", ""),
    "chosen_ref_logp": Role("B", "float", ""),
    "rejected_ref_logp": Role("B", "float", ""),
    "chosen_logratio": Role("B", "float", "chosen_logratios chosen_log_ratios chosen_logratio"),
    "rejected_logratio": Role("B", "float", "rejected_logratios rejected_log_ratios rejected_logratio"),
    "config": Role("", "object", "config cfg args conf algo_config loss_config"),
    "batch": Role("", "object", "batch data inputs samples batch_data experience micro_batch sample"),
    "model": Role("", "object", "model policy actor"),
    "gamma": Role("", "number", "gamma discount simpo_gamma", 1.0),
    "lam": Role("", "number", "lam lambda_ lambd gae_lambda lmbda", 0.95),
    "beta": Role("", "number", "beta kl_beta", 0.1),
    "label_smoothing": Role("", "number", "label_smoothing", 0.1),
    "gamma_beta_ratio": Role("", "number", "gamma_beta_ratio", 0.5),
    "kl_coef": Role("", "number", "kl_coef kl_coeff kl_ctrl kl_loss_coef kl_weight", 0.1),
    "clip": Role("", "number", "eps clip_eps epsilon clip_ratio cliprange clip_range eps_clip clip clip_epsilon", 0.2),
    "clip_low": Role("", "number", "eps_low clip_low epsilon_low clip_ratio_low cliprange_low eps_clip_low", 0.2),
    "clip_high": Role("", "number", "eps_high clip_high epsilon_high clip_ratio_high cliprange_high", 0.28),
    "value_clip": Role("", "number", "cliprange_value value_clip clip_value value_clip_range vf_clip", 0.2),
    "cap": Role("", "number", "cap tis_cap imp_ratio_cap tis_imp_ratio_cap truncation threshold max_ratio c tis_clip "
        "rollout_is_threshold importance_sampling_cap vllm_importance_sampling_cap is_cap ratio_cap upper_bound", 2.0),
    "cap_low": Role("", "number", "cap_low tis_clip_low rollout_is_threshold_lower ratio_low lower_bound", 0.5),
    "divergence_cap": Role("", "number", "off_policy_threshold off_policy_mask_threshold opsm_delta opsm_threshold "
        "kl_cap kl_threshold kl_limit max_kl seq_kl_threshold divergence_threshold delta_sequence_masking", 0.5),
    "temperature": Role("", "number", "temperature temp sampling_temperature", 1.0),
    "token_loss": Role(
        "NT",
        "float",
        "per_token_loss per_token_losses loss_mat token_loss token_losses loss_matrix loss_per_token losses loss",
    ),
    "token_count": Role(
        "",
        "number",
        "loss_scale num_items_in_batch global_tokens num_tokens total_tokens token_count global_num_tokens "
        "batch_num_tokens global_valid_toks normalizer normaliser",
    ),
}  # fmt: skip

_BY_NAME = {name: role for role, entry in ROLES.items() for name in entry.names.split()}
_LOG_PROBABILITY = re.compile(r"log.*(p(?!y)|prob)|_lps?$|^lps?$")
_LAYOUT = re.compile(r"^(batch|flat|all)_|_(list|tensor|tensors|array|batch|np)$")
_REFERENCE = {
    "base",
    "init",
    "initial",
    "sft",
    "anchor",
}  # other words for the policy that a KL term pulls towards
_PAIR = {
    "chosen": "chosen",
    "winner": "chosen",
    "win": "chosen",
    "rejected": "rejected",
    "loser": "rejected",
    "lose": "rejected",
}


def role_of(name: str) -> str:
    """Return the role that a parameter's name suggests, or ""."""
    low = name.lower().strip("_")
    if low in _BY_NAME:
        return _BY_NAME[low]
    bare = _LAYOUT.sub("", low)  # batch_uids, reward_list; a letter alone says too little
    if len(bare) > 2 and bare in _BY_NAME:
        return _BY_NAME[bare]
    if _LOG_PROBABILITY.search(low):
        words = re.split(r"[_\d]+", low)
        reference = any(word.startswith("ref") or word in _REFERENCE for word in words)
        for word in words:
            if word in _PAIR:
                return f"{_PAIR[word]}_ref_logp" if reference else f"{_PAIR[word]}_logp"
        if reference:
            return "ref_logp"
        if any(word in low for word in ("sampl", "rollout", "infer", "engine", "vllm", "generat")):
            return "sampler_logp"
        if any(word in low for word in ("old", "behav", "prev", "prox")):
            return "old_logp"
        return "logp"
    if "token" in low and ("reward" in low or "score" in low):
        return "token_rewards"
    return ""
