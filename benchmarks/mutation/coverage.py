"""Which tests execute which lines: one run of a room's tests, recorded, decides what is run on a mutant."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

FIXTURE = "fixture "
_COMPILED = 1.5  # seconds that a test takes at most once its programs are on disk, nearly always


class Recorder:
    """A pytest plugin: the lines of each test and of each fixture that several tests share, and the seconds."""

    def __init__(self, copy: Path, out: Path) -> None:
        import coverage

        self.copy, self.out = copy, out
        self.measured = coverage.Coverage(data_file=None, source=[str(copy / "gradvar")], messages=False)
        self.fixtures: dict[str, list[str]] = {}
        self.seconds: dict[str, float] = {}  # of processor, whatever else the machine does
        self.failed: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Iterator[Any]:
        """Record while the tests run; what is executed on import tells nothing."""
        self.measured.start()
        try:
            return (yield)
        finally:
            self.measured.stop()
            self.save()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[Any]:
        self.fixtures[item.nodeid] = list(item.fixturenames)
        self.measured.switch_context(item.nodeid)
        start = time.process_time()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.process_time() - start

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[Any]:
        if fixturedef.scope == "function":
            return (yield)
        self.measured.switch_context(FIXTURE + fixturedef.argname)
        try:
            return (yield)
        finally:
            self.measured.switch_context(next(reversed(self.fixtures)))  # the test that is running

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed.append(report.longreprtext)

    def save(self) -> None:
        """The tests with their seconds, and for each file and line the tests, as JSON."""
        sharing = defaultdict(list)
        for test, names in self.fixtures.items():
            for name in names:
                sharing[FIXTURE + name].append(test)
        numbers = {test: number for number, test in enumerate(self.fixtures)}
        lines: dict[str, dict[int, list[int]]] = {}
        data: Any = (
            self.measured.get_data() if self.fixtures else None
        )  # of no test there is none, and a warning
        for file in data.measured_files() if data else ():
            covered: dict[int, list[int]] = lines.setdefault(str(Path(file).relative_to(self.copy)), {})
            for line, contexts in data.contexts_by_lineno(file).items():
                tests = {t for c in contexts if c for t in (sharing[c] if c.startswith(FIXTURE) else [c])}
                covered[line] = sorted(numbers[test] for test in tests)
        seconds = [[test, round(self.seconds[test], 3)] for test in self.fixtures]
        self.out.write_text(
            json.dumps({"tests": seconds, "lines": lines, "failed": self.failed}), encoding="utf-8"
        )


def words(test: str) -> set[str]:
    """The parts of a test's name: those of its parameters among them."""
    return set(re.split(r"[\[\].-]", test))


@dataclass
class Coverage:
    """What a run recorded, and which tests have killed mutants of which function since."""

    tests: list[tuple[str, float]]
    lines: dict[str, dict[int, list[int]]]
    kills: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))

    @classmethod
    def read(cls, quick: list[Path], slow: list[Path], most: float) -> Coverage:
        """What several runs recorded, as one, but for the ``slow`` tests that took longer than ``most`` seconds."""
        joined = cls([], {})
        for path in quick + slow:
            recorded = json.loads(path.read_text(encoding="utf-8"))
            kept = [n for n, (_, took) in enumerate(recorded["tests"]) if path in quick or took <= most]
            numbers = {n: len(joined.tests) + place for place, n in enumerate(kept)}
            for file, covered in recorded["lines"].items():
                lines = joined.lines.setdefault(file, {})
                for line, tests in covered.items():
                    lines.setdefault(int(line), []).extend(numbers[t] for t in tests if t in numbers)
            joined.tests.extend(tuple(recorded["tests"][n]) for n in kept)
        return joined

    def choose(
        self, module: str, line: int, function: range | None, names: frozenset[str], most: float
    ) -> list[str]:
        """The tests that execute the function around the line, the likely killers first, for ``most`` seconds.

        Those that execute the line itself come first, then those that killed mutants of the module, then the quick
        ones; of a test with many parameters one comes before the others. What is executed on import (no function is
        around it, or tests call it while they are collected) is noticed by tests of one of the module's ``names``, by
        those that execute any of it, or by any other.
        """
        covered = self.lines.get(module, {})
        exact = set(covered.get(line, ()))
        within = {test for at in function or covered for test in covered.get(at, ())}
        named = {n for n, (test, _) in enumerate(self.tests) if names & words(test)}
        tests = exact | within if exact and function else set(range(len(self.tests)))

        def order(test: int) -> Any:
            nearness = (test not in exact, test not in within | named)
            return (*nearness, -self.kills[module, test], self.tests[test][1])

        first: list[int] = []
        others: list[int] = []
        seen: set[str] = set()
        for test in sorted(tests, key=order):
            function_name = self.tests[test][0].split("[")[0]
            (
                others
                if function_name in seen and not self.kills[module, test] and test not in named
                else first
            ).append(test)
            seen.add(function_name)
        chosen: list[str] = []
        seconds = 0.0
        for test in first + others:
            seconds += min(self.tests[test][1], _COMPILED)
            if seconds > most and chosen:
                break
            chosen.append(self.tests[test][0])
        return chosen

    def killed(self, module: str, test: str) -> None:
        """Note that this test has killed a mutant of the module."""
        for number, (name, _) in enumerate(self.tests):
            if name == test:
                self.kills[module, number] += 1
