"""gradvar prove: exit codes, JSON, the book, a folder of the user's own."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from gradvar.cli.prove import Prove, coloured, run, table, verdict_style
from gradvar.symbolic import load, verify
from gradvar.symbolic.claims.coverage import Coverage, coverage
from gradvar.symbolic.claims.formula import to_mathml
from tests.report import schema

GOOD = """
import sympy as sp
from gradvar.symbolic import Claim, Exhibit, Quantity, Source, Statement, real

a, b, s = sp.symbols("a b s", real=True)
statement = Statement(forall={a: real(), b: real()}, quantities={s: Quantity("(a + b)^2", "the square of the sum")},
                      goals={"square": sp.Eq(s, a**2 + 2 * a * b + b**2)})
claim = Claim(id="T1", title="A square of a sum, $(a+b)^2$", statement=statement,
              source=Source("0000.00000", "v1", says="the square of the < sum >"), proof="Multiply out.",
              verdict="proved", scope="all real numbers", finding="the < cross > term counts twice")

@claim.step("Expand", route="sympy", shows=r"$\\left(a + b\\right)^2$")
def expand(cross=2):
    claim.goal("square").holds({s: a * (a + b) + b * (a + b) + (cross - 2) * a * b})
    return Exhibit(formula=sp.latex((a + b) ** 2), code="def f(a, b): ...", table=(("a", "b"), ("1", "$2$")))

@claim.step("Small cases", route="enumeration")
def small():
    for i, j in [(0, 1), (2, 3), (4, 4)]:
        claim.goal("square").holds({s: (i + j) ** 2}, at={a: i, b: j})

claim.sabotage("once", expand, cross=1)
"""
BAD = GOOD.replace("def expand(cross=2)", "def expand(cross=3)").replace('"T1"', '"T2a"')


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "t1.py").write_text(GOOD)
    return tmp_path


def test_a_folder_of_ones_own(folder, tmp_path, capsys):
    out, page = tmp_path / "out.json", tmp_path / "book.html"
    assert run(Prove(str(folder), json=out, html=page, quiet=True)) == 0
    result = json.loads(out.read_text())
    assert schema.errors("proof", result) == []
    (row,) = result["claims"]
    assert result["findings"] == ["1 proved; every verdict holds."]
    assert {
        "id",
        "title",
        "source",
        "verdict",
        "hypotheses",
        "counterexample",
        "routes",
        "seconds",
    } <= row.keys()
    assert (row["id"], row["verdict"], row["routes"], row["holds"]) == (
        "T1",
        "proved",
        ["sympy", "enumeration"],
        True,
    )
    html = page.read_text()
    for math in html.split("<math")[1:]:
        ET.fromstring("<math" + math.split("</math>")[0] + "</math>")
    known = ("http://www.w3.org/1998/Math/MathML", "https://arxiv.org/abs/")  # named, not loaded
    for address in known:
        html = html.replace(address, "")
    assert "http" not in html
    assert "def f(a, b)" in html
    assert "&lt; cross &gt;" in html
    assert "1 claim: 1 proved" in capsys.readouterr().out


def test_a_verdict_that_fails_gives_one(folder, capsys):
    (folder / "t2.py").write_text(BAD)
    assert run(Prove(str(folder), quiet=True)) == 1
    assert "T2a" in capsys.readouterr().out.split("do not hold")[1]
    assert run(Prove(str(folder), only=("T1",), quiet=True)) == 0
    assert run(Prove(str(folder), only=("t2",), quiet=True)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"only": ("Z9",)}, "no claim Z9"),
        ({"target": "nowhere/at/all"}, "does not exist"),
        ({"target": "nowhere.py:f"}, "does not exist"),
        ({"jobs": 0}, "jobs: 0"),
        ({"only": ("",)}, "there are T1"),
        ({"target": "no_such_module:f"}, "target: no_such_module cannot be imported"),
        ({"target": "gradvar.catalogue:get", "only": ("A1",)}, "only: A1"),
        ({"target": "gradvar.catalogue:get", "html": Path("book.html")}, "html: book.html"),
        ({"json": Path()}, "json: . is a folder"),
        ({"html": Path(__file__) / "book.html"}, "lies below a file"),
    ],
)
def test_bad_usage_gives_two_and_one_line(folder, change, message, capsys):
    assert run(Prove(**{"target": str(folder), "quiet": True, **change})) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert message in error[0]


OBJECTIVES = """
import jax.numpy as jnp

def misspelt(logp, batch):
    return jnp.sum(logp * batch.reward[..., None])

def beyond(logp, batch):
    return logp[0, 0, 0] * [1, 2][5]

def no_scalar(logp, batch):
    return logp.sum(-1)

def branching(logp, batch):
    return logp.sum() if batch.rewards[0, 0] > 0 else -logp.sum()

def unknown(logp, batch):
    return jnp.sum(jnp.linalg.svd(logp[0], compute_uv=False))
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("misspelt", "no attribute 'reward'"), ("beyond", "IndexError"), ("no_scalar", "returns shape"),
        ("branching", "boolean conversion"), ("unknown", "'svd'"), ("", "give module:function"),
    ],
)  # fmt: skip
def test_whatever_an_objective_raises_is_one_line_that_names_it(tmp_path, name, message, capsys):
    (tmp_path / "mine.py").write_text(OBJECTIVES)
    assert run(Prove(f"{tmp_path}/mine.py:{name}", quiet=True)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("gradvar: error: target: ")
    assert message in line


TRACED = """
import jax.numpy as jnp, sympy as sp
from gradvar.symbolic import Claim, Quantity, Source, Statement, real, trace

x, c = sp.symbols("x c", real=True)
statement = Statement(forall={x: real()}, quantities={c: Quantity("c", "the cube")}, goals={"cube": sp.Eq(c, x**3)})
claim = Claim(id="T9", title="A cube", statement=statement, source=Source("0"), verdict="proved", scope="all")

@claim.step("Read", route="traced code")
def read(power=3):
    claim.goal("cube").holds({c: trace(lambda v: v * v * v if power == 3 else v * v, x)})

@claim.step("By hand", route="sympy")
def hand(power=3):
    claim.goal("cube").holds({c: x * x**(power - 1)})

claim.sabotage("a square", read, power=2)
"""


def test_the_book_has_the_traced_code_beside_its_formula_and_why_a_sabotage_failed(tmp_path):
    (tmp_path / "t9.py").write_text(TRACED)
    assert run(Prove(str(tmp_path), html=tmp_path / "book.html", quiet=True)) == 0
    html = (tmp_path / "book.html").read_text()
    assert "lambda ; a:f64[]" in html
    assert html.index(to_mathml("x^{3}", block=True)) < html.index("lambda ; a:f64[]")
    assert "the sides differ by" in html


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "no claims"),
        ("def broken(:\n", "SyntaxError"),
        ("import nothing_like_this\n", "nothing_like_this"),
    ],
)
def test_broken_claim_files_give_two(tmp_path, text, message, capsys):
    (tmp_path / "c.py").write_text(text)
    assert run(Prove(str(tmp_path), quiet=True)) == 2
    assert message in capsys.readouterr().err


def test_two_claims_of_one_id_are_refused(folder, capsys):
    (folder / "t3.py").write_text(GOOD)
    assert run(Prove(str(folder), quiet=True)) == 2
    assert "T1 is taken" in capsys.readouterr().err


@pytest.mark.slow
def test_several_processes_give_the_same(folder):
    from gradvar.symbolic.claims.ledger import load
    from gradvar.symbolic.claims.run import verify_all

    for i in range(2, 8):
        (folder / f"t{i}.py").write_text(
            (GOOD if i % 2 else BAD.replace("T2a", "T1")).replace('"T1"', f'"T{i}"')
        )
    claims = load(folder)
    assert len(claims) == 7
    seen = []
    many = verify_all(claims, jobs=2, done=lambda c: seen.append(c.id))
    assert sorted(seen) == [c.id for c in claims]
    assert [(r.claim.id, r.holds, r.routes) for r in many] == [
        (r.claim.id, r.holds, r.routes) for r in verify_all(claims)
    ]


def test_claims_in_folders_share_a_helper_above(tmp_path, capsys):
    (tmp_path / "_shared_square.py").write_text("CROSS = 2\n")
    deep = GOOD.replace("import sympy as sp", "import sympy as sp\nfrom _shared_square import CROSS")
    for place, name in (("first", "T1"), ("second", "T3"), (".hidden", "T4"), ("package", "T5")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "t.py").write_text(deep.replace('"T1"', f'"{name}"'))
    (tmp_path / "package" / "__init__.py").touch()
    assert run(Prove(str(tmp_path), quiet=True)) == 0
    assert "2 claims: 2 proved" in capsys.readouterr().out
    assert run(Prove(str(tmp_path / "second" / "t.py"), quiet=True)) == 0


def test_verbose_shows_what_had_to_be_shown_and_the_relation_stands_apart(folder, tmp_path, capsys):
    assert run(Prove(str(folder), quiet=True, verbose=True, json=tmp_path / "out.json")) == 0
    printed = capsys.readouterr().out
    obligation = re.search(r"^T1: goal 'square'.*(?:\n  .*)*", printed, re.MULTILINE)[
        0
    ]  # with its further lines
    obligation = " ".join(obligation.split())
    for part in (
        r"(a + b)^2 = a^{2} + 2 a b + b^{2}",
        "shown by 'Expand' (sympy); 'Small cases' (enumeration)",
    ):
        assert part in obligation
    assert "a: all; also at 0, 2, 4" in obligation
    assert "  grpo: none" in printed
    (row,) = json.loads((tmp_path / "out.json").read_text())["claims"]
    assert (row["relation"], row["named"], row["source_says"]) == (
        "states",
        True,
        "the square of the < sum >",
    )
    assert row["grounds"] == {"enumerated policies": ["Small cases"], "algebra": ["Expand"]}


REFUTED = """
import sympy as sp
from gradvar.symbolic import Claim, Quantity, Source, Statement

q = sp.Symbol("q", real=True)
claim = Claim(id="T5", title="t", source=Source("0000.00000", relation="{relation}"), verdict="refuted", scope="all",
              statement=Statement(quantities={{q: Quantity("q", "a number")}}, goals={{"small": q < 1}}))
for route in ("sympy", "smt"):
    @claim.step(route, route="sympy")
    def step(x=2):
        claim.goal("small").fails({{q: x}})
"""


@pytest.mark.parametrize(
    ("relation", "named"),
    [("states", True), ("implies", True), ("reading", False), ("folklore", False), ("ours", False)],
)
def test_refuted_is_red_only_where_the_source_states_or_implies_it(tmp_path, relation, named):
    (tmp_path / "t.py").write_text(REFUTED.format(relation=relation))
    (claim,) = load(tmp_path)
    report = verify(claim)
    sound = replace(report, complaints=())
    colour = "red" if named else "cyan"
    assert verdict_style(sound) == colour
    ((_, verdict, _, source, *_),) = table([sound]).rows
    assert verdict == "refuted"
    assert ("0000.00000" in source) == named
    for width in (60, 80, 120):
        text = coloured([sound], width)
        assert max(map(len, text.plain.splitlines())) <= width
        assert [(text.plain[span.start : span.end], span.style) for span in text.spans] == [
            ("refuted", colour)
        ]


def test_coverage_names_what_no_claim_ran():
    covered = Coverage({"grpo": ("A1",), "rloo": (), "dpo": ("A3",)}, {"advantages.raw": ()})
    assert covered.sentences() == [
        "2 of 3 shipped estimators were run by a claim; not rloo.",
        "0 of 1 pieces were run by a claim.",
    ]


SHIPPED = """
import sympy as sp
from gradvar import catalogue
from gradvar.symbolic import Claim, Quantity, Source, Statement, real, symbolic_group

w, r1, r2 = sp.symbols("w r1 r2", real=True)
claim = Claim(id="T6", title="t", source=Source("0"), verdict="open", scope="all", finding="tried",
              statement=Statement(forall={r1: real(), r2: real()}, quantities={w: Quantity("w", "a weight")},
                                  goals={"half": sp.Eq(w, (r1 - r2) / 2)}))

@claim.step("Read", route="traced code")
def read():
    pair = symbolic_group(2, [1, 1], rewards=[r1, r2], on_policy=True)
    claim.goal("half").holds({w: pair.weights(catalogue.get("rloo"))[0, 0, 0]})
"""


def test_coverage_is_of_the_claims_that_ran_an_estimator(tmp_path):
    (tmp_path / "t.py").write_text(SHIPPED)
    covered = coverage([verify(claim) for claim in load(tmp_path)], ["rloo", "grpo"])
    assert covered.estimators == {"rloo": ("T6",), "grpo": ()}
    assert covered.pieces["advantages.leave_one_out"] == ("T6",)
    assert covered.pieces["advantages.standardised"] == ()
