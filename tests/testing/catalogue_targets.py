"""The catalogue's estimators as the kit's targets: the advantage piece of each, its loss, and its expected
gradient."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from gradvar import catalogue
from gradvar.core.batch import Batch
from gradvar.core.compose import compose, everything, required
from gradvar.core.estimator import token_weights
from gradvar.pieces import advantage
from gradvar.testing import AdvantageTarget, LossBatch, LossTarget
from gradvar.testing.arrays import library
from gradvar.testing.laws.exact import BINARY, GRADED, World
from gradvar.testing.signatures import Signature

TIME = 3
# Laws are declared for any real rewards; an entry here would narrow what an estimator is tried on.
DOMAINS: dict[str, str] = {}  # the laws are declared for any real rewards ...
BINARY_ONLY = (("pass_at_k", "no_amplification"),)  # ... but for these


def _needed(rewards, uneven):
    """Every array that a piece may ask for, in the rewards' dtype; lengths by place, or all alike."""
    prompts, group = rewards.shape
    place = jnp.arange(group) % TIME + 1 if uneven else jnp.full(group, 2)
    mask = jnp.broadcast_to(jnp.arange(TIME) < place[:, None], (prompts, group, TIME))
    full = partial(jnp.full, dtype=rewards.dtype)
    return {
        "rewards": rewards,
        "mask": mask,
        "lengths": mask.sum(-1).astype(rewards.dtype),
        "logp_old": full((prompts, group, TIME), -1.0),
        "values": full((prompts, group, TIME), 0.25),
        "greedy_rewards": full((prompts,), 0.5),
        "baseline": full((prompts,), 0.5) + 0.25 * uneven * jnp.arange(prompts, dtype=rewards.dtype),
        "reward_parts": jnp.stack([rewards, rewards], axis=-1),
    }


@cache
def advantage_of(name, uneven=True):
    """The estimator's advantage as f(rewards [Q, G]); NaN is refused by ``Batch``, as in use."""
    piece = catalogue.get(name).parts["advantage"]
    wanted = required(piece)

    # not compiled as a whole: single operations are, and all estimators share those
    def inner(rewards):
        arrays = _needed(rewards, uneven)
        out = piece(**{field: arrays[field] for field in wanted})
        if out.ndim == 2:
            return out
        mask = arrays["mask"].astype(out.dtype)
        return jnp.sum(out * mask, -1) / jnp.sum(mask, -1)

    def advantages(rewards):
        shape = (*rewards.shape, 1)
        batch = Batch(rewards, jnp.zeros(shape))
        return inner(batch.rewards)

    return advantages


def advantage_case(name, law):
    """The advantage piece as a target; where rows are reordered, what else it reads is the same for all
    rows."""
    estimator = catalogue.get(name)
    uneven = law not in ("permutation_equivariant", "layout_independent")
    signature = Signature("grouped", {"rewards": "rewards"}, ("rewards",))
    domain = "binary" if (name, law) in BINARY_ONLY else DOMAINS.get(name, "real")
    return AdvantageTarget(
        advantage_of(name, uneven), signature, library("jax"), name, domain=domain,
        min_group=max(2, estimator.min_group),
    )  # fmt: skip


class CatalogueLoss(LossTarget):
    """A composed estimator with its advantages given: its surrogate, aggregation, penalty and selection as
    they are."""

    def weights(self, batch: LossBatch):
        rows, steps = batch.mask.shape
        shape = (rows // batch.group, batch.group, steps)
        cube = [
            np.asarray(x).reshape(shape) for x in (batch.logp, batch.old_logp, batch.mask, batch.ref_logp)
        ]
        rewards = np.asarray(batch.advantages, float).reshape(shape[:2])
        if self.origin == "whole":  # rewards that every estimator is meant for
            rewards = (rewards > 0).astype(float)
        full = Batch(
            rewards, cube[1], cube[2], logp_ref=cube[3], values=np.zeros(shape), logp_sampler=cube[1],
            greedy_rewards=np.zeros(shape[0]), baseline=np.zeros(shape[0]), reward_parts=rewards[..., None],
            allow_empty=True,
        )  # fmt: skip
        value, weights = _value_and_weights(self.function, jnp.asarray(cube[0]), full)
        return float(value), np.asarray(weights).reshape(rows, steps)


@partial(jax.jit, static_argnums=0)
def _value_and_weights(estimator, logp, batch):
    return jax.value_and_grad(lambda x: estimator(x, batch))(logp)


@cache
def loss_case(name, whole=False, **settings):
    """The estimator's loss as a target: with given advantages where it is composed, else (or ``whole``) as
    it is."""
    estimator = catalogue.get(name, **settings)
    if estimator.parts and not whole:
        # with advantages given there are no rewards for a selection of groups to look at
        parts = {**estimator.parts, "advantage": advantage.raw, "select": everything}
        estimator = compose(**parts, name=name)
    roles = {"logp": "logp", "old": "old_logp", "mask": "mask", "advantages": "advantages"}
    if "logp_ref" in estimator.needs:
        roles["ref"] = "ref_logp"
    origin = "whole" if whole else ""
    return CatalogueLoss(estimator, Signature("loss", roles), library("jax"), name, origin)


def expected(name, world):
    """E[g] with respect to the logits, over every group of sequences of one, two and three tokens: exact."""
    estimator = catalogue.get(name)
    pi, r = np.asarray(world.policy), np.asarray(world.rewards)
    count = np.asarray(world.lengths)
    total = np.zeros(len(pi))
    for answers, probability in world.groups():
        chosen = list(answers)
        mask = (np.arange(TIME) < count[chosen][:, None])[None]
        logp = np.where(mask[0], (np.log(pi[chosen]) / count[chosen])[:, None], 0.0)[None]
        baseline = np.array([pi @ r])
        # a reference that differs from answer to answer: on policy is not at the reference
        ref = logp - np.where(mask[0], 0.4 * np.asarray(chosen)[:, None], 0.0)[None]
        batch = Batch(
            r[chosen][None], logp, mask, logp_ref=ref, values=np.full(mask.shape, 0.25), baseline=baseline,
            greedy_rewards=r[[int(np.argmax(pi))]], reward_parts=r[chosen][None, :, None],
        )  # fmt: skip
        weights = np.asarray(_weights(estimator, logp, batch))[0]
        share = np.where(mask[0], weights, 0.0).sum(-1) / count[chosen]
        total += probability * (share @ (np.eye(len(pi))[chosen] - pi))
    return total


@partial(jax.jit, static_argnums=0)
def _weights(estimator, logp, batch):
    return token_weights(estimator, logp, batch)


def worlds(name, binary):
    """Small policies over answers of unequal length."""
    chosen = list(BINARY) + ([] if binary or DOMAINS.get(name) == "binary" else list(GRADED))
    least = max(2, catalogue.get(name).min_group)
    return [World(p, r, g, lengths=(1, 2, 3)) for g in (least, least + 1) for p, r in chosen]
