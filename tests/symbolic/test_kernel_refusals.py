"""What the kernel must refuse: mutants of the shipped code beside each bridge, false variants of N1's sums over k.

All in one process, which goes on after an error: a file for each would load MathComp as often.
"""

import re
import shutil
import subprocess

import pytest

from gradvar.files.target import import_file
from gradvar.symbolic import proofs_folder
from gradvar.symbolic.kernel.bridge import bridge_source
from gradvar.symbolic.kernel.compiler import Compiler
from gradvar.symbolic.kernel.development import PREFIX, needed, read_development

FOLDER = proofs_folder() / "kernel"
FILES = import_file(FOLDER / "_bridges.py").FILES
MUTANTS = import_file(FOLDER / "_mutants.py").MUTANTS
WITH_THE_SAME_CODE = {"B3a", "N2"}  # as B1, whose theorem these rewrite with
SUMS = {  # of N1 over k: a theorem, and what is changed in its statement or in a definition that it has
    "without_binomials": ("mean_over_groups", "'C(G, k)%:R * (p ^+ k", "(p ^+ k"),
    "another_sign": ("mean_over_groups", "a k / p - (G - k)", "a k / p + (G - k)"),
    "half_the_cross_term": ("second_moment_over_groups", "2%:R * a k * b k", "a k * b k"),
    "without_the_square": ("variance_over_groups", "second_at - over_k mean_at ^+ 2.", "second_at."),
}
NO_STATEMENTS = {  # refused as well, but for what they say of no number: that is no sign of a proof that fails
    "of_no_number": ("mean_over_groups", "a k / p - (G - k)", "a k / of_nothing - (G - k)"),
    "of_no_syntax": ("mean_over_groups", "a k / p - (G - k)", "a k / ) p - (G - k)"),
}


def sources_of(names):
    return needed(read_development(FOLDER), names)


def answers_to(blocks):
    """What Coq says of each block, given its text, the file of whose imports it is, and what it leaves open."""
    compiler = Compiler.installed()
    sources = sources_of({name for _, file, _ in blocks.values() for name in FILES[file].imports})
    folders = compiler.folders(sources)
    assert not any(result.error for result in compiler.compile_all(sources, jobs=2))
    options = [word for folder in folders.values() for word in ("-Q", str(folder), PREFIX)]
    text = "".join(
        f"{block}\nLocate end_of_{name}.\nAbort.\n{' '.join(f'End {part}.' for part in opened)}\n"
        for name, (block, _, opened) in blocks.items()
    )
    printed = subprocess.run(
        [str(shutil.which("coqtop")), "-q", "-w", "none", *options],
        input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True, timeout=500,
    ).stdout  # fmt: skip
    answers = re.split(r"No object of basename end_of_\w+", printed)[:-1]
    return dict(zip(blocks, answers, strict=True))


def block_of(name, file, bridges):
    """The theorems of some bridges in a module of this name, and a look if they are there."""
    heading, theorems = bridge_source(name, bridges, FILES[file].imports).text.split(
        "Local Open Scope ring_scope.", 1
    )
    asked = "\n".join(f"Check {bridge.name}." for bridge in bridges)
    return f"{heading}Local Open Scope ring_scope.\nModule {name}.\n{theorems}\n{asked}", file, (name,)


def sum_block(name, theorem, true="", false=""):
    """The section of N1 in which groups are drawn, up to a theorem, with something changed where that is given."""
    (source,) = (s for s in sources_of(["four_numbers"]) if s.name == "four_numbers")
    heading, section = (
        source.text[: source.text.index("Section")],
        source.text[source.text.index("Section Drawn.") :],
    )
    section = section[: section.index("Qed.", section.index(f"Theorem {theorem}")) + 4]
    assert not true or section.count(true) == 1, name
    section = section.replace(true, false).replace(f"Theorem {theorem}", f"Theorem {name}")
    text = f"{heading}From {PREFIX} Require Import four_numbers.\nModule M{name}.\n{section}\nCheck {name}."
    return text, "binary_rewards", ("Drawn", f"M{name}")


def test_there_is_a_mutant_for_every_bridge():
    assert {m.claim for m in MUTANTS} | WITH_THE_SAME_CODE == {
        c for file in FILES.values() for c in file.claims
    }


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("coqtop") is None, reason="no coqtop is installed")
def test_mutants_and_false_sums_are_refused():
    """Planted: beside each bridge other code, which its theorem cannot be about; with the shipped code it holds.

    Of N1's sums over k, theorems with something changed. One test, for what Coq says is computed once.
    """
    blocks = {"sums": sum_block("sums", "variance_over_groups")}
    for name, changed in SUMS.items():
        blocks[name] = sum_block(name, *changed)
    for mutant in MUTANTS:
        for kind, made in (("shipped", mutant.shipped), ("mutated", mutant.mutated)):
            name = f"{kind}_{mutant.claim}"
            blocks[name] = block_of(name, mutant.file, made())
    for name, changed in NO_STATEMENTS.items():  # last, for their proofs are commands outside a proof
        blocks[name] = sum_block(name, *changed)
    answers = answers_to(blocks)
    assert "Error" not in answers["sums"]
    for name in SUMS | NO_STATEMENTS:
        assert f"Error: The reference {name} was not found" in answers[name]
        fails = re.search(r"\(in proof \w+\):\s+Attempt to save an incomplete proof", answers[name])
        assert bool(fails) == (name in SUMS), name
        assert ("Syntax error" in answers[name]) == (name in NO_STATEMENTS), name
    for claim in (mutant.claim for mutant in MUTANTS):
        assert "Error" not in answers[f"shipped_{claim}"], claim
        # As MathComp 1 says it, and as MathComp 2 does.
        assert re.search("Not a valid (ring|field) equation", answers[f"mutated_{claim}"]), claim
        assert re.search(r"Error: The reference \w+ was not found", answers[f"mutated_{claim}"]), claim
