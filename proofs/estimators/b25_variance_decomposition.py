"""B25: the three-term variance of a policy gradient, and the term that a baseline moves."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

claim = sy.Claim(
    id="B25",
    title="Three variance terms; a baseline moves only the action term",
    statement=(
        r"With $\hat g = (\hat Q - b(s)) z$, $z = \nabla \log \pi(a|s)$ and $\hat Q$ a noisy "
        r"return of (s, a): $\mathrm{Var}\,\hat g = "
        r"\mathrm{E}_{s,a}[\mathrm{Var}(\hat Q|s,a) z^2] + \mathrm{E}_s \mathrm{Var}_{a|s}[(Q - b) "
        r"z] + \mathrm{Var}_s \mathrm{E}_{a|s}[Q z]$, and only the middle term contains b."
    ),
    source=sy.Source(
        "1802.10031",
        "v3",
        "the decomposition into trajectory, action and state terms; its equations were not at hand",
    ),
    verdict="proved",
    scope=(
        "one component of the gradient; symbolic laws with two states, two actions and two returns "
        "each (the law of total variance for any), state baselines and action-dependent ones with "
        "their correction"
    ),
    hypotheses=(
        (
            "the baseline is a function of the state (or of state and action, with its mean added "
            "back), not of the sampled return"
        ),
        r"on policy: $\mathrm{E}_{a|s}[z] = 0$",
    ),
    finding=(
        r"For one-step language-model RL states are prompts: the state term is the between-prompt "
        r"variance, and no honest baseline touches it, nor the return's own noise. "
        r"A group mean with the own rollout in it is not such a baseline: it shrinks the state "
        r"term by $((G-1)/G)^2$, because it shrinks the mean."
    ),
)
STATES, ACTIONS, RETURNS = range(2), range(2), range(2)
visit = sp.Symbol("p", positive=True)
first_action = sp.symbols("q1:3", positive=True)
first_return = sp.symbols("p1:5", positive=True)
size = sp.symbols("z1:3", real=True)
value = sp.symbols("u1:9", real=True)
base = sp.symbols("b1:5", real=True)


def law(on_policy=True):
    """Chance of (s, a, return), score and return: all symbols; the score averages to zero in each state."""
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


NUMBERS = {visit: "1/3", first_action[0]: "1/4", first_action[1]: "2/5"} | dict(
    zip(first_return, ("1/2", "1/5", "2/3", "3/4"), strict=True)
)
NUMBERS = {symbol: sp.Rational(x) for symbol, x in NUMBERS.items()}


@claim.step(
    "The three terms",
    route="sympy",
    shows="the law of total variance, twice: chances in numbers, returns, scores and baselines symbols",
)
def decomposition(missing=0):
    computed = [x.subs(NUMBERS) for x in terms(lambda s, a: base[s], none)]
    sy.equal(computed[0], sum(computed[1 : 4 - missing]), "the total variance")


@claim.step(
    "Only the action term moves",
    route="sympy",
    shows=r"trajectory and state terms are free of b; all chances symbols",
)
def only_action(on_policy=True):
    with_base, without = terms(lambda s, a: base[s], none, on_policy), terms(none, none, on_policy)
    sy.equal(with_base[1].subs(NUMBERS), without[1].subs(NUMBERS), "the trajectory term")
    sy.equal(with_base[3], without[3], "the state term")


@claim.step(
    "Action-dependent baselines too",
    route="sympy",
    shows=r"$(\hat Q - \phi(s,a)) z + \mathrm{E}_{a|s}[\phi z]$: the same two terms stay",
)
def action_dependent(corrected=True):
    _, _chance, score, _ = law()

    def correction(s):
        if not corrected:
            return sp.Integer(0)
        return sum((first_action[s], 1 - first_action[s])[a] * base[2 * s + a] * score[s, a] for a in ACTIONS)

    computed, plain = terms(lambda s, a: base[2 * s + a], correction), terms(none, none)
    sy.equal(computed[1].subs(NUMBERS), plain[1].subs(NUMBERS), "the trajectory term")
    sy.equal(computed[3].subs(NUMBERS), plain[3].subs(NUMBERS), "the state term")


TWO = [sy.SymbolicBandit(["1/2", "1/2"], [1, 0]), sy.SymbolicBandit(["1/10", "9/10"], [1, 0])]


@claim.step(
    "Between and within prompts",
    route="enumeration",
    shows=(
        "two bandits, each prompt its own logits: leave-one-out and best constants leave the "
        "between-prompt variance of REINFORCE, in rationals"
    ),
)
def between(names=("reinforce", "rloo")):
    def spread(name):
        parts = [sy.group_moments(b, 2, sy.weights_of(catalogue.get(name))).mean for b in TWO]
        return sum(sum(x * x for x in part) for part in parts) / 4

    sy.require(len({spread(name) for name in names}) == 1, "the between-prompt variance is the same")


@claim.step(
    "The engine's parts",
    route="exact engine",
    shows=(
        r"``between`` is one number for REINFORCE and the best constant; ``within`` is not; Dr. GRPO's "
        r"is a quarter of it at G = 2"
    ),
)
def parts(share=4):
    plain = sy.engine(catalogue.get("reinforce"), TWO, 2)
    best = sy.engine(catalogue.get("reinforce_best_constant"), TWO, 2)
    sy.require(
        abs(plain.between - best.between) < 1e-12 and plain.within - best.within > 1e-3,
        "only the part within prompts moves",
    )
    centred = sy.engine(catalogue.get("dr_grpo"), TWO, 2)
    sy.require(
        abs(centred.between * share - plain.between) < 1e-12, "the group mean shrinks the part between"
    )


claim.sabotage("two of the terms", decomposition, missing=1)
claim.sabotage("off policy: the score does not average to zero", only_action, on_policy=False)
claim.sabotage("an action-dependent baseline without its correction", action_dependent, corrected=False)
claim.sabotage("the group mean with the own rollout", between, names=("reinforce", "dr_grpo"))
claim.sabotage("half for a quarter", parts, share=2)
