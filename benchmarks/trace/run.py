"""tr Cov of per-rollout scores: this library's ways against PyTorch's tools, in one run, on both model sizes.

    python -m benchmarks.trace.run --out benchmarks/results/trace.json [--venv DIR]

Every tool is a process of its own that waits between measurements, so that runs alternate and the peak of its memory is
its own. All get the same parameters and rollouts and must give the same number. Medians of wall and CPU seconds; the
first measurement of each warms up (compiles) and is kept apart. "floor" is the time of one square matrix product with
as many operations as the scene's forward and backward products have. "uncut": ours without leaving out the tokens after
a rollout's last, which the other tools compute too. PyTorch, Opacus and BackPACK are installed into
``--venv`` where it is missing (about 1.5 GB).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.bank.scene import provenance
from benchmarks.trace.ours import SIZES, Scene

HERE = Path(__file__).resolve().parent
PACKAGES = ("torch==2.13.0", "numpy", "opacus", "backpack-for-pytorch")
OURS = ("vmap 16", "auto 16", "auto 32", "auto 16 uncut", "ghost 16", "plain", "products")
PEERS = (
    "loop", "torch.func 8", "torch.func 16", "torch.func 64", "torch.func 512", "backpack", "opacus", "opacus ghost"
)  # fmt: skip
NO_TOOL = ("plain", "products")  # what any way needs, and the floor


class Tool:
    """A process that measures once for every line that it is sent."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        environment = os.environ | {"OMP_WAIT_POLICY": "passive"}  # threads that wait must not spin
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (open as long as the process)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
            env=environment, cwd=HERE.parents[1],
        )  # fmt: skip
        self.runs: list[dict[str, float]] = []
        self.failure = ""

    def measure(self) -> None:
        """One more run; a tool that fails is asked no more."""
        if self.failure:
            return
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
            self.runs.append(json.loads(self.process.stdout.readline()))
        except (BrokenPipeError, json.JSONDecodeError):
            self.process.wait()
            self.errors.seek(0)
            self.failure = (self.errors.read().strip().splitlines() or ["no output"])[-1][:200]

    def row(self) -> dict[str, Any]:
        """Medians of all runs but the first."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        if self.failure:
            return {"failed": self.failure}
        found = {n: float(np.median([r[n] for r in self.runs[1:]])) for n in ("wall", "cpu")}
        return found | {
            "first_wall": self.runs[0]["wall"], "peak_mb": self.runs[-1]["peak_mb"], "value": self.runs[-1]["value"],
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/trace.json"))
    parser.add_argument("--venv", type=Path, default=HERE / ".venv")
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    python = options.venv.absolute() / "bin" / "python"
    if not python.exists():
        venv.create(options.venv, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    versions = subprocess.run(
        [str(python), "-m", "pip", "freeze"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    kept = [v for v in versions if v.split("==")[0] in ("torch", "opacus", "backpack-for-pytorch")]
    result: dict[str, Any] = {"provenance": provenance(), "peers": kept, "runs": options.runs, "sizes": {}}
    for size in SIZES:
        scene = Scene(size)
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data.npz"
            scene.write(data)
            mine = [Tool(n, [sys.executable, "-m", "benchmarks.trace.ours", n, size]) for n in OURS]
            theirs = [
                Tool(n, [str(python), "-W", "ignore", str(HERE / "peers.py"), n, str(data)]) for n in PEERS
            ]
            for _ in range(options.runs + 1):
                for tool in (*mine, *theirs):
                    tool.measure()
            rows = {tool.name: tool.row() for tool in (*mine, *theirs)}
        result["sizes"][size] = summarised(rows, scene)
        show(size, result["sizes"][size])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


def summarised(rows: dict[str, dict[str, Any]], scene: Scene) -> dict[str, Any]:
    """The rows with their share of the floor, the best of ours and ratios to it; all values must agree."""
    worked = {n: r for n, r in rows.items() if "failed" not in r and n not in NO_TOOL}
    values = np.array([r["value"] for r in worked.values()])
    spread = float(np.ptp(values) / values.mean())
    if not spread < 1e-4:
        raise RuntimeError(f"the tools disagree: {dict(zip(worked, values, strict=True))}")
    for row in worked.values():
        row["share_of_floor"] = rows["products"]["cpu"] / row["cpu"]
    best = min((n for n in OURS if n not in NO_TOOL), key=lambda n: rows[n]["cpu"])
    ratios = {
        n: {k: r[k] / rows[best][k] for k in ("wall", "cpu")} for n, r in worked.items() if n not in OURS
    }
    return {
        "params": sum(x.size for x in jax.tree.leaves(scene.params)),
        "rollouts": scene.rollouts, "gflop": scene.flops() / 1e9, "rows": rows, "best_of_ours": best,
        "relative_spread": spread, "peers_over_ours": ratios,
    }  # fmt: skip


def show(size: str, found: dict[str, Any]) -> None:
    """A readable table."""
    print(
        f"{size}: {found['params']} parameters, {found['rollouts']} rollouts, best of ours: {found['best_of_ours']}"
    )
    print("tool              wall s    CPU s   peak MB   floor/CPU   wall, CPU over ours")
    for name, r in found["rows"].items():
        if "failed" in r:
            print(f"{name:<15} failed: {r['failed']}")
            continue
        ratio = found["peers_over_ours"].get(name)
        share = f"{r['share_of_floor']:.2f}" if "share_of_floor" in r else "-"
        tail = f"{ratio['wall']:.2f}, {ratio['cpu']:.2f}" if ratio else ""
        print(
            f"{name:<15} {r['wall']:>8.3f} {r['cpu']:>8.3f} {r['peak_mb']:>9.0f} {share:>11}   {tail}",
            flush=True,
        )


if __name__ == "__main__":
    main()
