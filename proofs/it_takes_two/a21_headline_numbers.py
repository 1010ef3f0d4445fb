"""A21: the headline numbers, recomputed from the published table, with the aggregation that gives each."""

import itertools
import math
import statistics
from fractions import Fraction

import sympy as sp

from gradvar import symbolic as sy

BENCHMARKS = ("MATH-500", "AMC23", "Minerva", "AIME25", "Olympiad")
# Setting: ((hours, Mean@32 x 5, Pass@32 x 5) at G = 2, the same at G = 16). Figures of v2's table.
TABLE = {
    "1.5B, MATH": (
        ("2.05", "69.28 49.53 16.25 9.48 22.31", "87.43 81.76 33.26 32.88 37.24"),
        ("8.53", "70.24 51.25 16.84 10.10 23.11", "87.24 83.46 33.46 35.82 37.82"),
    ),
    "7B, MATH": (
        ("2.43", "75.23 64.60 23.13 12.81 26.39", "89.77 81.53 38.45 38.85 40.20"),
        ("9.30", "75.90 61.79 22.81 13.23 25.99", "88.24 80.77 37.68 34.22 40.11"),
    ),
    "R1-Distill-1.5B, MATH": (
        ("7.07", "74.36 56.95 21.28 24.89 33.69", "88.85 88.63 38.34 46.79 45.86"),
        ("38.40", "75.98 58.91 21.76 26.97 35.39", "89.16 87.26 38.29 56.36 47.05"),
    ),
    "1.5B, DAPO-Math": (
        ("2.12", "68.81 52.19 16.79 8.13 23.52", "87.36 85.77 33.61 29.33 39.29"),
        ("13.30", "70.66 56.56 18.00 9.58 24.56", "87.04 85.54 34.16 32.31 39.19"),
    ),
    "7B, DAPO-Math": (
        ("3.63", "77.43 64.84 21.95 14.58 29.86", "90.51 91.59 38.05 33.03 45.24"),
        ("17.68", "77.35 69.69 24.45 14.27 28.86", "88.79 87.31 40.04 33.73 39.84"),
    ),
}
ALL = tuple(TABLE)
FOUR = tuple(s for s in ALL if not s.startswith("R1"))
MEANS = {
    "arithmetic": lambda xs: float(sum(xs) / len(xs)),
    "geometric": lambda xs: math.exp(sum(math.log(x) for x in xs) / len(xs)),
    "harmonic": lambda xs: float(len(xs) / sum(1 / x for x in xs)),
    "median": lambda xs: float(statistics.median(xs)),
}
# Which cells are added up before a ratio is taken.
GROUPS = {
    "everything": lambda c: 0,
    "setting": lambda c: c[0],
    "benchmark": lambda c: c[1],
    "cell": lambda c: c,
    "metric": lambda c: c[2],
    "setting and metric": lambda c: (c[0], c[2]),
    "benchmark and metric": lambda c: c[1:],
    "setting and benchmark": lambda c: c[:2],
}


def cells(settings, metrics):
    """{(setting, benchmark, metric): (value at G = 2, value at G = 16)}, exact decimals."""
    computed = {}
    for setting, metric in itertools.product(settings, metrics):
        pair_size, sixteen = (TABLE[setting][g][1 + metric].split() for g in (0, 1))
        for name, a, b in zip(BENCHMARKS, pair_size, sixteen, strict=True):
            computed[setting, name, metric] = Fraction(a), Fraction(b)
    return computed


def retained(settings, metrics, group, mean):
    """The share of performance kept, per cent, by one aggregation."""
    sums: dict[object, tuple[Fraction, Fraction]] = {}
    for cell, (a, b) in cells(settings, metrics).items():
        x, y = sums.get(GROUPS[group](cell), (Fraction(0), Fraction(0)))
        sums[GROUPS[group](cell)] = x + a, y + b
    return 100 * MEANS[mean]([x / y for x, y in sums.values()])


def search(settings, low, high):
    """Every aggregation whose value lies in [low, high)."""
    metrics = {"Mean@32": (0,), "Pass@32": (1,), "both": (0, 1)}
    computed = []
    for (label, chosen), group, mean in itertools.product(metrics.items(), GROUPS, MEANS):
        value = retained(settings, chosen, group, mean)
        if low <= value < high and (mean == "arithmetic" or group not in ("everything",)):
            computed.append((label, group, mean, f"{value:.3f}"))
    return computed


def hours(settings):
    return [tuple(Fraction(TABLE[s][g][0]) for g in (0, 1)) for s in settings]


rollouts = sy.Claim(
    id="A21a",
    title="12.5 % of the rollouts",
    statement=r"Two rollouts per prompt are 12.5 % of sixteen.",
    source=sy.Source("2510.00977", "v2", "abstract and table"),
    verdict="proved",
    scope="per prompt, and over the same number of epochs; each update uses the same 512 rollouts",
    finding=(
        "Per update nothing is saved: 256 prompts with 2 rollouts and 32 with 16 are both 512. The saving "
        "is that an epoch has eight times fewer updates."
    ),
)


@rollouts.step(
    "Per prompt and per epoch",
    route="enumeration",
    shows="2/16 = 1/8 for every number of prompts and epochs listed; 256 x 2 = 32 x 16",
)
def share(pair_size=2):
    sy.enumerate_rationals(
        lambda n, e: Fraction(n * e * pair_size, n * e * 16) == Fraction(125, 1000),
        (32, 256, 7500),
        (1, 10),
        what="12.5 %",
    )
    sy.require(256 * pair_size == 32 * 16, "the same number of rollouts per update")


@rollouts.step("For any numbers", route="smt", shows=r"$2 n e / (16 n e) = 1/8$")
def any_numbers(sixteen=16):
    n, e = sp.symbols("n e", positive=True)
    sy.require(sy.smt_valid([], sp.Eq(2 * n * e * 8, sixteen * n * e)), "one eighth")


rollouts.sabotage("four rollouts", share, pair_size=4)
rollouts.sabotage("a group of eight", any_numbers, sixteen=8)


time = sy.Claim(
    id="A21b",
    title="21 % of the training time",
    statement="Two-rollout training takes 21 % of the time of sixteen rollouts.",
    hypotheses=(
        (
            "the ratio is averaged over all five settings, or the hours are added up over the four without "
            "the distilled model"
        ),
    ),
    source=sy.Source("2510.00977", "v2 and v3", "abstract"),
    verdict="conditional",
    scope="the hours of the table, taken as printed",
    finding=(
        "The settings range from 15.9 % to 26.1 %. Hours added up over all five give 19.8 %, which rounds "
        "to 20."
    ),
)


def time_ratios(settings) -> dict[str, float]:
    pairs = hours(settings)
    ratios = [a / b for a, b in pairs]
    return {
        "hours added up": float(sum(a for a, _ in pairs) / sum(b for _, b in pairs)),
        **{f"{m} of ratios": f(ratios) for m, f in MEANS.items()},
    }


@time.step(
    "The search",
    route="enumeration",
    shows="all aggregations of the hours, over all five settings and over the four",
)
def time_search(expected=21):
    rows = [("settings", "aggregation", "per cent")]
    hits = []
    for label, settings in (("all five", ALL), ("without the distilled model", FOUR)):
        for name, value in time_ratios(settings).items():
            rows.append((label, name, f"{100 * value:.2f}"))
            if round(100 * value) == expected:
                hits.append((label, name))
    sy.require(
        ("all five", "arithmetic of ratios") in hits
        and ("without the distilled model", "hours added up") in hits,
        f"{expected} % by {hits}",
    )
    return sy.Exhibit(table=tuple(rows))


@time.step(
    "Whatever was rounded",
    route="smt",
    shows=(
        "with every printed hour anywhere within its rounding, the mean of the five ratios stays in [20.5 "
        "%, 21.5 %)"
    ),
)
def time_rounding(low="0.205"):
    total, assumptions = sp.Integer(0), []
    for i, (a, b) in enumerate(hours(ALL)):
        x, y = sp.symbols(f"x{i} y{i}", positive=True)
        half = sp.Rational(1, 200)
        a, b = sp.Rational(a.numerator, a.denominator), sp.Rational(b.numerator, b.denominator)
        ratio = sp.Symbol(f"r{i}", positive=True)
        assumptions += [x >= a - half, x <= a + half, y >= b - half, y <= b + half, sp.Eq(ratio * y, x)]
        total += ratio / 5
    sy.require(
        sy.smt_valid(assumptions, sp.And(total >= sp.Rational(low), total < sp.Rational("0.215"))),
        "the mean of the ratios",
    )


@time.counterexample(
    "Hours added up over all five settings: 17.30 of 87.21 hours are 19.84 %, which rounds to 20.",
    hours="17.30 / 87.21",
)
def pooled(settings=ALL):
    value = time_ratios(settings)["hours added up"]
    sy.require(round(100 * value) != 21, f"the pooled share is {100 * value:.2f} %")


time.sabotage("20 %", time_search, expected=20)
time.sabotage("a tighter lower end", time_rounding, low="0.2101")
time.sabotage("without the distilled model, where it is 21", pooled, settings=FOUR)


v3 = sy.Claim(
    id="A21c",
    title="97.6 % of the performance (v3)",
    statement="Two-rollout training keeps 97.6 % of the performance of sixteen rollouts.",
    hypotheses=(
        "Mean@32 only",
        "the distilled model left out",
        "sums over all settings and benchmarks divided, not ratios averaged",
    ),
    source=sy.Source("2510.00977", "v3", "abstract"),
    verdict="conditional",
    scope="the table as printed; the averages that v3 prints agree with v2's cells",
    finding=(
        "By setting: 97.3, 101.2, 94.5 and 97.2 %. With the distilled model the same aggregation gives 97.4 "
        "%; averaged over cells instead, 96.9 %. No error bars: differences of one run each."
    ),
)
PRINTED = {
    "1.5B, MATH": ("33.37", "34.31"),
    "7B, MATH": ("40.43", "39.94"),
    "1.5B, DAPO-Math": ("33.89", "35.87"),
    "7B, DAPO-Math": ("41.73", "42.92"),
}


@v3.step(
    "v3's averages from v2's cells",
    route="enumeration",
    shows="all eight printed averages are the rounded means of their five cells",
)
def averages(metric=0):
    for setting, printed in PRINTED.items():
        for g, value in enumerate(printed):
            mean = sum(map(Fraction, str(TABLE[setting][g][1 + metric]).split()), Fraction(0)) / 5
            sy.require(
                abs(mean - Fraction(value)) <= Fraction(1, 200),
                f"{setting}, column {g}: {float(mean):.3f} against {value}",
            )


@v3.step(
    "The search",
    route="enumeration",
    shows="over the four settings one kind of aggregation gives 97.6: Mean@32, everything added up",
)
def v3_search(settings=FOUR):
    computed = search(settings, 97.55, 97.65)
    sy.require(
        {(label, group) for label, group, _, _ in computed}
        == {("Mean@32", "everything"), ("Mean@32", "metric")},
        f"aggregations that give 97.6: {computed}",
    )
    return sy.Exhibit(table=(("metric", "added up by", "then", "per cent"), *computed))


@v3.step(
    "Whatever was rounded",
    route="smt",
    shows=(
        "with each of the 40 cells anywhere within its rounding, the share stays in [97.60, 97.67): 97.6, "
        "or 97.7 at the very most"
    ),
)
def v3_rounding(high="0.9767"):
    assumptions, sums = [], [sp.Integer(0), sp.Integer(0)]
    for i, pair in enumerate(cells(FOUR, (0,)).values()):
        for g, value in enumerate(pair):
            x, printed = (
                sp.Symbol(f"x{i}_{g}", positive=True),
                sp.Rational(value.numerator, value.denominator),
            )
            assumptions += [x >= printed - sp.Rational(1, 200), x <= printed + sp.Rational(1, 200)]
            sums[g] += x
    claim = sp.And(sums[0] >= sp.Rational("0.9760") * sums[1], sums[0] < sp.Rational(high) * sums[1])
    sy.require(sy.smt_valid(assumptions, claim), "the share of the sums")


@v3.counterexample("All five settings, Mean@32 added up: 97.36 %, which rounds to 97.4.", settings=5)
def with_distilled(settings=ALL):
    value = retained(settings, (0,), "everything", "arithmetic")
    sy.require(f"{value:.1f}" != "97.6", f"{value:.2f} %")


v3.sabotage("Pass@32 in place of Mean@32", averages, metric=1)
v3.sabotage("with the distilled model", v3_search, settings=ALL)
v3.sabotage("an upper end below the value", v3_rounding, high="0.9763")
v3.sabotage("the four settings", with_distilled, settings=FOUR)


v2 = sy.Claim(
    id="A21d",
    title="98.1 % of the performance (v2)",
    statement="Two-rollout training keeps 98.1 % of the performance of sixteen rollouts.",
    hypotheses=(
        "the mean over all 50 ratios of cells, Mean@32 and Pass@32 together",
        "truncated, not rounded: 98.18",
    ),
    source=sy.Source("2510.00977", "v2", "abstract"),
    verdict="conditional",
    scope=(
        "the table as printed; sums by setting, benchmark, metric, each two of them, cell or all, and four "
        "kinds of mean"
    ),
    finding=(
        "No aggregation over all five settings, nor over the four without the distilled model, rounds to "
        "98.1, and one alone truncates to it. Mean@32 by itself gives 96.5 to 97.6 %, Pass@32 by itself 99.0 "
        "to 101.1 %: the figure averages accuracy with best-of-32."
    ),
)


@v2.step(
    "No aggregation rounds to it",
    route="enumeration",
    shows=(
        "all aggregations of the whole table (five settings, and four); one alone lies in [98.1, 98.2); either "
        "metric by itself stays away from it"
    ),
)
def v2_search(low=98.05):
    for settings in (ALL, FOUR):
        computed = search(settings, low, 98.15)
        sy.require(not computed, f"aggregations that give 98.1: {computed}")
    truncated_to = [(s, *hit[:3]) for s in (ALL, FOUR) for hit in search(s, 98.1, 98.2)]
    sy.require(
        truncated_to == [(ALL, "both", "cell", "arithmetic")], f"what truncates to 98.1: {truncated_to}"
    )
    for metric, low_end, high_end in ((0, 96.5, 97.65), (1, 98.95, 101.1)):
        values = [
            retained(s, (metric,), group, mean) for s in (ALL, FOUR) for group in GROUPS for mean in MEANS
        ]
        sy.require(
            low_end <= min(values) and max(values) <= high_end,
            f"metric {metric}: {min(values)}, {max(values)}",
        )


@v2.step(
    "The one that truncates to it",
    route="sympy",
    shows=(
        r"$\frac{1}{50} \sum \frac{\mathrm{G=2}}{\mathrm{G=16}}$ as one exact fraction lies in $[0.981, "
        r"0.982)$ and above $0.9815$"
    ),
)
def truncated(metrics=(0, 1)):
    ratios = [
        sp.Rational(a.numerator, a.denominator) / sp.Rational(b.numerator, b.denominator)
        for a, b in cells(ALL, metrics).values()
    ]
    value = sp.Add(*ratios) / len(ratios)
    sy.require(
        sp.Rational("0.9815") < value < sp.Rational("0.982"), f"the mean of the ratios is {sp.N(value, 8)}"
    )
    sy.equal(sp.floor(1000 * value), 981, "truncated to a tenth of a per cent")
    return sy.Exhibit(text=f"{sp.N(100 * value, 7)} % over {len(ratios)} ratios")


@v2.counterexample(
    "Rounded, the mean of the 50 ratios is 98.2 %; Mean@32 alone, added up over all settings, is 97.4 %.",
    mean="98.18",
)
def rounded(shift=0.0):
    value = retained(ALL, (0, 1), "cell", "arithmetic") - shift
    sy.require(f"{value:.1f}" != "98.1", f"rounded {value:.1f}")


v2.sabotage("a search that reaches up to the unrounded 98.0", v2_search, low=97.95)
v2.sabotage("Mean@32 only", truncated, metrics=(0,))
v2.sabotage("a tenth less", rounded, shift=0.1)


grid = sy.Claim(
    id="A21e",
    title="Every entry is what 32 samples per problem can give",
    statement=(
        "Each Mean@32 is a rounded multiple of 1/(32 n) and each Pass@32 one of 1/n, n the number of "
        "problems (AMC23 40, AIME25 30, MATH-500 500, Minerva 272)."
    ),
    source=sy.Source("2510.00977", "v2", "the table's cells"),
    verdict="refuted",
    scope=(
        "the four benchmarks whose size is standard; Olympiad (674 or 675 problems) has too fine a grid for "
        "Mean@32"
    ),
    finding=(
        "Five of the Mean@32 entries are not the nearest two-decimal value of any count: 7B MATH AMC23 "
        "(64.60 and 61.79), the distilled model's AIME25 (24.89 and 26.97), 7B DAPO-Math's Minerva at two "
        "rollouts (21.95); all five are truncations of one, while other rows are rounded. Of the Pass@32 "
        "entries hardly any fits: with 32 samples each problem is solved or not, so AMC23 could only show "
        "multiples of 2.5. The values are those of an estimate that draws 32 with replacement from the 32, "
        "as some evaluators do, which understates pass@32."
    ),
)
SIZES = {"MATH-500": 500, "AMC23": 40, "Minerva": 272, "AIME25": 30}
MISFITS = {
    ("7B, MATH", "AMC23", 0),
    ("7B, MATH", "AMC23", 1),
    ("R1-Distill-1.5B, MATH", "AIME25", 0),
    ("R1-Distill-1.5B, MATH", "AIME25", 1),
    ("7B, DAPO-Math", "Minerva", 0),
}


def fits(value, count, *, truncate=False):
    """Some k/count per cent has this two-decimal form."""
    near = int(value * count / 100)
    for k in (near - 1, near, near + 1, near + 2):
        exact = Fraction(100 * k, count)
        if truncate and Fraction(0) <= exact - value < Fraction(1, 100):
            return True
        if not truncate and abs(exact - value) <= Fraction(1, 200):
            return True
    return False


def misfits(metric, samples):
    computed = set()
    for (setting, name, _), pair in cells(ALL, (metric,)).items():
        for g, value in enumerate(pair):
            if name in SIZES and not fits(value, SIZES[name] * samples):
                computed.add((setting, name, g))
    return computed


@grid.step(
    "The grid test",
    route="enumeration",
    shows="all 40 Mean@32 entries of the four benchmarks; the misfits are truncations",
)
def mean_grid(samples=32):
    computed = misfits(0, samples)
    sy.require(computed == MISFITS, f"entries off the grid: {sorted(computed)}")
    for setting, name, g in computed:
        value = cells((setting,), (0,))[setting, name, 0][g]
        sy.require(
            fits(value, SIZES[name] * samples, truncate=True),
            f"{setting}, {name}: {value} is not truncated either",
        )
    return sy.Exhibit(
        table=(("setting", "benchmark", "G", "entry", "nearest"), *(row(*m) for m in sorted(computed)))
    )


def row(setting, name, g):
    value = cells((setting,), (0,))[setting, name, 0][g]
    count = SIZES[name] * 32
    nearest = Fraction(100 * round(value * count / 100), count)
    return setting, name, str((2, 16)[g]), f"{float(value):.2f}", f"{float(nearest):.4f}"


@grid.step(
    "Between two counts",
    route="smt",
    shows=r"no whole k has $|100 k/1280 - 64.60| \le 0.005$: k would lie strictly between 826 and 827",
)
def between(entry="64.60"):
    k = sp.Symbol("k", real=True)
    value = sp.Rational(entry)
    near = [sp.Abs(100 * k / 1280 - value) <= sp.Rational(1, 200)]
    sy.require(sy.smt_valid(near, sp.And(k > 826, k < 827)), "no whole number of correct samples")


@grid.counterexample(
    "AMC23 has 40 problems: 64.60 % of 1280 samples would be 826.88 of them; Pass@32 of 81.76 % would be "
    "32.7 problems.",
    entry="64.60",
    count=1280,
)
def amc(entry="64.60", best="81.76"):
    sy.require(not fits(Fraction(entry), 1280), f"{entry} is a multiple of 1/1280")
    sy.require(not fits(Fraction(best), 40), f"{best} is a multiple of 1/40")
    off = misfits(1, 1)
    sy.require(len(off) >= 36, f"{len(off)} of 40 Pass@32 entries off the grid")


grid.sabotage("with 64 samples per problem", mean_grid, samples=64)
grid.sabotage("64.61, which is 827 of 1280 rounded", between, entry="64.61")
grid.sabotage("an entry that fits", amc, entry="49.53")
