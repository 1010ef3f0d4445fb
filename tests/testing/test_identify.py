"""``identify`` names what was planted, with its settings, and does not name what is none of the known estimators."""

import json

import numpy as np
import pytest

from gradvar.cli import main as cli
from gradvar.testing import identify, matches, oracle
from gradvar.testing.identification.epsilon import nice

from .planted import FAULTY, FAULTY_ADVANTAGES, advantage_cases, flat, loss, loss_cases

ADVANTAGES, LOSSES = list(advantage_cases()), list(loss_cases())


def few(cases, every):
    """All cases; only each so-many-th is quick."""
    for i, (label, *case) in enumerate(cases):
        yield pytest.param(*case, id=label, marks=() if i % every == 0 else (pytest.mark.slow,))


def identified(function, name, settings):
    outcome = identify(function)
    assert outcome.ok, outcome.sentence
    assert outcome.name == name, outcome.sentence
    seen = outcome.oracle.settings
    for setting, value in settings.items():
        assert (
            seen[setting] == pytest.approx(value) if isinstance(value, float) else seen[setting] == value
        ), (
            setting,
            outcome.sentence,
        )
    return outcome


@pytest.mark.parametrize(("name", "settings", "function"), list(few(ADVANTAGES, 2)))
def test_a_planted_advantage_is_named(name, settings, function):
    identified(function, name, settings)


@pytest.mark.parametrize(("name", "settings", "function"), list(few(LOSSES, 4)))
def test_a_planted_loss_is_named(name, settings, function):
    identified(function, name, settings)


def test_enough_is_planted():
    assert len(ADVANTAGES) + len(LOSSES) >= 70


@pytest.mark.parametrize("function", FAULTY.values(), ids=FAULTY)
def test_a_faulty_loss_is_nothing_known(function):
    outcome = identify(function)
    assert not outcome.ok, outcome.sentence
    assert outcome.why


@pytest.mark.parametrize("function", FAULTY_ADVANTAGES.values(), ids=FAULTY_ADVANTAGES)
def test_a_faulty_advantage_is_nothing_known(function):
    outcome = identify(function)
    assert not outcome.ok, outcome.sentence


def test_constant_functions_are_called_that():
    assert "every advantage is zero" in identify(FAULTY_ADVANTAGES["zeros"]).sentence
    assert "every advantage is 1" in identify(FAULTY_ADVANTAGES["ones"]).sentence


@pytest.mark.slow
def test_what_an_identification_says_is_what_matches_accepts():
    outcome = identify(flat(lambda r: (r - r.mean()) / (r.std(ddof=1) + 1e-4)))
    assert outcome.sentence.startswith("GRPO, sample std, epsilon 0.0001 added")
    assert matches(outcome.name, **outcome.settings)(flat(lambda r: (r - r.mean()) / (r.std(ddof=1) + 1e-4)))
    nearest = identify(FAULTY_ADVANTAGES["median"])
    assert nearest.candidates[0].residual <= nearest.candidates[1].residual
    assert "unexplained" in nearest.sentence


def test_a_form_is_named_where_equal_rewards_are_its_fault():
    def no_epsilon(rewards):  # [Q, G]
        return (rewards - rewards.mean(1, keepdims=True)) / rewards.std(1, keepdims=True)

    outcome = identify(no_epsilon)
    assert not outcome.ok
    assert outcome.sentence.startswith(
        "GRPO, population std, no epsilon, but not everywhere: rewards [0, 0] -> [nan"
    )


def raw_alone(rewards, group_ids):
    out = np.zeros(len(rewards))
    for g in np.unique(group_ids):
        r = rewards[group_ids == g]
        out[group_ids == g] = r if len(r) == 1 else r - r.mean()
    return out


def refuses_alone(rewards, group_ids):
    if np.unique(group_ids, return_counts=True)[1].min() < 2:
        raise ValueError("a group of one")
    return raw_alone(rewards, group_ids)


def votes(token_rewards, response_mask, index):
    ids = np.unique(index.astype(str), return_inverse=True)[1]
    return raw_alone(token_rewards.sum(-1), ids)[:, None] * response_mask


def unmasked(token_rewards, response_mask, index):
    ids = np.unique(index.astype(str), return_inverse=True)[1]
    return raw_alone((token_rewards * response_mask).sum(-1), ids)[:, None] + 0 * response_mask


def test_where_trainers_differ_is_said_and_decides_nothing():
    assert "groups of one (raw reward)" in identified(raw_alone, "dr_grpo", {}).differs
    assert "groups of one (refused)" in identified(refuses_alone, "dr_grpo", {}).differs
    assert "rows whose mask is empty (they vote)" in identified(votes, "dr_grpo", {}).differs
    differs = identified(unmasked, "dr_grpo", {}).differs
    assert "rows whose mask is empty (they vote, as zeros)" in differs
    assert "masked tokens (they are not zero)" in differs


def test_a_loss_that_is_an_objective_is_said_to_be_one():
    outcome = identified(loss(lambda r, a: r * a, "token-mean", sign=-1), "importance", {})
    assert any(text.startswith("its sign") for text in outcome.differs)


def old_ignored(logp, old_logp, advantages, mask):
    return -(logp * advantages * mask).sum() / mask.sum()


def no_guard(logp, old_logp, advantages, mask):
    gain = np.exp(np.where(mask > 0, logp - old_logp, 0.0)) * advantages * mask
    return -(gain.sum(-1) / mask.sum(-1)).mean()


def shifted(logp, old_logp, advantages, mask):
    later = np.concatenate([mask[:, 1:], 0 * mask[:, :1]], axis=1)
    return -(np.exp(logp - old_logp) * advantages * later).sum() / later.sum()


@pytest.mark.slow
def test_what_a_loss_does_not_use_is_said():
    assert "old log-probabilities (taken and ignored)" in identified(old_ignored, "gpg", {}).differs
    assert (
        "rows whose mask is empty (they make the step NaN)" in identified(no_guard, "importance", {}).differs
    )
    assert "shifted by one to the left" in identify(shifted).why


def counted(logp, old_logp, advantages, mask, num_items_in_batch):
    return -(np.exp((logp - old_logp) * mask) * advantages * mask).sum() / num_items_in_batch


def uncounted(logp, old_logp, advantages, mask, num_items_in_batch):
    return counted(logp, old_logp, advantages, mask, mask.sum())


def by_token(logp, old_logp, advantages, mask):
    return -np.exp((logp - old_logp) * mask) * advantages * mask


@pytest.mark.slow
def test_a_count_of_tokens_is_divided_by_or_ignored():
    identified(counted, "importance", {"aggregation": "token-count"})
    assert matches("importance", aggregation="token-count")(counted)
    assert not matches("importance", aggregation="token-count")(uncounted)
    outcome = identified(uncounted, "importance", {"aggregation": "token-mean"})
    assert "the count of tokens (taken, and not divided by)" in outcome.differs
    assert any("a loss for each token" in text for text in identified(by_token, "importance", {}).differs)


def test_numbers_are_rounded_where_that_changes_nothing():
    assert nice(0.19999999) == 0.2
    assert nice(1.0000001e-6) == 1e-6
    assert nice(0.123456789) == 0.123457


SOURCE = """
import numpy as np

def advantages(rewards, group_ids):
    out = np.zeros(len(rewards))
    for g in np.unique(group_ids):
        r = rewards[group_ids == g]
        out[group_ids == g] = (r - r.mean()) / (r.std(ddof=1) + 1e-4)
    return out

def zeros(rewards):  # [Q, G]
    return 0.0 * rewards
"""


def test_the_command(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(SOURCE)
    assert cli.run(["identify", f"{file}:advantages", "--json", str(tmp_path / "out.json")]) == 0
    assert "GRPO, sample std, epsilon 0.0001 added" in capsys.readouterr().out
    written = json.loads((tmp_path / "out.json").read_text())
    assert (written["kind"], written["name"], written["settings"]["ddof"]) == ("identify", "grpo", 1)
    assert cli.run(["identify", f"{file}:zeros", "--json", "-"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
    assert cli.run(["identify", f"{file}:absent"]) == 2
    assert cli.run(["identify", f"{file}:zeros", "--arguments", "{"]) == 2
    assert "is not JSON" in capsys.readouterr().err


def test_every_name_that_identify_gives_is_an_oracle():
    assert {name for _, name, _, _ in ADVANTAGES + LOSSES} <= set(oracle.names())
