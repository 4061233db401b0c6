"""Which of an answer's blocks of code is the program, where several stand in it.

Beside a program models write how to run it, what it prints, the data it reads and an example of its
use. None of these is another answer: a program counts before commands, commands before data and
output, and what defines something before what only uses it. Two blocks that each define something
are two answers, and it is not guessed which of them is meant.
"""

from __future__ import annotations

import ast
import re
import warnings
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from themis.catalog.parsers.fences import Block, without_blocks

# The names that models give blocks, as GitHub's Linguist knows them (its languages of the types
# "data", "prose" and "markup", and the shells): https://github.com/github-linguist/linguist
_COMMANDS = frozenset({
    "bash", "bat", "batch", "cmd", "console", "dockerfile", "fish", "ksh", "makefile",
    "powershell", "ps1", "pwsh", "sh", "shell", "shell-session", "shellsession", "terminal",
    "zsh",
})  # fmt: skip
_NO_PROGRAMS = frozenset({
    "csv", "diff", "env", "ini", "json", "json5", "jsonc", "jsonl", "latex", "log", "markdown",
    "math", "md", "mermaid", "none", "out", "output", "plain", "plaintext", "properties", "rst",
    "stdin", "stdout", "tex", "text", "toml", "tsv", "txt", "xml", "yaml", "yml",
})  # fmt: skip
_PYTHON = frozenset(("", "ipython", "pycon", "py", "py3", "python", "python3"))
_MARK = re.compile(r"^[ \t>]*\[(?P<name>BEGIN|DONE)\]", re.MULTILINE)
_DONE_AFTER_CODE = re.compile(r"[ \t]*\[DONE\][ \t]*$", re.MULTILINE)
_QUOTED = re.compile(r"\s*'(?P<code>[^'].*[^'])'\s*", re.DOTALL)


def marked_code(text: str) -> list[str] | None:
    """Return what stands between ``[BEGIN]`` and ``[DONE]``, or None in a text without them.

    These are the marks of MBPP's prompts (Austin et al. 2021, arXiv:2108.07732). A prompt may end
    with the first of them; then what follows the answer is a problem of the model's own.
    """
    begins = [one.end() for one in _MARK.finditer(text) if one["name"] == "BEGIN"]
    ends = [one.start() for one in _MARK.finditer(text) if one["name"] == "DONE"]
    if begins:
        ends += [one.start() for one in _DONE_AFTER_CODE.finditer(text)]
    if not begins and not ends:
        return None
    ends.sort()
    if ends and (not begins or ends[0] < begins[0]):
        return [_bare(text[: ends[0]])]
    found = []
    for begin, following in zip(begins, [*begins[1:], len(text)], strict=True):
        at = bisect_left(ends, begin)
        end = ends[at] if at < len(ends) and ends[at] <= following else following
        found.append(_bare(text[begin:end]))
    return found


def _bare(code: str) -> str:
    """Return code without the line that its mark stood on, and without quotes around all of it."""
    quoted = _QUOTED.fullmatch(code)
    code = quoted["code"] if quoted else code
    code = re.sub(r"\A[ \t]*\r?\n", "", code)
    return code if code.endswith("\n") or not code.strip() else code.rstrip() + "\n"


def without_programs(text: str) -> str:
    """Return a text without its closed blocks of a programming language: they say nothing."""
    if "```" not in text and "~~~" not in text:
        return text
    return without_blocks(
        text,
        lambda block: (
            not (block.language and block.closed) or block.language.lower() in _NO_PROGRAMS
        ),
    )


def programs(blocks: list[Block]) -> list[Block]:
    """Return those blocks that may each be the answer, in their order; all where none is less."""
    if len(blocks) < 2:
        return blocks
    kept = _of_best_kind(blocks)
    read = [(block, _read(block)) for block in kept]
    defined: set[str] = set().union(*(one.defined for _, one in read if one and not one.is_use))
    return [block for block, one in read if not (one and one.is_use and one.used & defined)]


def _of_best_kind(blocks: list[Block]) -> list[Block]:
    """Return the programs; else commands; else what names no language; else the rest."""
    kinds: list[list[Block]] = [[], [], [], []]
    for block in blocks:
        language = block.language.lower()
        if language in _NO_PROGRAMS:
            kinds[3].append(block)
        elif language in _COMMANDS:
            kinds[1].append(block)
        elif language or _read(block) is not None:
            kinds[0].append(block)
        else:
            kinds[2].append(block)
    return next((kind for kind in kinds if kind), blocks)


class _Python(NamedTuple):
    """What a block of Python does with names."""

    defined: set[str]
    """The functions and classes, but for tests."""
    used: set[str]
    is_use: bool
    """Whether it only uses things: it defines none."""


def _read(block: Block) -> _Python | None:
    """Read a block as Python; return None where it is none, or only values, as output is."""
    if block.language.lower() not in _PYTHON:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that Python does not know
            tree = ast.parse("\n".join(_typed(block.content)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if all(isinstance(one, ast.Expr) and not _calls(one) for one in tree.body):
        return None
    defined = {
        one.name
        for one in tree.body
        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        and not one.name.lower().startswith("test")
    }
    used: set[str] = set()
    for one in ast.walk(tree):
        if isinstance(one, ast.Name):
            used.add(one.id)
        elif isinstance(one, ast.Attribute):
            used.add(one.attr)
        elif isinstance(one, ast.ImportFrom):
            used.update(alias.name for alias in one.names)
    return _Python(defined, used, not defined)


def _calls(statement: ast.stmt) -> bool:
    return any(isinstance(one, (ast.Call, ast.Await)) for one in ast.walk(statement))


def _typed(code: str) -> Iterator[str]:
    """Yield the lines of a block; of a session with the interpreter, those that were typed."""
    lines = code.splitlines()
    if not any(line.lstrip().startswith(">>>") for line in lines):
        yield from lines
        return
    for line in lines:
        if (typed := re.match(r"\s*(?:>>>|\.\.\.) ?(.*)", line)) is not None:
            yield typed[1]
