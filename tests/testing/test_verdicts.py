"""One meaning of a verdict everywhere: universal laws decide, claims add to them, an exception is said with its
reason."""

import json
import textwrap

import pytest

from gradvar.cli import main as cli
from gradvar.testing import advantage_laws, check_advantage, exceptions
from tests.report import schema

from . import sound, violators

# Two that what is upside down breaks, two that hold.
FEW = ("order_preserving", "sign_against_mean", "finite", "pure")


def check(function, **settings):
    return check_advantage(function, examples=15, **settings)


def test_a_claim_adds_to_the_universal_laws():
    report = check(violators.given_back_sorted, claims={"zero_sum": True})
    assert report["zero_sum"].status == "holds"
    assert "permutation_equivariant" in [r.name for r in report.failures]
    assert not report.ok


def test_a_law_asked_for_by_name_decides():
    report = check(sound.dr_grpo, laws=["unbiased"])
    assert [r.name for r in report.failures] == ["unbiased"]
    assert report.decided == 1
    assert check(sound.dr_grpo).ok  # the same law only tells estimators apart where nobody asks for it


def test_nothing_decided_is_no_pass():
    report = check(sound.dr_grpo, laws=["masked_inert"])
    assert report.decided == 0
    assert not report.ok
    assert "NOTHING DECIDED" in report.table()


def test_an_exception_is_said_with_its_reason_and_when_it_is_no_longer_needed():
    reasons = {"order_preserving": "negative on purpose", "finite": "was so once"}
    report = check(violators.sign_flipped, laws=FEW, except_=reasons)
    assert "order_preserving" not in [r.name for r in report.failures]
    assert "excepted: negative on purpose" in report.table()
    assert "was so once (no longer needed)" in report.table()
    assert "order_preserving: excepted: negative on purpose." in report.findings()
    assert [r.name for r in report.failures] == ["sign_against_mean"]
    assert report.decided == check(violators.sign_flipped, laws=FEW).decided - 2


def test_an_excepted_claim_does_not_decide():
    report = check(sound.dr_grpo, claims={"unbiased": True}, except_={"unbiased": "known"})
    assert report.ok
    assert "(declared true)  excepted: known" in report.table()


@pytest.mark.parametrize(
    ("wrong", "word"), [({"zero_sums": "why"}, "not a law"), ({"zero_sum": " "}, "has no reason")]
)
def test_a_wrong_exception_is_refused(wrong, word):
    with pytest.raises(ValueError, match=word):
        check(sound.dr_grpo, except_=wrong)


def test_an_excepted_law_is_an_expected_failure_in_pytest():
    mark = advantage_laws(
        violators.sign_flipped, laws=["order_preserving", "finite"],
        except_={"order_preserving": "upside down", "finite": "was so"},
    )  # fmt: skip
    cases = {case.name: case for case in mark.args[1]}
    with pytest.raises(pytest.xfail.Exception, match="upside down"):
        cases["order_preserving"]()
    with pytest.warns(UserWarning, match="no longer needed"):
        cases["finite"]()


PROJECT = """
    [tool.gradvar.except]
    order_preserving = "this project ranks from below"
    both_signs = "of losses only"

    [tool.gradvar.except.other]
    finite = "not for this function"
"""
FLIP = """
    import numpy as np

    def flipped(rewards):
        if not np.isfinite(rewards).all():
            raise ValueError("rewards: not finite")
        return rewards.mean(axis=1, keepdims=True) - rewards
"""


@pytest.fixture
def flipped(tmp_path):
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "mine.py").write_text(textwrap.dedent(FLIP))
    return folder / "mine.py"


def lines(capsys, *words):
    code = cli.run(["check", *map(str, words), "--examples", "10"])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_takes_pairs_of_a_law_and_its_reason(flipped, capsys):
    target = f"{flipped}:flipped"
    code, out, _ = lines(capsys, target, "--laws", *FEW)
    assert code == 1
    said = " ".join(out.split())  # a long path breaks the line
    failing = said.partition("FAILS ")[2].partition(" (")[0].split(", ")
    assert failing == list(FEW[:2])
    words = [w for law in failing for w in ("--except", law, "--because", f"{law} is as it is")]
    code, out, _ = lines(capsys, target, *words, "--laws", *FEW)
    assert code == 0
    assert all(f"excepted: {law} is as it is" in out for law in failing)
    code, _, err = lines(capsys, target, "--except", "finite")
    assert (code, err.count("\n")) == (2, 1)
    assert "'finite' has no reason" in err
    code, _, err = lines(capsys, target, "--because", "so")
    assert code == 2
    assert "'so' has no law" in err


def test_a_project_and_a_file_may_except(flipped, capsys):
    (flipped.parent.parent / "pyproject.toml").write_text(textwrap.dedent(PROJECT))
    laws = ("--laws", "order_preserving", "finite")
    code, out, _ = lines(capsys, f"{flipped}:flipped", *laws)
    assert code == 0
    assert "excepted: this project ranks from below" in out
    assert "not for this function" not in out
    listed = flipped.parent / "known.txt"
    listed.write_text(
        "# known\nfinite: rewards are small\nother finite: no\nflipped order_preserving: mine\n"
    )
    code, out, _ = lines(capsys, f"{flipped}:flipped", *laws, "--except-file", listed, "--json", "-")
    assert schema.errors("check", json.loads(out)) == []
    found = {law["name"]: law["excepted"] for law in json.loads(out)["laws"]}
    assert found == {"finite": "rewards are small", "order_preserving": "mine"}


@pytest.mark.parametrize(
    ("text", "word"),
    [("finite", "write LAW: reason"), ("a b c: d", "write LAW: reason"), ("zero_sums: x", "not a law")],
)
def test_a_wrong_file_is_one_line(tmp_path, text, word):
    file = tmp_path / "known.txt"
    file.write_text(text)
    with pytest.raises(ValueError, match=word):
        exceptions.of_file(file, "f")


def test_a_wrong_project_is_one_line(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.gradvar.except]\nfinite = 3\n")
    with pytest.raises(ValueError, match="'finite' has no reason"):
        exceptions.of_project(tmp_path, "f")
    (tmp_path / "pyproject.toml").write_text("[tool")
    with pytest.raises(ValueError, match="correct the file"):
        exceptions.of_project(tmp_path, "f")


def test_json_is_written_through_a_link_and_into_no_folder_that_is_missing(tmp_path, capsys):
    from gradvar.cli import main as cli

    source = tmp_path / "trainer.py"
    source.write_text("def f(rewards): return rewards - rewards.mean(axis=1, keepdims=True)\n")
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    link.symlink_to(real)
    for command, more in (("check", ("--laws", "pure")), ("identify", ())):
        cli.run([command, f"{source}:f", *more, "--json", str(link)])
        assert link.is_symlink()
        assert json.loads(real.read_text())["kind"]
        real.write_text("")
        capsys.readouterr()
        assert cli.run([command, f"{source}:f", *more, "--json", str(tmp_path / "gone" / "x.json")]) == 2
        assert "is no folder; give another path" in capsys.readouterr().err
