"""Which functions JAX compiles meanwhile; its own count of a function's programs loses some in a long process."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import jax

_COMPILING = re.compile(r"Compiling (?:jit\()?(\w+)")


class _Names(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        found = _COMPILING.match(record.getMessage())
        if found:
            self.names.append(found[1])


@contextmanager
def compilations() -> Iterator[list[str]]:
    """The names of the functions that are compiled in the block, one for each program; grows as they are."""
    handler, logger = _Names(), logging.getLogger("jax")
    logger.addHandler(handler)
    try:
        with jax.log_compiles():
            yield handler.names
    finally:
        logger.removeHandler(handler)
