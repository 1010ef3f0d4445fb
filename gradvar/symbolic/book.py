"""The book of theorems: one page, no network, every formula as MathML."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Sequence
from html import escape
from typing import Any

import sympy as sp

from gradvar.symbolic.claims.claim import ClaimReport, Exhibit, Outcome
from gradvar.symbolic.claims.formula import text_to_html, to_mathml

_LONGEST_REASON = 240

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #fdfdfb; --faint: #6a6a6a; --line: #ddd; --code:
#f3f3ee; } @media (prefers-color-scheme: dark) {
  :root { --ink: #e4e4e0; --paper: #16181b; --faint: #9a9a96; --line: #33363b; --code: #1f2226; } }
body { font: 17px/1.55 Georgia, 'Times New Roman', serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-weight: normal; } h2 { font-weight: normal; border-top: 1px solid var(--line); padding-top: 1.6rem;
} table { border-collapse: collapse; font-size: .88em; width: 100%; } td, th { text-align: left;
vertical-align: top; padding: .25rem .6rem; border-bottom: 1px solid var(--line); } .verdict { font: 600
.74em/1 system-ui, sans-serif; text-transform: uppercase; letter-spacing: .04em; padding: .25em .5em;
  border-radius: .3em; color: #fff; white-space: nowrap; } h2 .verdict { font-size: .5em; vertical-align: middle; }
.proved { background: #23743b; } .refuted { background: #a4262c; } .conditional { background: #9a6700; }
.open { background: #57606a; } .fails { background: #d1006c; }
.route { font: .72em system-ui, sans-serif; border: 1px solid var(--line); border-radius: 1em; padding: .1em
.6em; color: var(--faint); } .meta, .evidence { color: var(--faint); font-size: .88em; } .pair { display:
grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 1rem; align-items: start; } @media
(max-width: 48rem) { .pair { grid-template-columns: 1fr; } } pre { background: var(--code); padding: .7rem;
overflow: auto; font-size: .74rem; line-height: 1.35; max-height: 24rem; } math[display=block] { overflow-x:
auto; padding: .3rem 0; } summary { cursor: pointer; color: var(--faint); font-size: .85em; } .statement {
border-left: 3px solid var(--line); padding-left: 1rem; } li { margin: .35rem 0; } a { color: inherit; }
"""


def book(
    reports: Sequence[ClaimReport], title: str = "Claims about group-relative policy gradients, checked"
) -> str:
    """The whole page as HTML."""
    counts: dict[str, int] = {}
    for report in reports:
        counts[_shown_verdict(report)] = counts.get(_shown_verdict(report), 0) + 1
    tally = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
    sections = "".join(section(report) for report in reports)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,'
        f' initial-scale=1"><style>{_STYLE}</style></head><body>'
        f"<h1>{escape(title)}</h1><p class=meta>{len(reports)} claims: {tally}. Every verdict rests on the"
        " routes named "
        "beside its steps; every sabotage listed was rejected by the same checks.</p>"
        f"{index(reports)}{sections}</body></html>\n"
    )


def _shown_verdict(report: ClaimReport) -> str:
    return report.claim.verdict if report.holds else "fails"


def _badge(report: ClaimReport) -> str:
    verdict = _shown_verdict(report)
    return f'<span class="verdict {verdict}">{verdict}</span>'


def index(reports: Sequence[ClaimReport], address: str = "#{}") -> str:
    """The claims as a table; ``address`` says where each one's section lies, with its id for the braces."""
    rows = "".join(_index_row(report, address.format(escape(report.claim.id))) for report in reports)
    head = "<tr><th>Claim<th>Title<th>Source<th>Verdict<th>Routes<th>Seconds</tr>"
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _index_row(report: ClaimReport, address: str) -> str:
    c = report.claim
    return (
        f'<tr><td><a href="{address}">{escape(c.id)}</a><td>{text_to_html(c.title)}<td>{escape(str(c.source))}'
        f"<td>{_badge(report)}<td>{escape(', '.join(report.routes))}<td>{report.seconds:.1f}</tr>"
    )


def section(report: ClaimReport, *, level: int = 2) -> str:
    """A claim with its checks and their evidence, as HTML under a heading of this level."""
    c = report.claim
    by_name = {(o.kind, o.name): o for o in report.outcomes}
    heading = f"{escape(c.id)}. {text_to_html(c.title)} {_badge(report)}"
    parts = [f'<h{level} id="{escape(c.id)}">{heading}</h{level}>']
    parts.append(
        f"<p class=meta>{'Our own. ' if c.ours else ''}{escape(str(c.source))}. Scope:"
        f" {text_to_html(c.scope)}.</p>"
    )
    parts.append(f"<p class=statement>{text_to_html(c.statement)}</p>")
    if c.hypotheses:
        parts.append("<p>Hypotheses: " + "; ".join(map(text_to_html, c.hypotheses)) + ".</p>")
    if c.finding:
        parts.append(f"<p>{text_to_html(c.finding)}</p>")
    parts.append("<ol>" + "".join(_step(s, by_name["step", s.name]) for s in c.steps) + "</ol>")
    for example in c.counterexamples:
        numbers = ", ".join(f"{k} = {v}" for k, v in example.numbers.items())
        outcome = by_name["counterexample", example.text]
        parts.append(
            f"<p><b>Counterexample.</b> {text_to_html(example.text)} {escape(numbers)} {_mark(outcome)}</p>"
            + _evidence(outcome.evidence)
        )
    if c.sabotages:
        items = "".join(_sabotage(s.name, by_name["sabotage", s.name]) for s in c.sabotages)
        parts.append(
            f"<details><summary>False statements that the checks reject</summary><ul>{items}</ul></details>"
        )
    for complaint in report.complaints:
        parts.append(f"<p><b>Missing:</b> {escape(complaint)}</p>")
    return "".join(parts)


def _sabotage(name: str, outcome: Outcome) -> str:
    """A false statement with the check's reason to reject it."""
    said = str(outcome.evidence or "")
    reason = said if len(said) <= _LONGEST_REASON else f"{said[:_LONGEST_REASON]} ..."
    told = f"<span class=evidence>{escape(reason)}</span>" if outcome.holds else _mark(outcome)
    return f"<li>{text_to_html(name)}: {told}</li>"


def _step(step: Any, outcome: Outcome) -> str:
    shows = f" {text_to_html(step.shows)}" if step.shows else ""
    head = (
        f'<b>{text_to_html(step.name)}.</b>{shows} <span class="route">{step.route}</span> {_mark(outcome)}'
    )
    code = textwrap.dedent(inspect.getsource(step.check))
    source = f"<details><summary>the check</summary><pre>{escape(code)}</pre></details>"
    return f"<li>{head}{_evidence(outcome.evidence)}{_traced(step, outcome)}{source}</li>"


def _traced(step: Any, outcome: Outcome) -> str:
    """One of the formulas that the step read from code, beside that code."""
    told = isinstance(outcome.evidence, Exhibit) and outcome.evidence.code
    if step.route != "traced code" or outcome.traced is None or told:
        return ""
    formula, code = outcome.traced
    return (
        "<details><summary>one formula as read, and the code it was read from</summary>"
        f"{_beside(to_mathml(formula, block=True), f'<pre>{escape(code)}</pre>')}</details>"
    )


def _beside(formula: str, code: str) -> str:
    return f'<div class="pair"><div>{formula}</div><div>{code}</div></div>'


def _mark(outcome: Outcome) -> str:
    if outcome.holds:
        return ""
    return f'<span class="verdict fails">fails</span> <span class=evidence>{escape(outcome.error)}</span>'


def _evidence(evidence: Any) -> str:
    if evidence is None:
        return ""
    if isinstance(evidence, sp.Basic):
        return to_mathml(sp.latex(evidence), block=True)
    if not isinstance(evidence, Exhibit):
        shown = text_to_html(evidence) if isinstance(evidence, str) else escape(str(evidence))
        return f"<p class=evidence>{shown}</p>"
    formula = to_mathml(evidence.formula, block=True) if evidence.formula else ""
    code = f"<pre>{escape(evidence.code)}</pre>" if evidence.code else ""
    shown = _beside(formula, code) if formula and code else formula + code
    if evidence.table:
        head, *rows = evidence.table
        body = "".join(
            "<tr>" + "".join(f"<td>{text_to_html(str(cell))}" for cell in row) + "</tr>" for row in rows
        )
        shown += f"<table><tr>{''.join(f'<th>{text_to_html(str(cell))}' for cell in head)}</tr>{body}</table>"
    return shown + (f"<p class=evidence>{text_to_html(evidence.text)}</p>" if evidence.text else "")
