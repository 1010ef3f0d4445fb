"""Parts of pages, and the templates that set them. Everything is escaped unless it is markup that we made."""

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from gradvar.files.harmless import harmless
from gradvar.stats.intervals import Interval
from gradvar.stats.text import interval_texts, number_text

_CODE = re.compile(r"`([^`\n]+)`")
_ARXIV = re.compile(r"(?<![\d./])\d{4}\.\d{5}(?:v\d+)?(?![\d.]\d)")
VERDICTS = ("refuted", "conditional", "open", "fails")
CLAIM_FIELDS: dict[
    str, Any
] = {  # what a claim's page takes from the claim's data as it is, and what it is if missing
    "id": "",
    "title": "",
    "statement": "",
    "instead": "",
    "source": "",
    "relation": "not read",
    "relation_text": "",
    "attribution": "",
    "named": False,
    "source_says": "",
    "source_caveat": "",
    "judgement": "",
    "hypotheses": (),
    "obligations": (),
    "grounds": {},
    "estimators": {},
    "proof": "",
    "scope": "",
    "finding": "",
    "routes": (),
    "seconds": 0.0,
}


@dataclass(frozen=True)
class Table:
    """A table that sorts: ``columns`` are its headings, ``rows`` its cells: text, numbers, intervals or markup."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    @property
    def numeric(self) -> list[bool]:
        """For each column: True if every cell that is not empty is a number."""
        return [
            bool(self.rows) and all(sorts_by(row[k]) is not None or row[k] in ("", None) for row in self.rows)
            for k in range(len(self.columns))
        ]


@dataclass(frozen=True)
class Picture:
    """A figure: its SVG, and the caption that says in words what it shows."""

    svg: Markup
    caption: str


def render(template: str, **context: Any) -> str:
    """Render a template of ``templates/`` to HTML in which no text hides or turns round another."""
    return harmless(_environment().get_template(template).render(context))


def macro(template: str, name: str) -> Callable[..., Markup]:
    """Return a macro of a template as a function."""
    return getattr(_environment().get_template(template).module, name)


def formulas(text: object) -> Markup:
    """Set the ``$...$`` of a text as MathML; leave the text as it is, dollars included, where that fails."""
    from gradvar.symbolic.claims.formula import text_to_html

    try:
        return Markup(text_to_html(str(text)))
    except (ValueError, RecursionError):
        return escape(text)


def linked(text: object) -> Markup:
    """Escape a text, link the numbers of arXiv in it, and set what stands between backticks as code.

    >>> str(linked("2510.00977v3, Section 3"))
    '<a href="https://arxiv.org/abs/2510.00977v3">2510.00977v3</a>, Section 3'
    """
    coded = _CODE.sub(r"<code>\1</code>", str(escape(text)))
    return Markup(_ARXIV.sub(r'<a href="https://arxiv.org/abs/\g<0>">\g<0></a>', coded))


def finding(sentence: str, latex: bool) -> Markup:
    """Set a sentence: a verdict at its beginning as a badge, and its formulas if it has some."""
    word, _, rest = sentence.partition(" ")
    text = formulas(rest) if latex else escape(rest)
    if word in VERDICTS:
        return macro("claim.html.j2", "badge")(word) + " " + text
    return formulas(sentence) if latex else escape(sentence)


def text_with_class(name: str, text: object) -> Markup:
    """Put a text into a ``span`` of a class."""
    return Markup('<span class="{}">{}</span>').format(name, text)


def sorts_by(cell: Any) -> float | None:
    """Return what a cell of a table sorts by if it is a number, and None otherwise."""
    cell = cell.value if isinstance(cell, Interval) else cell
    return None if isinstance(cell, bool) or not isinstance(cell, int | float) else float(cell)


def show(cell: Any) -> Any:
    """Return a table's cell as it is shown: numbers with the places that their interval bears."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, Interval):
        if cell.reason:
            words = Markup('{} <span class="interval" title="{}">(no interval)</span>')
            return words.format(number_text(cell.value), cell.reason)
        width = cell.high - cell.low
        if not width > 0 or width <= 1e-9 * abs(cell.value):  # exact, but for rounding
            return number_text(cell.value)
        value, low, high = interval_texts(cell.value, cell.low, cell.high)
        mark = "*" if cell.note else ""
        return Markup('{} <span class="interval">[{}, {}]{}</span>').format(value, low, high, mark)
    return number_text(cell) if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else cell


def without_empty_columns(table: Table) -> Table:
    """Leave out columns in which no row has a value."""
    used = [k for k in range(len(table.columns)) if any(row[k] not in ("", None) for row in table.rows)]
    return Table(
        table.caption, [table.columns[k] for k in used], [[row[k] for k in used] for row in table.rows]
    )


def _display(latex: str) -> Markup:
    from gradvar.symbolic.claims.formula import to_mathml

    return Markup(to_mathml(latex, block=True))


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("gradvar.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "formulas": formulas,
        "linked": linked,
        "display": _display,
        "cell": show,
        "finding": finding,
        "sorts_by": sorts_by,
        "shown": without_empty_columns,
    }
    return environment
