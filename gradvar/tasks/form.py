"""Lines of a small form: drafted, challenged, revised and approved; ``47+12-30t:::>:::=`` is answered by ``t029.``."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from gradvar.core.checks import between
from gradvar.tasks.matching import canonical, exact_match
from gradvar.tasks.text import Text

LINES = ("i", "t", "x")
"""Income (wages and other), taxable income (less the deduction, at least 0), tax (a tenth of it, rounded down)."""

KINDS = ("=", "?", "*", "!")
"""What a prompt asks for: a draft, a verdict on it, a revision of it, a decision between both."""


@dataclass(frozen=True)
class FormLine(Text):
    """One line of a form from three amounts of ``digits`` digits: a game of a generator and a verifier.

    A prompt is wages ``+`` other income ``-`` deduction, the line, the drafted amount, ``>``, the revised amount
    (``:`` where there is none yet) and its kind. A draft or a revision is a *field*: the line, an amount of ``digits +
    1`` digits and the stop token; text that is no such field is unparsed. A verdict is ``n.`` (no challenge) or the
    challenge, ``s``, the line, the drafted amount and the stop token: (digits + 4) / 2 times as long, 3 with two
    digits. The decision is ``k.`` (keep) or ``r.`` (revise). Rewards are 1 for the right text, else 0.

    ``prompts`` ask for drafts, ``lessons`` turns them into prompts of all kinds. In the spirit of the tax lines of
    DPA-GRPO (arXiv 2605.08327), where later lines also see earlier ones; here they do not.
    """

    name: ClassVar[str] = "form"
    digits: int = 2

    def __post_init__(self) -> None:
        between("digits", self.digits, 1, 4)

    @property
    def tokens(self) -> tuple[str, ...]:
        """Digits, signs, lines, kinds, the four decisions, the blank and the stop token."""
        return (*"0123456789", "+", "-", ">", *LINES, *KINDS, "s", "n", "k", "r", ":", ".")

    @property
    def prompt_length(self) -> int:
        """Three amounts and two signs, the line, two amounts and ``>``, the kind."""
        return 5 * self.digits + 7

    @property
    def completion_length(self) -> int:
        """The challenge, which is the longest text."""
        return self.digits + 4

    @property
    def _line(self) -> int:
        return 3 * self.digits + 2  # the place of the line in a prompt

    def _written(self, numbers: Int[Array, " prompt"], width: int) -> Int[Array, "prompt digit"]:
        places = 10 ** jnp.arange(width - 1, -1, -1, dtype=jnp.int32)
        return (numbers[:, None] // places % 10).astype(jnp.int32)

    def _sign(self, name: str, like: Array) -> Int[Array, "prompt 1"]:
        return jnp.full((len(like), 1), self.tokens.index(name), jnp.int32)

    def prompts(self, key: PRNGKeyArray, num: int) -> Int[Array, "prompt past"]:
        """``num`` prompts that ask for drafts; amounts and lines uniform and independent."""
        key_amounts, key_lines = jax.random.split(key)
        amounts = jax.random.randint(key_amounts, (3, num), 0, 10**self.digits, jnp.int32)
        lines = jax.random.randint(key_lines, (num, 1), 0, len(LINES), jnp.int32) + self.tokens.index("i")
        wages, other, deduction = (self._written(row, self.digits) for row in amounts)
        blank = jnp.full((num, self.digits + 1), self.tokens.index(":"), jnp.int32)
        signs = {name: self._sign(name, lines) for name in "+->="}
        parts = (
            wages, signs["+"], other, signs["-"], deduction, lines, blank, signs[">"], blank, signs["="],
        )  # fmt: skip
        return jnp.concatenate(parts, axis=1)

    def _amount(self, prompts: Int[Array, "prompt past"]) -> Int[Array, " prompt"]:
        """The right amount of every prompt's line."""
        size, places = self.digits, 10 ** jnp.arange(self.digits - 1, -1, -1, dtype=jnp.int32)
        wages, other, deduction = (prompts[:, i * (size + 1) :][:, :size] @ places for i in range(3))
        income = wages + other
        taxable = jnp.maximum(income - deduction, 0)
        line = prompts[:, self._line] - self.tokens.index("i")
        return jnp.select([line == 0, line == 1], [income, taxable], taxable // 10)

    def field(self, prompts: Int[Array, "prompt past"]) -> Int[Array, "prompt 1 time"]:
        """The right field of every prompt's line, filled up with stop tokens."""
        digits = self._written(self._amount(prompts), self.digits + 1)
        stops = jnp.full((len(prompts), 2), self.stop, jnp.int32)
        return jnp.concatenate([prompts[:, self._line][:, None], digits, stops], axis=1)[:, None]

    def is_field(
        self, prompts: Int[Array, "prompt past"], answers: Int[Array, "prompt group time"]
    ) -> Bool[Array, "prompt group"]:
        """True for answers that are a field of the prompt's line, whatever the amount."""
        line, end = prompts[:, None, self._line], self.digits + 2
        is_digit = (answers[..., 1:end] < 10).all(-1)
        return (answers[..., 0] == line) & is_digit & (answers[..., end] == self.stop)

    def _shown(
        self, prompts: Int[Array, "prompt past"], answers: Int[Array, "prompt time"]
    ) -> Int[Array, "prompt digit"]:
        """The amounts of answers, 0 for those that are no field."""
        amounts = answers[:, 1 : self.digits + 2]
        return jnp.where(self.is_field(prompts, answers[:, None]), amounts, 0).astype(jnp.int32)

    def asked(
        self, kind: str, prompts: Int[Array, "prompt past"], answers: Int[Array, "prompt time"]
    ) -> Int[Array, "prompt past"]:
        """Prompts of the next kind about answers to ``prompts``: ``?`` and ``*`` on a draft, ``!`` on a revision."""
        first = self._line + 1 + (self.digits + 2 if kind == "!" else 0)
        prompts = prompts.at[:, first : first + self.digits + 1].set(self._shown(prompts, answers))
        return prompts.at[:, -1].set(self.tokens.index(kind))

    def verdicts(self, prompts: Int[Array, "prompt past"]) -> Int[Array, "prompt 2 time"]:
        """Both verdicts on the drafted amounts: the challenge, then none."""
        challenge = jnp.concatenate(
            [self._sign("s", prompts), prompts[:, self._line : self._line + self.digits + 2], self._sign(".", prompts)],
            axis=1,
        )  # fmt: skip
        return jnp.stack([challenge, self._short("n", prompts)], axis=1)

    def decisions(self, prompts: Int[Array, "prompt past"]) -> Int[Array, "prompt 2 time"]:
        """Both decisions: keep, then revise."""
        return jnp.stack([self._short(name, prompts) for name in "kr"], axis=1)

    def _short(self, name: str, prompts: Array) -> Int[Array, "prompt time"]:
        row = jnp.full((len(prompts), self.completion_length), self.stop, jnp.int32)
        return row.at[:, 0].set(self.tokens.index(name))

    def solution(self, prompts: Int[Array, "prompt past"]) -> Int[Array, "prompt 1 time"]:
        """The right field; a challenge of what is wrong; revise where the draft is wrong and the revision right."""
        field, size = self.field(prompts), self.digits + 1
        right = field[:, 0, 1 : size + 1]
        draft, revision = (prompts[:, self._line + 1 + i :][:, :size] for i in (0, size + 1))
        wrong = (draft != right).any(-1)
        corrected = wrong & (revision == right).all(-1)
        verdicts, decisions = self.verdicts(prompts), self.decisions(prompts)
        verdict = jnp.where(wrong[:, None], verdicts[:, 0], verdicts[:, 1])[:, None]
        decision = jnp.where(corrected[:, None], decisions[:, 1], decisions[:, 0])[:, None]
        kind = prompts[:, -1][:, None, None]
        verdict_asked, decision_asked = (kind == self.tokens.index(name) for name in "?!")
        return jnp.where(verdict_asked, verdict, jnp.where(decision_asked, decision, field))

    def says(self, name: str, answers: Int[Array, "*batch time"]) -> Bool[Array, "*batch"]:
        """True for answers that are the word ``n.``, ``k.`` or ``r.`` of this name."""
        line = canonical(answers, self.stop)
        return (line[..., 0] == self.tokens.index(name)) & (line[..., 1] == self.stop)

    def lessons(self, key: PRNGKeyArray, drafts: Int[Array, "prompt past"]) -> Int[Array, "prompt past"]:
        """Prompts of all kinds, equally likely, on the lines of ``drafts``; what is shown is right half of the time."""
        num, top = len(drafts), 10 ** (self.digits + 1)
        key_kind, *parts = jax.random.split(key, 3)
        shown = []
        for part in parts:
            off = jax.random.randint(part, (num,), 1, 10, jnp.int32)
            off = jnp.where(jax.random.bernoulli(jax.random.fold_in(part, 1), 0.5, (num,)), 0, off)
            amount = self._written((self._amount(drafts) + off) % top, self.digits + 1)
            shown.append(self.field(drafts)[:, 0].at[:, 1 : self.digits + 2].set(amount))
        asked = [drafts, *(self.asked(kind, drafts, shown[0]) for kind in "?*")]
        asked.append(self.asked("!", asked[1], shown[1]))
        kind = jax.random.randint(key_kind, (num,), 0, len(KINDS), jnp.int32)
        return jnp.stack(asked)[kind, jnp.arange(num)]

    def correct(
        self, prompts: Int[Array, "prompt past"], answers: Int[Array, "prompt group time"]
    ) -> Bool[Array, "prompt group"]:
        """True for answers that are the right field of the prompt's line, whatever the prompt's kind."""
        return exact_match(answers, self.field(prompts), self.stop) > 0
