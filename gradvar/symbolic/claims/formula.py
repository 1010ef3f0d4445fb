r"""LaTeX formulas as MathML, so that a page shows them with no script and no network.

latex2mathml converts; this file makes sure that nothing is dropped in silence. A command that the converter does not
know comes out as ``\name`` in the text, an environment that it does not know loses its name, and a brace without its
pair is ignored: all three are errors here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from itertools import pairwise
from xml.etree import ElementTree

from latex2mathml.converter import convert

ENVIRONMENTS = ("aligned", "array", "bmatrix", "cases", "matrix", "pmatrix")
_CODE = re.compile(r"`([^`\n]+)`")
_NAMES = re.compile(r"\\text\{([^{}]*)\} \\in \\\{ (\\text\{[^{}]*\}(?:, \\text\{[^{}]*\})*) \\\}")
_SHORT = 24  # characters that fit a line of a phone
_LEAST, _LEAST_INSIDE = 6, 16  # characters of a part that ends outside of brackets, or inside
_BREAKS = frozenset("=≠≈<>≤≥→⟶⇒⟹⟺∧∨+−")
_OPEN, _CLOSED, _BARS = frozenset("([{⟨⌊⌈"), frozenset(")]}⟩⌋⌉"), frozenset("|∣‖∥")
_THIN = "0.167em"  # LaTeX's space between the name of a function and a factor


def to_mathml(latex: str, *, block: bool = False) -> str:
    r"""Convert a formula to a ``<math>`` element. Raises ``ValueError`` that names what cannot be converted.

    >>> to_mathml("x^2").count("<msup>")
    1
    """
    return _written(_converted(latex, "block" if block else "inline"))


def to_parts(latex: str) -> str:
    r"""Convert a formula of a text to ``<math>`` elements between which a line may break: browsers break none.

    >>> to_parts("x^2").count("<math")
    1
    >>> to_parts(r"(a + b)(c + d)(e + f) = ace + acf + ade + adf + bce + bcf + bde + bdf").count("<math")
    5
    """
    root = _converted(latex, "inline")
    if len("".join(root.itertext())) <= _SHORT:
        return _written(root)
    parts: list[list[ElementTree.Element]] = [[]]
    depth = bars = length = 0
    for element in _in_one_row(root[0] if len(root) == 1 and root[0].tag == "mrow" else root):
        sign = (element.text or "") if element.tag == "mo" else ""
        last = parts[-1][-1] if parts[-1] else element
        follows = last.tag != "mo" or (last.text or "") in _CLOSED  # else it is a sign
        is_outside = depth == 0 and bars % 2 == 0
        if sign in _BREAKS and follows and length >= (_LEAST if is_outside else _LEAST_INSIDE):
            element.set("form", "infix")  # at the beginning of an element it would be a sign
            parts.append([])
            length = 0
        depth += (sign in _OPEN) - (sign in _CLOSED)
        bars += depth == 0 and sign in _BARS
        length += len("".join(element.itertext()))
        parts[-1].append(element)
    written = []
    for part in parts:
        math = ElementTree.Element("math", root.attrib)
        math.extend(part)
        written.append(_written(math))
    return "".join(written)


def _in_one_row(row: ElementTree.Element) -> Iterator[ElementTree.Element]:
    """The elements of a row, with those of the long rows in it, unless brackets have to grow around what is tall."""
    for element in row:
        is_long = element.tag == "mrow" and len("".join(element.itertext())) > _SHORT
        if not is_long or any(map(_is_tall, element.iter())):
            yield element
            continue
        for fence in element.findall("mo"):
            fence.set("stretchy", "false")
        yield from _in_one_row(element)


def _is_tall(element: ElementTree.Element) -> bool:
    is_fraction = element.tag == "mfrac" and len("".join(element.itertext())) > 2  # 6/5 is low enough
    return is_fraction or element.tag in ("mtable", "munderover")


def _converted(latex: str, display: str) -> ElementTree.Element:
    _check_pairs(latex)
    upright = re.sub(
        r"\\mathrm\s*\{([A-Za-z])\}", r"\\text{\1}", latex
    )  # the converter sets one letter in italics
    try:
        root = ElementTree.fromstring(convert(upright, xmlns="", display=display))
    except Exception as error:  # a formula that ends too early, or characters that are no XML
        raise ValueError(f"latex: cannot be read ({type(error).__name__}); it is {latex!r}") from None
    if any(len(fraction) != 2 for fraction in root.iter("mfrac")):
        raise ValueError(f"latex: more expected after \\frac or \\binom in {latex!r}")
    if unknown := re.search(r"\\([A-Za-z]+|.?)", "".join(root.itertext())):
        raise ValueError(f"latex: the command {unknown[0]} is not known; it stands in {latex!r}")
    for element in list(root.iter()):  # parents first: a word is no function
        _space_functions(element)
        _join_letters(element)
    return root


def _written(root: ElementTree.Element) -> str:
    root.set("xmlns", "http://www.w3.org/1998/Math/MathML")
    return ElementTree.tostring(root, encoding="unicode")


def text_to_html(text: str) -> str:
    r"""Escape a text, set its ``$...$`` as MathML and what stands between backticks as code.

    A set of names is set as words, for a line may break between them. Raises ``ValueError`` on an odd dollar or an
    unknown command.

    >>> text_to_html("`grpo` & more")
    '<code>grpo</code> &amp; more'
    >>> text_to_html(r"$\text{mean} \in \{ \text{over tokens}, \text{over rollouts} \}$")
    'mean ∈ {over tokens, over rollouts}'
    """
    parts = text.split("$")
    if len(parts) % 2 == 0:
        raise ValueError(f"text: a dollar without its pair in {text!r}")
    return "".join(
        _formula(part) if i % 2 else _CODE.sub(r"<code>\1</code>", escape(part))
        for i, part in enumerate(parts)
    )


def _formula(latex: str) -> str:
    if (names := _NAMES.fullmatch(latex)) is None:
        return to_parts(latex)
    listed = re.sub(r"\\text\{([^{}]*)\}", r"\1", names[2])
    return escape(f"{names[1]} ∈ {{{listed}}}")


def _check_pairs(latex: str) -> None:
    """Raise ``ValueError`` on a brace without its pair or an environment of another kind."""
    depth = 0
    for brace in re.findall(r"[{}]", re.sub(r"\\.", "", latex)):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            break
    if depth:
        raise ValueError(f"latex: a brace without its pair in {latex!r}")
    for name in re.findall(r"\\begin\{(.*?)\}", latex):
        if name not in ENVIRONMENTS:
            raise ValueError(f"latex: the environment {name} is not known; it stands in {latex!r}")


def _space_functions(row: ElementTree.Element) -> None:
    """Set names of functions upright, with a thin space between them and a neighbouring factor, as LaTeX does."""
    children = list(row)
    if row.tag in ("mrow", "math", "mtd", "msqrt"):
        for index in range(len(children) - 1, 0, -1):  # from the right, so that indices stay valid
            left, right = children[index - 1], children[index]
            if (_is_function(left) and _is_factor(right)) or (_is_function(right) and _is_factor(left)):
                row.insert(index, ElementTree.Element("mspace", width=_THIN))
    if row.tag == "mo" and _is_function(row):
        row.tag = "mi"


def _join_letters(row: ElementTree.Element) -> None:
    r"""Make one identifier of neighbouring upright letters, such as those of ``\mathrm{Cov}``."""
    for left, right in reversed(list(pairwise(row))):
        if all(letter.tag == "mi" and letter.get("mathvariant") == "normal" for letter in (left, right)):
            left.text = f"{left.text}{right.text}"
            row.remove(right)


def _is_function(element: ElementTree.Element) -> bool:
    core = _core(element)
    return core.tag in ("mi", "mo") and len(core.text or "") > 1 and (core.text or "").isalpha()


def _is_factor(element: ElementTree.Element) -> bool:
    core = _core(element)
    return core.tag in ("mi", "mn", "mfrac", "msqrt", "mover", "mtext") or core.text in ("∇", "∂")


def _core(element: ElementTree.Element) -> ElementTree.Element:
    """The base below its scripts."""
    while element.tag in ("msub", "msup", "msubsup", "munder") and len(element):
        element = element[0]
    return element
