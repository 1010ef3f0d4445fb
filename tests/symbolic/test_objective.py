"""A user's own objective: laws proved or refuted as they truly are, weights as the exact engine has them."""

from dataclasses import replace

import pytest
import sympy as sp

from gradvar import catalogue
from gradvar.symbolic.analyse.display import merged, render
from gradvar.symbolic.analyse.laws import binary_laws
from gradvar.symbolic.analyse.objective import analyse, load_objective, prompt_weight_of

ORDER = ("unbiased_binary", "unbiased_up_to_constant", "direction_biased_across_prompts")
SOURCE = """
import jax.numpy as jnp

def contrast(logp, batch):
    half = (batch.rewards[:, :1] - batch.rewards[:, 1:2]) / 2
    return jnp.mean(half * (logp[:, 0] - logp[:, 1]))

def ranks(rewards):
    return jnp.sign(rewards - rewards.mean(-1, keepdims=True))

def unreadable(logp, batch):
    return jnp.abs(jnp.fft.fft(logp.reshape(-1))).sum()

def three(a, b, c):
    return a
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def verdicts(analysis):
    return {law.name: law.verdict for law in analysis.laws}


def test_prompt_weights():
    assert prompt_weight_of(catalogue.get("rloo").objective, 3) == 1
    assert prompt_weight_of(catalogue.get("dr_grpo").objective, 3) == sp.Rational(2, 3)
    assert prompt_weight_of(catalogue.get("grpo", eps=0.0).objective, 3) == sp.sqrt(2)
    assert prompt_weight_of(catalogue.get("reinforce").objective, 2) == 1


def test_laws_for_binary_rewards_are_read_off_prompt_weights():
    p, q = sp.symbols("p q", positive=True)

    def laws(weights):
        found = {law.name: law for law in binary_laws(weights)}
        return [found[name].verdict for name in ORDER], found

    for weights, wanted in (
        ({2: sp.Integer(1), 3: sp.Integer(1)}, ["proved", "proved", "refuted"]),
        ({2: sp.Rational(1, 2)}, ["refuted", "proved", "refuted"]),
        ({2: sp.Integer(1), 3: 1 / sp.sqrt(p * (1 - p))}, ["refuted", "refuted", "proved"]),
        ({2: q}, ["undecided"] * 3),
    ):
        assert laws(weights)[0] == wanted, weights
    bent = laws({2: sp.Integer(1), 3: 1 / sp.sqrt(p * (1 - p))})[1]
    assert bent["unbiased_binary"].counterexample == {"G": "3", "p": "1/2", "w(p)": "2"}
    assert bent["unbiased_up_to_constant"].counterexample == {"G": "3", "w(1/2)": "2", "w(1/10)": "10/3"}
    assert laws({2: sp.Rational(1, 2)})[1]["direction_biased_across_prompts"].counterexample == {
        "w(p)": "1/2"
    }
    assert "G = 2, 3" in bent["unbiased_binary"].note


@pytest.mark.slow
def test_leave_one_out_is_unbiased_and_not_standardised():
    analysis = analyse(catalogue.get("rloo").objective)
    assert set(analysis.weights.values()) == {sp.Integer(1)}
    laws = verdicts(analysis)
    assert laws.pop("scale_invariant") == "refuted"
    assert laws.pop("direction_biased_across_prompts") == "refuted"
    assert set(laws.values()) == {"proved"}
    assert any("exact engine agrees" in note for note in analysis.notes)


@pytest.mark.slow
def test_clipped_grpo():
    analysis = analyse(catalogue.get("grpo", eps=1e-4).objective)
    laws = verdicts(analysis)
    assert laws["length_independent"] == "refuted"  # GRPO divides by the length
    assert [n for n, v in laws.items() if v == "proved"] == [
        "zero_sum", "shift_invariant", "zero_on_equal_rewards", "direction_biased_across_prompts",
    ]  # fmt: skip
    shown = list(render(analysis))
    assert shown[0].count("\n") == 0
    assert "w(p) = 5000/5001 at G = 2" in shown[0]
    assert len(list(render(replace(analysis, regions=()), verbose=True))) == len(shown) + 2
    rows = merged(analysis.regions)
    assert len(rows) == 7  # 2 orders of the rewards x (both, one, the other), and none
    assert all(len(alternatives) == 1 for alternatives, weights in rows if any(weights))
    p = sp.Symbol("p", positive=True)
    assert analysis.weights[2] == sp.Rational(5000, 5001)
    assert sp.degree(sp.numer(analysis.weights[4]), p) == 2


@pytest.mark.slow
def test_an_advantage_is_completed_and_a_law_refuted_at_three(file):
    analysis = analyse(load_objective(f"{file}:ranks"))
    laws = {law.name: law for law in analysis.laws}
    assert laws["zero_sum"].verdict == "refuted"
    assert "r3" in laws["zero_sum"].counterexample  # it holds at G = 2
    assert laws["scale_invariant"].verdict == "proved"


@pytest.mark.parametrize(
    ("name", "message"),
    [("nothing", "has no 'nothing'"), ("three", "takes 3 arguments"), ("jnp", "a module, not a function")],
)
def test_bad_targets_are_named(file, name, message):
    with pytest.raises(ValueError, match=message):
        load_objective(f"{file}:{name}")


def test_an_unreadable_objective_names_the_primitive(file):
    with pytest.raises(ValueError, match="fft"):
        analyse(load_objective(f"{file}:unreadable"))


def test_an_estimator_can_be_the_target(file):
    file.write_text("from gradvar import catalogue\nmine = catalogue.get('rloo')\n")
    assert load_objective(f"{file}:mine") is catalogue.get("rloo").objective
