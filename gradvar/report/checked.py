"""Proof runs, analyses of an objective and checks of an advantage function as sections of the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from gradvar.report.html import Markup, Table, element, items, join, text
from gradvar.report.page import Section
from gradvar.testing.names import LAWS

_TONE = {
    "proved": "good", "holds": "good", "refuted": "bad", "fails": "bad", "conditional": "warn", "open": "warn",
    "undecided": "warn",
}  # fmt: skip


def proofs(content: Sequence[Mapping[str, Any]]) -> Section:
    """What ``gradvar prove --json`` wrote: verdicts, what failed, and every claim's steps."""
    failed = [c for c in content if not c["holds"]]
    counts = Counter("fails" if c in failed else str(c["verdict"]) for c in content)
    tally = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
    sound = "every verdict holds" if not failed else f"{_counted(len(failed), 'verdict')} not held up"
    findings: list[Any] = [f"{tally}; {sound}."]
    findings += [
        Markup(
            f"{text(c['id'])} does not check: {text('; '.join(map(str, c.get('errors') or ['no reason given'])))}"
        )
        for c in failed
    ]
    findings += [
        Markup(
            f"{_badge(c['verdict'])} {text(c['id'])}, {formulas(c['title'])}. {formulas(c.get('finding') or '')}"
        )
        for c in content
        if c["verdict"] != "proved" and c not in failed
    ]
    rows = [
        [
            c["id"], formulas(c["title"]), c.get("source", ""), _badge("fails" if c in failed else c["verdict"]),
            ", ".join(c.get("routes", [])), c.get("seconds"),
        ]
        for c in content
    ]  # fmt: skip
    return Section(
        title=f"{_counted(len(content), 'claim')} checked",
        kind="Proof run",
        findings=findings,
        tables=[
            Table("Claims and verdicts", ["claim", "title", "source", "verdict", "routes", "seconds"], rows)
        ],
        more={f"{c['id']}: statement, steps and counterexamples": _claim(c) for c in content},
        sources=[str(c.get("source", "")) for c in content],
    )


def analysis(content: Mapping[str, Any]) -> Section:
    """What ``gradvar prove FILE:OBJECTIVE --json`` wrote of a user's own objective."""
    laws = content["laws"]
    broken = [x for x in laws if x["verdict"] == "refuted"]
    findings = [
        f"{content['target']}: {len(laws) - len(broken)} of {_counted(len(laws), 'law')} "
        f"{'is' if len(laws) == 1 else 'are'} not refuted.",
        *(f"Refuted: {x['statement']} {x.get('note') or ''}".strip() for x in broken),
        *map(str, content.get("notes", [])),
    ]
    rows = [[x["name"], x["statement"], _badge(x["verdict"]), x.get("note") or ""] for x in laws]
    regions = [
        [" and ".join(map(str, r["conditions"])) or "everywhere", *map(str, r["token_weights"])]
        for r in content.get("regions", [])
    ]
    tables = [Table("Laws", ["law", "statement", "verdict", "note"], rows)]
    if regions and len({len(r) for r in regions}) == 1:
        heads = ["region", *(f"weight of rollout {k}" for k in range(1, len(regions[0])))]
        tables.append(Table("Regions, and the tokens' weights in them", heads, regions))
    return Section(str(content["target"]), "Analysis of an objective", findings, tables=tables)


def check(content: Mapping[str, Any]) -> Section:
    """What ``gradvar check --json`` wrote: laws that hold and that fail, with the counterexamples."""
    laws = content["laws"]
    fails = [x for x in laws if x["status"] == "fails"]
    against = [x for x in laws if x.get("declared") is not None and x["declared"] != (x["status"] == "holds")]
    verdict = "Passes" if content["ok"] else "Does not pass"
    findings: list[Any] = [f"{verdict}: {len(fails)} of {_counted(len(laws), 'law')} fail."]
    findings += [f"Not as declared: {x['name']} {x['status']}." for x in against]
    findings += [
        Markup(f"{_badge('fails')} {text(x['name'])}: {text(x.get('why') or LAWS.get(x['name'], ''))}")
        for x in fails
    ]
    rows = [
        [x["name"], _badge(x["status"]), _long(LAWS.get(x["name"], "")), _long(x.get("why") or ""),
         {None: "", True: "holds", False: "fails"}.get(x.get("declared"), str(x.get("declared")))]
        for x in laws
    ]  # fmt: skip
    witnesses = {
        f"{x['name']}: reproduce": element("pre", x["example"]["reproduce"], tabindex="0")
        for x in fails
        if isinstance(x.get("example"), Mapping) and x["example"].get("reproduce")
    }
    return Section(
        title=str(content["target"]),
        kind="Check of an advantage function or loss",
        findings=findings,
        tables=[Table("Laws", ["law", "status", "what it says", "what was seen", "declared"], rows)],
        more=witnesses,
    )


def formulas(sentence: Any) -> Markup:
    """Text with its formulas as MathML; with its dollars where a formula cannot be set."""
    parts = str(sentence).split("$")
    if len(parts) % 2 == 0:
        return text(sentence)
    try:
        return join(_formula(part) if k % 2 else text(part) for k, part in enumerate(parts))
    except (ImportError, ValueError, RecursionError):
        return text(sentence)


def _formula(latex: str) -> str:
    from gradvar.symbolic.claims.formula import to_mathml

    return to_mathml(latex).replace("<math ", f'<math alttext="{escape(latex)}" ', 1)


def _claim(claim: Mapping[str, Any]) -> Markup:
    def line(lead: str, words: Any) -> Markup:
        return element("p", Markup(f"{text(lead)}{formulas(words)}"))

    parts = [line("", claim.get("statement", "")), line("Scope: ", claim.get("scope", ""))]
    if claim.get("hypotheses"):
        parts += [line("Hypotheses:", ""), items(map(formulas, claim["hypotheses"]))]
    if claim.get("finding"):
        parts.append(line("", claim["finding"]))
    parts.append(items(map(_step, claim.get("steps", []))))
    parts += [line("Counterexample: ", e.get("text", "")) for e in claim.get("counterexample") or []]
    if claim.get("sabotages"):
        parts += [
            line("False statements that the same checks reject:", ""),
            items(map(formulas, claim["sabotages"])),
        ]
    return join(parts)


def _step(step: Mapping[str, Any]) -> Markup:
    shows = Markup(f": {formulas(step['shows'])}") if step.get("shows") else ""
    return Markup(f"{formulas(step['name'])} ({text(step['route'])}){shows}")


def _badge(verdict: Any) -> Markup:
    return element("span", str(verdict), class_=f"verdict {_TONE.get(str(verdict), '')}".strip())


def _long(words: str) -> Markup:
    return element("span", words, class_="long")


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
