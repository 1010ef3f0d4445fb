"""LaTeX to MathML: well-formed, nothing dropped in silence."""

import xml.etree.ElementTree as ET

import pytest
import sympy as sp

from gradvar.symbolic.claims.formula import text_to_html, to_mathml, to_parts

NAMESPACE = "{http://www.w3.org/1998/Math/MathML}"
x, y = sp.symbols("x rho_12", positive=True)


def tree(latex):
    return ET.fromstring(to_mathml(latex))


def words(latex):
    return "".join(tree(latex).itertext())


@pytest.mark.parametrize(
    ("latex", "tag"),
    [
        (r"\frac{a}{b}", "mfrac"),
        (r"\sqrt{x+1}", "msqrt"),
        (r"\sqrt[3]{x}", "mroot"),
        ("x_1^2", "msubsup"),
        ("x^{a+b}", "msup"),
        (r"\hat g", "mover"),
        (r"\binom{G}{k}", "mfrac"),
        (r"\begin{cases} a & b \\ c & d \end{cases}", "mtable"),
        (r"\text{if}", "mtext"),
    ],
)
def test_structures(latex, tag):
    assert tree(latex).find(f".//{NAMESPACE}{tag}") is not None


@pytest.mark.parametrize(
    "expression",
    [
        sp.sqrt(x) / (1 + y) ** 2,
        sp.Piecewise((x, y > 1), (sp.log(x), True)),
        sp.Max(x, y, 1),
        sp.Abs(sp.Symbol("r1", real=True)),
        sp.exp(-x) * sp.binomial(x, 2),
        sp.Eq(x, y),
        sp.sign(sp.Symbol("z")),
        sp.And(x > 1, y <= 2),
        sp.Rational(-3, 7) * x,
        sp.loggamma(x),
        sp.Matrix([[1, x], [y, 2]]),
        sp.Sum(x**2, (x, 1, 5)),
        sp.Min(x, y),
    ],
)
def test_what_sympy_prints_is_read(expression):
    assert tree(sp.latex(expression)).tag == NAMESPACE + "math"


def test_every_symbol_arrives():
    assert words(r"a + \beta \le \gamma_{ij}") == "a+β≤γij"
    assert words(r"\text{two words}") == "two\u00a0words"
    assert words(r"a < b") == "a<b"


def spaces(latex):
    return len(tree(latex).findall(f".//{NAMESPACE}mspace"))


def test_functions_keep_their_distance_from_letters_and_not_from_brackets():
    assert spaces(r"\nabla \log \pi") == 2
    assert spaces(r"\log(x)") == spaces(r"\exp\left(x\right)") == spaces(r"- \log") == 0
    assert spaces(r"A \min(x, y)") == 1
    assert spaces(r"\max_T r") == 1
    assert spaces(r"\sigma x") == 0


def test_a_space_inside_a_word_is_a_space():
    assert words(r"\mathrm{tr\,Cov}") == "trCov"
    assert spaces(r"\mathrm{tr\,Cov}") == 1


def test_one_upright_letter_is_upright():
    assert tree(r"\mathrm{E}").find(f".//{NAMESPACE}mi") is None
    assert tree(r"E").find(f".//{NAMESPACE}mi") is not None


@pytest.mark.parametrize(
    ("latex", "named"),
    [
        (r"\mystery{x}", "mystery"),
        (r"\begin{tabular}a\end{tabular}", "tabular"),
        (r"\mathrm{tr\mystery}", "mystery"),
        (r"\text{a \mystery}", "mystery"),
        ("a}", "brace"),
        (r"\frac{a", "brace"),
        (r"\frac{a}", "expected"),
        (r"\left( a", "cannot be read"),
        ("a & b", "cannot be read"),
    ],
)
def test_what_is_not_known_is_named(latex, named):
    with pytest.raises(ValueError, match=named):
        to_mathml(latex)


def test_a_long_formula_is_parts_that_begin_with_their_operator_and_a_short_one_is_whole():
    long = (
        r"E[S_1 S_2] = G E[a_1] (G - 1) + G \left(E[a_1] E[a_2 a_3 a_4] + E[a_1 a_2] E[a_3]\right)"
        r" + \frac{a + b + c}{-d} - x"
    )
    parts = ET.fromstring(f"<p>{to_parts(long)}</p>")
    assert "".join(parts.itertext()) == words(long)
    begin = [next(iter(part)) for part in parts]
    assert [first.text for first in begin[1:]] == ["=", "+", "+", "+", "\N{MINUS SIGN}"]
    assert all(first.get("form") == "infix" for first in begin[1:])
    assert to_parts("x = -y") == to_mathml("x = -y")


def test_brackets_around_what_is_tall_stay_whole():
    tall = r"x = \left(\frac{a + b}{c + d} + \frac{e + f}{g + h} + \frac{i + j}{k + l} + \frac{m + n}{o + p}\right) y"
    assert to_parts(tall).count("<math") == 1
    assert 'stretchy="true"' in to_parts(tall)


def test_text_is_escaped_and_its_formulas_are_set():
    html = text_to_html("a < b & $x < 1$")
    assert html.startswith("a &lt; b &amp; <math")
    with pytest.raises(ValueError, match="dollar"):
        text_to_html("one $ only")
