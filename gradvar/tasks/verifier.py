"""A verifier in Python: rewards that no device can compute, with a limit of time, and no failure passed over."""

import threading
import time
import warnings
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.checks import finite, positive


class Judged(Protocol):
    """Prompts, and a reward that is Python on NumPy arrays."""

    def prompts(self, key: PRNGKeyArray, num: int) -> Any:
        """Draw ``num`` prompts independently."""
        ...

    def reward(self, prompts: Any, completions: Any) -> Any:
        """The reward of every completion, [prompt, group]."""
        ...


@dataclass(frozen=True, eq=False)
class Verifier:
    """A task whose ``reward`` is Python: parsers, interpreters, checkers of answers.

    ``task.reward`` is called with NumPy arrays of one prompt [1, ...] and one completion [1, 1, T] at a time.
    ``time_limit``: seconds that one call may take (None: any). ``otherwise``: the reward of a completion on which it
    raises, takes longer, or gives no finite number; such completions are counted in a warning. Without it they are a
    ``ValueError`` that names the prompt and the rollout.

    Python cannot end a call that hangs: it is left to its thread, which ends with the process.
    """

    task: Judged
    time_limit: float | None = None
    otherwise: float | None = None

    def __post_init__(self) -> None:
        if self.time_limit is not None:
            positive("time_limit", self.time_limit)
        if self.otherwise is not None:
            finite("otherwise", self.otherwise)

    def prompts(self, key: PRNGKeyArray, num: int) -> Any:
        """Those of the task."""
        return self.task.prompts(key, num)

    def reward(
        self, prompts: PyTree, completions: Int[Array, "prompt group time"] | np.ndarray
    ) -> Float[Array, "prompt group"]:
        """The reward of every completion; within compiled code by a callback to this process."""
        leaves = jax.tree.leaves((prompts, completions))
        if not any(isinstance(x, jax.core.Tracer) for x in leaves):
            return jnp.asarray(self._all(prompts, completions))
        shape = jax.ShapeDtypeStruct(completions.shape[:2], jnp.result_type(float))
        return jax.pure_callback(
            lambda p, c: self._all(p, c).astype(shape.dtype),
            shape,
            prompts,
            completions,
            vmap_method="sequential",
        )

    def _all(self, prompts: PyTree, completions: Any) -> np.ndarray:
        asked, tokens = jax.tree.map(np.asarray, prompts), np.asarray(completions)
        rewards, failures = np.zeros(tokens.shape[:2]), []
        for q, n in np.ndindex(*rewards.shape):
            prompt = jax.tree.map(lambda x, q=q: x[q : q + 1], asked)
            value, wrong = self._one(prompt, tokens[q : q + 1, n : n + 1])
            if wrong and self.otherwise is None:
                raise ValueError(
                    f"task: the verifier {wrong} on prompt {q}, rollout {n}; fix it, or give otherwise=0.0 to have "
                    "such completions count as that"
                )
            if wrong:
                failures.append(f"{wrong} on prompt {q}, rollout {n}")
            rewards[q, n] = self.otherwise if wrong else value
        if failures:
            warnings.warn(
                f"task: {len(failures)} of {rewards.size} completions count as {self.otherwise}, because the verifier "
                f"failed on them; the first time it {failures[0]}",
                stacklevel=2,
            )
        return rewards

    def _one(self, prompt: PyTree, completion: np.ndarray) -> tuple[float, str]:
        """A reward, and what went wrong in words (nothing: empty)."""
        outcomes: list[tuple[float, str]] = []

        def call() -> None:
            try:
                value = float(np.asarray(self.task.reward(prompt, completion)).reshape(()))
                outcomes.append((value, "" if np.isfinite(value) else f"gave {value}"))
            except Exception as error:
                outcomes.append((np.nan, f"raised {type(error).__name__} ({error})"))

        if self.time_limit is None:
            call()
            return outcomes[0]
        thread, started = threading.Thread(target=call, daemon=True), time.perf_counter()
        thread.start()
        thread.join(self.time_limit)
        if not outcomes:
            return np.nan, f"took more than {time.perf_counter() - started:.3g} s"
        return outcomes[0]
