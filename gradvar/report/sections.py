"""Each kind of result as a section of the report: its findings as its file states them, its figures and its tables."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from gradvar import plot
from gradvar.report.html import CLAIM_FIELDS, Table, formulas, macro, text_with_class
from gradvar.report.page import Section, stated_findings
from gradvar.report.svg import drawn
from gradvar.stats.intervals import Interval
from gradvar.stats.text import number_text
from gradvar.studies.rows import number
from gradvar.testing.names import LAWS

Content = Mapping[str, Any]
_MOST_ROWS = 2000  # of a table of an audit


def advice(content: Content) -> Section:
    """Set the result of ``gradvar advise``: the cost of group sizes, and a comparison of estimators if it has one."""
    rivals = content.get("estimators") or []
    prompts, rollouts = content.get("prompts", "?"), content.get("rollouts", "?")
    points = [
        [
            point["group_size"],
            _interval(point.get("cost", point.get("relative_cost"))),
            _interval(point.get("variance")),
            _interval(point.get("informative")),
        ]
        for point in content["curve"]
    ]
    if not any("variance" in point for point in content["curve"]):
        points = [[size, cost, None, share] for size, cost, _, share in points]
    schemes = [
        [
            rival["scheme"],
            rival["group_size"],
            *map(number, rival["weights"]),
            _interval(rival["cosine"]),
            _interval(rival["cost"]),
        ]
        for rival in rivals
    ]
    columns = "estimator", "G", "least weight", "largest weight", "cosine with ∇J", "cost of equal progress"
    tables = [
        Table(
            "Group sizes; brackets are 95 % intervals",
            ["G", "cost of equal variance", "variance", "share of informative groups"],
            points,
        )
    ]
    if schemes:
        caption = "Estimators by the four-number law; brackets are 95 % intervals"
        tables.append(Table(caption, columns, schemes))
    words = f"Cost of equal variance by group size, from {prompts} prompts of {rollouts} rollouts."
    return Section(
        title=_best_size(content),
        kind="Advice",
        findings=stated_findings(content),
        figures=[drawn(plot.cost, content, caption=words)],
        tables=tables,
        estimators=list(dict.fromkeys(str(rival["scheme"]) for rival in rivals)),
    )


def _best_size(content: Content) -> str:
    """The best size where the intervals of all pairs of sizes say that it is the best of them."""
    best = content["best"]
    if best is None:
        return "Best group size: not determined"
    lows = [number((p.get("cost") or {}).get("low")) for p in content["curve"] if p["group_size"] != best]
    if all(low > 1 for low in lows):
        return f"Best group size: G = {best}"
    return f"Group size of the lowest cost estimated: G = {best}; whether it is the best cannot be told"


def proof(content: Content) -> Section:
    """Set the result of ``gradvar prove``: every claim's verdict, steps and counterexamples."""
    claims: Sequence[Content] = content["claims"]
    rows = [
        [
            claim["id"],
            formulas(claim["title"]),
            _badge(claim["verdict"] if claim["holds"] else "fails", claim.get("named", False)),
            claim.get("attribution") or "",
            ", ".join(claim.get("routes", [])),
            claim.get("seconds"),
        ]
        for claim in claims
    ]
    return Section(
        title=f"{_count(len(claims), 'claim')} checked",
        kind="Proof run",
        findings=stated_findings(content),
        tables=[
            Table(
                "Claims and verdicts",
                ["claim", "title", "verdict", "relation to the source", "routes", "seconds"],
                rows,
            ),
            *_coverage(content.get("coverage") or {}),
        ],
        more={f"{claim['id']}: statement, steps and counterexamples": _claim(claim) for claim in claims},
        sources=[str(claim.get("source", "")) for claim in claims],
        latex=True,
    )


def analysis(content: Content) -> Section:
    """Set the result of ``gradvar prove FILE:OBJECTIVE``: laws of a user's objective, and its regions."""
    laws = [
        [law["name"], law["statement"], _badge(law["verdict"]), law.get("note") or ""]
        for law in content["laws"]
    ]
    regions = [
        [" and ".join(map(str, region["conditions"])) or "everywhere", *map(str, region["token_weights"])]
        for region in content.get("regions", [])
    ]
    tables = [Table("Laws", ["law", "statement", "verdict", "note"], laws)]
    if regions and len({len(row) for row in regions}) == 1:
        columns = ["region", *(f"weight of rollout {k}" for k in range(1, len(regions[0])))]
        tables.append(Table("Regions, and the tokens' weights in them", columns, regions))
    return Section(
        str(content["target"]), "Analysis of an objective", stated_findings(content), tables=tables
    )


def check(content: Content) -> Section:
    """Set the result of ``gradvar check``: laws that hold and that fail, with the counterexamples."""
    declared = {None: "", True: "holds", False: "fails"}
    rows = [
        [
            law["name"],
            _badge(law["status"]),
            text_with_class("long", LAWS.get(law["name"], "")),
            text_with_class("long", law.get("why") or ""),
            declared.get(law.get("declared"), str(law.get("declared"))),
        ]
        for law in content["laws"]
    ]
    return Section(
        title=str(content["target"]),
        kind="Check of an advantage function or loss",
        findings=stated_findings(content),
        tables=[Table("Laws", ["law", "status", "what it says", "what was seen", "declared"], rows)],
        more={
            f"{law['name']}: reproduce": Markup('<pre tabindex="0">{}</pre>').format(
                law["example"]["reproduce"]
            )
            for law in content["laws"]
            if law["status"] == "fails" and law.get("example") and law["example"].get("reproduce")
        },
    )


def audit(content: Content) -> Section:
    """Set the result of ``gradvar audit``: what is suspicious, its advice, and the shares of equal groups."""
    stated = ("findings", "suspicions", "advice", "notes")
    sizes = content["group_sizes"]
    figures = []
    if len(content["steps"]) > 1:
        words = "Groups with equal rewards, which teach a group estimator nothing, along the training."
        figures.append(drawn(plot.equal_groups, content, caption=words))
    if any(math.isfinite(_interval(size["informative"]).value) for size in sizes):
        words = "Groups with different rewards, had groups been of other sizes."
        figures.append(drawn(plot.informative, content, caption=words))
    return Section(
        title=f"Audit of {number(content['rows']):,.0f} rollouts",
        kind="Audit",
        findings=stated_findings(content),
        figures=figures,
        tables=_plain_tables({k: v for k, v in content.items() if k not in stated}),
        estimators=[str(content.get("estimator", ""))],
    )


def _coverage(covered: Content) -> list[Table]:
    """A table of the shipped estimators and one of the pieces, with the claims that ran each."""
    return [
        Table(
            f"Shipped {what}, and the claims that ran them",
            [what, "claims"],
            [[name, ", ".join(ids) or "none"] for name, ids in covered[what].items()],
        )
        for what in ("estimators", "pieces")
        if covered.get(what)
    ]


def _claim(content: Content) -> Markup:
    """A claim as its file states it: with its steps, but without their evidence."""
    evidence = {"formula": "", "code": "", "table": (), "text": ""}
    nothing = {"error": "", "evidence": evidence, "traced": None, "check": ""}
    examples = content.get("counterexample") or []
    return macro("claim.html.j2", "claim")(
        {
            **{name: content.get(name) or default for name, default in CLAIM_FIELDS.items()},
            "verdict": content["verdict"] if content["holds"] else "fails",
            "steps": [{"shows": "", "judge": "", **step, **nothing} for step in content.get("steps", [])],
            "counterexamples": [
                {"text": example["text"], "numbers": _numbers(example), **nothing} for example in examples
            ],
            "sabotages": [
                {"name": name, "reason": "", "error": ""} for name in content.get("sabotages") or []
            ],
            "missing": [],
            "formal": [],
        }
    )


def _numbers(example: Content) -> str:
    """Write the exact numbers of a counterexample."""
    return ", ".join(f"{name} = {value}" for name, value in example.items() if name != "text")


def _plain_tables(content: Content) -> list[Table]:
    """A table for each list of rows, at the upper level of a file or one level below."""
    lists = {**content}
    for name, value in content.items():
        if isinstance(value, Mapping):
            lists |= {f"{name}: {inner}": rows for inner, rows in value.items()}
    return [
        _plain_table(name, rows)
        for name, rows in lists.items()
        if isinstance(rows, list) and rows and all(isinstance(row, Mapping) and row for row in rows)
    ]


def _plain_table(name: str, rows: Sequence[Content]) -> Table:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    body = [[_plain_cell(row.get(column)) for column in columns] for row in rows[:_MOST_ROWS]]
    cut = f" (the first {_MOST_ROWS} of {len(rows)} rows)" if len(rows) > _MOST_ROWS else ""
    return Table(f"{name.replace('_', ' ')}{cut}", [column.replace("_", " ") for column in columns], body)


def _plain_cell(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _interval(value)
    if isinstance(value, list):
        return ", ".join(number_text(x) if isinstance(x, float) else str(x) for x in value)
    return value


def _interval(figure: Any) -> Interval:
    """A figure from a file, with its interval if it has one; a missing upper end alone is infinite."""
    if not isinstance(figure, Mapping):
        return Interval(number(figure), math.nan, math.nan)
    high = number(figure.get("high"))
    low = number(figure.get("low"))
    value, effective = number(figure.get("value")), number(figure.get("effective"))
    if math.isnan(low):
        return Interval(value, low, high, effective=effective, reason=str(figure.get("reason") or ""))
    return Interval(value, low, math.inf if math.isnan(high) else high, effective=effective)


def _badge(verdict: Any, named: bool = True) -> Markup:
    """A verdict in its colour; a refuted statement is red only if its source is ``named`` next to it."""
    return macro("claim.html.j2", "badge")(verdict, named)


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
