"""Whether a letter is a symbol of a formula: a quantity, a unit, an element, a state of matter.

Models reason in formulas before they answer, and what stands in one is no option's letter: what is
set equal ("F = 48 N"), applied ("P(1 + r)"), raised or given an index ("A_1"), added, a number's
unit ("3.1 V"), a substance's state ("H2 (g)"), or the symbol of the quantity named before it ("the
force (F)"). Symbols of quantities: ISO 80000 and the IUPAC Green Book.
"""

from __future__ import annotations

import re

_BEHIND = re.compile(
    r"[')\]]?\s*(?:[=≈≠≤≥∝≡](?![=>])|:=|<(?=\s*\d)|>(?=\s*\d))|[_^]"
    r"|\((?=[^()\n]{1,40}\))(?![^()\n]*[^\W\d_]{3})"
    r"|\s*[+×÷·*](?=\s*[\w(\\])|\s*/\s*\d|\s*(?:→|->|⇌|⟶|⟹)\s*(?=[\d(A-Z])|\s*\+\s*(?:→|->|$)"
)
_BEFORE = re.compile(r"(?:[+×÷·^_∝]|(?<!\s)[*/]|[A-Za-z]\()\s*\(?$")
_UNIT = re.compile(r"(?<![A-Za-z])\d[^\S\r\n]?\Z")
_NUMBERED = re.compile(
    r"(?:question|answer|ans|q|#|no\.?|nr\.?|problem|第)\s*\d+\s?$", re.IGNORECASE
)
_SUBSTANCE = re.compile(r"(?<![A-Za-z])(?:\(?(?:[A-Z][a-z]?\d*)+\)?\d*)+(?:\^?\d*[+-])?\s?\($")
_STATES = frozenset("gsl")
QUANTITIES = {
    "a": r"acceleration|area|amplitude",
    "b": r"field|flux\s+density",
    "c": r"capacitance|concentration|charge|speed\s+of\s+light|heat\s+capacity|constant|celsius",
    "d": r"distance|density|diameter|displacement|dimension|derivative",
    "e": r"energy|field|charge|electron|modulus|expectation",
    "f": r"force|frequency|function|focal\s+length|farads?|fahrenheit",
    "g": r"gravity|acceleration|conductance|gas(?:eous)?|grams?",
    "h": r"height|enthalpy|constant|hydrogen|henry|hours?",
    "i": r"current|intensity|inertia|moment",
    "j": r"joules?|flux",
    "k": r"constant|conductivity|kelvin|temperature|potassium",
    "l": r"length|inductance|luminosity|liquid|lit(?:er|re)s?|momentum",
    "m": r"mass|metres?|meters?|molarity|magnification",
    "n": r"number|moles?|index|newtons?|nitrogen",
    "o": r"oxygen",
    "p": r"pressure|power|momentum|probability|price|principal|quantity",
    "q": r"charge|heat|quantity",
    "r": r"resistance|radius|distance|rate|constant|correlation",
    "s": r"entropy|distance|seconds?|solid|spin|sulfur",
    "t": r"time|temperature|period|tension",
    "u": r"energy|velocity|potential",
    "v": r"velocity|volume|voltage|speed|volts?|potential",
    "w": r"work|weight|watts?|width",
    "x": r"distance|displacement|position|variable",
    "y": r"yield|variable",
    "z": r"impedance|score|number",
}
"""By symbol, in small letters, the names behind which it stands in parentheses."""
_QUANTITY = {
    symbol: re.compile(rf"\b(?:{names})\s\($", re.IGNORECASE)
    for symbol, names in QUANTITIES.items()
}

_CHEMISTRY = re.compile(
    r"\b(?:concentrations?|reactants?|reactions?|equilibri(?:um|a)|kinetics?|rate\s+(?:law|constant)"
    r"|molar(?:ity)?|mol(?:es?)?)\b",
    re.IGNORECASE,
)
_OF_TWO = re.compile(r"\]\s?[/*·+]?\s?\[[A-Z]\]")
_OF_TWO_BEFORE = re.compile(r"\[[A-Z]\]\s?[/*·+]?\s?\[$")
_SPECIES = (
    r"aeruginosa|albicans|aureus|botulinum|cerevisiae|cholerae|coli|difficile|elegans|falciparum"
    r"|gondii|influenzae|melanogaster|musculus|pneumoniae|pylori|rerio|sapiens|subtilis|thaliana"
    r"|tuberculosis|vivax"
)
_NAMED = re.compile(
    rf"\.[ \t]?(?:[A-Z]\.[ \t]?(?:[A-Z]\.[ \t]?)*[A-Z][a-z]|(?:{_SPECIES})\b"
    r"|[A-Z][\w'’-]+[ \t]+(?:et[ \t]+al\b|\((?:1[5-9]|20)\d\d\)|(?:wrote|writes|said|says)\b))"
)


def is_initial(text: str, start: int, end: int) -> bool:
    """Return whether a letter begins a name: "D. H. Lawrence", "A. Smith wrote", "E. coli"."""
    del start
    return _NAMED.match(text, end) is not None


def is_concentration(text: str, start: int, end: int) -> bool:
    """Return whether a letter in brackets is a substance's concentration: "[B] is halved"."""
    is_bracketed = text[max(0, start - 1) : start] == "[" and text[end : end + 1] == "]"
    is_of_two = _OF_TWO.match(text, end) or _OF_TWO_BEFORE.search(text, max(0, start - 8), start)
    return is_bracketed and (is_of_two or _CHEMISTRY.search(text)) is not None


def in_formula(text: str, start: int, end: int) -> bool:
    """Return whether the letter between two places of a text is a symbol of a formula."""
    if _BEHIND.match(text, end) is not None:
        return True
    before = text[max(0, start - 40) : start]
    if _BEFORE.search(before) is not None:
        return True
    if _UNIT.search(before) is not None and _NUMBERED.search(before) is None:
        return True
    if not before.endswith("(") or text[end : end + 1] != ")":
        return False
    letter = text[start]
    if letter in _STATES and _SUBSTANCE.search(before) is not None:
        return True
    return _QUANTITY[letter.lower()].search(before) is not None
