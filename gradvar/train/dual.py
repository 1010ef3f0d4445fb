"""One step of DPA-GRPO: drafts, verdicts, revisions and decisions; three groups of actions, one step of AdamW.

Two adapters on a frozen base, which is the reference: the generator's (drafts, revisions, decisions) and the
verifier's. The draft itself is not trained, as in the reference implementation's dual mode (see ``paired``).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.protocols import Policy, Task
from gradvar.policies import Transformer
from gradvar.policies.transformer.adapters import MATRICES, fresh_adapters
from gradvar.train import paired
from gradvar.train import rollouts as sampling
from gradvar.train.game import PairedActions
from gradvar.train.improve import tree_norm
from gradvar.train.plan import Plan
from gradvar.train.state import Generated, Limits, State, streams
from gradvar.train.step import METRICS, TrainingStep

GAME_METRICS = ("draft", "verdict", "challenged", "revised", "decision")
ROLES = ("generator", "verifier")


@runtime_checkable
class FormGame(Protocol):
    """A task whose answers are drafts that can be challenged and revised; ``tasks.FormLine`` is one."""

    def asked(self, kind: str, prompts: Array, answers: Array) -> Array:
        """Prompts of the next kind about answers."""
        ...

    def verdicts(self, prompts: Array) -> Array:
        """The challenge and none, [prompt, 2, time]."""
        ...

    def decisions(self, prompts: Array) -> Array:
        """Keep and revise, [prompt, 2, time]."""
        ...

    def says(self, name: str, answers: Array) -> Array:
        """True for answers that are this word."""
        ...

    def is_field(self, prompts: Array, answers: Array) -> Array:
        """True for answers that can be read, [prompt, group]."""
        ...

    def correct(self, prompts: Array, answers: Array) -> Array:
        """True for answers that are right, [prompt, group]."""
        ...


class Part(Protocol):
    """How adapters are made and laid on a frozen base, and the policy at another temperature."""

    def init(self, base: PyTree, key: PRNGKeyArray) -> PyTree:
        """Fresh adapters that change nothing yet."""
        ...

    def merge(self, base: PyTree, part: PyTree) -> PyTree:
        """Parameters of the policy with the adapters."""
        ...

    def policy(self, temperature: float) -> Policy:
        """The policy that draws at this temperature; 1 is the one that is trained."""
        ...


@dataclass(frozen=True)
class LowRank:
    """Low-rank adapters on every matrix of a transformer."""

    transformer: Transformer
    rank: int
    alpha: float

    def init(self, base: PyTree, key: PRNGKeyArray) -> PyTree:
        """A drawn, B zero: the policy starts as the base."""
        return fresh_adapters(base, self.rank, key, MATRICES)

    def merge(self, base: PyTree, part: PyTree) -> PyTree:
        """The base's layers with the adapters beside them."""
        return base | {"layers": base["layers"] | part}

    def policy(self, temperature: float) -> Policy:
        """The transformer with the adapters' scale, its logits divided by the temperature."""
        config = self.transformer.config
        return Transformer(
            replace(
                config, adapter_scale=self.alpha / self.rank, temperature=config.temperature * temperature
            )
        )


class Play(NamedTuple):
    """What was said about each prompt. Where there was no challenge, the rest is there and does not count."""

    drafts: Int[Array, "prompt time"]
    verdict_prompts: Int[Array, "prompt past"]
    verdicts: Int[Array, "prompt time"]
    challenged: Bool[Array, " prompt"]
    revision_prompts: Int[Array, "prompt past"]
    revisions: Int[Array, "prompt revision time"]
    decision_prompts: Int[Array, "prompt past"]
    decisions: Int[Array, "prompt time"]


Draw = Callable[[int, str, Int[Array, "prompt past"]], Int[Array, "prompt group time"]]
"""From the number of the move, the role and its prompts to completions."""


def play(task: FormGame, prompts: Int[Array, "prompt past"], draw: Draw) -> Play:
    """Draft, verdict, revisions and decision. Anything but ``no challenge`` is one, and the first revision is shown."""
    drafts = draw(0, "generator", prompts)[:, 0]
    verdict_prompts, revision_prompts = (task.asked(kind, prompts, drafts) for kind in "?*")
    verdicts = draw(1, "verifier", verdict_prompts)[:, 0]
    revisions = draw(2, "generator", revision_prompts)
    decision_prompts = task.asked("!", revision_prompts, revisions[:, 0])
    decisions = draw(3, "generator", decision_prompts)[:, 0]
    challenged = ~task.says("n", verdicts)
    return Play(
        drafts,
        verdict_prompts,
        verdicts,
        challenged,
        revision_prompts,
        revisions,
        decision_prompts,
        decisions,
    )


@dataclass(frozen=True)
class System:
    """The players as one policy, to be evaluated: the draft, or its revision where that is challenged and approved.

    ``params``: ``base``, ``generator`` and ``verifier``. Draws at temperature 1, with one revision.
    """

    task: Any
    part: Part

    def sample(
        self, params: PyTree, key: PRNGKeyArray, prompts: Int[Array, "prompt past"], group: int
    ) -> Int[Array, "prompt group time"]:
        """Independent games of every prompt.

        Args:
            params: Of base and adapters.
            key: Of the draws.
            prompts: That ask for drafts.
            group: Games of each prompt.
        """
        policy, merged = self.part.policy(1.0), self._merged(params)

        def draw(move: int, role: str, asked: Array) -> Array:
            return policy.sample(merged[role], jax.random.fold_in(key, move), asked, 1)

        final = self._final(jnp.repeat(prompts, group, axis=0), draw)
        return final.reshape(len(prompts), group, -1)

    def greedy(self, params: PyTree, prompts: Int[Array, "prompt past"]) -> Int[Array, "prompt 1 time"]:
        """The game of most likely texts."""
        policy, merged = self.part.policy(1.0), self._merged(params)
        return self._final(prompts, lambda move, role, asked: policy.greedy(merged[role], asked))[:, None]

    def _merged(self, params: PyTree) -> dict[str, PyTree]:
        return {role: self.part.merge(params["base"], params[role]) for role in ROLES}

    def _final(self, prompts: Array, draw: Draw) -> Int[Array, "prompt time"]:
        game = play(self.task, prompts, draw)
        revision = game.revisions[:, :1]
        taken = (
            game.challenged
            & self.task.says("r", game.decisions)
            & self.task.is_field(prompts, revision)[:, 0]
        )
        return jnp.where(taken[:, None], revision[:, 0], game.drafts)


def check_game(task: Task, plan: Plan) -> PairedActions:
    """Return the settings of the plan's game; ``ValueError`` for a task that has no such game."""
    game, bare = plan.arm.game, getattr(task, "task", task)
    assert game is not None
    if not isinstance(bare, FormGame):
        raise ValueError(
            f"task: {type(bare).__name__} has no verdicts and decisions, which arm '{plan.arm.name}' trains on; "
            "give --task form, or a task with asked, verdicts, decisions, says, is_field and correct"
        )
    if plan.arm.group != game.rollouts:
        raise ValueError(
            f"group: {plan.arm.group} in arm '{plan.arm.name}'; give {game.rollouts}, a draft, a verdict, "
            f"{game.revisions} revisions and a decision"
        )
    return game


class DualStep(TrainingStep):
    """The step of an arm with a ``game``: its parameters are both adapters, its reference the frozen base."""

    def __init__(
        self,
        policy: Policy,
        task: Task,
        plan: Plan,
        rule: optax.GradientTransformation | None = None,
        part: Part | None = None,
    ) -> None:
        """Check the plan.

        Args:
            policy: The base, a transformer unless ``part`` is given.
            task: A task with the methods of ``FormGame``, whole or without its held-out prompts.
            plan: Sizes, learning rate and limits of an arm.
            rule: Replaces AdamW; its updates are scaled by minus the learning rate.
            part: Replaces the low-rank adapters.
        """
        self.policy, self.task, self.plan = policy, task, plan
        self.game = check_game(task, plan)
        self.phases, self.needs, self.stale = plan.arm.all_phases(), {"logp_ref"}, 0
        self.metrics = (*METRICS, *GAME_METRICS)
        self._rules: Any = getattr(task, "task", task)
        if part is None:
            if not isinstance(policy, Transformer):
                raise ValueError(f"policy: {type(policy).__name__}; give a Transformer, which has adapters")
            part = LowRank(policy, self.game.rank, self.game.alpha)
        self.part = part
        decayed = optax.add_decayed_weights(self.game.weight_decay)
        self.rule = optax.chain(optax.scale_by_adam(), decayed) if rule is None else rule

    def start(self, seed: Int[Array, ""], params: PyTree) -> State:
        """Return the state before the first step: fresh adapters on ``params``."""
        key = streams(seed).adapters
        parts = {
            role: self.part.init(params, jax.random.fold_in(key, number)) for number, role in enumerate(ROLES)
        }
        empty = Generated.of(0, 0, 0)
        return State(
            seed=jnp.asarray(seed, jnp.int32), step=jnp.zeros((), jnp.int32), phase=jnp.full((), -1, jnp.int32),
            params=parts, memory=self.rule.init(parts), reference=params, critic=(), store=(),
            baseline=jnp.zeros((), jnp.float32), generated=empty, spent=empty,
        )  # fmt: skip

    @property
    def examined(self) -> tuple[Any, Callable[[State], PyTree]]:
        """The system, and its parameters in a state."""
        return System(self._rules, self.part), lambda state: {"base": state.reference, **state.params}

    def step(self, state: State, limits: Limits) -> tuple[State, dict[str, Float[Array, ""]]]:
        """Return the state after one step, and ``metrics``."""
        keys, num = streams(state.seed), self.plan.prompts
        rollout_key = jax.random.fold_in(keys.rollouts, state.step)
        prompts = sampling.stream_prompts(self.task, keys.prompts, state.step * num, num)
        game = play(self._rules, prompts, self._drawing(state, rollout_key))
        batches, figures = self._groups(prompts, game, jax.random.fold_in(rollout_key, 4))
        (value, slope), rate = self._gradient(state, batches), self.rate(state, limits)
        updates, memory = self.rule.update(slope, state.memory, state.params)
        moved = jax.tree.map(lambda u: (-rate * u).astype(u.dtype), updates)
        generated = self._generated(game)
        metrics = figures | {
            "objective": value, "grad_norm": tree_norm(slope), "log_ratio": jnp.zeros(()),
            "critic_loss": jnp.zeros(()), "learning_rate": rate, "reward": figures["draft"],
            "length": jnp.mean(jnp.sum(self.policy.mask(game.drafts), axis=-1)),
        }  # fmt: skip
        state = state._replace(
            params=optax.apply_updates(state.params, moved),
            memory=memory,
            step=state.step + 1,
            phase=jnp.zeros((), jnp.int32),
            generated=state.generated.plus(generated),
            spent=state.spent.plus(generated),
        )
        return state, {name: jnp.asarray(metrics[name], jnp.float32) for name in self.metrics}

    def _drawing(self, state: State, key: PRNGKeyArray) -> Draw:
        game, merged = self.game, {r: self.part.merge(state.reference, state.params[r]) for r in ROLES}
        usual, warm = self.part.policy(game.temperature), self.part.policy(game.revise_temperature)

        def draw(move: int, role: str, asked: Array) -> Array:
            policy, size = (warm, game.revisions) if move == 2 else (usual, 1)
            return policy.sample(merged[role], jax.random.fold_in(key, move), asked, size)

        return draw

    def _groups(self, prompts: Array, game: Play, key: PRNGKeyArray) -> tuple[tuple, dict[str, Array]]:
        """Role, prompts, actions and ``paired.Group`` of the three groups; figures of the play."""
        rules = self._rules
        draft_right = rules.correct(prompts, game.drafts[:, None])[:, 0]
        right, parsed = rules.correct(prompts, game.revisions), rules.is_field(prompts, game.revisions)
        explored = jax.random.bernoulli(key, self.game.explore, draft_right.shape)
        revised = rules.says("r", game.decisions) | explored
        draft_parsed = rules.is_field(prompts, game.drafts[:, None])[:, 0]
        rewards = paired.approver_rewards(draft_right, right[:, 0], parsed[:, 0], self.game)
        decided = paired.approver_group(
            rewards, draft_right, revised, game.challenged, parsed[:, 0], self.game
        )
        batches = (
            ("verifier", game.verdict_prompts, rules.verdicts(game.verdict_prompts),
             paired.verifier_group(draft_right, draft_parsed, self.game)),
            ("generator", game.revision_prompts, game.revisions,
             paired.revision_group(right, parsed, game.challenged)),
            ("generator", game.decision_prompts, rules.decisions(game.decision_prompts), decided),
        )  # fmt: skip
        count = jnp.maximum(jnp.sum(game.challenged), 1)
        best = jnp.argmax(rewards, axis=1) == revised
        figures = {
            "draft": jnp.mean(draft_right), "verdict": jnp.mean(game.challenged != draft_right),
            "challenged": jnp.mean(game.challenged), "revised": jnp.sum(game.challenged & revised) / count,
            "decision": jnp.sum(game.challenged & best) / count,
            "equal": jnp.mean(jnp.sum(batches[1][3].weights, axis=1) == 0),
        }  # fmt: skip
        return batches, figures

    def _stacked(self, batches: tuple) -> dict[str, tuple[Array, Array, paired.Group]]:
        """Prompts, actions and groups of each role in one array each, filled up to equally many actions of weight 0.

        One pass of the network for a role, in place of one for a group, is a smaller program.
        """
        rows: dict[str, list] = {role: [] for role in ROLES}
        for role, asked, actions, group in batches:
            extra = ((0, 0), (0, self.game.revisions - actions.shape[1]))
            filled = paired.Group(*(jnp.pad(x, extra) for x in group))
            rows[role].append((asked, jnp.pad(actions, (*extra, (0, 0))), filled))
        return {role: jax.tree.map(lambda *x: jnp.concatenate(x), *some) for role, some in rows.items()}

    def _gradient(self, state: State, batches: tuple) -> tuple[Array, PyTree]:
        """The objective and minus its gradient by both adapters."""
        policy, base, stacked = self.part.policy(1.0), state.reference, self._stacked(batches)
        asked = jnp.concatenate([stacked[role][0] for role in ROLES])
        actions = jnp.concatenate([stacked[role][1] for role in ROLES])
        splits = [len(stacked[ROLES[0]][0])]
        references = jnp.split(policy.logprobs(base, asked, actions), splits)

        def loss(parts: PyTree) -> tuple[Array, Array]:
            total = jnp.zeros(())
            for role, logp_ref in zip(ROLES, references, strict=True):
                asked, actions, group = stacked[role]
                logp = policy.logprobs(self.part.merge(base, parts[role]), asked, actions)
                mask = policy.mask(actions)
                total = total + paired.actions_objective(logp, logp_ref, mask, group, self.game)
            return -total, total

        (_, value), slope = jax.value_and_grad(loss, has_aux=True)(state.params)
        return value, slope

    def _generated(self, game: Play) -> Generated:
        """Drafts and verdicts of all prompts; revisions and decisions of the challenged ones only."""
        mask, some = self.policy.mask, game.challenged
        always = sum(jnp.sum(mask(x), dtype=jnp.int32) for x in (game.drafts, game.verdicts))
        revised = jnp.sum(mask(game.revisions) & some[:, None, None], dtype=jnp.int32)
        decided = jnp.sum(mask(game.decisions) & some[:, None], dtype=jnp.int32)
        rollouts = 2 * len(some) + (self.game.revisions + 1) * jnp.sum(some, dtype=jnp.int32)
        return Generated.of(len(some), rollouts, always + revised + decided)
