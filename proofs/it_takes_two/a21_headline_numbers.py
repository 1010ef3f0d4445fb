"""A21: the headline numbers, recomputed from the published table, with the aggregation that gives each."""

import itertools
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
MEANS = ("arithmetic", "geometric", "harmonic", "median")
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
METRICS = {"Mean@32": (0,), "Pass@32": (1,), "both": (0, 1)}


def exact(value):
    return sp.Rational(value.numerator, value.denominator)


def cells(settings, metrics):
    """{(setting, benchmark, metric): (value at G = 2, value at G = 16)}, exact decimals."""
    computed = {}
    for setting, metric in itertools.product(settings, metrics):
        pair_size, sixteen = (TABLE[setting][g][1 + metric].split() for g in (0, 1))
        for name, a, b in zip(BENCHMARKS, pair_size, sixteen, strict=True):
            computed[setting, name, metric] = Fraction(a), Fraction(b)
    return computed


def ratios(settings, metrics, group):
    """The ratios of G = 2 to G = 16 after cells were added up."""
    sums: dict[object, tuple[Fraction, Fraction]] = {}
    for cell, (a, b) in cells(settings, metrics).items():
        x, y = sums.get(GROUPS[group](cell), (Fraction(0), Fraction(0)))
        sums[GROUPS[group](cell)] = x + a, y + b
    return [x / y for x, y in sums.values()]


def average(values, mean):
    """A mean of fractions as a fraction; of the geometric one its power."""
    if mean == "geometric":
        product = Fraction(1)
        for x in values:
            product *= x
        return product
    if mean == "harmonic":
        return len(values) / sum(1 / x for x in values)
    if mean == "median":
        row = sorted(values)
        return (row[(len(row) - 1) // 2] + row[len(row) // 2]) / 2
    return sum(values) / len(values)


def at_least(values, mean, level):
    """Return True if the mean is at least the level, decided in fractions: a geometric mean by its power."""
    level = Fraction(level)
    return average(values, mean) >= (level ** len(values) if mean == "geometric" else level)


def search(settings, low, high):
    """Every aggregation whose value lies in [low, high)."""
    computed = []
    for (label, chosen), group, mean in itertools.product(METRICS.items(), GROUPS, MEANS):
        values = ratios(settings, chosen, group)
        if (
            at_least(values, mean, low)
            and not at_least(values, mean, high)
            and (len(values) > 1 or mean == "arithmetic")
        ):
            computed.append((label, group, mean))
    return computed


def hours(settings):
    return [tuple(Fraction(TABLE[s][g][0]) for g in (0, 1)) for s in settings]


share = sp.Symbol("S", positive=True)
epochs, prompts = (sp.Symbol(name, integer=True, positive=True) for name in ("e", "n"))
two, sixteen, two_update, sixteen_update = sp.symbols("R2 R16 U2 U16", positive=True)

rollouts = sy.Claim(
    id="A21a",
    title="12.5 % of the rollouts",
    statement=sy.Statement(
        setting="The same prompts, the same number of epochs",
        forall={prompts: sy.whole(1), epochs: sy.whole(1)},
        quantities={
            two: sy.Quantity("R_2", "the rollouts of n prompts in e epochs with two per prompt"),
            sixteen: sy.Quantity("R_{16}", "those with sixteen per prompt"),
            two_update: sy.Quantity("U_2", "the rollouts of one update with 256 prompts of two"),
            sixteen_update: sy.Quantity("U_{16}", "those of one update with 32 prompts of sixteen"),
        },
        goals={
            "per prompt": sp.Eq(two, sp.Rational("0.125") * sixteen),
            "per update": sp.Eq(two_update, sixteen_update),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v2",
        "abstract and table",
        says="two-rollout training needs 12.5 % of the rollouts of sixteen",
    ),
    verdict="proved",
    scope="per prompt, and over the same number of epochs; each update uses the same 512 rollouts",
    proof=(
        "n prompts in e epochs take 2 n e rollouts or 16 n e, and 2/16 is 0.125. An update has 256 prompts of two or 32 "
        "of sixteen, both 512."
    ),
    finding=("Per update nothing is saved: the saving is that an epoch has eight times fewer updates."),
)


@rollouts.step(
    "Counted",
    route="enumeration",
    shows="all rollouts of 1 to 40 prompts in 1 to 3 epochs counted one by one",
)
def counted(pair_size=2):
    def count(size, n, e):
        return sum(1 for _ in itertools.product(range(e), range(n), range(size)))

    for n, e in itertools.product((1, 2, 7, 40), (1, 2, 3)):
        rollouts.goal("per prompt").holds(
            {two: count(pair_size, n, e), sixteen: count(16, n, e)}, at={prompts: n, epochs: e}
        )
    rollouts.goal("per update").holds(
        {two_update: count(pair_size, 256, 1), sixteen_update: count(16, 32, 1)}
    )


@rollouts.step(
    "For any numbers", route="sympy", shows=r"$2 n e$ and $16 n e$; $2 \cdot 256$ and $16 \cdot 32$"
)
def any_numbers(large=16):
    rollouts.goal("per prompt").holds({two: 2 * prompts * epochs, sixteen: large * prompts * epochs})
    rollouts.goal("per update").holds({two_update: 2 * 256, sixteen_update: large * 32})


rollouts.sabotage("four rollouts", counted, pair_size=4)
rollouts.sabotage("a group of eight", any_numbers, large=8)


time = sy.Claim(
    id="A21b",
    title="21 % of the training time",
    statement=sy.Statement(
        setting="The hours of the table, as printed",
        given={
            "aggregation": sy.Hypothesis(
                "the share is the mean of the five settings' ratios, or the hours added up over the four without the "
                "distilled model",
                stated_by="ours",
            )
        },
        quantities={share: sy.Quantity("S", "the share of the time of sixteen rollouts that two take")},
        goals={
            "rounds to 21 %": sp.And(sp.Ge(share, sp.Rational("0.205")), sp.Lt(share, sp.Rational("0.215")))
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v2 and v3",
        "abstract",
        says="two-rollout training takes 21 % of the time",
        caveat="the abstract does not say how the settings are averaged",
    ),
    verdict="conditional",
    scope="the hours of the table, and all hours within their rounding",
    proof=(
        "The ratio of the hours is taken in each of the five settings and averaged, in fractions: 21.01 %. Over the four "
        "settings without the distilled model the hours add up to 10.23 of 48.81, 20.96 %. Both round to 21, and z3 shows "
        "that they do for all hours that round to the printed ones. Added up over all five they give 19.8 %."
    ),
    finding=(
        "The settings range from 15.9 % to 26.1 %. Hours added up over all five give 19.8 %, which rounds to 20."
    ),
)


def pooled_time(settings):
    pairs = hours(settings)
    return exact(sum(a for a, _ in pairs) / sum(b for _, b in pairs))


def mean_time(settings):
    return exact(average([a / b for a, b in hours(settings)], "arithmetic"))


@time.step(
    "In fractions",
    route="enumeration",
    shows="the mean of the five ratios, and the sums of the hours over the four settings",
)
def time_fractions(averaged=ALL, added=FOUR):
    values = [mean_time(averaged), pooled_time(added)]
    time.goal("rounds to 21 %").holds({share: values})
    return sy.Exhibit(
        table=(
            ("aggregation", "per cent"),
            *(
                (name, str(sp.N(100 * x, 5)))
                for name, x in zip(("mean of ratios", "sums"), values, strict=True)
            ),
        )
    )


@time.step(
    "Whatever was rounded",
    route="smt",
    shows="both shares with every printed hour anywhere within its rounding",
)
def time_rounding(half="0.005", averaged=ALL, added=FOUR):
    def rounded(settings):
        for i, pair in enumerate(hours(settings)):
            x, y, ratio = sp.symbols(f"x{i} y{i} r{i}", positive=True)
            margin = sp.Rational(half)
            bounds = [abs(z - exact(h)) <= margin for z, h in zip((x, y), pair, strict=True)]
            yield x, y, ratio, [*bounds, sp.Eq(ratio * y, x)]

    rows = list(rounded(averaged))
    mean = sum(r for *_, r, _ in rows) / sp.Integer(len(rows))
    time.goal("rounds to 21 %").holds({share: mean}, where=[w for *_, where in rows for w in where])
    rows = list(rounded(added))
    where = [sp.Eq(share * sum(y for _, y, *_ in rows), sum(x for x, *_ in rows))]
    time.goal("rounds to 21 %").holds({share: share}, where=where + [w for *_, ws in rows for w in ws[:2]])


@time.counterexample(
    "Hours added up over all five settings: 17.30 of 87.21 hours are 19.84 %, which rounds to 20.",
    hours="17.30 / 87.21",
)
def pooled(settings=ALL):
    time.goal("rounds to 21 %").fails({share: pooled_time(settings)}, without="aggregation")


time.sabotage("the mean of the four ratios", time_fractions, averaged=FOUR)
time.sabotage("the sums over all five", time_fractions, added=ALL)
time.sabotage("hours known to within a tenth only", time_rounding, half="0.1")
time.sabotage("without the distilled model, where it is 21", pooled, settings=FOUR)


v3 = sy.Claim(
    id="A21c",
    title="97.6 % of the performance (v3)",
    statement=sy.Statement(
        setting="The cells of v2's table, from which v3's printed averages come",
        given={
            "metric": sy.Hypothesis("the cells are those of Mean@32", stated_by="ours"),
            "settings": sy.Hypothesis("the distilled model is left out", stated_by="ours"),
            "sums": sy.Hypothesis(
                "all cells are added up and the two sums divided, not ratios averaged", stated_by="ours"
            ),
        },
        quantities={share: sy.Quantity("S", "the performance of two rollouts over that of sixteen")},
        goals={
            "rounds to 97.6 %": sp.And(
                sp.Ge(share, sp.Rational("0.9755")), sp.Lt(share, sp.Rational("0.9765"))
            )
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "abstract",
        says="two-rollout training keeps 97.6 % of the performance",
        caveat="the abstract does not say which settings are combined, nor how",
    ),
    verdict="conditional",
    scope="the table as printed; the averages that v3 prints agree with v2's cells",
    proof=(
        "The eight averages that v3 prints are the rounded means of v2's cells, so the cells can be used. Added up over the "
        "four settings they give 97.63 %, and of the listed ways to combine them only the sum of Mean@32 rounds to 97.6, as the "
        "search in fractions shows. Pass@32, a fifth setting, or averaged ratios each give another figure."
    ),
    finding=(
        "By setting: 97.3, 101.2, 94.5 and 97.2 %. With the distilled model the same aggregation gives 97.4 "
        "%; averaged over cells instead, 96.9 %. The table shows no error bars."
    ),
)
PRINTED = {
    "1.5B, MATH": ("33.37", "34.31"),
    "7B, MATH": ("40.43", "39.94"),
    "1.5B, DAPO-Math": ("33.89", "35.87"),
    "7B, DAPO-Math": ("41.73", "42.92"),
}


def combined(settings, metric="Mean@32", group="everything"):
    return exact(average(ratios(settings, METRICS[metric], group), "arithmetic"))


@v3.step(
    "The search",
    route="enumeration",
    shows="all aggregations over the four settings in fractions: Mean@32 added up is the one that rounds to 97.6",
)
def v3_search(settings=FOUR):
    computed = search(settings, "0.9755", "0.9765")
    sy.require(
        computed == [("Mean@32", "everything", "arithmetic"), ("Mean@32", "metric", "arithmetic")],
        f"aggregations that give 97.6: {computed}",
    )
    v3.goal("rounds to 97.6 %").holds({share: combined(settings)})
    return sy.Exhibit(table=(("metric", "added up by", "then"), *computed))


@v3.step(
    "From v3's averages",
    route="sympy",
    shows="the eight averages that v3 prints are the rounded means of their five cells; the ratio of their sums",
)
def averages(metric=0):
    for setting, printed in PRINTED.items():
        for g, value in enumerate(printed):
            mean = sum(map(Fraction, TABLE[setting][g][1 + metric].split()), Fraction(0)) / 5
            sy.require(
                abs(mean - Fraction(value)) <= Fraction(1, 200),
                f"{setting}, column {g}: {mean} against {value}",
            )
    sums = [sp.Add(*[sp.Rational(row[g]) for row in PRINTED.values()]) for g in (0, 1)]
    v3.goal("rounds to 97.6 %").holds({share: sums[0] / sums[1]})


@v3.counterexample(
    "All five settings, Mean@32 added up, round to 97.4 %; Pass@32 over the four to 100.7 %; the mean of the 20 "
    "ratios of Mean@32 to 96.9 %.",
    settings=5,
)
def other_ways(settings=ALL, metric="Pass@32", group="cell"):
    goal = v3.goal("rounds to 97.6 %")
    goal.fails({share: combined(settings)}, without="settings")
    goal.fails({share: combined(FOUR, metric)}, without="metric")
    goal.fails({share: combined(FOUR, group=group)}, without="sums")
    values = combined(settings), combined(FOUR, metric), combined(FOUR, group=group)
    return sy.Exhibit(text=", ".join(str(sp.N(100 * x, 5)) for x in values))


v3.sabotage("Pass@32 in place of Mean@32", averages, metric=1)
v3.sabotage("with the distilled model", v3_search, settings=ALL)
v3.sabotage("the four settings", other_ways, settings=FOUR)
v3.sabotage("Mean@32", other_ways, metric="Mean@32")
v3.sabotage("sums, by the metric", other_ways, group="metric")


v2 = sy.Claim(
    id="A21d",
    title="98.1 % of the performance (v2)",
    statement=sy.Statement(
        setting="The cells of v2's table, all five settings",
        given={
            "cells": sy.Hypothesis(
                "the share is the mean over all 50 ratios of cells, Mean@32 and Pass@32 together",
                stated_by="ours",
            ),
            "truncated": sy.Hypothesis("it is truncated to a tenth of a per cent", stated_by="ours"),
        },
        quantities={
            share: sy.Quantity("S", "the share that is kept, in tenths of a per cent, as it is shortened")
        },
        goals={"98.1 %": sp.Eq(share, 981)},
    ),
    source=sy.Source(
        "2510.00977",
        "v2",
        "abstract",
        says="two-rollout training keeps 98.1 % of the performance",
        caveat="the abstract does not say how the table is averaged; v3 has another figure",
    ),
    verdict="conditional",
    scope=(
        "the table as printed; sums by setting, benchmark, metric, each two of them, cell or all, and four "
        "kinds of mean"
    ),
    proof=(
        "The 50 ratios are fractions of printed decimals, and their mean is 0.98182..., which truncates to 98.1 and rounds "
        "to 98.2. A search in fractions over all listed aggregations, of all five settings and of the four without the "
        "distilled model, finds none that rounds to 98.1 and this one alone that truncates to it."
    ),
    finding=(
        "No listed aggregation rounds to 98.1, and one alone truncates to it. Mean@32 by itself gives 96.5 to 97.6 %, "
        "Pass@32 by itself 99.0 to 101.1 %: by this aggregation the figure averages both metrics."
    ),
)


@v2.step(
    "The search",
    route="enumeration",
    shows=(
        "all aggregations in fractions, of five settings and of four: none rounds to 98.1, one alone truncates to it; "
        "Mean@32 lies in [96.5, 97.65) and Pass@32 in [98.95, 101.1) by each of them"
    ),
)
def v2_search(low="0.9805"):
    for settings in (ALL, FOUR):
        computed = search(settings, low, "0.9815")
        sy.require(not computed, f"aggregations that round to 98.1: {computed}")
        for metric, bottom, top in (("Mean@32", "0.965", "0.9765"), ("Pass@32", "0.9895", "1.011")):
            inside = [row for row in search(settings, bottom, top) if row[0] == metric]
            listed = [row for row in search(settings, "0", "2") if row[0] == metric]
            sy.require(inside == listed != [], f"{metric} leaves its range")
    hits = [(s, row) for s in (ALL, FOUR) for row in search(s, "0.981", "0.982")]
    sy.require(hits == [(ALL, ("both", "cell", "arithmetic"))], f"what truncates to 98.1: {hits}")
    ((settings, (metric, group, mean)),) = hits
    value = average(ratios(settings, METRICS[metric], group), mean)
    v2.goal("98.1 %").holds({share: int(1000 * value)})


@v2.step(
    "One fraction",
    route="sympy",
    shows=r"$\left\lfloor 1000 \cdot \frac{1}{50} \sum \frac{x_2}{x_{16}} \right\rfloor$ of the printed decimals",
)
def truncated(metrics=(0, 1)):
    values = [exact(a) / exact(b) for a, b in cells(ALL, metrics).values()]
    value = sp.Add(*values) / len(values)
    v2.goal("98.1 %").holds({share: sp.floor(1000 * value)})
    return sy.Exhibit(text=f"{sp.N(100 * value, 7)} % over {len(values)} ratios")


@v2.counterexample(
    "Rounded, the mean of the 50 ratios is 98.2 %; Mean@32 alone, added up over all settings, truncates to 97.3 %.",
    mean="98.18",
)
def rounded(shift=0, metric="Mean@32", group="everything"):
    value = combined(ALL, "both", "cell") - sp.Rational(shift)
    v2.goal("98.1 %").fails({share: sp.floor(1000 * value + sp.Rational(1, 2))}, without="truncated")
    v2.goal("98.1 %").fails({share: sp.floor(1000 * combined(ALL, metric, group))}, without="cells")


v2.sabotage("a search that reaches down to what rounds to 98.0", v2_search, low="0.9795")
v2.sabotage("Mean@32 only", truncated, metrics=(0,))
v2.sabotage("a tenth less", rounded, shift="0.001")
v2.sabotage("the 50 ratios", rounded, metric="both", group="cell")


entry, samples, nearest = sp.symbols("v N K", nonnegative=True)
count = sp.Symbol("k", integer=True, nonnegative=True)

grid = sy.Claim(
    id="A21e",
    title="Five of the Mean@32 entries are truncated, not rounded",
    statement=sy.Statement(
        setting="The Mean@32 entries of v2's table for AMC23 (40 problems), AIME25 (30), MATH-500 (500) and Minerva (272), "
        "if each is a share of 32 samples per problem; of the 40 entries five, and AMC23's smaller Pass@32 entry",
        forall={count: sy.whole(0)},
        quantities={
            entry: sy.Quantity("v", "one of the entries, in per cent"),
            samples: sy.Quantity("N", "its number of samples (of problems for Pass@32)"),
            nearest: sy.Quantity("K", "the count that lies just above a Mean@32 entry"),
        },
        goals={
            "no count rounds to it": sp.Gt(sp.Abs(100 * count / samples - entry), sp.Rational(1, 200)),
            "a count truncates to it": sp.And(
                sp.Ge(100 * nearest / samples - entry, 0),
                sp.Lt(100 * nearest / samples - entry, sp.Rational(1, 100)),
            ),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v2",
        "the table's cells",
        relation="ours",
        says="the entries; the paper does not say how they were shortened or how many samples a problem has",
    ),
    verdict="proved",
    scope=(
        "an audit note, no verdict about a claim: the four benchmarks whose size is standard; Olympiad (674 or 675 "
        "problems) has too fine a grid for Mean@32"
    ),
    proof=(
        "For each entry z3 shows that no whole number below or above it is within half a unit of the last digit, so it is "
        "no rounded count; a count exists that truncates to it. A search over all counts and all 40 entries finds "
        "the same five."
    ),
    finding=(
        "The five are 7B MATH AMC23 (64.60 and 61.79), the distilled model's AIME25 (24.89 and 26.97), 7B DAPO-Math's "
        "Minerva at two rollouts (21.95); other rows are rounded. Of the 40 Pass@32 entries at least 36 fit no count of "
        "problems: AMC23 could only show multiples of 2.5. The values are those of an estimate that draws 32 with "
        "replacement from the 32, as some evaluators do, which understates pass@32."
    ),
)
SIZES = {"MATH-500": 500, "AMC23": 40, "Minerva": 272, "AIME25": 30}
MISFITS = {
    ("7B, MATH", "AMC23", 0): "64.60",
    ("7B, MATH", "AMC23", 1): "61.79",
    ("R1-Distill-1.5B, MATH", "AIME25", 0): "24.89",
    ("R1-Distill-1.5B, MATH", "AIME25", 1): "26.97",
    ("7B, DAPO-Math", "Minerva", 0): "21.95",
}


def table_entries(metric, per_problem):
    """(setting, benchmark, column): the entry and the number of samples behind it."""
    for (setting, name, _), pair in cells(ALL, (metric,)).items():
        for g, value in enumerate(pair):
            if name in SIZES:
                yield (setting, name, g), value, SIZES[name] * per_problem


def misfits(metric, per_problem):
    """The entries that no count rounds to, with the samples."""
    return {
        place: (value, n)
        for place, value, n in table_entries(metric, per_problem)
        if all(abs(Fraction(100 * k, n) - value) > Fraction(1, 200) for k in range(n + 1))
    }


def above(value, n):
    """The first count whose share is not below the entry."""
    return next(k for k in range(n + 1) if Fraction(100 * k, n) >= value)


@grid.step(
    "All counts",
    route="enumeration",
    shows="all 40 Mean@32 entries against all counts: five misfits, each a truncation; at least 36 of 40 Pass@32 entries",
)
def all_counts(per_problem=32):
    computed = misfits(0, per_problem)
    sy.require(set(computed) == set(MISFITS), f"entries off the grid: {sorted(computed)}")
    sy.require(len(misfits(1, 1)) >= 36, "Pass@32 entries off the grid")
    for value, n in computed.values():
        shown = {entry: exact(value), samples: n}
        for k in (*range(0, n, n // 5), above(value, n) - 1, above(value, n)):
            grid.goal("no count rounds to it").holds(shown, at={count: k})
        grid.goal("a count truncates to it").holds({**shown, nearest: above(value, n)})
    return sy.Exhibit(
        table=(
            ("setting", "benchmark", "G", "entry", "count above"),
            *(
                (s, b, str((2, 16)[g]), MISFITS[s, b, g], str(above(*computed[s, b, g])))
                for s, b, g in MISFITS
            ),
        )
    )


@grid.step(
    "Between two counts",
    route="smt",
    shows="for each of the five, and for Pass@32's 81.76 of 40 problems: whole k up to the one below, and from the one above on",
)
def between(entries=None):
    listed = entries or [(text, SIZES[name] * 32) for (_, name, _), text in MISFITS.items()]
    for text, n in [*listed, ("81.76", 40)]:
        shown = {entry: sp.Rational(text), samples: n}
        top = sp.ceiling(sp.Rational(text) * n / 100)
        for part in (count <= top - 1, count >= top):  # every whole number is in one of the two
            grid.goal("no count rounds to it").holds(shown, where=[part])


@grid.step(
    "The count above",
    route="sympy",
    shows=r"$K = \lceil v N / 100 \rceil$ for the five entries",
)
def count_above(shift=0):
    for (_, name, _), text in MISFITS.items():
        value, n = sp.Rational(text), SIZES[name] * 32
        grid.goal("a count truncates to it").holds(
            {entry: value, samples: n, nearest: sp.ceiling(value * n / 100) + shift}
        )


grid.sabotage("with 64 samples per problem", all_counts, per_problem=64)
grid.sabotage("64.61, which is 827 of 1280 rounded", between, entries=[("64.61", 1280)])
grid.sabotage("the count below", count_above, shift=-1)
