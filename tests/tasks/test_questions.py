"""Prompts and verifiers of one's own: what is compared, what is refused, and the same numbers inside compiled code."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.tasks import Questions
from gradvar.tasks.questions import read_questions

LETTERS = "_abcdefghij.#1"


class Letters:
    """A tokenizer of one token per letter; "." ends."""

    def encode(self, texts, *, special=True):
        rows = [[LETTERS.index(c) for c in ("#" if special else "") + text] for text in texts]
        most = max(map(len, rows))
        return np.array([[-1] * (most - len(row)) + row for row in rows])

    def decode(self, tokens):
        return "".join(LETTERS[t] for t in tokens).split(".")[0]

    def chat(self, messages):
        return f"h{messages}h"


def completions(*texts):
    return jnp.asarray(
        [[[LETTERS.index(c) for c in text.ljust(4, ".")] for text in group] for group in texts]
    )


def test_answers_are_compared_without_what_comes_after_the_stop():
    task = Questions.with_answers(["ab", "c"], [" ba ", "d"], Letters())
    np.testing.assert_array_equal(task.tokens, [[12, 1, 2], [-1, 12, 3]])
    written = completions(["ba.a", "bab", "ab"], ["d", "", "dd"])
    expected = [[1, 0, 0], [1, 0, 0]]
    np.testing.assert_array_equal(task.reward(jnp.asarray(task.tokens), written), expected)
    np.testing.assert_array_equal(jax.jit(task.reward)(jnp.asarray(task.tokens), written), expected)
    turned = task.reward(
        jnp.asarray(task.tokens[::-1].copy()), written
    )  # rewards follow the prompts, not the rows
    np.testing.assert_array_equal(turned, [[0, 0, 0], [0, 0, 0]])
    drawn = task.prompts(jax.random.key(0), 50)
    assert {row.tobytes() for row in np.asarray(drawn)} == {row.tobytes() for row in task.tokens}


def test_an_answer_is_extracted_from_the_last_match():
    for pattern in ("#([a-z])", "(?<=#)[a-z]"):
        task = Questions.with_answers(["ab"], ["a"], Letters(), extract=pattern)
        found = task.reward(jnp.asarray(task.tokens), completions(["#b#a", "#a#b", "a", "#a"]))
        np.testing.assert_array_equal(found, [[1, 0, 0, 1]])
    chat = Questions.with_answers(["ab"], ["a"], Letters(), chat=True)
    np.testing.assert_array_equal(chat.tokens, [[8, 1, 2, 8]])


def test_the_function_sees_text():
    seen = []
    task = Questions(
        ["ab", "c"], Letters(), lambda prompt, text: seen.append((prompt, text)) or len(text) / 2
    )
    np.testing.assert_array_equal(task.reward(task.tokens, completions(["ab"], ["abc"])), [[1.0], [1.5]])
    assert seen == [("ab", "ab"), ("c", "abc")]


def fail(prompt, text):
    raise KeyError("no\nsuch")


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Questions([], Letters(), fail), "texts: no prompt"),
    (lambda: Questions(["a", "b", "a"], Letters(), fail), "prompts 0 and 2 are the same"),
    (lambda: Questions.with_answers(["a"], [], Letters()), "answers: 0 for 1"),
    (lambda: Questions.with_answers(["a"], ["a"], Letters(), extract="("), "no regular expression"),
    (lambda: judged(fail), r"on prompt 0 \('ab'\), completion 'a', it raised KeyError"),
    (lambda: judged(lambda p, c: float("nan")), "it gave nan"),
    (lambda: judged(lambda p, c: "x"), "it raised ValueError"),
    (lambda: Questions(["a"], Letters(), fail).reward(jnp.zeros((1, 2)), completions(["a"])), "none of the task's"),
])  # fmt: skip
def test_bad_input_is_one_clear_line(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def judged(reward):
    task = Questions(["ab"], Letters(), reward)
    return task.reward(jnp.asarray(task.tokens), completions(["a"]))


def test_files_of_questions(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"prompt": "a", "answer": "b"}\n\n{"prompt": "c", "answer": 3, "more": []}\n')
    assert read_questions(path) == (["a", "c"], ["b", "3"])
    path.write_text('{"prompt": "a"}\n')
    assert read_questions(path) == (["a"], None)
    path.write_text(
        json.dumps({"question": "q?", "answer": "6 * 200 = <<6*200=1200>>1200\n#### 1,200"})
        + '\n{"problem": "p", "answer": "#### x, y"}\n'
    )
    assert read_questions(path) == (["q?", "p"], ["1200", "x, y"])
    for text, message in {
        "": "no line",
        "[1]": "line 1: no object",
        '{"prompt": "a"}\n{"prompt": 3}': "line 2: no object",
        '{"prompt": "a", "answer": [1]}': r"the answer is \[1\]",
        '{"prompt": "a"': "line 1: no valid JSON",
        '{"prompt": "a"}\n{"prompt": "b", "answer": "c"}': "1 answers for 2 prompts",
        "[" * 100_000: "no valid JSON",
    }.items():
        path.write_text(text)
        with pytest.raises(ValueError, match=message) as caught:
            read_questions(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="no text in UTF-8"):
        read_questions(path)
    with pytest.raises(ValueError, match="cannot be read"):
        read_questions(tmp_path / "gone.jsonl")


@pytest.mark.slow
def test_no_damage_of_a_file_gives_anything_but_a_clear_error(tmp_path):
    """2,000 random damages: what is read is text, and what is refused is one line."""
    path, rng, refused = tmp_path / "q.jsonl", np.random.default_rng(0), []
    lines = [
        json.dumps({"prompt": f"{i} + {i}", "answer": str(2 * i), "more": [1, {"a": None}]}) for i in range(8)
    ]
    whole = "\n".join(lines).encode()
    for _ in range(2000):
        data, at, size = bytearray(whole), int(rng.integers(len(whole))), int(rng.integers(1, 9))
        kind = rng.integers(4)
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del data[at : at + size]
        elif kind == 2:
            data[at:at] = data[at : at + size]
        else:
            data[at : at + size] = rng.bytes(size)
        path.write_bytes(bytes(data))
        try:
            texts, answers = read_questions(path)
        except ValueError as error:
            refused.append(str(error))
        else:
            assert all(isinstance(x, str) for x in [*texts, *(answers or [])])
    assert len(refused) > 400
    assert all("\n" not in line and len(line) < 500 for line in refused)
