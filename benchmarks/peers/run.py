"""One command: make the peers' environment (CPU PyTorch first, the trainers without their dependencies),
then both tables.

    python benchmarks/peers/run.py [--venv DIR]

Needs Python 3.11 or newer, about 3 GB of disk, and ten to twenty minutes, most of it the laws on two cores.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIRST = ("torch==2.13.0", "numpy", "hypothesis")
TRAINERS = (
    "trl==1.16.0",
    "verl==0.9.1",
    "openrlhf==0.11.2",
    "torchrl==0.14.1",
    "google-tunix==0.1.7",
    "rlax==0.1.9",
)
LIGHT = (
    "omegaconf", "antlr4-python3-runtime", "pyyaml", "tensordict>=0.14.3,<0.15", "pyvers", "cloudpickle", "orjson",
    "pandas",
    "python-dateutil", "six", "importlib_metadata", "zipp", "codetiming", "wadler_lindig", "jaxtyping",
    "equinox",
    "optax",
)  # fmt: skip
NEEDED = ("transformers", "accelerate", "datasets", "jax==0.10.2", "chex", "dm-env", "scipy")


def main() -> int:
    """Make the environment where it is missing, and run both scripts in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, default=HERE / ".venv")
    folder = parser.parse_args().venv
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *FIRST], check=True)
        subprocess.run([*pip, "--no-deps", *TRAINERS, *LIGHT], check=True)
        subprocess.run([*pip, *NEEDED], check=True)
    codes = []
    for script in ("compare_values.py", "check_peers.py"):
        codes.append(
            subprocess.run([str(python), "-W", "ignore", str(HERE / script)], check=False).returncode
        )
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
