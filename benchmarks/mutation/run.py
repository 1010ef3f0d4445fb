"""Mutation testing of ``gradvar/pieces`` and ``gradvar/testing``: does some test fail for every change to the
code?

    python benchmarks/mutation/run.py --each 15                    # a seeded sample of every module
    python benchmarks/mutation/run.py gradvar/pieces/aggregate.py  # every mutant of one

cosmic-ray (``pip install cosmic-ray``) makes the mutants; those that no test could tell (annotations are never
evaluated) or that any would (bits of floats, ``**`` of dictionaries) are left out. A sample counts each place
once. One process imports JAX and the test tools, and forks for each mutant: the child reads the
mutated package from a copy of the repository, so the working tree is never touched, and what JAX compiles is
kept on disk between children. A mutant is killed when one of its module's tests (``TESTS``) fails, or takes
too long. Survivors are printed with their difference, to be explained in README.md or killed by a new test.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import csv
import difflib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("gradvar/pieces", "gradvar/testing")
PIECES = "tests/pieces"
EDGES = ("tests/testing/test_kit_edges.py", "tests/testing/test_kit.py")
LAWS = ("tests/testing/test_violators.py", "tests/testing/test_no_false_alarms.py")
# A plugin that was imported before pytest started cannot be rewritten, and need not be.
OPTIONS = ("-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
# The tests that may kill a module's mutants, those that know it best first: the first failure ends the run.
TESTS: dict[str, tuple[str, ...]] = {
    "gradvar/pieces/aggregate.py": (f"{PIECES}/test_aggregates.py", PIECES),
    "gradvar/pieces/select.py": (f"{PIECES}/test_aggregates.py", PIECES),
    "gradvar/pieces/penalty.py": (f"{PIECES}/test_penalties.py", PIECES),
    "gradvar/pieces/surrogate.py": (f"{PIECES}/test_surrogates.py", PIECES),
    "gradvar/pieces": (PIECES,),
    "gradvar/testing/laws/base.py": (*LAWS, *EDGES),
    "gradvar/testing/laws": LAWS,
    "gradvar/testing/backends.py": LAWS,
    "gradvar/testing/__init__.py": ("tests/testing/test_strategies.py", *EDGES),
    "gradvar/testing/strategies.py": ("tests/testing/test_strategies.py", *EDGES, *LAWS),
    "gradvar/testing/calls.py": (*EDGES, *LAWS),
    "gradvar/testing/recognise.py": (*EDGES, *LAWS),
    "gradvar/testing/targets.py": (*EDGES, *LAWS),
    "gradvar/testing": EDGES,
}
# Bits of floats are an error whatever the tests: such mutants would only flatter the score.
BITWISE = ("BitOr", "BitAnd", "BitXor", "LShift", "RShift")


@dataclass(frozen=True)
class Mutant:
    """One change to one module: the ``occurrence``-th place where the operator applies."""

    module: str
    operator: str
    occurrence: int
    line: int
    column: int


def main() -> int:
    """Make the mutants, run the tests on each, and print the score."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("modules", nargs="*", default=FOLDERS, help="files or folders (default: both)")
    parser.add_argument("--each", type=int, default=0, help="at most so many mutants of each module, drawn")
    parser.add_argument("--seed", type=int, default=0, help="of that draw")
    parser.add_argument("--minutes", type=float, default=0.0, help="start no mutant after so long")
    parser.add_argument(
        "--again", type=Path, default=None, help="a table: only its survivors, kept with the rest"
    )
    parser.add_argument("--out", type=Path, default=None, help="a table: one row per mutant")
    options = parser.parse_args()
    files = [str(f.relative_to(ROOT)) for m in options.modules for f in sources(ROOT / m)]
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "repository"
        ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", "*.egg-info", "shared")
        shutil.copytree(ROOT, copy, ignore=ignored)
        prepare(copy, Path(name))
        return mutate(copy, files, options)


def sources(path: Path) -> Iterator[Path]:
    """The Python files at or under the path that have anything to mutate."""
    yield from [path] if path.is_file() else sorted(path.rglob("*.py"))


def prepare(copy: Path, scratch: Path) -> None:
    """Look for the package in the copy from here on, and import what every child needs, before JAX starts."""
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(scratch / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    sys.path.insert(0, str(copy))
    import equinox  # noqa: F401
    import hypothesis  # noqa: F401
    import jax  # noqa: F401
    import pytest  # noqa: F401
    import tyro  # noqa: F401

    assert not [m for m in sys.modules if m.split(".")[0] == "gradvar"], "the children import it"


def mutate(copy: Path, files: list[str], options: argparse.Namespace) -> int:
    """Run every chosen mutant, the modules in turn. Returns 1 where the tests fail before any mutation."""
    every = tuple(sorted({test for f in files for test in tests_of(f)}))
    start = time.perf_counter()
    if run_tests(every, 3600.0, keep=True) != "survived":
        print(f"without any mutation these fail: {' '.join(every)}", file=sys.stderr)
        return 1
    limit = 5 * (time.perf_counter() - start) + 30
    drawn: list[tuple[int, Mutant]] = []
    made = 0
    for file in files:
        mutants = list(mutants_of(copy, file))
        made += len(mutants)
        drawn += enumerate(draw(mutants, options.each, options.seed) if options.each else mutants)
    known: dict[Mutant, str] = {}
    if options.again:
        known = read(options.again)
        drawn = [(0, mutant) for mutant, outcome in known.items() if outcome == "survived"]
    drawn.sort(key=lambda pair: pair[0])  # in turn, so that a run cut short is a smaller sample of each
    print(f"{made} mutants in {len(files)} modules, {len(drawn)} of them drawn", flush=True)
    start = time.perf_counter()
    for _, mutant in drawn:
        if options.minutes and time.perf_counter() - start > 60 * options.minutes:
            break
        known[mutant] = try_one(copy, mutant, tests_of(mutant.module), limit)
    report(list(known.items()), options.out)
    return 0


def draw(mutants: list[Mutant], most: int, seed: int) -> list[Mutant]:
    """A sample in which every place counts once, however many operators could stand in for the one there."""
    shuffled = list(mutants)
    random.Random(f"{seed} {mutants[0].module if mutants else ''}").shuffle(shuffled)
    places = {(m.line, m.column, m.operator.rsplit("_", 1)[0]): m for m in reversed(shuffled)}
    return [m for m in shuffled if m in places.values()][:most]


def tests_of(file: str) -> tuple[str, ...]:
    """The tests of the module, or of the folder that it is in."""
    place = Path(file)
    return next(TESTS[str(p)] for p in (place, *place.parents) if str(p) in TESTS)


def mutants_of(copy: Path, file: str) -> Iterator[Mutant]:
    """Every mutant of the file, but for those inside annotations."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    text = (copy / file).read_text(encoding="utf-8")
    never = list(unevaluated(text))
    tree = get_ast(text)
    for name in operator_names():
        operator = get_operator(name)
        if operator.arguments() or ("BinaryOperator" in name and name.endswith(BITWISE)):
            continue
        places = (place for node in ast_nodes(tree) for place in operator().mutation_positions(node))
        for occurrence, (begin, _) in enumerate(places):
            if not any(first <= begin < last for first, last in never):
                yield Mutant(file, name.removeprefix("core/"), occurrence, *begin)


def unevaluated(text: str) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Where the annotations of a module stand, which are not evaluated (PEP 563), and the ``**`` of a
    dictionary, which no operator can replace."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Dict) and None in node.keys:
            yield (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)
        for field in ("annotation", "returns"):
            found = getattr(node, field, None)
            if found is not None:
                yield (found.lineno, found.col_offset), (found.end_lineno, found.end_col_offset)


def try_one(copy: Path, mutant: Mutant, tests: tuple[str, ...], limit: float) -> str:
    """What becomes of the mutant; a survivor's difference is printed."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    place = copy / mutant.module
    text = place.read_text(encoding="utf-8")
    changed = mutate_code(text, get_operator(f"core/{mutant.operator}")(), mutant.occurrence)
    try:
        place.write_text(changed, encoding="utf-8")
        # a law or a piece has tests of its name: they end most runs
        named = enclosing(text, mutant.line)
        outcome = run_tests((*tests, "-k", named), limit) if named else "survived"
        if outcome == "survived":
            outcome = run_tests(tests, limit)
    finally:
        place.write_text(text, encoding="utf-8")
    print(f"{outcome:<9} {mutant.module}:{mutant.line} {mutant.operator}", flush=True)
    if outcome == "survived":
        lines = difflib.unified_diff(text.splitlines(), changed.splitlines(), lineterm="", n=0)
        print("\n".join(f"    {line}" for line in list(lines)[2:]), flush=True)
    return outcome


def enclosing(text: str, line: int) -> str:
    """The public function around the line, or ""."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or 0):
            return "" if node.name.startswith("_") else node.name
    return ""


def run_tests(tests: tuple[str, ...], limit: float, keep: bool = False) -> str:
    """Fork, run the tests in the child, and say whether they noticed: killed, survived or timeout."""
    import pytest

    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.setsid()
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        # only the run without mutation keeps bytecode: a mutant may have the size and the second of another
        sys.dont_write_bytecode = not keep
        code = 1
        with contextlib.suppress(BaseException):
            code = pytest.main([*OPTIONS, *tests])
        os._exit(int(code))
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            none = (0, int(pytest.ExitCode.NO_TESTS_COLLECTED))
            return "survived" if os.waitstatus_to_exitcode(status) in none else "killed"
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def report(rows: list[tuple[Mutant, str]], out: Path | None) -> None:
    """The score of each module and of all, and the table."""
    for module in (*dict.fromkeys(m.module for m, _ in rows), ""):
        outcomes = [outcome for m, outcome in rows if module in ("", m.module)]
        killed = len(outcomes) - outcomes.count("survived")
        share = killed / max(len(outcomes), 1)
        print(f"{module or 'all':<40} {killed:4} of {len(outcomes):4} killed  {share:4.0%}")
    if out is not None:
        with out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow((*(f.name for f in fields(Mutant)), "outcome"))
            writer.writerows(sorted((*astuple(mutant), outcome) for mutant, outcome in rows))


def read(table: Path) -> dict[Mutant, str]:
    """The mutants of a table and what became of them."""
    with table.open(newline="", encoding="utf-8") as file:
        return {
            Mutant(r["module"], r["operator"], int(r["occurrence"]), int(r["line"]), int(r["column"])): r[
                "outcome"
            ]
            for r in csv.DictReader(file)
        }


if __name__ == "__main__":
    raise SystemExit(main())
