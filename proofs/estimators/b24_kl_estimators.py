"""B24: what k1, k2, k3 pull with as losses, one step (a); and token by token in a sequence (b)."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from _short_sequences import Stopping, stopping, stopping_engine

from gradvar import symbolic as sy
from gradvar.core.compose import compose, no_penalty
from gradvar.pieces import advantage, aggregate, penalty, surrogate

n = sp.Symbol("n", integer=True, positive=True)
pull1, pull2, pull3, reverse, forward, rewarded, as_loss = sp.symbols("e1 e2 e3 R F u v", real=True)

token_claim = sy.Claim(
    id="B24a",
    title="KL estimators as losses, one state: k1 does nothing, k2 is the reverse KL, k3 the forward KL",
    statement=sy.Statement(
        setting=(
            r"On policy, a softmax over n answers with logits $\theta$, a reference of full support, and $k = \log(\pi/"
            r"\pi_{\text{ref}})$ of the sampled answer: $k_1 = k$, $k_2 = k^2/2$, $k_3 = e^{-k} - 1 + k$"
        ),
        forall={n: sy.whole(2)},
        quantities={
            pull1: sy.Quantity(
                r"\mathrm{E}[\partial_j k_1]", r"the mean derivative of $k_1$ as a loss by a logit $\theta_j$"
            ),
            pull2: sy.Quantity(r"\mathrm{E}[\partial_j k_2]", "that of $k_2$"),
            pull3: sy.Quantity(r"\mathrm{E}[\partial_j k_3]", "that of $k_3$"),
            reverse: sy.Quantity(
                r"\partial_j \mathrm{KL}(\pi \| \pi_{\text{ref}})", "the derivative of the reverse KL"
            ),
            forward: sy.Quantity(
                r"\partial_j \mathrm{KL}(\pi_{\text{ref}} \| \pi)", "the derivative of the forward KL"
            ),
            rewarded: sy.Quantity(
                "u", "the factor of a sample's score that $k_1$ takes from the update as part of its reward"
            ),
            as_loss: sy.Quantity(
                "v", "the factor of the same sample's score in the gradient of $k_2$ as a loss"
            ),
        },
        goals={
            "k1": sp.Eq(pull1, 0),
            "k2": sp.Eq(pull2, reverse),
            "k3": sp.Eq(pull3, forward),
            "k1 in the reward": sp.Eq(rewarded, as_loss),
        },
    ),
    source=sy.Source(
        "2510.01555",
        "v2",
        "the equivalence of k1 in the reward and k2 as a loss; 2506.09477 v1 and 2512.21852 v2 on placements",
        relation="implies",
        says=(
            "on policy k1 in the reward and k2 as a loss have the same gradient, that of the reverse KL; "
            "k1 as a loss has none"
        ),
    ),
    verdict="proved",
    scope=(
        "softmax policies; whole completions as answers, so sequences too if k is the log-ratio of everything that was "
        "sampled"
    ),
    proof=(
        r"A loss with the slope f(k) pulls at a logit with $\mathrm{E}[f s_j] = \pi_j (f_j - \mathrm{E} f)$. "
        r"The slopes are 1, k and $1 - e^{-k}$, traced from the shipped penalties, so the pulls are 0, $\pi_j "
        r"(k_j - \mathrm{KL})$ and $\pi_j - \pi_{\text{ref},j}$. The chain rule through the softmax gives the "
        r"same as the derivatives of the reverse and of the forward KL. In the reward $k_1$ is a number times "
        r"the score, and that number is the slope of $k_2$."
    ),
    finding=(
        r"The value and the gradient are different questions: $k_1$ and $k_3$ have the value $\mathrm{KL}(\pi \| "
        r"\pi_{\text{ref}})$ in expectation, and neither has its gradient."
    ),
)


@token_claim.step(
    "Any number of answers",
    route="sympy",
    shows=(
        r"answer j apart, the others in sums: $\sum_i \pi_i = 1$, $\sum_i \pi_{\text{ref},i} = 1$, $K = "
        r"\sum_{i \ne j} \pi_i k_i$"
    ),
)
def any_number(swap=False, half=sp.Rational(1, 2)):
    pi, ref = sp.symbols("p q", positive=True)
    log_ratio, others = sp.symbols("k K", real=True)  # k_j, and the sum of pi_i k_i over the others

    def pull(own_slope, to_go_pull):
        """E[f s_j]: ``own`` is f at j, ``rest`` the sum of pi_i f_i over the others."""
        return pi * own_slope * (1 - pi) - pi * to_go_pull

    slopes = (1, 1 - pi), (log_ratio, others), (1 - ref / pi, (1 - pi) - (1 - ref))
    first, second, third = (pull(*slope) for slope in slopes)
    # d pi_i = pi_i (1{i=j} - pi_j) d theta_j, through pi log(pi / ref) and through -ref log(pi).
    reverse_slope = pi * (1 - pi) * (log_ratio + 1) - pi * (others + (1 - pi))
    forward_slope = -ref * (1 - pi) + (1 - ref) * pi
    token_claim.goal("k1").holds({pull1: first})
    token_claim.goal("k2").holds({pull2: third if swap else second, reverse: reverse_slope})
    token_claim.goal("k3").holds({pull3: third, forward: forward_slope})
    x, reference = sp.symbols("x ref", real=True)
    in_loss = sp.diff(half * (x - reference) ** 2, x)
    token_claim.goal("k1 in the reward").holds({rewarded: x - reference, as_loss: in_loss})


@token_claim.step(
    "Symbolic logits",
    route="smt",
    shows="the derivative of k3's mean pull against the forward KL's by every logit, two answers as odds, by z3",
)
def odds(power=1):
    odd, ref = sp.symbols("o r", positive=True)
    pi = odd / (1 + odd)  # theta_1 - theta_2 = log(o): d/dtheta_1 = o d/do
    k3 = pi * (1 - ref / pi) * (1 - pi) - (1 - pi) * (1 - (1 - ref) / (1 - pi)) * pi
    slope = odd**power * (-ref * sp.diff(pi, odd) / pi + (1 - ref) * sp.diff(pi, odd) / (1 - pi))
    sy.require(sy.smt_valid([ref < 1], sp.Eq(k3, slope)), "the pull of k3 with two answers")
    token_claim.goal("k3").holds({pull3: k3, forward: slope}, at={n: 2}, where=[ref < 1])


def slope(piece):
    """d piece / d logp as traced from the shipped code, a function of k."""
    logp, ref = sy.symbols("logp", (1, 1, 1)), sy.symbols("ref", (1, 1, 1))
    computed = sy.trace(jax.grad(lambda a, b: piece(a, b).sum()), logp, ref).reshape(-1)[0]
    k = sp.Symbol("k", real=True)
    formula = sp.simplify(computed.subs(logp[0, 0, 0], k + ref[0, 0, 0]))
    return lambda value: formula.subs(k, value)


LAWS = ((1, 2, 3, 4), (4, 3, 2, 1), (1, 1, 1, 7)), ((1, 4), (3, 2)), ((1, 1, 3), (2, 2, 1))


@token_claim.step(
    "The shipped penalties",
    route="traced code",
    shows=(
        "traced slopes, averaged over the answers of laws in fifths and tenths, against the chain rule; "
        "k1 in the reward, traced"
    ),
)
def shipped(swap=False, halved=False):
    k2, k3 = (penalty.k3, penalty.k2) if swap else (penalty.k2, penalty.k3)
    slopes = [slope(piece) for piece in (penalty.k1, k2, k3)]
    for laws in LAWS:
        for now, then in itertools.product(laws, repeat=2):
            pi, ref = ([sp.Rational(x, sum(row)) for x in row] for row in (now, then))
            logs = [sp.log(x / y) for x, y in zip(pi, ref, strict=True)]
            for j in range(len(pi)):
                scores = [(1 if i == j else 0) - pi[j] for i in range(len(pi))]
                pulls = [sum(c * f(k) * s for c, k, s in zip(pi, logs, scores, strict=True)) for f in slopes]
                through = [c * s for c, s in zip(pi, scores, strict=True)]  # d pi_i / d theta_j
                by_reverse = sum(d * (k + 1) for d, k in zip(through, logs, strict=True))
                by_forward = -sum(r * d / c for r, d, c in zip(ref, through, pi, strict=True))
                place = {n: len(pi)}
                token_claim.goal("k1").holds({pull1: pulls[0]}, at=place)
                token_claim.goal("k2").holds({pull2: pulls[1], reverse: by_reverse}, at=place)
                token_claim.goal("k3").holds({pull3: pulls[2], forward: by_forward}, at=place)
    ref_logs = sp.symbols("b1:3", real=True)
    group = sy.symbolic_group(
        2, rewards=(0, 0), on_policy=True, logp_ref=np.asarray(ref_logs, object).reshape(1, 2, 1)
    )
    in_reward = weights_of(
        group, penalty.kl_in_reward(advantage.raw, beta=0.5 if halved else 1.0), no_penalty
    )
    in_loss = weights_of(group, advantage.raw, penalty.k2)
    token_claim.goal("k1 in the reward").holds({rewarded: in_reward, as_loss: in_loss})


def weights_of(group, rule, loss):
    """What an advantage with a penalty takes from the weights of rewards of zero."""
    estimator = compose(
        advantage=rule,
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
        penalty=loss,
        min_group=1,
    )
    return -group.weights(estimator).reshape(-1)


@token_claim.step(
    "In rationals",
    route="enumeration",
    shows=r"four answers, 36 pairs of laws: $\mathrm{E}[(1 - e^{-k}) s_j]$ and $\mathrm{E}[s_j]$ by each logit",
)
def rational(other=0):
    rows = (1, 2, 3, 4), (4, 3, 2, 1), (1, 1, 1, 7), (2, 2, 3, 3), (5, 3, 1, 1), (3, 3, 3, 1)
    laws = [[sp.Rational(x, 10) for x in row] for row in rows]
    for pi, ref in itertools.product(laws, repeat=2):
        scores = [[(1 if i == j else 0) - pi[j] for i in range(4)] for j in range(4)]
        k3 = [sum(c * (1 - r / c) * s for c, r, s in zip(pi, ref, row, strict=True)) for row in scores]
        k1 = [sum(c * s for c, s in zip(pi, row, strict=True)) for row in scores]
        by_forward = [-sum(r * s for r, s in zip(ref, row, strict=True)) + other for row in scores]
        token_claim.goal("k3").holds({pull3: k3, forward: by_forward}, at={n: 4})
        token_claim.goal("k1").holds({pull1: k1}, at={n: 4})


token_claim.sabotage("k3 for the reverse KL", any_number, swap=True)
token_claim.sabotage("k squared without the half", any_number, half=1)
token_claim.sabotage("another derivative of the odds", odds, power=2)
token_claim.sabotage("k2 and k3 exchanged", shipped, swap=True)
token_claim.sabotage("half of k1 in the reward", shipped, halved=True)
token_claim.sabotage("a pull on every logit", rational, other=sp.Rational(1, 10))


token_pull_value, to_go_pull, rollout_pull, exact = sp.symbols("t g w d", real=True)
PULLS = {
    token_pull_value: sy.Quantity(
        r"\mathrm{E} \sum_t k_t s_t",
        r"the pull of $k_2$ as a loss of each token, $k_t$ its log-ratio and $s_t$ its score",
    ),
    to_go_pull: sy.Quantity(
        r"\mathrm{E} \sum_{t \le u} k_u s_t", "the pull of the log-ratios of a token and all after it"
    ),
    rollout_pull: sy.Quantity(
        r"\mathrm{E} \sum_{t, u} k_u s_t", "the pull of the whole rollout's log-ratio, as in the reward"
    ),
    exact: sy.Quantity(
        r"\nabla \mathrm{KL}",
        r"the gradient of the KL of whole sequences, $\mathrm{KL}(\pi \| \pi_{\text{ref}})$",
    ),
}
SETTING = "Rollouts of one and two tokens, on policy: go on with one chance, then choose one of two tokens with another"

tokens = sy.Claim(
    id="B24b",
    title="In a sequence, k2 as a token loss has the gradient of k1 in the reward",
    statement=sy.Statement(
        setting=SETTING, quantities=PULLS, goals={"token loss": sp.Eq(token_pull_value, exact)}
    ),
    instead=sy.Statement(
        setting=SETTING,
        quantities=PULLS,
        goals={"to go": sp.Eq(to_go_pull, exact), "whole rollout": sp.Eq(rollout_pull, exact)},
    ),
    source=sy.Source(
        "2506.09477",
        "v1",
        "abstract",
        relation="ours",
        says=(
            "ignoring the sequence gives a partial gradient at best: the same point; the equivalence of one "
            "state (B24a) is to be read for whole sequences"
        ),
        caveat="the statement is a misreading of the one-state equivalence, against which this source itself warns",
    ),
    verdict="refuted",
    scope="rollouts of two tokens; token losses as trainers sum them, on policy",
    proof=(
        r"The gradient of the sequence KL is $\mathrm{E}[(\sum_u k_u) (\sum_t s_t)]$, because the log-ratio's "
        r"own gradient averages to zero. A token's score averages to zero given what came before, so the "
        r"products $k_u s_t$ with $u < t$ vanish and the to-go form is left. The token loss drops those with "
        r"$u > t$ as well: how a token changes which states come after it. With symbolic chances, in exact "
        r"logarithms and in the engine's run of the shipped pieces the first two forms agree; the third has "
        r"no pull on the first token in an example where the KL's gradient has one."
    ),
    finding=(
        r"Token by token, $\sum_t k_t s_t$ leaves out $\sum_{t < u} k_u s_t$: how a token changes which "
        r"states come after it. It is the gradient of the KLs of the states visited, the visits held fixed. "
        r"Summing $k$ over the rest of the rollout (to-go) repairs it."
    ),
)
POLICY, REF = stopping("1/2", "1/3", [0, 0, 0]), stopping("1/2", "2/3", [0, 0, 0])


def token_logs(policy):
    """The log-probability of every token: [completion][token]."""
    a, b = policy.a, policy.b
    return [[sp.log(a), sp.log(b)], [sp.log(a), sp.log(1 - b)], [sp.log(1 - a)]]


def token_pull(policy, ref, rule):
    """E[sum_t weight_t s_t], weights from the tokens' log-ratios."""
    total = [sp.Integer(0)] * 4
    logs = zip(policy.probabilities, policy.token_scores, token_logs(policy), token_logs(ref), strict=True)
    for chance, scores, now, then in logs:
        k = [x - y for x, y in zip(now, then, strict=True)]
        for t, score in enumerate(scores):
            total = [u + chance * rule(k, t) * s for u, s in zip(total, score, strict=True)]
    return total


RULES = {"token": lambda k, t: k[t], "whole": lambda k, t: sum(k), "to go": lambda k, t: sum(k[t:])}


def sequence_kl(policy, ref):
    """The derivatives of the sequence KL by the four logits, through the chances of going on and of token 0."""
    a, b = sp.symbols("p_go p_zero", positive=True)
    go, zero = ref.a, ref.b
    kl = a * sp.log(a / go) + (1 - a) * sp.log((1 - a) / (1 - go))
    kl += a * (b * sp.log(b / zero) + (1 - b) * sp.log((1 - b) / (1 - zero)))
    slopes = [x * (1 - x) * sp.diff(kl, x) for x in (a, b)]  # d x = x (1 - x) d(first logit - second logit)
    numbers = {a: policy.a, b: policy.b}
    return [sign * s.subs(numbers) for s in slopes for sign in (1, -1)]


@tokens.step(
    "Any chances",
    route="sympy",
    shows="the odds of all four choices symbols: both forms against the derivatives of the KL by every logit",
)
def any_chances(form="to go"):
    a, b, go, zero = (x / (1 + x) for x in sp.symbols("o1:5", positive=True))  # chances as odds
    policy, ref = (Stopping(*pair, (0, 0, 0)) for pair in ((a, b), (go, zero)))
    target = sequence_kl(policy, ref)
    tokens.goal("to go").holds({to_go_pull: token_pull(policy, ref, RULES[form]), exact: target})
    tokens.goal("whole rollout").holds({rollout_pull: token_pull(policy, ref, RULES["whole"]), exact: target})


@tokens.step("In exact logarithms", route="enumeration", shows="three policies and references in numbers")
def forms(form="to go"):
    for chances in (("1/2", "1/3", "1/2", "2/3"), ("1/4", "3/5", "2/3", "1/5")):
        policy, ref = stopping(*chances[:2], [0, 0, 0]), stopping(*chances[2:], [0, 0, 0])
        target = sequence_kl(policy, ref)
        tokens.goal("to go").holds({to_go_pull: token_pull(policy, ref, RULES[form]), exact: target})
        tokens.goal("whole rollout").holds(
            {rollout_pull: token_pull(policy, ref, RULES["whole"]), exact: target}
        )


def engine_pull(rule, loss):
    """The engine's mean update with rewards of zero, as what is taken from it."""
    estimator = compose(
        advantage=rule,
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
        penalty=loss,
        min_group=1,
    )
    with jax.enable_x64(True):
        ref = jnp.log(jnp.asarray([[[0.5, 0.5], [2 / 3, 1 / 3]]]))
        return -np.asarray(stopping_engine(estimator, POLICY, 1, ref_params=ref).mean).reshape(-1)


@tokens.step(
    "As shipped",
    route="exact engine",
    shows=(
        "k1 in the reward of the whole rollout and to go; the k2 penalty as a token loss has the token "
        "form as its mean"
    ),
)
def engine(beta=1.0, rule="token"):
    target = [sp.N(x, 20) for x in sequence_kl(POLICY, REF)]
    for place, goal, symbol in (
        (penalty.kl_in_reward, "whole rollout", rollout_pull),
        (penalty.kl_to_go, "to go", to_go_pull),
    ):
        values = {symbol: engine_pull(place(advantage.raw, beta=beta), no_penalty), exact: target}
        tokens.goal(goal).holds(values, tolerance=1e-11)
    seen, form = engine_pull(advantage.raw, penalty.k2), token_pull(POLICY, REF, RULES[rule])
    sy.near(seen, form, 1e-11, "k2 as a token loss and the token form")


@tokens.counterexample(
    "Go on with 1/2 (the reference too), then token 0 with 1/3 (reference 2/3): the token form has no pull "
    "on the first token at all, the sequence KL's gradient has one.",
    a="1/2",
    b="1/3",
    reference="(1/2, 2/3)",
)
def partial(ref=REF):
    form, target = token_pull(POLICY, ref, RULES["token"]), sequence_kl(POLICY, ref)
    sy.require(sy.vanishes(form[0]), "the token form leaves the first token alone")
    tokens.goal("token loss").fails({token_pull_value: form[0], exact: target[0]})
    return sy.Exhibit(
        text=f"sequence KL by the first logit: {sp.simplify(target[0])}, about {sp.N(target[0], 6)}"
    )


tokens.sabotage("the token form for the sequence KL", any_chances, form="token")
tokens.sabotage("the token form", forms, form="token")
tokens.sabotage("half of the penalty in the reward", engine, beta=0.5)
tokens.sabotage("the sequence form for the shipped token loss", engine, rule="whole")
tokens.sabotage("a reference that agrees on the second token", partial, ref=stopping("1/2", "1/3", [0, 0, 0]))
