"""The text of a judge's answer, split into its reasoning, its quotations and its verdicts.

Nothing here knows a scale, and nothing is guessed: what is not plainly given as a verdict counts as
no verdict.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any, NamedTuple

from themis.core.errors import ParseError

_FENCE = re.compile(r"(`{3,}|~{3,})\s*(\w*)\s*")
_PHRASE = r"(?:(?:the|so|my|final|overall|here is (?:my|the))\s+)*verdict\W*?[:=]\s*(.*)$"
_LINE = re.compile(rf"^\W*{_PHRASE}", re.IGNORECASE)
_AFTER = re.compile(rf"[.!?][*_]*\s+[*_]*{_PHRASE}", re.IGNORECASE)
_MEMBER = re.compile(r"\W*\"verdict\"\s*:", re.IGNORECASE)
_BRACE = re.compile(r"^[ \t]*\{", re.MULTILINE)
_TAG = re.compile(
    r"</?(?:b|i|u|em|strong|mark|p|br|div|span|code|pre|li|h[1-6]|verdict|answer|final)\s*/?>",
    re.IGNORECASE,
)
_WRAPPED = re.compile(r"<([^<>]*)>")
_LATEX = re.compile(r"\\(?:boxed|fbox|text|textbf|mathbf|mathrm)\{([^{}]*)\}")
# No sign that would make another number of a number: a minus, "<", ">" and "~" stay.
_AROUND = "*_`\"'“”‘’«»()[]{}#$|•: \t"
TAKEN_BACK = re.compile(
    r"\W*(?:actually|wait|no|correction|sorry|however|but|hmm+|rather|instead|scratch\s+that"
    r"|on\s+(?:reflection|second\s+thoughts?)|i\s+(?:mean|meant|change|take|retract))\b",
    re.IGNORECASE,
)
"""How a line begins that takes back what stands before it."""
_MOST_NESTED = 8
"""How often LaTeX's markup is taken off, each within another."""
_LAST_BRACES = 20
"""Lines at which an object with the verdict may begin, beside the first such line."""
_BULLET = re.compile(r"[-–—+]\s+")


class VerdictLine(NamedTuple):
    """A line that gives a verdict, as in "Verdict: pass"."""

    line: str
    verdict: str
    is_whole: bool
    """Whether the line holds nothing else; a sentence before it may be about verdicts."""


def split_answer(text: str) -> tuple[dict[str, Any] | None, str]:
    """Return an answer's JSON object, if it gives its verdict in one, and the text beside it.

    The object is the whole answer, or ends it: in a fence, or from the beginning of a line on. Text
    in other fences, or behind a quotation mark at the beginning of a line, is a quotation and is
    left out.

    Raises:
        ParseError: the object gives its verdict twice.
    """
    if (data := _json_object(text)) is not None:
        return data, ""
    braces = list(_BRACE.finditer(text))
    for found in [*braces[:1], *braces[1:][-_LAST_BRACES:]]:
        data = _json_object(text[found.start() :])
        if data is not None and _has_verdict(data):
            return data, _outside_fences(text[: found.start()])[0]
    own, last = _outside_fences(text)
    if last is None:
        return None, own
    data = _json_object(last)
    return (data, own) if data is not None and _has_verdict(data) else (None, f"{own}\n{last}")


def _outside_fences(text: str) -> tuple[str, str | None]:
    """Return the text outside fences and quotations, and the content of a fence that ends it."""
    own: list[str] = []
    block: list[str] | None = None
    last: str | None = None
    fence = ""
    for line in text.splitlines():
        found = _FENCE.fullmatch(line.strip())
        if block is not None:
            if found is not None and found[1].startswith(fence) and not found[2]:
                last, block = "\n".join(block), None
            else:
                block.append(line)
        elif found is not None:
            block, fence = [], found[1]
        elif line.strip():
            last = None
            if not line.lstrip().startswith(">"):
                own.append(line)
    return "\n".join(own), last if block is None else "\n".join(block)


def verdict_lines(lines: list[str]) -> list[VerdictLine]:
    """Return the lines that give a verdict, by themselves or after a sentence.

    A heading whose verdict is on the next line gives none. Nor does a member of a JSON object that
    cannot be read as a whole: the object was cut off, or is an example.
    """
    found = []
    for line in lines:
        text = without_markup(line)
        match = _LINE.match(text)
        is_whole = match is not None
        if match is None:
            match = _AFTER.search(text)
        if match is not None and normalized_label(match[1]) and not _MEMBER.match(text):
            found.append(VerdictLine(line, match[1], is_whole))
    return found


def without_markup(line: str) -> str:
    """Return a line without markup of HTML and LaTeX, in compatibility form."""
    line = unicodedata.normalize("NFKC", line)
    line = _TAG.sub("", line)
    for _ in range(_MOST_NESTED):
        line, found = _LATEX.subn(r"\1", line)
        if not found:
            break
    return line


def normalized_label(text: str) -> str:
    """Return a label without markup, emphasis, quotes and final punctuation around it, folded."""
    inner = without_markup(text).strip()
    if bullet := _BULLET.match(inner):
        inner = inner[bullet.end() :]
    inner = inner.strip(_AROUND).rstrip(".!。").strip(_AROUND)
    wrapped = _WRAPPED.fullmatch(inner)
    return " ".join((wrapped[1] if wrapped else inner).casefold().split())


def _has_verdict(data: dict[str, Any]) -> bool:
    return any(name.lower() == "verdict" for name in data)


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        # A line break in a reason is no JSON, and leaves the verdict in no doubt.
        data = json.loads(text, object_pairs_hook=_object, strict=False)
    except (ValueError, RecursionError) as error:
        if isinstance(error, ParseError):
            raise
        return None
    return data if isinstance(data, dict) else None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name.lower() for name, _ in pairs]
    if names.count("verdict") > 1:
        raise ParseError("the judge's answer gives its verdict twice", reason="ambiguous")
    return dict(pairs)
