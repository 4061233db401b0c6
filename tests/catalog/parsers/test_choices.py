"""The chosen letter is read out of prose, or refused; it is never guessed.

Covers: themis.catalog.parsers.choices, themis.catalog.parsers.text
"""

from __future__ import annotations

import re
import string
from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.growth import assert_linear
from themis.catalog.parsers.choices import read_choice
from themis.catalog.parsers.text import ChoiceLetter
from themis.core.contexts import ParseContext
from themis.core.errors import ParseError
from themis.core.models import GenerationResult

CLEAR = [
    ("C", "C"),
    ("c", "C"),
    ("(C)", "C"),
    ("C.", "C"),
    ("**C**", "C"),
    ("`C`", "C"),
    ("'C'", "C"),
    ("[C]", "C"),
    ("C)", "C"),
    ("A", "A"),
    ("C) Paris", "C"),
    ("C. Paris", "C"),
    ("C: Paris", "C"),
    ("(c) Paris", "C"),
    ("c) paris", "C"),
    ("c. paris", "C"),
    ("C - Paris", "C"),
    ("C – Paris", "C"),
    ("C, because Paris is the capital", "C"),
    ("C because Paris", "C"),
    ("C (Paris)", "C"),
    ("I think C is right. A tough one", "C"),
    ("the answer is (b)", "B"),
    ("The answer is B.", "B"),
    ("Answer: D", "D"),
    ("answer:d", "D"),
    ("ANSWER: D", "D"),
    ("\\boxed{A}", "A"),
    ("The answer is $\\boxed{\\text{A}}$.", "A"),
    ("\\boxed{\\textbf{(B)}}", "B"),
    ("The correct answer is **C) Paris**.", "C"),
    ("The correct option is C", "C"),
    ("The answer is option C", "C"),
    ("The answer is C Paris", "C"),
    ("Final answer: B", "B"),
    ("The answer is A. Hmm, wait. Final answer: B", "B"),
    ("A\n\nBecause the sky is blue.", "A"),
    ("#### C", "C"),
    ("I choose B.", "B"),
    ("I'd go with b", "B"),
    ("I'll pick (a)", "A"),
    ("Option C seems best", "C"),
    ("Option A seems best", "A"),
    ("It's C.", "C"),
    ("Definitely D", "D"),
    ("Therefore, C.", "C"),
    ("So the answer must be E", "E"),
    ("The answer to the question is C", "C"),
    ("The answer to question 3 is: C", "C"),
    ('{"answer": "B"}', "B"),
    ("<answer>C</answer>", "C"),
    ("The answer is 'C'", "C"),
    ('The answer is "C" because', "C"),
    ("Options:\nA) x\nB) y\nThe answer is B", "B"),
    ("It's not B, it's C", "C"),
    ("B is wrong, C is right", "C"),
    ("B is wrong. C is correct.", "C"),
    ("Between B and C, I pick C", "C"),
    ("My answer is a", "A"),
    ("Ａ", "A"),
    ("The answer is E, a mammal", "E"),
    ("The answer is B, I think", "B"),
    ("The answer is B and I am sure", "B"),
    ("C\nExplanation: A is wrong because it is not B", "C"),
    ("I believe that the correct answer is A", "A"),
    ("A is correct", "A"),
    ("A is the right answer", "A"),
    ("I was not sure, but the answer is C", "C"),
    ("I'm not sure, the answer is C", "C"),
    ("There is no doubt the answer is C", "C"),
    ("If the answer is A, then pigs fly. The answer is C", "C"),
    ("Reasoning: a tough one. Answer: **B**", "B"),
    ("**B) London**", "B"),
    ("I'd say **B**, clearly", "B"),
    ("The answer is\n\nC", "C"),
    ("Let's think. Option A is wrong. Option B is wrong. So C.", "C"),
    ("I", "I"),
    ("I first thought the answer is A, but the answer is C", "C"),
    ("I would say the answer is clearly (D).", "D"),
    ("Answer\n\nC", "C"),
    ("The best choice is B: it floats", "B"),
    ("Choice b", "B"),
    ("Hence, (C).", "C"),
    ("I guess C", "C"),
    ("The answer is: A) 4", "A"),
    ("Not option A. Option B.", "B"),
    ("We can rule out A, leaving B.", "B"),
    ("Answer: A\nAnswer: A", "A"),
    ("B\n\nB", "B"),
    ("I think A, B and C are wrong, so the answer is D.", "D"),
    ("Consider each option:\n\nA) Bonn: incorrect.\nB) Paris.\n\nTherefore, the answer is B.", "B"),
    ("A. Berlin\nB. Paris\n\nAnswer: B. Paris", "B"),
    ("The answer is “B”", "B"),
    ("The answer is B rather than A", "B"),
    ("The right answer is B, not A", "B"),
    ("C seems to be right", "C"),
    ("1. B", "B"),
    ("Correct: B", "B"),
    ("Is it A? No, it's B.", "B"),
    ("A? B? C? I say C.", "C"),
    ("It can't be A, so B.", "B"),
    (r"\boxed{\text{(C) } 42}", "C"),
    (r"\[\boxed{B}\]", "B"),
    ("Final Answer: The final answer is (B). I hope it is correct.", "B"),
    ("Vitamin B is key, so C.", "C"),
    ("[[B]]", "B"),
    ('{"answer": "b", "why": "A is wrong"}', "B"),
]

SAID_BY_MODELS = [
    ("The correct answer is B) 1, 2, and 3.", "B"),
    ("Based on the passage, the answer would be option (d).", "D"),
    ("**Answer:** C", "C"),
    ("Answer: **(C)** mitochondria", "C"),
    ("The correct answer is: \n\n**D. All of the above**", "D"),
    ("A: 4", "A"),
    (
        "Each option:\nA) wrong: small.\nB) correct.\nC) no\n\nSo the correct choice is B.",
        "B",
    ),
    ("A. True", "A"),
    ("I'm torn between A and C, but I'll go with C.", "C"),
    ("It is not A or B. C is also incorrect. Therefore D.", "D"),
    ("The answer is D because A, B, and C are all true.", "D"),
    ("Correct answer: A", "A"),
    ("Option B: The sky is blue is the correct answer.", "B"),
    ("(B) is the correct answer, since (A) is too small.", "B"),
    ("I would choose option D.", "D"),
    ("The answer is \\textbf{C}.", "C"),
    ("My final answer is $\\boxed{\\text{D}}$", "D"),
    ("<think>Maybe A? Or is it B... B is better.</think>\nThe answer is C", "C"),
    ("C is the answer.", "C"),
    ("C is my answer.", "C"),
    ("C would be my choice.", "C"),
    ("Choose C.", "C"),
    ("D: None of these", "D"),
    ("The statement in option A is true, so A.", "A"),
    ("answer is: b.", "B"),
    ("I'm going with A on this one.", "A"),
    ("A seems right, but B fits better. Final: B", "B"),
    ("The best answer is therefore E.", "E"),
    ("Answer - C", "C"),
    ("Ans: C", "C"),
    ("Ans. (C)", "C"),
    ("答案：B", "B"),
    ("答案是B", "B"),
    ("正确答案是 C。", "C"),
    ("答案是B，因为A不对。", "B"),
    ("Antwort: B", "B"),
    ("Respuesta: B", "B"),
    ("Réponse : B", "B"),
    ("Ответ: B", "B"),
    ("The answer is (A), not (B).", "A"),
    ("Option (c) and option (d) are wrong; (a) contradicts; hence (b)", "B"),
    ("I believe it's A.", "A"),
    ("It would be B.", "B"),
    ("That would be C.", "C"),
    ("A and B are incorrect, C is partially correct, D is the most accurate.", "D"),
    ("We eliminate A and C. Between B and D, D is more accurate.", "D"),
    ("The answer: C. Photosynthesis", "C"),
    ("Solution: C", "C"),
    ("The right choice here would be (A).", "A"),
    ("The only option that works is C", "C"),
    ("C fits best.", "C"),
    ("C makes the most sense", "C"),
    ("I'd say the answer is A. But it could also be B.", "A"),
    ('{"answer": "C", "confidence": 0.9}', "C"),
    ("```\nC\n```", "C"),
    ("> C", "C"),
    ("Final answer: (C) 42 km/h", "C"),
    ("So the answer is choice number C", "C"),
    ("The answer is letter B.", "B"),
    ("I select answer choice B.", "B"),
    ("Answer choice C is correct.", "C"),
    ("Statement I is true, so B.", "B"),
    ("It's a trick question, but C.", "C"),
    ("C, since it is.", "C"),
    ("C!", "C"),
    ("Answer is C", "C"),
    ("ans is c", "C"),
    ("The correct one is B", "B"),
    ("The right one is B.", "B"),
    ("B is true.", "B"),
    ("B is the one.", "B"),
    ("Correct option: (B)", "B"),
    ("I pick C over D.", "C"),
    ("My choice: C", "C"),
    ("**Correct Answer: C**", "C"),
    ("### Answer\nC", "C"),
    ("The answer is **A**: it is", "A"),
    ("Answer: (A) Because the sky is blue", "A"),
    ("The answer is A) because", "A"),
    ("Thus the answer is A since a is smaller", "A"),
    ("The correct answer is A because it is", "A"),
    ("The correct answer is a because it is", "A"),
    ("The answer is\n**B**", "B"),
    ("The correct answer is option **B: Paris**.", "B"),
    ("Therefore, the correct answer is (C) $\\frac{1}{2}$.", "C"),
    ("Therefore, the answer is $\\text{(C)}$", "C"),
    ("Therefore, the answer is $C$.", "C"),
    ("The final answer is: $\\boxed{C}$", "C"),
    ("The final answer is $\\boxed{\\mathrm{C}}$", "C"),
    ("The final answer is \\boxed{C. Paris}", "C"),
    ("boxed{C}", "C"),
    ("ANSWER: C\n\nANSWER: C", "C"),
    ("Answer: C\n\nNot A or B.", "C"),
    ("Answer:\nB) 12", "B"),
    ("I can't determine the answer. A", "A"),
    ("B (Paris) is correct.", "B"),
    ("B) Paris is correct.", "B"),
    ("Paris (B)", "B"),
    ("Paris, which is option B", "B"),
    ("The capital is Paris, so the answer is B: Paris.", "B"),
    ("[ANSWER] C", "C"),
    ("[Answer]: C", "C"),
    ("Answer = C", "C"),
    ("Answer → C", "C"),
    ("Answer is option: C", "C"),
    ("The answer is: Option C", "C"),
    ("My answer: C", "C"),
    ("my answer would be c", "C"),
    ("User: question\nAssistant: C", "C"),
    ("C\n\nC is correct because A is false.", "C"),
    ("The answer is not A, it is B.", "B"),
    ("The answer isn't A but B.", "B"),
    ("Not A, B, or C; the answer is D", "D"),
    ("While A is tempting, the answer is B.", "B"),
    ("A is tempting. However, B is correct.", "B"),
    ("A might be right, but B is correct", "B"),
    ("Although some think A is correct, the correct answer is C.", "C"),
    ("(a)", "A"),
    ("a)", "A"),
    ("a.", "A"),
    ('"A"', "A"),
    ("'b'", "B"),
    ('Answer: "B"', "B"),
    ("The answer is `B`.", "B"),
    ("C. C is right", "C"),
    ("The answer is C, D is wrong", "C"),
    ("The answer is C; D would be wrong", "C"),
    ("Answer:B", "B"),
    ("Answer:(B)", "B"),
    ("Answer: B)", "B"),
    ("The answer is b) 42", "B"),
    ("The answer is (b) 42", "B"),
    ("B, I guess", "B"),
    ("Let me think... B", "B"),
    ("Sure! B", "B"),
    ("Sure, the answer is B!", "B"),
    ("Sure! The answer is: B", "B"),
    ("B\u200b", "B"),
    ("The correct answer is\xa0B", "B"),
    ("The correct answer is (B", "B"),
    ("Ⓑ", "B"),
    ("The answer is B…", "B"),
    ("Letter: B", "B"),
    ("option: b", "B"),
    ("Choice: B", "B"),
    ("Answer 3: B", "B"),
    ("3. B", "B"),
    ("Question 3: B", "B"),
    ("Q3: B", "B"),
    ("Q: What?\nA: B", "B"),
    ("A: B", "B"),
    ("Output: B", "B"),
    ("Result: B", "B"),
    ("Prediction: B", "B"),
    ("Label: B", "B"),
    ("Selected option: B", "B"),
    ("The answer to this question is A (4).", "A"),
    ("Of the options, A is the best.", "A"),
    ("Of these, only B is correct.", "B"),
]

NOTHING = [
    "A vs. B",
    "None of the above.",
    "Probably B?",
    "The correct answer is not listed.",
    "Vitamin A",
    "As a language model I can't answer",
    "A is incorrect. B is incorrect. D is incorrect.",
    "Sorry, I can't answer that.",
    "Answer: none of A, B, C",
    "Hmm... C?",
    "I don't know, maybe B",
    "Blood type: B",
    "Grade: A",
    "It would be a shame",
    "but a friend said so",
    "I like vitamin B more",
    "A while ago",
    "Some think a lot",
    "The result: a mess",
    "only B vitamins",
    "C++",
    "The answer is C#",
    "Hepatitis B",
    "I have type A blood",
    "I choose not to answer",
    "I cannot choose A or B",
    "As an AI, I cannot answer B",
    "Answer: I don't know",
    "Answer: none",
    "Answer: AB",
    r"\boxed{42}",
    "A tough one",
    "I think so",
    "I am not sure",
    "A bird in the hand",
    "The answer is a tough one",
    "",
    "   ",
    "Paris",
    "The answer is not B",
    "I don't think C is right",
    "B is wrong",
    "Option A is wrong",
    "Is C right?",
    "Maybe the answer is C?",
    "Vitamin C is important",
    "Vitamin C is the correct answer",
    "The answer is Vitamin C",
    "The answer is B cells",
    "An A-level question",
    "If the answer is A, pigs fly",
    "the answer I gave is long",
    "That is a good question",
    "I pick a number",
    "e.g. this",
    "f(A) = P(B)",
    "Let me choose a different way",
    "C's fault",
    "it is I who think",
    "C and D are both wrong",
    "The wrong answer is A",
    "The answer could be A or B",
]

AMBIGUOUS = [
    "Both (A) and (B)",
    "Answer: A, B",
    "Answer: A and C",
    "A\nB\nC\nD",
    "Select B and D.",
    "First, A is true. Second, B is true.",
    "The answer is A, B",
    "First choice: A. Second choice: B.",
    "The answer is either A or B",
    "Answer: A & B",
    "\\boxed{D}.\n\\boxed{C}",
    "The answer is A or B",
    "A or B",
    "A, B and C",
    "A and B are plausible",
    "The answer is a, b, or c",
    "The answer is A. The answer is B.",
    "I think B or C is right",
    "A) x\nB) y\nC) z",
    "(A) or (B)",
    "Answer: A/B",
    "Either B or D",
    "Both A and B are correct",
    "The answer is (A) and (C)",
]


@pytest.mark.parametrize(("text", "letter"), [*CLEAR, *SAID_BY_MODELS])
def test_a_clear_choice_is_read(text: str, letter: str) -> None:
    assert read_choice(text).letter == letter


@pytest.mark.parametrize("text", NOTHING)
def test_a_text_without_a_choice_is_refused(text: str) -> None:
    with pytest.raises(ParseError) as caught:
        read_choice(text)
    assert caught.value.reason == "nothing_found"


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_several_choices_are_ambiguous(text: str) -> None:
    with pytest.raises(ParseError) as caught:
        read_choice(text)
    assert caught.value.reason == "ambiguous"


@pytest.mark.parametrize(
    ("text", "choices", "letter"),
    [
        ("The answer is E", 5, "E"),
        ("E. coli lives there. Answer: B", 4, "B"),
        ("The answer is J", 10, "J"),
        ("(I) is correct", 10, "I"),
        ("Answer: y", "XYZ", "Y"),
    ],
)
def test_only_letters_on_offer_count(
    parse_context: ParseContext, text: str, choices: int | str, letter: str
) -> None:
    parser = ChoiceLetter(choices=choices)
    candidate = GenerationResult(candidate_id="c", final_output=text)
    assert parser.parse(candidate, parse_context).value == letter


def test_a_letter_that_is_not_on_offer_is_nothing(parse_context: ParseContext) -> None:
    candidate = GenerationResult(candidate_id="c", final_output="The answer is F.")
    with pytest.raises(ParseError):
        ChoiceLetter(choices=4).parse(candidate, parse_context)


@pytest.mark.parametrize("output", ["B", {"answer": "B"}, {"answer": "(b)"}, {"choice": "B"}])
def test_an_output_of_another_form_is_read_too(parse_context: ParseContext, output: object) -> None:
    candidate = GenerationResult(candidate_id="c", final_output=output)
    parsed = ChoiceLetter().parse(candidate, parse_context)
    assert (parsed.value, parsed.format) == ("B", "choice_letter")


def test_no_output_is_nothing_found(parse_context: ParseContext) -> None:
    candidate = GenerationResult(candidate_id="c", final_output=None)
    with pytest.raises(ParseError) as caught:
        ChoiceLetter().parse(candidate, parse_context)
    assert caught.value.reason == "nothing_found"


FORMS = [
    "{}", "({})", "**{}**", "{}.", "{}) the option", "Answer: {}", "The answer is {}.",
    "the correct answer is ({})", "\\boxed{{{}}}", "I choose {}.", "Option {} is correct.",
    "Some thoughts first.\n\nFinal answer: {}", "{} is the best answer.", "So the answer is {}!",
]  # fmt: skip


@given(st.sampled_from(FORMS), st.sampled_from(string.ascii_uppercase))
def test_every_letter_is_read_in_every_form(form: str, letter: str) -> None:
    assert read_choice(form.format(letter)).letter == letter


@given(st.text())
def test_any_text_gives_a_letter_that_stands_in_it_or_a_refusal(text: str) -> None:
    try:
        found = read_choice(text, "ABCDE")
    except ParseError:
        return
    assert found.letter in "ABCDE"


@given(st.lists(st.sampled_from(["A", "I", "a", "i", "tough", "one", "think", "it", "was", "not",
    "good", "is", "the", "answer", "so"]), min_size=2, max_size=8))  # fmt: skip
def test_articles_and_pronouns_in_running_words_are_no_letters(words: list[str]) -> None:
    text = " ".join([*words, "thing", "to", "say"])
    assume(re.search(r"\b[aAiI] is (the )?answer\b", text) is None)  # that names a letter
    with pytest.raises(ParseError):
        read_choice(text)


@pytest.mark.parametrize("text", ["A" * 200_000, "(A " * 50_000, "the answer is " * 20_000,
    "option " * 40_000, "* " * 100_000, "A, " * 50_000, "answer to " * 20_000,
    "answer: the the " * 5_000 + "the " * 20_000, "option A or " * 30_000,
    "A\n" * 50_000])  # fmt: skip
def test_long_texts_are_read_in_time_that_grows_with_their_length(text: str) -> None:
    def read(text: str) -> None:
        with suppress(ParseError):
            assert read_choice(text + "none of these").letter == "A"

    assert_linear(read, text)
