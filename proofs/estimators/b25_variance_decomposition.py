"""B25: the three-term variance of a policy gradient, and the term that a baseline moves."""

import itertools

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

G = sp.Symbol("G", integer=True, positive=True)
variance, noise, action, between, noise_b, between_b = sp.symbols("V T A S T_b S_b", real=True)
prompts, prompts_b, prompts_g = sp.symbols("B B_b B_G", real=True)

claim = sy.Claim(
    id="B25",
    title="Three variance terms; a baseline moves only the action term",
    statement=sy.Statement(
        setting=(
            r"One component of $\hat g = (\hat Q - b) z$, where $z = \nabla \log \pi(a|s)$, $\hat Q$ is a "
            r"noisy return of (s, a) and Q its mean"
        ),
        forall={G: sy.whole(2)},
        given={
            "baseline": sy.Hypothesis(
                (
                    "b is a function of the state, or of state and action with the mean of $b z$ added "
                    "back, and not of the return"
                ),
                stated_by="ours",
            ),
            "on policy": sy.Hypothesis(r"$\mathrm{E}_{a|s}[z] = 0$", stated_by="ours"),
        },
        quantities={
            variance: sy.Quantity(r"\mathrm{Var}\,\hat g", "the variance"),
            noise: sy.Quantity(
                "T", r"the return's term $\mathrm{E}_{s,a}[\mathrm{Var}(\hat Q|s,a) z^2]$, without a baseline"
            ),
            noise_b: sy.Quantity("T_b", "the return's term with the baseline"),
            action: sy.Quantity("A_b", r"the action's term $\mathrm{E}_s \mathrm{Var}_{a|s}[(Q - b) z]$"),
            between: sy.Quantity(
                "S", r"the state's term $\mathrm{Var}_s \mathrm{E}_{a|s}[Q z]$, without a baseline"
            ),
            between_b: sy.Quantity("S_b", "the state's term with the baseline"),
            prompts: sy.Quantity("B", "the variance between prompts of REINFORCE's mean update"),
            prompts_b: sy.Quantity("B_b", "that with leave-one-out, or with the best constants"),
            prompts_g: sy.Quantity(
                "B_G", "that with the mean of each group, its own rollout included, as the baseline"
            ),
        },
        goals={
            "three terms": sp.Eq(variance, noise_b + action + between_b),
            "two do not move": sp.And(sp.Eq(noise_b, noise), sp.Eq(between_b, between)),
            "prompts": sp.Eq(prompts_b, prompts),
            "group mean": sp.Eq(prompts_g, ((G - 1) / G) ** 2 * prompts),
        },
    ),
    source=sy.Source(
        "1802.10031", "v3", "the decomposition into trajectory, action and state terms", relation="not read"
    ),
    verdict="proved",
    scope=(
        "two states, two actions and two returns with symbols for all returns, scores and baselines, and a "
        "law with three of each in numbers; any law by the law of total variance"
    ),
    proof=(
        r"The law of total variance, first given (s, a) and then given s, splits the variance into three "
        r"terms. Given (s, a) the baseline is a constant, so the return's term has none of it. Given s its "
        r"mean is $b\,\mathrm{E}[z] = 0$, or is added back, so the state's term has none either; only the "
        r"action's term is left. For a language model the states are prompts: the mean update of a prompt "
        r"does not depend on an honest baseline. The group mean with the own rollout in it shrinks each "
        r"prompt's mean by $\frac{G-1}{G}$, and the variance between prompts by its square."
    ),
    finding=(
        "For one-step language-model RL states are prompts: the state term is the between-prompt variance, "
        "and no honest baseline touches it, nor the return's own noise. A group mean with the own rollout in "
        "it is not such a baseline: it shrinks the state term by $((G-1)/G)^2$, because it shrinks the mean."
    ),
)
STATES, ACTIONS, RETURNS = range(2), range(2), range(2)
visit = sp.Rational(1, 3)
first_action = sp.Rational(1, 4), sp.Rational(2, 5)
first_return = tuple(map(sp.Rational, ("1/2", "1/5", "2/3", "3/4")))
size = sp.symbols("z1:3", real=True)
value = sp.symbols("u1:9", real=True)
base = sp.symbols("b1:5", real=True)


def law(on_policy=True):
    """Chance of (s, a, return) in numbers, score and return as symbols; the score averages to zero in each state."""
    visits = (visit, 1 - visit)
    chance, score, gain = {}, {}, {}
    for s in STATES:
        actions = (first_action[s], 1 - first_action[s])
        for a in ACTIONS:
            # pi z sums to zero: z is proportional to 1/pi for the one action and -1/pi for the other.
            score[s, a] = size[s] / actions[a] * (-1 if a and on_policy else 1)
            returns = (first_return[2 * s + a], 1 - first_return[2 * s + a])
            for t in RETURNS:
                chance[s, a, t] = visits[s] * actions[a] * returns[t]
                gain[s, a, t] = value[4 * s + 2 * a + t]
    return visits, chance, score, gain


def terms(baseline, correction, on_policy=True):
    """(total variance, trajectory, action, state) of (gain - baseline) z + correction."""
    visits, chance, score, gain = law(on_policy)
    sample = {k: (gain[k] - baseline(*k[:2])) * score[k[:2]] + correction(k[0]) for k in chance}
    mean = sum(chance[k] * sample[k] for k in chance)
    total = sum(chance[k] * sample[k] ** 2 for k in chance) - mean**2
    trajectory, action, state = sp.Integer(0), sp.Integer(0), -(mean**2)
    for s in STATES:
        by_action = {}
        for a in ACTIONS:
            weight = sum(chance[s, a, t] for t in RETURNS)
            q = sum(chance[s, a, t] * sample[s, a, t] for t in RETURNS) / weight
            trajectory += sum(chance[s, a, t] * (sample[s, a, t] - q) ** 2 for t in RETURNS)
            by_action[a] = (weight, q)
        inner = sum(w * q for w, q in by_action.values()) / visits[s]
        action += sum(w * (q - inner) ** 2 for w, q in by_action.values())
        state += visits[s] * inner**2
    return total, trajectory, action, state


def none(*_):
    return sp.Integer(0)


def corrected(on=True):
    """The mean of phi z in each state, which an action-dependent baseline adds back."""
    _, _, score, _ = law()

    def correction(s):
        parts = [(first_action[s], 1 - first_action[s])[a] * base[2 * s + a] * score[s, a] for a in ACTIONS]
        return sum(parts) if on else sp.Integer(0)

    return correction


@claim.step(
    "The three terms",
    route="sympy",
    shows=(
        "two states, actions and returns: chances in numbers, returns, scores and baselines symbols; any "
        "G by B2a's mean"
    ),
)
def decomposition(missing=0, on_policy=True, correct=True, self_share=1):
    plain = terms(none, none, on_policy)
    for baseline, correction in (
        (lambda s, a: base[s], none),
        (lambda s, a: base[2 * s + a], corrected(correct)),
    ):
        computed = terms(baseline, correction, on_policy)
        values = {
            variance: computed[0],
            noise_b: computed[1],
            action: computed[2],
            between_b: computed[3] * (1 - missing),
        }
        claim.goal("three terms").holds(values)
        still = plain[1], plain[3]
        values = {noise_b: computed[1], noise: still[0], between_b: computed[3], between: still[1]}
        claim.goal("two do not move").holds(values)
    # Two prompts with the means u and v: by index patterns the group mean's update is (G-1)/G times them.
    u, v, level = sp.symbols("u v J", real=True)
    R, S, RS = sp.symbols("R S RS")
    sums = {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}

    def mean(estimator, gradient):
        table = {(1, 1): gradient, (1, 0): level, (0, 1): sp.Integer(0), (0, 0): sp.Integer(1)}
        return sy.over_rollouts(estimator, sums, G, lambda e: table[e.get("r", 0), e.get("s", 0)])

    spread = [
        (mean(e, u) - mean(e, v)) ** 2 / 4
        for e in (RS / G, (RS - self_share * R * S / G) / G, (G * RS - R * S) / (G * (G - 1)))
    ]
    claim.goal("group mean").holds({prompts_g: spread[1], prompts: spread[0]})
    claim.goal("prompts").holds({prompts_b: spread[2], prompts: spread[0]})


def in_numbers(baseline, correct=True):
    """(total, return's, action's, state's) variance of a law with three states, actions and returns, in rationals."""
    draw = [
        sp.Rational(x, 7)
        for x in (3, -5, 2, 8, -1, 4, 6, -2, 5, 1, -3, 7, 2, 9, -4, 1, 3, -6, 2, 5, 8, -7, 4, 1, 6, -2, 3)
    ]
    chances = [sp.Rational(x, 6) for x in (1, 2, 3)]
    logits = [sp.Rational(x, 5) for x in (1, 3, 1)]
    rows = []
    for s, a, t in itertools.product(range(3), repeat=3):
        score = (1 if a == s else 0) - logits[s]  # the score by the logit of action s
        centre = sum(q * baseline(s, c) * ((1 if c == s else 0) - logits[s]) for c, q in enumerate(logits))
        sample = (draw[9 * s + 3 * a + t] - baseline(s, a)) * score + (centre if correct else 0)
        rows.append(((s, a), chances[s] * logits[a] * chances[t], sample))
    total = sum(c * x for _, c, x in rows)
    by_action = {
        key: [sum(c for k, c, _ in rows if k == key), sum(c * x for k, c, x in rows if k == key)]
        for key, _, _ in rows
    }
    by_state = {s: [sum(v[i] for k, v in by_action.items() if k[0] == s) for i in (0, 1)] for s in range(3)}
    squares = [
        sum(c * x * x for _, c, x in rows),
        sum(m * m / c for c, m in by_action.values()),
        sum(m * m / c for c, m in by_state.values()),
        total**2,
    ]
    return squares[0] - squares[3], squares[0] - squares[1], squares[1] - squares[2], squares[2] - squares[3]


TWO = [sy.SymbolicBandit(["1/2", "1/2"], [1, 0]), sy.SymbolicBandit(["1/10", "9/10"], [1, 0])]


def spread_between(name, size):
    """The variance between two prompts, each with its own logits, of a shipped estimator's mean."""
    parts = [sy.group_moments(b, size, sy.weights_of(catalogue.get(name))).mean for b in TWO]
    return sum(sum(x * x for x in part) for part in parts) / 4


@claim.step(
    "In numbers",
    route="enumeration",
    shows=(
        "three states, actions and returns in rationals; all groups of two prompts for REINFORCE, RLOO "
        "and Dr. GRPO, G = 2, 3"
    ),
)
def numbers(correct=True, missing=0, name="rloo"):
    constants = [sp.Rational(1, 3), sp.Rational(-2, 5), sp.Rational(4, 7)]
    plain = in_numbers(lambda s, a: 0)
    for baseline in (lambda s, a: constants[s], lambda s, a: constants[s] * (a + 1)):
        computed = in_numbers(baseline, correct)
        values = {
            variance: computed[0],
            noise_b: computed[1],
            action: computed[2],
            between_b: computed[3] * (1 - missing),
        }
        claim.goal("three terms").holds(values)
        values = {noise_b: computed[1], noise: plain[1], between_b: computed[3], between: plain[3]}
        claim.goal("two do not move").holds(values)
    for size in (2, 3):
        plain_spread = spread_between("reinforce", size)
        claim.goal("prompts").holds(
            {prompts_b: spread_between(name, size), prompts: plain_spread}, at={G: size}
        )
        values = {prompts_g: spread_between("dr_grpo", size), prompts: plain_spread}
        claim.goal("group mean").holds(values, at={G: size})


@claim.step(
    "The engine's parts",
    route="exact engine",
    shows=(
        "the part between prompts for REINFORCE, the best constants and Dr. GRPO at G = 2; only the part "
        "within moves"
    ),
)
def parts(name="dr_grpo"):
    plain, best, centred = (
        sy.engine(catalogue.get(n), TWO, 2) for n in ("reinforce", "reinforce_best_constant", name)
    )
    values = {prompts_b: float(best.between), prompts: float(plain.between)}
    claim.goal("prompts").holds(values, at={G: 2}, tolerance=1e-12)
    values = {prompts_g: float(centred.between), prompts: float(plain.between)}
    claim.goal("group mean").holds(values, at={G: 2}, tolerance=1e-12)
    sy.below(float(best.within), float(plain.within), 1e-3, "the part within prompts moves")


claim.sabotage("without the state's term", decomposition, missing=1)
claim.sabotage("off policy: the score does not average to zero", decomposition, on_policy=False)
claim.sabotage("an action-dependent baseline without its correction", decomposition, correct=False)
claim.sabotage("half of the group mean", decomposition, self_share=sp.Rational(1, 2))
claim.sabotage("without its correction, in numbers", numbers, correct=False)
claim.sabotage("without the state's term, in numbers", numbers, missing=1)
claim.sabotage("the group mean with the own rollout", numbers, name="dr_grpo")
claim.sabotage("leave-one-out for the group mean", parts, name="rloo")
