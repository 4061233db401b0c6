"""What a text declares to be its answer is found in every language, and nothing that it denies.

Covers: themis.catalog.parsers.answer_phrases, themis.catalog.parsers.answers_in_text
"""

from __future__ import annotations

import pytest

from themis.catalog.parsers.answer_phrases import LANGUAGES
from themis.catalog.parsers.answers_in_text import declarations, declared_answers

DECLARED = [
    ("The answer is 18.", "18"),
    ("Answer - 18", "18"),
    ("Answer: -18", "-18"),
    ("A: 18", "18"),
    ("### Answer\n18", "18"),
    ("**Answer**: 18", "18"),
    ("#### 18", "18"),
    ("<answer>18</answer>", "18"),
    ("Die Antwort lautet 18.", "18"),
    ("La réponse est 18.", "18"),
    ("La respuesta es 18.", "18"),
    ("A resposta correta é 18.", "18"),
    ("La risposta è 18.", "18"),
    ("Ответ — 18.", "18"),
    ("Правильный ответ: 18", "18"),
    ("答案是18。", "18"),
    ("因此正确答案应该是 18", "18"),
    ("【答案】18", "18"),
    ("故选C", "C"),
    ("答えは 18", "18"),
    ("정답은 18", "18"),
    ("الإجابة: ب", "ب"),
    ("الإجابة النهائية هي 18", "18"),
    ("উত্তর: খ", "খ"),
    ("উত্তর হল 18।", "18"),
    ("सही उत्तर: 18", "18"),
    ("คำตอบคือ 18", "18"),
    ("Jibu ni 18.", "18"),
    ("సమాధానం 18", "18"),
    ("Cevap: 18", "18"),
    ("Đáp án là C", "C"),
    ("Final Answer: The final answer is 18. I hope it is correct.", "18"),
    ("I thought the answer is 5, but the answer is 18.", "18"),
    ("Is the answer 5? No, the answer is 18.", "18"),
    ("A: There are 15 trees, then 21. So 21 - 15 = 6. The answer is 6.", "6"),
]

DENIED = [
    "The answer is not 5",
    "The final answer is not 5",
    "If the answer is 5, pigs fly",
    "What is the answer? The answer is 5?",
    "Some think the answer is 5, which is odd",
    "The answer is 5 is wrong",
    "La respuesta no es 5",
    "La réponse n'est pas 5",
    "Die Antwort ist nicht 5",
    "Ответ: не 5",
    "答案不是5",
    "如果答案是5",
    "答えは5ではありません",
    "정답은 5이 아닙니다",
    "उत्तर 5 नहीं है",
    "الإجابة ليست: 5",
]


@pytest.mark.parametrize(("text", "answer"), DECLARED)
def test_a_declared_answer_is_found(text: str, answer: str) -> None:
    declared = declared_answers(text)
    assert declared is not None
    assert declared.answers == [answer]


@pytest.mark.parametrize("text", DENIED)
def test_what_is_denied_supposed_or_asked_about_is_not_declared(text: str) -> None:
    assert declared_answers(text) is None


@pytest.mark.parametrize("text", ["A: 4\nB: 5\nC: 6", "A: There are 15 trees.", "The answer"])
def test_a_list_of_options_and_prose_declare_nothing(text: str) -> None:
    assert declared_answers(text) is None


def test_a_final_answer_comes_before_one_that_is_said() -> None:
    for text in ("The answer is 3. The final answer is 4.", "La réponse est 3. #### 4"):
        declared = declared_answers(text)
        assert declared is not None
        assert (declared.rule, declared.answers) == ("final", ["4"])


def test_where_a_declaration_and_its_answer_begin_is_told() -> None:
    (found,) = declarations("So the answer is 18.")
    assert (found.tier, found.start, found.at, found.link) == ("said", 7, 17, "is")


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_colon_behind_any_language_s_word_for_an_answer_declares_it(name: str) -> None:
    word = LANGUAGES[name].nouns.split("|")[0].split("(")[0].replace(r"\s+", " ").removesuffix("s?")
    declared = declared_answers(f"{word}: 18")
    assert declared is not None
    assert declared.answers == ["18"]
