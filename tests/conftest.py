"""Every test runs in double precision on the CPU, with shapes checked at run time."""

from pathlib import Path

import jax
import pytest

jax.config.update("jax_enable_x64", True)

_MAPS = Path("/proc/self/maps")
_MOST = 15_000  # of the 65,530 that Linux allows a process


@pytest.fixture(scope="module", autouse=True)
def room_for_programs():
    """Every compiled program takes memory mappings; a process that runs out of them dies in the compiler."""
    yield
    if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > _MOST:
        jax.clear_caches()
