"""A step: every arm's gradient is the catalogued objective's, and what a step draws depends on seed and step only."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradvar import catalogue
from gradvar.core.batch import Batch
from gradvar.policies import Tabular
from gradvar.tasks import Lookup
from gradvar.train import arms, critic
from gradvar.train.plan import Arm, Phase
from gradvar.train.rollouts import Engine, draw, draw_mixed
from gradvar.train.state import Limits, streams
from gradvar.train.step import METRICS, TrainingStep
from tests.train.conftest import Scene

PROMPTS, SEED = 4, 3
# Other settings of an arm whose step is compiled here: that they are is tested below. A program takes seconds.
SIZES = {"": ("grpo", 4, 8, 32), "-sample-std": ("grpo_sample_std", 2, 8, 16), "-no-std": (None, 2, 4, 16)}
OTHER_SIZES = {f"grpo-{size}{end}" for end, (_, *sizes) in SIZES.items() for size in sizes}
LISTWISE, FORMS = (2, 4, 8, 32), ("forward", "reverse", "pointwise")
OTHER_SIZES |= {f"lpo-{form}-{size}" for form in FORMS for size in LISTWISE}
# The same two phases as "g2d" with other shares or groups served: what differs is in test_systems.
OTHER_SIZES |= {f"g2d-{end}" for end in (10, 25, 75, 90, "one", "calibrated")}
# Objectives alone, on arms whose steps are put together as others are: by closed forms in test_systems.
OTHER_SIZES |= {"lpo-pointwise", "lpo-forward-moving", "lpo-reverse-moving", "sps-printed", "sps-intended"}
# The same arms but for attempts, which are those of "grpo-2-resampled".
OTHER_SIZES |= {"rloo-16-resampled"}
# Arms with a game have a task and tests of their own (test_dual), as have those with an allocation (test_allocation).
NAMES = tuple(
    arm.name
    for arm in arms.ARMS
    if arm.game is None and arm.allocation is None and arm.name not in OTHER_SIZES
)
# One arm for each way in which a step is put together; the others differ from one of them in the objective alone.
STRUCTURES = (
    *(
        "grpo-2",
        "grpo-16-kl",
        "grpo-2-resampled",
        "reinforce-baseline",
        "ppo",
        "dpo-online",
        "dpo-offline",
        "g2d",
    ),
    *("sps", "reinforce-contrast", "baseline-optimal", "gspo"),
)


@pytest.fixture(scope="module")
def tabular_scene():
    """For arms that differ in the objective alone: a policy that takes a third of the time to compile."""
    policy = Tabular(5, 2, num_prompts=6, stop=4)
    support = policy.support()
    rewards = np.random.default_rng(1).integers(0, 2, (6, len(support))) * 1.0
    params = 0.5 * jax.random.normal(jax.random.key(0), policy.init(jax.random.key(0)).shape, jnp.float64)
    return Scene(policy, Lookup(rewards, support), params, None)


def limits(steps=2, learning_rate=1.0):
    most = jnp.int32(2**31 - 1)
    zero = jnp.float32(0)
    return Limits(jnp.float32(learning_rate), jnp.int32(steps), most, most, zero, jnp.float32(1), most)


def single(arm, **more):
    """The arm with one optimiser step per batch, no replaced groups and a small store."""
    return dataclasses.replace(arm, epochs=1, minibatches=1, attempts=1, store=PROMPTS, **more)


def flat(tree):
    return np.concatenate([np.asarray(x, np.float64).ravel() for x in jax.tree.leaves(tree)])


def rollouts_by_hand(scene, params, arm, stored):
    """The first step's prompts, completions, rewards and mask, drawn one prompt at a time."""
    keys = streams(jnp.int32(SEED))
    prompt_key, rollout_key = keys.prompts, jax.random.fold_in(keys.rollouts, 0)
    if stored:
        key = jax.random.fold_in(keys.store, 0)
        prompt_key, rollout_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    prompts = jnp.concatenate(
        [scene.task.prompts(jax.random.fold_in(prompt_key, i), 1) for i in range(PROMPTS)]
    )
    completions = scene.policy.sample(params, rollout_key, prompts, arm.group)
    return prompts, completions, scene.task.reward(prompts, completions), scene.policy.mask(completions)


def named(phase):
    """The objective as a user gets it from the catalogue; arms' own objectives as they are."""
    if isinstance(phase.estimator, str):
        return catalogue.get(phase.estimator, **phase.settings)
    return phase.estimator


def squares_by_hand(logp_of, params, mask):
    """Rollout by rollout, the whole batch differentiated each time."""

    def square(q, g):
        return jnp.sum(flat(jax.grad(lambda p: jnp.sum(logp_of(p)[q, g], where=mask[q, g]))(params)) ** 2)

    return jnp.asarray([[square(q, g) for g in range(mask.shape[1])] for q in range(mask.shape[0])])


def gradient_by_hand(scene, estimator, params, reference, drawn):
    prompts, completions, rewards, mask = drawn

    def logp_of(p):
        return scene.policy.logprobs(p, prompts, completions)

    extras = {
        "logp_ref": lambda: logp_of(reference),
        "values": lambda: critic.values(
            scene.policy, critic.init(scene.policy, params), prompts, completions
        ),
        "baseline": lambda: jnp.zeros(PROMPTS),
        "score_squares": lambda: squares_by_hand(logp_of, params, mask),
    }
    batch = Batch(rewards, logp_of(params), mask, **{name: extras[name]() for name in estimator.needs})
    return jax.grad(lambda p: estimator(logp_of(p), batch))(params)


_COMPILED = {}


def compiled(scene, arm):
    """An arm's step without an optimiser, compiled once for all tests that ask for its gradient."""
    key = (scene.policy, arm.name)
    if key not in _COMPILED:
        plan = scene.plan(arm, prompts=PROMPTS, steps=2)
        training = TrainingStep(scene.policy, scene.task, plan, rule=optax.identity())
        _COMPILED[key] = training, jax.jit(training.step)
    return _COMPILED[key]


def first_gradient(scene, arm, *, moved=False):
    """The first step's gradient as the loop takes it, and the catalogued objective's on the same rollouts."""
    training, step = compiled(scene, arm)
    params = scene.params
    if moved:
        params = jax.tree.map(
            lambda x: x + 0.02 * jax.random.normal(jax.random.key(x.size), x.shape), scene.params
        )
    state = training.start(jnp.int32(SEED), scene.params)._replace(params=params)
    after, shown = step(state, limits())
    phase = arm.all_phases()[0]
    stored = phase.source == "stored"
    drawn = rollouts_by_hand(scene, params, arm, stored)
    if stored:  # the same prompts, as often as the step took them
        uniform = jax.random.uniform(
            jax.random.fold_in(jax.random.fold_in(streams(jnp.int32(SEED)).order, 0), 1),
            (PROMPTS,),
            jnp.float32,
        )
        mixed = drawn[2].max(1) > drawn[2].min(1)
        served = jnp.flatnonzero(mixed | (not phase.informative))
        rows = served[jnp.minimum((uniform * len(served)).astype(int), len(served) - 1)]
        drawn = jax.tree.map(lambda x: x[rows], drawn)
    reference = params if stored else scene.params
    expected = gradient_by_hand(scene, named(phase), params, reference, drawn)
    taken = (flat(after.params) - flat(params)) / phase.rate
    return taken, flat(expected), drawn, shown


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_first_gradient_is_the_catalogued_objectives(exact_scene, tabular_scene, name):
    arm = single(arms.get(name))
    taken, expected, drawn, shown = first_gradient(exact_scene if name in STRUCTURES else tabular_scene, arm)
    assert set(shown) == set(METRICS)
    size = np.abs(expected).max()
    assert (drawn[2].max() > drawn[2].min()) & (size > 1e-6)  # there is something to compare
    np.testing.assert_allclose(taken, expected, atol=1e-9 * max(size, 1))


@pytest.mark.parametrize("end", SIZES)
def test_other_group_sizes_are_the_same_arm(end):
    """What is not compiled above: the objective and every setting but the group are those of an arm that is."""
    estimator, *sizes = SIZES[end]
    compiled_arm = arms.get(f"grpo-{8 if end == '-no-std' else 4 if end else 16}{end}")
    assert compiled_arm.name in NAMES
    assert compiled_arm.estimator == (estimator or arms.GRPO_WITHOUT_STD)
    for size in sizes:
        arm = arms.get(f"grpo-{size}{end}")
        same = {"name": arm.name, "summary": arm.summary, "group": size}
        assert arm == dataclasses.replace(compiled_arm, **same)


@pytest.mark.parametrize("form", FORMS)
def test_other_listwise_sizes_are_the_same_arm(form):
    base = arms.get(f"lpo-{form}")
    for size in LISTWISE:
        arm = arms.get(f"lpo-{form}-{size}")
        assert arm == dataclasses.replace(base, name=arm.name, summary=arm.summary, group=size)


def dpo_weights(rewards, mask, values):
    """Ledger, A3: beta sigmoid(0) (s_w - s_l) where rewards differ, the mean over prompts."""
    sign = np.sign(rewards - rewards[:, ::-1])
    return (0.1 / 2 * sign / len(rewards))[..., None] * mask


def ppo_weights(rewards, mask, values):
    """B29 at ratios of one, where no region clips: the advantage, r - V with gamma and lambda 1, a mean over tokens."""
    return (rewards[..., None] - values) * mask / mask.sum()


# Of the objectives alone there is a closed form of every arm in test_first_steps.
LEDGER = {"dpo-online": dpo_weights, "ppo": ppo_weights}


@pytest.mark.slow
@pytest.mark.parametrize("name", LEDGER)
def test_the_first_gradient_is_that_of_the_claims_ledger(exact_scene, name):
    """Token weights by the ledger's closed form, in NumPy, times scores: no objective is differentiated."""
    policy, params = exact_scene.policy, exact_scene.params
    taken, _, (prompts, completions, rewards, mask), _ = first_gradient(exact_scene, single(arms.get(name)))
    values = critic.values(policy, critic.init(policy, params), prompts, completions)
    weights = LEDGER[name](*(np.asarray(x, float) for x in (rewards, mask, values)))

    def pull(weights):
        _, back = jax.vjp(lambda p: policy.logprobs(p, prompts, completions), params)
        return flat(back(jnp.asarray(weights))[0])

    size = np.abs(pull(weights)).max()
    assert size > 1e-6
    # an epsilon of 1e-6 beside the standard deviation
    np.testing.assert_allclose(taken, pull(weights), atol=1e-5 * size)
    wrong = weights * (
        1 + 0.01 * (rewards == rewards.max())[..., None]
    )  # the planted violator: 1 % on the best
    assert np.abs(taken - pull(wrong)).max() > 1e-4 * size


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grpo-16-kl", "dpo-online"])
def test_the_reference_is_the_start_wherever_the_policy_has_gone(exact_scene, name):
    taken, expected, _, _ = first_gradient(exact_scene, single(arms.get(name)), moved=True)
    assert np.abs(expected).max() > 1e-4
    np.testing.assert_allclose(taken, expected, atol=1e-9)


@pytest.mark.slow
def test_another_objective_does_not_pass(exact_scene):
    """The planted violator of the test above."""
    arm = single(arms.get("grpo-16"))
    taken, expected, drawn, _ = first_gradient(exact_scene, arm)
    np.testing.assert_allclose(taken, expected, atol=1e-9)
    params = exact_scene.params
    for name in ("grpo_sample_std", "dr_grpo", "rloo"):
        other = flat(gradient_by_hand(exact_scene, catalogue.get(name), params, params, drawn))
        assert np.abs(taken - other).max() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", STRUCTURES)
def test_every_kind_of_arm_takes_two_steps(scene, name):
    arm = dataclasses.replace(arms.get(name), store=8)
    stepper = TrainingStep(scene.policy, scene.task, scene.plan(arm, steps=2))
    step = jax.jit(stepper.step)
    state = stepper.start(jnp.int32(0), scene.params)
    for _ in range(2):
        state, shown = step(state, limits(learning_rate=1e-3))
        assert np.isfinite(shown["objective"])
    assert int(state.step) == 2
    assert np.isfinite(flat(state.params)).all()
    assert not np.array_equal(flat(state.params), flat(scene.params))


@pytest.mark.slow
def test_arms_see_the_same_prompts_in_the_same_order(scene):
    keys, engine = streams(jnp.int32(5)), Engine(None, scene.params)
    few = [draw(scene.policy, scene.task, engine, keys[:2], 2 * i, 2, 8)[0].prompts for i in range(4)]
    many, drawn = draw(scene.policy, scene.task, engine, keys[:2], 0, 8, 2)
    np.testing.assert_array_equal(np.concatenate(few), many.prompts)
    assert [int(x) for x in drawn] == [8, 16, int(many.mask.sum())]
    other = draw(scene.policy, scene.task, engine, streams(jnp.int32(6))[:2], 0, 8, 2)[0].prompts
    assert not np.array_equal(other, many.prompts)


@pytest.mark.slow
def test_equal_groups_are_replaced_and_counted(scene):
    keys = streams(jnp.int32(1))
    room = jnp.int32(2**30)

    def at(attempts, room=room):
        return draw_mixed(
            scene.policy,
            scene.task,
            Engine(None, scene.params),
            keys[:2],
            jnp.int32(0),
            (6, 2),
            attempts,
            room,
        )

    once, cost_once = at(1)
    often, cost_often = at(8)
    mixed_once, mixed_often = (int((r.rewards.max(1) > r.rewards.min(1)).sum()) for r in (once, often))
    assert mixed_once < 6 == mixed_often
    assert cost_once.rollouts == 12
    assert cost_often.rollouts > 12
    assert cost_often.rollouts % 12 == 0
    assert at(8, jnp.int32(24))[1].rollouts == 24  # bounded by what is left of the budget
    # what was kept is of one piece: rewards belong to their completions
    np.testing.assert_array_equal(scene.task.reward(often.prompts, often.completions), often.rewards)
    np.testing.assert_array_equal(scene.policy.mask(often.completions), often.mask)


@pytest.mark.slow
def test_schedules_and_phases(scene):
    def stepper(**settings):
        return TrainingStep(
            scene.policy, scene.task, scene.plan(Arm("a", "grpo", group=2, **settings), steps=10)
        )

    def rates(stepper):
        state = stepper.start(jnp.int32(0), scene.params)
        return [float(stepper.rate(state._replace(step=jnp.int32(i)), limits(10, 2.0))) for i in (0, 1, 5, 9)]

    assert rates(stepper()) == [2.0] * 4
    assert rates(stepper(schedule="linear")) == pytest.approx([2.0, 1.8, 1.0, 0.2])
    assert rates(stepper(schedule="cosine"))[2] == pytest.approx(1.0)
    assert rates(stepper(warmup=0.4)) == pytest.approx([0.5, 1.0, 2.0, 2.0])
    followed = stepper(phases=(Phase("grpo", share=0.3), Phase("rloo", share=0.7)))
    turned = stepper(cycle=4, phases=(Phase("grpo", share=3), Phase("rloo", share=1)))
    for made, expected in ((followed, [0] * 3 + [1] * 7), (turned, [0, 0, 0, 1] * 2 + [0, 0])):
        state = made.start(jnp.int32(0), scene.params)
        got = [int(made.phase_of(state._replace(step=jnp.int32(i)), limits(10))) for i in range(10)]
        assert got == expected


@pytest.mark.slow
def test_what_cannot_be_met_is_said(scene):
    with pytest.raises(ValueError, match="needs reward_parts"):
        TrainingStep(scene.policy, scene.task, scene.plan(Arm("a", "gdpo")))
    with pytest.raises(ValueError, match="group: 1 in arm 'a' is too small"):
        TrainingStep(scene.policy, scene.task, scene.plan(Arm("a", "grpo", group=1)))
    with pytest.raises(ValueError, match="cycle: 4"):
        Arm("a", "grpo", cycle=4, phases=(Phase("grpo", share=3),)).check()
    with pytest.raises(ValueError, match=r"no 'grpo-3'; nearest: .*grpo-"):
        arms.get("grpo-3")
