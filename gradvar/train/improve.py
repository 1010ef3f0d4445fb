"""The optimiser's steps on one batch of rollouts, of the policy and of the value function."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.batch import Batch
from gradvar.core.estimator import Estimator
from gradvar.core.protocols import Policy
from gradvar.train import critic
from gradvar.train.plan import Arm

FIGURES = ("objective", "grad_norm", "log_ratio", "critic_loss")


class Learner(NamedTuple):
    """What the optimiser changes: parameters with its memory, and the value function's pair of both, or ()."""

    params: PyTree
    memory: PyTree
    critic: PyTree


class Minibatch(NamedTuple):
    """Some prompts of a batch with their completions."""

    prompts: PyTree
    completions: Int[Array, "prompt group time"]
    batch: Batch


def optimiser(arm: Arm) -> optax.GradientTransformation:
    """Return clipping by the global norm, then Adam without its learning rate, which is the step's."""
    return optax.chain(optax.clip_by_global_norm(arm.max_grad_norm), optax.scale_by_adam())


@dataclass(frozen=True)
class Improvement:
    """The steps of ``arm`` on a batch: ``epochs`` passes, each in ``minibatches`` parts of another order.

    ``rule``: the optimiser; its updates are scaled by minus the learning rate.
    """

    policy: Policy
    estimator: Estimator
    arm: Arm
    rule: optax.GradientTransformation

    def __call__(
        self, learner: Learner, samples: Minibatch, key: PRNGKeyArray, rate: Float[Array, ""]
    ) -> tuple[Learner, dict[str, Float[Array, ""]]]:
        """Take all steps on a batch.

        Args:
            learner: Parameters and memories before.
            whole: The batch with its prompts and completions.
            key: Of the orders of its prompts.
            rate: Learning rate of the policy.

        Returns:
            Parameters and memories afterwards, and ``FIGURES``: means over the steps, but for ``log_ratio``, the mean
            distance of log-probabilities from the sampler's, which is the last step's.
        """
        prompts, steps = samples.batch.rewards.shape[0], self.arm.epochs * self.arm.minibatches
        order = jnp.arange(prompts)[None]  # [step, prompt of the minibatch]
        if steps > 1:
            epoch_keys = jax.vmap(lambda epoch: jax.random.fold_in(key, 2 + epoch))
            permutations = jax.vmap(lambda epoch_key: jax.random.permutation(epoch_key, prompts))
            order = permutations(epoch_keys(jnp.arange(self.arm.epochs))).reshape(steps, -1)

        def minibatch(learner: Learner, rows: Int[Array, " prompt"]) -> tuple[Learner, dict[str, Array]]:
            return self._step(learner, jax.tree.map(lambda x: x[rows], samples), rate)

        learner, figures = jax.lax.scan(minibatch, learner, order)
        means = {name: jnp.mean(values) for name, values in figures.items()}
        return learner, means | {"log_ratio": figures["log_ratio"][-1]}

    def _step(self, learner: Learner, part: Minibatch, rate: Array) -> tuple[Learner, dict[str, Array]]:
        (value, log_ratio), slope = self._gradient(learner.params, part)
        updates, memory = self.rule.update(slope, learner.memory, learner.params)
        params = _descend(learner.params, updates, rate)
        critic_loss, critic_pair = jnp.zeros((), jnp.float32), learner.critic
        if "values" in self.estimator.needs:
            critic_loss, critic_pair = self._improve_critic(learner.critic, part)
        figures = dict(zip(FIGURES, (value, tree_norm(slope), log_ratio, critic_loss), strict=True))
        float32 = {name: jnp.asarray(figure, jnp.float32) for name, figure in figures.items()}
        return Learner(params, memory, critic_pair), float32

    def _gradient(self, params: PyTree, part: Minibatch) -> tuple[tuple[Array, Array], PyTree]:
        """Return the objective, the mean distance of log-probabilities from the sampler's, and minus the gradient."""
        batch = part.batch

        def loss(params: PyTree) -> tuple[Array, tuple[Array, Array]]:
            logp = self.policy.logprobs(params, part.prompts, part.completions)
            value = self.estimator(logp, batch)
            distance = jnp.where(batch.mask, jnp.abs(logp - batch.logp_old), 0.0)
            return -value, (value, jnp.sum(distance) / jnp.sum(batch.mask))

        (_, figures), slope = jax.value_and_grad(loss, has_aux=True)(params)
        return figures, slope

    def _improve_critic(self, critic_pair: PyTree, part: Minibatch) -> tuple[Array, PyTree]:
        params, memory = critic_pair
        loss = jax.value_and_grad(lambda p: critic.loss(self.policy, p, self.estimator, *part))
        value, slope = loss(params)
        updates, memory = self.rule.update(slope, memory, params)
        return value, (_descend(params, updates, self.arm.critic_rate), memory)


def _descend(params: PyTree, updates: PyTree, rate: float | Array) -> PyTree:
    return optax.apply_updates(params, jax.tree.map(lambda u: (-rate * u).astype(u.dtype), updates))


def tree_norm(tree: PyTree) -> Float[Array, ""]:
    """Return the norm of all entries."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(x.astype(jnp.float32))) for x in jax.tree.leaves(tree)))
