"""DPA-GRPO's groups of actions: their rewards, their advantages, their weights and the objective. Pure functions.

arXiv 2605.08327, and the reference implementation stevenyu97/Generator_Verifier_Multi_Agent (commit e68b47ca):
``dpa_grpo/losses.py`` (``grpo_group_accumulate_gradients``: the loss of a group), ``dpa_grpo/updates.py`` (which
groups there are, what skips them, the balance and the rare cases; all are accumulated into one optimiser step) and
``dpa_grpo/dual_rollout.py`` (the rewards). Written from their description; no line is theirs.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradvar.train.game import PairedActions

_EPS = 1e-8  # beside the standard deviation, as there


class Group(NamedTuple):
    """What the objective knows of the actions of every decision: A, and the weight of its loss, [prompt, action]."""

    advantages: Float[Array, "prompt action"]
    weights: Float[Array, "prompt action"]


def actions_objective(
    logp: Float[Array, "prompt action time"],
    logp_ref: Float[Array, "prompt action time"],
    mask: Bool[Array, "prompt action time"],
    group: Group,
    game: PairedActions,
) -> Float[Array, ""]:
    """Sum of w (A log pi - beta (log pi - log pi_ref)), to be maximised; log pi is the mean over an action's tokens.

    With ``game.published`` it is their sum. Nothing is averaged over decisions, as gradients are accumulated there.

    Args:
        logp: Log-probabilities of the actions' tokens (nats).
        logp_ref: Those of the frozen base.
        mask: True for the actions' tokens.
        group: Advantages and weights.
        game: Settings.
    """
    length = 1 if game.published else jnp.maximum(jnp.sum(mask, axis=-1), 1)
    action, base = (jnp.sum(jnp.where(mask, x, 0.0), axis=-1) / length for x in (logp, logp_ref))
    held = jax.lax.stop_gradient(base)
    return jnp.sum(group.weights * (group.advantages * action - game.beta * (action - held)))


def standardised(
    rewards: Float[Array, "prompt action"], takes_part: Bool[Array, "prompt action"]
) -> tuple[Float[Array, "prompt action"], Bool[Array, " prompt"]]:
    """(r - mean) / (population std + 1e-8) over the actions that take part, 0 for others; and where rewards differ."""
    count = jnp.maximum(jnp.sum(takes_part, axis=1, keepdims=True), 1)
    mean = jnp.sum(jnp.where(takes_part, rewards, 0.0), axis=1, keepdims=True) / count
    centred = jnp.where(takes_part, rewards - mean, 0.0)
    deviation = jnp.sqrt(jnp.sum(centred**2, axis=1, keepdims=True) / count)
    return centred / (deviation + _EPS), deviation[:, 0] > 1e-6


def verifier_group(
    draft_right: Bool[Array, " prompt"], draft_parsed: Bool[Array, " prompt"], game: PairedActions
) -> Group:
    """The challenge and none: rewards 1 and 0 by the oracle; no update on an unparsed draft."""
    rewards = jnp.stack([~draft_right, draft_right], axis=1).astype(jnp.result_type(float))
    advantages, _ = standardised(rewards, jnp.ones(rewards.shape, bool))
    weights = game.verifier_weight / 2 * draft_parsed.astype(rewards.dtype)
    return Group(advantages, jnp.broadcast_to(weights[:, None], rewards.shape))


def revision_group(
    right: Bool[Array, "prompt revision"],
    parsed: Bool[Array, "prompt revision"],
    challenged: Bool[Array, " prompt"],
) -> Group:
    """The parsed revisions of challenged drafts, rewarded 1 where right; none where fewer than two, or all alike."""
    takes_part = parsed & challenged[:, None]
    rewards = right.astype(jnp.result_type(float))
    advantages, differ = standardised(rewards, takes_part)
    count = jnp.sum(takes_part, axis=1, keepdims=True)
    active = takes_part & (count >= 2) & differ[:, None]
    return Group(advantages, jnp.where(active, 1 / jnp.maximum(count, 1), 0.0))


def approver_rewards(
    draft_right: Bool[Array, " prompt"],
    revision_right: Bool[Array, " prompt"],
    revision_parsed: Bool[Array, " prompt"],
    game: PairedActions,
) -> Float[Array, "prompt 2"]:
    """Rewards of KEEP and REVISE.

    | draft | revision | KEEP | REVISE |
    |---|---|---|---|
    | any | unparsed | 1 | -format_penalty |
    | right | wrong | 1 + bonus | -cave_penalty |
    | right | right | 1 + bonus | bonus |
    | wrong | right | -miss_penalty | 1 + bonus |
    | wrong | wrong | 1 | 0 |

    Args:
        draft_right: Where the draft is right.
        revision_right: Where the revision that is shown is right.
        revision_parsed: Where it is a field at all.
        game: Settings.
    """
    bonus = game.outcome_bonus
    rows = jnp.asarray(
        [
            [1.0, -game.format_penalty],
            [1 + bonus, -game.cave_penalty],
            [1 + bonus, bonus],
            [-game.miss_penalty, 1 + bonus],
            [1.0, 0.0],
        ]
    )
    parsed_row = jnp.where(draft_right, jnp.where(revision_right, 2, 1), jnp.where(revision_right, 3, 4))
    return rows[jnp.where(revision_parsed, parsed_row, 0)]


def approver_group(
    rewards: Float[Array, "prompt 2"],
    draft_right: Bool[Array, " prompt"],
    revised: Bool[Array, " prompt"],
    challenged: Bool[Array, " prompt"],
    revision_parsed: Bool[Array, " prompt"],
    game: PairedActions,
) -> Group:
    """KEEP and REVISE, with the bonus of the balance, and weights (mean count / count)^rarity of the four cases.

    The cases of the challenged drafts are (draft right or wrong) x (kept or revised); the mean count is over those that
    occur. No update on an unparsed revision, though it counts.

    Args:
        rewards: Of both decisions.
        draft_right: Where the draft is right.
        revised: Where the decision was REVISE, explored ones included.
        challenged: Where there was a decision at all.
        revision_parsed: Where the revision that is shown is a field.
        game: Settings.
    """
    total = jnp.sum(challenged)
    share = jnp.sum(challenged & revised) / jnp.maximum(total, 1)
    bonus = game.balance * jnp.maximum(game.revise_share - share, 0.0)
    rewards = rewards.at[:, 1].add(bonus)
    advantages, _ = standardised(rewards, jnp.ones(rewards.shape, bool))
    case = 2 * draft_right + revised  # [prompt]
    counts = jnp.sum((case[:, None] == jnp.arange(4)) & challenged[:, None], axis=0)  # [case]
    mean_count = total / jnp.maximum(jnp.sum(counts > 0), 1)
    rarity = (mean_count / jnp.maximum(counts[case], 1)) ** game.rarity
    weights = jnp.where(challenged & revision_parsed, rarity / 2, 0.0)
    return Group(advantages, jnp.broadcast_to(weights[:, None], rewards.shape))
