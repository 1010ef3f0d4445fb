"""The kit as a trainer meets it: objects and modules as targets, lines that can be pasted, settings that count,
wrong arguments, and the plugin."""

import json
import os
import shlex
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pytest

from gradvar.cli import main as cli
from gradvar.cli.check import Check, run
from gradvar.files.target import load_target
from gradvar.testing import (
    SignatureError,
    advantage_laws,
    advantage_target,
    check_advantage,
    check_loss,
    loss_target,
    plugin,
)
from gradvar.testing.arrays import unwrapped, written
from gradvar.testing.laws.base import close
from gradvar.testing.roles import role_of
from gradvar.testing.signatures import inspect_signature

from . import sound


class Module:
    """As a PyTorch module: called through a method that takes anything."""

    def __call__(self, *args, **kwargs):
        return self.forward(*args, **kwargs)

    def forward(self, logp, old_logp, advantages, mask):
        return sound.ppo_loss(logp, old_logp, advantages, mask)


def test_a_module_is_read_by_its_forward():
    target = loss_target(Module())
    assert target.signature.roles == dict(
        logp="logp", old_logp="old_logp", advantages="advantages", mask="mask"
    )
    assert unwrapped(Module()) is Module.forward
    assert check_loss(Module(), laws=["both_signs"], examples=5).ok


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (Module, "is a class; give a function, or an instance"),
        (Module.forward, "Module.forward is a method without its object"),
        (lambda *args, **kwargs: 0, "names no parameters"),
        (lambda: 0, "takes no arguments"),
        (lambda rewards, temperature: 0, "what 'temperature' of <lambda> is"),
        (lambda rewards: rewards.mean(), "returned shape ()"),
        (lambda rewards: ["a" for _ in rewards], "not an array of numbers"),
    ],
)
def test_what_cannot_be_called_is_said_in_one_line(function, word):
    with pytest.raises(SignatureError) as caught:
        advantage_target(function)
    assert word in str(caught.value)
    assert str(caught.value).startswith("target: ")


def test_a_docstring_may_mislead():
    def said_of_its_own(rewards):
        """The deviation from the group's mean."""
        return rewards - rewards.mean(1, keepdims=True)

    def said_of_one_group(rewards):
        """Advantages of one group, of several in fact."""
        return rewards - rewards.mean(1, keepdims=True)

    assert advantage_target(said_of_its_own).kind == "grouped"
    assert advantage_target(said_of_one_group).kind == "grouped"
    with pytest.raises(SignatureError, match="group with numpy"):
        advantage_target(said_of_one_group, signature="group")


def test_a_count_with_a_default_may_be_a_setting():
    def with_setting(rewards, k=4):
        return rewards - rewards.mean(axis=1, keepdims=True)

    assert advantage_target(with_setting).kind == "grouped"
    assert advantage_target(sound.grpo_num_generations).kind == "num-generations"
    with pytest.raises(SignatureError, match="num-generations with numpy"):
        advantage_target(with_setting, signature="num-generations")


def test_a_callable_without_a_signature_gets_rewards_by_position():
    found = inspect_signature(next)  # no signature: ValueError in inspect
    assert (found.roles, found.positional) == ({"rewards": "rewards"}, ("rewards",))

    class Odd:
        __signature__ = "none"  # TypeError in inspect

        def __call__(self, rewards):
            return rewards - rewards.mean(axis=-1, keepdims=True)

    assert inspect_signature(Odd()).positional == ("rewards",)
    assert check_advantage(Odd(), laws=["zero_sum"], examples=5).ok


def test_a_loss_may_be_called_by_position():
    def loss(x, y, z, w):
        return sound.ppo_loss(x, y, z, w)

    found = inspect_signature(loss, "loss")
    assert found.roles == {"x": "logp", "y": "old_logp", "z": "advantages", "w": "mask"}
    assert check_loss(loss, laws=["both_signs"], examples=5).ok


def test_an_argument_plays_one_role_once():
    def loss(log_probs, logprobs_again=None, old_log_probs=None, advantages=None, mask=None):
        return sound.ppo_loss(log_probs, old_log_probs, advantages, mask)

    found = inspect_signature(loss)
    assert found.kind == "loss"
    assert "logprobs_again" not in found.roles


NAMES = {
    "logp": "log_probs logprobs per_token_logps log_prob new",
    "old_logp": "old_log_prob old behaviour_logp prev_logprobs",
    "sampler_logp": "rollout_log_probs sampling_logp vllm_logps inference_logprobs",
    "ref_logp": "ref_logps reference_log_probs",
    "advantages": "adv A",
    "mask": "eos_mask response_mask",
    "ids": "uid group_ids",
    "prompts": "prompt_ids",
    "count": "n_samples_per_prompt num_generations",
    "token_rewards": "token_level_rewards token_scores",
    "lengths": "response_lengths",
    "beta": "beta kl_beta",
    "logits": "logits",
    "temperature": "temperature",
    "": "logger catalogue",
}
NAMES_AND_ROLES = [(name, role) for role, names in NAMES.items() for name in names.split()]


@pytest.mark.parametrize(("name", "role"), NAMES_AND_ROLES)
def test_names_as_trainers_write_them(name, role):
    assert role_of(name) == role


FILE = """
    import numpy as np
    from beside import SCALE

    print("imported")

    class Estimator:
        def absolute(self, rewards):
            return SCALE * np.abs(rewards - rewards.mean(axis=1, keepdims=True))

    ESTIMATOR = Estimator()

    def written(rewards):
        rewards -= rewards.mean(axis=1, keepdims=True)
        return rewards

    def standardised(rewards, by, mode):
        "rewards [Q, G]"
        if not np.isfinite(rewards).all():
            raise ValueError("rewards: not finite")
        return (rewards - rewards.mean(axis=1, keepdims=True)) / (by + rewards.std(axis=1, keepdims=True))

    def labelled(rewards, uid: list[str]):
        out = np.empty(len(rewards))
        for u in set(uid):
            rows = np.array([v == u for v in uid])
            out[rows] = abs(rewards[rows] - rewards[rows].mean())
        return out

    def objective(logp, old_logp, advantages, mask):
        mask = mask > 0
        tokens = np.where(mask, np.exp(np.where(mask, logp - old_logp, 0.0)) * advantages, 0.0)
        return np.mean(tokens.sum(-1) / np.maximum(mask.sum(-1), 1))
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "beside.py").write_text("SCALE = 2.0\n")
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(FILE))
    return path


def shown(line):
    """What the reproduction line prints, run by this interpreter from another folder."""
    words = shlex.split(line)
    assert words[:2] == ["python", "-c"]
    assert line.count("'") == 2  # one pair of quotes, as a person would type it
    done = subprocess.run(
        [sys.executable, *words[1:]], capture_output=True, text=True, cwd=os.sep, check=True
    )
    return done.stdout


def failing(file, name, law, **settings):
    function, origin = load_target(f"{file}:{name}"), f"{file}:{name}"
    return check_advantage(function, origin=origin, laws=[law], examples=20, **settings)[law].reproduce


def test_a_method_beside_an_import_is_reproduced(file):
    assert "[[1. 1.]]" in shown(failing(file, "ESTIMATOR.absolute", "zero_sum"))


def test_an_overwritten_array_is_seen_in_the_reproduction(file):
    assert shown(failing(file, "written", "pure")).endswith("[[-0.5  0.5]] [[-0.5  0.5]] [[-0.5  0.5]]\n")


def test_settings_and_labels_are_in_the_reproduction(file):
    arguments = {"by": 1.0, "mode": "a b"}
    line = failing(file, "standardised", "scale_equivariant", arguments=arguments)
    assert 'mode="a b"' in line
    assert shown(line).count("[[") == 2
    assert "[0.5 0.5]" in shown(failing(file, "labelled", "zero_sum"))
    assert written(["u0", 1.5, float("nan")]) == '["u0", 1.5, nan]'


def test_a_decided_law_is_reproduced_with_all_that_was_said(file, capsys):
    more = {
        "arguments": '{"by": 1.0, "mode": "a b"}',
        "domain": "nonnegative",
        "min_group": 3,
        "epsilon": 0.5,
    }
    check = Check(f"{file}:standardised", laws=("unbiased",), dtypes=("float64",), seed=4, json="-", **more)
    assert run(check) == 1  # named by --laws, it decides
    line = json.loads(capsys.readouterr().out)["laws"][0]["example"]["reproduce"]
    words = shlex.split(line)
    for said in ("--seed", "--dtypes", "--domain", "--min-group", "--epsilon", "--arguments"):
        assert said in words
    assert cli.run(words[1:]) == 1
    assert "* unbiased  fails" in capsys.readouterr().out


@pytest.mark.slow
def test_a_loss_is_reproduced_with_its_sign_and_its_aggregation(file, capsys):
    function, origin = load_target(f"{file}:objective"), f"{file}:objective"
    report = check_loss(function, origin=origin, sign=-1, aggregation="token-mean", laws=["aggregation"])
    assert not report.ok  # asked for by the setting, so it decides
    words = shlex.split(report["aggregation"].reproduce)
    assert "--maximise" in words
    assert words[-3:-1] == ["--aggregation", "token-mean"]
    assert cli.run(words[1:]) == 1
    assert "FAILS aggregation" in capsys.readouterr().out


def test_a_setting_counts_beside_claims():
    declared = check_loss(
        sound.ppo_loss,
        claims={"both_signs": True},
        laws=["aggregation"],
        aggregation="token-mean",
        examples=5,
    )
    assert [r.name for r in declared.failures] == ["aggregation"]
    plain = check_loss(sound.ppo_loss, claims={"both_signs": True}, laws=["aggregation"], examples=5)
    assert plain.ok


def test_what_a_file_prints_spoils_no_json(file, capsys):
    assert run(Check(f"{file}:ESTIMATOR.absolute", laws=("zero_sum",), json="-")) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["laws"][0]["status"] == "fails"
    assert err == "imported\n"


@pytest.mark.parametrize(
    ("text", "more", "word"),
    [
        ("import sys\nsys.exit(3)", {}, "SystemExit"),
        ("def f(:", {}, "SyntaxError"),
        ("f = 3", {}, "not a function"),
        ("def f(rewards): raise RuntimeError('no model\\nis loaded')", {}, "RuntimeError: no model"),
        ("def f(rewards): return rewards", {"claims": ("pure", "no:pure")}, "'pure' and 'no:pure'"),
        ("def f(rewards): return rewards", {"epsilon": -1.0}, "--epsilon: -1.0; give 0 or more"),
        ("def f(rewards): return rewards", {"min_group": 0}, "--min-group: 0"),
        ("def f(rewards): return rewards", {"arguments": "[1]"}, "not an object"),
        ("def f(rewards): return rewards", {"dtypes": ("float99",)}, "'float99' is unknown"),
        ("def f(logp, advantages): return (logp * advantages).sum(0)", {}, "return a scalar"),
        ("def f(logp, advantages): return 0.0", {"laws": ("zero_sum",)}, "a law of the other kind"),
        ("def f(rewards): return rewards", {"json": "/no/such/folder/x.json", "laws": ("pure",)}, "--json"),
    ],
)
def test_bad_input_is_exit_2_and_one_line(tmp_path, capsys, text, more, word):
    path = tmp_path / "given.py"
    path.write_text(text)
    assert run(Check(f"{path}:f", **more)) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert word in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "required"),
        (["a.py:f", "--signature", "sideways"], "--signature: 'sideways' is none of auto"),
        (["a.py:f", "--seed", "x"], "--seed: 'x' is no whole number; see"),
        (["a.py:f", "--colour", "red"], "Unrecognized options: --colour; see"),
    ],
)
def test_wrong_arguments_are_exit_2_and_one_line(capsys, words, said):
    with pytest.raises(SystemExit) as caught:
        cli.run(["check", *words])
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert said in err
    assert "--help" in err


def item(mark, law):
    case = next(case for case in mark.args[1] if case.name == law)
    return SimpleNamespace(callspec=SimpleNamespace(params={"law": case}), user_properties=[])


def test_the_plugin_hands_its_options_to_the_cases():
    tests = [item(advantage_laws(sound.dr_grpo), "finite"), SimpleNamespace()]
    options = {"--gradvar-seed": None, "--gradvar-examples": None}
    config = SimpleNamespace(getoption=options.__getitem__)
    case = tests[0].callspec.params["law"]
    plugin.pytest_collection_modifyitems(config, tests)
    assert case.options == {"examples": 60, "random_seed": None}
    options["--gradvar-seed"] = 7
    plugin.pytest_collection_modifyitems(config, tests)
    assert case.options == {"examples": 60, "random_seed": 7}
    options.update({"--gradvar-seed": None, "--gradvar-examples": 3})
    plugin.pytest_collection_modifyitems(config, tests)
    assert case.options == {"examples": 3, "random_seed": 7}
    for when in ("setup", "call", "teardown"):
        plugin.pytest_runtest_makereport(tests[0], SimpleNamespace(when=when))
        assert tests[0].user_properties == [("law", "finite")]  # noted once, and at the setup
    assert "finite: Finite rewards" in repr(case)


def test_a_law_that_does_not_apply_is_skipped():
    mark = advantage_laws(sound.grpo_one_group, laws=["masked_inert"])
    with pytest.raises(pytest.skip.Exception, match="no tokens"):
        mark.args[1][0]()


@pytest.mark.slow
def test_three_lines_in_a_suite(tmp_path):
    """As a user's own suite would: one test id per law, and the plugin's options known by installing."""
    suite = """
        from gradvar.testing import advantage_laws
        import numpy as np

        def sign_flipped(rewards):
            return rewards.mean(axis=1, keepdims=True) - rewards

        @advantage_laws(sign_flipped, laws=["pure", "order_preserving"])
        def test_mine(law):
            law()
    """
    (tmp_path / "test_mine.py").write_text(textwrap.dedent(suite))
    words = ["-q", "-p", "no:cacheprovider", "--gradvar-examples", "5", "-rA", "test_mine.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 1
    assert "PASSED test_mine.py::test_mine[pure]" in done.stdout
    assert "FAILED test_mine.py::test_mine[order_preserving]" in done.stdout
    assert "reward 1 gets less than reward 0" in done.stdout


def test_numbers_come_back_as_they_went():
    target = advantage_target(sound.rloo_flat)
    found = target([[0.0, 1.0], [1.0, 2.0, 6.0]], order=[4, 0, 2, 1, 3])
    np.testing.assert_allclose(found[0], [-1.0, 1.0])
    np.testing.assert_allclose(found[1], [-3.0, -1.5, 4.5])


def test_a_target_made_by_hand_is_reproduced_as_far_as_it_can_be_named():
    target = loss_target(sound.ppo_loss, origin="mine:loss")
    target.function = lambda logp, old_logp, advantages, mask, temperature: 0.0  # the command could not tell
    assert not check_loss(target, laws=["both_signs"], examples=2).ok


def test_numbers_are_compared_up_to_rounding_and_nan_equals_nan():
    target = advantage_target(sound.dr_grpo)
    assert close(target, [1.0, np.nan], [1.0 + 1e-7, np.nan])
    assert not close(target, [1.0, np.nan], [1.0, 0.0])
    assert not close(target, [1.0], [1.0 + 1e-5])
    assert close(target, [1e6, 1.0], [1e6, 1.5])  # relative to the largest
    assert close(target, [1.0], [1.0 + 1e-5], slack=100)
