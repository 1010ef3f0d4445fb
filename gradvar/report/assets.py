"""The page's style and its one script, which sorts tables. Nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib

from gradvar.plot.style import FAINT, INK, PAPER
from gradvar.report.svg import variables


def _ground(ground: str) -> str:
    other = {
        "light": "--line: #dcdcd8; --box: #f6f6f2; --good: #1a6b37; --bad: #a4262c; --warn: #8a5a00; --quiet: #5c5c5c;",
        "dark": "--line: #34383c; --box: #1f2226; --good: #6ccf8e; --bad: #ff8f8f; --warn: #e8b44f; --quiet: #a5a5a1;",
    }[ground]
    colours = " ".join(variables(ground))
    return f"--ink: {INK[ground]}; --paper: {PAPER[ground]}; --faint: {FAINT[ground]}; {other} {colours}"  # type: ignore[index]


STYLE = f"""
:root {{ color-scheme: light dark; {_ground("light")} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_ground("dark")} }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, 'DejaVu Sans', sans-serif; }}
header, main, footer {{ max-width: 84rem; margin: 0 auto; padding: 0 clamp(1rem, 4vw, 3rem); }}
h1 {{ font-size: 1.6rem; line-height: 1.25; margin: 1.6rem 0 .3rem; }}
h2 {{ font-size: 1.25rem; line-height: 1.3; margin: 0 0 .4rem; }}
h3 {{ font-size: 1rem; margin: 1.6rem 0 .4rem; }}
section {{ border-top: 1px solid var(--line); margin-top: 2.2rem; padding-top: 1.4rem; }}
p, li, dd, h1, h2, figcaption {{ overflow-wrap: anywhere; }}
p, li {{ max-width: 46rem; }}
ul {{ padding-left: 1.2rem; margin: .4rem 0; }}
li {{ margin: .3rem 0; }}
a {{ color: inherit; }}
.meta {{ color: var(--quiet); font-size: .88rem; margin: 0; }}
.findings li::marker {{ color: var(--c0); }}
.unread {{ border-left: 3px solid var(--warn); padding-left: .8rem; }}
.figures {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr));
  gap: 1.4rem 2rem; align-items: start; margin: .4rem 0 1.2rem; }}
@media (min-width: 64rem) {{ .figures > .wide {{ grid-column: span 2; }} }}
.told {{ min-width: 0; }}
nav h2 {{ margin-top: 1.6rem; }}
figure {{ margin: 0; max-width: 30rem; min-width: 0; break-inside: avoid; }}
figure svg {{ display: block; width: 100%; height: auto; }}
figure svg text {{ font-family: 'DejaVu Sans', Verdana, system-ui, sans-serif !important; }}
figure svg * {{ stroke-linejoin: round; stroke-linecap: butt; }}
figcaption {{ font-size: .88rem; color: var(--quiet); margin-top: .3rem; }}
.scroll {{ overflow-x: auto; margin: 1rem 0; max-height: 34rem; overflow-y: auto; border: 1px solid var(--line);
  border-radius: .3rem; width: fit-content; max-width: 100%; }}
table {{ border-collapse: separate; border-spacing: 0; font-size: .86rem; }}
caption {{ text-align: left; padding: .5rem .7rem; color: var(--quiet); position: sticky; left: 0; }}
caption span {{ display: inline-block; max-width: calc(100vw - 4.5rem); }}
th, td {{ padding: .3rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }}
tbody tr:last-child td {{ border-bottom: 0; }}
td {{ max-width: 30rem; }}
td:first-child {{ white-space: nowrap; }}
.long {{ display: block; min-width: 14rem; overflow-wrap: anywhere; }}
thead th {{ position: sticky; top: 0; background: var(--box); white-space: nowrap; }}
th button {{ all: unset; cursor: pointer; font-weight: 600; }}
th button:focus-visible, 
  .scroll:focus-visible, summary:focus-visible {{ outline: 2px solid var(--c0); outline-offset: 2px; }}
th button::after {{ content: " \\2195"; color: var(--faint); }}
th[aria-sort=ascending] button::after {{ content: " \\2191"; color: inherit; }}
th[aria-sort=descending] button::after {{ content: " \\2193"; color: inherit; }}
.number {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
.interval {{ color: var(--quiet); }}
.verdict {{ font-weight: 600; white-space: nowrap; }}
.good {{ color: var(--good); }} .bad {{ color: var(--bad); }} .warn {{ color: var(--warn); }}
details {{ margin: .8rem 0; }}
summary {{ cursor: pointer; color: var(--quiet); }}
dl {{ display: grid; grid-template-columns: minmax(6rem, max-content) minmax(0, 1fr); gap: .2rem 1rem;
  font-size: .88rem; }}
dt {{ color: var(--quiet); }} dd {{ margin: 0; }}
pre {{ background: var(--box); padding: .8rem; overflow-x: auto; font-size: .8rem;
  line-height: 1.4; border-radius: .3rem; }}
footer {{ color: var(--quiet); font-size: .85rem; padding-top: 2rem; padding-bottom: 2rem; }}
@media print {{
  :root {{ color-scheme: light; {_ground("light")} }}
  body {{ font-size: 10pt; }}
  .scroll {{ max-height: none; overflow: visible; border: 0; }}
  table {{ font-size: 6.5pt; }}
  thead th {{ position: static; }}
  td, th, td:first-child, thead th, .number {{ white-space: normal; padding: .1rem .25rem; }}
  .interval {{ display: block; }} .long {{ min-width: 0; }} .told {{ grid-column: 1 / -1; }}
  th button::after {{ content: none !important; }}
  .figures {{ grid-template-columns: 1fr 1fr; }}
  h2, h3, caption {{ break-after: avoid; }} tr {{ break-inside: avoid; }}
  details::details-content {{ content-visibility: visible; block-size: auto; }}
}}
"""

SCRIPT = """
(() => {
  const value = (row, k) => {
    const cell = row.cells[k];
    return cell.dataset.v === undefined ? null : Number(cell.dataset.v);
  };
  const order = (k, sign) => (a, b) => {
    const x = value(a, k), y = value(b, k);
    if (x !== null && y !== null) {
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return sign * (x - y);
    }
    if ((x === null) !== (y === null)) return x === null ? 1 : -1;
    return sign * a.cells[k].textContent.localeCompare(b.cells[k].textContent, undefined, { numeric: true });
  };
  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => {
      const head = button.closest("th"), table = button.closest("table"), body = table.tBodies[0];
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of table.querySelectorAll("th")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      body.append(...[...body.rows].sort(order(head.cellIndex, sign)));
    });
  }
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details")) part.open = true;
  });
})();
"""

# A page that loads nothing and runs this script alone, whatever a file's names may hold.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    f"script-src 'sha256-{base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()}'"
)
