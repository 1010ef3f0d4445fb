"""One training step as a pure function of the state: new prompts, rollouts, and the optimiser's steps on them."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from gradvar import catalogue
from gradvar.core.batch import Batch
from gradvar.core.estimator import Estimator
from gradvar.core.protocols import Policy, Sampler, Task
from gradvar.core.spelling import read_sampler
from gradvar.measure.spelled import corrected_by, sampler_piece
from gradvar.train import critic
from gradvar.train import rollouts as sampling
from gradvar.train.improve import FIGURES, Improvement, Learner, Minibatch, optimiser
from gradvar.train.plan import Arm, Phase, Plan
from gradvar.train.state import Generated, Limits, State, streams

METRICS = ("reward", "equal", "length", *FIGURES, "learning_rate")
_DECAY = 0.9  # of the running mean reward that serves as a constant baseline


def estimator_of(phase: Phase | Arm) -> Estimator:
    """Return the phase's estimator, from the catalogue where it is named.

    Raises ``ValueError`` where it needs what training cannot give.
    """
    estimator = phase.estimator
    if isinstance(estimator, str):
        estimator = catalogue.get(estimator, **phase.settings)
    if isinstance(phase, Arm) and phase.correction != "none":
        estimator = corrected_by(estimator, phase.correction)
    unmet = [need for need in estimator.needs if need not in sampling.SUPPLIED]
    if unmet:
        raise ValueError(
            f"estimator: '{estimator.name}' needs {unmet[0]}, which training does not give; choose another"
        )
    return estimator


def check_plan(plan: Plan) -> tuple[Estimator, ...]:
    """Return the estimators of the plan's phases.

    Raises ``ValueError`` where one of them needs what training cannot give or a larger group.
    """
    arm = plan.arm
    estimators = tuple(estimator_of(phase) for phase in (arm.phases or (arm,)))
    for estimator in estimators:
        if arm.group < estimator.min_group:
            raise ValueError(
                f"group: {arm.group} in arm '{arm.name}' is too small for {estimator.name}; "
                f"give {estimator.min_group} or more"
            )
    return estimators


class TrainingStep:
    """A plan on a policy and a task: its starting state and its step, both pure functions for ``jax.jit``."""

    def __init__(
        self, policy: Policy, task: Task, plan: Plan, rule: optax.GradientTransformation | None = None
    ) -> None:
        """Check the plan.

        Args:
            policy: What is trained.
            task: What gives prompts and rewards.
            plan: Sizes, learning rate and limits of an arm.
            rule: Replaces the arm's optimiser; its updates are scaled by minus the learning rate.
        """
        self.policy, self.task, self.plan = policy, task, plan
        self.phases = plan.arm.all_phases()
        self.estimators = check_plan(plan)
        self.rule = optimiser(plan.arm) if rule is None else rule
        self.needs = {need for estimator in self.estimators for need in estimator.needs}
        word = read_sampler(plan.arm.sampler)
        self.stale = word.steps
        self.metrics: tuple[str, ...] = METRICS if plan.arm.sampler == "none" else (*METRICS, "mismatch")
        self.sampler: Sampler | None = None if word.name == "stale" else sampler_piece(word, tuple)

    def start(self, seed: Int[Array, ""], params: PyTree) -> State:
        """Return the state before the first step; arms with the same seed and parameters start alike."""
        critic_pair: PyTree = ()
        if "values" in self.needs:
            value = critic.init(self.policy, params)
            critic_pair = (value, self.rule.init(value))
        store: PyTree = ()
        has_store = any(phase.source == "stored" for phase in self.phases)
        if has_store:
            shapes = jax.eval_shape(lambda: self._collect(params, streams(seed).store)[0])
            store = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return State(
            seed=jnp.asarray(seed, jnp.int32),
            step=jnp.zeros((), jnp.int32),
            phase=jnp.full((), -1, jnp.int32),
            params=params,
            memory=self.rule.init(params),
            reference=params if "logp_ref" in self.needs or has_store else (),
            critic=critic_pair,
            store=store,
            baseline=jnp.zeros((), jnp.float32),
            generated=Generated.of(0, 0, 0),
            spent=Generated.of(0, 0, 0),
            served=jax.tree.map(lambda x: jnp.stack([x] * self.stale), params) if self.stale else (),
        )

    def engine(self, state: State) -> sampling.Engine:
        """Return what draws the rollouts of the next step: the policy, or an engine that serves it or what it was."""
        if not self.stale:
            return sampling.Engine(self.sampler, state.params)
        oldest = (
            state.step % self.stale
        )  # the place of the parameters of ``stale`` steps ago; at first, the start's
        return sampling.Engine(None, jax.tree.map(lambda x: x[oldest], state.served))

    def progress(self, state: State, limits: Limits, ahead: int = 0) -> Float[Array, ""]:
        """Return the share of the run that is over, by whichever limit is nearest; ``ahead`` steps later."""
        rollouts = state.spent.rollouts + ahead * self.plan.rollouts_per_step
        shares = (
            (state.step + ahead).astype(jnp.float32) / limits.steps,
            rollouts.astype(jnp.float32) / limits.rollouts,
            state.spent.tokens.astype(jnp.float32) / limits.tokens,
            limits.elapsed,
        )
        return jnp.max(jnp.stack([share.astype(jnp.float32) for share in shares]))

    def is_over(self, state: State, limits: Limits) -> Bool[Array, ""]:
        """Return True if a limit is reached, or the next step's rollouts would pass theirs."""
        rollouts = state.spent.rollouts + self.plan.rollouts_per_step > limits.rollouts
        counted = (state.step >= limits.steps) | (state.spent.tokens >= limits.tokens)
        return counted | rollouts | (limits.elapsed >= 1)

    def phase_of(self, state: State, limits: Limits) -> Int[Array, ""]:
        """Return the number of the phase that the next step belongs to."""
        cycle, shares = self.plan.arm.cycle, [phase.share for phase in self.phases]
        ends = jnp.cumsum(jnp.asarray(shares, jnp.float32))
        position = state.step % cycle if cycle else self.progress(state, limits) * ends[-1]
        return jnp.minimum(jnp.sum(position >= ends, dtype=jnp.int32), len(self.phases) - 1)

    def rate(self, state: State, limits: Limits) -> Float[Array, ""]:
        """Return the learning rate of the next step: the plan's, by schedule and warm-up."""
        arm = self.plan.arm
        along = jnp.clip((self.progress(state, limits) - arm.warmup) / (1 - arm.warmup), 0.0, 1.0)
        shape = {
            "constant": optax.constant_schedule(1.0),
            "linear": optax.linear_schedule(1.0, 0.0, 1),
            "cosine": optax.cosine_decay_schedule(1.0, 1),
        }[arm.schedule](along)
        rise = jnp.minimum(self.progress(state, limits, ahead=1) / arm.warmup, 1.0) if arm.warmup else 1.0
        return (limits.learning_rate * shape * rise).astype(jnp.float32)

    def step(self, state: State, limits: Limits) -> tuple[State, dict[str, Float[Array, ""]]]:
        """Return the state after one step, and ``metrics``: ``METRICS``, and the mismatch where there is an engine."""
        branches = [partial(self._phase_step, number) for number in range(len(self.phases))]
        if len(branches) == 1:
            return branches[0](state, limits)
        return jax.lax.switch(self.phase_of(state, limits), branches, state, limits)

    def draw(
        self, number: int, state: State, limits: Limits
    ) -> tuple[State, sampling.TrainingRollouts, Generated, Generated]:
        """Take the rollouts of a step in a phase.

        Args:
            number: Of the phase.
            state: Before the step.
            limits: Of the run.

        Returns:
            The state, with a store that was drawn where a stored phase begins; the rollouts; what was generated for
            them; and what is spent.
        """
        phase, prompts = self.phases[number], self.plan.prompts
        keys = streams(state.seed)
        step_keys = (keys.prompts, jax.random.fold_in(keys.rollouts, state.step))
        if phase.source == "stored":
            state = jax.lax.cond(state.phase != number, self._fill_store, lambda s: s, state)
            rollouts, spent = self._from_store(state, phase)
            return state, rollouts, Generated.of(0, 0, 0), spent
        sizes, room = (prompts, self.plan.arm.group), limits.rollouts - state.spent.rollouts
        attempts = self.plan.arm.attempts
        rollouts, generated = sampling.draw_mixed(
            self.policy, self.task, self.engine(state), step_keys, state.step, sizes, attempts, room
        )
        return state, rollouts, generated, generated

    @property
    def examined(self) -> tuple[Policy, Callable[[State], PyTree]]:
        """What is evaluated: a policy, and its parameters in a state."""
        return self.policy, lambda state: state.params

    def improvement(self, number: int) -> Improvement:
        """Return the optimiser's steps on a batch of a phase."""
        return Improvement(self.policy, self.estimators[number], self.plan.arm, self.rule)

    def _collect(self, params: PyTree, key: PRNGKeyArray) -> tuple[sampling.TrainingRollouts, Generated]:
        keys, arm = (jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)), self.plan.arm
        engine = sampling.Engine(None, params)
        return sampling.draw(self.policy, self.task, engine, keys, 0, arm.store, arm.group)

    def _fill_store(self, state: State) -> State:
        """At the start of a stored phase, draw the store, and make the policy that drew it the reference."""
        key = jax.random.fold_in(streams(state.seed).store, state.step)
        store, generated = self._collect(state.params, key)
        return state._replace(
            store=store,
            reference=state.params,
            generated=state.generated.plus(generated),
            spent=state.spent.plus(generated),
        )

    def _from_store(self, state: State, phase: Phase) -> tuple[sampling.TrainingRollouts, Generated]:
        """Take some of the store's prompts, with all their rollouts; drawn anew at every step."""
        store: sampling.TrainingRollouts = state.store
        order = jnp.arange(self.plan.arm.store)
        size = jnp.asarray(self.plan.arm.store, jnp.int32)
        if phase.informative:
            served = sampling.is_served(store.rewards, phase.difficulty)
            order = jnp.argsort(~served, stable=True)
            size = jnp.maximum(jnp.sum(served, dtype=jnp.int32), 1)
        key = jax.random.fold_in(streams(state.seed).order, state.step)
        # a bounded integer of a uniform number, for ``randint`` wants to know its bound when it is traced
        uniform = jax.random.uniform(jax.random.fold_in(key, 1), (self.plan.prompts,), jnp.float32)
        rows = order[jnp.minimum((uniform * size).astype(jnp.int32), size - 1)]  # [prompt]
        rollouts = jax.tree.map(lambda x: x[rows], store)
        spent = Generated.of(0, self.plan.rollouts_per_step, jnp.sum(rollouts.mask, dtype=jnp.int32))
        return rollouts, spent

    def _phase_step(
        self, number: int, state: State, limits: Limits
    ) -> tuple[State, dict[str, Float[Array, ""]]]:
        phase = self.phases[number]
        rate = self.rate(state, limits) * jnp.float32(phase.rate)
        state, rollouts, generated, spent = self.draw(number, state, limits)
        parameters = parameters_of(state, state.reference if phase.source == "stored" else state.params)
        has_engine = self.plan.arm.sampler != "none"
        if has_engine:
            parameters = parameters._replace(engine=self.engine(state))
        batch, extra = sampling.batch_of(
            self.policy, self.task, self.estimators[number], rollouts, parameters
        )
        key = jax.random.fold_in(streams(state.seed).order, state.step)
        learner, figures = self.improvement(number)(
            Learner(state.params, state.memory, state.critic),
            Minibatch(rollouts.prompts, rollouts.completions, batch),
            key,
            rate,
        )
        reward, length = self._means(rollouts)
        baseline = jnp.where(state.step == 0, reward, _DECAY * state.baseline + (1 - _DECAY) * reward)
        is_fresh = phase.source == "fresh"
        metrics = figures | {
            "reward": reward if is_fresh else jnp.full((), jnp.nan, jnp.float32),
            "equal": jnp.mean(~sampling.is_mixed(rollouts.rewards)),
            "length": length,
            "learning_rate": rate,
        }
        if has_engine:
            metrics["mismatch"] = _mismatch(batch)
        state = state._replace(
            **learner._asdict(),
            step=state.step + 1,
            phase=jnp.full((), number, jnp.int32),
            baseline=baseline if is_fresh else state.baseline,
            generated=state.generated.plus(generated.plus(extra)),
            spent=state.spent.plus(spent.plus(extra)),
            served=self._served(state),
        )
        return state, {name: jnp.asarray(metrics[name], jnp.float32) for name in self.metrics}

    def _means(self, rollouts: sampling.TrainingRollouts) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The mean reward and length of a step's rollouts."""
        # By a fixed number: the last bit of a quotient by a computed one differs between numbers of devices.
        tokens = jnp.sum(rollouts.mask, axis=-1)  # [prompt, group]
        return jnp.mean(rollouts.rewards).astype(jnp.float32), jnp.mean(tokens)

    def _served(self, state: State) -> PyTree:
        """The parameters of the last steps, this step's in the place of the oldest."""
        if not self.stale:
            return state.served
        return jax.tree.map(
            lambda all_, x: all_.at[state.step % self.stale].set(x), state.served, state.params
        )


def _mismatch(batch: Batch) -> Float[Array, ""]:
    """An estimate of KL(engine || trainer) in nats per token."""
    assert batch.logp_sampler is not None
    gap = jnp.where(batch.mask, batch.logp_sampler - batch.logp_old, 0.0)  # [prompt, group, time]
    return jnp.sum(gap) / jnp.sum(batch.mask)


def parameters_of(state: State, old: PyTree) -> sampling.Parameters:
    """Return the parameters that a batch of rollouts is about, with ``old`` those of its proximal policy."""
    critic_params = state.critic[0] if state.critic else ()
    return sampling.Parameters(old, state.reference, critic_params, state.baseline)
