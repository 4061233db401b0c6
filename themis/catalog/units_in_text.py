r"""The unit or currency of an answer that is one quantity: "5 cm", "$5", ``5\text{ km}``.

Math-Verify leaves units out, so that 5 cm are 5 m to it. Nothing is converted here: 100 cm and 1 m
stay two answers. Units: the SI brochure, with the customary ones of word problems.
"""

from __future__ import annotations

import re

UNITS: dict[str, str] = {
    "mm": r"mm|millimet(?:er|re)s?", "cm": r"cm|centimet(?:er|re)s?", "m": r"m|met(?:er|re)s?",
    "km": r"km|kilomet(?:er|re)s?", "in": r"in|inch(?:es)?", "ft": r"ft|foot|feet",
    "yd": r"yd|yards?", "mi": r"mi|miles?", "mg": r"mg|milligrams?", "g": r"g|grams?",
    "kg": r"kg|kilograms?|kilos?", "lb": r"lbs?|pounds?", "oz": r"oz|ounces?",
    "ml": r"m[lL]|millilit(?:er|re)s?", "l": r"[lL]|lit(?:er|re)s?", "gal": r"gal|gallons?",
    "ms": r"ms|milliseconds?", "s": r"s|secs?|seconds?", "min": r"mins?|minutes?",
    "h": r"h|hrs?|hours?", "d": r"days?", "week": r"weeks?", "month": r"months?", "y": r"years?",
    "$": r"\\?\$|USD|dollars?", "€": r"€|EUR|euros?", "£": r"£|GBP", "cent": r"cents?|¢",
    "¥": r"¥|JPY|CNY|yen|yuan|元|円", "₹": r"₹|INR|rupees?", "₩": r"₩|KRW|won|원",
}  # fmt: skip
"""How each unit is written, in words and signs."""
CURRENCIES = "€£¥₹₩"
"""The signs of currencies, beside the dollar's, which LaTeX has for itself."""
_NUMBER = r"[-+]?\d[\d.,]*(?:/\d+)?|[-+]?\\[dt]?frac\{\d+\}\{\d+\}"
_QUANTITY = re.compile(
    rf"(?:[A-Za-z]\s*=\s*)?(?:[-+]?(?P<before>US\$|\\?\$|[{CURRENCIES}])\s?(?:{_NUMBER})"
    rf"|(?:{_NUMBER})[\s~]*(?P<behind>[^\d\s].*?)(?:\s?\^\{{?[23]\}}?)?)\.?"
)
_TEXT = re.compile(r"\\(?:text\w*|mathrm|mbox)\s*\{([^{}]*)\}|\\[,;! ]")
_NAMES = {name: re.compile(written) for name, written in UNITS.items()}


def unit_of(text: str) -> str | None:
    """Return the unit of a text that is a number with one, by its name in ``UNITS``; else None."""
    bare = _TEXT.sub(lambda found: f" {found[1] or ''}", text).strip()
    if len(bare) > 2 and bare[0] == bare[-1] == "$":
        bare = bare[1:-1].strip()
    found = _QUANTITY.fullmatch(bare) if len(bare) <= 60 else None
    if found is None:
        return None
    written = (found["before"] or found["behind"]).removeprefix("US").strip()
    return next((name for name, one in _NAMES.items() if one.fullmatch(written)), None)
