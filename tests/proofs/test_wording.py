"""The texts say of claims what the claims say: no wording of earlier days, no verdict that is not the claim's."""

import re
from pathlib import Path

import pytest

from tests.claims import CLAIMS

ROOT = Path(__file__).parents[2]
VERDICTS = {claim.id: claim.verdict for claim in CLAIMS}
FORBIDDEN = {
    r"\brecalled\b": "a source that was not read is 'not read'",
    r"as the ledger has it": "a claim says itself what it says",
    r"\bauthors'? reply": "the reply was simulated, and is not the authors'",
    r"(?<!machine-written )\breview of 2510\.00977|2510\.00977 and its reviews?\b": "a machine wrote the review",
    r"\bthe ledger (refutes|proves)\b": "a verdict is on a statement; name its claim",
    r"true under one more assumption": "who states the assumption is part of the claim",
    r"hypotheses that the source (lacks|does not name)": "only a hypothesis that the source does not state",
    r"\bours=(True|False)": "the relation to the source says whose question it is",
    r"^\s+hypotheses=|\bstatement=r?\"": "statements and hypotheses are formal objects",
    r"what was claimed, (where|solid)": "a statement is claimed only where its source states it",
}
SUFFIXES = {".md", ".py", ".j2"}
FOLDERS = ("docs", "proofs", "notebooks", "gradvar")
STATED = re.compile(
    r"\b([A-Z]\d+[a-h]?)\)?(?:, [^.:;()]{0,40})?(?::| is| are)\W{1,4}(proved|refuted|conditional)\b"
)


def texts():
    files = [ROOT / "README.md", *(f for name in FOLDERS for f in sorted((ROOT / name).rglob("*")))]
    return {f.relative_to(ROOT): f.read_text(encoding="utf-8") for f in files if f.suffix in SUFFIXES}


def faults(text):
    """Each forbidden wording and each verdict of a claim that is not the claim's."""
    flags = re.IGNORECASE | re.MULTILINE
    wordings = [
        f"{m[0].strip()!r}: {why}" for p, why in FORBIDDEN.items() for m in re.finditer(p, text, flags)
    ]
    verdicts = [
        f"{m[0]!r}: {m[1]} is {VERDICTS[m[1]]}"
        for m in STATED.finditer(text)
        if m[1] in VERDICTS and VERDICTS[m[1]] != m[2]
    ]
    return wordings + verdicts


@pytest.mark.slow
def test_no_old_wording_is_left():
    found = {str(path): faults(text) for path, text in texts().items() if faults(text)}
    assert not found


@pytest.mark.parametrize(
    "violator",
    [
        "A formula recalled from the paper.",
        "The bias is a factor, as the ledger has it.",
        "The authors' reply says so.",
        "A1 to A22 are about arXiv 2510.00977 and its reviews.",
        "exactly, the ledger refutes it across prompts",
        "proved, refuted, or true\nunder one more assumption".replace("\n", " "),
        "    hypotheses=(r'the policy is tabular',),",
        'Claim(id="T1", statement=r"a sum is a sum")',
        "**Verdict** (ledger, A4): conditional. On policy",
        "A21e: refuted",
        "B7a, GRPO's weight diverges, is refuted",
    ],
)
def test_a_planted_wording_is_found(violator):
    assert faults(violator)


@pytest.mark.parametrize(
    "text", ["A4 (our question): proved", "A9 is refuted", "B1: proved, as formal statement"]
)
def test_what_claims_say_may_be_said(text):
    assert not faults(text)
