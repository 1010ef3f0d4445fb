"""A warm start: supervised steps on a task's solutions, up to a chosen success rate.

Group-relative estimators have no signal where every rollout fails or every one succeeds, so what is measured
at a random initialisation says little. A short supervised phase puts the policy where training happens.
"""

import importlib.metadata
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from gradvar.core.checks import at_least, positive
from gradvar.core.devices import map_threads
from gradvar.core.programs import compiled_for, jit_by_work
from gradvar.core.progress import ProgressMonitor, Silent
from gradvar.core.protocols import Policy, Task
from gradvar.files.cache import cache_folder, read_tree, write_tree
from gradvar.files.fingerprint import fingerprint, settings_of

_FORMAT = 1  # raise when training changes what the same settings give


@dataclass(frozen=True, eq=False)
class WarmStart:
    """A warm-started policy and how well it does.

    ``success_rate`` is the mean reward (for binary rewards, the share of completions that are right) on
    prompts and rollouts drawn after training, with its ``standard_error`` over prompts; ``prompt_rates``
    [prompt] are the means for each of those prompts. ``between_prompts`` is the standard deviation of the
    true rates between prompts: that of ``prompt_rates``, less what chance within a prompt puts in. ``loss``
    is the last step's, in nats per token. ``reached`` is false where ``max_steps`` were not enough;
    ``cached`` is true where the parameters come from disk.
    """

    params: PyTree
    success_rate: float
    standard_error: float
    prompt_rates: Float[np.ndarray, " prompt"]
    between_prompts: float
    steps: int
    loss: float
    reached: bool
    cached: bool


@dataclass(frozen=True)
class _Settings:
    target: float
    batch: int
    learning_rate: float
    max_steps: int
    check_every: int
    num_prompts: int
    group: int


def warm_start(
    policy: Policy,
    task: Task,
    key: PRNGKeyArray,
    target: float = 0.4,
    *,
    batch: int = 256,
    learning_rate: float = 3e-3,
    max_steps: int = 4000,
    check_every: int = 20,
    num_prompts: int = 256,
    group: int = 16,
    cache: bool = True,
    folder: Path | str | None = None,
    monitor: ProgressMonitor | None = None,
) -> WarmStart:
    """Train on the task's solutions until the sampled success rate reaches ``target``, and stop near it.

    Adam, the loss being the mean negative log-likelihood of the solutions' tokens. Once the target is passed, the last
    steps are taken again by bisection, so that it is passed by little more than a standard error. Checks use the same
    prompts each time, drawn independently of the training prompts from the task's distribution (a small task's prompts
    can be among both); the figures reported use new ones.

    Args:
        policy: What is trained.
        task: A task with ``solution``; where it has ``lessons(key, prompts)``, these are taught.
        key: Of everything random.
        target: Success rate to reach.
        batch: Fresh prompts of one step.
        learning_rate: Of Adam.
        max_steps: Steps at most; a warning says where they do not reach the target.
        check_every: Steps between checks of the success rate.
        num_prompts: Prompts of a check.
        group: Rollouts of each.
        cache: Keep the result on disk, named by the policy, the task, the key and the settings.
        folder: Where it is kept; None for ``cache_folder()``.
        monitor: Given the step, the loss and the success rate of every check as a note.

    Raises:
        ValueError: On settings out of range.
        TypeError: For a task without ``solution``.
    """
    settings = _Settings(target, batch, learning_rate, max_steps, check_every, num_prompts, group)
    _check(policy, task, settings)
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    if not cache:
        return _train(policy, task, key, settings, monitor or Silent())
    identity = {
        "format": _FORMAT,
        "version": importlib.metadata.version("gradvar"),
        "policy": settings_of("policy", policy),
        "task": settings_of("task", task),
        "settings": settings_of("settings", settings),
        "key": [str(jax.random.key_impl(key)), *np.asarray(jax.random.key_data(key)).tolist()],
        "float": str(jnp.result_type(float)),
    }
    name = f"{getattr(task, 'name', 'task')}-{fingerprint(identity)}.safetensors"
    path = (cache_folder() if folder is None else Path(folder)) / "warm" / name
    shapes = jax.eval_shape(policy.init, key)
    cached = read_tree(path, shapes)
    if cached is not None:
        params, facts = cached
        return WarmStart(params, cached=True, prompt_rates=np.array(facts.pop("prompt_rates")), **facts)
    warm = _train(policy, task, key, settings, monitor or Silent())
    facts = {name: getattr(warm, name) for name in _FACTS} | {"prompt_rates": warm.prompt_rates.tolist()}
    write_tree(path, warm.params, facts)
    return warm


_FACTS = ("success_rate", "standard_error", "between_prompts", "steps", "loss", "reached")


def _check(policy: Policy, task: Task, settings: _Settings) -> None:
    if not 0 < settings.target < 1:
        raise ValueError(f"target: {settings.target}; give a success rate between 0 and 1")
    positive("learning_rate", settings.learning_rate)
    minimums = {"batch": 1, "max_steps": 1, "check_every": 1, "num_prompts": 2, "group": 2}
    for name, minimum in minimums.items():
        at_least(name, getattr(settings, name), minimum)
    if not hasattr(task, "solution"):
        raise TypeError(
            f"task: {type(task).__name__} has no solution(prompts), so it cannot be taught; add one"
        )
    # a dry run that computes nothing, with real tokens: what does not fit is an error now and not a NaN later
    prompts, solution = jax.jit(lambda key: _lesson(task, key, 2))(jax.random.key(0))
    params = jax.eval_shape(policy.init, jax.random.key(0))
    jax.eval_shape(lambda p: policy.logprobs(p, prompts, solution), params)
    length = jax.eval_shape(lambda p: policy.sample(p, jax.random.key(0), prompts, 1), params).shape[-1]
    if length < solution.shape[-1]:
        raise ValueError(
            f"policy: it writes {length} tokens and the task's solutions have {solution.shape[-1]}; "
            f"give completion_length={solution.shape[-1]} or more"
        )


_RULE = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())
_RISE = 50  # steps in which the learning rate rises to its full value


def _lesson(task: Any, key: Array, num: int) -> tuple[Array, Array]:
    prompts = task.prompts(key, num)
    if hasattr(getattr(task, "task", task), "lessons"):  # other kinds of prompts, about these
        prompts = task.lessons(jax.random.fold_in(key, 1), prompts)
    return prompts, task.solution(prompts)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _learn(
    policy: Policy,
    task: Any,
    batch: int,
    state: tuple[PyTree, Any],
    key: Array,
    learning_rate: Array,
    first: Array,
    num: Array,
) -> tuple[tuple[PyTree, Any], Array]:
    """Take ``num`` supervised steps from step ``first``; what a step sees depends on its number only."""

    def step(index: Array, carry: tuple) -> tuple:
        params, memory, _ = carry
        prompts, solution = _lesson(task, jax.random.fold_in(key, index), batch)
        mask = policy.mask(solution)  # [prompt, 1, time]

        def loss(params: PyTree) -> Array:
            logp = policy.logprobs(params, prompts, solution)
            return -jnp.sum(jnp.where(mask, logp, 0.0)) / jnp.sum(mask)

        value, slope = jax.value_and_grad(loss)(params)
        updates, memory = _RULE.update(slope, memory, params)
        rate = learning_rate * jnp.minimum((index + 1) / _RISE, 1.0)
        params = optax.apply_updates(params, jax.tree.map(lambda u: -rate * u, updates))
        return params, memory, value.astype(float)

    params, memory, loss = jax.lax.fori_loop(first, first + num, step, (*state, jnp.zeros((), float)))
    return (params, memory), loss


@partial(jit_by_work, jit=partial(jax.jit, static_argnums=(0, 1, 2, 3)))
def _rewards(policy: Policy, task: Task, num: int, group: int, params: PyTree, key: Array) -> Array:
    key_prompts, key_rollouts = jax.random.split(key)
    prompts = task.prompts(key_prompts, num)
    return task.reward(prompts, policy.sample(params, key_rollouts, prompts, group))


def _train(
    policy: Policy, task: Task, key: Array, settings: _Settings, monitor: ProgressMonitor
) -> WarmStart:
    key_init, key_learn, key_check, key_report = jax.random.split(key, 4)
    params = policy.init(key_init)
    low, low_step = (params, _RULE.init(params)), 0
    loss = float("nan")

    def rewards(state: tuple[PyTree, Any], key: Array) -> Float[np.ndarray, "prompt group"]:
        sizes = (settings.num_prompts, settings.group)
        num_params = sum(leaf.size for leaf in jax.tree.leaves(state[0]))
        with compiled_for(math.prod(sizes) * num_params):
            return np.asarray(_rewards(policy, task, *sizes, state[0], key), np.float64)

    def rate(state: tuple[PyTree, Any], step: int, loss: float) -> tuple[float, float]:
        means = rewards(state, key_check).mean(axis=-1)
        success = float(means.mean())
        monitor.advance(0, f"step {step}, loss {loss:.3f}, success {success:.3f}")
        return success, float(means.std(ddof=1) / len(means) ** 0.5)

    def learn(state: tuple[PyTree, Any], first: int, num: int) -> tuple[tuple[PyTree, Any], float]:
        speed = settings.learning_rate
        state, value = _learn(policy, task, settings.batch, state, key_learn, speed, first, num)
        if not np.isfinite(value):
            raise ValueError(
                f"learning_rate: the loss became {float(value)} before step {first + num} "
                f"at {settings.learning_rate}; give a smaller one"
            )
        return state, float(value)

    # no step is taken yet: both programs are compiled, each in a thread
    programs: list[Callable[[], tuple[Any, float]]] = [lambda: rate(low, 0, loss), lambda: learn(low, 0, 0)]
    success, error = map_threads(lambda program: program(), programs)[0]
    high, high_step = low, 0
    while success < settings.target and low_step < settings.max_steps:
        low, low_step = high, high_step
        num = min(settings.check_every, settings.max_steps - low_step)
        if not num:
            break
        (high, loss), high_step = learn(low, low_step, num), low_step + num
        success, error = rate(high, high_step, loss)
    reached = success >= settings.target
    while reached and high_step - low_step > 1 and success > settings.target + error:
        middle = (low_step + high_step) // 2
        state, middle_loss = learn(low, low_step, middle - low_step)
        middle_success, middle_error = rate(state, middle, middle_loss)
        if middle_success < settings.target:
            low, low_step = state, middle
        else:
            high, high_step, loss, success, error = state, middle, middle_loss, middle_success, middle_error
    if not reached:
        warnings.warn(
            f"warm start: success rate {success:.3f} after {high_step} steps, short of {settings.target}; "
            "give more max_steps, or an easier task",
            stacklevel=3,
        )
    final = rewards(high, key_report)
    rates, chance = final.mean(axis=-1), final.var(axis=-1, ddof=1).mean() / settings.group
    return WarmStart(
        params=high[0],
        success_rate=float(rates.mean()),
        standard_error=float(rates.std(ddof=1) / len(rates) ** 0.5),
        prompt_rates=rates,
        between_prompts=float(max(0.0, rates.var(ddof=1) - chance) ** 0.5),
        steps=high_step,
        loss=loss,
        reached=reached,
        cached=False,
    )
