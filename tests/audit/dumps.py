"""Rows at random, and files of them in every format."""

import csv
import gzip
import json

import duckdb
import numpy as np


def rows(seed, *, levels=(0.0, 1.0), steps=5, prompts=12, size=6, ragged=False, group=False, repeats=True):
    """Rollouts of some prompts over some steps; every prompt has its own chances."""
    rng = np.random.default_rng(seed)
    found = []
    for step in range(steps):
        for prompt in rng.choice(prompts, min(8, prompts), replace=False):
            chances = np.random.default_rng([seed, prompt]).dirichlet(np.full(len(levels), 0.4))
            count = int(rng.integers(1, size + 1)) if ragged else size
            for i in range(count):
                row = {
                    "step": step,
                    "prompt": f"prompt {prompt}",
                    "reward": float(rng.choice(levels, p=chances)),
                }
                if group:
                    row["group"] = f"{step}-{prompt}-{i % 2}" if group == "split" else f"{step}-{prompt}"
                found.append(row)
    order = rng.permutation(len(found))
    return [found[i] for i in order]


def jsonl(path, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def parquet(path, columns):
    """Columns of Python values as a Parquet file."""
    values = ", ".join(f'unnest(${i}) AS "{name}"' for i, name in enumerate(columns, 1))
    duckdb.execute(f"COPY (SELECT {values}) TO '{path}' (FORMAT parquet)", list(columns.values()))


def table(path, rows):
    names = list(rows[0])
    if path.suffix == ".parquet":
        parquet(path, {n: [r[n] for r in rows] for n in names})
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
    return path


def write(path, rows):
    """In the format that the path's ending says."""
    return jsonl(path, rows) if ".jsonl" in path.name else table(path, rows)


def verl(rows):
    """As ``RayPPOTrainer._dump_generations`` writes them."""
    return [
        {
            "input": r["prompt"],
            "output": "text",
            "gts": "1",
            "score": r["reward"],
            "step": r["step"],
            "acc": r["reward"],
        }
        for r in rows
    ]


def with_advantages(rows, of_group, key="advantage"):
    """Rows with the advantage that ``of_group(rewards)`` gives to each."""
    from tests.audit.reference import grouped

    for members in grouped(rows).values():
        for row, advantage in zip(members, of_group([m["reward"] for m in members]), strict=True):
            row[key] = float(advantage)
    return rows
