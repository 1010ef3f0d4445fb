"""Mutation testing: does some test fail for every change to the code?

    pip install cosmic-ray coverage
    python -m benchmarks.mutation.run --kept /tmp/mutation --out table.csv --minutes 20  # a sample of each room
    python -m benchmarks.mutation.run --rooms pieces --each 50 --kept /tmp/mutation --out table.csv
    python -m benchmarks.mutation.run --again --kept /tmp/mutation --out table.csv       # the table's survivors
    python -m benchmarks.mutation.run --lines gradvar/stats/figures.py:68                # all that can stand there

The repository is copied, so the working tree is never touched. A room's tests run once with their lines recorded;
one process imports JAX and all that the package needs, and forks a child for each mutant, which imports the package
anew and runs the tests that execute the changed function, likely killers first. A mutant is killed when one of them
fails or takes too long. The rooms take turns, and a mutant that the table has is not run again: a run cut short is a
smaller sample of each, and goes on where it ended. Survivors are printed with their difference, to be explained in
README.md or killed by a new test.
"""

from __future__ import annotations

import argparse
import csv
import difflib
import hashlib
import json
import shutil
import sys
import tempfile
import time
from dataclasses import astuple, dataclass, fields, replace
from functools import cache
from itertools import zip_longest
from pathlib import Path

from benchmarks.mutation.children import changed, run_tests, warm
from benchmarks.mutation.coverage import Coverage, Recorder
from benchmarks.mutation.mutants import Mutant, changed_text, function_lines, mutants_of, names_in, sample

ROOT = Path(__file__).resolve().parents[2]
AUDIT = ("statistics", "cell_sums", "reward_counts", "best_of", "estimators", "group_sizes", "larger_groups",
         "reward_parts", "findings")  # fmt: skip


@dataclass(frozen=True)
class Room:
    """Files and folders of the package (not those that start with an ``!``), and the files of the room's own tests."""

    places: tuple[str, ...]
    tests: tuple[str, ...]

    def files(self) -> list[str]:
        """The room's modules."""
        found = [f for p in self.places if p[0] != "!" for f in modules(ROOT / "gradvar" / p)]
        left = {f for p in self.places if p[0] == "!" for f in modules(ROOT / "gradvar" / p[1:])}
        return [str(f.relative_to(ROOT)) for f in found if f not in left]


def modules(place: Path) -> list[Path]:
    """The file, or those under the folder."""
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


DIRECT = tuple(f"measure/direct{part}.py" for part in ("", "_plan", "_rounds", "_stages", "_sums"))
EXAMPLES = "tests/test_architecture.py::test_the_examples_of_docstrings_are_right"
STATISTICS = ("tests/measure", "tests/train/test_retention.py", "tests/train/test_starts.py", "tests/test_mismatch.py",
              "tests/audit/test_intervals.py", "tests/audit/test_schemes.py")  # fmt: skip
FOR_KIT = [
    f for f in modules(ROOT / "tests/testing") if f.stem[:5] == "test_" and not f.stem.endswith("_torch")
]
KIT = tuple(str(f.relative_to(ROOT)) for f in FOR_KIT)
ROOMS = {
    "pieces": Room(
        ("pieces",), ("tests/pieces", "tests/measure/test_corrections.py", "tests/test_own_estimators.py")
    ),
    "estimators": Room(
        ("estimators", "catalogue.py", "core/compose.py", "core/estimator.py"),
        ("tests/catalogue", "tests/test_own_estimators.py", "tests/measure/test_corrections.py"),
    ),
    "exact": Room(("measure/exact", "measure/separability.py", "core/moments.py"), ("tests/measure",)),
    "direct": Room((*DIRECT, "measure/baselines.py", "core/until.py"), ("tests/measure",)),
    "bank": Room(("measure/bank",), ("tests/measure",)),
    "statistics": Room(("stats", "!stats/sheet.py", "!stats/text.py"), STATISTICS),
    "laws": Room(("testing/laws",), KIT),
    "advise": Room(("measure/advise",), ("tests/measure",)),
    "kit": Room(("testing", "!testing/laws"), KIT),
    "prover": Room(("symbolic", "!symbolic/kernel"), ("tests/symbolic",)),
    "audit": Room(tuple(f"audit/{name}.py" for name in AUDIT), ("tests/audit",)),
}
SLOW = 5.0  # seconds of processor when recorded, compilation included: slow tests up to this are a room's own
LOOK = 6  # so many tests are tried first, in a child of their own: they end most runs


@dataclass(frozen=True)
class Row:
    """What became of a mutant, the test that noticed, the seconds of processor, and what had become of it at first."""

    room: str
    mutant: Mutant
    outcome: str
    test: str
    seconds: float
    first: str  # by the tests that there were when it was drawn; empty where that was not kept


def main() -> int:
    """Make the mutants, run the tests on each, and print the score."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rooms", nargs="*", default=list(ROOMS), choices=list(ROOMS))
    parser.add_argument("--each", type=int, default=10**6, help="at most so many mutants of each room")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--minutes", type=float, default=1e6, help="start no mutant after so long")
    parser.add_argument("--most", type=float, default=20.0, help="seconds of tests that a mutant is given")
    parser.add_argument("--tests", nargs="*", default=None, help="only these tests, for every mutant")
    parser.add_argument("--again", action="store_true", help="only the survivors of the table, once more")
    parser.add_argument(
        "--lines", nargs="*", default=None, help="file:line ...: every mutant there, nothing else"
    )
    parser.add_argument("--record", action="store_true", help="record again which tests execute what")
    parser.add_argument("--kept", type=Path, default=None, help="a folder for what further runs can use")
    parser.add_argument("--out", type=Path, default=None, help="a table: one row per mutant")
    options = parser.parse_args()
    start = time.monotonic()
    rows = read(options.out) if options.out and options.out.exists() else []
    done = {(row.room, row.mutant): row for row in rows}
    with tempfile.TemporaryDirectory() as scratch:
        kept = (options.kept or Path(scratch)).resolve()
        copy = kept / "repository"
        ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", "*.egg-info", "shared", ".cache")
        shutil.copytree(ROOT, copy, ignore=ignored, dirs_exist_ok=True)
        if options.lines:
            drawn = [at for place in options.lines for at in mutants_at(copy, *place.split(":"))]
        elif options.again:
            drawn = [place for place, row in done.items() if row.outcome == "survived"]
            drawn = [(room, mutant) for room, mutant in drawn if room in options.rooms]
        else:
            samples = [
                [(room, mutant) for mutant in sample(copy, ROOMS[room].files(), options.seed, kept)]
                for room in options.rooms
            ]
            print(", ".join(f"{r} {len(s)}" for r, s in zip(options.rooms, samples, strict=True)), flush=True)
            turns = zip_longest(*(mutants[: options.each] for mutants in samples))
            drawn = [place for turn in turns for place in turn if place and place not in done]
        warm(copy, kept)
        known = {
            room: known_of(copy, kept, ROOMS[room].tests, again=options.record)
            for room in dict.fromkeys(room for room, _ in drawn)
        }
        for room, mutant in drawn:
            if time.monotonic() - start > 60 * options.minutes:
                break
            row = try_one(copy, room, mutant, known[room], options)
            if row:
                earlier = done.get((room, mutant), row)
                done[room, mutant] = replace(row, first=earlier.first)
            if options.out:
                write(list(done.values()), options.out)
    report(list(done.values()))
    return 0


def mutants_at(copy: Path, file: str, line: str) -> list[tuple[str, Mutant]]:
    """Every mutant of a line, with the room that the file is in."""
    room = next(name for name, room in ROOMS.items() if file in room.files())
    return [(room, mutant) for mutant in mutants_of(copy, file) if mutant.line == int(line)]


def known_of(copy: Path, kept: Path, tests: tuple[str, ...], *, again: bool) -> Coverage:
    """Which of a room's tests, and of the examples in docstrings, execute what; its dear slow tests are left out."""
    files = sorted({str(f.relative_to(copy)) for place in tests for f in test_files(copy / place)})
    quick = [recorded(copy, kept, file, "not slow", again=again) for file in (*files, EXAMPLES)]
    return Coverage.read(quick, [recorded(copy, kept, file, "slow", again=again) for file in files], SLOW)


def test_files(place: Path) -> list[Path]:
    """The file, or the files of tests under the folder."""
    return [place] if place.is_file() else sorted(place.rglob("test_*.py"))


@cache
def recorded(copy: Path, kept: Path, tests: str, marks: str, *, again: bool) -> Path:
    """Run a file of tests once, and again after it has changed, and record what they execute; they have to pass
    before any mutation."""
    content = hashlib.sha256((copy / tests.split("::")[0]).read_bytes()).hexdigest()[:8]
    path = kept / f"{tests.replace('/', '.').replace(':', '')}.{marks.replace(' ', '_')}.{content}.json"
    if again or not path.exists():
        ending = run_tests((tests,), 3000.0, (Recorder(copy, path),), keep=True, marks=marks)
        print(f"recorded {tests}, {marks}, in {ending.seconds:.0f} s of processor", flush=True)
        if ending.outcome != "survived":
            failed = json.loads(path.read_text(encoding="utf-8"))["failed"] if path.exists() else []
            path.unlink(missing_ok=True)
            raise SystemExit("\n".join([f"without any mutation this fails: {ending.test or tests}", *failed]))
    return path


def try_one(
    copy: Path, room: str, mutant: Mutant, coverage: Coverage, options: argparse.Namespace
) -> Row | None:
    """What becomes of the mutant, None if it is no Python; a survivor's difference is printed."""
    text = (copy / mutant.module).read_text(encoding="utf-8")
    mutated = changed_text(text, mutant)
    if not mutated:
        return None
    function, names = function_lines(text, mutant.line), names_in(text, mutant)
    tests = options.tests or coverage.choose(mutant.module, mutant.line, function, names, options.most)
    outcome, killer, seconds = "survived", "", 0.0
    with changed(copy / mutant.module, mutated):
        for part in (tests[:LOOK], tests[LOOK:]):
            if part and outcome == "survived":
                ending = run_tests(tuple(part), 3 * options.most + 20, marks="")
                outcome, killer = ending.outcome, ending.test
                seconds += ending.seconds
    coverage.killed(mutant.module, killer)
    print(
        f"{outcome:<9} {seconds:5.1f} s  {mutant.module}:{mutant.line} {mutant.operator} {killer}", flush=True
    )
    if outcome == "survived":
        lines = difflib.unified_diff(text.splitlines(), mutated.splitlines(), lineterm="", n=0)
        print("\n".join(f"    {line}" for line in list(lines)[2:]), f"    {len(tests)} tests", flush=True)
    return Row(room, mutant, outcome, killer.split("[")[0], round(seconds, 1), outcome)


def report(rows: list[Row]) -> None:
    """The score of each room and of all: at first, and now, which is no score of a fresh sample."""
    print(f"{'':<12} {'at first':>16} {'':>5} {'now':>16}")
    for room in (*ROOMS, ""):
        chosen = [row for row in rows if room in ("", row.room)]
        if chosen:
            first, now = [row.first for row in chosen if row.first], [row.outcome for row in chosen]
            print(f"{room or 'all':<12} {_score(first)} {_score(now)}")
    print(f"{sum(row.seconds for row in rows) / max(len(rows), 1):.1f} seconds of processor a mutant")


def _score(outcomes: list[str]) -> str:
    killed = sum(outcome != "survived" for outcome in outcomes)
    return f"{killed:>6} of {len(outcomes):>5}  {killed / max(len(outcomes), 1):>5.0%}"


COLUMNS = ("room", *(f.name for f in fields(Mutant)), "outcome", "test", "seconds", "first")


def write(rows: list[Row], out: Path) -> None:
    """One row per mutant."""
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        columns = ((r.room, *astuple(r.mutant), r.outcome, r.test, r.seconds, r.first) for r in rows)
        writer.writerows(sorted(columns))


def read(table: Path) -> list[Row]:
    """The rows of a table."""
    with table.open(newline="", encoding="utf-8") as file:
        return [
            Row(
                r["room"],
                Mutant(r["module"], r["operator"], int(r["occurrence"]), int(r["line"]), int(r["column"])),
                r["outcome"],
                r["test"],
                float(r["seconds"]),
                r["first"],
            )
            for r in csv.DictReader(file)
        ]


if __name__ == "__main__":
    sys.exit(main())
