"""``gradvar record``: sample a local model on your prompts, keep its scores, say which group size buys most."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from gradvar.cli.progress import Bars
from gradvar.cli.results import keep_compiled_programs
from gradvar.files.paths import check_apart, check_file, check_writable

if TYPE_CHECKING:
    from gradvar.measure.bank.bank import ScoreBank
    from gradvar.policies.transformer.adapters import PartialTransformer
    from gradvar.policies.transformer.policy import Pretrained, Transformer
    from gradvar.tasks.questions import Questions


@dataclass(frozen=True)
class Record:
    """Record a score bank of a local Hugging Face model on your own prompts, and advise on the group size.

    Nothing is downloaded. The bank is a folder that `gradvar advise --bank` and `gv.ScoreBank.open` read. If it
    is killed, the same command continues where it stopped.
    """

    model: Annotated[Path, tyro.conf.Positional]
    """Folder of the model: config.json, *.safetensors, tokenizer.json. Llama, Mistral, Qwen2, Qwen3 (also with
    experts), SmolLM, Gemma 2 and 3, Phi-3, OLMo 2, Granite."""
    prompts: Annotated[Path, tyro.conf.Positional]
    """JSONL file; every line an object with "prompt" or "question" and, for exact matching, "answer" (after ####)."""
    reward: str | None = None
    """Instead of answers: module:function or path/to/file.py:function, as reward(prompt, completion) -> float."""
    extract: str | None = None
    """Regular expression for the answer in a completion: its last match, first group, is compared."""
    chat: bool = False
    """Put every prompt through the model's chat template, as a user's message."""
    rollouts: int = 12
    """Completions of every prompt; at least 6, three independent groups of two."""
    limit: int | None = None
    """Only so many prompts, the first ones."""
    completion_length: int = 64
    """Most tokens of a completion."""
    temperature: float = 1.0
    """Of sampling; log-probabilities are those of the tempered policy."""
    estimators: tuple[str, ...] = ("rloo", "grpo", "dr_grpo")
    """Names from `gradvar list` whose figures are printed; the bank serves these and every sequence-level one."""
    scores: str = "all"
    """Whose gradients: all parameters, last:K layers, or lora:RANK adapters on queries and values, at their start."""
    map: Literal["auto", "identity", "rademacher", "gaussian", "hashed"] = "auto"
    """How scores are kept: whole (identity), or a sketch; auto: whole where that fits the memory, else hashed."""
    memory: float = 4.0
    """Gigabytes that the bank may take."""
    time_limit: float | None = None
    """Seconds that the reward may take for one completion."""
    otherwise: float | None = None
    """Reward of a completion on which the reward fails or takes longer; without it that is an error."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of parameters and activations."""
    cost_per_prompt: float = 0.0
    """Cost of a prompt (prefill), in any unit, for the advice."""
    cost_per_rollout: float = 1.0
    """Cost of a rollout (generation), in the same unit."""
    seed: int = 0
    """Of sampling."""
    out: Path = Path("gradvar-bank")
    """Folder for the bank."""
    shard: str | None = None
    """i/n: record the i-th of n parts only, from 1 to n, each by a process of its own into the same folder."""
    quiet: bool = False
    """No progress bar."""
    json: Path | None = None
    """Write the advice and the figures to this file too."""

    def check(self) -> None:
        """Raise ``ValueError`` with one clear line on settings that cannot be met, before any work starts."""
        if self.rollouts < 6:
            raise ValueError(f"rollouts: {self.rollouts}; give 6 or more, three independent groups of two")
        if self.limit is not None and self.limit < 4:
            raise ValueError(f"limit: {self.limit} prompts; give 4 or more")
        if not self.memory > 0:
            raise ValueError(f"memory: {self.memory}; give gigabytes above 0")
        kind, _, size = self.scores.partition(":")
        if self.scores != "all" and (kind not in ("last", "lora") or not size.isdecimal() or int(size) < 1):
            raise ValueError(f"scores: '{self.scores}'; give all, last:K or lora:RANK, such as last:2")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed: {self.seed}; give a whole number from 0 to {2**32 - 1}")
        if self.shard is not None:
            from gradvar.measure.bank.recorder import ShardPart

            ShardPart.parse(self.shard)
        check_writable(self.out)
        if self.json is not None:
            check_file(self.json, "json")
            check_apart({"json": self.json}, [self.prompts])


def run(config: Record) -> int:
    """Record, print figures and advice; the exit code."""
    config.check()
    import jax

    from gradvar import catalogue
    from gradvar.gradients.sketch import Sketch, Whole
    from gradvar.measure.bank.record import record
    from gradvar.measure.bank.recorder import RecordSettings, ShardPart
    from gradvar.policies import Transformer
    from gradvar.tasks.questions import read_questions
    from gradvar.tasks.verifier import Verifier

    estimators = [catalogue.resolve(name) for name in config.estimators]
    texts, answers = read_questions(config.prompts)
    opened = Transformer.from_pretrained(
        config.model,
        completion_length=config.completion_length,
        dtype=config.dtype,
        temperature=config.temperature,
    )
    questions = _questions(config, opened, texts[: config.limit], answers)
    policy, params = _scored(config, opened)
    print(
        f"{len(questions.texts)} prompts, {config.rollouts} completions of each; {_scores_line(policy)}",
        file=sys.stderr,
    )
    keep_compiled_programs()
    scores: Any = "auto"
    if config.map == "identity":
        scores = Whole()
    elif config.map != "auto":
        scores = Sketch(config.map)
    part = None if config.shard is None else ShardPart.parse(config.shard)
    with _kept(config), Bars(config.quiet, lines=True) as bars:
        bank = record(
            policy,
            params,
            Verifier(questions, config.time_limit, config.otherwise),
            jax.random.key(config.seed),
            jax.numpy.asarray(questions.tokens),
            config.rollouts,
            estimators=estimators,
            scores=scores,
            folder=config.out,
            settings=RecordSettings(memory=config.memory * 1e9, monitor=bars, part=part),
        )
    if part is not None and not _is_whole(config, bank):
        return 0
    print(f"{bank}\n")
    _show(config, bank, estimators)
    return _advise(config, bank)


def _is_whole(config: Record, bank: ScoreBank) -> bool:
    """True if the other parts are there too; says what is missing otherwise."""
    shards = bank.info["shards"]
    if shards["there"] == shards["of"]:
        return True
    print(
        f"part {config.shard} is done: {shards['there']} of {shards['of']} shards are in {config.out}; when all parts "
        f"are, gradvar advise --bank {config.out}"
    )
    return False


@contextmanager
def _kept(config: Record) -> Iterator[None]:
    """Say after an interrupt where what is done is, and how to go on."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        kept = str(interrupt) or f"finished shards are kept in {config.out}"
        kept = kept.split(", which ScoreBank.open")[0]
        print(f"stopped: {kept}; the same command continues from there", file=sys.stderr)
        raise


def _questions(config: Record, opened: Pretrained, texts: list[str], answers: list[str] | None) -> Questions:
    from gradvar.tasks.questions import Questions

    if opened.tokenizer is None:
        raise ValueError(
            f"model: {config.model} has no tokenizer.json; save the fast tokenizer in the model's folder"
        )
    if len(texts) < 4:
        raise ValueError(f"prompts: {config.prompts} has {len(texts)}; give 4 or more")
    if config.reward is not None:
        if config.extract is not None:
            raise ValueError(
                f"extract: {config.extract!r} is for answers, and --reward is given; leave one out"
            )
        from gradvar.files.target import load_target

        function: Callable[[str, str], float] = load_target(config.reward)
        return Questions(texts, opened.tokenizer, function, chat=config.chat)
    if answers is None:
        raise ValueError(
            f"prompts: {config.prompts} has no answers; add them, or give --reward module:function"
        )
    return Questions.with_answers(
        texts, answers[: len(texts)], opened.tokenizer, extract=config.extract, chat=config.chat
    )


def _scored(config: Record, opened: Pretrained) -> tuple[Transformer | PartialTransformer, Any]:
    kind, _, size = config.scores.partition(":")
    if kind == "last":
        from gradvar.policies.transformer.adapters import last_layers

        return last_layers(opened.policy, opened.params, int(size))
    if kind == "lora":
        import jax

        from gradvar.policies.transformer.adapters import lora

        return lora(opened.policy, opened.params, int(size), jax.random.key(config.seed))
    return opened.policy, opened.params


def _scores_line(policy: Transformer | PartialTransformer) -> str:
    from gradvar.policies.transformer.adapters import PartialTransformer

    return (
        f"scores of the {policy.description}"
        if isinstance(policy, PartialTransformer)
        else f"scores of all {policy.num_params():,} parameters"
    )


def _show(config: Record, bank: ScoreBank, estimators: list[Any]) -> None:
    """Rewards, and each estimator's noise at groups of two and of a third of the rollouts."""
    rewards = bank.rollouts.rewards
    equal = (rewards.max(1) == rewards.min(1)).mean()
    print(
        f"mean reward {rewards.mean():.3f}; {100 * equal:.0f} % of prompts have equal rewards in all completions"
    )
    print("\nestimator         G   tr Cov of one group [95 %]            signal to noise [95 %]")
    settings = bank.evaluate(estimators, sorted({2, config.rollouts // 3}))
    for (name, size), moments in settings.items():
        estimates = [moments.estimate(figure) for figure in ("trace_cov", "snr")]
        cells = [
            f"{x.value:.3g} [{x.low:.3g}, {x.high:.3g}]" if x.known else f"{x.value:.3g} (no interval)"
            for x in estimates
        ]
        print(f"{name:<16} {size:>2}   {cells[0]:<33} {cells[1]}")
        for note in dict.fromkeys(x.note for x in estimates if x.note):
            print(f"{'':<21}({note})")


def _advise(config: Record, bank: ScoreBank) -> int:
    from gradvar.cli import advise

    rewards = bank.rollouts.rewards
    if (rewards.max(1) == rewards.min(1)).all():
        print(
            "No prompt has completions with different rewards: no group has a signal, so there is nothing to advise."
        )
        return 0
    print()
    return advise.run(
        advise.Advise(
            bank=config.out, cost_per_prompt=config.cost_per_prompt, cost_per_rollout=config.cost_per_rollout,
            json=config.json, estimators=(),
        )
    )  # fmt: skip
