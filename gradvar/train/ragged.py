"""Groups of unequal sizes in training: the sizes that a rule gives, their rollouts, and leave-one-out over them.

A batch has as many places for every prompt as the largest group may need. A rollout without a token that counts is
absent: a completion always has one, its stop token at least.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gradvar.core.batch import Batch
from gradvar.core.estimator import Estimator, Paper
from gradvar.core.protocols import Policy
from gradvar.measure.baselines import score_squares
from gradvar.train import rollouts as sampling
from gradvar.train.allocation import Allocation
from gradvar.train.rollouts import TrainingRollouts
from gradvar.train.state import Generated, Limits, State, streams
from gradvar.train.step import TrainingStep

LEAST = 2
_PENALTY = 1e-3  # GVM's, as in ``measure.advise.allocation``
_SMALLEST = 1e-6  # success rate of which Reinforce-Ada takes the inverse at least
_PROBE, _SIZES = 2**31 - 2, 2**31 - 3  # uses of a step's key, apart from those of whole groups

PerPrompt = Float[Array, " prompt"]
Sizes = Int[Array, " prompt"]


def _leave_one_out(logp: Float[Array, "prompt group time"], batch: Batch) -> Float[Array, ""]:
    present = jnp.any(batch.mask, axis=-1)  # [prompt, group]
    sizes = jnp.sum(present, axis=-1, keepdims=True)
    rewards = jnp.where(present, batch.rewards, 0.0)
    others = (jnp.sum(rewards, axis=-1, keepdims=True) - rewards) / jnp.maximum(sizes - 1, 1)
    advantages = jax.lax.stop_gradient(jnp.where(present, rewards - others, 0.0))
    sequence_logp = jnp.sum(jnp.where(batch.mask, logp, 0.0), axis=-1)
    return jnp.mean(jnp.sum(advantages * sequence_logp, axis=-1) / sizes[:, 0])


RAGGED_RLOO = Estimator(
    "ragged_rloo",
    _leave_one_out,
    Paper(
        "Back to basics", "2402.14740", "mean over q of (1/G_q) sum_i (r_i - mean of the others) log pi(o_i)"
    ),
)
"""RLOO over the rollouts that are there: the catalogued ``rloo`` where all are, and unbiased at any sizes that were
fixed before the rollouts were drawn."""


def priority(rule: str, rates: PerPrompt, squares: PerPrompt, sizes: Sizes) -> PerPrompt:
    """What one more rollout of every prompt is worth to a rule; the next one goes to the largest.

    All rules but ``ada`` add a concave value over prompts, so that giving rollouts one by one is exact. ``ada`` shares
    what is beyond the least in proportion to 1/p, rounded by Sainte-Lague's method.

    Args:
        rule: A rule's name.
        rates: Success rates.
        squares: E[|s|^2 | r = 1], which ``gvm`` alone looks at.
        sizes: What the prompts have so far.
    """
    sizes = sizes.astype(rates.dtype)
    if rule == "even":
        return -sizes
    if rule == "vip":
        return rates * (1 - rates) * (1 / (sizes - 1) - 1 / sizes)
    if rule == "gvm":
        weight = jnp.where(rates > 0, squares / (rates + _PENALTY / jnp.maximum(rates, _SMALLEST)), 0.0)
        return weight * (1 / sizes - 1 / (sizes + 1))
    if rule == "knapsack":
        # of 1 - p^G - (1-p)^G, the difference between G + 1 and G
        mixed = rates**sizes * (1 - rates) + (1 - rates) ** sizes * rates
        return rates * (1 - rates) ** 2 * mixed
    return 1 / jnp.maximum(rates, _SMALLEST) / (sizes - LEAST + 0.5)


def sizes_of(rule: str, rates: PerPrompt, squares: PerPrompt, total: int, most: int) -> Sizes:
    """Group sizes of ``LEAST`` to ``most`` with the sum ``total``; equal priorities go to the smaller group first.

    Args:
        rule: A rule's name.
        rates: Success rates.
        squares: E[|s|^2 | r = 1].
        total: Rollouts of all prompts.
        most: Of one prompt.

    >>> sizes_of("vip", jnp.array([0.5, 0.5, 1.0]), jnp.ones(3), 12, 8).tolist()
    [5, 5, 2]
    """

    def give(_: int, sizes: Sizes) -> Sizes:
        worth = jnp.where(sizes < most, priority(rule, rates, squares, sizes), -jnp.inf)
        best = worth >= jnp.max(worth)
        return sizes.at[jnp.argmin(jnp.where(best, sizes, most + 1))].add(1)

    start = jnp.full(rates.shape, LEAST, jnp.int32)
    return jax.lax.fori_loop(0, total - LEAST * rates.shape[0], give, start)


def drawn_until_both(
    right: Bool[Array, "prompt rollout"], least: int, round_size: int
) -> Int[Array, " prompt"]:
    """How many rollouts of every prompt are drawn, a round at a time, until ``least`` are right and as many wrong.

    >>> drawn_until_both(jnp.array([[1, 0, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]]) > 0, 1, 2).tolist()
    [2, 4, 4]
    """
    most = right.shape[1]
    ends = jnp.arange(round_size, most + 1, round_size)  # [round]
    counts = jnp.stack([jnp.cumsum(x, axis=1)[:, ends - 1] for x in (right, ~right)])  # [kind, prompt, round]
    done = jnp.all(counts >= least, axis=0).at[:, -1].set(True)
    return ends[jnp.argmax(done, axis=1)]


def kept_of_both(
    right: Bool[Array, "prompt rollout"], drawn: Int[Array, " prompt"], group: int
) -> Int[Array, "prompt group"]:
    """The places of the rollouts that are kept: the first of each kind, half a group each, filled with the others."""
    present = jnp.arange(right.shape[1]) < drawn[:, None]
    within_kind = jnp.where(right, jnp.cumsum(right & present, axis=1), jnp.cumsum(~right & present, axis=1))
    chosen = present & (within_kind <= group // 2)
    rank = jnp.where(chosen, 0, jnp.where(present, 1, 2))
    return jnp.argsort(rank, axis=1, stable=True)[:, :group]


class AllocatedStep(TrainingStep):
    """A training step whose rollouts are spent by a rule."""

    @property
    def allocation(self) -> Allocation:
        """The arm's rule, and what it was set to."""
        assert self.plan.arm.allocation is not None
        return self.plan.arm.allocation

    def start(self, seed: Int[Array, ""], params: object) -> State:
        """The state before the first step; of the balanced rule every prompt has a baseline of its own."""
        state = super().start(seed, params)
        if self.allocation.rule == "balanced":
            return state._replace(baseline=jnp.zeros((self.plan.prompts,), jnp.float32))
        return state

    def draw(
        self, number: int, state: State, limits: Limits
    ) -> tuple[State, TrainingRollouts, Generated, Generated]:
        """Take the rollouts of a step; arguments and results are those of ``TrainingStep.draw``."""
        keys = streams(state.seed)
        key = jax.random.fold_in(keys.rollouts, state.step)
        num = self.plan.prompts
        prompts = sampling.stream_prompts(self.task, keys.prompts, state.step * num, num)
        if self.allocation.rule == "balanced":
            state, rollouts, generated = self._balanced(state, prompts, key)
        else:
            rollouts, generated = self._by_rate(state, prompts, key)
        return state, rollouts, generated, generated

    def _means(self, rollouts: TrainingRollouts) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The mean reward and length of the rollouts that are present."""
        present = jnp.any(rollouts.mask, axis=-1)  # [prompt, group]
        count = jnp.sum(present)
        reward = jnp.sum(rollouts.rewards, where=present) / count
        return reward.astype(jnp.float32), jnp.sum(rollouts.mask) / count

    def _sampled(self, state: State, prompts: Array, key: Array, group: int) -> TrainingRollouts:
        completions = self.engine(state).sample(self.policy, key, prompts, group)
        rewards = self.task.reward(prompts, completions)
        return TrainingRollouts(prompts, completions, rewards, self.policy.mask(completions))

    def _by_rate(self, state: State, prompts: Array, key: Array) -> tuple[TrainingRollouts, Generated]:
        """Probe every prompt, fix the sizes, draw; absent rollouts have an empty mask and the group's first reward."""
        rule, num, group = self.allocation, self.plan.prompts, self.plan.arm.group
        probes = self._sampled(state, prompts, jax.random.fold_in(key, _PROBE), rule.probes)
        successes = jnp.sum(probes.rewards, axis=1).astype(jnp.float32)
        # the mean of a uniform prior's posterior; GVM gives a prompt without success the least
        rates = successes / rule.probes if rule.rule == "gvm" else (successes + 1) / (rule.probes + 2)
        squares = jnp.ones_like(rates)
        if rule.rule == "gvm":
            squares = mean_square_of_right(self.policy, state.params, probes)
        sizes = sizes_of(rule.rule, rates, squares, num * (group - rule.probes), rule.most)
        drawn = self._sampled(state, prompts, jax.random.fold_in(key, _SIZES), rule.most)
        present = jnp.arange(rule.most) < sizes[:, None]  # [prompt, group]
        rollouts = drawn._replace(
            rewards=jnp.where(present, drawn.rewards, drawn.rewards[:, :1]),
            mask=drawn.mask & present[..., None],
        )
        tokens = jnp.sum(rollouts.mask, dtype=jnp.int32) + jnp.sum(probes.mask, dtype=jnp.int32)
        return rollouts, Generated.of(num, num * group, tokens)

    def _balanced(
        self, state: State, prompts: Array, key: Array
    ) -> tuple[State, TrainingRollouts, Generated]:
        rule, group = self.allocation, self.plan.arm.group
        everything = self._sampled(state, prompts, jax.random.fold_in(key, _SIZES), rule.most)
        right = everything.rewards > 0.5
        drawn = drawn_until_both(right, group // 2, rule.round)
        present = jnp.arange(rule.most) < drawn[:, None]  # [prompt, rollout]
        baseline = jnp.sum(jnp.where(present, everything.rewards, 0.0), axis=1) / drawn
        places = kept_of_both(right, drawn, group)  # [prompt, group]
        selected = TrainingRollouts(
            prompts,
            *(jnp.take_along_axis(x, places.reshape(*places.shape, *[1] * (x.ndim - 2)), axis=1)
              for x in (everything.completions, everything.rewards, everything.mask)),
        )  # fmt: skip
        tokens = jnp.sum(everything.mask & present[..., None], dtype=jnp.int32)
        generated = Generated.of(self.plan.prompts, jnp.sum(drawn, dtype=jnp.int32), tokens)
        return state._replace(baseline=baseline.astype(jnp.float32)), selected, generated


def mean_square_of_right(policy: Policy, params: object, probes: TrainingRollouts) -> PerPrompt:
    """The mean squared norm of the scores of every prompt's right rollouts; 0 without one."""
    squares = score_squares(policy, params, probes.prompts, probes.completions)  # [prompt, rollout]
    right = probes.rewards > 0.5
    return jnp.sum(jnp.where(right, squares, 0.0), axis=1) / jnp.maximum(jnp.sum(right, axis=1), 1)
