"""Countdown and verification, against plain Python."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.core.protocols import Task
from gradvar.tasks import Countdown, FormLine, Verification


def value(expression):
    """Left to right, without precedence."""
    total = int(expression[0])
    for sign, digit in zip(expression[1::2], expression[2::2], strict=True):
        total = {"+": total + int(digit), "-": total - int(digit), "*": total * int(digit)}[sign]
    return total


def is_right(prompt, line):
    """Whether a completion answers a countdown prompt, by the rules in words."""
    given, target = prompt.rstrip("=").split(":")
    if not line.endswith(".") or len(line) != 2 * len(given):
        return False
    expression = line[:-1]
    digits, signs = expression[::2], expression[1::2]
    formed = digits.isdigit() and all(sign in "+-*" for sign in signs)
    return formed and sorted(digits) == sorted(given) and value(expression) == int(target)


@pytest.mark.parametrize("numbers", [2, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_every_countdown_prompt_has_a_solution(numbers):
    task = Countdown(numbers)
    assert isinstance(task, Task)
    prompts = task.prompts(jax.random.key(0), 200)
    solutions = task.solution(prompts)
    assert (np.asarray(task.reward(prompts, solutions)) == 1).all()
    texts = task.decode(prompts)
    assert all(is_right(*pair) for pair in zip(texts, task.decode(solutions), strict=True))
    np.testing.assert_array_equal(task.encode(texts, task.prompt_length), prompts)


@pytest.mark.slow
def test_countdown_counts_every_right_expression_and_no_other():
    task = Countdown(2)
    prompts = task.encode(["34:12=", "34:07=", "93:06=", "55:00="], task.prompt_length)
    characters = "03459+-*.:="
    lines = ["".join(line) for line in itertools.product(characters, repeat=4)]
    completions = jnp.asarray([[task.tokens.index(c) for c in line] for line in lines])[None]
    given = jnp.broadcast_to(completions, (4, *completions.shape[1:]))
    rewards = np.asarray(task.reward(prompts, given))
    for prompt, row in zip(task.decode(prompts), rewards, strict=True):
        assert row.tolist() == [float(is_right(prompt, line)) for line in lines]
    assert rewards.sum(1).tolist() == [2, 2, 1, 1]  # 3*4 and 4*3; 3+4 and 4+3; 9-3; 5-5


def test_countdown_refuses_what_it_cannot_read():
    task = Countdown(3)
    with pytest.raises(ValueError, match="5 and 6 tokens long; give 7 and 6"):
        task.reward(jnp.zeros((1, 5), jnp.int32), jnp.zeros((1, 1, 6), jnp.int32))
    with pytest.raises(ValueError, match="numbers: 5; give 2 to 4"):
        Countdown(5)


def text(task, row):
    """All of a row: ``decode`` ends at a stop token, and a question has one inside."""
    return "".join(task.tokens[int(token)] for token in row)


@pytest.mark.slow
def test_verification_asks_and_judges():
    task = Verification(2)
    assert isinstance(task, Task)
    prompts = task.prompts(jax.random.key(0), 2000)
    answers = task.decode(task.solution(prompts))
    kinds = {"asked": 0, "y.": 0, "n.": 0}
    for row, answer in zip(prompts, answers, strict=True):
        prompt = text(task, row)
        first, rest = prompt.lstrip("_").split("+")
        second, proposed = rest.split("=")
        total = (int(first) + int(second)) % 100
        if proposed:
            right = proposed.rstrip("?").rstrip(".") == str(total)
            assert answer == ("y." if right else "n.")
            kinds[answer] += 1
        else:
            assert answer == f"{total}."
            kinds["asked"] += 1
    assert abs(kinds["asked"] - 1000) < 100
    assert abs(kinds["y."] - 500) < 90
    assert abs(kinds["n."] - 500) < 90


@pytest.mark.slow
def test_own_answers_become_questions():
    task = Verification(2)
    asked = jnp.asarray([[task.tokens.index(c) for c in "____47+85="]], jnp.int32)
    answers = jnp.asarray([[task.tokens.index(c) for c in line] for line in ("32.", "33.", "5.7")], jnp.int32)
    questions = task.questions(jnp.repeat(asked, 3, axis=0), answers)
    assert [text(task, row) for row in questions] == ["47+85=32.?", "47+85=33.?", "47+85=5..?"]
    assert task.decode(task.actions(questions)[0]) == ["y.", "n."]
    rewards = task.reward(questions, task.actions(questions))
    np.testing.assert_array_equal(rewards, [[1, 0], [0, 1], [0, 1]])
    np.testing.assert_array_equal(task.questions(questions, answers[::-1]), questions)  # asked already


def right_text(prompt):
    """What answers a prompt of the form, by the rules in words."""
    wages, other, deduction, line = int(prompt[:2]), int(prompt[3:5]), int(prompt[6:8]), prompt[8]
    draft, revision, kind = prompt[9:12], prompt[13:16], prompt[16]
    taxable = max(wages + other - deduction, 0)
    amount = f"{ {'i': wages + other, 't': taxable, 'x': taxable // 10}[line]:03d}"
    if kind == "?":
        return "n." if draft == amount else f"s{line}{draft}."
    if kind == "!":
        return "r." if draft != amount == revision else "k."
    return f"{line}{amount}."


@pytest.mark.slow
def test_lines_of_a_form_are_filled_challenged_and_decided():
    task = FormLine(2)
    assert isinstance(task, Task)

    @jax.jit  # one program in place of many small ones
    def scene(key):
        drafts = task.prompts(key, 400)
        prompts, fields = task.lessons(jax.random.fold_in(key, 1), drafts), task.field(drafts)
        wrong, open_ended = fields.at[..., 1].add(1), fields.at[..., 4].set(0)
        answers = task.solution(prompts)
        seen = (
            task.reward(prompts, answers) == 1, task.is_field(drafts, wrong), ~task.correct(drafts, wrong),
            task.correct(drafts, fields), ~task.is_field(drafts, open_ended),
        )  # fmt: skip
        return prompts, answers, jnp.stack([x.all() for x in seen])

    prompts, solutions, seen = scene(jax.random.key(0))
    texts = [text(task, row) for row in np.asarray(prompts)]
    assert [right_text(prompt) for prompt in texts] == task.decode(solutions)
    kinds = [prompt[-1] for prompt in texts]
    assert min(kinds.count(kind) for kind in "=?*!") > 60
    assert {right_text(prompt)[0] for prompt in texts} == set("itxsnkr")
    assert seen.all(), seen
    with pytest.raises(ValueError, match="digits: 5; give 1 to 4"):
        FormLine(5)
