"""DPA-GRPO's step against rules and a closed form in plain NumPy: a bigram policy, one table of adapters per role."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradvar.policies.sampler import stop_mask
from gradvar.tasks import FormLine, ModularAddition
from gradvar.train import arms, paired
from gradvar.train.dual import DualStep, System, check_game, play
from gradvar.train.game import PairedActions
from gradvar.train.held_out import Training
from gradvar.train.plan import Arm, Plan
from gradvar.train.state import Limits, streams

TASK = FormLine(digits=1)
PROMPTS = 400


@dataclasses.dataclass(frozen=True)
class Bigram:
    """A token's logits are a row of a table, that of the token before it; a completion starts at the prompt's end."""

    temperature: float = 1.0

    def _logits(self, table, tokens):
        return jax.nn.log_softmax(table[tokens] / self.temperature)

    def logprobs(self, table, prompts, completions):
        first = jnp.broadcast_to(prompts[:, None, -1:], (*completions.shape[:2], 1))
        before = jnp.concatenate([first, completions[..., :-1]], axis=-1)
        chosen = jnp.take_along_axis(self._logits(table, before), completions[..., None], -1)[..., 0]
        return jnp.where(self.mask(completions), chosen, 0.0)

    def sample(self, table, key, prompts, group):
        last = jnp.broadcast_to(prompts[:, -1:], (len(prompts), group))

        def draw(last, key):
            token = jax.random.categorical(key, self._logits(table, last)).astype(jnp.int32)
            return token, token

        _, tokens = jax.lax.scan(draw, last, jax.random.split(key, TASK.completion_length))
        return jnp.moveaxis(tokens, 0, -1)

    def greedy(self, table, prompts):
        return self.sample(table * 1e6, jax.random.key(0), prompts, 1)

    def mask(self, completions):
        return stop_mask(completions, TASK.stop)


@dataclasses.dataclass(frozen=True)
class Added:
    """Adapters that are added to the table."""

    def init(self, base, key):
        return jnp.zeros_like(base)

    def merge(self, base, part):
        return base + part

    def policy(self, temperature):
        return Bigram(temperature)


def table():
    """Logits with which games have all of their cases."""
    names = {name: i for i, name in enumerate(TASK.tokens)}
    logits = np.random.default_rng(0).normal(size=(TASK.vocab, TASK.vocab))
    for before, after in (
        ("=", "ix"),
        ("?", "sn"),
        ("*", "ix"),
        ("!", "kr"),
        ("n", "."),
        ("k", "."),
        ("r", "."),
    ):
        logits[names[before], [names[name] for name in after]] += 6
    for line in "itx":
        logits[names[line], :2] += 6
    logits[:10, :2] += 4
    logits[:10, names["."]] += 4
    return jnp.asarray(logits)


class Scene(NamedTuple):
    step: DualStep
    before: object
    after: object
    shown: dict
    game: object
    explored: np.ndarray


def scene_of():
    game = PairedActions(temperature=1.0, revise_temperature=1.0)
    plan = Plan(Arm("a", arms.PAIRED, group=game.rollouts, game=game), PROMPTS, 1.0, 3)
    stepper = DualStep(Bigram(), Training(TASK), plan, optax.identity(), Added())
    before = stepper.start(jnp.int32(0), table())
    before = before._replace(
        params={
            role: 0.3 * jax.random.normal(jax.random.key(i), before.params[role].shape)
            for i, role in enumerate(before.params)
        }
    )
    most = jnp.int32(2**30)
    limits = Limits(jnp.float32(1), jnp.int32(3), most, most, jnp.float32(0), jnp.float32(1), most)
    after, shown = jax.jit(stepper.step)(before, limits)
    stream = streams(jnp.int32(0))
    keys = jax.random.fold_in(stream.rollouts, 0)
    each = [jax.random.fold_in(stream.prompts, i) for i in range(PROMPTS)]
    prompts = jnp.concatenate([stepper.task.prompts(key, 1) for key in each])
    said = jax.jit(lambda: play(TASK, prompts, stepper._drawing(before, keys)))()
    explored = jax.random.bernoulli(jax.random.fold_in(keys, 4), game.explore, (PROMPTS,))
    return Scene(stepper, before, after, shown, (prompts, said), np.asarray(explored))


@pytest.fixture(scope="module")
def scene():
    with jax.enable_x64(True):
        return scene_of()


def gradient_of(logits, last, tokens):
    """The gradient of a text's log-probability by a bigram table, and how many tokens it has."""
    slope, count = np.zeros_like(logits), 0
    for token in tokens:
        chances = np.exp(logits[last] - logits[last].max())
        slope[last] -= chances / chances.sum()
        slope[last, token] += 1
        count, last = count + 1, token
        if token == TASK.stop:
            break
    return slope, count


def amount_of(prompt):
    """The right amount of a prompt's line, from its text."""
    text = "".join(TASK.tokens[int(t)] for t in prompt)
    wages, other, deduction, line = int(text[0]), int(text[2]), int(text[4]), text[5]
    taxable = max(wages + other - deduction, 0)
    return {"i": wages + other, "t": taxable, "x": taxable // 10}[line], line


def read(prompt, answer):
    """The amount of a field, or None."""
    text = "".join(TASK.tokens[int(t)] for t in answer)
    _, line = amount_of(prompt)
    return int(text[1:3]) if text[0] == line and text[1:3].isdigit() and text[3] == "." else None


def moved_by(scene, role):
    """What the step added to a role's adapters; in NumPy, which keeps the precision."""
    return np.asarray(scene.after.params[role]) - np.asarray(scene.before.params[role])


def by_hand(scene, game):
    """The gradient of both adapters: loops over decisions, in words of the reference implementation."""
    prompts, said = (jax.tree.map(np.asarray, x) for x in scene.game)
    tables = {r: np.asarray(scene.before.reference) + np.asarray(x) for r, x in scene.before.params.items()}
    slopes = {role: np.zeros_like(x) for role, x in tables.items()}
    rows = []
    for q, prompt in enumerate(prompts):
        right, _ = amount_of(prompt)
        draft = read(prompt, said.drafts[q])
        word = [TASK.tokens[int(t)] for t in said.verdicts[q][:2]]
        said_r = [TASK.tokens[int(t)] for t in said.decisions[q][:2]] == ["r", "."]
        revisions = [read(prompt, r) for r in said.revisions[q]]
        rows.append((q, right, draft, word != ["n", "."], revisions, said_r or bool(scene.explored[q])))
    decided = [(row[2] == row[1], row[5]) for row in rows if row[3]]
    share = sum(revise for _, revise in decided) / len(decided)
    bonus = game.balance * max(game.revise_share - share, 0)

    def add(role, last, actions, rewards, scale):
        advantages = (np.array(rewards) - np.mean(rewards)) / (np.std(rewards) + 1e-8)
        for action, advantage in zip(actions, advantages, strict=True):
            slope, count = gradient_of(tables[role], last, action)
            slopes[role] += scale / len(actions) * (advantage - game.beta) * slope / count

    code = TASK.tokens.index
    for q, right, draft, challenged, revisions, revise in rows:
        shown_digits = [int(d) for d in f"{draft or 0:02d}"]
        if draft is not None:
            line = int(prompts[q][TASK._line])
            challenge = [code("s"), line, *shown_digits, code(".")]
            add(
                "verifier",
                code("?"),
                [challenge, [code("n"), code(".")]],
                [draft != right, draft == right],
                0.5,
            )
        if not challenged:
            continue
        parsed = [r for r, value in zip(said.revisions[q], revisions, strict=True) if value is not None]
        rewards = [float(value == right) for value in revisions if value is not None]
        if len(parsed) > 1 and np.std(rewards) > 0:
            add("generator", code("*"), parsed, rewards, 1.0)
        if revisions[0] is None:
            continue
        good = revisions[0] == right
        if draft == right:
            keep, change = 1.5, 0.5 if good else -0.2
        else:
            keep, change = (-0.3, 1.5) if good else (1.0, 0.0)
        counts = {case: decided.count(case) for case in set(decided)}
        rarity = (len(decided) / len(counts)) / counts[(draft == right, revise)]
        words = [[code("k"), code(".")], [code("r"), code(".")]]
        add("generator", code("!"), words, [keep, change + bonus], rarity)
    return slopes, rows


@pytest.mark.slow
def test_the_first_step_is_the_reference_implementations(scene):
    game = scene.step.game
    slopes, rows = by_hand(scene, game)
    kinds = {(draft is not None, draft == right, challenged) for _, right, draft, challenged, _, _ in rows}
    assert len(kinds) == 6  # every case is among them
    for role, expected in slopes.items():
        taken = moved_by(scene, role)
        np.testing.assert_allclose(taken, expected, atol=1e-6 * np.abs(expected).max(), err_msg=role)
        # the planted violator: 1 % on the penalty's factor, on the verifier's weight, on a reward
    for wrong in ({"beta": 0.0404}, {"balance": 1.515}):
        other, _ = by_hand(scene, dataclasses.replace(game, **wrong))
        taken = moved_by(scene, "generator")
        moved = np.abs(taken - other["generator"]).max()
        assert (moved > 1e-5) == (wrong.get("beta") is not None or scene.shown["revised"] < 0.3)
    assert int(scene.after.generated.rollouts) == 2 * PROMPTS + 6 * sum(row[3] for row in rows)
    assert float(scene.shown["draft"]) == pytest.approx(np.mean([row[2] == row[1] for row in rows]))


def test_the_loss_of_one_pair_is_the_printed_one():
    """-A lp + beta (lp - lp_ref), the mean over both actions, by hand."""
    logp = jnp.asarray([[[-0.5, -1.0, -1.5], [-2.0, 0.0, 0.0]]])
    mask = jnp.asarray([[[True, True, True], [True, False, False]]])
    group = paired.Group(jnp.asarray([[1.0, -1.0]]), jnp.full((1, 2), 0.5))
    for published, length in ((False, 3), (True, 1)):
        game = PairedActions(published=published)
        value = paired.actions_objective(logp, logp - 0.1 * mask, mask, group, game)
        gap = 0.1 * 3 / length
        expected = 0.5 * (3 / length - 0.04 * gap) * -1 + 0.5 * (-2.0 + 0.04 * 0.1) * -1
        assert float(value) == pytest.approx(-(0.5 * (3.0 / length) - 0.5 * 2.0) - 0.02 * (gap + 0.1)), (
            expected
        )


def test_a_game_needs_its_task_and_its_numbers():
    arm = arms.get("dpa-grpo")
    with pytest.raises(
        ValueError, match="ModularAddition has no verdicts and decisions, which arm 'dpa-grpo'"
    ):
        check_game(Training(ModularAddition(2)), Plan(arm, 4, 1.0, 1))
    with pytest.raises(ValueError, match="group: 4 in arm 'dpa-grpo'; give 8"):
        check_game(TASK, Plan(dataclasses.replace(arm, group=4), 4, 1.0, 1))
    for wrong, text in (({"explore": 2.0}, "explore of arm"), ({"revisions": 1}, "revisions of arm")):
        with pytest.raises(ValueError, match=text):
            dataclasses.replace(arm, game=PairedActions(**wrong)).check()
    with pytest.raises(ValueError, match="phases or a game"):
        dataclasses.replace(arm, sampler="fp8").check()


@pytest.mark.slow
def test_the_system_answers_with_the_revision_where_it_is_approved(scene):
    with jax.enable_x64(True):
        prompts, _ = scene.game
        params = scene.step.examined[1](scene.before)
        answers = np.asarray(
            jax.jit(System(TASK, Added()).sample, static_argnums=3)(params, jax.random.key(5), prompts, 2)
        )
        assert answers.shape == (PROMPTS, 2, TASK.completion_length)
        twice, policy = jnp.repeat(prompts, 2, axis=0), Bigram()
        tables = {role: params["base"] + params[role] for role in ("generator", "verifier")}

        def draw(move, role, asked):
            return policy.sample(tables[role], jax.random.fold_in(jax.random.key(5), move), asked, 1)

        said = jax.tree.map(np.asarray, jax.jit(lambda: play(TASK, twice, draw))())
        twice = np.asarray(twice)
        for q, answer in enumerate(answers.reshape(-1, TASK.completion_length)):
            revision = said.revisions[q, 0]
            approved = bool(said.challenged[q]) and [TASK.tokens[int(t)] for t in said.decisions[q][:2]] == [
                "r",
                ".",
            ]
            kept = not (approved and read(twice[q], revision) is not None)
            np.testing.assert_array_equal(answer, said.drafts[q] if kept else revision)
