"""How many groups would be informative at group sizes beyond those recorded, and how far that can be known.

Groups of n rollouts show how many succeed: h_c, the share of groups with c successes, is the binomial mixture
int C(n, c) p^c (1-p)^(n-c) dF(p) over the prompts' unknown success rates. Any F that has these shares, within their
simultaneous 95 % bounds, is possible; the least and the greatest int 1 - p^G - (1-p)^G dF(p) among them are the ends,
which two linear programs find. They hold whatever F is. The value between them is that of a Beta distribution.
"""

import numpy as np
from scipy.optimize import linprog, minimize
from scipy.special import betaln, gammaln

from gradvar.audit.reward_counts import Cells
from gradvar.audit.statistics import Success, successes
from gradvar.stats.clusters import Clusters
from gradvar.stats.intervals import Interval, wilson

TIMES = (2, 4, 8)
_GRID = np.sin(np.linspace(0, np.pi / 2, 201)) ** 2  # success rates, denser at the ends
_FEWEST = 8  # groups


def larger_groups(cells: Cells, rule: Success) -> tuple[tuple[int, Interval], ...]:
    """The share of informative groups at 2, 4 and 8 times the usual size; none where rewards are not binary."""
    groups = cells.groups
    sizes, times = groups.sizes
    n = int(sizes[np.argmax(times)])
    usual = groups.size == n
    if not rule.binary or n < 2 or n > 64 or usual.sum() < _FEWEST:
        return ()
    won, clusters = successes(cells, rule)[usual], Clusters(groups.prompt[usual])
    c = np.arange(n + 1)
    weights = clusters.weights(np.ones(len(won)))
    shares = [clusters.share(won == k, weights) for k in c]
    value = np.array([s.value for s in shares])
    low, high = _bounds(shares, value, 1 - 0.05 / (n + 1))
    ways = gammaln(n + 1) - gammaln(c + 1) - gammaln(n - c + 1)
    with np.errstate(divide="ignore"):
        chance = (
            np.exp(ways)[:, None] * _GRID ** c[:, None] * (1 - _GRID) ** (n - c)[:, None]
        )  # [successes, rate]
    a, b = _beta(value, ways, n)
    points = []
    for size in (n * times for times in TIMES):
        informative = 1 - _GRID**size - (1 - _GRID) ** size  # [rate]
        ends = [_extreme(sign * informative, chance, low, high) for sign in (1, -1)]
        equal = np.exp(betaln(a + size, b) - betaln(a, b)) + np.exp(betaln(a, b + size) - betaln(a, b))
        found = Interval(float(1 - equal), ends[0], -ends[1])
        points.append((size, found if found.known else found.without("no success rates explain the counts")))
    return tuple(points)


def _bounds(shares: list[Interval], value: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's bounds of every share at this level, with the sample size that its clustered variance stands for."""
    se = np.array([s.se for s in shares])
    count = shares[0].dof + 1
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where(se > 0, value * (1 - value) / se**2, count)
    return wilson(value, np.maximum(size, 1.0), level)


def _beta(value: np.ndarray, ways: np.ndarray, n: int) -> tuple[float, float]:
    """The Beta distribution of rates under which the shares are the most likely."""
    c = np.arange(n + 1)

    def loss(logs: np.ndarray) -> float:
        a, b = np.exp(logs)
        return -float(value @ (ways + betaln(c + a, n - c + b) - betaln(a, b)))

    fit = minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=[(-7, 7)] * 2)
    a, b = np.exp(fit.x)
    return float(a), float(b)


def _extreme(objective: np.ndarray, chance: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """The least mean of ``objective`` over the distributions on the grid with shares within bounds; NaN without any."""
    program = linprog(
        objective,
        A_ub=np.concatenate([chance, -chance]),
        b_ub=np.concatenate([high + 1e-9, -low + 1e-9]),
        A_eq=np.ones((1, len(_GRID))),
        b_eq=[1.0],
        bounds=(0, 1),
    )
    return float(program.fun) if program.success else np.nan
