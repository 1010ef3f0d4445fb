"""The audit against pandas, polars and duckdb, which count equal groups only, on millions of rollouts: time and memory.

    python -m benchmarks.audit.run --venv DIR [--rows 5000000] [--runs 5]

Every measurement is a process of its own, start included, and runs alternate; medians of wall and CPU seconds, and the
largest resident set. The audit does all that ``gradvar audit`` does (every interval, estimator and check) and names
malformed rows; the peers group by step and prompt and count (``peers.py``). All must find the same groups. pandas,
polars, duckdb and pyarrow (for pandas) are installed into ``--venv`` where it is missing. "long": prompts of 4,000
characters, 100,000 rollouts, to see what text costs. Measured on whatever the machine is doing besides; the load is in
the file.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import venv
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

PACKAGES = ("pandas", "polars", "duckdb", "pyarrow")
PEERS = ("pandas", "polars", "duckdb")
HERE = Path(__file__).parent


def measured(command: list[str]) -> dict[str, Any]:
    """Wall and CPU seconds and the peak of the memory of one process, and what it printed."""
    with tempfile.TemporaryFile("w+") as out:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        printed = out.read()
    if process.returncode not in (0, 1):  # 1: the audit found something suspicious
        raise RuntimeError(f"{' '.join(command)}: {process.returncode}: {printed[-500:]}")
    return {
        "wall": wall,
        "cpu": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
        "out": printed,
    }


def of_audit(file: Path, out: Path) -> dict[str, Any]:
    """The audit's process, and the figures that the peers have too."""
    command = [sys.executable, "-m", "gradvar", "audit", str(file), "--quiet", "--json", str(out)]
    row = measured([*command, "--prompts", str(out.with_suffix(".csv"))])
    found = json.loads(out.read_text())
    with out.with_suffix(".csv").open(newline="") as file_of_prompts:
        kinds = [prompt["class"] for prompt in csv.DictReader(file_of_prompts)]
    return row | {
        "found": {
            "groups": found["overall"]["groups"],
            "equal": found["overall"]["equal"]["value"],
            "by_step": sum(s["equal"]["value"] for s in found["steps"]) / len(found["steps"]),
            "always": kinds.count("always"),
            "never": kinds.count("never"),
        }
    }


def of_peer(python: Path, name: str, file: Path) -> dict[str, Any]:
    """A peer's process and its figures."""
    row = measured([str(python), str(HERE / "peers.py"), name, str(file)])
    return row | {"found": json.loads(row["out"].splitlines()[-1])}


def compare(python: Path, file: Path, rows: int, runs: int, out: Path) -> dict[str, Any]:
    """Medians of every tool on one file; an error where they disagree."""
    every: dict[str, list[dict[str, Any]]] = {"gradvar": [], **{peer: [] for peer in PEERS}}
    for _ in range(runs):
        every["gradvar"].append(of_audit(file, out))
        for peer in PEERS:
            every[peer].append(of_peer(python, peer, file))
    found = every["gradvar"][0]["found"]
    for name, measurements in every.items():
        other = measurements[0]["found"]
        if any(abs(other[k] - found[k]) > 1e-9 * max(abs(found[k]), 1) for k in found):
            raise RuntimeError(f"{name} finds {other}, gradvar {found}")
    table = {
        name: {
            "wall": median(m["wall"] for m in each),
            "cpu": median(m["cpu"] for m in each),
            "rows_per_cpu_second": rows / median(m["cpu"] for m in each),
            "rows_per_second": rows / median(m["wall"] for m in each),
            "peak_mb": max(m["peak_mb"] for m in each),
            "walls": [round(m["wall"], 2) for m in each],
        }
        for name, each in every.items()
    }
    return {"rows": rows, "megabytes": file.stat().st_size / 1e6, "found": found, "tools": table}


def long_prompts(path: Path, rows: int = 100_000) -> None:
    """Prompts of 4,000 characters, 8 rollouts each."""
    with path.open("w") as file:
        for i in range(rows):
            text = f"{i // 8:06d}" + "x" * 3994
            file.write(f'{{"step": {i // 4096}, "prompt": "{text}", "reward": {(i * 7919) % 3 // 2}.0}}\n')


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--venv", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "audit.json")
    options = parser.parse_args()
    python = options.venv.absolute() / "bin" / "python"
    if not python.exists():
        venv.create(options.venv, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    freeze = [str(python), "-m", "pip", "freeze"]
    versions = subprocess.run(freeze, check=True, capture_output=True, text=True).stdout.split()
    load, results = os.getloadavg()[0], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # By a process of its own: the peak that Linux reports of a child is never below its parent's size.
        subprocess.run([sys.executable, "-m", "benchmarks.audit.data", name, str(options.rows)], check=True)
        long_prompts(folder / "long.jsonl")
        for file, rows in (
            ("rows.parquet", options.rows),
            ("rows.jsonl", options.rows),
            ("long.jsonl", 100_000),
        ):
            results[file] = compare(python, folder / file, rows, options.runs, folder / "out.json")
            show(file, results[file])
    content = {
        "what": "gradvar audit (everything) against a group-by of pandas, polars and duckdb; a shared, busy machine",
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, shared",
        "load_average": [round(load, 2), round(os.getloadavg()[0], 2)],
        "runs": options.runs,
        "versions": {
            "python": platform.python_version(), "gradvar": metadata.version("gradvar"),
            "duckdb": metadata.version("duckdb"), "numpy": metadata.version("numpy"),
            "peers": [v for v in versions if v.split("==")[0] in (*PACKAGES, "numpy")],
        },
        "files": results,
    }  # fmt: skip
    options.out.write_text(json.dumps(content, indent=1) + "\n")


def show(file: str, found: dict[str, Any]) -> None:
    """A readable table."""
    print(f"{file}: {found['rows']:,} rows, {found['megabytes']:.0f} MB")
    for name, row in found["tools"].items():
        print(f"  {name:<8} {row['wall']:7.1f} s   {row['cpu']:7.1f} s of CPU   {row['peak_mb']:7.0f} MB")


if __name__ == "__main__":
    main()
