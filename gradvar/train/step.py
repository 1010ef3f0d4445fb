"""One training step as a pure function of the state: new prompts, rollouts, and the optimiser's steps on them.

Random numbers are counted, not carried: every key is the seed's, folded with what it is for and with the number of
the step, so a step's draws depend on seed and step only and a resumed run is the run that was not stopped.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from gradvar import catalogue
from gradvar.core.batch import Batch
from gradvar.core.estimator import Estimator
from gradvar.core.protocols import Policy, Task
from gradvar.train import critic as critics
from gradvar.train.plan import Arm, Phase, Plan
from gradvar.train.rollouts import (
    SUPPLIED,
    Decision,
    Drawn,
    Rollouts,
    add,
    draw,
    draw_mixed,
    enumerate_actions,
    is_mixed,
    nothing,
    score,
)

METRICS = ("reward", "equal", "length", "objective", "grad_norm", "log_ratio", "critic_loss", "learning_rate")
_MEMORY = 0.9  # of the running mean reward that serves as a constant baseline


class Streams(NamedTuple):
    """The keys of one seed, one for each use."""

    prompts: PRNGKeyArray
    rollouts: PRNGKeyArray
    order: PRNGKeyArray
    store: PRNGKeyArray
    evaluation: PRNGKeyArray


def streams(seed: Int[Array, ""]) -> Streams:
    """The keys of a seed."""
    key = jax.random.key(seed)
    return Streams(*(jax.random.fold_in(key, use) for use in range(len(Streams._fields))))


class State(NamedTuple):
    """What is needed to go on. ``generated``: all that was drawn; ``spent``: that, and every use of stored ones."""

    seed: Int[Array, ""]
    step: Int[Array, ""]
    phase: Int[Array, ""]
    params: PyTree
    memory: PyTree
    reference: PyTree
    critic: PyTree
    store: PyTree
    baseline: Float[Array, ""]
    generated: Drawn
    spent: Drawn


class Limits(NamedTuple):
    """Where a run ends and how far it may go now; traced, so that other numbers need no other program.

    ``elapsed``: the share of the allowed time that is over; ``until``: the progress at which to pause; ``most``:
    steps of one call at most.
    """

    learning_rate: Float[Array, ""]
    steps: Int[Array, ""]
    rollouts: Int[Array, ""]
    tokens: Int[Array, ""]
    elapsed: Float[Array, ""]
    until: Float[Array, ""]
    most: Int[Array, ""]


def estimator_of(phase: Phase | Arm) -> Estimator:
    """The phase's estimator, from the catalogue where it is named.

    Raises ``ValueError`` where it needs what training cannot give.
    """
    found = phase.estimator
    if isinstance(found, str):
        found = catalogue.get(found, **phase.settings)
    unmet = [need for need in found.needs if need not in SUPPLIED]
    if unmet:
        raise ValueError(
            f"estimator: '{found.name}' needs {unmet[0]}, which training does not give; choose another"
        )
    return found


def optimiser(arm: Arm) -> optax.GradientTransformation:
    """Clipping by the global norm, then Adam without its learning rate, which is the step's."""
    return optax.chain(optax.clip_by_global_norm(arm.max_grad_norm), optax.scale_by_adam())


class Stepper:
    """A plan on a policy and a task: its starting state and its step, both pure functions for ``jax.jit``."""

    def __init__(
        self, policy: Policy, task: Task, plan: Plan, rule: optax.GradientTransformation | None = None
    ) -> None:
        """``rule`` replaces the arm's optimiser; its updates are scaled by minus the learning rate."""
        self.policy, self.task, self.plan = policy, task, plan
        self.phases = plan.arm.all_phases()
        self.estimators = tuple(estimator_of(phase) for phase in self.phases)
        for estimator in self.estimators:
            if plan.arm.group < estimator.min_group:
                raise ValueError(
                    f"group: {plan.arm.group} in arm '{plan.arm.name}' is too small for {estimator.name}; "
                    f"give {estimator.min_group} or more"
                )
        if any(phase.source == "enumerated" for phase in self.phases):
            self._check_decision()
        self.rule = optimiser(plan.arm) if rule is None else rule
        self.needs = {need for estimator in self.estimators for need in estimator.needs}

    def _check_decision(self) -> None:
        arm, task = self.plan.arm, getattr(self.task, "task", self.task)  # what is behind a split
        if not isinstance(task, Decision):
            raise ValueError(
                f"task: {type(task).__name__} has no actions to enumerate, which arm '{arm.name}' does; "
                "give one with questions(prompts, answers) and actions(prompts), such as verification"
            )
        actions = jax.eval_shape(lambda: task.actions(self.task.prompts(jax.random.key(0), 1))).shape[1]
        if arm.group != actions:
            raise ValueError(f"group: {arm.group} in arm '{arm.name}'; give {actions}, one for each action")

    def start(self, seed: Int[Array, ""], params: PyTree) -> State:
        """The state before the first step; arms with the same seed and parameters start alike."""
        zero = jnp.zeros((), jnp.int32)
        critic: PyTree = ()
        if "values" in self.needs:
            value = critics.init(self.policy, params)
            critic = (value, self.rule.init(value))
        store: PyTree = ()
        if any(phase.source == "stored" for phase in self.phases):
            shapes = jax.eval_shape(lambda: self._collect(params, streams(seed).store)[0])
            store = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return State(
            seed=jnp.asarray(seed, jnp.int32),
            step=zero,
            phase=jnp.full((), -1, jnp.int32),
            params=params,
            memory=self.rule.init(params),
            reference=params if "logp_ref" in self.needs else (),
            critic=critic,
            store=store,
            baseline=jnp.zeros((), jnp.float32),
            generated=nothing(),
            spent=nothing(),
        )

    def progress(self, state: State, limits: Limits, ahead: int = 0) -> Float[Array, ""]:
        """The share of the run that is over, by whichever limit is nearest; ``ahead`` steps later."""
        shares = (
            (state.step + ahead).astype(jnp.float32) / limits.steps,
            (state.spent.rollouts + ahead * self.plan.rollouts_per_step).astype(jnp.float32)
            / limits.rollouts,
            state.spent.tokens.astype(jnp.float32) / limits.tokens,
            limits.elapsed,
        )
        return jnp.max(jnp.stack([share.astype(jnp.float32) for share in shares]))

    def over(self, state: State, limits: Limits) -> Array:
        """Whether the run has ended: a limit is reached, or the next step's rollouts would pass theirs."""
        rollouts = state.spent.rollouts + self.plan.rollouts_per_step > limits.rollouts
        counted = (state.step >= limits.steps) | (state.spent.tokens >= limits.tokens)
        return counted | rollouts | (limits.elapsed >= 1)

    def phase_of(self, state: State, limits: Limits) -> Int[Array, ""]:
        """The number of the phase that the next step belongs to."""
        arm, ends = (
            self.plan.arm,
            jnp.cumsum(jnp.asarray([phase.share for phase in self.phases], jnp.float32)),
        )
        at = state.step % arm.cycle if arm.cycle else self.progress(state, limits) * ends[-1]
        return jnp.minimum(jnp.sum(at >= ends, dtype=jnp.int32), len(self.phases) - 1)

    def rate(self, state: State, limits: Limits) -> Float[Array, ""]:
        """The learning rate of the next step: the plan's, by schedule and warm-up."""
        arm, done = self.plan.arm, self.progress(state, limits)
        along = jnp.clip((done - arm.warmup) / (1 - arm.warmup), 0.0, 1.0)
        shape = {
            "constant": optax.constant_schedule(1.0),
            "linear": optax.linear_schedule(1.0, 0.0, 1),
            "cosine": optax.cosine_decay_schedule(1.0, 1),
        }[arm.schedule](along)
        rise = jnp.minimum(self.progress(state, limits, ahead=1) / arm.warmup, 1.0) if arm.warmup else 1.0
        return (limits.learning_rate * shape * rise).astype(jnp.float32)

    def step(self, state: State, limits: Limits) -> tuple[State, dict[str, Float[Array, ""]]]:
        """The state after one step, and what is worth looking at."""
        phase = self.phase_of(state, limits)
        branches = [partial(self._step, number) for number in range(len(self.phases))]
        if len(branches) == 1:
            return branches[0](state, limits)
        return jax.lax.switch(phase, branches, state, limits)

    def _collect(self, params: PyTree, key: PRNGKeyArray) -> tuple[Rollouts, Drawn]:
        keys = (jax.random.fold_in(key, 0), jax.random.fold_in(key, 1))
        return draw(self.policy, self.task, params, keys, 0, self.plan.arm.store, self.plan.arm.group)

    def _enter(self, state: State) -> State:
        """At the start of a stored phase: draw the store, and make the policy that drew it the reference."""
        store, drawn = self._collect(state.params, jax.random.fold_in(streams(state.seed).store, state.step))
        return state._replace(
            store=store,
            reference=state.params,
            generated=add(state.generated, drawn),
            spent=add(state.spent, drawn),
        )

    def _stored(self, state: State, informative: bool) -> tuple[Rollouts, Drawn]:
        """Some of the store's prompts, with all their rollouts; drawn anew at every step."""
        store: Rollouts = state.store
        order = jnp.arange(self.plan.arm.store)
        most = jnp.asarray(self.plan.arm.store, jnp.int32)
        if informative:
            mixed = is_mixed(store.rewards)
            order = jnp.argsort(~mixed, stable=True)
            most = jnp.maximum(jnp.sum(mixed, dtype=jnp.int32), 1)
        key = jax.random.fold_in(streams(state.seed).order, state.step)
        # A bounded integer of a uniform: ``randint`` wants to know its bound.
        uniform = jax.random.uniform(jax.random.fold_in(key, 1), (self.plan.prompts,), jnp.float32)
        chosen = order[jnp.minimum((uniform * most).astype(jnp.int32), most - 1)]
        taken = jax.tree.map(lambda x: x[chosen], store)
        sizes = (0, self.plan.rollouts_per_step, jnp.sum(taken.mask, dtype=jnp.int32))
        return taken, Drawn(*(jnp.asarray(x, jnp.int32) for x in sizes))

    def _step(self, number: int, state: State, limits: Limits) -> tuple[State, dict[str, Float[Array, ""]]]:
        arm, phase, estimator = self.plan.arm, self.phases[number], self.estimators[number]
        rate = self.rate(state, limits) * jnp.float32(phase.rate)
        keys = streams(state.seed)
        of_step = (keys.prompts, jax.random.fold_in(keys.rollouts, state.step))
        sampler = state.params
        if phase.source == "stored":
            begins = state.phase != number
            state = jax.lax.cond(begins, self._enter, lambda s: s, state)
            rollouts, used = self._stored(state, phase.informative)
            drawn, sampler = nothing(), state.reference
        elif phase.source == "enumerated":
            first = state.step * self.plan.prompts
            rollouts, drawn = enumerate_actions(
                self.policy, self.task, state.params, of_step, first, self.plan.prompts
            )
            used = drawn
        else:
            room = limits.rollouts - state.spent.rollouts
            sizes = (self.plan.prompts, arm.group)
            rollouts, drawn = draw_mixed(
                self.policy, self.task, state.params, of_step, state.step, sizes, arm.attempts, room
            )
            used = drawn
        batch, cost = score(
            self.policy, self.task, estimator, rollouts, sampler=sampler, reference=state.reference,
            critic=state.critic[0] if state.critic else (), baseline=state.baseline,
        )  # fmt: skip
        learnt, shown = self.improve(estimator, state, rollouts, batch, rate)
        reward = jnp.mean(rollouts.rewards).astype(jnp.float32)
        seen = jnp.where(state.step == 0, reward, _MEMORY * state.baseline + (1 - _MEMORY) * reward)
        fresh = phase.source == "fresh"
        shown |= {
            "reward": reward if fresh else jnp.full((), jnp.nan, jnp.float32),
            "equal": jnp.mean(~is_mixed(rollouts.rewards)),
            "length": jnp.mean(batch.lengths),
            "learning_rate": rate,
        }
        state = learnt._replace(
            step=state.step + 1,
            phase=jnp.full((), number, jnp.int32),
            baseline=seen if fresh else state.baseline,
            generated=add(state.generated, add(drawn, cost)),
            spent=add(state.spent, add(used, cost)),
        )
        return state, {name: jnp.asarray(shown[name], jnp.float32) for name in METRICS}

    def improve(
        self, estimator: Estimator, state: State, rollouts: Rollouts, batch: Batch, rate: Array
    ) -> tuple[State, dict[str, Any]]:
        """The optimiser's steps on one batch: every epoch takes its prompts in another order."""
        arm, prompts = self.plan.arm, self.plan.prompts
        key = jax.random.fold_in(streams(state.seed).order, state.step)
        if arm.epochs * arm.minibatches == 1:
            order = jnp.arange(prompts)[None]
        else:
            each = jax.vmap(lambda e: jax.random.permutation(jax.random.fold_in(key, 2 + e), prompts))
            order = each(jnp.arange(arm.epochs)).reshape(arm.epochs * arm.minibatches, -1)

        def inner(carry: tuple, rows: Int[Array, " prompt"]) -> tuple[tuple, dict[str, Array]]:
            params, memory, critic = carry
            part = jax.tree.map(lambda x: x[rows], (rollouts.prompts, rollouts.completions, batch))
            (value, ratio), slope = self.gradient(estimator, params, *part)
            updates, memory = self.rule.update(slope, memory, params)
            params = _descend(params, updates, rate)
            shown = {"objective": value, "log_ratio": ratio, "grad_norm": _norm(slope)}
            shown["critic_loss"] = jnp.zeros((), jnp.float32)
            if "values" in estimator.needs:
                shown["critic_loss"], critic = self._judge(estimator, critic, part)
            return (params, memory, critic), {k: jnp.asarray(v, jnp.float32) for k, v in shown.items()}

        carry = (state.params, state.memory, state.critic)
        (params, memory, critic), shown = jax.lax.scan(inner, carry, order)
        means = {name: jnp.mean(values) for name, values in shown.items()}
        means["log_ratio"] = shown["log_ratio"][-1]
        return state._replace(params=params, memory=memory, critic=critic), means

    def gradient(
        self, estimator: Estimator, params: PyTree, prompts: Array, completions: Array, batch: Batch
    ) -> tuple[tuple[Array, Array], PyTree]:
        """The objective, the mean distance of log-probabilities from the sampler's, and *minus* the gradient."""

        def loss(params: PyTree) -> tuple[Array, tuple[Array, Array]]:
            logp = self.policy.logprobs(params, prompts, completions)
            value = estimator(logp, batch)
            away = jnp.where(batch.mask, jnp.abs(logp - batch.logp_old), 0.0)
            return -value, (value, jnp.sum(away) / jnp.sum(batch.mask))

        (_, shown), slope = jax.value_and_grad(loss, has_aux=True)(params)
        return shown, slope

    def _judge(self, estimator: Estimator, critic: PyTree, part: tuple) -> tuple[Array, PyTree]:
        params, memory = critic
        value, slope = jax.value_and_grad(lambda p: critics.loss(self.policy, p, estimator, *part))(params)
        updates, memory = self.rule.update(slope, memory, params)
        return value, (_descend(params, updates, self.plan.arm.critic_rate), memory)


def _descend(params: PyTree, updates: PyTree, rate: float | Array) -> PyTree:
    return optax.apply_updates(params, jax.tree.map(lambda u: (-rate * u).astype(u.dtype), updates))


def _norm(tree: PyTree) -> Float[Array, ""]:
    return jnp.sqrt(sum(jnp.sum(jnp.square(x.astype(jnp.float32))) for x in jax.tree.leaves(tree)))
