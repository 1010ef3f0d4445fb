"""A recording by many workers that fail: how long it takes, and what is done twice.

Workers take shards from a queue. A failure ends a worker at a random time (a Poisson process); what it was recording
is lost, finished shards are kept, and after a restart it goes on. A shard of s seconds ends without a failure with
probability e^(-r s) at rate r, so it takes e^(r s) - 1 restarts of d seconds on average, and with the work
(1/r + d) (e^(r s) - 1) seconds; the simulation is tested against that.
"""

import argparse
import heapq
import json
from dataclasses import asdict, dataclass
from math import exp

import numpy as np


@dataclass(frozen=True)
class Cluster:
    """What a recording runs on: ``rate`` failures of a worker a second, ``restart`` seconds after each."""

    workers: int
    rate: float
    restart: float


@dataclass(frozen=True)
class Outcome:
    """Seconds until the last shard is there, failures on the way, and the share of work that was lost."""

    seconds: float
    failures: int
    lost: float


def simulate(shards: int, seconds: float, cluster: Cluster, seed: int = 0) -> Outcome:
    """Record ``shards`` of so many seconds each.

    Args:
        shards: How many.
        seconds: Of work in each.
        cluster: Who does it.
        seed: Of the failures.
    """
    rng = np.random.default_rng(seed)
    free = [(0.0, worker) for worker in range(cluster.workers)]  # when each worker is free
    heapq.heapify(free)
    last, failures, lost = 0.0, 0, 0.0
    for _ in range(shards):
        now, worker = heapq.heappop(free)
        while (until := rng.exponential(1 / cluster.rate) if cluster.rate else float("inf")) < seconds:
            now += until + cluster.restart
            failures, lost = failures + 1, lost + until
        now += seconds
        last = max(last, now)
        heapq.heappush(free, (now, worker))
    return Outcome(last, failures, lost / (lost + shards * seconds))


def expected_shard(seconds: float, cluster: Cluster) -> float:
    """Mean seconds from the beginning of a shard to its end, failures and restarts included."""
    if not cluster.rate:
        return seconds
    return (1 / cluster.rate + cluster.restart) * (exp(cluster.rate * seconds) - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--shards", type=int, default=20_000)
    parser.add_argument("--hours-between-failures", type=float, default=24.0, help="of one worker")
    parser.add_argument("--restart", type=float, default=300.0, help="seconds")
    settings = parser.parse_args()
    cluster = Cluster(settings.workers, 1 / (3600 * settings.hours_between_failures), settings.restart)
    for seconds in (60.0, 600.0, 3600.0, 4 * 3600.0):
        outcome = simulate(settings.shards, seconds, cluster)
        ideal = settings.shards * seconds / settings.workers
        row = {"shard_seconds": seconds, "ideal": ideal, "expected_shard": expected_shard(seconds, cluster)}
        print(json.dumps(row | asdict(outcome)))


if __name__ == "__main__":
    main()
