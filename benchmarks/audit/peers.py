"""What people write by hand: group by step and prompt, and count the groups whose rewards are all the same.

    python peers.py pandas|polars|duckdb FILE

Prints, as JSON, the groups, the share of equal ones, the mean over steps of that share, and how many prompts were
always, and never, solved.
"""

import json
import sys


def with_pandas(path):
    import pandas as pd

    columns = ["step", "prompt", "reward"]
    if path.endswith(".parquet"):
        rows = pd.read_parquet(path, columns=columns)
    else:
        rows = pd.read_json(path, lines=True, engine="pyarrow")[columns]
    groups = rows.groupby(["step", "prompt"], sort=False)["reward"].agg(["size", "min", "max", "sum"])
    equal = groups["min"] == groups["max"]
    prompts = groups.groupby("prompt")[["size", "sum"]].sum()
    return {
        "groups": len(groups),
        "equal": float(equal.mean()),
        "by_step": float(equal.groupby("step").mean().mean()),
        "always": int((prompts["sum"] == prompts["size"]).sum()),
        "never": int((prompts["sum"] == 0).sum()),
    }


def with_polars(path):
    import polars as pl

    rows = pl.scan_parquet(path) if path.endswith(".parquet") else pl.scan_ndjson(path)
    reward = pl.col("reward")
    groups = (
        rows.group_by("step", "prompt")
        .agg(
            pl.len().alias("size"),
            reward.min().alias("min"),
            reward.max().alias("max"),
            reward.sum().alias("sum"),
        )
        .collect(engine="streaming")
        .with_columns((pl.col("min") == pl.col("max")).alias("equal"))
    )
    prompts = groups.group_by("prompt").agg(pl.col("size").sum(), pl.col("sum").sum())
    return {
        "groups": groups.height,
        "equal": groups["equal"].mean(),
        "by_step": groups.group_by("step").agg(pl.col("equal").mean())["equal"].mean(),
        "always": prompts.filter(pl.col("sum") == pl.col("size")).height,
        "never": prompts.filter(pl.col("sum") == 0).height,
    }


def with_duckdb(path):
    import duckdb

    source = (
        f"read_parquet('{path}')"
        if path.endswith(".parquet")
        else f"read_json('{path}', format = 'newline_delimited')"
    )
    database = duckdb.connect()
    database.execute(
        "CREATE TABLE groups AS SELECT step, prompt, count(*) AS size, min(reward) AS low, max(reward) AS high, "
        f"sum(reward) AS total FROM {source} GROUP BY step, prompt"
    )
    by_step = "SELECT avg(share) FROM (SELECT avg((low = high)::INT) AS share FROM groups GROUP BY step)"
    prompts = "SELECT sum(size) AS size, sum(total) AS total FROM groups GROUP BY prompt"
    asked = f"SELECT count(*), avg((low = high)::INT), ({by_step}) FROM groups"
    solved = f"SELECT count(*) FILTER (total = size), count(*) FILTER (total = 0) FROM ({prompts})"
    [(groups, equal, mean)] = database.execute(asked).fetchall()
    [(always, never)] = database.execute(solved).fetchall()
    return {"groups": groups, "equal": equal, "by_step": mean, "always": always, "never": never}


if __name__ == "__main__":
    tools = {"pandas": with_pandas, "polars": with_polars, "duckdb": with_duckdb}
    print(json.dumps(tools[sys.argv[1]](sys.argv[2])))
