"""Every test runs in double precision on the CPU, with shapes checked at run time."""

import gc
import os
from pathlib import Path

import jax
import pytest

# Most of the suite's time is compilation, and with these it takes less than half as long. XLA ends the process on a
# flag that it does not know, so only versions that do get them. To test what users run: XLA_FLAGS= pytest
_QUICK_TO_COMPILE = [
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_parallel_codegen_split_count=1",
]
if jax.__version_info__ < (0, 12):
    _QUICK_TO_COMPILE.append("--xla_cpu_use_fusion_emitters=false")
if jax.__version_info__ < (0, 13):
    os.environ.setdefault("XLA_FLAGS", " ".join(_QUICK_TO_COMPILE))
# What one process compiles, the others read: both workers, the commands that tests start, and the next run.
_COMPILED = Path(__file__).parent.parent / ".cache" / "compiled"
for option, setting in {
    "jax_compilation_cache_dir": str(_COMPILED),
    "jax_persistent_cache_min_compile_time_secs": 0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}.items():
    os.environ.setdefault(option.upper(), str(setting))
    jax.config.update(option, type(setting)(os.environ[option.upper()]))
jax.config.update("jax_enable_x64", True)


def pytest_collection_finish(session):
    """Names hold no address, or the workers would not collect alike; what was imported and collected stays.

    To look for cycles in the latter took a fifth of a slow test's time.
    """
    named_by_address = [item.nodeid for item in session.items if " at 0x" in item.nodeid]
    if named_by_address:
        raise pytest.UsageError(f"give these tests ids of their own: {named_by_address[:3]}")
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 10)


_MAPS = Path("/proc/self/maps")
# Of the 65,530 that Linux allows a process. The more programs are alive, the longer a further one takes: with 30,000
# mappings ten times as long, and the quick suite took 7 % less of the processors' time with 4,000 than with 15,000.
_MOST = 4_000


@pytest.fixture(scope="module", autouse=True)
def room_for_programs():
    """Every compiled program takes memory mappings; a process that runs out of them dies in the compiler."""
    yield
    if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > _MOST:
        jax.clear_caches()
        gc.collect()
