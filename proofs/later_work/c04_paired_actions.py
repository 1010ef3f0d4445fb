"""C4: two enumerated actions as a group (a), and its log-ratio penalty (b)."""

import sympy as sp
from _short_sequences import mean_agrees, parallel_defect

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import aggregate, penalty, surrogate

SOURCE = sy.Source(
    "2605.08327",
    "v1",
    (
        "paired KEEP/REVISE and SAC/no-SAC groups with a KL-regularised update (abstract); the loss as "
        "the ledger gives it, its equation was not at hand"
    ),
)
p = sp.Symbol("p", positive=True)
STATES = [sy.SymbolicBandit(["1/2", "1/2"], [1, 0]), sy.SymbolicBandit(["1/10", "9/10"], [1, 0])]

pairs = sy.Claim(
    id="C4a",
    title="A group of the two enumerated actions is a two-rollout GRPO group",
    statement=(
        r"Taking both actions of a two-action decision as the group, mean-centred, gives the update "
        r"$\frac{d}{4}(s_1 - s_2)$, $d = r_1 - r_2$; two sampled rollouts give it in expectation up to "
        r"a factor."
    ),
    source=SOURCE,
    verdict="conditional",
    scope="one binary decision, any real rewards, any parametrisation; population std where standardised",
    hypotheses=("one state: over several states the factor depends on the state's p",),
    finding=(
        r"$\nabla J = d\, p(1-p)(s_1 - s_2)$ and the sampled pair's mean is half of it, so the "
        r"enumerated group is $\nabla J$ times $\frac{1}{4p(1-p)}$, without noise: it climbs "
        r"$\frac{d}{4}$ times the log-odds. "
        r"A decision that the policy never takes any more still gets the full pull. Standardised, "
        r"only the sign of d is left."
    ),
)


@pairs.step(
    "The shipped group",
    route="traced code",
    shows=(
        r"both actions in a group of two: weights $\pm\frac{d}{4}$ (mean-centred), "
        r"$\pm\frac{1}{2}\mathrm{sign}(d)$ (standardised)"
    ),
)
def group(factor=sp.Rational(1, 4)):
    rollouts = sy.symbolic_group(2, on_policy=True)
    r1, r2 = rollouts.rewards.reshape(-1)
    sy.equal(
        rollouts.weights(catalogue.get("dr_grpo")).reshape(-1),
        [factor * (r1 - r2), factor * (r2 - r1)],
        "mean-centred",
    )
    fixed = sy.symbolic_group(2, rewards=(sp.Rational(7, 3), sp.Rational(1, 3)), on_policy=True)
    sy.equal(
        fixed.weights(catalogue.get("grpo", eps=0.0)).reshape(-1),
        [sp.Rational(1, 2), -sp.Rational(1, 2)],
        "standardised",
    )


@pairs.step(
    "Against grad J",
    route="sympy",
    shows=(
        r"$p s_1 + (1-p) s_2 = 0$, so $\nabla J = d\,p\,s_1$ and $s_1 - s_2 = s_1/(1-p)$: the ratio is "
        r"$\frac{1}{4p(1-p)}$; a sampled pair is mixed with chance $2p(1-p)$"
    ),
)
def against(power=1):
    d, s = sp.symbols("d s", real=True)
    other = -p / (1 - p) * s
    gradient = p * (1 - p) * d * (s - other)
    sy.equal(gradient, d * p * s, "grad J")
    sy.equal(d / 4 * (s - other), gradient / (4 * p * (1 - p)) ** power, "the enumerated group")
    sy.equal(2 * p * (1 - p) * d / 4 * (s - other), gradient / 2, "the sampled pair's mean")


@pairs.step(
    "It climbs the log-odds",
    route="sympy",
    shows=r"$s_1 - s_2 = \nabla \log\frac{p}{1-p}$, whatever the parametrisation",
)
def log_odds(odds=True):
    slope = sp.Symbol("slope", real=True)  # of p by any parameter
    scores = slope / p, -slope / (1 - p)
    climbed = sp.log(p) - sp.log(1 - p) if odds else sp.log(p)
    sy.equal(scores[0] - scores[1], sp.diff(climbed, p) * slope, "the difference of the scores")


@pairs.counterexample(
    (
        "Two decisions with p = 1/2 and 1/10, one unit of reward each: the enumerated update is not "
        "along grad J."
    ),
    p="(1/2, 1/10)",
)
def two_states(other=STATES[1]):
    update: list[sp.Expr] = []
    gradient: list[sp.Expr] = []
    for bandit in (STATES[0], other):
        update += [sp.Rational(1, 4) * (a - b) for a, b in zip(*bandit.scores, strict=True)]
        gradient += bandit.gradient
    sy.require(parallel_defect(update, gradient) != 0, "the update is along grad J")


@pairs.step(
    "Sampled pairs are",
    route="exact engine",
    shows="the same two decisions, two sampled rollouts: the engine's mean is grad J over two",
)
def sampled(share=2):
    gradient = [x / 2 for b in STATES for x in b.gradient]
    mean_agrees(
        sy.engine(catalogue.get("dr_grpo"), STATES, 2), [x / share for x in gradient], "sampled pairs"
    )


pairs.sabotage("half of the gap", group, factor=sp.Rational(1, 2))
pairs.sabotage("another power", against, power=2)
pairs.sabotage("the log of p alone", log_odds, odds=False)
pairs.sabotage("one decision twice", two_states, other=STATES[0])
pairs.sabotage("without the half", sampled, share=1)


kl = sy.Claim(
    id="C4b",
    title="Its term beta (log pi - log pi_ref) is a KL penalty",
    statement=(
        r"In the loss $-A \log \pi + \beta(\log \pi - \log \pi_{\text{ref}})$, the second term pulls "
        r"the policy towards the reference."
    ),
    source=SOURCE,
    verdict="refuted",
    scope=(
        "differentiated as written; actions sampled from the policy, or both enumerated with equal "
        "weight; any number of enumerated actions, any reference"
    ),
    finding=(
        r"The reference drops out of the gradient. Sampled, the term's mean is zero; enumerated, "
        r"it is $-\beta \nabla \mathrm{KL}(\text{uniform} \| \pi)$, so minimising it drives the "
        r"policy *away* from uniform: towards whatever it already prefers. "
        r"Weighing the enumerated actions by $\pi$, with $k$ held constant, would give the KL's gradient."
    ),
)


@kl.step(
    "No reference in the gradient",
    route="traced code",
    shows=(
        r"the shipped k1 penalty on a group of two: weights $-\frac{\beta}{2}$ each, whatever the "
        r"log-ratios"
    ),
)
def no_reference(piece=penalty.k1):
    rollouts = sy.symbolic_group(2, rewards=(0, 0), logp_ref=sy.symbolic_group(2).logp * 3 + 1)
    rule = compose(
        advantage=lambda rewards: 0 * rewards,
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
        penalty=piece,
    )
    sy.equal(rollouts.weights(rule).reshape(-1), [-sp.Rational(1, 2)] * 2, "the weights of the penalty")


def softmax(size):
    logits = sp.symbols(f"x1:{size + 1}", real=True)
    return logits, [sp.exp(x) / sum(sp.exp(y) for y in logits) for x in logits]


@kl.step(
    "Sampled and enumerated",
    route="sympy",
    shows=(
        r"2 and 3 actions: $\sum_a \pi_a s_a = 0$ and $\frac{1}{K} \sum_a s_a = -\nabla \mathrm{KL}(u "
        r"\| \pi)$"
    ),
)
def both_parts(sign=-1):
    for size in (2, 3):
        logits, pi = softmax(size)
        for x in logits:
            scores = [sp.diff(sp.log(q), x) for q in pi]
            sy.equal(sum(q * s for q, s in zip(pi, scores, strict=True)), 0, "sampled: nothing")
            divergence = -sum(sp.log(q) for q in pi) / size
            sy.equal(sum(scores) / size, sign * sp.diff(divergence, x), "enumerated: away from uniform")


@kl.step(
    "It sharpens",
    route="smt",
    shows=(
        r"two actions: descending the term moves the logit of action 1 by $\beta (p - \frac{1}{2})$: "
        r"up if and only if $p > 1/2$"
    ),
)
def sharpens(level=sp.Rational(1, 2)):
    beta = sp.Symbol("beta", positive=True)
    move = -beta / 2 * ((1 - p) - p)
    sy.require(sy.smt_valid([p < 1], sp.Equivalent(move > 0, p > level)), "towards the likelier action")


@kl.step(
    "Weighted by the policy",
    route="sympy",
    shows=r"$\sum_a \pi_a k_a s_a = \nabla \mathrm{KL}(\pi \| \pi_{\text{ref}})$, the term that would do it",
)
def weighted(detached=True):
    logits, pi = softmax(2)
    q = sp.Symbol("q", positive=True)
    k = [sp.log(pi[0] / q), sp.log(pi[1] / (1 - q))]
    for x in logits:
        scores = [sp.diff(sp.log(a), x) for a in pi]
        computed = sum(a * (b if detached else 1) * s for a, b, s in zip(pi, k, scores, strict=True))
        sy.equal(computed, sp.diff(sum(a * b for a, b in zip(pi, k, strict=True)), x), "the KL's gradient")


@kl.counterexample(
    (
        "pi = reference = (3/4, 1/4): the KL and its gradient are zero, the enumerated term still "
        "moves the policy, to a larger preference; the sampled term's exact mean is zero (engine)."
    ),
    pi="(3/4, 1/4)",
    reference="(3/4, 1/4)",
)
def at_reference(chance="3/4"):
    bandit = sy.SymbolicBandit([chance, 1 - sp.Rational(chance)], [0, 0])
    move = [-(a + b) / 2 for a, b in zip(*bandit.scores, strict=True)]
    sy.require(move[0] > 0, "the likelier action is pushed up, at the reference")
    rule = compose(
        advantage=lambda rewards: 0 * rewards,
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
        penalty=penalty.k1,
        min_group=1,
    )
    mean_agrees(sy.engine(rule, bandit, 1), [0, 0], "the sampled term")
    return sy.Exhibit(text=f"move {move}")


kl.sabotage("k2, which knows the reference", no_reference, piece=penalty.k2)
kl.sabotage("towards uniform", both_parts, sign=1)
kl.sabotage("another level", sharpens, level=sp.Rational(3, 5))
kl.sabotage("without the log-ratio", weighted, detached=False)
kl.sabotage("an even policy", at_reference, chance="1/2")
