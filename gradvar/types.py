"""The words of the house: batches, estimators, moments, and the protocols that the parts meet by.

Axes, everywhere: ``prompt`` (Q prompts), ``group`` (G rollouts of one prompt), ``time`` (T tokens), ``param`` (P
parameters, flattened). Objectives are maximised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray, PyTree


class Batch(eqx.Module):
    """Rollouts of Q prompts, G each, T tokens long: all that an objective may look at besides ``logp``.

    ``rewards`` [Q, G]; ``logp_old`` [Q, G, T], the log-probabilities (nats) under the policy that sampled, as the
    trainer computes them; ``mask`` [Q, G, T], true where a token counts. Optional, for the estimators that need them:
    ``logp_ref`` [Q, G, T] under the reference policy; ``logp_sampler`` [Q, G, T] under the inference engine;
    ``values`` [Q, G, T], the critic's value of the state *before* each token; ``greedy_rewards`` [Q], the reward of
    the greedy rollout; ``baseline`` [Q], a given baseline; ``reward_parts`` [Q, G, K], several rewards per rollout;
    ``score_squares`` [Q, G], the squared norm of each whole rollout's score under the policy that sampled.

    Raises ``ValueError`` on shapes that do not match and, where the arrays are concrete, on a NaN or infinite reward
    and on a rollout without a token (``allow_empty=True`` keeps such rollouts; the aggregation then says what they
    count for).
    """

    rewards: Float[Array, "prompt group"]
    logp_old: Float[Array, "prompt group time"]
    mask: Bool[Array, "prompt group time"]
    logp_ref: Float[Array, "prompt group time"] | None
    logp_sampler: Float[Array, "prompt group time"] | None
    values: Float[Array, "prompt group time"] | None
    greedy_rewards: Float[Array, " prompt"] | None
    baseline: Float[Array, " prompt"] | None
    reward_parts: Float[Array, "prompt group part"] | None
    score_squares: Float[Array, "prompt group"] | None

    def __init__(
        self,
        rewards: ArrayLike,
        logp_old: ArrayLike,
        mask: ArrayLike | None = None,
        *,
        logp_ref: ArrayLike | None = None,
        logp_sampler: ArrayLike | None = None,
        values: ArrayLike | None = None,
        greedy_rewards: ArrayLike | None = None,
        baseline: ArrayLike | None = None,
        reward_parts: ArrayLike | None = None,
        score_squares: ArrayLike | None = None,
        allow_empty: bool = False,
    ) -> None:
        self.rewards = _floating(rewards)
        self.logp_old = _floating(logp_old)
        self.mask = jnp.ones(self.logp_old.shape, bool) if mask is None else jnp.asarray(mask).astype(bool)
        self.logp_ref = None if logp_ref is None else _floating(logp_ref)
        self.logp_sampler = None if logp_sampler is None else _floating(logp_sampler)
        self.values = None if values is None else _floating(values)
        self.greedy_rewards = None if greedy_rewards is None else _floating(greedy_rewards)
        self.baseline = None if baseline is None else _floating(baseline)
        self.reward_parts = None if reward_parts is None else _floating(reward_parts)
        self.score_squares = None if score_squares is None else _floating(score_squares)
        self._check_shapes()
        self._check_values(allow_empty)

    @property
    def lengths(self) -> Float[Array, "prompt group"]:
        """Tokens per rollout, as floats."""
        return jnp.sum(self.mask, axis=-1).astype(self.rewards.dtype)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Q, G, T)."""
        prompts, group, time = self.logp_old.shape
        return prompts, group, time

    def _check_shapes(self) -> None:
        if self.logp_old.ndim != 3:
            raise ValueError(f"logp_old: shape {self.logp_old.shape}; give three axes, [prompt, group, time]")
        prompts, group, time = self.logp_old.shape
        wanted: dict[str, tuple[int, ...]] = {
            "rewards": (prompts, group),
            "score_squares": (prompts, group),
            "mask": (prompts, group, time),
            "logp_ref": (prompts, group, time),
            "logp_sampler": (prompts, group, time),
            "values": (prompts, group, time),
            "greedy_rewards": (prompts,),
            "baseline": (prompts,),
        }
        for name, shape in wanted.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise ValueError(
                    f"{name}: shape {array.shape} does not match logp_old's {self.logp_old.shape}; give {shape}"
                )
        if self.reward_parts is not None and self.reward_parts.shape[:-1] != (prompts, group):
            raise ValueError(
                f"reward_parts: shape {self.reward_parts.shape}; give {(prompts, group)} and one axis of parts"
            )

    def _check_values(self, allow_empty: bool) -> None:
        if not isinstance(self.rewards, jax.core.Tracer):
            bad = np.argwhere(~np.isfinite(np.asarray(self.rewards, np.float64)))
            if len(bad):
                q, g = (int(i) for i in bad[0])
                raise ValueError(
                    f"rewards: {float(self.rewards[q, g])} at prompt {q}, rollout {g}; "
                    "give finite rewards, or drop the rollout's whole group"
                )
        if not allow_empty and not isinstance(self.mask, jax.core.Tracer):
            empty = np.argwhere(~np.asarray(self.mask).any(-1))
            if len(empty):
                q, g = (int(i) for i in empty[0])
                raise ValueError(
                    f"mask: prompt {q}, rollout {g} has no token left; keep at least its stop token, "
                    "or pass allow_empty=True"
                )


def _floating(x: ArrayLike) -> Array:
    array = jnp.asarray(x)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))


Objective = Callable[[Float[Array, "prompt group time"], Batch], Float[Array, ""]]


@dataclass(frozen=True)
class Paper:
    """Where an estimator comes from: title, arXiv id (or another citation) and the equation that the code follows."""

    title: str
    arxiv: str
    equation: str = ""


@dataclass(frozen=True, eq=False)
class Estimator:
    """An objective with its name, its source and the laws it is meant to obey.

    ``objective(logp, batch)`` is a pure function to a scalar, to be maximised. ``needs`` names the optional fields of
    ``Batch`` that it reads. ``laws`` maps a law's name (``gradvar.testing.names.LAWS``) to whether it should hold;
    a law that is absent does not apply. ``parts`` keeps the pieces of a composed estimator, for display and tests.
    Instances compare and hash by identity, so that they can be static arguments of jitted code.
    """

    name: str
    objective: Objective
    paper: Paper = Paper("", "")
    laws: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))
    needs: tuple[str, ...] = ()
    min_group: int = 2
    parts: Mapping[str, Callable[..., Any]] = field(default_factory=lambda: MappingProxyType({}))

    def __call__(self, logp: Float[Array, "prompt group time"], batch: Batch) -> Float[Array, ""]:
        """The objective's value."""
        return self.objective(logp, batch)


def as_estimator(estimator: Estimator | Objective) -> Estimator:
    """An ``Estimator`` as it is; a bare objective under its own name, with no declared law."""
    if isinstance(estimator, Estimator):
        return estimator
    if not callable(estimator):
        raise TypeError(
            f"estimator: {estimator!r} is not callable; give gv.catalogue.get(name) or an objective(logp, batch)"
        )
    return Estimator(name=getattr(estimator, "__name__", "objective"), objective=estimator, min_group=1)


def token_weights(
    estimator: Estimator | Objective, logp: Float[Array, "prompt group time"], batch: Batch
) -> Float[Array, "prompt group time"]:
    """The derivative of the objective with respect to every token's log-probability: [Q, G, T].

    The gradient with respect to parameters is the sum over tokens of these weights times the tokens' scores.
    """
    logp = jnp.asarray(logp)
    if logp.shape != batch.shape:
        raise ValueError(
            f"logp: shape {logp.shape} does not match the batch's {batch.shape}; give one value per token"
        )
    return jax.grad(estimator)(logp, batch)


@runtime_checkable
class Policy(Protocol):
    """What the engines ask of a policy. Prompts are a pytree or array with leading axis Q; completions are integer
    tokens [Q, G, T], padded after a stop token where the policy has one."""

    def init(self, key: PRNGKeyArray) -> PyTree:
        """Fresh parameters."""
        ...

    def logprobs(
        self, params: PyTree, prompts: Array, completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group time"]:
        """Every token's log-probability (nats); values at masked positions are unspecified but finite."""
        ...

    def sample(
        self, params: PyTree, key: PRNGKeyArray, prompts: Array, group: int
    ) -> Int[Array, "prompt group time"]:
        """``group`` independent completions for every prompt."""
        ...

    def greedy(self, params: PyTree, prompts: Array) -> Int[Array, "prompt 1 time"]:
        """The completion that takes the most likely token at every step."""
        ...

    def mask(self, completions: Int[Array, "*batch time"]) -> Bool[Array, "*batch time"]:
        """True up to and including the stop token; all true without one."""
        ...


@runtime_checkable
class FinitePolicy(Policy, Protocol):
    """A policy whose completions can be listed."""

    def support(self) -> Int[Array, "completion time"]:
        """Every completion once, the same list for every prompt."""
        ...


@runtime_checkable
class Task(Protocol):
    """Prompts and verifiable rewards."""

    def prompts(self, key: PRNGKeyArray, num: int) -> Array:
        """``num`` prompts drawn independently from the task's distribution."""
        ...

    def reward(
        self, prompts: Array, completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group"]:
        """The reward of every completion; runs on the device."""
        ...


@runtime_checkable
class FiniteTask(Task, Protocol):
    """A task with a finite list of prompts, each equally likely."""

    def all_prompts(self) -> Array:
        """Every prompt once."""
        ...


@dataclass(frozen=True, eq=False)
class Moments:
    """What an estimator's gradient estimates, and how noisy it is.

    The gradient of one batch is a random vector ghat of length P; a batch has ``prompts`` prompts and ``rollouts``
    rollouts. All figures are about one such batch.

    - ``mean`` [P]: E ghat.  ``mean_se`` [P]: its standard error (zero when exact).
    - ``trace_cov``: tr Cov ghat = ``between`` + ``within``; ``between`` is the trace of the covariance of
      E[ghat | prompts], ``within`` the expected conditional one.
    - ``signal``: ||E ghat||^2.   ``snr``: signal / trace_cov.
    - ``true_gradient`` [P]: grad J at the current parameters, None where it is not known exactly; ``true_signal``:
      ||grad J||^2.   ``bias_factor``: <E ghat, grad J> / ||grad J||^2.   ``cosine``: between E ghat and grad J.
    - ``se``: the standard error of every scalar figure by name, zero when exact, and its degrees of freedom ``dof``;
      ``interval`` makes confidence intervals of them.
    - ``replicates``: how many gradients were drawn; 0 means enumerated.

    Estimated figures are unbiased where that is possible (mean, trace_cov, between, within, signal, true_signal), so a
    signal estimate may be negative when there is little of it; ``cosine`` is then NaN.
    """

    estimator: str
    group_size: int
    prompts: int
    mean: np.ndarray
    mean_se: np.ndarray
    trace_cov: float
    between: float
    within: float
    signal: float
    snr: float
    true_signal: float
    bias_factor: float
    cosine: float
    se: Mapping[str, float]
    true_gradient: np.ndarray | None = None
    dof: float = np.inf
    replicates: int = 0

    @property
    def rollouts(self) -> int:
        """Rollouts per batch."""
        return self.prompts * self.group_size

    @property
    def snr_per_rollout(self) -> float:
        """snr / rollouts: what one rollout buys; equal for all batch sizes when prompts are independent."""
        return self.snr / self.rollouts

    def interval(self, figure: str, level: float = 0.95) -> tuple[float, float]:
        """A ``level`` confidence interval for a scalar figure, by name; of width zero when the figure is exact.

        A cosine's ends at 1 and at -1.
        """
        if figure == "snr_per_rollout":
            low, high = self.interval("snr", level)
            return low / self.rollouts, high / self.rollouts
        if figure not in self.se:
            raise ValueError(f"figure: '{figure}' has no standard error; choose one of {', '.join(self.se)}")
        value, logarithmic = float(getattr(self, figure)), figure in LOGARITHMIC
        bounds = interval(value, self.se[figure], self.dof, level, logarithmic=logarithmic)
        if figure == "cosine":
            bounds = np.clip(bounds[0], -1.0, 1.0), np.clip(bounds[1], -1.0, 1.0)
        return float(bounds[0]), float(bounds[1])


LOGARITHMIC = ("trace_cov", "between", "within", "signal", "snr")


def interval(
    value: ArrayLike, se: ArrayLike, dof: float, level: float = 0.95, *, logarithmic: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """A confidence interval from a standard error, by Student's t; on arrays of experiments as on single figures.

    ``logarithmic`` is for variances, squared norms and their quotient (``LOGARITHMIC``): their estimates are skewed
    and scatter in proportion to their size, so that an interval that is symmetric in the logarithm covers better. It
    applies where the estimate is more than two standard errors above zero.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: {level}; give a number between 0 and 1, such as 0.95")
    from scipy.stats import t

    value, se = np.asarray(value, np.float64), np.asarray(se, np.float64)
    half = float(t.ppf(0.5 + level / 2, dof)) * se
    linear = value - half, value + half
    if not logarithmic:
        return linear
    clear = value > 2 * se
    factor = np.exp(np.where(clear, half, 0.0) / np.where(clear, value, 1.0))
    return np.where(clear, value / factor, linear[0]), np.where(clear, value * factor, linear[1])
