r"""Text that is shown: no character in it is a command to a terminal, a page or a table.

Models, endpoints, data sets and file names may hold anything: escape sequences that clear a screen
or write to the clipboard, marks that turn the reading direction around, characters that nobody
sees. What is shown has them spelled out (``\x1b``, ``\u202e``), so that a reader sees that they are
there. Stored values are never changed. Joiners within words and emoji (U+200C, U+200D) and soft
hyphens stay: they are writing.
"""

from __future__ import annotations

import logging
import re
import traceback

_COMMANDS = (
    "\x00-\x1f\x7f-\x9f"  # C0, DEL and C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # reading direction
    "\u2028\u2029"  # ends of lines and paragraphs
    "\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"  # nothing that can be seen
    "\U000e0000-\U000e007f"  # tags: letters that nobody sees
    "\ud800-\udfff"  # half characters, which no stream takes
)
_IN_LINES = re.compile(f"(?!\n)[{_COMMANDS}]")
_IN_LINE = re.compile(f"[{_COMMANDS}]")
_NAMED = {"\t": "\\t", "\r": "\\r", "\n": "\\n"}


def shown(text: str) -> str:
    """Return text with all commands spelled out but the ends of its lines."""
    return _IN_LINES.sub(_spelled, text)


def shown_line(text: str) -> str:
    """Return text in one line, with all commands spelled out; lines are joined by blanks."""
    return _IN_LINE.sub(_spelled, " ".join(text.split("\n")))


def shown_json(text: str) -> str:
    """Return JSON text in which all commands are JSON's own escapes: the same values."""
    return _IN_LINES.sub(_json_escape, text)


def _spelled(found: re.Match[str]) -> str:
    one = found[0]
    code = ord(one)
    if one in _NAMED:
        return _NAMED[one]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(found: re.Match[str]) -> str:
    halves = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{halves[i : i + 2].hex()}" for i in range(0, len(halves), 2))


class _ShowsText(logging.Filter):
    """Spells commands out in what is logged, whoever shows it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = shown_line(record.getMessage()), ()
        if record.exc_info and record.exc_text is None:
            record.exc_text = shown("".join(traceback.format_exception(*record.exc_info)).rstrip())
        return True


_SHOWS_TEXT = _ShowsText()


def logger() -> logging.Logger:
    """Return Themis's logger, which logs no command."""
    found = logging.getLogger("themis")
    found.addFilter(_SHOWS_TEXT)  # once: a filter that is there is not added again
    return found
