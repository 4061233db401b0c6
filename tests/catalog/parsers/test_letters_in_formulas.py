"""A letter is chosen in any language, and a formula's letters choose nothing.

Covers: themis.catalog.parsers.choices, themis.catalog.parsers.formulas, themis.catalog.parsers.text
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.said_outputs import letter_outputs
from themis import evaluate, use
from themis.adapters import function
from themis.catalog.parsers.choices import read_choice
from themis.catalog.parsers.text import ChoiceLetter
from themis.core.config import StorageConfig
from themis.core.errors import DefinitionError, ParseError
from themis.core.models import Case, Dataset
from themis.planning.components import declare
from themis.planning.keys import CaseDigests, parse_key

CHOSEN = [
    ("Therefore, F = 48 N. The answer is (D).", "D"),
    ("So E = hf = 3.1 eV, which is option (B).", "B"),
    ("故选C", "C"),
    ("因此，C", "C"),
    ("【答案】C", "C"),
    ("الإجابة: ب", "B"),
    ("উত্তর: খ", "B"),
    ("উত্তরঃ গ", "C"),
    ("答案是B，因为A不对。", "B"),
    ("答案：C。", "C"),
    ("所以答案选 D", "D"),
    ("选B", "B"),
    ("选项A错误，选项B正确。", "B"),
    ("正确答案是（C）", "C"),
    ("答えはCです。", "C"),
    ("正解: B", "B"),
    ("정답은 C입니다.", "C"),
    ("정답: B", "B"),
    ("따라서 정답은 (D)입니다.", "D"),
    ("الإجابة الصحيحة هي ج", "C"),
    ("الإجابة الصحيحة هي (د)", "D"),
    ("सही उत्तर: ख", "B"),
    ("उत्तर: C", "C"),
    ("Antwort: B", "B"),
    ("Die richtige Antwort ist C.", "C"),
    ("La respuesta correcta es la opción B.", "B"),
    ("La réponse est D.", "D"),
    ("Réponse : B", "B"),
    ("A resposta correta é (C)", "C"),
    ("La risposta corretta è B.", "B"),
    ("Jawaban: B", "B"),
    ("Jawaban yang benar adalah C.", "C"),
    ("Jibu: D", "D"),
    ("Ìdáhùn: A", "A"),
    ("Idahun: C", "C"),
    ("Ответ: Б", "B"),
    ("Правильный ответ — B.", "B"),
    ("คำตอบคือ ข", "B"),
    ("คำตอบที่ถูกต้องคือ ข้อ ค", "C"),
    ("Đáp án: B", "B"),
    ("Đáp án đúng là C.", "C"),
    ("Cevap: B", "B"),
    ("Doğru cevap D", "D"),
    ("The answer is 🅑", "B"),
    ("Ｃ", "C"),
    ("答え：Ｂ", "B"),
    ("The current is 3 A and V = IR, so the answer is C.", "C"),
    ("Thus, C = 5 μF. Answer: B", "B"),
    ("So A and B are in equilibrium. The answer is (C).", "C"),
    ("P(A|B) = P(B|A)P(A)/P(B), hence the answer is B.", "B"),
    ("**F** = ma. Answer: **B**", "B"),
    ("Let A = 5. Then B = 6. The correct option is (C).", "C"),
    ("It weighs 5 N. So D.", "D"),
    ("The final answer is C", "C"),
    ("\\boxed{B}", "B"),
    ("The answer is (B) because E = 3 V.", "B"),
    ("V = IR = 12 V\n\nB", "B"),
    ("If A = 1 then ... (B)", "B"),
    ("The energy E is 5 J. Therefore B", "B"),
    ("The answer is $B$, since $A = 3$", "B"),
    ("Since $P(A) = 0.5$, the correct choice is C.", "C"),
    ("H+ (aq) + OH- (aq) → H2O (l). The answer is B.", "B"),
    ("Option D: v = 5 m/s", "D"),
    ("D. F = ma", "D"),
    ("B) E = mc^2", "B"),
    ("B: 48 N", "B"),
    ("(C) P = IV", "C"),
    ("答案是 C. 12 m/s", "C"),
    ("The answer is D) 3.5 A", "D"),
    ("Both A and B are positive. The answer is D.", "D"),
    ("Answer: B\n\nE = 3", "B"),
    ("ΔG = ΔH - TΔS so B", "B"),
    ("She is 5 years old. D", "D"),
    ("a) x\nb) y\n\nسؤال: الجواب: أ", "A"),
]

NOT_CHOSEN = [
    "A = P(1 + r/n)^n",
    "2H2 (g) + O2 (g)",
    "2H2 (g) + O2 (g) -> 2H2O (l)",
    "답: ③",
    "The answer is E = mc^2.",
    "f(A) = P(B)",
    "So F = ma, with m in kg.",
    "The mass (m) is 5 kg.",
    "the force (F) acts",
    "Using the spring constant (k), we find 3.",
    "B is the right inverse of A.",
    "NaCl (s) dissolves",
    "CO2 (g) is released",
    "A + B -> C",
    "A → B",
    "C_1 = 5",
    "K = 3, therefore K is large",
    "48 N",
    "The answer is not B. D = 3.",
    "La réponse n'est pas B",
    "答案不是B",
    "La respuesta no es B",
    "答案是A股",
    "Answer: C = 2πr",
    "Therefore, T = 300 K.",
    "Thus C is constant.",
    "where C is the correct value of capacitance",
    "Hence A = 4",
    "Ответ: В",
    "정답은 B가 아닙니다",
    "Kc = [C]/[A][B]",
    "[C] = 0.5 M",
    "The answer is a based approach",
]


@pytest.mark.parametrize(("text", "letter"), CHOSEN)
def test_a_choice_among_formulas_and_in_any_language_is_read(text: str, letter: str) -> None:
    assert read_choice(text).letter == letter


@pytest.mark.parametrize("text", NOT_CHOSEN)
def test_a_formula_s_letter_or_a_denied_one_is_not(text: str) -> None:
    with pytest.raises(ParseError):
        read_choice(text)


def test_a_bold_letter_is_a_label_and_a_rejected_one_is_none() -> None:
    assert read_choice("Considering it all: **B** it shall be").letter == "B"
    assert read_choice("Option **B** is wrong. **C**").letter == "C"


def _read(cases: list[Case], choices: Any) -> list[Any]:
    result = evaluate(
        model=function(lambda said: said["text"], version="1"),
        data=Dataset(dataset_id="d", cases=cases),
        metric="builtin/exact_match",
        parser=use("builtin/choice_letter", choices=choices),
        storage=StorageConfig(store="memory"),
        progress=False,
    )
    return [case.parsed_output and case.parsed_output.value for case in result.cases]


def _case(name: str, options: Any) -> Case:
    said = {"text": "Either way: (D). Never F. Or option E", "options": options}
    return Case(case_id=name, input=said, expected_output="D", metadata={"mcq": said})


@pytest.mark.parametrize("path", ["input.options", "metadata.mcq.options"])
def test_each_case_may_have_its_own_options(path: str) -> None:
    cases = [_case("a", ["w", "x", "y", "z"]), _case("b", 3), _case("c", "ABE")]
    assert _read(cases, path) == ["D", None, "E"]


def test_only_a_parser_whose_options_stand_in_the_case_reads_it() -> None:
    assert ChoiceLetter().reads == frozenset()
    assert ChoiceLetter(choices=4).reads == frozenset()
    assert ChoiceLetter(choices="input.options").reads == {"input"}
    assert ChoiceLetter(choices="metadata.options").reads == {"metadata"}


def test_a_case_without_options_where_they_should_be_is_an_error_and_not_the_model_s_fault() -> (
    None
):
    result = evaluate(
        model=function(lambda said: "The answer is A.", version="1"),
        data=[{"input": "?", "expected_output": "A"}],
        metric="builtin/exact_match",
        parser=use("builtin/choice_letter", choices="metadata.options"),
        storage=StorageConfig(store="memory"),
        progress=False,
    )
    (row,) = result.score_rows()
    assert (row.value, row.outcome) == (None, "error")


@pytest.mark.parametrize("choices", ["metadata", "elsewhere.options", "metadata..x", "", "A", 1])
def test_choices_that_are_none_are_refused(choices: Any) -> None:
    with pytest.raises(DefinitionError, match="choices"):
        ChoiceLetter(choices=choices)


def test_what_the_public_forms_declare_among_formulas_is_read_and_no_letter_invented() -> None:
    for said in letter_outputs(1000, seed=5):
        try:
            letter = read_choice(said.text, "ABCDEFGHIJ").letter
        except ParseError:
            letter = None
        assert letter == said.answer, said.text


@pytest.mark.parametrize(("choices", "steps"), [(4, 1), ("input.options", 2)])
def test_a_changed_question_is_parsed_anew_only_by_a_parser_that_reads_it(
    choices: Any, steps: int
) -> None:
    bound = declare(use("builtin/choice_letter", choices=choices), "parser", "parser").bind()
    cases = [_case("a", ["w", "x", "y", "z"]), _case("a", ["w", "x", "y", "z", "v"])]
    keys = {
        parse_key(bound.digest, bytes(16), CaseDigests(case).read_by(bound.reads)) for case in cases
    }
    assert len(keys) == steps
