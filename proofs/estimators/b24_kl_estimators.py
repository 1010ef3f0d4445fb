"""B24: what k1, k2, k3 pull with as losses, one step (a); and token by token in a sequence (b)."""

import jax
import sympy as sp
from _short_sequences import mean_agrees, stopping, stopping_engine

from gradvar import symbolic as sy
from gradvar.core.compose import compose, no_penalty
from gradvar.pieces import advantage, aggregate, penalty, surrogate

token_claim = sy.Claim(
    id="B24a",
    title="KL estimators as losses, one state: k1 does nothing, k2 is the reverse KL, k3 the forward KL",
    statement=(
        r"On policy, with $k = \log(\pi/\pi_{\text{ref}})$ of a sampled answer: $\mathrm{E}[\nabla "
        r"k_1] = 0$, $\mathrm{E}[\nabla k_2] = \nabla \mathrm{KL}(\pi \| \pi_{\text{ref}})$, "
        r"$\mathrm{E}[\nabla k_3] = \nabla \mathrm{KL}(\pi_{\text{ref}} \| \pi)$, and $k_1$ in the "
        r"reward has the gradient of $k_2$ as a loss, sample by sample."
    ),
    source=sy.Source(
        "2506.09477", "v1", "with 2512.21852 v2 on placements; the k2 equivalence is also in 2510.01555"
    ),
    verdict="proved",
    scope=(
        "softmax policies with 2 to 4 answers and symbolic logits, any full-support reference; whole "
        "completions as answers, so sequences too if k is the sequence's log-ratio"
    ),
    hypotheses=(
        "on policy",
        "k is the log-ratio of everything that was sampled (one state, or the whole sequence)",
    ),
    finding=(
        r"The value and the gradient are different questions: $k_1$ and $k_3$ have the value "
        r"$\mathrm{KL}(\pi \| \pi_{\text{ref}})$ in expectation, and neither has its gradient."
    ),
)


def softmax(size):
    logits = sp.symbols(f"x1:{size + 1}", real=True)
    weights = [sp.exp(x) for x in logits]
    return logits, [w / sum(weights) for w in weights]


def slope(piece):
    """d piece / d logp as traced from the shipped code, a function of k."""
    logp, ref = sy.symbols("logp", (1, 1, 1)), sy.symbols("ref", (1, 1, 1))
    computed = sy.trace(jax.grad(lambda a, b: piece(a, b).sum()), logp, ref).reshape(-1)[0]
    k = sp.Symbol("k", real=True)
    return sp.simplify(computed.subs(logp[0, 0, 0], k + ref[0, 0, 0])), k


@token_claim.step(
    "The slopes",
    route="traced code",
    shows=r"$\nabla k_1 = s$, $\nabla k_2 = k s$, $\nabla k_3 = (1 - e^{-k}) s$, from the shipped penalties",
)
def slopes(swap=False):
    k2, k3 = (penalty.k3, penalty.k2) if swap else (penalty.k2, penalty.k3)
    for piece, claimed in ((penalty.k1, lambda k: 1), (k2, lambda k: k), (k3, lambda k: 1 - sp.exp(-k))):
        computed, k = slope(piece)
        sy.equal(computed, claimed(k), f"the slope of {piece.__name__}")


def pull(size, weight):
    """E[weight(k) s] by each logit, q the reference."""
    logits, pi = softmax(size)
    q = sp.symbols(f"q1:{size + 1}", positive=True)
    k = [sp.log(a) - sp.log(b) for a, b in zip(pi, q, strict=True)]
    total = []
    for j in range(size):
        scores = [(1 if i == j else 0) - pi[j] for i in range(size)]
        total.append(sum(p * weight(x) * s for p, x, s in zip(pi, k, scores, strict=True)))
    return logits, pi, q, k, total


@token_claim.step(
    "Where they pull",
    route="sympy",
    shows=r"E over the answers, against the derivatives of the two KLs by every logit",
)
def pulls(forward=False):
    for size in (2, 3):
        logits, pi, q, k, first = pull(size, lambda x: 1)
        sy.equal(first, [0] * size, "k1 pulls nowhere")
        reverse = sum(p * x for p, x in zip(pi, k, strict=True))
        other = -sum(b * x for b, x in zip(q, k, strict=True))
        second = pull(size, lambda x: x)[-1]
        third = pull(size, lambda x: 1 - sp.exp(-x))[-1]
        normal = {q[-1]: 1 - sum(q[:-1])}
        target = other if forward else reverse
        sy.equal(
            [x.subs(normal) for x in second],
            [sp.diff(target, x).subs(normal) for x in logits],
            f"k2 with {size} answers",
        )
        sy.equal(
            [x.subs(normal) for x in third],
            [sp.diff(other, x).subs(normal) for x in logits],
            f"k3 with {size} answers",
        )


@token_claim.step(
    "In rationals",
    route="enumeration",
    shows=(
        r"4 answers: $\mathrm{E}[(1 - e^{-k}) s] = \pi - \pi_{\text{ref}}$, the gradient of the "
        r"forward KL by the logits, on 35 pairs of laws"
    ),
)
def rational(other=0):
    laws = [
        [sp.Rational(n, 10) for n in row]
        for row in ((1, 2, 3, 4), (4, 3, 2, 1), (1, 1, 1, 7), (2, 2, 3, 3), (5, 3, 1, 1), (3, 3, 3, 1))
    ]
    for pi in laws:
        for ref in laws:
            for j in range(4):
                scores = [(1 if i == j else 0) - pi[j] for i in range(4)]
                k3 = sum(p * (1 - r / p) * s for p, r, s in zip(pi, ref, scores, strict=True))
                sy.require(k3 == pi[j] - ref[j] + other, "the pull of k3")
                sy.require(sum(p * s for p, s in zip(pi, scores, strict=True)) == 0, "the pull of k1")


@token_claim.step(
    "k1 in the reward is k2 as a loss",
    route="sympy",
    shows=(
        r"both are $k s$ for every sample: the reward's part is a number times s, the loss is $\nabla "
        r"k^2/2$"
    ),
)
def same_sample(half=sp.Rational(1, 2)):
    x, ref = sp.symbols("x ref", real=True)
    logp = sp.Function("logp")(x)
    in_reward = (logp - ref) * sp.diff(logp, x)
    as_loss = sp.diff(half * (logp - ref) ** 2, x)
    sy.require(sp.simplify(in_reward - as_loss) == 0, "the same vector for each sample")


token_claim.sabotage("k2 and k3 exchanged", slopes, swap=True)
token_claim.sabotage("k2 as the forward KL", pulls, forward=True)
token_claim.sabotage("a pull on every logit", rational, other=sp.Rational(1, 10))
token_claim.sabotage("k squared without the half", same_sample, half=1)


tokens = sy.Claim(
    id="B24b",
    title="In a sequence, k2 as a token loss has the gradient of k1 in the reward",
    statement=(
        r"Summing $k_2$ over the tokens of a rollout and differentiating gives $\nabla \mathrm{KL}(\pi "
        r"\| \pi_{\text{ref}})$ of whole sequences, as $k_1$ in the reward does."
    ),
    source=sy.Source(
        "2506.09477",
        "v1",
        "the second pitfall (a partial gradient); 2510.01555 v2 states the equivalence without the sequence",
    ),
    verdict="refuted",
    scope="rollouts of two tokens or more; token losses as trainers sum them, on policy",
    finding=(
        r"Token by token, $\sum_t k_t s_t$ leaves out $\sum_{t < u} k_u s_t$: how a token changes "
        r"which states come after it. It is the gradient of the KLs of the states visited, the visits "
        r"held fixed. Summing $k$ over the rest of the rollout (to-go) repairs it."
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


@tokens.step(
    "The sequence KL's gradient",
    route="sympy",
    shows=(
        r"$\nabla \sum_y \pi(y) \log\frac{\pi(y)}{\pi_{\text{ref}}(y)}$ by the logits equals the "
        r"whole-sequence and the to-go form, symbolically"
    ),
)
def sequence_gradient(rule="to go"):
    x1, x2, _c, _d = sp.symbols("x1 x2 c d", real=True)
    a, b = sp.exp(x1) / (1 + sp.exp(x1)), sp.exp(x2) / (1 + sp.exp(x2))
    k1, k2, k3, k4 = (sp.Symbol(f"k{i}", real=True) for i in range(1, 5))
    # The chain rule on a k_go + a [b k_0 + (1-b) k_1] + (1-a) k_stop; the log-ratios' own derivatives
    # average to zero.
    kl_slope = sp.diff(a, x1) * (k1 + b * k3 + (1 - b) * k4 - k2), a * sp.diff(b, x2) * (k3 - k4)
    rows = (
        (a * b, (k1, k3), ((1 - a), (1 - b))),
        (a * (1 - b), (k1, k4), ((1 - a), -b)),
        (1 - a, (k2,), (-a,)),
    )
    by_first = sum(chance * RULES[rule](list(k), 0) * s[0] for chance, k, s in rows)
    by_second = sum(chance * RULES[rule](list(k), 1) * s[1] for chance, k, s in rows if len(s) == 2)
    sy.equal([by_first, by_second], kl_slope, "the gradient of the sequence KL")


@tokens.step(
    "Three forms in exact logarithms",
    route="enumeration",
    shows="whole-sequence and to-go weights agree; token weights differ on the first token's logits",
)
def forms(other="to go"):
    full = token_pull(POLICY, REF, RULES["whole"])
    sy.require(
        all(sy.vanishes(x - y) for x, y in zip(full, token_pull(POLICY, REF, RULES[other]), strict=True)),
        f"whole and {other} agree",
    )


@tokens.step(
    "As shipped",
    route="exact engine",
    shows=(
        "the k2 penalty as a token loss has the token form as its exact mean, k1 in the reward (of the "
        "whole rollout, or to-go) the sequence form"
    ),
)
def shipped(rule="token", rewarded="whole"):
    import jax.numpy as jnp

    def mean(adv, loss):
        estimator = compose(
            advantage=adv,
            surrogate=surrogate.likelihood,
            aggregate=aggregate.sequence_token_sum,
            penalty=loss,
            min_group=1,
        )
        with jax.enable_x64(True):
            ref = jnp.log(jnp.asarray([[[0.5, 0.5], [2 / 3, 1 / 3]]]))
            return stopping_engine(estimator, POLICY, 1, ref_params=ref)

    def pull(name):
        return [-x for x in token_pull(POLICY, REF, RULES[name])]

    mean_agrees(mean(advantage.raw, penalty.k2), pull(rule), "k2 as a token loss")
    for place in (penalty.kl_in_reward, penalty.kl_to_go):
        seen = mean(place(advantage.raw, beta=1.0), no_penalty)
        mean_agrees(seen, pull(rewarded), f"k1 in the reward, {place.__name__}")


@tokens.counterexample(
    (
        "Go on with 1/2 (the reference too), then token 0 with 1/3 (reference 2/3): the token form has "
        "no pull on the first token at all, the sequence KL's gradient has one."
    ),
    a="1/2",
    b="1/3",
    reference="(1/2, 2/3)",
)
def partial(ref=REF):
    token, full = (token_pull(POLICY, ref, RULES[r]) for r in ("token", "whole"))
    sy.require(sy.vanishes(token[0]), "the token form leaves the first token alone")
    sy.require(not sy.vanishes(full[0]) and abs(sp.N(full[0])) > 1e-3, "the sequence KL pulls at it")
    return sy.Exhibit(
        text=f"sequence KL by the first logit: {sp.simplify(full[0])}, about {sp.N(full[0], 6)}"
    )


tokens.sabotage("the token form for the sequence KL", sequence_gradient, rule="token")
tokens.sabotage("the token form", forms, other="token")
tokens.sabotage("the sequence form for the shipped token loss", shipped, rule="whole")
tokens.sabotage("the token form for the shipped reward", shipped, rewarded="token")
tokens.sabotage("a reference that agrees on the second token", partial, ref=stopping("1/2", "1/3", [0, 0, 0]))
