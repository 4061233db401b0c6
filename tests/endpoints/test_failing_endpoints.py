"""Endpoints that fail now and then: every case ends right, and the endpoint confirms how.

Covers: themis.adapters.transport.endpoint_errors, themis.execution.failures,
themis.execution.retries
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.endpoints.questions import model, number_of, questions
from tests.support.endpoint import (
    Asked,
    Endpoint,
    Reply,
    busy,
    dropped,
    empty_choices,
    error,
    hang,
    malformed,
    wait_headers,
    wrong_content_type,
)
from tests.support.runs import experiment
from themis.testing.scripted import CountingMetric

pytestmark = pytest.mark.network

FAULTS: list[tuple[Callable[[], Reply], int | None]] = [
    (busy, 429),
    (lambda: busy(0.02, form="milliseconds"), 429),
    (lambda: error(500), 500),
    (lambda: busy(status=503), 503),
    (lambda: dropped("before"), None),
    (lambda: dropped("middle"), None),
    (malformed, 200),
    (empty_choices, None),
]
"""What may happen to a first try, and the status that its history must name."""


@pytest.mark.parametrize(
    ("api_mode", "stream", "cases"),
    [
        ("chat_completions", False, 400),
        ("responses", False, 200),
        ("chat_completions", True, 200),
        ("responses", True, 200),
    ],
)
def test_one_first_try_in_five_fails_and_every_case_still_ends_right(
    api_mode: str, stream: bool, cases: int
) -> None:
    def fault(number: int) -> int | None:
        return number // 5 % len(FAULTS) if number % 5 == 0 else None

    def slow(number: int) -> bool:
        return cases == 400 and number in (1, 2, 3, 4)

    def script(asked: Asked) -> Reply | None:
        number = number_of(asked.question)
        if asked.nth > 1:
            return None
        if slow(number):
            return hang()
        found = fault(number)
        return None if found is None else FAULTS[found][0]()

    metric = CountingMetric(lambda value, case: value == case.expected_output)
    with Endpoint(script) as endpoint:
        result = experiment(
            model(endpoint, api_mode=api_mode, stream=stream),
            cases=questions(cases),
            metrics=[metric],
            generation_timeout=15.0,  # of which a busy machine uses up no part by itself
            generation_retry_delay=0.01,
        ).run()
        asked = endpoint.by_question()
        requests = len(endpoint.requests)
    assert result.status == "completed"
    rows = list(result.score_rows())
    assert [(row.case_id, row.outcome) for row in rows] == [
        (f"c{number}", "correct") for number in range(cases)
    ]
    assert sorted(metric.calls) == sorted(f"c{number}" for number in range(cases))
    tried = 0
    for number, case in enumerate(result.cases):
        (candidate,) = case.generated_candidates
        tries = (candidate.artifacts or {}).get("tries", [])
        tried += len(tries)
        assert asked[f"question {number}"] == 1 + len(tries)
        found = fault(number)
        if slow(number):
            assert [one["category"] for one in tries] == ["timeout"]
        elif found is None:
            assert tries == []
        else:
            assert [one.get("status") for one in tries] == [FAULTS[found][1]]
    assert requests == cases + tried
    assert tried >= cases // 5


def test_what_hangs_is_a_timeout_of_its_own_case_and_the_rest_is_scored() -> None:
    def script(asked: Asked) -> Reply | None:
        return hang() if number_of(asked.question) in (7, 50, 99) else None

    with Endpoint(script) as endpoint:
        result = experiment(
            model(endpoint),
            cases=questions(100),
            metrics=["builtin/exact_match"],
            generation_timeout=5.0,
            generation_retry_attempts=1,
            max_concurrent_tasks=8,
        ).run()
        assert endpoint.statuses() == {200: 97, 0: 3}
    assert result.status == "partial_failure"
    summary = result.metrics["builtin/exact_match"]
    assert (summary.n_scored, summary.n_errors) == (97, 3)
    errors = [row for row in result.score_rows() if row.outcome == "error"]
    assert [(row.case_id, row.error_category) for row in errors] == [
        ("c7", "timeout"),
        ("c50", "timeout"),
        ("c99", "timeout"),
    ]


def test_slow_bytes_are_an_answer_and_too_slow_ones_a_timeout() -> None:
    def script(asked: Asked) -> Reply | None:
        return Reply(spread={0: 0.1, 1: 60.0}[number_of(asked.question)])

    with Endpoint(script) as endpoint:
        result = experiment(
            model(endpoint),
            cases=questions(2),
            metrics=["builtin/exact_match"],
            generation_timeout=4.0,
            generation_retry_attempts=1,
        ).run()
    assert [row.error_category for row in result.score_rows()] == [None, "timeout"]


@pytest.mark.parametrize("fault", [malformed, wrong_content_type, empty_choices, dropped])
def test_what_stays_broken_is_tried_as_often_as_configured_and_is_then_an_error(
    fault: Callable[..., Reply],
) -> None:
    broken = fault("middle") if fault is dropped else fault()

    def script(asked: Asked) -> Reply | None:
        return broken if number_of(asked.question) == 1 else None

    with Endpoint(script) as endpoint:
        result = experiment(
            model(endpoint),
            cases=questions(3),
            metrics=["builtin/exact_match"],
            generation_retry_attempts=3,
        ).run()
        assert endpoint.by_question() == {"question 0": 1, "question 1": 3, "question 2": 1}
    assert [row.outcome for row in result.score_rows()] == ["correct", "error", "correct"]
    (failure,) = result.cases[1].generation_failures
    assert len(failure.tries) == 3
    assert "\n" not in failure.message


def test_a_request_that_is_refused_for_itself_is_sent_once() -> None:
    def script(asked: Asked) -> Reply | None:
        return error(400, "too long") if number_of(asked.question) == 1 else None

    with Endpoint(script) as endpoint:
        result = experiment(
            model(endpoint), cases=questions(3), metrics=["builtin/exact_match"]
        ).run()
        assert len(endpoint.requests) == 3
    assert [row.outcome for row in result.score_rows()] == ["correct", "error", "correct"]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date", "milliseconds", "x-ratelimit", "ratelimit"])
def test_an_endpoint_that_asks_to_wait_hears_nothing_until_then(form: str, status: int) -> None:
    seconds = 1.0 if form in ("seconds", "date") else 0.3

    def script(asked: Asked) -> Reply | None:
        return busy(seconds, form=form, status=status) if asked.number == 1 else None

    with Endpoint(script) as endpoint:
        result = experiment(model(endpoint), cases=questions(6), max_concurrent_tasks=1).run()
        assert result.status == "completed"
        refused = endpoint.requests[0].done_at or 0.0
        assert len(endpoint.requests) == 7
        assert min(one.at for one in endpoint.requests[1:]) - refused >= seconds


@pytest.mark.parametrize("form", ["x-ratelimit", "ratelimit"])
def test_an_endpoint_that_says_with_an_answer_that_nothing_remains_is_given_its_time(
    form: str,
) -> None:
    # Of a limit of one request, the next one's share is the whole time.
    headers = {
        name: "1" if "limit-requests" in name else value
        for name, value in wait_headers(0.3, form).items()
    }

    def script(asked: Asked) -> Reply | None:
        return Reply(headers=headers) if asked.number == 2 else None

    with Endpoint(script) as endpoint:
        experiment(model(endpoint), cases=questions(4), max_concurrent_tasks=1).run()
        answered = endpoint.requests[1].done_at or 0.0
        assert len(endpoint.requests) == 4
        assert endpoint.requests[2].at - answered >= 0.3
