"""Direct Monte Carlo against enumeration, in standard errors, with sample sizes and seeds fixed beforehand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.core.batch import Batch
from gradvar.core.compose import compose
from gradvar.measure import Work, direct, exact, exact_tables
from gradvar.measure.direct import rehearse, samples
from gradvar.measure.direct_plan import PolicyOnTask
from gradvar.pieces import advantage, aggregate, surrogate
from gradvar.policies import Tabular
from gradvar.stats.figures import BlockSums, effective_blocks, figures, leave_one_out
from gradvar.stats.intervals import interval
from gradvar.tasks import Lookup
from tests.compilations import compilations
from tests.measure import scenes

FIGURES = ("bias_factor", "trace_cov", "signal", "between", "within", "snr")
# With about 40 estimators, 6 figures and a few scenes, the largest |z| of correct code stays below this but once in
# some hundred seeds; a 10 % error in any figure is more than 8 standard errors at this budget.
LARGEST_Z = 5.0
REPLICATES = 20_000


def enumerable():
    return [n for n in catalogue.names() if "reward_parts" not in catalogue.get(n).needs]


def z_scores(estimators, policy, params, task, group_size, old, seed, prompts=1):
    """{(estimator, figure): z} and the largest |z| over the components of the means."""
    tables = exact_tables(policy, params, task, old)
    sampled = direct(
        estimators, policy, params, task, group_size,
        key=jax.random.key(seed), replicates=REPLICATES, prompts=prompts, old_params=old,
    )  # fmt: skip
    scores = {}
    for estimator, got in zip(estimators, sampled, strict=True):
        want = exact(estimator, tables=tables, group_size=group_size, prompts=prompts)
        for figure in FIGURES:
            gap = getattr(got, figure) - getattr(want, figure)
            if got.se[figure] > 1e-12:
                scores[estimator.name, figure] = gap / got.se[figure]
            else:  # nothing varies here, so the figure must be right to rounding
                assert abs(gap) < 1e-10, (estimator.name, figure, gap)
        spread = np.where(got.mean_se > 1e-12, got.mean_se, np.inf)
        scores[estimator.name, "mean"] = np.abs((got.mean - want.mean) / spread).max()
        np.testing.assert_allclose(got.mean[np.isinf(spread)], want.mean[np.isinf(spread)], atol=1e-10)
    return scores


@pytest.mark.parametrize("staleness", [0.0, 0.4])
@pytest.mark.parametrize("scene", ["bandit", "tabular"])
@pytest.mark.slow
def test_every_named_estimator_agrees_with_enumeration(scene, staleness):
    if scene == "bandit":
        policy, params, task = scenes.bandit(11, binary=False, prompts=2)
    else:
        # Success rates of 0.54 and 0.44, so that every estimator has something to say in many replicates. Where one
        # speaks in a hundred (pass@k at p = 0.95), products of pairs are nearly all zero and z is not normal yet.
        policy, params, task = scenes.tabular(17, binary=True)
    old = scenes.moved(policy, params, 13, staleness)
    estimators = [catalogue.get(name) for name in enumerable()]
    size = max(3, *(e.min_group for e in estimators))
    pairs_only = [e for e in estimators if e.name == "grpo_pair"]
    others = [e for e in estimators if e.name != "grpo_pair"]
    scores = z_scores(others, policy, params, task, size, old, 14)
    scores |= z_scores(pairs_only, policy, params, task, 2, old, 15)
    worst = max(scores, key=lambda k: abs(scores[k]))
    assert abs(scores[worst]) < LARGEST_Z, (worst, scores[worst])


@pytest.mark.slow
def test_agrees_with_enumeration_off_policy_and_the_planted_error_is_seen():
    policy, params, task = scenes.tabular(12, binary=True)
    old = scenes.moved(policy, params, 13, 0.4)
    estimators = [catalogue.get(n) for n in ("rloo", "grpo", "dapo")]
    scores = z_scores(estimators, policy, params, task, 2, old, 14)
    assert max(abs(z) for z in scores.values()) < LARGEST_Z
    # Planted: the same estimators said to be sampled on policy; the ratios are then all one.
    tables = exact_tables(policy, params, task)
    sampled = direct(
        estimators, policy, params, task, 2, key=jax.random.key(14), replicates=REPLICATES, old_params=old
    )
    for estimator, got in zip(estimators, sampled, strict=True):
        want = exact(estimator, tables=tables, group_size=2)
        wrong = [abs(getattr(got, f) - getattr(want, f)) / got.se[f] for f in FIGURES]
        assert max(wrong) > LARGEST_Z


@pytest.mark.slow
def test_it_is_autodiff_of_the_objective_of_the_parameters():
    """One replicate by hand, batch-coupled and off policy: the pulled-back token weights equal jax.grad."""
    policy, params, task = scenes.tabular(3, binary=False, shared=True)
    old = scenes.moved(policy, params, 4, 0.3)
    estimator, key = catalogue.get("dapo"), jax.random.key(5)
    got = samples([estimator], PolicyOnTask(policy, task, params, old), 3, key=key, replicates=16, prompts=2)[
        :, 0
    ]

    @jax.jit
    def by_hand(x, sampling):
        grouped = policy.sample(old, sampling, x, 1).reshape(2, 3, -1)
        prompts = x[::3]
        batch = Batch(
            task.reward(prompts, grouped), policy.logprobs(old, prompts, grouped), policy.mask(grouped)
        )
        gradient = jax.grad(lambda p: estimator(policy.logprobs(p, prompts, grouped), batch))(params)
        return jax.flatten_util.ravel_pytree(gradient)[0]

    for pair in range(3):
        key_prompts, *both = jax.random.split(jax.random.fold_in(key, pair), 3)
        x = jnp.repeat(task.prompts(key_prompts, 2), 3, axis=0)
        for which, sampling in enumerate(both):
            np.testing.assert_allclose(got[2 * pair + which], by_hand(x, sampling), rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_results_do_not_depend_on_the_chunk_or_on_company():
    scene = scenes.bandit(1, binary=False, prompts=2)
    measure = partial(
        direct, policy=scene[0], params=scene[1], task=scene[2], group_size=2, key=jax.random.key(0)
    )
    rloo, grpo = catalogue.get("rloo"), catalogue.get("grpo")
    whole, parts = (measure(rloo, replicates=200, work=Work(chunk=c)) for c in (100, 7))
    together = direct([grpo, rloo], *scene, 2, key=jax.random.key(0), replicates=200)[1]
    for other in (parts, together):
        np.testing.assert_allclose(other.mean, whole.mean, rtol=1e-10)
        assert other.replicates == whole.replicates == 200
        for figure in whole.se:
            np.testing.assert_allclose(getattr(other, figure), getattr(whole, figure), rtol=1e-9)
            np.testing.assert_allclose(other.se[figure], whole.se[figure], rtol=1e-8, atol=1e-14)


@pytest.mark.slow
def test_figures_are_those_of_the_sampled_gradients():
    """Block by block: of each replicate's gradient, the sums, squares, pairs and products that the figures need."""
    policy, params, task = scenes.bandit(31, binary=True, prompts=2)
    estimators, key = [catalogue.get("rloo"), catalogue.get("grpo")], jax.random.key(2)
    heard = []
    work = Work(on_progress=lambda *done: heard.append(done))
    found = direct(estimators, policy, params, task, 2, key=key, replicates=32, work=work)
    drawn = samples(estimators, PolicyOnTask(policy, task, params), 2, key=key, replicates=32)
    truth = exact_tables(policy, params, task).true_gradient
    assert heard == [(32, 32)]
    for got, gradients in zip(found, np.moveaxis(drawn, 1, 0), strict=True):
        pairs = gradients.reshape(16, 2, -1).astype(np.float64)  # each a block
        sums = pairs.sum(1)
        blocks = BlockSums(
            count=np.full(16, 2.0),
            gram=sums @ sums.T,
            squares=(pairs**2).sum((1, 2)),
            pairs=(pairs[:, 0] * pairs[:, 1]).sum(-1),
            aligned=sums @ truth,
            truth=np.asarray(truth @ truth),
            truth_known=True,
            joint=(pairs**2).sum(2).prod(1),
        )
        values, errors = figures(blocks)
        assert (got.dof, got.replicates, got.prompts, got.group_size) == (15, 32, 1, 2)
        np.testing.assert_allclose(got.mean, gradients.mean(0), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(got.mean_se, sums.std(0, ddof=1) / 2 / 4, rtol=1e-5, atol=1e-9)
        for figure in values:
            assert getattr(got, figure) == pytest.approx(float(values[figure]), rel=1e-4, abs=1e-7), figure
            assert got.se[figure] == pytest.approx(float(errors[figure]), rel=1e-4, abs=1e-7), figure
            assert got.effective[figure] == pytest.approx(float(effective_blocks(blocks)[figure]), rel=1e-4)
        np.testing.assert_allclose(got.without["snr"], leave_one_out(blocks)["snr"], rtol=1e-3)


@pytest.mark.slow
def test_a_reference_stands_in_for_the_true_gradient():
    """On a fixed batch of prompts grad J is not tabulated; the importance-weighted reference gives the same figures."""
    policy, params, task = scenes.bandit(21, binary=False, prompts=2)
    old = scenes.moved(policy, params, 22, 0.3)
    estimator = catalogue.get("grpo")
    prompts = task.all_prompts()
    got = direct(
        estimator,
        policy,
        params,
        task,
        3,
        key=jax.random.key(1),
        replicates=REPLICATES,
        prompts=prompts,
        old_params=old,
    )
    want = exact(
        estimator, tables=exact_tables(policy, params, task, old), group_size=3, prompts=np.array([0, 1])
    )
    assert got.true_gradient is None
    assert (got.between, got.se["between"]) == (0, 0)
    for figure in ("bias_factor", "cosine", "true_signal", "trace_cov"):
        assert abs(getattr(got, figure) - getattr(want, figure)) < 4 * got.se[figure], figure


@pytest.mark.slow
def test_the_signal_estimate_is_unbiased_where_the_squared_mean_is_not():
    """400 experiments of 32 replicates: the average of the estimates is the exact signal; the square's is far above."""
    policy, params, task = scenes.bandit(31, binary=True, prompts=2)
    estimator = catalogue.get("rloo")
    want = exact(estimator, tables=exact_tables(policy, params, task), group_size=2)
    gradients = samples(
        [estimator], PolicyOnTask(policy, task, params), 2, key=jax.random.key(2), replicates=400 * 32
    )[:, 0]
    pairs = gradients.reshape(400, 16, 2, -1)
    sums = pairs.sum(2)
    values = figures(
        BlockSums(
            count=np.full(16, 2.0),
            gram=np.einsum("xbp,xcp->xbc", sums, sums),
            squares=(pairs**2).sum((2, 3)),
            pairs=(pairs[:, :, 0] * pairs[:, :, 1]).sum(-1),
            aligned=sums @ want.true_gradient,
            truth=np.asarray(want.true_signal),
            truth_known=True,
        )
    ).values

    def z(estimates, exact):
        return (estimates.mean() - exact) / (estimates.std(ddof=1) / 20)

    for figure in ("signal", "trace_cov", "between", "within"):
        assert abs(z(values[figure], getattr(want, figure))) < 4, figure
    assert z((gradients.reshape(400, 32, -1).mean(1) ** 2).sum(-1), want.signal) > 4


@pytest.mark.slow
def test_a_cosine_is_never_beyond_one():
    """Leave-one-out is along grad J, so half of all estimates would come out above one; none does, nor does an
    interval, and every interval still reaches below its estimate."""
    policy, params, task = scenes.bandit(31, binary=True, prompts=2)
    found = [
        direct(catalogue.get("rloo"), policy, params, task, 2, key=jax.random.key(seed), replicates=512)
        for seed in range(12)
    ]
    intervals = [m.interval("cosine") for m in found]
    assert max(m.cosine for m in found) == 1.0
    assert all(low < m.cosine <= high <= 1 for m, (low, high) in zip(found, intervals, strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group_size": 1}, "group_size: 1; rloo needs at least 2"),
        ({"replicates": 15}, "replicates: 15; give an even number"),
        ({"replicates": 8}, "replicates: 8; give an even number of at least 16"),
        ({"prompts": 0}, "prompts: 0; give 1 or more"),
    ],
)
def test_bad_input_is_one_clear_line(change, message):
    policy, params, task = scenes.bandit(0, binary=True)
    arguments = {"group_size": 2, "key": jax.random.key(0), "replicates": 16} | change
    with pytest.raises(ValueError, match=message) as caught:
        direct(catalogue.get("rloo"), policy, params, task, **arguments)
    assert "\n" not in str(caught.value)


def test_what_nothing_supplies_is_named():
    needy = compose(
        advantage=lambda reward_parts: reward_parts.sum(-1),
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
    )
    assert advantage.group_mean(jnp.ones((1, 2))).shape == (1, 2)
    with pytest.raises(ValueError, match="reward_parts"):
        direct(needy, *scenes.bandit(0, binary=True), 2, key=jax.random.key(0), replicates=16)


def test_an_interval_of_what_is_mostly_noise_is_wide_and_quiet():
    low, high = interval([1e9, 4.0], [1e12, 1.0], dof=10, logarithmic=True)
    np.testing.assert_allclose((low[0] + high[0]) / 2, 1e9, rtol=1e-6)
    assert high[0] > 1e12
    np.testing.assert_allclose(low[1] * high[1], 16.0)


@pytest.mark.slow
def test_a_rehearsal_compiles_what_measuring_runs():
    policy = Tabular(2, 2, num_prompts=2)
    task = Lookup([[1.0, 0.0, 0.0, 1.0]] * 2, policy.support())
    estimator, params = catalogue.get("rloo"), policy.init(jax.random.key(0))
    stages = {"sample_prompts", "sample_rollouts", "score", "_weigh_tokens", "pull_back", "sum_blocks"}

    def measured(prompts):
        with compilations() as names:
            direct(
                [estimator], policy, params, task, 2, key=jax.random.key(1), replicates=16, prompts=prompts
            )
        return stages & set(names)

    with compilations() as names:
        rehearse([estimator], policy, task, 2, replicates=16, prompts=2)
    assert stages <= set(names)
    assert not measured(2)
    # the planted violator: batches of another shape, whose gradients are not
    assert measured(3) == stages - {"sum_blocks"}
