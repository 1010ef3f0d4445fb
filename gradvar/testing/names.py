"""The laws' names and statements: data only, so that an estimator can declare them without loading the test
tools.

Advantages are written A[q, g] for prompt q and rollout g, rewards r[q, g], group size G. Laws about a whole
objective are stated for its token weights (the derivative with respect to the log-probabilities).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

ADVANTAGE_LAWS: Mapping[str, str] = MappingProxyType(
    {
        "zero_on_equal_rewards": "A group whose rewards are all equal gets advantages of zero.",
        "finite": "Finite rewards give finite advantages.",
        "zero_sum": "The advantages of a group sum to zero.",
        "shift_invariant": "Adding one constant to all rewards changes nothing.",
        "scale_equivariant": "Multiplying all rewards by c > 0 multiplies the advantages by c.",
        "scale_invariant": "Multiplying all rewards by c > 0 changes nothing (up to the declared epsilon).",
        "permutation_equivariant": "Reordering the rollouts of a group reorders their advantages likewise.",
        "order_preserving": "Within a group, a larger reward never gets a smaller advantage.",
        "sign_against_mean": "Above the group's mean reward A >= 0, below it A <= 0.",
        "bounded": "|A| <= sqrt(G - 1).",
        "group_isolated": "Changing the rewards of one prompt changes no other prompt's advantages.",
        "layout_independent": "The order of the prompts in the batch does not matter.",
        "ragged_groups": "Groups of unequal size are normalised each by its own size.",
        "singleton_zero": "A group of one gets zero, or is refused with a clear error.",
        "dtype_preserved": "Floating rewards come back in their own dtype.",
        "integer_rewards": "Integer rewards give what the same rewards give as floats.",
        "nan_contained": "A NaN or infinite reward is refused, zeroes its group, or is left out.",
        "duplicate_prompts": "Two groups of the same prompt stay two groups.",
        "antisymmetric_pair": "At G = 2 the advantages are A and -A, and swap with the rewards.",
        "leave_one_out_factor": "A equals G/(G-1) times the reward less the group mean.",
        "pure": "Same input, same output; the caller's arrays are not written.",
        "no_amplification": "Rounding noise in the rewards never becomes an advantage of order one.",
        "unequal_rewards_differ": "A rollout that is better than all others gets another advantage than they.",
        "one_baseline": "The rewards of a group are all compared with something, or none of them is.",
        "rejected_rows_silent": "A rollout without a token rescales no other, and makes nothing NaN.",
        "few_tokens": "One token left in the batch gives finite advantages, and no error.",
        "empty_mask_finite": "No token left in the batch gives finite advantages, or a clear refusal.",
        "masked_tokens_zero": "Masked tokens get zero, or the advantage of their rollout.",
        "length_free": "The lengths of the rollouts change no difference between their advantages.",
        "hole_ends_nothing": "A reward after a hole in the mask counts: unequal rewards still differ.",
        "hole_reward_counts": "A reward on an observation token counts as one on an action token.",
        "half_precision": "Half-precision rewards give what the same rewards give in full precision.",
    }
)

LOSS_LAWS: Mapping[str, str] = MappingProxyType(
    {
        "masked_inert": "Masked tokens change neither value nor gradient, also when they hold NaN.",
        "microbatch_invariant": "The gradient is the mean of those of equal parts of the batch's prompts.",
        "order_invariant": "Reordering prompts, or rollouts of a group, reorders the weights likewise.",
        "on_policy_unclipped": "At logp = logp_old the gradient is that without the clip.",
        "zero_beyond_clip": "A token that its advantage has pushed beyond the clip gets weight zero.",
        "recovers_beyond_clip": "A token beyond the clip against its advantage keeps its weight.",
        "both_signs": "Positive and negative advantages both have weight (of their own sign) on policy.",
        "padding_invariant": "Adding masked columns of padding changes no weight.",
        "kl_direction": "A KL term, where there is one, pulls the policy towards the reference.",
        "aggregation": "On policy, tokens weigh as the declared (or a known) aggregation says.",
        "empty_rows_finite": "A fully masked rollout has no weight and makes nothing NaN.",
        "empty_rows_silent": "What a fully masked rollout holds changes no other weight, and not the value.",
        "empty_batch_finite": "A batch without any token left gives a finite value and weights.",
        "advantages_as_given": "On policy a rollout's weights are its advantage times a factor of its sign.",
        "every_token_weighs": "On policy every token of the mask has a weight, the last one too.",
        "rows_isolated": "One rollout's log-probabilities leave the weights of the others alone.",
        "arrays_matter": "An array that is taken changes the value or a weight.",
        "second_mask_counts": "A token that the second mask leaves out counts in no average.",
        "sampler_corrects": "What the engine found less likely than the trainer weighs no less for it.",
        "entropy_raises": "More entropy raises the objective: a bonus lowers the loss.",
        "clip_form": "The clip is a known form: it ends a push that went far enough, and no other.",
        "kl_term": "The KL term has the gradient of a known estimate, and is a mean over real tokens.",
        "half_precision_weights": "In half precision value and weights are those in full, up to its rounding.",
        "token_count_divides": "The weights are divided by the token count that is handed over, and by no other.",
    }
)

TARGET_LAWS: Mapping[str, str] = MappingProxyType(
    {"shapes": "Rollouts and tokens stay apart: no [B] is broadcast against [B, 1] or [B, T]."}
)

ORACLE_LAWS: Mapping[str, str] = MappingProxyType(
    {
        "matches_oracle": "It is the estimator that it is said to be: the same values, for a loss the same weights."
    }
)

STATISTICAL_LAWS: Mapping[str, str] = MappingProxyType(
    {
        "unbiased": "On policy, the expected gradient is grad J exactly, for any rewards.",
        "unbiased_up_to_constant": "On policy, it is c(G) grad J, one c for all prompts and any rewards.",
        "prompt_weighted": "For binary rewards it is w(p, G) grad p for each prompt.",
    }
)

KIND_LAWS: Mapping[str, str] = MappingProxyType(
    {
        "known_form": "The function equals a known form of its kind, or the one that it should be.",
        "takes_effect": "Every array that is taken has an effect.",
        "repeatable": "The same call gives the same answer and leaves the caller's arrays as they are.",
        "masked_cells_inert": "What stands where the mask is zero reaches no token that counts.",
        "rows_without_tokens": "A row without a token, or a batch without one, gives no NaN.",
        "finite_answers": "Finite arrays give finite answers.",
        "gae_done_stops": "The end of an episode stops value and sum at its own step.",
        "gae_truncation": "A truncated episode keeps the value of what would have come, a terminated one does not.",
        "gae_bootstrap": "The value after the last step counts, unless the episode is over.",
        "gae_padding": "Padding after the last token is no step.",
        "correction_direction": "Raising the trainer's log-probability of a token lowers no weight.",
        "correction_agrees": "Where trainer and sampler agree, every token weighs one.",
        "correction_cap": "No weight exceeds the cap, and no small weight is raised.",
        "correction_masked": "A masked token enters no product, and weighs zero, one, or at most the cap.",
        "correction_finite": "Weights stay finite where trainer and sampler are far apart.",
        "correction_detached": "A limited weight of the current policy carries no gradient.",
        "gae_holes": "Observation tokens are no steps: they cost no gamma lambda, and their values do not leak.",
        "kl_penalty_lowers": "More KL on a real token lowers what its rollout gets, and raises nothing.",
        "kl_coef_scales": "The penalty of the KL is proportional to its coefficient.",
        "kl_reward_masked": "The KL of masked tokens reaches no reward and no return.",
        "shaping_capped": "Beyond the longest response the reward depends on the length no more.",
        "shaping_monotone": "Up to the longest response the reward moves in one direction on each side.",
        "shaping_correct": "At the same length a correct response never gets less than a wrong one.",
        "shaping_rows": "A response gets in the batch what it gets alone.",
        "shaping_finite": "An empty response and an endless one have finite rewards.",
        "shaping_tokens": "Observation tokens inside a response do not make it longer.",
        "ignored_labels_silent": "A token whose label is to be ignored counts in no average.",
        "selection_real": "No masked token is selected.",
        "selection_padding": "More padding around a batch changes no selection.",
        "selection_ordered": "Of two tokens, the one that is farther on the side looked for is selected too.",
        "sequence_mask_whole": "All tokens of a rollout are kept, or none of them.",
        "sequence_mask_agrees": "Where the two policies agree, every rollout is kept.",
        "sequence_mask_far": "A rollout that the policy has left far behind is dropped.",
        "sequence_mask_positive": "A rollout with a positive advantage is kept at any distance.",
        "sequence_mask_rows": "One rollout's log-probabilities decide about no other rollout.",
        "sequence_mask_length": "A rollout with each of its tokens twice gets the verdict that it got.",
        "sequence_mask_padding": "More padding around a batch changes no verdict on a rollout.",
        "pair_direction": "A likelier chosen response lowers the loss, a likelier rejected one raises it.",
        "pair_reference": "The reference's log-probabilities enter with the sign opposite to the policy's.",
        "pair_extreme": "Pairs that are told apart completely have a finite loss and a finite gradient.",
        "pair_tokens": "A response's log-probability is over the tokens that count, by sum or mean as the loss has it.",
        "matrix_missing_finite": "A reward that one function left out makes no rollout NaN that another scored.",
        "matrix_unscored": "A rollout that no function scored leaves the others finite.",
        "matrix_missing_silent": "A rollout that no function scored has no vote in its group's baseline.",
        "matrix_weight_zero": "A function of weight zero has no effect.",
        "matrix_weights_paired": "Functions and their weights in another order change nothing.",
        "matrix_better": "Of rollouts that are alike, the one that a function likes better gets more.",
        "matrix_equal_rows": "Rollouts of a prompt that all functions score alike have advantages of zero.",
        "matrix_shift": "One function more generous to all rollouts of a prompt changes no advantage.",
        "matrix_rows_apart": "A rollout's rewards change no other prompt's, but for one scale of the batch.",
        "matrix_order": "Rollouts in another order get what they got.",
        "filter_silent_dropped": "A group whose rewards are all equal is dropped, in every dtype.",
        "filter_signal_kept": "A group with unequal rewards is kept.",
        "filter_together": "All rollouts of a prompt are kept, or none of them.",
        "filter_order": "Rows, or prompts, in another order get the same verdicts.",
        "filter_apart": "The rewards of one prompt decide about no other.",
        "filter_ragged": "Next to groups of other sizes, every group gets the verdict that it gets alone.",
        "filter_noise": "A group whose rewards are equal but for their last digit is dropped.",
        "step_tokens": "Every token that a step wrote gets the step's number, and no other token does.",
        "step_shared": "All steps of a trajectory get what its outcome is worth.",
        "step_one_vote": "A trajectory has one vote in its group, however many steps it took.",
        "step_equal": "Steps as good as those they are compared with get zero, whatever other steps get.",
        "step_better": "Of the steps that are compared with each other, the best gets the most.",
        "step_order": "Rows, or whole trajectories, in another order get what they got.",
        "step_apart": "A step's rewards change no other step's advantages, but for one scale of the batch.",
    }
)

LAWS: Mapping[str, str] = MappingProxyType(
    {**ADVANTAGE_LAWS, **LOSS_LAWS, **STATISTICAL_LAWS, **TARGET_LAWS, **ORACLE_LAWS, **KIND_LAWS}
)
