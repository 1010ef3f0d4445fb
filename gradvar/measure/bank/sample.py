"""The first step of recording: sample rollouts, and score them with every policy that an objective may look at."""

import inspect
from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.batch import PER_PROMPT
from gradvar.core.devices import SINGLE, Devices, from_first_process, padded
from gradvar.core.precision import say_if_equal
from gradvar.core.protocols import Policy, Sampler, Task
from gradvar.measure.bank.data import Rollouts
from gradvar.measure.baselines import BaselineSource
from gradvar.measure.direct_plan import PolicyOnTask
from gradvar.policies.autoregressive import Autoregressive
from gradvar.tasks.parts import parts_of
from gradvar.tasks.verifier import Verifier

LARGE = 1 << 27
"""Bytes of parameters from which on a pass through the policy takes seconds."""


@dataclass(frozen=True, eq=False)
class RolloutSampler:
    """What is fixed about rollouts, whichever prompts of a recording they belong to.

    ``baselines`` supply the fields ``needs`` of a batch. ``chunk``: rollouts of a prompt at a time. ``devices`` share
    the prompts. ``rows``: prompts of a program, to which fewer are filled up (None: as many as there are).
    """

    subject: PolicyOnTask
    key: PRNGKeyArray
    baselines: BaselineSource | None
    needs: tuple[str, ...]
    chunk: int
    devices: Devices = SINGLE
    rows: int | None = None

    def __call__(self, prompts: PyTree, rollouts: int, first: int = 0) -> Rollouts:
        """Sample ``rollouts`` completions for every prompt, with their rewards and log-probabilities.

        ``first``: the number of the first prompt, where these are a part of more; what is drawn for a prompt depends
        on the key and on its number only. The last chunk is drawn in full and cut, so that one program serves all.

        Raises:
            ValueError: The model or the task gives a number that is not finite, or the policy cannot number prompts.
        """
        size = len(jax.tree.leaves(prompts)[0])
        numbered = takes_numbers(self.subject)
        if first and not numbered:
            names = " or ".join(type(x).__name__ for x in _drawing(self.subject))
            raise ValueError(
                f"policy: {names}.sample takes no first_prompt, so the prompts from {first} on cannot be drawn apart "
                "from the others; add it (see policies.sampler.rollout_keys)"
            )
        step = min(size, self.rows or size) if numbered else size
        parts = [
            self._some(jax.tree.map(lambda x, a=a: x[a : a + step], prompts), rollouts, first + a, numbered)
            for a in range(0, size, step)
        ]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        sampled = Rollouts(prompts=jax.tree.map(np.asarray, prompts), **joined)
        _require_finite(sampled, first)
        return sampled

    def _some(
        self, prompts: PyTree, rollouts: int, first: int, numbered: bool
    ) -> dict[str, Float[np.ndarray, "prompt ..."]]:
        """The rollouts of as many prompts as a program takes."""
        size = len(jax.tree.leaves(prompts)[0])
        devices = self.devices.at_most(size) if numbered else SINGLE
        program = max(size, self.rows or size) if numbered else size
        rows = padded(prompts, -(-program // devices.size) * devices.size)
        # The keys of a row depend on its global number; one device that draws all prompts at once numbers them itself.
        numbers = None
        if numbered and (self.rows is not None or first or devices.size > 1):
            numbers = first + np.arange(len(jax.tree.leaves(rows)[0]), dtype=np.int32)
        parts = []
        for start in range(0, rollouts, self.chunk):
            key = jax.random.fold_in(self.key, start)
            arrays = self._rollouts(devices, key, rows, numbers, size)
            parts.append({name: np.asarray(x)[:size, : rollouts - start] for name, x in arrays.items()})
        joined = {name: np.concatenate([part[name] for part in parts], 1) for name in parts[0]}
        for name in PER_PROMPT:
            if name in joined:
                joined[name] = joined[name][:, 0]  # [prompt, rollout] -> [prompt]
        return joined

    def _rollouts(
        self,
        devices: Devices,
        key: PRNGKeyArray,
        prompts: PyTree,
        numbers: Int[np.ndarray, " prompt"] | None,
        size: int,
    ) -> dict[str, Array]:
        """A chunk of rollouts, in small programs that are compiled once each."""
        subject = self.subject
        logp: Array | None = None
        if _reports(subject):
            reported = eqx.Partial(_sample_with_logprobs, subject.policy, self.chunk)
            completions, logp = devices.over(reported, (subject.params, key), (prompts, numbers))
        else:
            sample = eqx.Partial(_sample, subject.policy, self.chunk)
            completions = devices.over(sample, (subject.engine, subject.old, key), (prompts, numbers))

        def logprobs(params: PyTree) -> Float[Array, "prompt rollout time"]:
            return devices.over(eqx.Partial(_logprobs, subject.policy), (params,), (prompts, completions))

        # What is the same object is scored once: the same pass need not be run and compiled again.
        logp = logprobs(subject.params) if logp is None else logp
        logp_old = logprobs(subject.old) if subject.off_policy else logp
        dtype = jnp.promote_types(
            logp.dtype, jnp.float32
        )  # rewards of 100 and 100.25 are one number in bfloat16
        arrays = self._rewards(devices, prompts, completions, dtype, size)
        arrays |= {
            "completions": completions,
            "logp": logp,
            "logp_old": logp_old,
            "logp_ref": logp_old if subject.reference is subject.old else logprobs(subject.reference),
        }
        if subject.engine is not None:
            report = eqx.Partial(_reported, subject.policy)
            of_engine = devices.over(report, (subject.engine, subject.old), (prompts, completions))
            arrays["logp_sampler"] = of_engine.astype(logp.dtype)
        if self.baselines is not None and self.needs:
            fields = eqx.Partial(_baseline_fields, self.needs, logp.dtype)
            arrays |= devices.over(fields, (self.baselines,), (prompts, completions))
        return devices.gather(arrays)

    def _rewards(
        self, devices: Devices, prompts: PyTree, completions: Array, dtype: np.dtype, size: int
    ) -> dict[str, Array]:
        """Rewards and masks; a verifier in Python sees the prompts that were asked for, without their padding."""
        policy, task = self.subject.policy, self.subject.task
        if not isinstance(task, Verifier):
            rewards = eqx.Partial(_rewards_and_mask, policy, task, dtype)
            return devices.over(rewards, (), (prompts, completions))
        tokens = np.asarray(devices.gather(completions))
        real_prompts, real_tokens = jax.tree.map(lambda x: np.asarray(x)[:size], prompts), tokens[:size]
        shape = np.zeros(real_tokens.shape[:2])
        values = from_first_process(lambda: task.reward(real_prompts, real_tokens), shape)
        say_if_equal(values, dtype)
        mask = policy.mask(jnp.asarray(tokens))
        return {"rewards": padded(values.astype(dtype), len(tokens)), "mask": mask}


def _reports(subject: PolicyOnTask) -> bool:
    """True where what the sampler reports stands for a pass of its own: the same numbers but for rounding.

    Only for a large policy, on policy: the pass, and the program for it, then take seconds. In half precision the two
    differ by more than is called rounding.
    """
    if subject.off_policy or not isinstance(subject.policy, Autoregressive):
        return False
    leaves = jax.tree.leaves(subject.params)
    return sum(leaf.nbytes for leaf in leaves) >= LARGE and all(leaf.dtype.itemsize >= 4 for leaf in leaves)


def _drawing(subject: PolicyOnTask) -> list[Any]:
    return [subject.policy, *([] if subject.engine is None else [subject.engine])]


def takes_numbers(subject: PolicyOnTask) -> bool:
    """True if what draws can be told which prompts of a recording it is given, so that they can be drawn apart."""
    return all("first_prompt" in inspect.signature(x.sample).parameters for x in _drawing(subject))


def _require_finite(rollouts: Rollouts, first: int) -> None:
    for name in ("rewards", "logp", "logp_old", "logp_sampler"):
        array = getattr(rollouts, name)
        if array is None:
            continue
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            prompt, rollout = bad[0, :2]
            source = "the task" if name == "rewards" else "the model"
            raise ValueError(
                f"{name}: {array[tuple(bad[0])]} for prompt {first + prompt}, rollout {rollout}; "
                f"{source} gives no finite number there, fix it first"
            )


@eqx.filter_jit
def _sample(
    policy: Policy,
    group: int,
    engine: Sampler | None,
    params: PyTree,
    key: PRNGKeyArray,
    prompts: PyTree,
    numbers: Int[Array, " prompt"] | None,
) -> Int[Array, "prompt rollout time"]:
    sample: Any = policy.sample if engine is None else partial(engine.sample, policy)
    if numbers is None:
        completions: Array = sample(params, key, prompts, group)
        return completions
    numbered: Array = sample(params, key, prompts, group, first_prompt=numbers[0])
    return numbered


@eqx.filter_jit
def _sample_with_logprobs(
    policy: Autoregressive,
    group: int,
    params: PyTree,
    key: PRNGKeyArray,
    prompts: PyTree,
    numbers: Int[Array, " prompt"] | None,
) -> tuple[Int[Array, "prompt rollout time"], Float[Array, "prompt rollout time"]]:
    first = 0 if numbers is None else numbers[0]
    return policy.sample_with_logprobs(params, key, prompts, group, first_prompt=first)


@eqx.filter_jit
def _reported(
    policy: Policy, engine: Sampler, params: PyTree, prompts: PyTree, completions: Array
) -> Float[Array, "prompt rollout time"]:
    return jnp.where(policy.mask(completions), engine.logprobs(policy, params, prompts, completions), 0.0)


@eqx.filter_jit
def _logprobs(
    policy: Policy, params: PyTree, prompts: PyTree, completions: Array
) -> Float[Array, "prompt rollout time"]:
    return jnp.where(policy.mask(completions), policy.logprobs(params, prompts, completions), 0.0)


@eqx.filter_jit
def _rewards_and_mask(
    policy: Policy, task: Task, dtype: np.dtype, prompts: PyTree, completions: Array
) -> dict[str, Array]:
    try:
        rewards = task.reward(prompts, completions).astype(dtype)
        parts = {name: x.astype(dtype) for name, x in parts_of(task, prompts, completions).items()}
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError):
        raise ValueError(
            f"task: {type(task).__name__}.reward is not made of JAX operations; wrap it: gv.measure.Verifier(task)"
        ) from None
    return {"rewards": rewards, "mask": policy.mask(completions), **parts}


@eqx.filter_jit
def _baseline_fields(
    needs: tuple[str, ...], dtype: np.dtype, baselines: BaselineSource, prompts: PyTree, completions: Array
) -> dict[str, Array]:
    size, group, time = completions.shape
    repeated = jax.tree.map(lambda x: jnp.repeat(x, group, axis=0), prompts)  # [prompt * group, ...]
    flat = baselines(repeated, completions.reshape(-1, time), needs)
    return {n: x.reshape(size, group, *x.shape[1:]).astype(dtype) for n, x in flat.items()}
