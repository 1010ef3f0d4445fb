"""B16: the gradient on a prefix that all rollouts of a group share, under weighted aggregation."""

import itertools

import sympy as sp
from _stopping import completions, sequence_engine, sequence_weights

from gradvar import catalogue
from gradvar import symbolic as sy

SOURCE = sy.Source(
    "2601.05002", "v1", "Proposition 1 (abstract and a summary seen; the proposition as the ledger has it)"
)

every = sy.Claim(
    id="B16a",
    title="The shared prefix's gradient vanishes for every zero-sum advantage iff the aggregation weights are uniform",
    statement=r"On policy a shared prefix token gets $\left(\sum_i \alpha_i A_i\right) \nabla \log \pi$, $\alpha_i$ the aggregation's weight of rollout i. With $\sum_i A_i = 0$ it vanishes for all such A iff $\alpha_1 = \ldots = \alpha_G$.",
    source=SOURCE,
    verdict="conditional",
    scope="every G >= 2 for the criterion; on policy, where the ratio of a shared token is one and nothing is clipped",
    hypotheses=(
        "the equivalence is read over all zero-sum advantages, not for the group at hand",
        "on policy; the rollouts' advantages sum to zero",
    ),
    finding=(
        r"Uniform weights: Dr. GRPO, RLOO, the token mean (within one group every token weighs the same). GRPO's $1/|o_i|$ is not: its prefix is pushed by $\frac{1}{G} \sum_i A_i/|o_i|$, that is towards making correct answers' short "
        r"prefixes likelier. For a single group it can vanish all the same."
    ),
)


@every.step(
    "If and only if, any G",
    route="sympy",
    shows=r"uniform weights give $\alpha \sum A_i = 0$; conversely $A = e_i - e_j$ (zero sum) gives $\alpha_i - \alpha_j = 0$ for every pair",
)
def iff(shift=0):
    c, total = sp.symbols("c S", real=True)
    sy.equal(c * (total + shift), c * shift + c * total, "uniform weights come out of the sum")
    sy.equal((c * (total + shift)).subs(total, 0), 0, "a zero sum stays zero")
    a, b = sp.symbols("a_i a_j", real=True)
    only = sp.solve(a * 1 + b * (-1), a)
    sy.require(only == [b], f"the pair i, j leaves {only}")


@every.step(
    "As polynomials, G = 2 to 5",
    route="smt",
    shows=r"the negation has no model: weights with some $\alpha_i \ne \alpha_{i+1}$ that kill all the pairs' advantages $e_i - e_{i+1}$",
)
def no_model(pairs=None):
    for size in (2, 3, 4, 5):
        alpha = sp.symbols(f"alpha1:{size + 1}", real=True)
        used = range(size - 1) if pairs is None else range(min(pairs, size - 1))
        assumptions = [sp.Eq(alpha[i] - alpha[i + 1], 0) for i in used]
        sy.require(
            sy.smt_valid(assumptions, sp.And(*[sp.Eq(alpha[0], x) for x in alpha[1:]])),
            f"uniform at G = {size}",
        )


@every.step(
    "The shipped code, symbolic rewards",
    route="traced code",
    shows=r"G = 3, lengths 1, 2, 3: the weights of the three first tokens sum to zero for Dr. GRPO and RLOO, and to $\frac{1}{3} \sum A_i/L_i$ for GRPO",
)
def traced(uniform=("dr_grpo", "rloo")):
    rollouts = sy.symbolic_group(3, lengths=(1, 2, 3), on_policy=True)
    for name in uniform:
        for region in rollouts.regions(catalogue.get(name, **({"eps": 0.0} if name == "grpo" else {}))):
            sy.equal(sp.Add(*region.value[0, :, 0]), 0, f"the prefix under {name}")
    fixed = sy.symbolic_group(3, lengths=(1, 2, 3), rewards=(1, 0, 0), on_policy=True)
    weights = fixed.weights(catalogue.get("grpo", eps=0.0))[0, :, 0]
    a, b = sp.sqrt(2), -1 / sp.sqrt(2)
    sy.equal(sp.Add(*weights), (a / 1 + b / 2 + b / 3) / 3, "the prefix under GRPO")
    return sy.Exhibit(formula=sp.latex(sp.simplify(sp.Add(*weights))))


def prefix_gradient(rewards, lengths, name="grpo"):
    """The exact gradient, in a policy's first-token logits, of a group whose rollouts share their first token."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from gradvar.core.batch import Batch
    from gradvar.policies import Tabular

    # Vocabulary 0 (stop), 1, 2: all rollouts start with 1; those of one more token stop after it, the others go on.
    policy = Tabular(3, 3, stop=0)
    rows = {2: [1, 0, 0], 3: [1, 2, 0]}
    completions = jnp.asarray([[rows[n] for n in lengths]])
    estimator = catalogue.get(name, **({"eps": 0.0} if name == "grpo" else {}))
    with jax.enable_x64(True):
        params = policy.init(jax.random.key(3), dtype=jnp.float64)
        prompts = jnp.zeros((1,), jnp.int32)
        old = policy.logprobs(params, prompts, completions)
        batch = Batch(jnp.asarray([rewards], jnp.float64), old, policy.mask(completions))
        gradient = jax.grad(lambda x: estimator(policy.logprobs(x, prompts, completions), batch))(params)
    return float(np.max(np.abs(np.asarray(gradient)[0, 0])))


@every.counterexample(
    "G = 4, rewards (1, 1, 0, 0), lengths (2, 3, 2, 3): the weights 1/2, 1/3, 1/2, 1/3 are not uniform, and sum A_i/L_i = 0; on a policy over three tokens with a shared first token GRPO's gradient in the first token's logits is zero.",
    rewards="(1, 1, 0, 0)",
    lengths="(2, 3, 2, 3)",
)
def balanced(lengths=(2, 3, 2, 3)):
    rewards = (1, 1, 0, 0)
    sy.equal(
        sp.Add(*[sp.Rational(1 if r else -1, n) for r, n in zip(rewards, lengths, strict=True)]),
        0,
        "the weighted sum",
    )
    sy.require(len(set(lengths)) > 1, "the weights are not uniform")
    seen = prefix_gradient(rewards, lengths)
    sy.require(seen < 1e-12, f"the prefix gradient is {seen}")
    other = prefix_gradient(rewards, (2, 2, 3, 3))
    sy.require(other > 1e-3, "short correct and long wrong rollouts move the prefix")


every.sabotage("advantages that do not sum to zero", iff, shift=1)
every.sabotage("too few pairs", no_model, pairs=1)
every.sabotage("GRPO's weights called uniform", traced, uniform=("grpo",))
every.sabotage("short correct, long wrong rollouts", balanced, lengths=(2, 2, 3, 3))


mean = sy.Claim(
    id="B16b",
    title="With uniform weights a prefix still learns, from the groups that do not share it",
    statement=r"With mean-centred advantages and uniform weights the expected update of a token of any prefix is $\frac{G-1}{G} \nabla J$ in its own logits, all of it from groups in which some rollouts leave the prefix.",
    source=SOURCE,
    verdict="proved",
    ours=True,
    scope="every G >= 2, any rewards, on policy; leave-one-out without the factor",
    finding=(
        r"So the vanishing on a shared prefix is the right answer and no defect: a group that never leaves the prefix says nothing about the alternatives. With weights that are not uniform the prefix gets an extra push whose mean is not zero."
    ),
)


@mean.step(
    "Expectation over groups",
    route="enumeration",
    shows=r"first token shared or not, all groups at G = 2, 3 of an exact policy over completions of 1, 2, 2 tokens: the first token's two logits get exactly $\frac{G-1}{G} \nabla J$, and zero from the groups that share it",
)
def over_groups(name="dr_grpo"):
    rewards = (1, 0, 2)
    policy = completions("1/2", "1/3", rewards)
    settings = {"eps": 0.0} if name == "grpo" else {}
    weights = sequence_weights(catalogue.get(name, **settings), rewards)
    for size in (2, 3):
        total, shared = sp.Integer(0), sp.Integer(0)
        for answers in itertools.product(range(3), repeat=size):
            chance = sp.Mul(*[policy.probabilities[k] for k in answers])
            update = sp.Add(
                *[w * policy.scores[k][0] for w, k in zip(weights(answers), answers, strict=True)]
            )
            total += chance * update
            if len({k == 0 for k in answers}) == 1:
                shared += abs(update)
        sy.equal(total, sp.Rational(size - 1, size) * policy.gradient[0], f"the first token at G = {size}")
        sy.equal(shared, 0, "groups that share their first token")


@mean.step(
    "Why",
    route="sympy",
    shows=r"a group's update in the prefix's logits is $\frac{1}{G} \sum_i A_i s_i$ with $s_i$ the first token's score: B2a with that score gives $\frac{G-1}{G} \mathrm{E}[r s] = \frac{G-1}{G} \nabla J$",
)
def why(extra=1):
    G = sp.Symbol("G", positive=True)
    g, J = sp.symbols("g J", real=True)
    R, S, RS = sp.symbols("R S RS")
    table = {(1, 1): g, (1, 0): J, (0, 1): sp.Integer(0), (0, 0): sp.Integer(1)}
    computed = sy.over_rollouts(
        (RS - R * S / G) / G,
        {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}},
        G,
        lambda e: table[e.get("r", 0), e.get("s", 0)],
    )
    sy.equal(computed, (G - extra) / G * g, "the expected update of the prefix")


@mean.step(
    "The engine",
    route="exact engine",
    shows="stop chance 1/2, second token 1/3, rewards (1, 0, 2), G = 2, Dr. GRPO: the mean gradient of the first token's first logit is half of grad J's entry, not zero",
)
def not_silent(name="dr_grpo"):
    rewards = (1, 0, 2)
    claimed = completions("1/2", "1/3", rewards).gradient[0] / 2
    sy.require(claimed != 0, "the gradient of the prefix")
    seen = sequence_engine(catalogue.get(name), "1/2", "1/3", rewards, 2).mean.reshape(-1)[0]
    sy.require(abs(seen - float(claimed)) < 1e-12, f"the engine has {seen}, the rationals {claimed}")
    return sy.Exhibit(text=f"mean gradient of the first logit: {claimed}")


mean.sabotage("GRPO's weights", over_groups, name="grpo")
mean.sabotage("no factor", why, extra=0)
mean.sabotage("RLOO's scale", not_silent, name="rloo")
