"""R14: max@k with a baseline that leaves two rollouts out, and the leave-one-out form that is not centred."""

import itertools

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

PLACES = ("3, 2", "4, 2", "4, 3")
two_out, one_out, update, gradient = sp.symbols("T S m g", real=True)

claim = sy.Claim(
    id="R14",
    title="For max@k a baseline that leaves two rollouts out is unbiased, and its advantages sum to zero",
    statement=sy.Statement(
        setting=(
            r"One prompt, n rollouts on policy; $A_i$ is k times the mean, over the other rollouts j and over the sets U of k - 1 "
            r"rollouts without i and j, of $\max(r_i, \max_U r) - \max(r_j, \max_U r)$"
        ),
        forall={"n, k": sy.one_of(*PLACES)},
        quantities={
            two_out: sy.Quantity(r"\sum_i A_i", "the sum of a group's advantages"),
            one_out: sy.Quantity(
                r"\sum_i A'_i",
                r"the sum with $\max_U r$ as baseline, U among all others, in a group with one largest reward",
            ),
            update: sy.Quantity(
                r"\mathrm{E}[\hat g]", r"the mean of $\frac{1}{n} \sum_i A_i s_i$, entry by entry"
            ),
            gradient: sy.Quantity(
                r"\nabla M_k", "the gradient of the expected largest reward of k independent rollouts"
            ),
        },
        goals={
            "centred": sp.Eq(two_out, 0),
            "leave-one-out is not": one_out > 0,
            "unbiased": sp.Eq(update, gradient),
        },
    ),
    source=sy.Source(
        "2606.06080",
        "v1",
        "abstract",
        relation="reading",
        says=(
            "the advantage of a leading method is unbiased but not centred; a Leave-Two-Out baseline keeps it unbiased and "
            "makes the realised advantages exactly centred"
        ),
        caveat="its formula was not read: this is the baseline with these two properties that leaves two rollouts out",
    ),
    verdict="proved",
    scope="n and k as listed; policies over two and three answers with three levels of reward",
    proof=(
        "Exchanging i and j turns the sign of a term, so the advantages of a group cancel. The baseline of rollout "
        "i does not look at rollout i, so it has no mean effect; what is left is $k\\, \\mathrm{E}[s_i \\max(r_i, "
        r"\max_U r)]$, the gradient of the largest of k by its product rule. With $\max_U r$ as baseline no term is "
        "negative, and the one of the largest reward is positive. All groups of small policies are listed, and the leave-one-out "
        "form is read from the shipped estimator."
    ),
    finding=(
        "Both forms are unbiased (B22a); only the one that leaves two out has advantages on both sides of zero. It needs "
        "a rollout more: n of at least k + 1."
    ),
)


def advantages(rewards, k, baseline=True):
    """Leave-two-out; without the baseline's rollout, the leave-one-out form."""
    n = len(rewards)
    result = []
    for i in range(n):
        terms = []
        for j in set(range(n)) - {i}:
            for chosen in itertools.combinations(sorted(set(range(n)) - {i, j}), k - 1):
                rest = [rewards[m] for m in chosen]
                other = sp.Max(rewards[j], *rest) if baseline else sp.Max(*rest)
                terms.append(sp.Max(rewards[i], *rest) - other)
        result.append(k * sp.Add(*terms) / len(terms))
    return result


def sizes(place):
    return tuple(map(int, place.split(", ")))


@claim.step(
    "Any rewards", route="sympy", shows="the sum of the advantages of a group with symbols as rewards"
)
def any_rewards(baseline=True):
    for place in PLACES:
        n, k = sizes(place)
        rewards = sp.symbols(f"r1:{n + 1}", real=True)
        claim.goal("centred").holds({two_out: sp.Add(*advantages(rewards, k, baseline))}, at={"n, k": place})


@claim.step(
    "Any chances",
    route="sympy",
    shows="three answers with symbols as chances, n = 3 and k = 2, two answers beyond",
)
def any_chances(levels=(0, 1, sp.Rational(5, 2)), baseline=True):
    p, q = sp.symbols("p q", positive=True)
    for place in PLACES:
        chances, rewards = ((p, q, 1 - p - q), levels) if place == "3, 2" else ((p, 1 - p), levels[:2])
        discharge(sy.SymbolicBandit(chances, rewards), place, baseline)


def discharge(bandit, place, baseline=True):
    n, k = sizes(place)
    mean = sy.group_moments(bandit, n, lambda r: [a / n for a in advantages(r, k, baseline)]).mean
    slope = sy.group_moments(bandit, k, lambda r: [sp.Max(*r)] * k).mean
    claim.goal("unbiased").holds({update: mean, gradient: slope}, at={"n, k": place})
    if baseline:
        for rewards in itertools.combinations_with_replacement(bandit.rewards, n):
            value = sp.Add(*advantages(rewards, k))
            claim.goal("centred").holds({two_out: value}, at={"n, k": place})


@claim.step(
    "All groups", route="enumeration", shows="two prompts of other composition, three levels of reward"
)
def all_groups(score=1):
    scores = [(score, 0), (sp.Rational(1, 3), -1), (sp.Rational(-11, 3) * score, 2)]
    policies: tuple[sy.SymbolicBandit, ...] = (
        sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "5/2"]),
        sy.SymbolicBandit(["1/4", "3/4"], [2, 1]),
    )
    if score != 1:
        policies = (sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "5/2"], scores),)
    for place in PLACES:
        for policy in policies:
            discharge(policy, place)


@claim.step(
    "The leave-one-out form",
    route="traced code",
    shows="the weights of the shipped `pass_at_k` in groups with one largest reward",
)
def shipped_form(k_of=lambda k: k):
    for place in PLACES:
        n, k = sizes(place)
        weights = sy.weights_of(catalogue.get("pass_at_k", k=k_of(k)))
        for rewards in ((sp.Rational(5, 2), 1, 0, 1)[:n], (1, 0, 0, 0)[:n]):
            values = [n * x for x in weights(tuple(map(sp.sympify, rewards)))]
            sy.equal(values, advantages(rewards, k, baseline=False), "the shipped form")
            claim.goal("leave-one-out is not").holds({one_out: sp.Add(*values)}, at={"n, k": place})


@claim.step(
    "No term is negative", route="smt", shows="the sum for symbols as rewards, the first of them the largest"
)
def positive(largest=True):
    for place in PLACES:
        n, k = sizes(place)
        gap, *rest = sp.symbols(f"d r2:{n + 1}", real=True)
        first = sp.Max(*rest) + gap
        total = sp.Add(*advantages([first, *rest], k, baseline=False))
        where = [gap > 0] if largest else []
        claim.goal("leave-one-out is not").holds({one_out: total}, at={"n, k": place}, where=where)


claim.sabotage("the leave-one-out baseline is centred", any_rewards, baseline=False)
claim.sabotage("scores that do not sum to zero", all_groups, score=2)
claim.sabotage("another k in the code", shipped_form, k_of=lambda k: k + 1)
claim.sabotage("the first need not be the largest", positive, largest=False)
