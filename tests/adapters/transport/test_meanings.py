"""The table of meanings, a row at a time, and what is read for it out of what endpoints say.

Covers: themis.adapters.transport.endpoint_errors, themis.adapters.transport.endpoint_words,
themis.adapters.transport.meanings
"""

from __future__ import annotations

from typing import Any

import pytest

from themis.adapters.transport.endpoint_errors import RefusedError, error_in_body, status_error
from themis.adapters.transport.endpoint_words import told_by
from themis.adapters.transport.meanings import (
    ERRORS,
    REASONS,
    STATES,
    Meaning,
    Rule,
    Told,
    meaning_of_error,
    meaning_of_state,
    names_a_setting,
    reason_of,
    rule_for,
    told_reason,
)

CODES = [(rule, code) for rule in ERRORS for code in sorted(rule.codes)]
PHRASES = [
    (Meaning.REFUSED, "The prompt triggered Azure OpenAI's content management policy."),
    (Meaning.REFUSED, "Invalid prompt: it was flagged as potentially violating our usage policy."),
    (Meaning.REFUSED, "Your request was rejected as a result of our safety system."),
    (Meaning.REFUSED, "Content violates usage guidelines."),
    (Meaning.REFUSED, "Content Exists Risk"),
    (Meaning.REFUSED, "The request was rejected because it was considered high risk"),
    (Meaning.REFUSED, "Blocked by content filter"),
    (Meaning.OF_ITS_CASE, "This model's maximum context length is 4096 tokens."),
    (Meaning.OF_ITS_CASE, "the request exceeds the available context size"),
    (Meaning.OF_ITS_CASE, "prompt is too long: 9 tokens > 8 maximum"),
    (Meaning.OF_ITS_CASE, "The input contains too many tokens"),
    (Meaning.OF_ITS_CASE, "max_model_len is 4096"),
    (Meaning.OF_THE_ACCOUNT, "The model `x` does not exist or you do not have access to it."),
    (Meaning.OF_THE_ACCOUNT, 'model "a/b:c" not found, try pulling it first'),
    (Meaning.OF_THE_ACCOUNT, "Unknown model: x"),
    (Meaning.OF_THE_ACCOUNT, "Invalid model name passed in model=x"),
    (Meaning.OF_THE_ACCOUNT, "x is not a valid model ID"),
    (Meaning.OF_THE_ACCOUNT, "No endpoints found for x."),
    (Meaning.OF_THE_ACCOUNT, "The API deployment for this resource does not exist."),
    (Meaning.OF_THE_ACCOUNT, "Insufficient Balance"),
    (Meaning.OF_THE_ACCOUNT, "Incorrect API key provided"),
    (Meaning.OF_ITS_CASE, "The image was not found."),
    (Meaning.OF_ITS_CASE, "bad request"),
]


@pytest.mark.parametrize(("rule", "code"), CODES, ids=[code for _, code in CODES])
def test_a_code_decides_however_it_is_spelled(rule: Rule, code: str) -> None:
    camel = "".join(part.capitalize() for part in code.split("_"))
    for one in (code, code.upper(), camel, code.replace("_", "-")):
        for status in (None, 400, 429):
            told = Told(words="no", codes=frozenset({one}), status=status)
            assert meaning_of_error(told) is rule.meaning


@pytest.mark.parametrize(("meaning", "words"), PHRASES, ids=[words for _, words in PHRASES])
def test_words_decide_where_there_is_no_code(meaning: Meaning, words: str) -> None:
    assert meaning_of_error(Told(words=words, status=400)) is meaning
    # A server that breaks down while it says so has broken down.
    assert meaning_of_error(Told(words=words, status=500)) is Meaning.PASSING


@pytest.mark.parametrize(
    ("statuses", "meaning"),
    [
        ((401, 402), Meaning.OF_THE_ACCOUNT),
        ((301, 302, 307, 308, 403, 404, 405, 410, 501, 505, 511), Meaning.OF_ALL),
        ((400, 406, 411, 413, 415, 422, 451), Meaning.OF_ITS_CASE),
        ((408, 409, 424, 425, 429, 499, 500, 502, 503, 504), Meaning.PASSING),
        (tuple(range(520, 531)), Meaning.PASSING),
        ((598, 599), Meaning.PASSING),
    ],
)
def test_a_status_decides_where_nothing_else_does(
    statuses: tuple[int, ...], meaning: Meaning
) -> None:
    assert {meaning_of_error(Told(words="", status=one)) for one in statuses} == {meaning}


@pytest.mark.parametrize(
    ("param", "meaning"),
    [
        ("temperature", Meaning.OF_ALL), ("reasoning.effort", Meaning.OF_ALL),
        ("tools[0].function", Meaning.OF_ALL), ("model", Meaning.OF_THE_ACCOUNT),
        ("messages[1].content", Meaning.OF_ITS_CASE), ("input", Meaning.OF_ITS_CASE),
        ("prompt", Meaning.OF_ITS_CASE), (None, Meaning.OF_ITS_CASE),
    ],
)  # fmt: skip
def test_a_setting_is_every_cases_and_a_part_of_the_prompt_one_cases(
    param: str | None, meaning: Meaning
) -> None:
    assert meaning_of_error(Told(words="no", status=400, param=param)) is meaning
    assert names_a_setting(param) is (meaning is not Meaning.OF_ITS_CASE)


def test_an_error_in_the_midst_of_an_answer_passes_unless_it_says_otherwise() -> None:
    assert meaning_of_error(Told(words="lost", begun=True)) is Meaning.PASSING
    assert meaning_of_error(Told(words="lost")) is Meaning.OF_ITS_CASE
    assert meaning_of_error(Told(words="lost", begun=True, status=400)) is Meaning.OF_ITS_CASE
    assert rule_for(Told(words="anything")) is ERRORS[-1]


@pytest.mark.parametrize("word", sorted(REASONS))
def test_a_word_for_an_end_is_known_in_any_spelling(word: str) -> None:
    for one in (word, word.upper(), word.replace("_", "-"), f" {word} "):
        assert reason_of(one) == REASONS[word]
    assert told_reason(reason_of(word)) is None


@pytest.mark.parametrize("word", ["abort", "pause_turn", "OTHER", "language"])
def test_another_word_is_kept_and_told(word: str) -> None:
    reason = reason_of(word)
    assert reason is not None
    assert (reason.word, reason.meaning) == (word.lower(), Meaning.UNKNOWN)
    assert f"'{word.lower()}'" in str(told_reason(reason))


def test_states_are_known_and_others_told() -> None:
    assert {state: meaning_of_state(state) for state in STATES} == dict(STATES)
    assert meaning_of_state("paused") is Meaning.UNKNOWN
    assert meaning_of_state(None) is None
    assert reason_of("") is reason_of(None) is reason_of(3) is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": "no"}, "no"),
        ({"error": {"message": "no\nway"}}, "no way"),
        ({"error": ["one", {"message": "two"}]}, "one; two"),
        ({"detail": "no"}, "no"),
        ({"detail": [{"loc": ["body", "x"], "msg": "bad"}, {"msg": "worse"}]},
         "body.x: bad; worse"),
        ({"message": {"detail": [{"loc": ["body", "seed"], "msg": "bad"}]}}, "body.seed: bad"),
        ({"message": "no"}, "no"),
        ({"errors": [{"title": "A", "detail": "b"}]}, "A: b"),
        ({"title": "Bad", "detail": "why", "status": 400}, "Bad: why"),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": '{"error": "x"}'}}},
         "Provider returned error: x"),
        ({"error": {"code": "gone"}}, "gone"),
        ({"x": 1}, '{"x": 1}'),
        (b"plain\ntext", "plain text"),
        (b"<html><title>A &amp; B</title><h1>C</h1>d", "A & B: C"),
        (b"<!DOCTYPE html><style>x</style><p>Only <b>this</b></p>", "Only this"),
        (b"", "nothing more"),
        ({}, "nothing more"),
        ([{"error": {"message": "in a list", "code": 400}}], "in a list"),
    ],
)  # fmt: skip
def test_what_an_endpoint_says_is_read_in_whatever_form(body: Any, words: str) -> None:
    assert told_by(body, status=400).words == words


def test_a_number_for_a_code_is_a_status_where_there_is_none() -> None:
    for code in (404, "404"):
        assert told_by({"error": {"code": code, "message": "no"}}).status == 404
    assert told_by({"error": {"code": "404"}}, status=500).status == 500
    assert told_by({"error": {"code": 1301}}).status is None


def test_a_refusal_by_an_error_is_a_result_and_has_its_words() -> None:
    for error in (
        status_error(400, headers={}, body={"error": {"code": "content_filter", "message": "no"}},
                     endpoint="it"),
        error_in_body({"code": "invalid_prompt", "message": "no"}, endpoint="it"),
    ):  # fmt: skip
        assert isinstance(error, RefusedError)
        assert (error.said, error.retryable, error.fatal) == ("no", False, False)


def test_a_page_that_is_not_found_asks_for_the_address_and_a_model_does_not() -> None:
    def said(body: Any) -> str:
        return str(status_error(404, headers={}, body=body, endpoint="it", hint=" Usually /v1"))

    assert said({"detail": "Not Found"}).endswith("Not Found (is the address right? Usually /v1)")
    assert said(b"404 page not found").endswith("(is the address right? Usually /v1)")
    for body in ({"error": "model 'm' not found"}, {"error": {"code": "model_not_found"}}):
        assert "address" not in said(body)
