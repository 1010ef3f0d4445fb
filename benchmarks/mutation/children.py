"""A warm process that forks a child for each run of tests: the child imports the mutated package from a copy."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import resource
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# A plugin that was imported before pytest started cannot be rewritten, and need not be. Examples do not vary.
# To look for what nobody awaits takes a full collection of garbage, half a second.
OPTIONS = ("-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-p", "no:unraisableexception", "--hypothesis-profile=ci",
           "-W", "ignore::pytest.PytestAssertRewriteWarning")  # fmt: skip
MEMORY = 16 << 30
# What pytest's plugins and JAX import when they are first used.
LATE = ("anyio.pytest_plugin", "anyio.to_thread", "execnet", "execnet.rsync", "jaxlib.mlir.dialects.mhlo", "typeguard",
        "jaxtyping._pytest_plugin", "_hypothesis_pytestplugin", "pdb")  # fmt: skip


@dataclass(frozen=True)
class Ending:
    """How a child ended: survived, killed or timeout; the test that failed; seconds of processor."""

    outcome: str
    test: str
    seconds: float


class Order:
    """A pytest plugin: only the tests that are given, in their order; the first that fails is told."""

    def __init__(self, tests: tuple[str, ...], pipe: int) -> None:
        self.order = {test: number for number, test in enumerate(tests)}
        self.pipe = pipe

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        if self.order:
            names = {
                item: item.nodeid if item.nodeid in self.order else item.nodeid.split("[")[0]
                for item in items
            }
            items[:] = sorted(
                (i for i in items if names[i] in self.order), key=lambda i: self.order[names[i]]
            )

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            os.write(self.pipe, report.nodeid.encode()[:4000] + b"\n")

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            os.write(self.pipe, b"collecting " + report.nodeid.encode()[:4000] + b"\n")


def warm(copy: Path, scratch: Path) -> None:
    """Look for the package in the copy from here on, and import all that it needs, before JAX starts."""
    os.chdir(copy)
    os.environ |= {
        "PYTHONPATH": os.pathsep.join([str(copy), os.environ.get("PYTHONPATH", "")]),
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(scratch / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(scratch / "bytecode")
    sys.path.insert(0, str(copy))
    import gradvar

    modules = [module.name for module in pkgutil.walk_packages(gradvar.__path__, "gradvar.")]
    for name in (*modules, *LATE):
        if name != "gradvar.__main__":
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    assert gradvar.__file__.startswith(str(copy)), "the package of the copy"
    for name in [m for m in sys.modules if m.split(".")[0] == "gradvar"]:
        del sys.modules[name]  # the children import it, with the mutant
    importlib.invalidate_caches()
    gc.collect()
    gc.freeze()  # the children's collector need not look at all that


@contextlib.contextmanager
def changed(place: Path, text: str) -> Iterator[None]:
    """The file with another text; then the old one again, of the same time, so that its bytecode is still right."""
    before, status = place.read_bytes(), place.stat()
    try:
        place.write_text(text, encoding="utf-8")
        yield
    finally:
        place.write_bytes(before)
        os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))


def run_tests(
    tests: tuple[str, ...],
    seconds: float,
    plugins: tuple[Any, ...] = (),
    *,
    keep: bool = False,
    marks: str = "not slow",
) -> Ending:
    """Fork, run the tests in the child, and say whether they noticed.

    Args:
        tests: names of tests to run, in this order, with or without their parameters, or one folder; the first that
            fails ends the child.
        seconds: of processor that the child may take; what only waits is ended after twenty times as many.
        plugins: of pytest, besides the order.
        marks: which tests are collected, as for ``pytest -m``.
        keep: write bytecode; never with a mutant, which may have the size and the second of another.
    """
    sys.stdout.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(reader)
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        sys.dont_write_bytecode = not keep
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 3))
        if not keep:  # mutants may ask for all there is
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        code = 1
        with contextlib.suppress(BaseException):
            named = tuple(test for test in tests if "::" in test)
            files = dict.fromkeys(test.split("::")[0] for test in tests)
            code = pytest.main([*OPTIONS, "-m", marks, *files], plugins=[Order(named, writer), *plugins])
        os._exit(int(code))
    os.close(writer)
    end = time.monotonic() + 20 * seconds
    done, status, usage = os.wait4(child, os.WNOHANG)
    while not done and time.monotonic() < end:
        time.sleep(0.02)
        done, status, usage = os.wait4(child, os.WNOHANG)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not done:
        _, status, usage = os.wait4(child, 0)
    with open(reader, encoding="utf-8") as pipe:
        failed = pipe.read().split("\n")[0]
    code = os.waitstatus_to_exitcode(status)
    late = not done or code in (-signal.SIGXCPU, -signal.SIGKILL)
    outcome = "survived" if code in (0, int(pytest.ExitCode.NO_TESTS_COLLECTED)) else "killed"
    return Ending("timeout" if late else outcome, failed, usage.ru_utime + usage.ru_stime)
