"""R9: the ratio of the text up to a token as the weight of that token's gradient."""

import itertools

import sympy as sp

from gradvar import symbolic as sy

by_prefix, by_whole, target, second_prefix, second_whole = sp.symbols("u f g v w", real=True)

claim = sy.Claim(
    id="R9",
    title=(
        "The ratio of the text up to a token weighs that token's gradient without bias, with no more variance than "
        "the whole ratio"
    ),
    statement=sy.Statement(
        setting=(
            r"A text drawn token by token from a sampler $\mu$, policy $\pi$; the term of token t is x, a score "
            "times an advantage"
        ),
        given={
            "prefix": sy.Hypothesis(
                (
                    "x depends on the text up to the token t alone; an advantage made of the reward at the end of "
                    "the drawn text does not"
                ),
                stated_by="ours",
            )
        },
        quantities={
            by_prefix: sy.Quantity("u", r"$\mathrm{E}_\mu[\rho_1 \cdots \rho_t\, x]$"),
            by_whole: sy.Quantity("f", r"$\mathrm{E}_\mu[\rho_1 \cdots \rho_T\, x]$"),
            target: sy.Quantity("g", r"$\mathrm{E}_\pi[x]$"),
            second_prefix: sy.Quantity("v", r"the second moment of $\rho_1 \cdots \rho_t\, x$"),
            second_whole: sy.Quantity("w", r"that of $\rho_1 \cdots \rho_T\, x$"),
        },
        goals={
            "up to the token": sp.Eq(by_prefix, target),
            "whole text": sp.Eq(by_whole, target),
            "less variance": sp.Le(second_prefix, second_whole),
        },
    ),
    source=sy.Source(
        "2605.07331",
        relation="not read",
    ),
    verdict="proved",
    scope=(
        "any first token and any number of continuations, which are merged two by two; both estimates have one "
        "mean, so second moments compare variances"
    ),
    proof=(
        "The ratios of later tokens have the mean one under the sampler, given the text up to t, and are "
        "independent of x given it. So they leave the mean as it is, and multiply the second moment by "
        r"$\mathrm{E}[\rho^2] \ge (\mathrm{E} \rho)^2 = 1$: merging two continuations into one does not raise it, "
        "and a single one has the ratio one. If x holds the reward of the drawn text, x depends on the later "
        "tokens; without their ratios the reward is that of the sampler's continuation, and the mean is another."
    ),
    finding=(
        "With a learned value of the policy itself the short ratio is right. With the reward at the end, as in "
        r"group methods, it takes the sampler's value $Q^\mu$ for the policy's: a bias that the whole ratio does "
        "not have."
    ),
)


@claim.step(
    "Two tokens in symbols",
    route="smt",
    shows=(
        "the first token's term: chances of both policies for the first token, and for the second after each first "
        "one"
    ),
)
def in_symbols(later=1):
    a, b = sp.symbols("a b", positive=True)  # sampler: the first token, the second after it
    p, q = sp.symbols("p q", positive=True)  # policy
    x0 = sp.Symbol("x0", real=True)
    where = [a < 1, b < 1, p < 1, q < 1]
    # After one first token; the other first token has symbols of its own and is added to it.
    rho = p / a
    rows = [(b, q / b), ((1 - b), (1 - q) / (1 - b))]
    mean_prefix = a * sum(chance for chance, _ in rows) * rho * x0
    mean_whole = a * sum(chance * ratio**later for chance, ratio in rows) * rho * x0
    claim.goal("up to the token").holds({by_prefix: mean_prefix, target: p * x0}, where=where)
    claim.goal("whole text").holds({by_whole: mean_whole, target: p * x0}, where=where)
    # any number of continuations: two of them, merged into one, do not have a larger second moment
    m1, m2 = sp.symbols("m1 m2", positive=True)
    merged = (p + q) ** 2 / (m1 + m2)
    sy.require(sy.smt_valid([], sp.Ge(p**2 / m1 + q**2 / m2, merged)), "merging two continuations")
    squares = [sum(chance * ratio ** (2 * m) for chance, ratio in rows) for m in (0, later)]
    # the common factor a rho^2 x^2 is not negative
    sy.require(sy.smt_valid(where, sp.Ge(a * rho**2 * x0**2, 0)), "a square")
    sy.require(
        sy.smt_valid(where, sp.Ge(squares[1] - squares[0], 0)),
        "the later ratio's second moment is at least one",
    )
    factor = sp.Symbol("c", nonnegative=True)
    claim.goal("less variance").holds(
        {second_prefix: factor * sp.simplify(squares[0]), second_whole: factor * squares[1]}, where=where
    )


SAMPLER = {"": "1/2", "0": "1/3", "1": "3/4", "00": "1/2", "01": "1/5", "10": "2/3", "11": "1/4"}
POLICY = {"": "2/3", "0": "1/2", "1": "1/5", "00": "1/3", "01": "1/2", "10": "2/3", "11": "9/10"}


def chance(table, text):
    """The chance of a text; a table holds the chance of the symbol 0 after each beginning."""
    result = sp.Integer(1)
    for i, symbol in enumerate(text):
        zero = sp.Rational(table[text[:i]])
        result *= zero if symbol == "0" else 1 - zero
    return result


def moments(length, token, term, sampler=SAMPLER, policy=POLICY):
    """The quantities over all texts; ``term`` is x as a function of the text."""
    sums = dict.fromkeys((by_prefix, by_whole, target, second_prefix, second_whole), sp.Integer(0))
    for symbols in itertools.product("01", repeat=length):
        text = "".join(symbols)
        drawn, value = chance(sampler, text), term(text)
        short = chance(policy, text[:token]) / chance(sampler, text[:token])
        whole = chance(policy, text) / drawn
        sums[by_prefix] += drawn * short * value
        sums[by_whole] += drawn * whole * value
        sums[target] += chance(policy, text) * value
        sums[second_prefix] += drawn * (short * value) ** 2
        sums[second_whole] += drawn * (whole * value) ** 2
    return sums


def score(text, token):
    """By the logit of the symbol 0 at this place."""
    zero = sp.Rational(POLICY[text[: token - 1]])
    return (1 - zero) if text[token - 1] == "0" else -zero


@claim.step(
    "All texts",
    route="enumeration",
    shows="two and three tokens, each token's score times a value of its beginning",
)
def all_texts(shift=0):
    for length in (2, 3):
        for token in range(1, length + 1):

            def term(text, token=token):
                return score(text, token) * (1 + 2 * text[:token].count("1"))

            values = moments(length, min(token + shift, length) if shift > 0 else token + shift, term)
            for name, symbols in (
                ("up to the token", (by_prefix, target)),
                ("whole text", (by_whole, target)),
                ("less variance", (second_prefix, second_whole)),
            ):
                claim.goal(name).holds({s: values[s] for s in symbols})


@claim.counterexample(
    (
        "Two tokens, the first one's score times a reward of one if the second token is 0: the short ratio has "
        "another mean."
    ),
    sampler="(1/2; 1/3, 3/4)",
    policy="(2/3; 1/2, 1/5)",
)
def reward_at_the_end(sampler=SAMPLER):
    values = moments(2, 1, lambda text: score(text, 1) * int(text[1] == "0"), sampler)
    sy.equal(values[by_whole], values[target], "the whole ratio keeps the mean")
    claim.goal("up to the token").fails({s: values[s] for s in (by_prefix, target)}, without="prefix")
    return sy.Exhibit(text=f"short {values[by_prefix]}, policy {values[target]}")


claim.sabotage("the later ratio squared", in_symbols, later=2)
claim.sabotage("the ratio up to the token before", all_texts, shift=-1)
claim.sabotage("a sampler with the policy's second token", reward_at_the_end, sampler={**POLICY, "": "1/2"})
