"""Rollouts on the device, and the batch that an objective sees; what is drawn depends on seed and number only."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.batch import Batch
from gradvar.core.estimator import Estimator
from gradvar.core.protocols import Policy, Sampler, Task
from gradvar.measure.baselines import score_squares
from gradvar.train import critic
from gradvar.train.state import Generated

SUPPLIED = ("logp_ref", "logp_sampler", "greedy_rewards", "values", "baseline", "score_squares")
"""The optional fields of a batch that training can fill."""

Keys = tuple[PRNGKeyArray, PRNGKeyArray]
"""Of a stream of prompts, and of the rollouts."""

_RETRY = 2**31 - 1  # no prompt and no rollout of a first attempt has this number


class TrainingRollouts(NamedTuple):
    """Q prompts with G completions each, their rewards and which tokens count."""

    prompts: Int[Array, " prompt *past"]
    completions: Int[Array, "prompt group time"]
    rewards: Float[Array, "prompt group"]
    mask: Bool[Array, "prompt group time"]


class Engine(NamedTuple):
    """What draws rollouts: a sampler that serves the policy, or with None the policy itself, and its parameters."""

    sampler: Sampler | None
    params: PyTree

    def sample(
        self, policy: Policy, key: PRNGKeyArray, prompts: Array, group: int
    ) -> Int[Array, "prompt group time"]:
        """Draw completions of every prompt.

        Args:
            policy: The policy that is served.
            key: Of the draws.
            prompts: Prompts, with leading axis Q.
            group: Completions of each.
        """
        if self.sampler is None:
            return policy.sample(self.params, key, prompts, group)
        return self.sampler.sample(policy, self.params, key, prompts, group)

    def logprobs(
        self, policy: Policy, prompts: Array, completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group time"]:
        """The log-probabilities (nats) that the engine reports."""
        if self.sampler is None:
            return policy.logprobs(self.params, prompts, completions)
        return self.sampler.logprobs(policy, self.params, prompts, completions)


class Parameters(NamedTuple):
    """Whose log-probabilities and values a batch holds.

    ``old``: of the policy at the batch's start, for ``logp_old``. ``reference``: for ``logp_ref``. ``critic``: of the
    value function. ``baseline``: one constant, for every prompt. ``engine``: what drew the rollouts, for
    ``logp_sampler``; None where it was the policy of ``old``.
    """

    old: PyTree
    reference: PyTree
    critic: PyTree
    baseline: Float[Array, ""]
    engine: Engine | None = None


def draw(
    policy: Policy, task: Task, engine: Engine, keys: Keys, first: int | Int[Array, ""], num: int, group: int
) -> tuple[TrainingRollouts, Generated]:
    """Draw prompts ``first``, ``first + 1``, ... of a stream, and rollouts of each.

    Prompt i of a stream is the same however many are taken at a time, so arms with unequal groups see the same prompts
    in the same order.

    Args:
        policy: What the engine serves.
        task: What gives prompts and rewards.
        engine: What draws the rollouts.
        keys: Of the stream of prompts, and of the rollouts.
        first: Number of the first prompt in the stream.
        num: Number of prompts.
        group: Number of rollouts of each prompt.

    Returns:
        The rollouts, and how many were drawn.
    """
    prompts = stream_prompts(task, keys[0], first, num)
    completions = engine.sample(policy, keys[1], prompts, group)  # [prompt, group, time]
    rewards, mask = task.reward(prompts, completions), policy.mask(completions)
    numbers = Generated.of(num, num * group, jnp.sum(mask, dtype=jnp.int32))
    return TrainingRollouts(prompts, completions, rewards, mask), numbers


def stream_prompts(
    task: Task, key: PRNGKeyArray, first: int | Int[Array, ""], num: int
) -> Int[Array, "prompt past"]:
    """Return the ``num`` prompts of a stream from number ``first`` on.

    Args:
        task: What gives prompts.
        key: Of the stream.
        first: Number of the first prompt.
        num: Number of prompts.
    """
    prompt_keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(num))
    return jax.vmap(lambda key: task.prompts(key, 1)[0])(prompt_keys)


def is_mixed(rewards: Float[Array, "prompt group"]) -> Bool[Array, " prompt"]:
    """Return True for the groups whose rewards differ."""
    return jnp.max(rewards, axis=1) > jnp.min(rewards, axis=1)


def is_served(
    rewards: Float[Array, "prompt group"], difficulty: tuple[float, float]
) -> Bool[Array, " prompt"]:
    """Return True for mixed groups whose mean reward lies in a range.

    >>> is_served(jnp.array([[1.0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]), (0.25, 0.5)).tolist()
    [False, True, False]
    """
    mean = jnp.mean(rewards, axis=1)
    return is_mixed(rewards) & (mean >= difficulty[0] - 1e-6) & (mean <= difficulty[1] + 1e-6)


def draw_mixed(
    policy: Policy,
    task: Task,
    engine: Engine,
    keys: Keys,
    step: Int[Array, ""],
    sizes: tuple[int, int],
    attempts: int,
    room: Int[Array, ""],
) -> tuple[TrainingRollouts, Generated]:
    """Draw rollouts, and replace groups of equal rewards by mixed ones of new prompts: DAPO's dynamic sampling.

    Every attempt draws a whole batch, as the paper does, and its mixed groups fill the free places in order; surplus
    ones are lost. Places that are still free at the end keep groups of equal rewards. Everything drawn is counted.

    Args:
        policy: What the engine serves.
        task: What gives prompts and rewards.
        engine: What draws the rollouts.
        keys: Of the stream of prompts, and of the rollouts.
        step: Number of the training step, which gives the number of its first prompt.
        sizes: Number of prompts, and of rollouts of each.
        attempts: Largest number of batches that are drawn; 1 replaces nothing.
        room: No attempt begins that would draw more rollouts than this in all.

    Returns:
        The rollouts, and how many were drawn.
    """
    num, group = sizes
    start, generated = draw(policy, task, engine, keys, step * num, num, group)
    if attempts == 1:
        return start, generated
    # mixed groups first, in the order of the stream
    order = jnp.argsort(~is_mixed(start.rewards), stable=True)
    start = jax.tree.map(lambda x: x[order], start)
    retry_keys = tuple(jax.random.fold_in(key, _RETRY) for key in keys)

    def unfinished(carry: tuple) -> Array:
        attempt, generated, _, filled = carry
        return (attempt < attempts) & (filled < num) & (generated.rollouts + num * group <= room)

    def attempt_once(carry: tuple) -> tuple:
        attempt, generated, rollouts, filled = carry
        batch_index = step * (attempts - 1) + attempt - 1
        attempt_keys = (retry_keys[0], jax.random.fold_in(retry_keys[1], attempt))
        fresh, numbers = draw(policy, task, engine, attempt_keys, batch_index * num, num, group)
        mixed = is_mixed(fresh.rewards)
        slots = jnp.where(mixed, filled + jnp.cumsum(mixed) - 1, num)  # slots beyond the end are dropped
        rollouts = jax.tree.map(lambda x, y: x.at[slots].set(y, mode="drop"), rollouts, fresh)
        filled = jnp.minimum(filled + jnp.sum(mixed, dtype=jnp.int32), num)
        return attempt + 1, generated.plus(numbers), rollouts, filled

    filled = jnp.sum(is_mixed(start.rewards), dtype=jnp.int32)
    carry = (jnp.ones((), jnp.int32), generated, start, filled)
    _, generated, rollouts, _ = jax.lax.while_loop(unfinished, attempt_once, carry)
    return rollouts, generated


def batch_of(
    policy: Policy, task: Task, estimator: Estimator, rollouts: TrainingRollouts, parameters: Parameters
) -> tuple[Batch, Generated]:
    """Make the batch of these rollouts, with the optional fields that the estimator needs.

    Args:
        policy: What scores the rollouts.
        task: What rewards the greedy completions.
        estimator: Its ``needs`` are filled.
        rollouts: Prompts, completions, rewards and mask.
        parameters: Of the policies and the value function that the fields are about.

    Returns:
        The batch, and how many rollouts and tokens were generated for it.
    """
    prompts, completions, rewards, mask = rollouts
    arrays = {
        "rewards": rewards,
        "mask": mask,
        "logp_old": policy.logprobs(parameters.old, prompts, completions),
    }
    if parameters.engine is not None:
        arrays["logp_sampler"] = parameters.engine.logprobs(policy, prompts, completions)
    generated = Generated.of(0, 0, 0)
    if "logp_ref" in estimator.needs:
        arrays["logp_ref"] = policy.logprobs(parameters.reference, prompts, completions)
    if "greedy_rewards" in estimator.needs:
        greedy = policy.greedy(parameters.old, prompts)  # [prompt, 1, time]
        arrays["greedy_rewards"] = task.reward(prompts, greedy)[:, 0]
        generated = Generated.of(0, len(prompts), jnp.sum(policy.mask(greedy), dtype=jnp.int32))
    if "values" in estimator.needs:
        arrays["values"] = critic.values(policy, parameters.critic, prompts, completions)
    if "baseline" in estimator.needs:
        arrays["baseline"] = jnp.broadcast_to(parameters.baseline, rewards.shape[:1])
    if "score_squares" in estimator.needs:
        arrays["score_squares"] = score_squares(policy, parameters.old, prompts, completions)
    return Batch.from_arrays(arrays), generated
