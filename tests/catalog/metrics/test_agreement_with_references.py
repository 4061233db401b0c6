"""Metrics give what the field's reference implementations give, to the last bit.

Generated and real texts are compared directly here; the whole way through a run, a store and
another process is ``tests/catalog/metrics/test_agreement_of_runs.py``.

Covers: themis.catalog.metrics.match, themis.catalog.metrics.math, themis.catalog.metrics.overlap,
themis.catalog.metrics.rouge, themis.catalog.metrics.squad, themis.catalog.metrics.translation
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein as ReferenceLevenshtein
from sacrebleu.metrics import BLEU, CHRF, TER

from tests.support.pairs import formula_pairs, math_pairs, math_verify_says, text_pairs
from themis.catalog.metrics import squad
from themis.catalog.metrics.match import ExactMatch
from themis.catalog.metrics.overlap import F1, Levenshtein
from themis.catalog.metrics.rouge import rouge, tokens
from themis.catalog.metrics.translation import Bleu, Chrf, Ter
from themis.core.contexts import ScoreContext
from themis.core.models import Case, ParsedOutput, Score

ASCII = "the a an cat cats dog Dog, running ran generously . , U.S. 3.5 x-y THE & ' "
WORDS = st.sampled_from([*ASCII.split(" "), "élan", "日本", "ﬁ", "\u00a0", "İ"])
TEXTS = st.lists(WORDS, max_size=9).map(" ".join) | st.text(max_size=20)
LINES = st.lists(TEXTS, max_size=4).map("\n".join)
RIGHT = st.lists(TEXTS, min_size=1, max_size=3)
ROUGE = ["rouge1", "rouge2", "rouge3", "rougeL", "rougeLsum"]


@pytest.fixture
def score(score_context: Callable[[Case], ScoreContext]) -> Callable[..., Score]:
    def one(metric: Any, answer: Any, right: Any) -> Score:
        case = Case(case_id="case-1", input="q", expected_output=right)
        found = metric.score(ParsedOutput(value=answer), case, score_context(case))
        assert isinstance(found, Score), found
        if metric.value_range is not None:
            low, high = metric.value_range
            assert low <= found.value <= high
        return found

    return one


same = settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


# ── sacreBLEU ─────────────────────────────────────────────────────────────────────────────────────

BLEUS: list[dict[str, Any]] = [
    {},
    {"effective_order": False},
    {"smooth_method": "floor"},
    {"smooth_method": "add-k", "smooth_value": 2},
    {"smooth_method": "none", "lowercase": True},
    {"tokenize": "intl"},
    {"tokenize": "char", "max_ngram_order": 6},
    {"tokenize": "zh"},
    {"tokenize": "none", "max_ngram_order": 2},
]
CHRFS: list[dict[str, Any]] = [
    {},
    {"word_order": 2},
    {"beta": 3, "char_order": 4, "lowercase": True},
    {"whitespace": True, "eps_smoothing": True},
]
TERS: list[dict[str, Any]] = [
    {},
    {"normalized": True, "case_sensitive": True},
    {"no_punct": True, "asian_support": True, "normalized": True},
]
SACRE = [
    *((Bleu, BLEU, {"effective_order": True, **params}) for params in BLEUS),
    *((Chrf, CHRF, params) for params in CHRFS),
    *((Ter, TER, params) for params in TERS),
]


@pytest.mark.parametrize(("ours", "theirs", "params"), SACRE)
@given(answer=TEXTS, right=RIGHT)
@same
def test_sacrebleus_sentence_scores_are_given_to_the_last_bit(
    score: Any, ours: Any, theirs: Any, params: dict[str, Any], answer: str, right: list[str]
) -> None:
    reference = theirs(**params)
    expected = reference.sentence_score(answer, right)
    found = score(ours(**params), answer, right)
    assert found.value == expected.score
    assert found.details["signature"] == str(reference.get_signature())


@pytest.mark.parametrize(("ours", "theirs", "params"), SACRE)
def test_statistics_of_cases_add_up_to_sacrebleus_corpus_score(
    score: Any, ours: Any, theirs: Any, params: dict[str, Any]
) -> None:
    pairs = [(pair.answer, pair.right[0]) for pair in text_pairs(60, seed=3)]
    details = [score(ours(**params), answer, right).details for answer, right in pairs]
    sums = [sum(column) for column in zip(*(one["statistics"] for one in details), strict=True)]
    reference = theirs(**params)
    corpus = reference.corpus_score([one for one, _ in pairs], [[one for _, one in pairs]])
    assert ours(**params).reference()._compute_score_from_stats(sums).score == corpus.score
    assert {one["signature"] for one in details} == {str(reference.get_signature())}


@pytest.mark.parametrize(("ours", "theirs"), [(Bleu, BLEU), (Chrf, CHRF), (Ter, TER)])
def test_real_texts_are_scored_as_sacrebleu_does(score: Any, ours: Any, theirs: Any) -> None:
    more = {"effective_order": True} if theirs is BLEU else {}
    for pair in text_pairs(120, seed=1):
        expected = theirs(**more).sentence_score(pair.answer, pair.right).score
        assert score(ours(), pair.answer, pair.right).value == expected


# ── SQuAD: the logic of the official scripts, from their published definition ─────────────────────


def normalize_answer(text: str) -> str:
    text = text.lower()
    text = "".join(char for char in text if char not in set(string.punctuation))
    text = re.sub(r"\b(a|an|the)\b", " ", text)
    return " ".join(text.split())


def f1_of_1_1(answer: str, right: str) -> float:
    given_tokens, right_tokens = normalize_answer(answer).split(), normalize_answer(right).split()
    same_tokens = sum((Counter(given_tokens) & Counter(right_tokens)).values())
    if same_tokens == 0:
        return 0
    precision, recall = same_tokens / len(given_tokens), same_tokens / len(right_tokens)
    return (2 * precision * recall) / (precision + recall)


def f1_of_2_0(answer: str, right: str) -> float:
    given_tokens, right_tokens = normalize_answer(answer).split(), normalize_answer(right).split()
    if len(given_tokens) == 0 or len(right_tokens) == 0:
        return int(given_tokens == right_tokens)
    return f1_of_1_1(answer, right)


@given(answer=TEXTS, right=RIGHT)
@same
def test_squads_scores_are_given_to_the_last_bit(score: Any, answer: str, right: list[str]) -> None:
    assert squad.normalise(answer) == normalize_answer(answer)
    kept = [one for one in right if normalize_answer(one)] or [""]
    assert score(F1(), answer, right).value == max(f1_of_2_0(answer, one) for one in kept)
    assert score(F1(version="1.1"), answer, right).value == max(
        f1_of_1_1(answer, one) for one in right
    )
    exact = max(normalize_answer(answer) == normalize_answer(one) for one in right)
    assert score(ExactMatch(normalize="squad"), answer, right).value == exact


def test_a_question_without_an_answer_wants_none(score: Any) -> None:
    assert score(F1(), "", []).value == score(ExactMatch(normalize="squad"), "", []).value == 1
    assert score(F1(), "x", []).value == score(ExactMatch(normalize="squad"), "x", []).value == 0


# ── rouge-score ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def scorers() -> dict[bool, Any]:
    from rouge_score.rouge_scorer import RougeScorer

    return {stemmer: RougeScorer(ROUGE, use_stemmer=stemmer) for stemmer in (False, True)}


@pytest.mark.parametrize("stemmer", [False, True])
@given(answer=LINES, right=LINES)
@same
def test_rouge_scores_are_given_to_the_last_bit(
    scorers: dict[bool, Any], stemmer: bool, answer: str, right: str
) -> None:
    expected = scorers[stemmer].score(right, answer)
    for variant in ROUGE:
        assert rouge(answer, right, variant, stemmer=stemmer) == tuple(expected[variant])


@pytest.mark.parametrize("stemmer", [False, True])
def test_real_texts_are_scored_as_rouge_score_does(
    scorers: dict[bool, Any], score: Any, stemmer: bool
) -> None:
    from themis.catalog.metrics.rouge import Rouge

    for pair in text_pairs(150, seed=2):
        expected = scorers[stemmer].score_multi(pair.right, pair.answer)
        for variant in ROUGE:
            for measure in ("fmeasure", "precision", "recall"):
                metric = Rouge(variant=variant, stemmer=stemmer, measure=measure)
                found = score(metric, pair.answer, pair.right)
                assert found.value == getattr(expected[variant], measure)


@given(st.text())
def test_texts_have_the_tokens_that_rouge_score_gives_them(text: str) -> None:
    from rouge_score.tokenizers import DefaultTokenizer

    assert tokens(text) == DefaultTokenizer().tokenize(text)
    assert tokens(text, stemmer=True) == DefaultTokenizer(use_stemmer=True).tokenize(text)


# ── Levenshtein, exact_match as Hugging Face has it ───────────────────────────────────────────────


@given(answer=st.text(max_size=12), right=st.lists(st.text(max_size=12), min_size=1, max_size=3))
@same
def test_similarities_are_rapidfuzzs(score: Any, answer: str, right: list[str]) -> None:
    expected = max(ReferenceLevenshtein.normalized_similarity(answer, one) for one in right)
    assert score(Levenshtein(), answer, right).value == expected


def hugging_face_exact_match(answer: str, right: str, patterns: list[str], **flags: bool) -> bool:
    for pattern in patterns:
        answer, right = re.sub(pattern, "", answer), re.sub(pattern, "", right)
    if flags["ignore_case"]:
        answer, right = answer.lower(), right.lower()
    if flags["ignore_punctuation"]:
        table = str.maketrans("", "", string.punctuation)
        answer, right = answer.translate(table), right.translate(table)
    if flags["ignore_numbers"]:
        table = str.maketrans("", "", string.digits)
        answer, right = answer.translate(table), right.translate(table)
    return answer == right


@given(
    st.text("aA1.,$ #", max_size=8),
    st.text("aA1.,$ #", max_size=8),
    st.sampled_from([[], [",", r"\$", r"(?s).*#### ", r"\.$"]]),
    st.fixed_dictionaries(
        {f"ignore_{what}": st.booleans() for what in ("case", "punctuation", "numbers")}
    ),
)
@same
def test_what_exact_match_ignores_is_what_hugging_faces_does(
    score: Any, answer: str, right: str, patterns: list[str], flags: dict[str, bool]
) -> None:
    metric = ExactMatch(regexes_to_ignore=patterns, **flags)
    expected = hugging_face_exact_match(answer, right, patterns, **flags)
    assert score(metric, answer, right).value == expected


# ── Math-Verify ───────────────────────────────────────────────────────────────────────────────────


def test_mathematical_answers_are_judged_as_math_verify_does(score: Any) -> None:
    from themis.catalog.metrics.math import MathEquivalence

    metric = MathEquivalence()
    for pair in math_pairs(150, seed=4):
        verdict = math_verify_says(pair.right[0], pair.answer)
        assert score(metric, pair.answer, pair.right).value == verdict, pair


def test_formulas_are_compared_whole_and_never_by_their_last_part(score: Any) -> None:
    from math_verify import parse, verify

    from themis.catalog.metrics.math import MathEquivalence

    metric = MathEquivalence()
    for pair in formula_pairs(60, seed=5):
        found = score(metric, pair.answer, pair.right).value
        verdict = verify(parse(f"${pair.right}$"), parse(f"${pair.answer}$"))
        assert found == verdict or (found == pair.same and pair.kind == "mixed number"), pair
