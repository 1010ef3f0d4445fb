"""How much effort the compiler puts into a program, by how much work the program will do.

On a CPU, a program that runs for milliseconds takes seconds to compile with every optimisation. With fewer it is
compiled in a fifth to a half of that time, and gives the same numbers but for rounding.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import equinox as eqx
import jax

_P = ParamSpec("_P")
_R = TypeVar("_R")

# XLA raises an error for an option that it does not know.
_NO_FUSION = {"xla_cpu_use_fusion_emitters": False} if jax.__version_info__ < (0, 12) else {}

# (work below which they are used, compiler options). On two cores a backward pass of 1e8 parameters times rollouts
# takes half a second. Programs of the first row run two to four times as long; those of the second, 5 % longer.
_EFFORTS: tuple[tuple[float, dict[str, Any]], ...] = (
    (1e8, {"xla_backend_optimization_level": 0, **_NO_FUSION}),
    (2e9, {"xla_backend_optimization_level": 1, **_NO_FUSION}),
)

_work = ContextVar("_work", default=float("inf"))


@contextlib.contextmanager
def compiled_for(work: float) -> Iterator[None]:
    """Compile what is decorated with ``jit_by_work``, and called meanwhile in this thread, for so much work.

    ``work``: how many rollouts a program handles, times the parameters of the policy.
    """
    token = _work.set(work)
    try:
        yield
    finally:
        _work.reset(token)


def jit_by_work(
    function: Callable[_P, _R], jit: Callable[..., Any] = eqx.filter_jit, *, work: float | None = None
) -> Callable[_P, _R]:
    """Jit a function, and compile it with an effort that fits its work.

    Args:
        function: What is compiled.
        jit: How; it takes ``compiler_options``.
        work: Of every call; None for what ``compiled_for`` says, and full effort elsewhere.

    >>> double = jit_by_work(lambda x: 2 * x)
    >>> with compiled_for(1e6):
    ...     print(double(jax.numpy.arange(3.0)))
    [0. 2. 4.]
    """
    full = jit(function)
    lesser = [(limit, jit(function, compiler_options=options)) for limit, options in _EFFORTS]

    @functools.wraps(function)
    def call(*args: _P.args, **named: _P.kwargs) -> _R:
        # A part of another program is compiled with that program: JAX allows it no options.
        inside = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, named)))
        full_effort = inside or jax.default_backend() != "cpu"
        amount = float("inf") if full_effort else _work.get() if work is None else work
        program = next((program for limit, program in lesser if amount < limit), full)
        return program(*args, **named)

    return call


quick_jit = functools.partial(jit_by_work, work=0.0)
"""Jit a function that never has much work, so that compiling it is what takes time."""
