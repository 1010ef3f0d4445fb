"""Rollouts to audit: binary rewards of prompts that differ in difficulty, in groups of 8, as Parquet,
CSV and JSON lines.

python -m benchmarks.audit.data FOLDER ROWS
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
import numpy as np

GROUP, PER_STEP, PROMPTS = 8, 512, 20_000


def table(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Columns step, prompt (its text, short), reward and length; rollouts of a step in any order."""
    rng = np.random.default_rng(seed)
    chance = rng.beta(0.6, 0.9, PROMPTS)
    groups = rows // GROUP
    step = np.arange(groups) // PER_STEP
    prompt = np.concatenate([rng.choice(PROMPTS, PER_STEP, replace=False) for _ in range(int(step[-1]) + 1)])[
        :groups
    ]
    step, prompt = np.repeat(step, GROUP), np.repeat(prompt, GROUP)  # [rollout]
    order = np.lexsort([rng.random(len(step)), step])
    step, prompt = step[order], prompt[order]
    reward = (rng.random(len(step)) < chance[prompt]).astype(float)
    return {"step": step, "prompt": prompt, "reward": reward, "length": rng.integers(20, 2000, len(step))}


def write(folder: Path, rows: int) -> None:
    """Write all files, as rows.parquet, rows.csv and rows.jsonl."""
    columns = table(rows)
    with duckdb.connect() as database:
        database.register("numbers", columns)
        database.execute("CREATE TABLE rows AS SELECT * REPLACE ('What is the answer to problem ' || prompt || '?' AS "
                         "prompt) FROM numbers").fetchall()  # fmt: skip
        for name, options in (("parquet", ", ROW_GROUP_SIZE 1048576"), ("csv", "")):
            database.execute(f"COPY rows TO '{folder}/rows.{name}' (FORMAT {name}{options})").fetchall()
    with (folder / "rows.jsonl").open("w") as file:
        for begin in range(0, rows, 1 << 17):
            block = [values[begin : begin + (1 << 17)].tolist() for values in columns.values()]
            file.writelines(
                f'{{"step": {s}, "prompt": "What is the answer to problem {p}?", "reward": {r}, "length": {n}}}\n'
                for s, p, r, n in zip(*block, strict=True)
            )


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
