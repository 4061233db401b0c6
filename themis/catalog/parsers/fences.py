"""Fenced blocks of Markdown, as models write them.

Fences are those of CommonMark 0.31 (section 4.5: three or more backticks or tildes, an info
string, a closing fence at least as long); beyond that they may be indented at will, as inside of
lists, open after words and close at the end of a line. A block that is never closed runs to the
end. Source: https://spec.commonmark.org/0.31.2/#fenced-code-blocks
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

_OPENS = re.compile(r"(?P<indent>[ \t]*(?:>[ \t]?)?)(?P<fence>`{3,}|~{3,})(?P<info>[^\n]*)")
_OPENS_AFTER_WORDS = re.compile(
    r"(?P<indent>)[^`\n]*[^`\s][ \t]*(?P<fence>`{3,})(?P<info>[\w+#.-]*)\s*"
)
_ONE_LINE = re.compile(r"(?<!`)```(?P<content>[^`\n]+)```(?!`)")


class Block(NamedTuple):
    """A fenced block."""

    language: str
    """The info string's first word, or an empty text."""
    content: str
    """What stands inside, line ends included, without the fence's own indentation."""
    closed: bool


def fenced_blocks(text: str) -> list[Block]:
    """Return a text's fenced blocks in order; those on one line where there are no others."""
    blocks = [part for part in _parts(text) if isinstance(part, Block)]
    return blocks or [Block("", one["content"], closed=True) for one in _ONE_LINE.finditer(text)]


def without_blocks(text: str, keep: Callable[[Block], bool]) -> str:
    """Return a text without its fenced blocks, but for the content of those to keep."""
    return "".join(
        part if isinstance(part, str) else (part.content if keep(part) else "\n")
        for part in _parts(text)
    )


def _parts(text: str) -> Iterator[Block | str]:
    """Yield a text's blocks, and the lines outside of them."""
    lines = iter(text.splitlines(keepends=True))
    for line in lines:
        bare = line.rstrip("\r\n")
        opening = _OPENS.fullmatch(bare) or _OPENS_AFTER_WORDS.fullmatch(bare)
        if opening is None or (opening["fence"][0] == "`" and "`" in opening["info"]):
            yield line
            continue
        yield bare[len(opening["indent"]) : opening.start("fence")]
        words = opening["info"].split()
        language = words[0].strip("{}.") if words else ""
        content, closed = _content(lines, opening["fence"], opening["indent"])
        yield Block(language, content, closed)


def _content(lines: Iterator[str], fence: str, indent: str) -> tuple[str, bool]:
    """Read a block's lines up to its closing fence, and say whether there was one."""
    closes = re.compile(rf"[ \t>]*{fence[0]}{{{len(fence)},}}[ \t]*")
    # Models also close a block at the end of its last line.
    closes_line = re.compile(rf"(?P<last>[^`]*[^`\s]){fence}[ \t]*") if fence[0] == "`" else closes
    content: list[str] = []
    for line in lines:
        bare = line.rstrip("\r\n")
        if closes.fullmatch(bare):
            return "".join(content), True
        if (last := closes_line.fullmatch(bare)) is not None:
            return "".join([*content, _less(last["last"], indent)]), True
        content.append(_less(line, indent))
    return "".join(content), False


def _less(line: str, indent: str) -> str:
    """Return a line without the fence's indentation, as far as the line has it."""
    if line.startswith(indent):
        return line[len(indent) :]
    common = len(line) - len(line.lstrip(" \t"))
    return line[min(common, len(indent)) :]
