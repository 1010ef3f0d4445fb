"""Published rules for spending rollouts, on tasks that can be enumerated, against the exact optimum.

Rules that fix every prompt's group size beforehand, from success rates that are known here without error:

- ``even``: the same for all.
- ``optimal``, ``vip`` (2602.01601) and ``gvm`` (2505.02391): as in ``allocation``.
- ``knapsack`` (2509.25849): maximise the sum of (1 - p^G - (1-p)^G) p (1-p)^2, 2 to 128 rollouts each. Greedy is exact,
  for the value is concave in G; a prompt with p = 0 or 1 has none.
- ``ada`` (2510.04996, Reinforce-Ada-Est; the code's ``ray_trainer_ema.py``): a share in proportion to 1/p beyond the
  least. The code gives one rollout at least, which is no group: here two; and its prior on p is left out.

Success rates are never known: ``with_probes`` is exactly what a rule is worth where they come from rollouts that are
spent on them, as GVM's do and as the arms ``allocation-...`` of ``gradvar train`` do.

Rules that look while they draw: ``resampling`` (DAPO, 2503.14476: groups of equal rewards are replaced by those of new
prompts) and ``until_both`` (the balanced stopping of Reinforce-Ada-Seq, second-hand: until k correct and k wrong ones
are there, or the most). Their laws are exact; where they stop depends on the rewards, so they change what is
estimated, and no variance is compared.
"""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from gradvar.core.checks import at_least, one_of
from gradvar.measure.advise.allocation import Numbers, split_sizes, within_variance
from gradvar.measure.exact.tables import ExactTables

RULES = ("even", "optimal", "vip", "gvm", "knapsack", "ada")
_LEAST, _MOST = 2, 128
_SMALLEST = 1e-6  # success rate of which Reinforce-Ada takes the inverse at least


class Spent(NamedTuple):
    """Sizes of a rule; the variance of leave-one-out within prompts (the mean gradient's), over the optimum's; and the
    expected share of groups whose rewards differ."""

    sizes: Int[np.ndarray, " prompt"]
    variance: float
    ratio: float
    mixed: float


class Resampled(NamedTuple):
    """What DAPO's resampling does: groups drawn for each that is kept, the share of each prompt among those kept, and
    the factor of grad p of a prompt in the expected gradient of leave-one-out, over its factor without resampling."""

    cost: float
    share: Float[np.ndarray, " prompt"]
    factor: float


def exact_numbers(tables: ExactTables) -> Numbers:
    """sigma_o^2, Delta, p and v1 of every prompt, exactly, for rewards in {0, 1} on policy.

    sigma_o^2 = E|(r - p) s|^2 - |grad p|^2, Delta = p (1-p) E|s|^2 + |grad p|^2, v1 = E[|s|^2 | r = 1].

    Raises:
        ValueError: For other rewards.
    """
    rewards, chances = np.asarray(tables.rewards, float), np.asarray(tables.probs, float)
    if not np.isin(rewards, (0.0, 1.0)).all():
        raise ValueError("tables: rewards other than 0 and 1; give a task with right and wrong answers")
    squares = (np.asarray(tables.scores, float).sum(2) ** 2).sum(-1)  # [prompt, completion]
    p = (chances * rewards).sum(1)
    slope = (np.asarray(tables.gradients, float) ** 2).sum(-1)  # |grad p|^2, [prompt]
    noise = (chances * (rewards - p[:, None]) ** 2 * squares).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        v1 = (chances * rewards * squares).sum(1) / p
    return {
        "rollout": noise - slope,
        "pair": p * (1 - p) * (chances * squares).sum(1) + slope,
        "p": p,
        "v1": v1,
    }


def mixed_chance(
    p: Float[np.ndarray, " prompt"], sizes: Float[np.ndarray, " prompt"] | int
) -> Float[np.ndarray, " prompt"]:
    """The chance that a group's rewards differ, 1 - p^G - (1-p)^G.

    >>> mixed_chance(np.array([0.5, 1.0]), 2).tolist()
    [0.5, 0.0]
    """
    return 1 - p**sizes - (1 - p) ** sizes


def rule_sizes(rule: str, numbers: Numbers, total: int) -> Int[np.ndarray, " prompt"]:
    """Group sizes of at least 2 that a rule gives, with the sum ``total``.

    Raises:
        ValueError: For an unknown rule, or a total that does not give every prompt two rollouts.
    """
    one_of("rule", rule, RULES)
    prompts = len(numbers["p"])
    at_least("total", total, _LEAST * prompts)
    if rule in ("optimal", "vip", "gvm"):
        return split_sizes(rule, numbers, total)
    sizes = np.full(prompts, _LEAST)
    if rule == "even":
        sizes = np.full(prompts, total // prompts)
        sizes[: total % prompts] += 1
    if rule == "knapsack":
        p = numbers["p"]
        value = p * (1 - p) ** 2
        for _ in range(total - int(sizes.sum())):
            gain = value * (mixed_chance(p, sizes + 1) - mixed_chance(p, sizes))
            # the rest goes round where no task has any value left
            gain = np.where(sizes < _MOST, gain, -np.inf)
            sizes[int(np.lexsort((sizes, -gain))[0])] += 1
    if rule == "ada":
        weights = 1 / np.maximum(numbers["p"], _SMALLEST)
        wanted = (total - _LEAST * prompts) * weights / weights.sum()
        sizes = sizes + np.floor(wanted).astype(int)
        order = np.argsort(np.floor(wanted) - wanted, kind="stable")
        sizes[order[: total - int(sizes.sum())]] += 1
    return sizes


def spend(numbers: Numbers, total: int) -> dict[str, Spent]:
    """Every rule at the same number of rollouts."""
    sizes = {rule: rule_sizes(rule, numbers, total) for rule in RULES}
    prompts = len(numbers["p"])
    variances = {
        rule: float(within_variance(numbers, size.astype(float)).sum()) / prompts**2
        for rule, size in sizes.items()
    }
    return {
        rule: Spent(
            size,
            variances[rule],
            variances[rule] / variances["optimal"],
            float(mixed_chance(numbers["p"], size).mean()),
        )
        for rule, size in sizes.items()
    }


def with_probes(rule: str, numbers: Numbers, group: int, probes: int) -> float:
    """The expected variance within prompts where a rule sees rates of ``probes`` rollouts that are not trained on, over
    that of the even split of all rollouts, probes included: above 1, probing does not pay.

    All numbers of successes are enumerated. Rates are (k + 1) / (probes + 2), for ``gvm`` k / probes, as the arms have
    them; v1 is taken as known, which favours ``gvm``.

    Args:
        rule: One of ``RULES`` but ``optimal``, which needs more than rates.
        numbers: The exact numbers of a few prompts, (probes + 1)^prompts of which are enumerated.
        group: Rollouts of a prompt on average, probes included.
        probes: Of these, spent on its rate.
    """
    one_of("rule", rule, tuple(name for name in RULES if name != "optimal"))
    at_least("probes", probes, 1)
    at_least("group", group, probes + _LEAST)
    prompts = len(numbers["p"])
    counts = np.arange(probes + 1)
    chances = stats.binom.pmf(counts, probes, numbers["p"][:, None])  # [prompt, successes]
    rates = counts / probes if rule == "gvm" else (counts + 1) / (probes + 2)
    expected = 0.0
    for successes in itertools.product(range(probes + 1), repeat=prompts):
        chance = float(np.prod(chances[np.arange(prompts), successes]))
        if chance > 0:
            seen = numbers | {"p": rates[list(successes)]}
            sizes = rule_sizes(rule, seen, prompts * (group - probes)).astype(float)
            expected += chance * float(within_variance(numbers, sizes).sum())
    return expected / float(within_variance(numbers, np.full(prompts, float(group))).sum())


def resampling(p: Float[np.ndarray, " prompt"], group: int) -> Resampled:
    """DAPO's resampling with prompts drawn evenly, until a group is mixed, any number of attempts.

    A kept group is of prompt q with a chance in proportion to m_q = 1 - p^G - (1-p)^G, and 1 / mean m groups are drawn
    for each. As groups of equal rewards give no gradient, the expected gradient of every prompt is multiplied by the
    same factor, 1 / mean m: a larger step, in the same direction, at the same gradient per rollout drawn.

    Raises:
        ValueError: Where no prompt can have a mixed group.
    """
    at_least("group", group, 2)
    chance = mixed_chance(np.asarray(p, float), group)
    if not chance.max() > 0:
        raise ValueError("p: all are 0 or 1, so that no group is ever mixed; give a prompt between")
    return Resampled(float(1 / chance.mean()), chance / chance.sum(), float(1 / chance.mean()))


def until_both(p: float, least: int, most: int) -> Float[np.ndarray, " drawn"]:
    """The law of how many rollouts of a prompt are drawn, 0 to ``most``: one by one until ``least`` are right and as
    many wrong, or there are ``most``.

    >>> until_both(0.5, 1, 3).tolist()
    [0.0, 0.0, 0.5, 0.5]
    """
    at_least("least", least, 1)
    at_least("most", most, 2 * least)
    drawn = np.arange(most + 1)
    # not yet done after n draws: fewer than ``least`` right, or fewer than ``least`` wrong (never both from 2 least on)
    few_right = stats.binom.cdf(least - 1, drawn, p)
    few_wrong = stats.binom.cdf(least - 1, drawn, 1 - p)
    both = np.where(drawn < 2 * least, 0.0, 1 - few_right - few_wrong)
    both[-1] = 1.0
    return np.diff(both, prepend=0.0)
