"""The text of a judge's answer taken apart: what it thought, what it quoted, what it said.

Nothing here knows a scale, and nothing is guessed: what is not plainly said as a verdict is left to
be no verdict.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any, NamedTuple

from themis.core.errors import ParseError

_THOUGHT = r"think|thinking|thought|reasoning|scratchpad"
_OPEN = re.compile(rf"<(?:{_THOUGHT})>|\[THINK\]", re.IGNORECASE)
_CLOSE = re.compile(rf"</(?:{_THOUGHT})>|\[/THINK\]", re.IGNORECASE)
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
_BULLET = re.compile(r"[-–—+]\s+")


class Said(NamedTuple):
    """A line that says "verdict", and what it says it is."""

    line: str
    verdict: str
    is_whole: bool
    """Whether the line says nothing else; a sentence before it may be about verdicts."""


def without_reasoning(text: str) -> str:
    """Return an answer without what a reasoning model thought aloud before it.

    Templates of some models open the reasoning themselves, so that the answer holds the closing
    tag only; and an answer that was cut off holds the opening one only, and says nothing.
    """
    closed = list(_CLOSE.finditer(text))
    if closed:
        text = text[closed[-1].end() :]
    opened = _OPEN.search(text)
    return text if opened is None else text[: opened.start()]


def own_words(text: str) -> tuple[dict[str, Any] | None, str]:
    """Return an answer's JSON object, if it gives its verdict as one, and the text beside it.

    The object is the whole answer, or ends it: in a fence, or from the beginning of a line on. What
    stands in other fences, or behind a quotation mark at the beginning of a line, is quoted: it is
    left out.

    Raises:
        ParseError: the object gives its verdict twice.
    """
    if (data := _json_object(text)) is not None:
        return data, ""
    for found in _BRACE.finditer(text):
        data = _json_object(text[found.start() :])
        if data is not None and _has_verdict(data):
            return data, _outside_fences(text[: found.start()])[0]
    own, last = _outside_fences(text)
    if last is None:
        return None, own
    data = _json_object(last)
    return (data, own) if data is not None and _has_verdict(data) else (None, f"{own}\n{last}")


def _outside_fences(text: str) -> tuple[str, str | None]:
    """Return the text outside fences and quotations, and what stands in a fence that ends it."""
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


def spoken(lines: list[str]) -> list[Said]:
    """Return the lines that say what the verdict is, by themselves or after a sentence.

    A heading that leaves it to the next line says nothing, and a member of a JSON object that is
    none as a whole was cut off, or is an example.
    """
    found = []
    for line in lines:
        text = plain(line)
        said = _LINE.match(text)
        whole = said is not None
        if said is None:
            said = _AFTER.search(text)
        if said is not None and bare_label(said[1]) and not _MEMBER.match(text):
            found.append(Said(line, said[1], whole))
    return found


def plain(line: str) -> str:
    """Return a line without markup of HTML and LaTeX, in compatibility form."""
    line = unicodedata.normalize("NFKC", line)
    line, found = _TAG.sub("", line), 1
    while found:
        line, found = _LATEX.subn(r"\1", line)
    return line


def bare_label(text: str) -> str:
    """Return a label without markup, emphasis, quotes and final punctuation around it, folded."""
    inner = plain(text).strip()
    if bullet := _BULLET.match(inner):
        inner = inner[bullet.end() :]
    inner = inner.strip(_AROUND).rstrip(".!。").strip(_AROUND)
    wrapped = _WRAPPED.fullmatch(inner)
    return " ".join((wrapped[1] if wrapped else inner).casefold().split())


def _has_verdict(data: dict[str, Any]) -> bool:
    return any(name.lower() == "verdict" for name in data)


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        data = json.loads(text, object_pairs_hook=_object)
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
