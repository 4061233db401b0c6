r"""What of a text is mathematics, and how it is given to Math-Verify, which reads LaTeX in dollars.

Left to itself Math-Verify looks for delimiters, and takes the last number where it finds none: of
``7, 8, 3`` it compares the 3, of a matrix the last entry. So what is mathematics throughout stands
here between dollar signs, whole; what holds words is told apart from it.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from itertools import pairwise

from themis.catalog.units_in_text import CURRENCIES

_NAMES = {"cos", "cot", "csc", "sec", "sin", "tan", "sinh", "cosh", "tanh", "arcsin", "arccos"}
_NAMES |= {"arctan", "exp", "ln", "log", "sqrt", "mod", "gcd", "lcm", "det", "inf", "infinity"}
_NAMES |= {"lim", "max", "min", "pi"}
_JOINING = {"and", "or"}
"""Words that stand between answers, as Math-Verify takes them too."""
# Letters side by side that are a product: xy, abc. "an", "by" and "cm" are none.
_PRODUCT = re.compile(
    r"(?=[a-z]*[xz])[abcdkmnpqrstuvwxyz]{2,4}|xy|wy|abc?d?|bcd?|ac|cd|pqr?|qr|mn|uvw?"
)
_COMMAND = re.compile(
    r"\\(?:begin|end)\s*\{[^{}]*\}(?:\s*\{[lcr|\s]*\})?"
    r"|\\(?:text\w*|mathrm|mbox|operatorname)\s*\{[^{}]*\}|\\[A-Za-z]+"
)
_LETTERS = re.compile(r"[^\W\d_]+")
_SYMBOLS = re.compile(r"[∞∅]|\\infty|\\emptyset|\\varnothing|\\\{\s*\\\}")
_ENVIRONMENT = re.compile(r"\\begin\s*\{.*\\end\s*\{[^{}]*\}", re.DOTALL)
_FORMULA = re.compile(
    r"(?<!\\)\$\$(?P<a>.+?)(?<!\\)\$\$|(?<!\\)\$(?P<b>(?:\\.|[^$\\])+)\$"
    r"|(?<!\\)\\\((?P<c>.+?)(?<!\\)\\\)|(?<!\\)\\\[(?P<d>.+?)(?<!\\)\\\]",
    re.DOTALL,
)
_LISTED = re.compile(r"\$[^$\n]+\$(?:\s*(?:,?\s*(?:and|or)|,)\s*\$[^$\n]+\$){6,}")
_SIGN = rf"(?:\$|[{CURRENCIES}])"
_AMOUNTS = re.compile(
    rf"[-+]?{_SIGN}[\d.,]*\d(?:\s*(?:,|;|\band\b|\bor\b)\s*(?:and\s|or\s)?\s*[-+]?{_SIGN}[\d.,]*\d)*"
    rf"|[-+]?[\d.,]*\d\s?[{CURRENCIES}]"
)
_MIXED = re.compile(r"(?<![\d.,/^_{}])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d.,/]*\d|\s*/)")
_PLAIN_TEXT = re.compile(r"\\(?:text\w*|mathrm|mbox)\s*\{([^{}]*)\}")

# What Math-Verify reads in LaTeX only, as people type it without.
_SUPERSCRIPTS = re.compile(r"(?<=[\w)\]}])[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_DASH = re.compile(
    r"(?<![\w)\]}])(?<![\w)\]}]\s)[\u2010-\u2014](?=\s?[$\d.\\A-Za-z(√π])|[\u2212\uff0d\ufe63]"
)
_ROOT = re.compile(r"√\s*(?:\((?P<a>[^()]*)\)|\{(?P<b>[^{}]*)\}|(?P<c>\d+(?:\.\d+)?|[A-Za-zπ]))")
_E_NOTATION = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([-+]?\d+)(?![\w.])")
_THIN = re.compile(r"(?<=\d)(?:\\[,!:;]|[\u00a0\u2009\u202f])(?=\d{3}(?!\d))")
_GROUPS = re.compile(r"[-+]?(?:[1-9]\d?(?: \d{3})+|[1-9]\d\d(?: \d{3})*(?: 000| \d{3} \d{3}))")
_MOST_DIGITS = 400
"""Digits that a repeating decimal may have to be worked out here; no float holds more."""
_REPEATING = re.compile(r"(?<![\d.,])(\d*)\.(\d*)\\(?:overline|bar|dot)\s*(?:\{(\d+)\}|(\d))")

INVISIBLE = dict.fromkeys(
    [0xAD, 0x200B, 0x200E, 0x200F, 0x2060, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)
"""For ``str.translate``: marks of direction and their like, which are no part of an answer."""


def typeset(text: str) -> str:
    r"""Return a text whose mathematics is LaTeX: ``½`` is ``\frac{1}{2}``, ``x²`` ``x^{2}``.

    Only what says the same is changed: digits, dashes, powers and roots of Unicode, 1.5e3, groups
    of thousands and repeating decimals.
    """
    if not text.isascii():
        text = "".join(_typeset(char) for char in _DASH.sub("-", text))
        text = _SUPERSCRIPTS.sub(
            lambda found: "^{" + unicodedata.normalize("NFKC", found[0]).replace("−", "-") + "}",
            text,
        )
        text = _ROOT.sub(lambda found: rf"\sqrt{{{found['a'] or found['b'] or found['c']}}}", text)
    text = text.replace(r"\varnothing", r"\emptyset")
    text = _THIN.sub("", text)
    if _GROUPS.fullmatch(text.strip()):
        text = text.replace(" ", "")
    text = _E_NOTATION.sub(r"\1 \\times 10^{\2}", text)
    return _REPEATING.sub(_repeating, text)


def _typeset(char: str) -> str:
    if char.isascii():
        return char
    if (digit := unicodedata.decimal(char, None)) is not None:
        return str(digit)
    if char == "∅":
        return r"\emptyset"
    top, slash, bottom = unicodedata.normalize("NFKC", char).partition("⁄")
    return rf"\frac{{{top}}}{{{bottom}}}" if slash and bottom else char


def _repeating(found: re.Match[str]) -> str:
    whole, once, again = found[1] or "0", found[2], found[3] or found[4]
    if len(whole + once + again) > _MOST_DIGITS:
        return found[0]
    value = Fraction(
        int(whole + once + again) - int(whole + once), 10 ** len(once + again) - 10 ** len(once)
    )
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def words_of(text: str) -> list[str]:
    """Return the words of a text that are no mathematics: "cm", "solution", "знаю"; in lower case.

    Names of functions, variables side by side (xy) and what LaTeX commands hold are none.
    """
    runs = _LETTERS.findall(_COMMAND.sub(" ", text))
    return [run.lower() for run in runs if _is_word(run)]


def _is_word(run: str) -> bool:
    if run.isascii():
        is_name = run.lower() in _NAMES
        return len(run) > 1 and not is_name and _PRODUCT.fullmatch(run) is None
    return any(not char.isascii() and not _is_symbol(char) for char in run)


def _is_symbol(letter: str) -> bool:
    """Return whether formulas are written with a letter: Greek, or made for mathematics (ℝ, 𝑥)."""
    name = unicodedata.name(letter, "")
    if " WITH " in name:  # ξέρω: an accent is of a language
        return False
    return name.startswith(("GREEK", "MATHEMATICAL", "SUPERSCRIPT", "SUBSCRIPT")) or (
        "DOUBLE-STRUCK" in name or "SCRIPT SMALL" in name or "MODIFIER LETTER" in name
    )


def is_expression(text: str) -> bool:
    """Return whether a text is mathematics: it says something, and holds no words."""
    return says_something(text) and not words_of(text)


def says_something(text: str) -> bool:
    """Return whether a text holds a letter, a digit or a symbol that may be an answer."""
    return any(char.isalnum() for char in text) or _SYMBOLS.search(text) is not None


def delimited(text: str) -> str:
    r"""Return a text as Math-Verify is to be given it.

    What is mathematics throughout stands in one pair of dollar signs, whatever delimiters its
    pieces had; an escaped dollar is an amount's, and so is one before an amount. Where there are
    words, or a box, the text stays as it is.
    """
    # Inline mathematics ends with its line, to Math-Verify; an environment does not.
    bare = _ENVIRONMENT.sub(lambda found: " ".join(found[0].split()), text.strip())
    bare = bare.replace("°", r"^\circ")
    if _AMOUNTS.fullmatch(bare):
        bare = re.sub(_SIGN, "", bare)
    if not bare or "\\boxed" in bare or "\\fbox" in bare:
        return bare
    formulas = list(_FORMULA.finditer(bare))
    gaps = [bare[one.end() : other.start()] for one, other in pairwise(formulas)]
    if not all(gap.strip() for gap in gaps):
        return bare  # side by side: nobody says what they are to each other
    whole = _FORMULA.sub(lambda found: f" {inside(found)} ", bare)
    whole = " ".join(whole.split()).rstrip(". ").strip("*").strip()
    whole = whole.rstrip("\\").rstrip()
    if (
        not says_something(whole)
        or set(words_of(whole)) - _JOINING
        or re.search(r"(?<!\\)\$", whole)
    ):
        return _LISTED.sub(_as_one, bare)
    return "$" + _MIXED.sub(r"\1\\frac{\2}{\3}", whole) + "$"


def inside(formula: re.Match[str]) -> str:
    """Return what stands between a formula's delimiters."""
    return next(one for one in formula.groups() if one is not None)


def _as_one(found: re.Match[str]) -> str:
    """Return a list of formulas as one; of more than six Math-Verify takes the last ones only."""
    return "$" + ", ".join(inside(one) for one in _FORMULA.finditer(found[0])) + "$"


def has_formula(text: str) -> bool:
    """Return whether some of a text is marked as mathematics, by delimiters or a box."""
    return "\\boxed" in text or "\\fbox" in text or _FORMULA.search(text) is not None


def plain(text: str) -> str:
    """Return a text without what only its typesetting is, to tell whether two say the same."""
    found = _FORMULA.fullmatch(text.strip())
    inner = text if found is None else inside(found)
    return " ".join(_PLAIN_TEXT.sub(r"\1", inner).casefold().split()).strip(" .*")
