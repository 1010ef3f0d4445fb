"""A report says errors and profile apart: what is wrong first, what kind of function it is in neutral words."""

from gradvar.cli.check import Check, examine
from gradvar.testing.verdicts import CheckReport, LawResult

LAWS = (
    LawResult("scale_invariant", "fails", why="[0, 1] -> [0, 2]", reproduce="line of the profile"),
    LawResult("pure", "holds", universal=True),
    LawResult("finite", "fails", universal=True, why="[0] -> [nan]", reproduce="line of the error"),
    LawResult("bounded", "does not apply", why="no groups"),
    LawResult("zero_sum", "holds"),
)


def test_what_is_wrong_comes_first_and_the_profile_has_neutral_words():
    table = CheckReport("f", LAWS).table()
    wrong, profile = table.split("profile: what kind of function it is; nothing below is an error\n")
    assert wrong.index("* finite") < wrong.index("line of the error") < wrong.index("  pure")
    assert "fails" not in profile
    assert "*" not in profile
    lines = [" ".join(line.split()) for line in profile.splitlines()]
    assert lines == [
        "scale_invariant no [0, 1] -> [0, 2]",
        "zero_sum yes",
        "does not apply: no groups (bounded)",
    ]
    assert "profile" not in CheckReport("f", LAWS[1:3]).table()


def test_findings_count_errors_alone():
    report = CheckReport("f", LAWS)
    assert report.findings() == [
        "Does not pass: 1 of 2 deciding laws broken.",
        "breaks finite: [0] -> [nan]",
        "Profile, which is no error: zero_sum.",
        "Not, which is no error either: scale_invariant.",
    ]
    assert CheckReport("f", LAWS[:2]).findings()[0] == "Passes: 0 of 1 deciding laws broken."


def test_groups_of_one_decide_only_where_they_can_occur(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "def f(rewards):\n    return (rewards - rewards.mean(1, keepdims=True)) / rewards.std(1, keepdims=True)\n"
    )
    verdicts = [
        examine(Check(f"{file}:f", laws=("singleton_zero",), min_group=size, examples=3))
        for size in (None, 2)
    ]
    assert [report["singleton_zero"].failed for report in verdicts] == [True, False]
    assert verdicts[1]["singleton_zero"].excepted == "groups of one do not occur (--min-group 2)"
