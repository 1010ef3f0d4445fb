"""Prompts and a verifier of your own: text to text, with the reward a Python function or an exact answer.

The reward runs on the host, one completion at a time, on decoded text. Nothing about it need be known to JAX.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gradvar.tasks.matching import check_rollouts

LARGEST = 1 << 30
"""Bytes of a file of prompts at most."""
_PROMPTS = ("prompt", "question", "problem")
_MARK = "####"
Reward = Callable[[str, str], float]


class Texts(Protocol):
    """What is asked of a tokenizer; that of ``Transformer.from_pretrained`` is one."""

    def encode(self, texts: Sequence[str], *, special: bool = True) -> Int[np.ndarray, "prompt past"]:
        """Tokens, padded on the left."""
        ...

    def decode(self, tokens: Int[np.ndarray, " time"]) -> str:
        """The text of some tokens, up to the stop token."""
        ...

    def chat(self, messages: str) -> str:
        """The text of a conversation that begins with this message."""
        ...


class Questions:
    """Prompts as text, each as likely as the others, and ``reward(prompt, completion) -> float``.

    ``tokens`` [question, past]: all prompts, padded on the left.
    """

    name: ClassVar[str] = "questions"

    def __init__(self, texts: Sequence[str], tokenizer: Texts, reward: Reward, *, chat: bool = False) -> None:
        """``chat``: prompts are put through the tokenizer's chat template as a user's message.

        Raises ``ValueError`` for a prompt that is there twice: its rollouts would be two groups.
        """
        self.texts, self.tokenizer, self._reward = tuple(texts), tokenizer, reward
        if not self.texts:
            raise ValueError("texts: no prompt; give one at least")
        seen: dict[str, int] = {}
        for number, text in enumerate(self.texts):
            if seen.setdefault(text, number) != number:
                raise ValueError(
                    f"texts: prompts {seen[text]} and {number} are the same ({text[:40]!r}); give each once"
                )
        asked = [tokenizer.chat(text) for text in self.texts] if chat else self.texts
        self.tokens = np.asarray(tokenizer.encode(list(asked), special=not chat), np.int32)
        self._number = {row.tobytes(): number for number, row in enumerate(self.tokens)}
        rewarded_by = getattr(reward, "__qualname__", reward)
        self._about = f"{len(self.texts)} prompts, {_digest(self.texts)}, {rewarded_by}"

    def __repr__(self) -> str:
        return f"Questions({self._about})"

    @classmethod
    def with_answers(
        cls,
        texts: Sequence[str],
        answers: Sequence[str],
        tokenizer: Texts,
        *,
        extract: str | None = None,
        chat: bool = False,
    ) -> Questions:
        """Reward 1 where the completion is the answer, but for space around both, else 0.

        Args:
            texts: Prompts.
            answers: The right answer to each.
            tokenizer: From text to tokens and back.
            extract: A regular expression; the last match of its first group (or of all of it) in a completion
                is compared instead of the whole completion, as in r"#### *(.+)" or r"boxed\\{(.*?)\\}".
            chat: Put each prompt into the tokenizer's chat template.

        Raises:
            ValueError: For another number of answers, or an ``extract`` that is no regular expression.
        """
        if len(texts) != len(answers):
            raise ValueError(f"answers: {len(answers)} for {len(texts)} prompts; give one for each")
        right = {text: answer.strip() for text, answer in zip(texts, answers, strict=True)}
        try:
            pattern = None if extract is None else re.compile(extract)
        except re.error as error:
            raise ValueError(f"extract: {extract!r} is no regular expression ({error})") from None

        def reward(prompt: str, completion: str) -> float:
            if pattern is not None:
                matches = list(pattern.finditer(completion))
                group = 1 if pattern.groups else 0
                completion = matches[-1].group(group) or "" if matches else ""
            return float(completion.strip() == right[prompt])

        task = cls(texts, tokenizer, reward, chat=chat)
        task._about = f"{len(texts)} prompts with answers, {_digest([*texts, *answers])}, extract={extract!r}"
        return task

    def prompts(self, key: PRNGKeyArray, num: int) -> Int[Array, "prompt past"]:
        """``num`` prompts, drawn uniformly and independently."""
        return jnp.asarray(self.tokens)[jax.random.randint(key, (num,), 0, len(self.texts), jnp.int32)]

    def reward(
        self, prompts: Int[Array, "prompt past"], completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group"]:
        """The reward of every completion, from the host; ``ValueError`` where the function raises or is not finite."""
        check_rollouts(prompts, completions, axes=2)
        shape = jax.ShapeDtypeStruct(completions.shape[:2], jnp.result_type(float))
        if isinstance(prompts, jax.core.Tracer) or isinstance(completions, jax.core.Tracer):
            return jax.pure_callback(self._judge, shape, prompts, completions)
        return jnp.asarray(self._judge(np.asarray(prompts), np.asarray(completions)), shape.dtype)

    def _judge(self, prompts: Any, completions: Any) -> Float[np.ndarray, "prompt group"]:
        prompts, completions = np.asarray(prompts, np.int32), np.asarray(completions)
        rewards = np.empty(completions.shape[:2], np.float64)
        for q, row in enumerate(prompts):
            number = self._number.get(row.tobytes())
            if number is None:
                raise ValueError(f"prompts: prompt {q} is none of the task's; take them from task.tokens")
            for g, tokens in enumerate(completions[q]):
                rewards[q, g] = self._one(number, self.tokenizer.decode(tokens))
        return rewards.astype(jnp.result_type(float))

    def _one(self, number: int, completion: str) -> float:
        text = self.texts[number]
        where = f"reward: on prompt {number} ({text[:40]!r}), completion {completion[:40]!r},"
        try:
            value = float(self._reward(text, completion))
        except Exception as error:
            line = (str(error).splitlines() or [""])[0]
            raise ValueError(
                f"{where} it raised {type(error).__name__}: {line}; fix it, or catch it there"
            ) from error
        if not math.isfinite(value):
            raise ValueError(f"{where} it gave {value}; give finite numbers")
        return value


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:16]


def read_questions(path: Path) -> tuple[list[str], list[str] | None]:
    """Prompts, and answers where every line has one, from a JSONL file of objects with "prompt" and "answer".

    Files of questions as they are published are read too: "question" or "problem" is the prompt, and of an answer
    with "####" (GSM8K, arXiv 2110.14168) what stands after the last one is the answer, without commas in numbers.

    Raises ``ValueError`` naming the line that is not such an object.
    """
    texts: list[str] = []
    answers: list[str] = []
    if path.exists() and not path.is_file():  # a pipe may never end to be read
        raise ValueError(f"prompts: {path} is no plain file; give a JSONL file")
    if path.exists() and path.stat().st_size > LARGEST:
        raise ValueError(f"prompts: {path} has more than {LARGEST >> 20} MB; give fewer prompts at once")
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                text, answer = _question(line, f"prompts: {path}, line {number}:")
                texts.append(text)
                if answer is not None:
                    answers.append(answer)
    except OSError as error:
        raise ValueError(f"prompts: {path} cannot be read ({error.strerror}); give a JSONL file") from None
    except UnicodeDecodeError:
        raise ValueError(f"prompts: {path} is no text in UTF-8; give a JSONL file") from None
    if not texts:
        raise ValueError(
            f'prompts: {path} has no line; give objects such as {{"prompt": "...", "answer": "..."}}'
        )
    if answers and len(answers) != len(texts):
        raise ValueError(
            f"prompts: {path} has {len(answers)} answers for {len(texts)} prompts; give all or none"
        )
    return texts, answers or None


def _question(line: str, where: str) -> tuple[str, str | None]:
    try:
        entry = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{where} no valid JSON ({str(error).splitlines()[0]}); correct the line") from None
    names = [n for n in _PROMPTS if isinstance(entry, dict) and isinstance(entry.get(n), str) and entry[n]]
    if not names:
        raise ValueError(
            f'{where} no object with a text "prompt" (or "question"); give {{"prompt": "...", "answer": "..."}}'
        )
    answer = entry.get("answer")
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        answer = json.dumps(answer)
    if answer is not None and not isinstance(answer, str):
        raise ValueError(f"{where} the answer is {answer!r}; give text")
    return entry[names[0]], _last_line(answer) if answer and _MARK in answer else answer


def _last_line(solution: str) -> str:
    """What stands after the last mark of a worked solution; 1,000 is 1000."""
    answer = solution.rpartition(_MARK)[2].strip()
    return answer.replace(",", "") if re.fullmatch(r"[-+$]?[\d,]+(\.\d+)?", answer) else answer
