"""Mutation testing of ``gradvar/pieces`` and ``gradvar/testing``: does some test fail for every change to
the code?

    python benchmarks/mutation/run.py gradvar/pieces/aggregate.py --tests tests/pieces --limit 40

Uses cosmic-ray (``pip install cosmic-ray``) on a copy of the repository, so that the working tree is never
touched. A mutant is killed when the tests given fail (or run ten times as long); survivors are printed with
their difference, to be explained in README.md or killed by a new test. ``--limit`` draws that many mutants
at random with a fixed seed. Writes one row per mutant to ``--out``."""

from __future__ import annotations

import argparse
import csv
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """[cosmic-ray]
module-path = {modules}
timeout = {timeout}
excluded-modules = []
test-command = "{python} -m pytest -x -q -p no:cacheprovider {tests}"
[cosmic-ray.distributor]
name = "local"
"""


def main() -> int:
    """Make the mutants, run the tests on each, and print the score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="+", help="files or folders, from the repository's root")
    parser.add_argument("--tests", nargs="+", required=True, help="what must fail, as pytest arguments")
    parser.add_argument(
        "--limit", type=int, default=0, help="at most so many mutants, drawn with a fixed seed"
    )
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "repository"
        shutil.copytree(
            ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", "*.egg-info")
        )
        return mutate(copy, options)


def mutate(copy: Path, options: argparse.Namespace) -> int:
    """Run cosmic-ray in the copy. Returns 1 where the tests fail before any mutation."""
    tests = " ".join(options.tests)
    start = time.perf_counter()
    clean = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", *options.tests], cwd=copy, env=_environment(copy)
    )
    if clean.returncode:
        print("the tests fail without any mutation", file=sys.stderr)
        return 1
    timeout = 10 * (time.perf_counter() - start) + 5
    modules = [str(m) for m in options.modules]
    config = CONFIG.format(modules=modules, timeout=timeout, python=sys.executable, tests=tests)
    (copy / "mutation.toml").write_text(config, encoding="utf-8")
    cosmic = [sys.executable, "-m", "cosmic_ray.cli"]
    subprocess.run(
        [*cosmic, "init", "mutation.toml", "session.sqlite"], cwd=copy, check=True, env=_environment(copy)
    )
    database = copy / "session.sqlite"
    _draw(database, options.limit)
    subprocess.run(
        [*cosmic, "exec", "mutation.toml", "session.sqlite"], cwd=copy, check=True, env=_environment(copy)
    )
    return report(database, options.out)


def _environment(copy: Path) -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}


def _draw(database: Path, limit: int) -> None:
    """Keep ``limit`` mutants of those that were made."""
    with sqlite3.connect(database) as connection:
        jobs = sorted(row[0] for row in connection.execute("select job_id from work_items"))
        if limit and limit < len(jobs):
            dropped = random.Random(0).sample(jobs, len(jobs) - limit)
            for table in ("mutation_specs", "work_items"):
                connection.executemany(f"delete from {table} where job_id = ?", [(job,) for job in dropped])
    print(f"{len(jobs)} mutants, {min(limit or len(jobs), len(jobs))} of them run", flush=True)


def report(database: Path, out: Path | None) -> int:
    """The score, and every survivor's difference."""
    query = (
        "select s.module_path, s.operator_name, s.start_pos_row, r.test_outcome, r.diff "
        "from mutation_specs s join work_results r on s.job_id = r.job_id order by 1, 3"
    )
    with sqlite3.connect(database) as connection:
        rows = connection.execute(query).fetchall()
    survivors = [row for row in rows if "SURVIVED" in str(row[3]).upper()]
    for module, operator, line, _, diff in survivors:
        print(f"\nsurvived: {module}:{line} {operator}\n{diff}")
    killed = len(rows) - len(survivors)
    print(f"\nscore: {killed} of {len(rows)} killed ({killed / max(len(rows), 1):.0%})")
    if out is not None:
        with out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("module", "operator", "line", "outcome"))
            writer.writerows((m, o, n, str(t).split(".")[-1].lower()) for m, o, n, t, _ in rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
