"""R21: two enumerated actions of unequal length, log-probabilities summed over tokens: how far each one moves."""

from functools import partial

import sympy as sp

from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, penalty, surrogate

T1, T2 = sp.symbols("T1 T2", integer=True, positive=True)
beta, token = sp.symbols("beta v", positive=True)
sign, first, second, odds = sp.symbols("e m1 m2 L", real=True)
long_sum, long_mean, short_sum, odds_sum, odds_mean = sp.symbols("n1 k1 n2 O K", real=True)
square1, square2, inner = sp.symbols("a1 a2 c", real=True)

claim = sy.Claim(
    id="R21",
    title="With sums over tokens an action moves in proportion to its length; only the penalty takes a side, the shorter one's",
    statement=sy.Statement(
        setting=(
            "A decision with two enumerated actions of $T_1$ and $T_2$ tokens and whole scores $s_1$ and $s_2$; "
            r"standardised advantages $e$ and $-e$ (0 where the rewards are equal), the term $\beta (\log \pi - \log "
            r"\pi_{\text{ref}})$ on both; changes are of first order, over the learning rate"
        ),
        forall={beta: sy.above(0), T1: sy.whole(1), T2: sy.whole(1)},
        quantities={
            sign: sy.Quantity("e", "the first action's advantage: 1, -1 or 0"),
            square1: sy.Quantity("a_1", "$|s_1|^2$"),
            square2: sy.Quantity("a_2", "$|s_2|^2$"),
            inner: sy.Quantity("c", r"$s_1 \cdot s_2$"),
            first: sy.Quantity("m_1", r"the change of the first action's $\log \pi$, sums over tokens"),
            second: sy.Quantity("m_2", "that of the second's"),
            odds: sy.Quantity("L", "the change of their log-odds"),
            token: sy.Quantity("v", "the squared score of a token, the same for all, tokens orthogonal"),
            long_sum: sy.Quantity("n_1", "the first action's change for such tokens, with sums"),
            short_sum: sy.Quantity("n_2", "the second's"),
            odds_sum: sy.Quantity("O", "that of the log-odds"),
            long_mean: sy.Quantity("k_1", "the first action's with the mean over an action's tokens"),
            odds_mean: sy.Quantity("K", "that of the log-odds, with the mean"),
        },
        goals={
            "moves": sp.And(
                sp.Eq(first, ((sign - beta) * square1 - (sign + beta) * inner) / 2),
                sp.Eq(second, ((sign - beta) * inner - (sign + beta) * square2) / 2),
            ),
            "log-odds": sp.Eq(
                odds, sign / 2 * (square1 + square2 - 2 * inner) - beta / 2 * (square1 - square2)
            ),
            "by length": sp.And(
                sp.Eq(long_sum, (sign - beta) / 2 * T1 * token),
                sp.Eq(short_sum, -(sign + beta) / 2 * T2 * token),
                sp.Eq(odds_sum, (sign * (T1 + T2) - beta * (T1 - T2)) / 2 * token),
            ),
            "with the mean": sp.And(
                sp.Eq(long_mean, (sign - beta) / 2 * token), sp.Eq(odds_mean, sign * token)
            ),
        },
    ),
    source=sy.Source(
        "2605.08327",
        place="released code, dpa_grpo/losses.py, the comment of grpo_group_accumulate_gradients (commit e68b47ca)",
        relation="ours",
        says=(
            "with sums the branch that emits more text dominates the update even when both branches carry the same "
            "reward, which ratchets the rate of interventions towards one"
        ),
        caveat=(
            "the comment is about runs, in which the texts differ in more than length; equal rewards have no "
            "advantage once they are standardised"
        ),
    ),
    verdict="proved",
    scope="one decision, one step, any parametrisation; the last two goals for orthogonal tokens of equal squares",
    proof=(
        r"The weights of the two whole scores are $(e - \beta)/2$ and $-(e + \beta)/2$, so the update is their "
        "combination, and its products with the scores are the changes; their difference is that of the log-odds. "
        r"With $a_k = T_k v$ and $c = 0$ each action moves by its own length. With the mean the weights of its "
        "tokens are divided by the length, which cancels the number of tokens."
    ),
    finding=(
        "Three times the tokens are three times the step, for the better as for the worse: the length multiplies what "
        r"the rewards say and has no direction of its own. Averaged over rewards that favour either action equally, or "
        r"with equal rewards, what is left is $-\frac{\beta}{2}(|s_1|^2 - |s_2|^2)$, against the action with the larger "
        "score, the longer one. The mean over tokens makes both effects independent of length for such tokens; where "
        "an action's tokens pull alike, it lets the shorter one dominate in turn."
    ),
)


def along(weights, squares, product):
    """The changes of both log-probabilities for an update of these weights on the whole scores."""
    w1, w2 = weights
    return w1 * squares[0] + w2 * product, w1 * product + w2 * squares[1]


@claim.step(
    "From the scores", route="sympy", shows="the loss of both actions differentiated, products of the scores"
)
def from_scores(half=2, lengths=(T1, T2)):
    x1, x2 = sp.symbols("x1 x2", real=True)
    loss = sum(-a * x + beta * x for a, x in ((sign, x1), (-sign, x2))) / half
    weights = [-sp.diff(loss, x) for x in (x1, x2)]
    values = {sign: sign, square1: square1, square2: square2, inner: inner}
    m1, m2 = along(weights, (square1, square2), inner)
    claim.goal("moves").holds({**values, first: m1, second: m2})
    claim.goal("log-odds").holds({**values, odds: m1 - m2})
    n1, n2 = along(weights, (lengths[0] * token, lengths[1] * token), 0)
    common = {sign: sign, token: token}
    claim.goal("by length").holds({**common, long_sum: n1, short_sum: n2, odds_sum: n1 - n2})
    means = [w / size for w, size in zip(weights, lengths, strict=True)]
    k1, k2 = along(means, (T1 * token, T2 * token), 0)
    claim.goal("with the mean").holds({**common, long_mean: k1, odds_mean: k1 - k2})


def rule(rows):
    return compose(
        advantage=partial(advantage.standardised, eps=0.0),
        surrogate=surrogate.likelihood,
        penalty=partial(penalty.k1, beta=0.25),
        aggregate=rows,
    )


@claim.step(
    "The shipped pieces",
    route="traced code",
    shows="standardised advantages, k1 with beta = 1/4, sums and means over tokens; 1 to 4 tokens, ties among the rewards",
)
def traced(sums=aggregate.sequence_token_sum, means=aggregate.sequence_token_mean):
    a, b, c = sp.symbols("A B C", real=True)
    for lengths in ((3, 1), (1, 2), (4, 2)):
        at = {T1: lengths[0], T2: lengths[1], beta: sp.Rational(1, 4)}
        for rewards in ((1, 0), (0, 3), (1, 1)):
            values = {sign: sp.sign(rewards[0] - rewards[1])}
            size = max(lengths)
            weights = {}
            for name, rows in (("sum", sums), ("mean", means)):
                actions = sy.symbolic_group(
                    2, lengths, rewards=tuple(map(sp.Integer, rewards)), on_policy=True,
                    logp_ref=sy.symbols("q", (1, 2, size)),
                )  # fmt: skip
                table = actions.weights(rule(rows))[0]
                for row, length in zip(table, lengths, strict=True):
                    sy.equal(list(row[:length]), [row[0]] * length, "one weight for all tokens of an action")
                weights[name] = [row[0] for row in table]
            m1, m2 = along(weights["sum"], (a, b), c)
            products = {square1: a, square2: b, inner: c}
            claim.goal("moves").holds({**values, **products, first: m1, second: m2}, at=at)
            claim.goal("log-odds").holds({**values, **products, odds: m1 - m2}, at=at)
            squares = [length * token for length in lengths]
            n1, n2 = along(weights["sum"], squares, 0)
            k1, k2 = along(weights["mean"], squares, 0)
            common = {**values, token: token}
            claim.goal("by length").holds({**common, long_sum: n1, short_sum: n2, odds_sum: n1 - n2}, at=at)
            claim.goal("with the mean").holds({**common, long_mean: k1, odds_mean: k1 - k2}, at=at)


claim.sabotage("the sum of both losses", from_scores, half=1)
claim.sabotage("lengths exchanged", from_scores, lengths=(T2, T1))
claim.sabotage("means for sums", traced, sums=aggregate.sequence_token_mean)
claim.sabotage("sums for means", traced, means=aggregate.sequence_token_sum)
