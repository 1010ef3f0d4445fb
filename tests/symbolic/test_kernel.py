"""Theorems that a proof kernel checks: what they rest on, terms, bridges, and what is said where no kernel is."""

import json
import re
import shutil
from fractions import Fraction
from pathlib import Path

import pytest
import sympy as sp

from gradvar import catalogue
from gradvar.cli.prove import Prove, run
from gradvar.core.compose import compose
from gradvar.files.target import import_file
from gradvar.pieces import advantage, aggregate, surrogate
from gradvar.symbolic import proofs_folder
from gradvar.symbolic.kernel.assumptions import AXIOMS_OF_THE_REALS, parse_assumptions, questions, unexpected
from gradvar.symbolic.kernel.bridge import bridge_source
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
    assert {"A1a", "A2", "A6", "B1", "B3a", "B6a", "B24a", "B30", "N1", "N2", "N3"} <= set(claims) <= ids


def test_nothing_is_taken_without_proof():
    for path in FOLDER.glob("*.v"):
        assert not re.search(
            r"\b(Admitted|admit|Axiom|Parameter|Conjecture|Unset Guard)\b", path.read_text()
        ), path


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


def test_without_a_kernel_one_line_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert run(Prove(kernel=True)) == 2
    error = capsys.readouterr().err
    assert error.startswith("gradvar: error: kernel: no coqc and no rocq")
    assert error.count("\n") == 1
    assert "apt-get install coq" in error
    assert run(Prove("file.py:objective", kernel=True)) == 2
    assert "leave the target out" in capsys.readouterr().err


needs_kernel = pytest.mark.skipif(shutil.which("coqc") is None, reason="no coqc is installed")


@pytest.fixture(scope="module")
def compiler(tmp_path_factory):
    path = shutil.which("coqc")
    return Compiler((str(path),), Path(tmp_path_factory.mktemp("kernel")))


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
        "t", "(* B1 *)\nAxiom cheat : 1 = 2.\n(* B1 *)\nTheorem t : 1 = 2.\nProof. exact cheat. Qed.\n"
    )
    (row,) = check_sources([assumed], compiler)
    assert row.complaint == "it rests on cheat, which is no axiom of the reals"
    assert json.dumps(row.as_dict())
    assert "Print Assumptions t." in questions(("t",))


@pytest.mark.slow
@needs_kernel
def test_a_mutated_estimator_is_no_leave_one_out(compiler):
    """Planted: the deviation from the group's mean, which divides by G where leave-one-out divides by G - 1."""
    mutant = compose(
        advantage=advantage.group_mean, surrogate=surrogate.likelihood, aggregate=aggregate.sequence_token_sum
    )
    bridges = import_file(FOLDER / "_bridges.py")
    sources = [s for s in read_development(FOLDER) if s.name in ("group_means", "bridging")]
    for estimator, holds in ((None, True), (mutant, False)):
        rows = [row for row in bridges.leave_one_out(estimator, sizes=(2,)) if row.claim == "B1"]
        checked = check_sources([*sources, bridge_source("B1", rows, ("group_means", "bridging"))], compiler)
        (shipped,) = [row for row in checked if row.theorem.name == "shipped_leave_one_out_at_2"]
        assert shipped.holds == holds, shipped.complaint


@pytest.mark.slow
@needs_kernel
@pytest.mark.parametrize(
    ("maker", "file", "name", "settings"),
    [
        ("clipped_contrast", "roots", "grpo", {"clip_high": 0.3}),
        ("standardised_numbers", "binary_rewards", "grpo_sample_std", {}),
    ],
)
def test_a_mutated_grpo_is_refused(compiler, maker, file, name, settings):
    """Planted: a wider clip, a standard deviation that divides by G - 1."""
    mutant = catalogue.get(name, eps=0.0, **settings)
    bridges = import_file(FOLDER / "_bridges.py")
    imports = bridges.FILES[file].imports
    sources = needed(read_development(FOLDER), imports)
    for estimator, holds in ((None, True), (mutant, False)):
        rows = getattr(bridges, maker)(estimator, sizes=(2,))
        checked = check_sources([*sources, bridge_source(file, rows, imports)], compiler)
        shipped = [row for row in checked if row.theorem.name in {bridge.name for bridge in rows}]
        assert shipped
        assert all(row.holds == holds for row in shipped), [row.complaint for row in shipped]
