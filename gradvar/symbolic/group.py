"""Ready-made symbolic batches, and the bridge from an exact bandit to the library's own engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from gradvar.core.batch import Batch
from gradvar.core.estimator import Estimator, Objective
from gradvar.core.moments import Moments
from gradvar.symbolic.decide.enumerate import ExactMoments, SymbolicBandit
from gradvar.symbolic.decide.nearness import near
from gradvar.symbolic.decide.regions import Region, explore
from gradvar.symbolic.read.trace import gradient, symbolic_batch, symbols, trace
from gradvar.symbolic.read.usage import note_estimator, note_route


@dataclass(frozen=True)
class SymbolicGroup:
    """One prompt with G rollouts in symbols: ratios rho > 0 [1, G, T], rewards [1, G], and an objective's arguments."""

    logp: np.ndarray
    batch: Batch
    rho: np.ndarray
    rewards: np.ndarray

    def weights(self, objective: Any, assume: Any = None) -> np.ndarray:
        """Trace the token weights [1, G, T]: the derivative of the objective by each log-probability."""
        return trace(gradient(objective), self.logp, self.batch, assume=assume)

    def regions(self, objective: Any, where: Sequence[Any] = ()) -> list[Region]:
        """Return the token weights in every open region of ratios and rewards (see ``explore``)."""
        return explore(gradient(objective), self.logp, self.batch, where=where)

    def value(self, objective: Any, assume: Any = None) -> sp.Expr:
        """Trace the value of the objective."""
        return trace(objective, self.logp, self.batch, assume=assume)


def symbolic_group(
    group: int,
    lengths: Sequence[int] | None = None,
    *,
    rewards: Any = None,
    on_policy: bool = False,
    **fields: Any,
) -> SymbolicGroup:
    """Return a group of one prompt: old log-probabilities are free symbols a, new ones a + log(rho).

    Args:
        group: G, the number of rollouts.
        lengths: the tokens of each rollout; default one each.
        rewards: exact rewards; default symbols r.
        on_policy: set rho to 1.
        fields: further fields of the batch.
    """
    lengths = [1] * group if lengths is None else list(lengths)
    shape = (1, group, max(lengths))
    mask = np.arange(shape[2])[None, None, :] < np.asarray(lengths)[None, :, None]
    rho = np.full(shape, sp.Integer(1), object) if on_policy else symbols("rho", shape, positive=True)
    old = symbols("a", shape)
    logp = np.frompyfunc(lambda x, y: sp.log(x) + y, 2, 1)(rho, old)
    r = symbols("r", (1, group)) if rewards is None else np.asarray([list(rewards)], object)
    return SymbolicGroup(logp, symbolic_batch(r, old, mask, **fields), rho, r)


def engine(
    estimator: Estimator, bandits: SymbolicBandit | Sequence[SymbolicBandit], group: int, **options: Any
) -> Moments:
    """Run ``gradvar.measure.exact`` on the same policy and rewards: a prompt per bandit, a logit per answer of it."""
    from gradvar.measure.exact.enumerate import exact
    from gradvar.policies import Bandit as Policy
    from gradvar.tasks import Bandit as Task

    note_engine(estimator)
    listed = [bandits] if isinstance(bandits, SymbolicBandit) else list(bandits)
    with jax.enable_x64(True):
        logits = jnp.asarray([[float(sp.log(x)) for x in b.probabilities] for b in listed])
        rewards = np.asarray([[float(x) for x in b.rewards] for b in listed])
        policy = Policy(logits.shape[1], num_prompts=len(listed))
        return exact(estimator, policy, logits, Task(rewards), group, **options)


def executed_weights(objective: Objective, logp: Any, batch: Batch) -> np.ndarray:
    """Run the derivative by the log-probabilities [Q, G, T] as users do: compiled, in float64.

    Args:
        objective: an estimator, or an objective of log-probabilities.
        logp: exact numbers [Q, G, T].
        batch: exact numbers, as ``symbolic_batch`` makes them.
    """
    note_route("executed code")
    note_estimator(objective)
    with jax.enable_x64(True):
        as_floats = jax.tree.map(_floats, (np.asarray(logp, object), batch))
        return np.asarray(jax.jit(gradient(objective))(*as_floats))


def _floats(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype == object else array


def note_engine(estimator: Estimator) -> None:
    """Note that the exact engine measures this estimator; ``engine`` does it by itself."""
    note_route("exact engine")
    note_estimator(estimator)


def engines_agree(moments: Moments, exact: ExactMoments, label: str, *, tolerance: float = 1e-11) -> None:
    """Require the engine's floats to be the exact numbers, mean and trace of the covariance.

    Args:
        moments: Floats of the exact engine.
        exact: The exact numbers.
        label: Opens the message of an error.
        tolerance: Largest absolute difference.
    """
    floats = np.asarray(moments.mean).reshape(-1)
    if floats.shape != (len(exact.mean),) or not floats.size:
        raise ValueError(f"moments: {floats.size} parameters, exact: {len(exact.mean)}; they must match")
    near(floats, list(exact.mean), tolerance, f"{label}: the exact engine's mean")
    near(
        float(moments.trace_cov),
        exact.trace_cov,
        tolerance,
        f"{label}: the exact engine's trace of the covariance",
    )
