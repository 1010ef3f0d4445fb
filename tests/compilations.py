"""Which functions JAX compiles meanwhile; its own count of a function's programs loses some in a long process."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jax import monitoring

# JAX tells its listeners, in the thread that compiles, of each program that it makes for the compiler: no log, whose
# wording or delay could matter.
_MADE = "/jax/core/compile/jaxpr_to_mlir_module_duration"
_FUNCTION = re.compile(r"(?:jit\()?(\w+)")


_BLOCKS: list[list[str]] = []


def _listen(event: str, _: float, *, fun_name: str = "", **__: Any) -> None:
    if event == _MADE:
        found = _FUNCTION.match(fun_name)
        for names in _BLOCKS:
            names.append(found[1] if found else fun_name)


monitoring.register_event_duration_secs_listener(_listen)  # once: JAX 0.8 takes no listener away


@contextmanager
def compilations() -> Iterator[list[str]]:
    """The names of the functions that are compiled in the block, one for each program; grows as they are."""
    names: list[str] = []
    _BLOCKS.append(names)
    try:
        yield names
    finally:
        _BLOCKS[:] = [block for block in _BLOCKS if block is not names]
