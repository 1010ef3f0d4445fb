"""Rollouts on the device, and the batch that an objective sees; what is drawn depends on seed and number only."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.batch import Batch
from gradvar.core.estimator import Estimator
from gradvar.core.protocols import Policy, Task
from gradvar.measure.baselines import score_squares
from gradvar.train import critic as critics

SUPPLIED = ("logp_ref", "logp_sampler", "greedy_rewards", "values", "baseline", "score_squares")
"""The optional fields of a batch that training can fill."""


_AGAIN = 2**31 - 1  # no prompt and no rollout of a first attempt has this number


class Rollouts(NamedTuple):
    """Q prompts with G completions each, their rewards and which tokens count."""

    prompts: Int[Array, "prompt *past"]
    completions: Int[Array, "prompt group time"]
    rewards: Float[Array, "prompt group"]
    mask: Bool[Array, "prompt group time"]


@runtime_checkable
class Decision(Protocol):
    """A task in which a policy's answer raises a question with two possible answers."""

    def questions(
        self, prompts: Int[Array, "prompt past"], answers: Int[Array, "prompt time"]
    ) -> Int[Array, "prompt past"]:
        """Prompts that ask for a decision about the answers."""
        ...

    def actions(self, prompts: Int[Array, "prompt past"]) -> Int[Array, "prompt action time"]:
        """Every action."""
        ...


class Drawn(NamedTuple):
    """What was generated: prompts, rollouts and tokens (int32)."""

    prompts: Int[Array, ""]
    rollouts: Int[Array, ""]
    tokens: Int[Array, ""]


def nothing() -> Drawn:
    """Nothing drawn."""
    return Drawn(*(jnp.zeros((), jnp.int32) for _ in Drawn._fields))


def add(first: Drawn, second: Drawn) -> Drawn:
    """Both together."""
    return Drawn(*(a + b for a, b in zip(first, second, strict=True)))


def draw(
    policy: Policy,
    task: Task,
    params: PyTree,
    keys: tuple[PRNGKeyArray, PRNGKeyArray],
    first: int | Int[Array, ""],
    num: int,
    group: int,
) -> tuple[Rollouts, Drawn]:
    """Prompts ``first``, ``first + 1``, ... of a stream and ``group`` rollouts of each.

    ``keys``: of the stream of prompts, and of the rollouts. Prompt i of a stream is the same however many are
    taken at a time, so arms with unequal groups see the same prompts in the same order.
    """
    each = jax.vmap(lambda i: jax.random.fold_in(keys[0], i))(first + jnp.arange(num))
    prompts = jax.vmap(lambda key: task.prompts(key, 1)[0])(each)
    completions = policy.sample(params, keys[1], prompts, group)
    rewards, mask = task.reward(prompts, completions), policy.mask(completions)
    numbers = (num, num * group, jnp.sum(mask, dtype=jnp.int32))
    drawn = Drawn(*(jnp.asarray(x, jnp.int32) for x in numbers))
    return Rollouts(prompts, completions, rewards, mask), drawn


def is_mixed(rewards: Float[Array, "prompt group"]) -> Bool[Array, " prompt"]:
    """Which groups have rewards that differ."""
    return jnp.max(rewards, axis=1) > jnp.min(rewards, axis=1)


def draw_mixed(
    policy: Policy,
    task: Task,
    params: PyTree,
    keys: tuple[PRNGKeyArray, PRNGKeyArray],
    step: Int[Array, ""],
    sizes: tuple[int, int],
    attempts: int,
    room: Int[Array, ""],
) -> tuple[Rollouts, Drawn]:
    """As ``draw``; groups of equal rewards are replaced by mixed ones from new prompts: DAPO's dynamic sampling.

    Every attempt draws a whole batch, as the paper does, and its mixed groups fill the free places in order;
    surplus ones are lost. After ``attempts``, or where another would draw more than ``room`` rollouts in all, the
    places that are still free keep groups of equal rewards. Everything drawn is counted.
    """
    num, group = sizes
    start, drawn = draw(policy, task, params, keys, step * num, num, group)
    if attempts == 1:
        return start, drawn
    order = jnp.argsort(~is_mixed(start.rewards), stable=True)
    start = jax.tree.map(lambda x: x[order], start)
    again = tuple(jax.random.fold_in(key, _AGAIN) for key in keys)

    def going(carry: tuple) -> Array:
        attempt, drawn, _, filled = carry
        return (attempt < attempts) & (filled < num) & (drawn.rollouts + num * group <= room)

    def once(carry: tuple) -> tuple:
        attempt, drawn, have, filled = carry
        number = step * (attempts - 1) + attempt - 1
        place = (again[0], jax.random.fold_in(again[1], attempt))
        new, more = draw(policy, task, params, place, number * num, num, group)
        mixed = is_mixed(new.rewards)
        slots = jnp.where(mixed, filled + jnp.cumsum(mixed) - 1, num)  # beyond the end: dropped
        have = jax.tree.map(lambda x, y: x.at[slots].set(y, mode="drop"), have, new)
        filled = jnp.minimum(filled + jnp.sum(mixed, dtype=jnp.int32), num)
        return attempt + 1, add(drawn, more), have, filled

    filled = jnp.sum(is_mixed(start.rewards), dtype=jnp.int32)
    first = (jnp.ones((), jnp.int32), drawn, start, filled)
    _, drawn, rollouts, _ = jax.lax.while_loop(going, once, first)
    return rollouts, drawn


def enumerate_actions(
    policy: Policy,
    task: Any,
    params: PyTree,
    keys: tuple[PRNGKeyArray, PRNGKeyArray],
    first: Int[Array, ""],
    num: int,
) -> tuple[Rollouts, Drawn]:
    """A decision about one fresh answer to each of ``num`` prompts, with every action as a rollout: none is sampled."""
    asked, drawn = draw(policy, task, params, keys, first, num, 1)
    prompts = task.questions(asked.prompts, asked.completions[:, 0])
    completions = task.actions(prompts)
    return Rollouts(prompts, completions, task.reward(prompts, completions), policy.mask(completions)), drawn


def score(
    policy: Policy,
    task: Task,
    estimator: Estimator,
    rollouts: Rollouts,
    *,
    sampler: PyTree,
    reference: PyTree,
    critic: PyTree,
    baseline: Float[Array, ""],
) -> tuple[Batch, Drawn]:
    """The batch of these rollouts, with the optional fields that the estimator needs, and what those cost.

    ``sampler``: the parameters that drew the rollouts (``logp_old``); ``reference``: for ``logp_ref``;
    ``critic``: of the value function; ``baseline``: one constant, given to every prompt.
    """
    prompts, completions, rewards, mask = rollouts
    old = policy.logprobs(sampler, prompts, completions)
    extras: dict[str, Any] = {}
    if "logp_ref" in estimator.needs:
        extras["logp_ref"] = policy.logprobs(reference, prompts, completions)
    if "logp_sampler" in estimator.needs:
        extras["logp_sampler"] = old
    cost = nothing()
    if "greedy_rewards" in estimator.needs:
        greedy = policy.greedy(sampler, prompts)
        extras["greedy_rewards"] = task.reward(prompts, greedy)[:, 0]
        cost = cost._replace(
            rollouts=jnp.asarray(len(prompts), jnp.int32),
            tokens=jnp.sum(policy.mask(greedy), dtype=jnp.int32),
        )
    if "values" in estimator.needs:
        extras["values"] = critics.values(policy, critic, prompts, completions)
    if "baseline" in estimator.needs:
        extras["baseline"] = jnp.broadcast_to(baseline, rewards.shape[:1])
    if "score_squares" in estimator.needs:
        extras["score_squares"] = score_squares(policy, sampler, prompts, completions)
    return Batch(rewards, old, mask, **extras), cost
