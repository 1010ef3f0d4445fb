"""Theorems that a proof kernel checks: what they rest on, terms, bridges, and what is said where no kernel is."""

import csv
import json
import re
import shutil
from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import pytest
import sympy as sp

from gradvar.cli.prove import Prove, run
from gradvar.symbolic import proofs_folder
from gradvar.symbolic.claims.ledger import order
from gradvar.symbolic.kernel.assumptions import AXIOMS_OF_THE_REALS, parse_assumptions, questions, unexpected
from gradvar.symbolic.kernel.compiler import Compiler
from gradvar.symbolic.kernel.development import (
    in_order,
    needed,
    read_development,
    read_source,
    theorems_by_claim,
)
from gradvar.symbolic.kernel.run import check_sources
from gradvar.symbolic.kernel.term import coq_relation, coq_term
from tests.report import schema

FOLDER = proofs_folder() / "kernel"
PRINTED = """gradvar theorem first
Closed under the global context
gradvar theorem second
Axioms:
ClassicalDedekindReals.sig_forall_dec
  : forall P : nat -> Prop,
    (forall n : nat, {P n} + {~ P n}) -> {n : nat | ~ P n} + {forall n : nat, P n}
functional_extensionality_dep : forall (A : Type) (B : A -> Type), True
cheat : 1 = 2
gradvar theorem third
second relies on an unsafe hierarchy.
"""


def test_assumptions_are_read():
    read = parse_assumptions(PRINTED)
    assert read["first"] == ()
    assert read["second"] == (
        "ClassicalDedekindReals.sig_forall_dec",
        "functional_extensionality_dep",
        "cheat",
    )
    assert unexpected(read["second"]) == ("cheat",)
    assert unexpected(read["third"]) == ("second relies on an unsafe hierarchy.",)
    assert unexpected(AXIOMS_OF_THE_REALS) == ()
    assert unexpected(("dep", "My.cheat")) == ("dep", "My.cheat")


def value_of(term, point):
    """A printed term by Python's own arithmetic."""
    words = term.replace("%:R", "").replace("^+", "**").replace("^-1", "**-1").replace("Num.", "")
    words = re.sub(r"\((min|max) (\S+|\(.*?\)) (\S+|\(.*?\))\)", r"\1(\2, \3)", words)
    return eval(re.sub(r"\b\d+\b", lambda m: f"Fraction({m[0]})", words), {"Fraction": Fraction}, point)


def test_a_term_has_the_value_of_its_formula():
    a, b = sp.symbols("a b", positive=True)
    point = {"a": Fraction(3, 7), "b": Fraction(-5, 2)}
    for formula in (
        a / 3 - 2 * b,
        (a - b) ** 3 / (a + b**2),
        -a * b,
        sp.Rational(-7, 12) + a ** (-2),
        a * sp.Rational(1, 10**6) + 1009 * b,
    ):
        exact = formula.subs({a: sp.Rational(3, 7), b: sp.Rational(-5, 2)})
        assert value_of(coq_term(formula), point) == Fraction(exact.p, exact.q)
    assert coq_term(sp.Min(a, b)) == "(Num.min a b)"
    assert coq_term(sp.sqrt(a)) == "(Num.sqrt a)"
    assert coq_relation(a - b < 0) == "(a + (- b)) < 0"


def test_what_has_no_term_is_named():
    x = sp.Symbol("x", real=True)
    with pytest.raises(ValueError, match="holds sin"):
        coq_term(1 + sp.sin(x))
    with pytest.raises(ValueError, match="rename it"):
        coq_term(sp.Symbol("x^2"))
    with pytest.raises(ValueError, match="give one of"):
        coq_relation(x >= 0)


def test_every_theorem_is_of_a_claim_of_the_ledger():
    claims = theorems_by_claim(read_development(FOLDER))
    text = "".join(path.read_text() for path in proofs_folder().rglob("[a-z]*.py"))
    ids = set(re.findall(r'\bid="([A-Z]\d+[a-z]?)"', text))
    assert (
        {"A1a", "A2", "A6", "B1", "B3a", "B6a", "B6b", "B24a", "B30", "N1", "N2", "N3"} <= set(claims) <= ids
    )


def test_the_page_lists_every_claim_with_a_theorem():
    page = (Path(__file__).parents[2] / "docs" / "kernel_theorems.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([A-Z]\d+[a-z]?) \| `(\w+)\.v` \| `(\w+)` \|", page, re.MULTILINE)
    theorems = [
        (t.claim, source.name, t.name) for source in read_development(FOLDER) for t in source.theorems
    ]
    assert set(rows) <= set(theorems)
    assert [claim for claim, *_ in rows] == sorted({claim for claim, *_ in theorems}, key=order)


def test_nothing_is_taken_without_proof():
    for path in FOLDER.glob("*.v"):
        assert not re.search(
            r"\b(Admitted|admit|Axiom|Parameter|Conjecture|Unset Guard)\b", path.read_text()
        ), path


# Of MathComp 1 alone: lemmas that MathComp 2 calls otherwise, and its notation for a finite type.
RENAMED = re.compile(
    r"\b(l[te]r_(n|p)?(mul2|(e|i)?mul[lr]|expn2)\w*|l[te]r_(n|p)?div[lr]_mul[lr]|l[te]r_(p|n|s)?padd[lr]"
    r"|l[te]r_add2\w*|l[te]r_add|l[te]r_sub\w*|l[te]r_opp2|(min|max)r_[pn]mul[lr]|l[te]_(max|min)[lr])\b"
    r"|\[finType of"
)


def test_no_lemma_that_mathcomp_2_has_renamed_is_used():
    for path in [*FOLDER.glob("*.v"), *FOLDER.glob("_bridges*.py")]:
        assert not RENAMED.search(path.read_text(encoding="utf-8")), path
    for name in ("ler_pdivl_mulr", "ltr_pdivr_mulr", "ler_pmul2l", "ler_pexpn2r", "ltr_paddr", "minr_pmull"):
        assert RENAMED.search(f"rewrite -{name} //."), name


def test_files_are_in_order():
    sources = read_development(FOLDER)
    names = [source.name for source in sources]
    assert all(names.index(name) < names.index(s.name) for s in sources for name in s.imports)
    assert [s.name for s in needed(sources, ["unbiased"])] == [
        name for name in names if name in ("group_means", "independence", "unbiased")
    ]
    first, second = (f"From Gradvar Require Import {name}.\n" for name in ("b", "a"))
    with pytest.raises(ValueError, match="import each other"):
        in_order([read_source("a", first), read_source("b", second)])
    with pytest.raises(ValueError, match=r"there is no b\.v"):
        in_order([read_source("a", first)])
    with pytest.raises(ValueError, match="write its id"):
        read_source("a", "(* a remark *)\nTheorem t : True.\nProof. by []. Qed.")


def test_a_statement_stands_with_all_that_it_uses():
    text = """Section A. Variable x : nat.
Definition even := x.
End A.
Section B.
Variable y : nat.
Hypothesis h : y = 1.
Definition twice := y + y.
Definition four := twice + twice.
Definition unused := y.
(* B1 *)
Theorem t : four = four.
Proof. by []. Qed.
End B.
"""
    (theorem,) = read_source("t", text).theorems
    assert [sentence.split()[1] for sentence in theorem.context] == ["y", "h", "twice", "four"]
    (bound,) = (t for t in theorems_by_claim(read_development(FOLDER))["B30"] if t.comment == "B30, bound")
    stated = "\n".join(bound.context)
    for part in (
        "rcfType",
        "not_all_equal : squares r != 0",
        "Notation A",
        "squares r :=",
        "mean r :=",
    ):  # the last is imported
        assert part in stated, part


def test_every_row_of_the_notation_is_of_some_theorem():
    table = (files("gradvar.report") / "templates" / "coq_notation.csv").read_text(encoding="utf-8")
    theorems = [t for rows in theorems_by_claim(read_development(FOLDER)).values() for t in rows]
    text = "\n".join(line for t in theorems for line in (*t.context, t.statement))
    for row in csv.DictReader(table.splitlines()):
        assert re.search(row["pattern"], text), row


def test_without_a_kernel_one_line_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert run(Prove(kernel=True)) == 2
    error = capsys.readouterr().err
    assert error.startswith("gradvar: error: kernel: no coqc and no rocq")
    assert error.count("\n") == 1
    assert "apt-get install coq" in error
    assert run(Prove("file.py:objective", kernel=True)) == 2
    assert "leave the target out" in capsys.readouterr().err


STAND_IN = r"""#!/bin/sh
[ "$1" = --version ] && echo "a stand-in, version 1" && exit
for file; do :; done
touch "${file%.v}.vo"
sed -n 's/^Goal True. idtac "\(gradvar theorem .*\)". Abort.$/\1\nANSWER/p' "$file"
"""


@pytest.mark.parametrize(
    ("answer", "code"), [("Closed under the global context", 0), ("Axioms:\\ncheat : 1 = 2", 1)]
)
def test_what_the_command_writes_is_as_the_schema_says(tmp_path, monkeypatch, capsys, answer, code):
    """With a program in Coq's place that gives every theorem the same answer: what is read of it and written."""
    program = tmp_path / "coqc"
    program.write_text(STAND_IN.replace("ANSWER", answer))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "kernel.json"
    assert run(Prove(kernel=True, only=("N3",), json=file, quiet=True)) == code
    result = json.loads(file.read_text())
    assert schema.errors("kernel", result) == []
    assert [row["holds"] for row in result["theorems"]] == [code == 0] * len(result["theorems"])
    assert {row["claim"] for row in result["theorems"] + result["steps"]} == {"N3"}
    for rows in ("theorems", "steps"):
        for name in result[rows][0]:
            less = {key: value for key, value in result[rows][0].items() if key != name}
            assert schema.errors("kernel", result | {rows: [less]}), name
        assert schema.errors("kernel", result | {rows: [result[rows][0] | {"more": 1}]})


needs_kernel = pytest.mark.skipif(shutil.which("coqc") is None, reason="no coqc is installed")


@pytest.fixture(scope="module")
def compiler():
    """With the cache that the command has: a file is named by its text and all that it imports."""
    return Compiler.installed()


@pytest.mark.slow
@needs_kernel
def test_the_kernel_refuses_what_is_false(compiler):
    sources = {source.name: source for source in read_development(FOLDER)}
    projection = sources["projection"]
    false = read_source("projection", projection.text.replace("s y * (r y - J) + g.", "s y * (r y - J).", 1))
    assert false.text != projection.text
    rows = check_sources([projection], compiler)
    assert all(row.holds and row.assumptions == () for row in rows)
    assert not any(row.holds for row in check_sources([false], compiler))
    (again, *_) = check_sources([projection], compiler)
    assert again.compiled.reused
    assumed = read_source(
        "t",
        "(* B1 *)\nAxiom cheat : 1 = 2.\n(* B1 *)\nTheorem t : 1 = 2.\nProof. exact cheat. Qed.\n"
        "(* B1 *)\nTheorem u : 1 = 1.\nProof. reflexivity. Qed.\n",
    )
    row, other = check_sources([assumed], compiler)  # asked about together, and then one by one
    assert other.holds
    assert row.complaint == "it rests on cheat, which is no axiom of the reals"
    content = {"kind": "kernel", "findings": [], "theorems": [row.as_dict()], "steps": []}
    assert schema.errors("kernel", content) == []
    assert "Print Assumptions t." in questions(("t",))
