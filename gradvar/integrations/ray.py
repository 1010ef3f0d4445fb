"""Parts of a recording as tasks of a Ray cluster (extra ``ray``): one file, and everything else is Ray's.

    def job(part):  # "3/16"; runs on any node that sees the model and the folder
        command = ["gradvar", "record", "MODEL", "prompts.jsonl", "--out", "/shared/bank", "--shard", part]
        subprocess.run(command, check=True)

    gradvar.integrations.ray.run_parts(job, 16)

What a part records depends on the seed and on the numbers of its prompts only, so the bank is the same whatever the
number of workers, the order in which they end, and how often one had to begin again.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from gradvar.core.checks import whole


def run_parts(
    job: Callable[[str], Any], parts: int, *, retries: int = 3, cpus: float = 1.0, gpus: float = 0.0
) -> list[int]:
    """Run ``job("1/n")`` to ``job("n/n")`` as tasks, and wait for all of them.

    A task whose worker is lost, with its node or by a kill, is run again by Ray: the shards that it had written are
    kept, and it goes on from there. Ray is started on this machine where it is not running.

    Args:
        job: Records a part; it is sent to the workers, so it is a function of a module or of the main script.
        parts: How many, at least as many as there are workers.
        retries: How often a task is run again after its worker was lost.
        cpus: That a task takes.
        gpus: That a task takes.

    Returns:
        The parts in the order in which they ended.

    Raises:
        ValueError: In one line: parts that failed by an error of their own; the others are done.
        ImportError: Ray is not installed.
    """
    whole("parts", parts, 1)
    whole("retries", retries, 0)
    ray = _ray()
    if not ray.is_initialized():
        ray.init()
    task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=retries)(job)
    pending = {task.remote(f"{number}/{parts}"): number for number in range(1, parts + 1)}
    finished: list[int] = []
    failed: dict[int, str] = {}
    while pending:
        ready, _ = ray.wait(list(pending), num_returns=1)
        for reference in ready:
            number = pending.pop(reference)
            try:
                ray.get(reference)
                finished.append(number)
            except ray.exceptions.RayError as error:
                cause = getattr(error, "cause", None) or error
                failed[number] = f"{type(cause).__name__}: {(str(cause).splitlines() or [''])[0][:200]}"
    if failed:
        number, line = next(iter(failed.items()))
        raise ValueError(
            f"job: {len(failed)} of {parts} parts failed, the first is {number}/{parts} ({line}); fix it and run all "
            "parts again, what is recorded is kept"
        )
    return finished


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise ImportError("ray: not installed; pip install 'gradvar[ray]'") from None
