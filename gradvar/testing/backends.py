"""Derivatives of somebody's loss with respect to its log-probabilities, by the loss's own framework.

PyTorch and JAX losses are differentiated by their own autodiff, as a trainer would. A NumPy loss has none:
central differences in double precision stand in, accurate to about 1e-9 away from kinks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from gradvar.testing.arrays import Library

STEP = 1e-6  # central differences: truncation about 1e-12 relative, rounding about 1e-10


def value_and_weights(
    loss: Callable[[Any, Mapping[str, Any]], Any],
    logp: np.ndarray,
    others: Mapping[str, Any],
    library: Library,
    dtype: str,
    compiled: dict[str, Any],
) -> tuple[float, np.ndarray]:
    """Return the loss at ``logp`` [N, T] and its derivative there, in float64.

    Args:
        loss: ``loss(logp, others)`` takes and returns native arrays.
        logp: The point of the derivative.
        others: The loss's other arrays.
        library: The loss's array library.
        dtype: The dtype of ``logp``.
        compiled: Keeps the functions that JAX has compiled between calls; a function that cannot be compiled
            runs without compilation.
    """
    if library.name == "torch":
        tensor = library.array(logp, dtype).requires_grad_(True)
        value = scalar(loss(tensor, others))
        number = float(value.detach() if hasattr(value, "detach") else value)
        if not getattr(value, "requires_grad", False):  # a plain 0.0 for a batch without a token
            return number, np.zeros_like(logp)
        (gradient,) = sys.modules["torch"].autograd.grad(value, tensor, allow_unused=True)
        return number, np.zeros_like(logp) if gradient is None else library.numpy(gradient)
    if library.name == "jax":
        jax = sys.modules["jax"]
        if "jax" not in compiled:
            eager = jax.value_and_grad(lambda x, rest: scalar(loss(x, rest)))
            compiled["jax"], compiled["eager"] = jax.jit(eager), eager
        point = library.array(logp, dtype)
        try:
            value, gradient = compiled["jax"](point, dict(others))
        except (
            Exception
        ):  # whatever stops it from being compiled, or is wrong with it, shows when it runs as it is
            value, gradient = compiled["eager"](point, dict(others))
        return float(value), library.numpy(gradient)
    return differences(lambda x: float(scalar(loss(library.array(x, "float64"), others))), logp)


def differences(loss: Callable[[np.ndarray], float], logp: np.ndarray) -> tuple[float, np.ndarray]:
    """The value and central differences, one coordinate at a time; NaN and infinite ones are skipped."""
    value = loss(logp)
    gradient = np.zeros_like(logp)
    for index in np.ndindex(logp.shape):
        if not np.isfinite(logp[index]):
            continue
        ahead, behind = logp.copy(), logp.copy()
        ahead[index] += STEP
        behind[index] -= STEP
        gradient[index] = (loss(ahead) - loss(behind)) / (2 * STEP)
    return value, gradient


def scalar(result: Any) -> Any:
    """The loss that a function returns. Raises ``TypeError`` where it is no scalar."""
    value = first(result)
    if np.shape(value):
        raise TypeError(f"the loss has shape {tuple(np.shape(value))}; return a scalar")
    return value


def first(result: Any) -> Any:
    """The loss itself, where a function returns it first of several things or under the name loss."""
    if isinstance(result, tuple | list):
        return result[0]
    if isinstance(result, dict) or hasattr(result, "loss"):
        return result["loss"] if isinstance(result, dict) else result.loss
    return result


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread, where it is loaded: arrays this small only wait for the other threads.

    On a busy machine a log-sigmoid of three numbers takes 12 ms with two threads.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
