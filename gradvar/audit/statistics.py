"""The figures of a dump, per step and over all steps: equal groups, success rates, prompts that teach."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gradvar.audit.reward_counts import Cells
from gradvar.stats.clusters import Clusters, distinct, tally
from gradvar.stats.intervals import Interval, jeffreys

BINS = ("0 %", "below 20 %", "20 to 40 %", "40 to 60 %", "60 to 80 %", "80 % and more", "100 %")


@dataclass(frozen=True)
class Success:
    """What counts as a success: a reward above ``above``. ``levels`` are the distinct rewards of the dump if they are
    two at most, else none."""

    above: float
    levels: tuple[float, ...]
    note: str

    @property
    def binary(self) -> bool:
        """Return True if rewards take exactly two values."""
        return len(self.levels) == 2


def success(cells: Cells, above: float | None) -> Success:
    """The rule given, or the higher of two rewards, or above the middle of the range."""
    levels = cells.rewards.levels
    low, high = float(levels[0]), float(levels[-1])
    distinct = tuple(float(x) for x in levels) if len(levels) <= 2 else ()
    if above is not None:
        return Success(above, distinct, f"a reward above {above:g}, as asked")
    if len(levels) == 1:
        return Success(0.0, distinct, f"a reward above 0; every reward is {low:g}")
    if len(levels) == 2:
        return Success(low / 2 + high / 2, distinct, f"a reward of {high:g}; the other one is {low:g}")
    middle = low / 2 + high / 2
    return Success(
        middle,
        distinct,
        f"a reward above {middle:g}, the middle of {len(levels)} rewards from {low:g} to {high:g}; "
        "set --success-above for another rule",
    )


@dataclass(frozen=True)
class Step:
    """One step, or all of them (``step`` None). Shares have 95 % intervals, clustered by prompt.

    ``equal``: groups whose rewards are all the same number; ``solved`` and ``hopeless`` are those of them in which all
    or no rollouts succeed. ``lost``: rollouts in equal groups, and ``lost_tokens`` the tokens (None without lengths).
    ``success``: rollouts that succeed. ``group_size``: the most frequent; ``unequal_sizes``: groups of another size.
    ``length``: tokens per rollout; ``surprise``: minus the mean log-probability of a rollout (nats), an unbiased
    estimate of the sampling policy's entropy.
    """

    step: int | None
    rollouts: int
    groups: int
    prompts: int
    group_size: int
    unequal_sizes: int
    mean_reward: float
    success: Interval
    equal: Interval
    solved: Interval
    hopeless: Interval
    lost: Interval
    lost_tokens: float | None
    length: float | None
    surprise: float | None

    @property
    def refill(self) -> tuple[float, float, float]:
        """Groups to draw per group with different rewards, with its interval: the price of dynamic sampling."""
        ends = (1 - np.array([self.equal.value, self.equal.low, self.equal.high])).tolist()
        return tuple(1 / x if x > 0 else np.inf for x in ends)  # type: ignore[return-value]


def successes(cells: Cells, rule: Success) -> Int[np.ndarray, " group"]:
    """Successes of every group."""
    return cells.successes(rule.above)


def steps(cells: Cells, rule: Success, *, overall: bool = False) -> tuple[Step, ...]:
    """The figures of every step, or of all together as one."""
    names, by = cells.groups.steps
    if overall:
        return _tabulated(cells, rule, [None], np.zeros_like(by))
    return _tabulated(cells, rule, names.tolist(), by)


def by_source(cells: Cells, rule: Success, source: Sequence[str]) -> dict[str, Step]:
    """The figures of every data source; ``source``: that of each prompt. Empty where there is one at most."""
    names, place = np.unique(np.array(source, dtype=object).astype(str), return_inverse=True)
    if len(names) < 2:
        return {}
    figures = _tabulated(cells, rule, [None] * len(names), place[cells.groups.prompt])
    return dict(zip(names.tolist(), figures, strict=True))


def _tabulated(
    cells: Cells, rule: Success, names: Sequence[int | None], by: Int[np.ndarray, " group"]
) -> tuple[Step, ...]:
    """The figures of parts of the groups; ``by`` numbers the part of each group."""
    groups = cells.groups
    count = len(names)
    number = np.bincount(by, minlength=count)
    won = successes(cells, rule)
    solved, hopeless = groups.equal & (won == groups.size), groups.equal & (won == 0)
    rollouts = np.bincount(by, groups.size, count)
    modes = _modes(groups.size, by, count)
    odd = np.bincount(by, groups.size != modes[by], count)
    reward = np.bincount(by, groups.size * groups.mean, count) / rollouts
    clusters = Clusters(groups.prompt, by, count)
    of_groups, of_rollouts = clusters.weights(np.ones(len(by))), clusters.weights(groups.size)
    tables = {
        "success": clusters.shares(won, of_rollouts),
        "equal": clusters.shares(groups.equal, of_groups),
        "solved": clusters.shares(solved, of_groups),
        "hopeless": clusters.shares(hopeless, of_groups),
        "lost": clusters.shares(np.where(groups.equal, groups.size, 0), of_rollouts),
    }
    tokens, counted = cells.sums("length")
    lengths = np.bincount(by, tokens, count)
    length = _quotient(lengths, np.bincount(by, counted, count))
    lost_tokens = _quotient(np.bincount(by, np.where(groups.equal, tokens, 0.0), count), lengths)
    surprise, known = cells.sums("logp")
    logp = _quotient(-np.bincount(by, surprise, count), np.bincount(by, known, count))
    return tuple(
        Step(
            step=names[i],
            rollouts=int(rollouts[i]),
            groups=int(number[i]),
            prompts=int(tables["equal"][i].dof) + 1,
            group_size=int(modes[i]),
            unequal_sizes=int(odd[i]),
            mean_reward=float(reward[i]),
            lost_tokens=lost_tokens[i],
            length=length[i],
            surprise=logp[i],
            **{name: shares[i] for name, shares in tables.items()},
        )
        for i in range(count)
    )


def _quotient(top: np.ndarray, bottom: np.ndarray) -> list[float | None]:
    return [float(a / b) if b > 0 else None for a, b in zip(top, bottom, strict=True)]


def _modes(size: np.ndarray, by: np.ndarray, count: int) -> np.ndarray:
    """The most frequent size in each part, the larger one of a tie."""
    stride = int(size.max()) + 1
    pairs, times = tally(by * stride + size)
    order = np.lexsort([pairs % stride, times])
    modes = np.zeros(count, np.int64)
    modes[pairs[order] // stride] = pairs[order] % stride  # the last assignment, the most frequent, stays
    return modes


@dataclass(frozen=True)
class Bin:
    """Groups by their success rate: ``share`` of all; ``pull``, the mean factor of the estimator on the difference of
    a reward from its group's mean, where leave-one-out has 1 (NaN without a group of different rewards)."""

    name: str
    groups: int
    share: Interval
    pull: float


def histogram(
    cells: Cells, rule: Success, advantages: Float[np.ndarray, " cell"], centred: np.ndarray
) -> tuple[Bin, ...]:
    """Return groups by success rate: none, five equal intervals, all.

    Args:
        cells: Rollouts, added up.
        rule: Which rewards are successes.
        advantages: The advantage of each cell by the estimator in use.
        centred: The reward of each cell less its group's mean.
    """
    groups = cells.groups
    won = successes(cells, rule)
    inside = (won > 0) & (won < groups.size)
    place = np.where(inside, 1 + 5 * won // groups.size, np.where(won == 0, 0, 6))
    square = groups.sum(cells.n * centred**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = groups.sum(cells.n * advantages * centred) / square * (groups.size - 1) / groups.size
    bins, clusters = [], groups.by_prompt
    weights = clusters.weights(np.ones(len(place)))
    for i, name in enumerate(BINS):
        in_bin = place == i
        some = in_bin & ~groups.equal & (square > 0)
        part = clusters.share(in_bin, weights)
        bins.append(Bin(name, int(in_bin.sum()), part, float(slope[some].mean()) if some.any() else np.nan))
    return tuple(bins)


@dataclass(frozen=True)
class Prompts:
    """Prompts by all their rollouts: ``always`` solved, ``never`` solved, ``mixed``, as shares of the prompts.
    ``rollouts``: the median per prompt. ``never_bound``: a prompt never solved in that many may still have a success
    rate up to this (Jeffreys, 95 %); one always solved may have one down to 1 minus this. ``recovered``: of the equal
    groups, the share whose prompt has both successes and failures elsewhere in the dump."""

    count: int
    rollouts: int
    always: Interval
    never: Interval
    mixed: Interval
    never_bound: float
    recovered: Interval


@dataclass(frozen=True, eq=False)
class PromptTable:
    """Every prompt: its number, rollouts, successes, success rate with Jeffreys' interval, and class."""

    prompt: Int[np.ndarray, " prompt"]
    rollouts: Int[np.ndarray, " prompt"]
    successes: Int[np.ndarray, " prompt"]
    low: Float[np.ndarray, " prompt"]
    high: Float[np.ndarray, " prompt"]

    @property
    def kinds(self) -> np.ndarray:
        """always, never or mixed."""
        some = np.where(self.successes == self.rollouts, "always", "mixed")
        return np.where(self.successes == 0, "never", some)


def prompt_table(cells: Cells, rule: Success) -> PromptTable:
    """Prompts with all their rollouts in the dump."""
    prompt, place = distinct(cells.prompt)
    rollouts = np.bincount(place, cells.n).astype(np.int64)
    won = np.bincount(place, cells.n * (cells.reward > rule.above)).astype(np.int64)
    # Many prompts have the same counts, and two counts in one number are told apart in a tenth of the time.
    stride = int(rollouts.max(initial=0)) + 1
    pairs, of_prompt = np.unique(rollouts * stride + won, return_inverse=True)
    low, high = (end[of_prompt] for end in jeffreys(pairs % stride, pairs // stride))
    return PromptTable(prompt, rollouts, won, low, high)


def prompts(cells: Cells, table: PromptTable) -> Prompts:
    """Return how many prompts have successes and failures, and so a signal."""
    groups = cells.groups
    clusters = Clusters(table.prompt)
    always, never = table.successes == table.rollouts, table.successes == 0
    mixed = ~always & ~never
    median = int(np.median(table.rollouts))
    bound = float(jeffreys(np.array([0]), np.array([median]))[1][0])
    again = mixed[np.searchsorted(table.prompt, groups.prompt)] & groups.equal
    return Prompts(
        len(table.prompt),
        median,
        clusters.share(always.astype(float)),
        clusters.share(never.astype(float)),
        clusters.share(mixed.astype(float)),
        bound,
        groups.by_prompt.share(again.astype(float), groups.equal.astype(float)),
    )
