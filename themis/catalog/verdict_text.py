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
_LINE = re.compile(
    r"^\W*(?:(?:the|so|my|final|overall|here is (?:my|the))\s+)*verdict\W*?[:=]\s*(.*)$",
    re.IGNORECASE,
)
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

    The object is the whole answer, or stands in a fence with nothing after it. What stands in other
    fences, or behind a quotation mark at the beginning of a line, is quoted: it is left out.

    Raises:
        ParseError: the object has a key twice.
    """
    if (data := _json_object(text)) is not None:
        return data, ""
    own: list[str] = []
    block: list[str] | None = None
    fence = ""
    for line in text.strip().splitlines():
        found = _FENCE.match(line.strip())
        if block is None:
            if found is not None:
                block, fence = [], found[1]
            elif not line.lstrip().startswith(">"):
                own.append(line)
        elif found is not None and found[1].startswith(fence) and not found[2]:
            last, block = block, None
            own.append("\0")
        else:
            block.append(line)
    if block is not None:
        last = block
        own.append("\0")
    while own and not own[-1].strip():
        own.pop()
    if not own or own[-1] != "\0":
        return None, _joined(own)
    inner = "\n".join(last)
    data = _json_object(inner)
    return data, _joined(own if data is not None else [*own, *last])


def _joined(lines: list[str]) -> str:
    return "\n".join(line for line in lines if line != "\0")


def spoken(lines: list[str]) -> list[Said]:
    """Return the lines that say what the verdict is."""
    found = []
    for line in lines:
        said = _LINE.match(plain(line))
        if said is not None:
            found.append(Said(line, said[1]))
    return found


def plain(line: str) -> str:
    """Return a line without markup of HTML and LaTeX, in compatibility form."""
    line = unicodedata.normalize("NFKC", line)
    return _LATEX.sub(r"\1", _TAG.sub("", line))


def bare_label(text: str) -> str:
    """Return a label without markup, emphasis, quotes and final punctuation around it, folded."""
    inner = plain(text).strip()
    if bullet := _BULLET.match(inner):
        inner = inner[bullet.end() :]
    inner = inner.strip(_AROUND).rstrip(".!。").strip(_AROUND)
    wrapped = _WRAPPED.fullmatch(inner)
    return " ".join((wrapped[1] if wrapped else inner).casefold().split())


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
