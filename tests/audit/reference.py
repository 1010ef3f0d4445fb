"""The audit again, slowly: plain Python over a list of rows, with no array and nothing of the package."""

import itertools
import math
import statistics
from collections import Counter, defaultdict
from fractions import Fraction


def grouped(rows):
    """{(step, group or prompt): [rows]}."""
    found = defaultdict(list)
    for row in rows:
        found[row["step"], str(row.get("group", row["prompt"]))].append(row)
    return dict(found)


def is_equal(rewards):
    return all(r == rewards[0] for r in rewards)


def ratio(pairs):
    """(value, variance, clusters, effective clusters) of sum y / sum x; ``pairs`` are (cluster, y, x)."""
    ys, xs = defaultdict(float), defaultdict(float)
    for cluster, y, x in pairs:
        ys[cluster] += y
        xs[cluster] += x
    total, count = sum(xs.values()), len(xs)
    value = sum(ys.values()) / total
    squares = sum((ys[q] - value * xs[q]) ** 2 for q in xs)
    effective = total**2 / sum(x**2 for x in xs.values())
    return value, (count / (count - 1) * squares / total**2 if count > 1 else 0.0), count, effective


def wilson(value, size):
    z = statistics.NormalDist().inv_cdf(0.975)
    centre = (value + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * math.sqrt(value * (1 - value) / size + z * z / (4 * size * size))
    return max(min(centre - half, value), 0.0), min(max(centre + half, value), 1.0)


def share(pairs):
    value, variance, count, effective = ratio(pairs)
    size = value * (1 - value) / variance if variance > 0 else count
    if effective < 8:  # too few to know their variance: each is one trial at most
        size = min(size, effective)
    return (value, *wilson(value, max(size, 1.0)))


def step_figures(rows, above):
    """The figures of some steps' rows taken together."""
    groups = grouped(rows)
    table = {name: [] for name in ("equal", "solved", "hopeless", "lost", "success")}
    sizes = Counter()
    for members in groups.values():
        rewards, prompt, size = [m["reward"] for m in members], members[0]["prompt"], len(members)
        won = sum(r > above for r in rewards)
        same = is_equal(rewards)
        sizes[size] += 1
        table["equal"].append((prompt, float(same), 1.0))
        table["solved"].append((prompt, float(same and won == size), 1.0))
        table["hopeless"].append((prompt, float(same and won == 0), 1.0))
        table["lost"].append((prompt, float(same) * size, size))
        table["success"].append((prompt, won, size))
    most = max(sizes.values())
    usual = max(s for s, n in sizes.items() if n == most)
    return {
        "rollouts": len(rows),
        "groups": len(groups),
        "prompts": len({r["prompt"] for r in rows}),
        "group_size": usual,
        "unequal_sizes": sum(n for s, n in sizes.items() if s != usual),
        "mean_reward": math.fsum(r["reward"] for r in rows) / len(rows),
        **{name: share(pairs) for name, pairs in table.items()},
    }


def informative(rewards, size):
    """The share of subsets of ``size`` with two different rewards, by listing them."""
    every = list(itertools.combinations(rewards, size))
    return sum(not is_equal(subset) for subset in every) / len(every)


def advantages(name, rewards):
    """Advantages of one group by the formulas as they are printed; exact means, by fractions."""
    exact = [Fraction(r) for r in rewards]
    size, mean = len(exact), sum(exact) / len(exact)
    centred = [float(r - mean) for r in exact]
    if name == "reinforce":
        return list(rewards)
    if name == "dr_grpo":
        return centred
    if name == "rloo":
        return [float(r - (sum(exact) - r) / (size - 1)) if size > 1 else 0.0 for r in exact]
    if name in ("grpo", "grpo_sample_std"):
        ddof = int(name == "grpo_sample_std")
        std = math.sqrt(sum(c * c for c in centred) / max(size - ddof, 1))
        return [c / (std + 1e-6) for c in centred]
    if name == "maxrl":
        return [c / float(mean) if mean > 0 else 0.0 for c in centred]
    if name == "softmax":
        top = max(rewards)
        weights = [math.exp((r - top) / 0.3) for r in rewards]
        return [size * w / sum(weights) - 1 for w in weights]
    if name == "pass_at_k":
        gain = [sum(max(a - b, 0.0) for b in rewards) for a in rewards]
        return [2 * g / (size - 1) if size > 1 else 0.0 for g in gain]
    raise KeyError(name)


def histogram(rows, above):
    """Groups by success rate: none, five intervals by exact fractions, all."""
    found = [0] * 7
    for members in grouped(rows).values():
        rate = Fraction(sum(m["reward"] > above for m in members), len(members))
        found[0 if rate == 0 else 6 if rate == 1 else 1 + math.floor(5 * rate)] += 1
    return found


def prompts(rows, above):
    """{prompt: (rollouts, successes)}."""
    found = defaultdict(lambda: [0, 0])
    for row in rows:
        found[row["prompt"]][0] += 1
        found[row["prompt"]][1] += row["reward"] > above
    return {k: tuple(v) for k, v in found.items()}
