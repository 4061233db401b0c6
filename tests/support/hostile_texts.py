"""Texts that are long and of one kind, as an answer may be to hold up whoever reads it.

Something is repeated, by itself or between two others; two are in turns; or first the one stands
there, then the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

UNITS = (
    "{\n", '{"a":1,\n',
    "{", "}", "[", "]", "(", ")", '"', "'", '\\', "`", "$", "$$", "*", "**", "_", "|", "<", ">",
    "#", "~", "=", "-", " ", "\n", "\t", "\r\n", ",", ";", ".", ":", "?", "!", "/", "^", "%", "&",
    "a", "A", "A ", "a\u0301", "\u0301", "\u200b", "1", "1 ", "1,", "1.", "1,000", "1 000 ",
    "1_000", "1/", "2^", "1e", "-1", "１", "٣", "½", "²", "一", "三百", "万", "😀",
    "👨\u200d👩\u200d👧 ", "é", "ß", "İ", "word ", "Word. ", "lorem ipsum\n", "- item\n",
    "1. step\n", "| a | b |\n",
    "<think>", "</think>", "[THINK]", "<answer>", "</answer>", "<answer>5</answer>", "<x>",
    "<|channel|>final", "<|channel|>analysis<|message|>", "<|channel|>final<|message|>5",
    "<|channel|>a <|b|>", "<|end|>", "\\boxed{", "\\boxed{5}", "\\boxed 5 ", "\\fbox{",
    "\\frac{1}{2}", "\\frac{", "\\sqrt{", "\\text{", "\\text{a} ", "\\begin{a}", "\\end{a}",
    "\\left(", "\\(", "\\)", "\\[", "\\]", "\\, ", "$5$ ", "$x$, ", "$5", "x = ", "x^2 + ",
    "1 + ", "3 apples ", "5 km ", "5 million ", "per cent ", "The answer is ",
    "The answer is 5. ", "answer: ", "Answer: 5\n", "**Answer:** 5\n", "final answer ", "not ",
    "is not ", "because ", "so ", "if ", "option ", "option A ", "(A) ", "(A", "A) x\n", "A or ",
    "A, ", "A is right. ", "I think ", "the ", "the correct ", "答案是", "答案是A。", "答え",
    "정답은 ", "Antwort: ", "Ответ: ", "الجواب ", "คำตอบคือ", "#### ", "#### 5\n", "#### 5",
    "```", "```\n", "```python\n", "```json\n{", "```json\n{}\n```\n", "~~~\n", "> ", "> ```\n",
    "[BEGIN]\n", "[DONE]\n", "[BEGIN] x [DONE]\n", ">>> x\n", "def f(): pass\n", "'x'\n", '{"a":',
    '{"a":1}', '{"a":1} ', '{"a": "', "[1,", "[1] ", "[[1],", '"a",', "null ", "{'a': 1} ", "{]",
    "[}", '\\"', "\\u0041", "NaN,", "&nbsp;", "http://a.b/", "a@b.c ", "AbC", "ab ab ", "0",
    "00 ", "9" * 50 + " ",
)  # fmt: skip
"""What is repeated."""
_FRAMES = (
    ("The answer is ", "1", ""), ("The answer is ", " ", "5"), ("The answer is ", "a ", "."),
    ("The answer is ", "(", ")"), ("\\boxed{", "a", ""), ("\\boxed{", "{", "}"),
    ("\\boxed{", '\\', "}"), ("$", "a", ""), ("$$", "\\$", "$"), ("<think>", "x ", ""),
    ("<think>", "x ", "</think>5"), ("", "</think>", "<think>"), ("</think>", "<think>", ""),
    ("<answer>", "5 ", ""), ("<|channel|>final", "a", ""), ("<|channel|>final ", " ", ""),
    ("<|channel|>", " ", "x"), ("{", " ", "}"), ("[", "1,", "1]"), ("[", " ", ""),
    ('{"a":"', "a", ""), ('{"a":"', '\\\\', '"}'), ('"', "a", ""), ("```\n", "a\n", ""),
    ("```", "a", ""), ("```\n", "`", ""), ("#### ", "1", "."), ("#### ", ",", "x"),
    ("1", " ", "1"), ("1", ",000", ""), ("1", " 000", "x"), ("", "1", "a"), ("", "1,", "a"),
    ("0.", "1", "e5"), ("1e", "9", ""), ("2^{", "9", "}"), ("A", " ", "."), ("(", " ", "A)"),
    ("A", ", B", " are wrong"), ("option ", " ", "A"), ("Answer:", "\n", "A"),
    ("answer", " ", "is 5"), ("the answer to ", "x ", "is 5"), ("- ", " ", "x"), ("'", "a", ""),
    ("[BEGIN]", "a\n", ""), ("", "[", "]"), ("", "{", "}"), ("", "(", ")"), ("", '{"a":', "1"),
    ("", "\\text{", "}"), ("", "\\frac{", "1}{2}"),
)  # fmt: skip
"""What stands before, what is repeated, what stands behind."""
_PAIRS = (
    ("{", "}"), ("[", "]"), ("(", ")"), ("<think>", "</think>"), ("</think>", "<think>"),
    ("```\n", "~~~\n"), ("$", "\\$"), ("\\boxed{", "}"), ("\\(", "\\)"), ('"', '\\'), ("1", ","),
    ("1", " "), ("a", "\n"), (" ", "\n"), ("A ", "not "), ("A", "?"), ("<answer>", "</answer>"),
    ("[BEGIN]\n", "[DONE]\n"), ("The answer is ", "A"), ("<|channel|>", "<|message|>"),
    ("`", "\n"), ("<|channel|>final", "<|"), ("{", '"'), ("1 + ", "= "), ("**", "_"), ("一", "1"),
    ("\u0301", " "), ("#", "1"),
)  # fmt: skip
"""Two in turns, and first the one and then the other."""


class Kind(NamedTuple):
    """A kind of hostile text."""

    name: str
    of: Callable[[int], str]
    """Makes a text of about so many characters."""


def kinds() -> Iterator[Kind]:
    """Yield all kinds."""
    for unit in UNITS:
        yield Kind(f"{unit!r}...", _filled("", unit, ""))
    for before, unit, behind in _FRAMES:
        yield Kind(f"{before!r} {unit!r}... {behind!r}", _filled(before, unit, behind))
    for one, other in _PAIRS:
        yield Kind(f"{one!r} {other!r}...", _filled("", one + other, ""))
        yield Kind(f"{one!r}... {other!r}...", _halves(one, other))


def _filled(before: str, unit: str, behind: str) -> Callable[[int], str]:
    return lambda size: before + unit * (size // len(unit)) + behind


def _halves(one: str, other: str) -> Callable[[int], str]:
    return lambda size: one * (size // 2 // len(one)) + other * (size // 2 // len(other))
