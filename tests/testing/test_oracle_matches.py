"""``matches``: a function is the estimator that it is called by, or the smallest example says where it is not."""

import shlex

import numpy as np
import pytest

from gradvar.cli import main as cli
from gradvar.testing import advantage_laws, loss_laws
from gradvar.testing.digits import apart
from gradvar.testing.laws.base import Broken
from gradvar.testing.matching.loss import loss_law
from gradvar.testing.matching.match import matches, parsed
from gradvar.testing.oracle.estimator import named
from gradvar.testing.recognise import loss_target

from . import sound


def _standardised(rewards, group_ids, ddof=0, eps=1e-6, single="zero", rejected="vote", mask=None):
    out = np.zeros(len(rewards))
    voting = np.ones(len(rewards), bool) if mask is None or rejected == "vote" else mask.any(-1)
    for g in np.unique(group_ids):
        rows = (group_ids == g) & voting
        r = rewards[rows]
        if len(r) > 1:
            out[rows] = (r - r.mean()) / (r.std(ddof=ddof) + eps)
        elif single == "raw":
            out[rows] = r
    return out


def standardised(rewards, group_ids):
    return _standardised(rewards, group_ids)


def sample(rewards, group_ids):
    return _standardised(rewards, group_ids, ddof=1, eps=1e-4)


def lone_raw(rewards, group_ids):
    return _standardised(rewards, group_ids, single="raw")


def _by_token(token_rewards, response_mask, index, rejected):
    ids = np.unique(index.astype(str), return_inverse=True)[1]
    mask = response_mask > 0
    return _standardised(token_rewards.sum(-1), ids, rejected=rejected, mask=mask)[:, None]


def skipping(token_rewards, response_mask, index):
    return _by_token(token_rewards, response_mask, index, "skip") * response_mask


def voting(token_rewards, response_mask, index):
    return _by_token(token_rewards, response_mask, index, "vote") * response_mask


def by_token(token_rewards, response_mask, index):
    return _by_token(token_rewards * response_mask, response_mask, index, "vote") * response_mask


def clipped(logp, old_logp, advantages, mask, low=0.2, high=0.28):
    ratio = np.exp(np.where(mask > 0, logp - old_logp, 0.0))
    gain = np.minimum(ratio * advantages, np.clip(ratio, 1 - low, 1 + high) * advantages)
    return -(gain * mask).sum() / mask.sum()


def clipped_by_row(logp, old_logp, advantages, mask, low=0.2):
    ratio = np.exp(np.where(mask > 0, logp - old_logp, 0.0))
    gain = np.minimum(ratio * advantages, np.clip(ratio, 1 - low, 1 + low) * advantages)
    return -((gain * mask).sum(-1) / np.maximum(mask.sum(-1), 1)).mean()


def clip_before_the_advantage(logp, old_logp, advantages, mask):
    ratio = np.exp(np.where(mask > 0, logp - old_logp, 0.0))
    gain = np.minimum(ratio, np.clip(ratio, 0.8, 1.28)) * advantages
    return -(gain * mask).sum() / mask.sum()


SAME = [
    (standardised, "grpo", {}),
    (sample, "grpo", {"ddof": 1, "eps": 1e-4}),
    (sample, "grpo_sample_std", {"eps": 1e-4}),
    (lone_raw, "grpo", {}),
    (lone_raw, "grpo", {"single": "raw"}),
    (skipping, "grpo", {}),
    (skipping, "grpo", {"rejected": "skip"}),
    (voting, "grpo", {"rejected": "vote"}),
    (by_token, "grpo", {}),
    (sound.rloo_flat, "rloo", {}),
    (clipped, "dapo", {}),
    (clipped, "grpo", {"clip_high": 0.28, "aggregation": "token-mean"}),
    (clipped_by_row, "grpo", {}),
    (clipped_by_row, "grpo", {"empty": "count"}),
]
OTHER = [
    (standardised, "grpo", {"eps": 1e-8}, "0.99999"),
    (standardised, "grpo", {"eps_at": "clamped"}, "grpo(eps_at=clamped) has"),
    (sample, "grpo", {"eps": 1e-4}, "not -0.9998"),
    (standardised, "dr_grpo", {}, "dr_grpo has"),
    (standardised, "reinforce_pp", {}, "reinforce_pp has"),
    (lone_raw, "grpo", {"single": "zero"}, "rollout 0 has 1, not 0"),
    (voting, "grpo", {"rejected": "skip"}, "lengths"),
    (skipping, "grpo", {"rejected": "vote"}, "lengths"),
    (clipped_by_row, "dapo", {}, "token weights"),
    (clipped, "dapo", {"clip_high": 0.3}, "dapo(clip_high=0.3) has"),
    (clipped_by_row, "grpo", {"empty": "drop"}, "mask"),
    (clip_before_the_advantage, "dapo", {}, "token weights"),
]


@pytest.mark.parametrize(("function", "name", "settings"), SAME)
def test_a_function_is_what_it_is(function, name, settings):
    verdict = matches(name, **settings)(function)
    assert verdict, verdict.message
    assert verdict.example is None


@pytest.mark.parametrize(("function", "name", "settings", "part"), OTHER)
def test_a_function_is_not_another(function, name, settings, part):
    verdict = matches(name, **settings)(function)
    assert not verdict
    assert part in verdict.message
    assert verdict.example is not None
    assert repr(verdict).startswith(f"is not {verdict.oracle}: ")


def test_an_estimator_without_a_function_of_rewards_is_refused():
    with pytest.raises(ValueError, match="spo: its advantages need baseline"):
        matches("spo")(standardised)


def test_a_loss_without_a_reference_is_no_penalised_one():
    verdict = matches("grpo", beta=0.1)(clipped_by_row)
    assert not verdict
    assert "takes no reference" in verdict.message


@advantage_laws(sample, is_=matches("grpo", ddof=1, eps=1e-4), laws=["finite"])
def test_a_match_is_a_law_of_advantages(law):
    assert law.name in ("matches_oracle", "finite")
    law()


@loss_laws(clipped, is_=matches("dapo"), laws=["finite"])
def test_a_match_is_a_law_of_losses(law):
    law()


@loss_laws(clipped, is_=matches("grpo"), laws=["finite"])
def test_a_match_that_fails_is_a_test_that_fails(law):
    if law.name == "matches_oracle":
        with pytest.raises(AssertionError, match="grpo has"):
            law()


SOURCE = """
import numpy as np

def objective(logp, old_logp, advantages, mask):
    ratio = np.exp(np.where(mask > 0, logp - old_logp, 0.0))
    gain = np.minimum(ratio * advantages, np.clip(ratio, 0.8, 1.28) * advantages)
    return (gain * mask).sum() / max(mask.sum(), 1)

def gae(rewards, values, gamma=0.99, lam=0.95):  # [T]
    out, carry, after = np.zeros(len(rewards)), 0.0, 0.0
    for t in reversed(range(len(rewards))):
        carry = rewards[t] + gamma * after - values[t] + gamma * lam * carry
        after = values[t]
        out[t] = carry
    return out
"""


@pytest.mark.slow
def test_the_command_line(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(SOURCE)
    target = f"{file}:objective"
    only = ["--laws", "matches_oracle"]
    few = ["--examples", "10"]  # of what matches; a difference takes as many as it takes
    assert cli.run(["check", target, "--is", "dapo", *only, *few]) == 0
    assert cli.run(["check", target, "--is", "ppo", "--setting", "clip_high=0.28", *only, *few]) == 0
    capsys.readouterr()
    assert cli.run(["check", target, "--is", "ppo", "--setting", "clip_high=0.3", *only]) == 1
    shown = capsys.readouterr().out
    assert "ppo(clip_high=0.3) has" in " ".join(shown.split())
    # the line that shows it again does
    line = next(text for text in shown.splitlines() if "$ gradvar check" in text)
    assert "--is ppo --setting clip_high=0.3 --laws matches_oracle" in line
    assert cli.run(shlex.split(line.split("$ gradvar ")[1])) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--is", "gropo"], "did you mean grpo"),
        (["--is", "grpo", "--setting", "ddof"], "give NAME=VALUE"),
        (["--is", "grpo", "--setting", "epsilon=1"], "did you mean eps"),
        (["--setting", "ddof=1"], "it needs --is NAME"),
    ],
)
def test_bad_usage_of_the_command_line(options, message, tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(SOURCE)
    assert cli.run(["check", f"{file}:objective", *options]) == 2
    assert message in capsys.readouterr().err


def test_a_further_kind_has_its_own_names(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(SOURCE)
    assert cli.run(["check", f"{file}:gae", "--is", "gae"]) == 0
    assert cli.run(["check", f"{file}:gae", "--is", "grpo"]) == 2
    assert "it may be gae" in capsys.readouterr().err


def test_numbers_are_shown_to_the_digit_that_differs():
    assert apart(1.0, 1.0000000004) == ("1", "1.0000000004")
    assert apart(-0.0, 0.5) == ("0", "0.5")
    assert apart(float("nan"), 0.5) == ("nan", "0.5")


def test_settings_on_the_command_line():
    assert parsed(["clip_high=0.28", "dynamic_sampling=false", "kl=k1", "weights=[1, 2]"]) == {
        "clip_high": 0.28,
        "dynamic_sampling": False,
        "kl": "k1",
        "weights": [1, 2],
    }
    with pytest.raises(ValueError, match="give NAME=VALUE"):
        parsed(["ddof"])


def by_ratio(logp, old_logp, advantages, mask):
    """The unclipped objective, as a loss: at ratios of exp(20) of both signs its terms cancel in the value."""
    return -(np.exp(logp - old_logp) * advantages[:, None] * mask).sum() / mask.sum()


def by_ratio_wrong(logp, old_logp, advantages, mask):
    return 1.01 * by_ratio(logp, old_logp, advantages, mask)


def test_terms_that_cancel_are_no_difference():
    """Central differences lose a small weight where a large one stands in the same batch: no fault of the function."""
    moves = np.zeros((6, 5))
    moves[3:, 4] = 20.0
    rows = tuple(
        (advantage, tuple((True, float(move)) for move in row))
        for advantage, row in zip((1.0, 1.0, 1.0, -1.0, 0.5, 0.5), moves, strict=True)
    )
    shape = {"rows": rows, "group": 3, "empty": None, "count": None, "distance": 0.1}
    law = loss_law(named("importance"))
    law.check(loss_target(by_ratio), shape=shape)
    with pytest.raises(Broken, match="importance has"):
        law.check(loss_target(by_ratio_wrong), shape=shape)
