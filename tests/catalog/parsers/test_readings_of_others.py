r"""Answers as people of other habits write them: bounds, tables, other languages' words.

Covers: themis.catalog.numbers_in_text, themis.catalog.math_in_text, themis.catalog.thoughts,
themis.catalog.parsers.number_said, themis.catalog.parsers.numbers, themis.catalog.parsers.choices,
themis.catalog.parsers.formulas, themis.catalog.metrics.math
"""

from __future__ import annotations

import pytest

from themis.catalog.math_in_text import typeset
from themis.catalog.metrics.math import MathEquivalence
from themis.catalog.numbers_in_text import in_full
from themis.catalog.parsers.choices import read_choice
from themis.catalog.parsers.numbers import MathAnswer, NumberIn
from themis.catalog.thoughts import without_thoughts
from themis.core.contexts import ParseContext
from themis.core.errors import ParseError
from themis.core.models import Case, GenerationResult, Score

NUMBERS = [
    ("\\boxed{5! = 120}", 120),
    ("答案是2亿5千万", 250000000),
    ("The answer is 25 per cent", 0.25),
    ("Die Antwort ist 25 Prozent.", 0.25),
    ("La respuesta es 25 por ciento", 0.25),
    ("The answer is 3E8 m/s", 3e8),
    ("The answer is 5kg", 5),
    ("The answer is 18km.", 18),
    ("The answer is 5 - 8 = – 3", -3),
    ("The answer is 6 because 18/3", 6),
    ("The answer is 12 345", 12345),
    ("\\boxed{1\\,000}", 1000),
    ("\\boxed{1.5 \\text{ million}}", 1500000),
    ("\\boxed{18\\text{ m}^2}", 18),
    ("Answer => 5", 5),
    ("| Answer | 18 |", 18),
    ("The answer is 50% of 80 = 40.", 40),
    ("The answer isn't 5, the answer is 6", 6),
    ("Résultat : __618 1/2__", 618.5),
    ("정답은 __$400__입니다. 3 trees.", 400),
    ("| **Answer** | *-12* |", -12),
    ("```python\nanswer = 7\n```\nThe answer is 3.", 3),
    ("```text\nThe answer is 3.\n```\n5 trees", 3),
]
NO_NUMBERS = [
    "\\boxed{10!}",
    "The answer is ±3",
    "The answer is +/- 3",
    "\\boxed{4.5 \\pm 0.1}",
    "The answer is 4.5 ± 0.1",
    "\\boxed{3 \\text{ or } 4}",
    "\\boxed{3 \\text{ and } 4}",
    "\\boxed{x > 5}",
    "\\boxed{x \\geq 5}",
    "The answer is > 5",
    "\\boxed{5 < x}",
    "\\boxed{\\frac{\\pi}{2}}",
    "\\boxed{\\frac{2}{x}}",
    "\\boxed{\\log_2 8}",
    "\\boxed{|-5|}",
    "\\boxed{0.\\overline{3}}",
    "The answer is 1 234,5",
    "The answer is 100 200",
    "Ответ: 1 250 рублей",
    "The answer is 50% of 80 is 40",
    "The answer isn't 5.",
    "```python\nanswer = 7\n```\n5 trees",
    "The answer is 5, which is wrong.",
    "Nobody says that the answer is 1,005.",
    "Is the answer 488,217?",
    "At first I thought the answer was €5.",
    "Jawabannya bukan -7.5.",
    "Vastaus ei ole ½.",
    "Cevap 341,189 değil.",
    "Odpowiedź to 3π. There are 40 trees.",
    "La réponse est donc : x \\leq 65",
    "Svar: |-60|",
    "The answer is therefore |-82|.",
    "The answer is 64i + 95",
    "正解は 75, 18 です",
    "The answer isn’t 5.",
    "The answer is not 5.",
    "答案是百分之25",
    "The answer is 5‰",
    "| Answer | 12 | 13 |",
]
LETTERS = [
    ("v = 3\nB", "B"),
    ("pH = 7\n\nC", "C"),
    ("| **Answer** | C |", "C"),
    ("正确选项是B", "B"),
    ("正确的选项是 B", "B"),
    ("答案不是A，而是B", "B"),
    ("따라서 B가 정답입니다", "B"),
    ("Cが正解です", "C"),
    ("Doğru cevap C'dir.", "C"),
    ("La bonne réponse est la B.", "B"),
    ("La opción correcta es la C", "C"),
    ("L'opzione corretta è la B", "B"),
    ("A opção correta é a B.", "B"),
    ("Richtig ist C.", "C"),
    ("Antwort A ist falsch. Antwort B ist richtig.", "B"),
    ("La réponse est C car B est fausse", "C"),
    ("La respuesta es C porque no es A", "C"),
    ("Svar: C fordi B er feil", "C"),
    ("Risposta: C non B", "C"),
]
NO_LETTERS = [
    "A) 3\nB) 4\nC) 5",
    "A) 1 kg\nB) 2 kg\nC) 3 kg",
    "答えはAではなくBです",
    "Die Option B ist falsch",
    "La respuesta C es incorrecta",
    "L'option A n'est pas correcte",
    "A가 정답이 아니다",
    "Cが正解ではない",
    "la respuesta o la pregunta",
    "Réponse a été donnée",
    "Options: A) 1 B) 2 C) 3 D) 4",
    "The answer is a non-zero number.",
    "The answer is A car",
    "| Option | Answer |\n| A | 3 |",
]
EQUAL = [
    ("1500", "1.5e3", 1),
    ("1.6×10⁻¹⁹", r"1.6 \times 10^{-19}", 1),
    ("½", r"\frac12", 1),
    ("2½", "2.5", 1),
    ("–3", "-3", 1),
    ("3", "–3", 0),
    ("2√3", r"2\sqrt{3}", 1),
    ("2√3", "3", 0),
    ("x²+1", "x^2+1", 1),
    ("x²+1", "x^3+1", 0),
    (r"0.\overline{3}", r"\frac13", 1),
    (r"0.1\overline{6}", r"\frac16", 1),
    (r"0.\overline{3}", r"0.\overline{4}", 0),
    (r"\emptyset", r"\varnothing", 1),
    ("5", "５", 1),
    ("5", "٥", 1),
    ("1000", r"1\,000", 1),
    ("1000", "1 000", 1),
    ("150000", "150 000", 1),
    ("100200", "100 200", 0),
    ("1 million", "1000000", 1),
    ("1000000", r"1 \text{ million}", 1),
    ("5", r"5 \text{ million}", 0),
    ("5 million", "5", 0),
    ("2", r"2 \text{ hours } 30 \text{ minutes}", 0),
    (r"3 \text{ or } 4", r"3 \text{ or } 4", 1),
]


def _number(text: str, ctx: ParseContext) -> object:
    given = GenerationResult(candidate_id="c", final_output=text)
    return NumberIn().parse(given, ctx).value


@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_a_number_is_read_as_it_is_meant(
    parse_context: ParseContext, text: str, number: float
) -> None:
    assert _number(text, parse_context) == pytest.approx(number, rel=1e-12)


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_a_part_of_something_else_is_no_number(parse_context: ParseContext, text: str) -> None:
    with pytest.raises(ParseError):
        _number(text, parse_context)


@pytest.mark.parametrize(("text", "letter"), LETTERS)
def test_a_letter_is_chosen_in_the_words_of_other_languages(text: str, letter: str) -> None:
    assert read_choice(text).letter == letter


@pytest.mark.parametrize("text", NO_LETTERS)
def test_a_list_a_denial_and_a_word_choose_nothing(text: str) -> None:
    with pytest.raises(ParseError):
        read_choice(text)


@pytest.mark.parametrize(("gold", "answer", "value"), EQUAL)
def test_mathematics_is_compared_however_it_is_typed(gold: str, answer: str, value: int) -> None:
    case = Case(case_id="c", input="q", expected_output=gold)
    found = MathEquivalence().compare(answer, [gold], case)
    assert isinstance(found, Score)
    assert found.value == value


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("∅", r"\emptyset"),
        ("x⁻²", "x^{-2}"),
        ("√(2+x)", r"\sqrt{2+x}"),
        ("2e", "2e"),
        ("3 – 5", "3 – 5"),
        ("1, 234", "1, 234"),
    ],
)
def test_only_what_says_the_same_is_typeset(text: str, same: str) -> None:
    assert typeset(text) == same


def test_a_scale_is_a_part_of_its_number() -> None:
    assert in_full(r"5 \text{ million}").strip() == "5000000"
    assert in_full("millions of things") == "millions of things"


@pytest.mark.parametrize(
    "text",
    [
        "<analysis>5</analysis>6",
        "<|START_THINKING|>5<|END_THINKING|>6",
        "<unused94>thought\nThe answer is 5<unused95>6",
        "<chain_of_thought>5</chain_of_thought>6",
        "<inner_monologue>5</inner_monologue>6",
    ],
)
def test_thoughts_are_known_by_the_tags_of_more_models(text: str) -> None:
    assert without_thoughts(text) == "6"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("| Answer | **x = 919** |", "x = 919"),
        ('{"answer": "\\\\frac{1}{2}"}', "\\frac{1}{2}"),
        ("La bonne réponse est donc : €588", "€588"),
        ("\u202aAns: 12 kg\u202c", "12"),
        ("$x$ = 5", "$x$ = 5"),
        ('{"answer": 527, "unit": "kg"}', "527"),
    ],
)
def test_an_answer_in_a_table_or_an_object_ends_with_its_cell(text: str, expected: str) -> None:
    assert MathAnswer().read(text)[0] == expected


@pytest.mark.parametrize(
    "text",
    [
        "The answer is 54 hours 36 minutes",
        "Ans: 73 ft 25 in",
        "$x = 1$.\n$y = 2$",
        "答えは32 + 72です",
    ],
)
def test_a_part_of_what_is_said_is_no_expression(text: str) -> None:
    with pytest.raises(ParseError):
        MathAnswer().read(text)


@pytest.mark.parametrize(
    "text",
    [
        "A. Smith wrote this.",
        "A. Smith et al. say so.",
        "D. H. Lawrence was born there.",
        "E. coli grows in it.",
        "The concentration [B] is halved.",
        "Options: A, B, C, D\nIs the answer D?",
        "K = [C]/[A].\nThe answer is not A.",
        "Nobody says that the answer is D.",
        "The answer is A, which is wrong.",
        "```python\nanswer = A\n```\nWe are done.",
    ],
)
def test_a_name_or_a_substance_is_no_option(text: str) -> None:
    with pytest.raises(ParseError):
        read_choice(text)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B. Paris is the capital.", "B"),
        ("B. increases", "B"),
        ("The rate doubles, so the answer is [B].", "B"),
        ("[B] Paris", "B"),
        ("\\fbox{B}", "B"),
        ("Válasz: A\nigen", "A"),
        ("La bonne réponse est donc : D", "D"),
    ],
)
def test_a_label_is_still_an_option(text: str, letter: str) -> None:
    assert read_choice(text).letter == letter
