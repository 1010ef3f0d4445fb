"""A20: the length-normalised score does not average to zero."""

import numpy as np
import sympy as sp

from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

claim = sy.Claim(
    id="A20",
    title="The length-normalised score has mean zero",
    statement=r"$\mathrm{E}\left[\frac{1}{|o|} \nabla \log \pi(o)\right] = 0$, as for the plain score.",
    source=sy.Source("2510.00977", "v3", "Appendix, the lemma on scores used with length normalisation"),
    verdict="refuted",
    scope=(
        "every policy whose mean inverse length is not stationary; true when all completions have one length"
    ),
    finding=(
        r"$\mathrm{E}\left[\frac{1}{|o|} \nabla \log \pi(o)\right] = \nabla "
        r"\mathrm{E}\left[\frac{1}{|o|}\right]$. So with token-means a constant b in the baseline adds "
        r"$-b\, \nabla \mathrm{E}[1/|o|]$: it is no longer free, and rewards that are all equal but for a "
        r"shift push the length."
    ),
)
q = sp.Symbol("q", positive=True)
# One decision in the logit t of stopping, q = sigmoid(t): length 1 with chance q, else 2. dq/dt = q (1 - q).
SCORES = {1: 1 - q, 2: -q}


@claim.step(
    "The identity",
    route="sympy",
    shows=(
        r"$\sum_o \pi(o) \frac{1}{|o|} \nabla \log \pi(o) = \sum_o \frac{1}{|o|} \nabla \pi(o) = \nabla "
        r"\mathrm{E}[1/|o|]$; for one decision to stop, $q (1 - q)/2$"
    ),
)
def identity(power=1):
    chances = {1: q, 2: 1 - q}
    left = sum(chances[n] * SCORES[n] / sp.Integer(n) ** power for n in (1, 2))
    right = sp.diff(sum(chances[n] / sp.Integer(n) for n in (1, 2)), q) * q * (1 - q)
    sy.equal(left, right, "E[s/|o|] = grad E[1/|o|]")
    sy.equal(left, q * (1 - q) / 2, "its value")
    sy.equal(sum(chances[n] * SCORES[n] for n in (1, 2)), 0, "the plain score averages to zero")


@claim.step(
    "It is never zero there",
    route="smt",
    shows=r"$q (1 - q)/2 > 0$ for $0 < q < 1$; with equal lengths n it is $0$",
)
def never(second=2):
    x = sp.Symbol("x", real=True)
    value = x * (1 - x) - (1 - x) * x / sp.Integer(second)
    sy.require(sy.smt_valid([x > 0, x < 1], value > 0), "positive")


@claim.step(
    "GRPO's aggregation uses it",
    route="traced code",
    shows=r"REINFORCE with token-means: every token of rollout i weighs $r_i/(G |o_i|)$",
)
def traced(rule=aggregate.sequence_token_mean):
    rollouts = sy.symbolic_group(2, (1, 2))
    estimator = compose(advantage=advantage.raw, surrogate=surrogate.likelihood, aggregate=rule)
    (a, _), (b, c) = rollouts.weights(estimator)[0]
    r1, r2 = rollouts.rewards[0]
    sy.equal([a, b, c], [r1 / 2, r2 / 4, r2 / 4], "weights of the token mean")


@claim.counterexample(
    "Stop with chance 1/2 after the first token, else after the second; all rewards 1. The mean update of "
    "the stop logit is 1/8 though J is constant; the engine agrees.",
    q="1/2",
    rewards="(1, 1)",
)
def constant_rewards(rule=aggregate.sequence_token_mean):
    half = sp.Rational(1, 2)
    bandit = sy.SymbolicBandit([half, half], [1, 1], scores=[[half], [-half]])
    weights = {aggregate.sequence_token_mean: (1, half), aggregate.sequence_token_sum: (1, 1)}[rule]
    exact = sy.group_moments(bandit, 1, lambda answers: [weights[answers[0]]], by_answer=True)
    sy.require(exact.mean[0] != 0, "the mean update is zero")
    sy.equal(exact.mean[0], sp.Rational(1, 8), "the mean update")
    seen = engine_mean(rule)
    sy.require(abs(seen - 0.125) < 1e-12, f"the engine's mean is {seen}")
    return sy.Exhibit(text=f"exact 1/8, engine {seen:.15f}")


def engine_mean(rule):
    import jax
    import jax.numpy as jnp

    from gradvar.measure.exact.enumerate import exact
    from gradvar.policies import Tabular
    from gradvar.tasks import Lookup

    estimator = compose(advantage=advantage.raw, surrogate=surrogate.likelihood, aggregate=rule, min_group=1)
    with jax.enable_x64(True):
        policy = Tabular(2, 2, stop=0)
        # Zero logits: stop with chance 1/2 at each place; the second token ends the row whatever it is.
        logits = jnp.zeros((1, policy.num_prefixes, 2))
        support = np.asarray(policy.support())
        mean = np.asarray(
            exact(estimator, policy, logits, Lookup(np.ones((1, len(support))), support), 1).mean
        )
    return float(mean.reshape(policy.num_prefixes, 2)[0, 0])


claim.sabotage("1/|o|^2 for 1/|o|", identity, power=2)
claim.sabotage("equal lengths", never, second=1)
claim.sabotage("token sums", traced, rule=aggregate.sequence_token_sum)
claim.sabotage("token sums with constant rewards", constant_rewards, rule=aggregate.sequence_token_sum)
