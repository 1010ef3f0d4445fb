"""Rollouts to audit: binary rewards of prompts that differ in difficulty, in groups of 8, as Parquet and as JSON lines.

python -m benchmarks.audit.data FOLDER ROWS
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

GROUP, PER_STEP, PROMPTS = 8, 512, 20_000


def table(rows: int, seed: int = 0) -> pa.Table:
    """Columns step, prompt (its text, short), reward and length; rollouts of a step in any order."""
    rng = np.random.default_rng(seed)
    chance = rng.beta(0.6, 0.9, PROMPTS)
    groups = rows // GROUP
    step = np.arange(groups) // PER_STEP
    prompt = np.concatenate([rng.choice(PROMPTS, PER_STEP, replace=False) for _ in range(int(step[-1]) + 1)])[
        :groups
    ]
    step, prompt = np.repeat(step, GROUP), np.repeat(prompt, GROUP)
    order = np.lexsort([rng.random(len(step)), step])
    step, prompt = step[order], prompt[order]
    reward = (rng.random(len(step)) < chance[prompt]).astype(float)
    texts = pa.array([f"What is the answer to problem {i}?" for i in range(PROMPTS)])
    return pa.table(
        {
            "step": step,
            "prompt": texts.take(pa.array(prompt)),
            "reward": reward,
            "length": rng.integers(20, 2000, len(step)),
        }
    )


def write(folder: Path, rows: int) -> None:
    """Both files, as rows.parquet and rows.jsonl."""
    whole = table(rows)
    pq.write_table(whole, folder / "rows.parquet", row_group_size=1 << 20)
    with (folder / "rows.jsonl").open("w") as file:
        for batch in whole.to_batches(1 << 17):
            columns = [batch.column(i).to_pylist() for i in range(4)]
            file.writelines(
                f'{{"step": {s}, "prompt": "{p}", "reward": {r}, "length": {n}}}\n'
                for s, p, r, n in zip(*columns, strict=True)
            )


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
