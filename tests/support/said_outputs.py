"""Outputs whose declared answer is known by construction: numbers in six languages, letters in ten.

The templates are the forms of public lists (see ``themis.catalog.parsers.answer_phrases``), filled
anew; around letters stand formulas, which choose nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple


class Said(NamedTuple):
    """An output, and what it declares."""

    text: str
    answer: float | str | None
    """None where it declares nothing."""


_NUMBER_FORMS = {
    "en": [
        "The answer is {}.",
        "Answer: {}",
        "So the final answer is **{}**.",
        "#### {}",
        "A: {}",
        r"Thus \boxed{{{}}}.",
        "The answer is {} apples.",
        "Answer - {}",
        "Therefore, the result is ${}$.",
    ],
    "de": [
        "Die Antwort ist {}.",
        "Antwort: {}",
        "Die Antwort lautet {}.",
        "Das Ergebnis beträgt {} Euro.",
    ],
    "fr": ["La réponse est {}.", "Réponse : {}", "La réponse finale est {} pommes."],
    "es": ["La respuesta es {}.", "Respuesta: {}", "La respuesta final es {} manzanas."],
    "zh": ["答案是{}。", "答案：{}", "所以答案为 {} 个。", "【答案】{}"],
    "ko": ["정답은 {}입니다.", "정답: {}", "따라서 답은 {}개입니다."],
}
_BEFORE_NUMBER = {
    "en": ["", "First 3 + 4 = 7, then more.\n", "There are 15 trees and 21 shrubs.\n"],
    "de": ["", "Zuerst 3 + 4 = 7.\n"],
    "fr": ["", "D'abord 3 + 4 = 7.\n"],
    "es": ["", "Primero 3 + 4 = 7.\n"],
    "zh": ["", "先算 3 + 4 = 7。\n"],
    "ko": ["", "먼저 3 + 4 = 7.\n"],
}
_LETTER_FORMS = {
    "en": [
        "The answer is ({}).",
        "Answer: {}",
        "The correct option is {}.",
        r"\boxed{{{}}}",
        "So, option {}.",
    ],
    "de": ["Antwort: {}", "Die richtige Antwort ist {}."],
    "fr": ["Réponse : {}", "La réponse est ({})."],
    "es": ["Respuesta: {}", "La respuesta correcta es la opción {}."],
    "pt": ["Resposta: {}", "A resposta correta é ({})."],
    "zh": ["答案：{}", "故选{}", "因此，{}", "【答案】{}", "所以答案选 {}"],
    "ja": ["答え: {}", "答えは{}です。", "正解：{}"],
    "ko": ["정답: {}", "정답은 {}입니다."],
    "ar": ["الإجابة: {}", "الإجابة الصحيحة هي {}"],
    "bn": ["উত্তর: {}", "উত্তরঃ {}"],
}
_SCRIPTS = {"ar": "أبجد", "bn": "কখগঘ", "ja": "ＡＢＣＤ"}
_FORMULAS = [
    "",
    "F = ma = 48 N\n",
    "A = P(1 + r/n)^n\n",
    "2H2 (g) + O2 (g) → 2H2O (l)\n",
    "E = hf = 3.1 eV\n",
    "P(A|B) = 0.5\n",
    "C_1 + C_2 = 5 μF\n",
    "U = 3 V, I = 2 A\n",
    "$B = \\frac{{F}}{{qv}}$\n",
    "NaCl (s) dissolves.\n",
    "D = \\sqrt{{A}}\n",
    "K_c = 4\n",
]


def number_outputs(count: int, seed: int) -> list[Said]:
    """Return declarations of numbers in six languages, equations and other dashes among them."""
    random = Random(seed)
    return [_number(random) for _ in range(count)]


def _number(random: Random) -> Said:
    language = random.choice(list(_NUMBER_FORMS))
    text, value = _written(random)
    if language != "en":
        text, value = random.choice([(str(abs(int(value))), abs(int(value))), (text, value)])
    form = random.choice(_NUMBER_FORMS[language])
    if form == "A: {}" and not text[0].isdigit():
        form = "Answer: {}"
    return Said(random.choice(_BEFORE_NUMBER[language]) + form.format(text), value)


def _written(random: Random) -> tuple[str, float]:
    one, two = random.randint(2, 400), random.randint(2, 99)
    ways: Sequence[tuple[str, float]] = [
        (str(one), one),
        (f"-{one}", -one),
        (f"−{one}", -one),
        (f"–{one}", -one),
        (f"{one * 1000:,}", one * 1000),
        (f"{one}.{two:02}", float(f"{one}.{two:02}")),
        (f"{one} + {two} = {one + two}", one + two),
        (f"{one} * {two} = {one * two}", one * two),
        (f"{one} × {two} = {one * two}", one * two),
        (f"{one + two} - {two} = {one}", one),
        (f"2^{{{two % 20 + 2}}}", 2 ** (two % 20 + 2)),
        (f"{one}\\frac{{1}}{{4}}", one + 0.25),
        (f"{one} million", one * 10**6),
    ]
    return random.choice(ways)


def letter_outputs(count: int, seed: int) -> list[Said]:
    """Return choices in ten languages among formulas; every fifth output is formulas alone."""
    random = Random(seed)
    return [_letter(random, is_declared=index % 5 != 0) for index in range(count)]


def _letter(random: Random, *, is_declared: bool) -> Said:
    formulas = "".join(random.choice(_FORMULAS) for _ in range(2)).replace("{{", "{")
    formulas = formulas.replace("}}", "}")
    if not is_declared:
        return Said(formulas or "A = P(1 + r/n)^n", None)
    language = random.choice(list(_LETTER_FORMS))
    place = random.randrange(4)
    letter = random.choice([_SCRIPTS.get(language, "ABCD")[place], "ABCD"[place]])
    return Said(formulas + random.choice(_LETTER_FORMS[language]).format(letter), "ABCD"[place])
