"""The kit's own edges: signatures, the command and its exit codes, JSON, the decorator, laziness."""

import json
import re
import shlex
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from gradvar.cli.check import Check, run
from gradvar.files.target import load_target
from gradvar.testing import (
    SignatureError,
    advantage_laws,
    advantage_target,
    check_advantage,
    check_loss,
    loss_target,
)
from gradvar.testing import strategies as gen
from gradvar.testing.laws.exact import World, expected_gradient

from . import sound, violators

SIGNATURES = {
    sound.grpo_one_group: "group",
    sound.grpo_grouped: "grouped",
    sound.rloo_flat: "flat",
    sound.grpo_num_generations: "num-generations",
    sound.grpo_tokens: "token-level",
    violators.merged_by_prompt: "prompt-ids",
}


@pytest.mark.parametrize(("function", "kind"), SIGNATURES.items(), ids=SIGNATURES.values())
def test_signatures_are_found_by_inspection(function, kind):
    assert advantage_target(function).kind == kind


def test_one_argument_is_tried_out():
    def either(rewards):
        return rewards - rewards.mean(-1)[..., None]

    def mixes(rewards):
        return rewards - rewards.mean()

    assert advantage_target(either).kind == "grouped"
    target = advantage_target(mixes)
    assert target.kind == "group"
    assert "--signature grouped" in target.signature.note
    assert (
        check_advantage(mixes, signature="grouped", laws=["group_isolated"])["group_isolated"].status
        == "fails"
    )


def test_what_cannot_be_told_is_asked_for():
    def odd(rewards, temperature):
        return rewards * temperature

    with pytest.raises(SignatureError, match="temperature"):
        advantage_target(odd)
    assert advantage_target(odd, arguments={"temperature": 2.0}).kind in ("group", "grouped")
    with pytest.raises(SignatureError, match="one of"):
        advantage_target(odd, signature="sideways")


def test_a_framework_error_is_a_finding():
    def broken(rewards):
        if rewards.shape[1] > 2:
            raise IndexError("list index out of range")
        return rewards - rewards.mean(axis=1, keepdims=True)

    result = (
        check_advantage(broken, signature="grouped", library_name="numpy", laws=["zero_sum"])["zero_sum"]
        if _callable(broken)
        else None
    )
    assert result is None or (result.status == "fails" and "IndexError" in result.why)


def _callable(function):
    try:
        advantage_target(function, signature="grouped", library_name="numpy")
    except SignatureError:
        return False
    return True


def test_a_false_claim_needs_a_witness():
    claims = {"zero_sum": True, "unbiased": False}
    report = check_advantage(sound.dr_grpo, claims=claims, laws=list(claims))
    assert report.ok
    assert report["unbiased"].status == "fails"
    wrong = check_advantage(sound.dr_grpo, claims={"zero_sum": False}, laws=["zero_sum"])
    assert not wrong.ok


def test_unknown_laws_are_refused():
    with pytest.raises(ValueError, match="'zero_sums' is not a law"):
        check_advantage(sound.dr_grpo, laws=["zero_sums"])


@pytest.mark.parametrize("group", [2, 3, 4])
def test_enumeration_knows_the_leave_one_out_identity(group):
    def rloo(rewards):
        n = rewards.shape[-1]
        return (rewards - rewards.mean(axis=-1, keepdims=True)) * n / (n - 1)

    world = World((0.1, 0.2, 0.7), (0.3, 1.0, -2.0), group)
    np.testing.assert_allclose(expected_gradient(advantage_target(rloo), world), world.gradient, atol=1e-12)
    centred = expected_gradient(advantage_target(sound.dr_grpo), world)
    np.testing.assert_allclose(centred, world.gradient * (group - 1) / group, atol=1e-12)


def test_loss_shapes_are_found():
    def per_row(logp, old_logp, advantages, mask):
        return -np.sum(np.exp(logp - old_logp) * advantages[:, None] * mask) / len(logp)

    assert loss_target(per_row).advantage_shape == "N"
    assert loss_target(sound.ppo_loss).advantage_shape == "NT"
    assert check_loss(per_row, laws=["both_signs"]).ok


def test_strategies_make_what_they_say():
    from hypothesis import find

    equal = find(
        gen.equal_groups("float32"), lambda g: len(g) == 11 and np.mean(np.float32(g)) != np.float32(g[0])
    )
    assert len(set(equal)) == 1
    near = find(gen.near_equal_groups("float32"), lambda g: len(set(g)) == 2)
    assert np.ptp(near) < 1e-6
    assert find(gen.batches(ragged=True), lambda b: len({len(g) for g in b}) == 2)
    assert find(gen.poisoned_groups(), lambda p: np.isnan(p[2]))
    assert find(gen.log_ratios(), lambda x: abs(np.exp(x) - 1.28) < 1e-9)
    assert find(gen.prompts_with_duplicates(3), lambda p: len(set(p)) == 1)
    assert gen.rounded(0.1, "bfloat16") == 0.10009765625
    assert gen.stepped(1.0, 1, "bfloat16") == 1.0078125


PLANTED = """
    import numpy as np

    def good(rewards):
        if not np.all(np.isfinite(rewards)):
            raise ValueError("rewards: not finite")
        return rewards - rewards.mean(axis=1, keepdims=True)

    def bad(rewards):
        std = rewards.std(axis=1, keepdims=True)
        return (rewards - rewards.mean(axis=1, keepdims=True)) / np.where(std > 0, std, 1)

    number = 3
"""


@pytest.fixture
def planted(tmp_path):
    path = tmp_path / "planted.py"
    path.write_text(textwrap.dedent(PLANTED))
    return path


def test_the_command_and_its_exit_codes(planted, tmp_path, capsys):
    out = tmp_path / "report.json"
    laws = ("zero_on_equal_rewards", "zero_sum")
    assert run(Check(f"{planted}:good", laws=laws)) == 0
    assert "holds" in capsys.readouterr().out
    assert run(Check(f"{planted}:bad", laws=laws, json=str(out))) == 1
    table = capsys.readouterr().out
    report = json.loads(out.read_text())
    assert set(report) == {"kind", "target", "ok", "decided", "note", "laws", "findings"}
    assert report["ok"] is False
    assert set(report["laws"][0]) == {"name", "status", "declared", "decides", "excepted", "example", "why"}
    failed = next(law for law in report["laws"] if law["name"] == "zero_on_equal_rewards")
    assert failed["status"] == "fails"
    assert failed["example"]["reproduce"] in table
    assert run(Check(f"{planted}:bad", claims=("zero_sum", "no:zero_on_equal_rewards"), laws=laws)) == 0


def test_the_reproduction_line_runs(planted):
    line = check_advantage(
        load_target(f"{planted}:bad"),
        origin=f"{planted}:bad",
        laws=["no_amplification"],
    )["no_amplification"].reproduce
    words = shlex.split(line)
    assert words[:2] == ["python", "-c"]
    done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=True)
    assert "[[" in done.stdout


@pytest.mark.parametrize(
    ("target", "more", "word"),
    [
        ("nowhere.py:f", {}, "does not exist"),
        ("no.such.module:f", {}, "cannot be imported"),
        ("justaname", {}, "module:function"),
        ("PLANTED:missing", {}, "no 'missing'"),
        ("PLANTED:number", {}, "not a function"),
        ("PLANTED:good", {"claims": ("sums_to_zero",)}, "sums_to_zero"),
        ("PLANTED:good", {"arguments": "{"}, "not JSON"),
        ("PLANTED:good", {"examples": 0}, "--examples"),
        ("PLANTED:good", {"signature": "flat"}, "flat"),
        ("PLANTED:good", {"library": "torch"}, "torch"),
    ],
)
def test_bad_usage_is_one_clear_line(planted, capsys, target, more, word):
    if "torch" in sys.modules and more.get("library") == "torch":
        pytest.skip("PyTorch is loaded")
    assert run(Check(target.replace("PLANTED", str(planted)), **more)) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert word in err


@advantage_laws(
    sound.grpo_grouped, claims={"zero_sum": True, "unbiased": False}, laws=["finite", "ragged_groups"]
)
def test_the_decorator_makes_one_test_per_law(law):
    law()


def test_the_decorator_fails_where_the_law_does():
    mark = advantage_laws(violators.sign_flipped, laws=["order_preserving"], claims={"zero_sum": False})
    cases = {case.name: case for case in mark.args[1]}
    with pytest.raises(AssertionError, match="reward 1 gets less"):
        cases["order_preserving"]()
    with pytest.raises(AssertionError, match="no example breaks it"):
        cases["zero_sum"]()


def test_importing_the_kit_imports_neither_jax_nor_hypothesis():
    code = (
        "import sys, gradvar.testing, gradvar.testing.plugin, gradvar.testing.names; "
        "print([m for m in ('jax', 'torch', 'hypothesis', 'numpy', 'equinox') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    code = (
        "import sys; from gradvar.testing import check_advantage, check_loss, advantage_laws; "
        "print([m for m in ('jax', 'torch', 'equinox') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_law_has_a_name_a_statement_and_a_story():
    from gradvar.testing.laws import ADVANTAGE, LOSS
    from gradvar.testing.names import ADVANTAGE_LAWS, LOSS_LAWS, STATISTICAL_LAWS

    assert {law.name for law in (*ADVANTAGE, *LOSS)} == {*ADVANTAGE_LAWS, *LOSS_LAWS, *STATISTICAL_LAWS}
    for law in (*ADVANTAGE, *LOSS):
        assert law.statement.endswith(".")
        # a real report, or the paper whose claim it is
        assert re.search(r"[\w-]+/[\w.-]+#\d+|arXiv \d{4}\.\d{5}", law.story), law.name
