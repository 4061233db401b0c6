"""What is sent, what of it is identity, and what a refusal means: without sending anything."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest

from themis.adapters import openai, vllm
from themis.adapters.failures import provider_error, retry_after
from themis.core.contexts import GenerateContext
from themis.core.errors import DefinitionError
from themis.core.models import Case
from themis.core.prompts import Example, PromptSpec

Context = Callable[..., GenerateContext]
TEXT = Case(case_id="case-1", input="What is 2+2?")


# ── request bodies ────────────────────────────────────────────────────────────────────────────────

SPEC = PromptSpec(instructions="Be brief.", prefix="Q:", suffix="A:")
TURNS = PromptSpec(examples=[Example(input="1+1", output="2")])
CHAT = [{"role": "system", "content": "You add."}, {"role": "user", "content": "2+2"}]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "2+2"}]}]


@pytest.mark.parametrize(
    ("given", "spec", "own", "body"),
    [
        ("2+2", None, None, {"input": "2+2"}),
        (4, None, None, {"input": "4"}),
        ("2+2", SPEC, None, {"input": "Q:\n2+2\nA:", "instructions": "Be brief."}),
        ("2+2", SPEC, "You add.",
         {"input": "Q:\n2+2\nA:", "instructions": "You add.\n\nBe brief."}),
        ("2+2", SPEC, "Be brief.", {"input": "Q:\n2+2\nA:", "instructions": "Be brief."}),
        (CHAT, None, "Be brief.", {"input": CHAT, "instructions": "Be brief."}),
        (PARTS, None, None, {"input": [
            {"role": "user", "content": [{"type": "input_text", "text": "2+2"}]}]}),
        ("2+2", TURNS, None, {"input": [
            {"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"},
            {"role": "user", "content": "2+2"}]}),
    ],
)  # fmt: skip
def test_the_body_for_the_responses_api(
    context: Context, given: Any, spec: Any, own: Any, body: Any
) -> None:
    generator = openai("m", client=object(), instructions=own)
    case = Case(case_id="case-1", input=given)
    assert generator.request(case, context(prompt_spec=spec)) == {"model": "m", **body}


SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    ("given", "spec", "messages"),
    [
        ("2+2", None, [{"role": "user", "content": "2+2"}]),
        ("2+2", SPEC, [SYSTEM, {"role": "user", "content": "Q:\n2+2\nA:"}]),
        (CHAT, SPEC, [{"role": "system", "content": "Be brief.\n\nYou add."},
                      {"role": "user", "content": "Q:\n2+2\nA:"}]),
        (PARTS, SPEC, [SYSTEM, {"role": "user", "content": [
            {"type": "text", "text": "Q:"}, {"type": "text", "text": "2+2"},
            {"type": "text", "text": "A:"}]}]),
        ("2+2", TURNS, [{"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"},
                        {"role": "user", "content": "2+2"}]),
    ],
)  # fmt: skip
def test_the_body_for_chat_completions(
    context: Context, given: Any, spec: Any, messages: Any
) -> None:
    generator = openai("m", client=object(), api_mode="chat_completions")
    case = Case(case_id="case-1", input=given)
    assert generator.request(case, context(prompt_spec=spec)) == {
        "model": "m",
        "messages": messages,
        "seed": 7,
    }


FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}


@pytest.mark.parametrize(
    ("make", "mode", "sent"),
    [
        (openai, "responses", {"max_output_tokens": 5, "reasoning": {"effort": "low"}, "text": {
            "format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}}}),
        (openai, "chat_completions", {"max_completion_tokens": 5, "reasoning_effort": "low",
                                      "response_format": FORMAT, "seed": 7}),
        (vllm, "chat_completions", {"max_tokens": 5, "reasoning_effort": "low",
                                    "response_format": FORMAT, "seed": 7}),
    ],
)  # fmt: skip
def test_sampling_goes_by_the_names_of_the_api(
    context: Context, make: Any, mode: str, sent: Any
) -> None:
    sampling = {"max_tokens": 5, "reasoning_effort": "low", "response_format": FORMAT}
    generator = make("m", base_url="http://h/v1", client=object(), api_mode=mode, sampling=sampling)
    body = generator.request(TEXT, context())
    assert {name: body[name] for name in body if name not in ("model", "input", "messages")} == sent


@pytest.mark.parametrize(
    ("sampling", "said"),
    [
        ({"seed": 1}, "sampling.seed is not yours to set: use the experiment's seeds"),
        ({"n": 2}, "num_samples"),
        ({"max_tokens": 1, "max_output_tokens": 2}, "twice"),
        ({"api_key": "x"}, "looks like a secret"),
        ({"stop": {"a"}}, "not a JSON value"),
    ],
)
def test_sampling_that_cannot_be_meant_is_refused(sampling: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        openai("m", client=object(), sampling=sampling)


# ── identity ──────────────────────────────────────────────────────────────────────────────────────


def _print(**arguments: Any) -> str:
    return openai("m", **{"client": object(), "base_url": "http://h/v1", **arguments}).fingerprint()


def test_the_fingerprint_covers_what_changes_an_answer_and_nothing_else() -> None:
    plain = _print()
    same: list[dict[str, Any]] = [
        {"api_key": "other"}, {"base_url": "HTTP://H:80/v1/"}, {"base_url": "http://u:p@h/v1?x=1"},
    ]  # fmt: skip
    assert [_print(**more) for more in same] == [plain] * len(same)
    others: list[dict[str, Any]] = [
        {"base_url": "http://h/v2"}, {"api_mode": "chat_completions"}, {"instructions": "x"},
        {"sampling": {"temperature": 0}}, {"model_id": "llama@1"}, {"input_builder": _shout},
    ]  # fmt: skip
    found = [_print(**more) for more in others]
    assert len({plain, *found}) == len(others) + 1
    assert _print(sampling={"max_tokens": 4}) == _print(sampling={"max_output_tokens": 4})


def _shout(case: Case) -> str:
    return str(case.input).upper()


def test_what_is_served_may_be_named_in_place_of_the_address() -> None:
    here = _print(model_id="llama@1")
    assert _print(model_id="llama@1", base_url="http://elsewhere/v1") == here


def test_the_environments_address_is_part_of_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://proxy/v1")
    there = openai("m", client=object())
    monkeypatch.delenv("OPENAI_BASE_URL")
    here = openai("m", client=object())
    assert there.base_url == "http://proxy/v1"
    assert here.base_url == "https://api.openai.com/v1"
    assert there.fingerprint() != here.fingerprint()


def test_what_is_read_of_a_case_follows_from_the_input_builder(context: Context) -> None:
    assert openai("m", client=object()).reads == {"input"}
    shouting = openai("m", client=object(), input_builder=_shout)
    assert shouting.reads == {"input", "expected_output", "metadata"}
    assert shouting.request(TEXT, context())["input"] == "WHAT IS 2+2?"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"api_mode": "chat"}, "api_mode = 'chat'"),
        ({"base_url": "localhost:8000"}, "must be an address such as"),
        ({"client": None, "client_options": {"header": {}}}, "did you mean 'headers'"),
        ({"client_options": {"timeout": 1}}, "set them on the client given"),
        ({"fingerprint": "x"}, "there is none"),
        ({"input_builder": print}, "give fingerprint='...'"),
    ],
)
def test_an_argument_that_cannot_be_meant_is_refused(arguments: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        openai("m", **{"client": object(), **arguments})


async def test_a_builders_result_that_is_no_json_value_is_refused(context: Context) -> None:
    generator = openai("m", client=object(), input_builder=lambda case: {1, 2})
    with pytest.raises(DefinitionError, match="what input_builder returned is set"):
        await generator.generate(TEXT, context())


def test_prompt_tokens_are_estimated_from_the_rendered_prompt(context: Context) -> None:
    generator = openai("m", client=object(), instructions="abcd")
    assert generator.estimate_tokens(TEXT, context()) == 4


def test_a_generator_shows_no_secret() -> None:
    generator = openai("m", client=object(), base_url="http://user:pw@h/v1", api_key="sk-1")
    shown = repr(generator) + generator.base_url + generator.provider_key
    assert "pw" not in shown
    assert "sk-1" not in shown


# ── failures ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "2.5"}, 2.5), ({"retry-after": "-1"}, 0), ({"retry-after-ms": "20"}, 0.02),
        ({"retry-after": formatdate(1000, usegmt=True)}, 10), ({"retry-after": "soon"}, None),
        ({"retry-after": formatdate(900, usegmt=True)}, 0), ({}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m0.5s"}, 60.5),
        ({"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "1m"}, None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "later"}, None),
    ],
)  # fmt: skip
def test_the_time_to_wait_is_read_from_the_headers(headers: Any, seconds: float | None) -> None:
    assert retry_after(headers, now=990) == (seconds if seconds is None else pytest.approx(seconds))


def test_another_clients_error_is_read_by_its_shape() -> None:
    class OwnError(Exception):
        status_code = 429
        response = SimpleNamespace(headers={"retry-after": "1"})

    found = provider_error(OwnError("slow"), endpoint="here")
    assert found is not None
    assert (found.status, found.retryable, found.retry_after) == (429, True, 1.0)
    assert provider_error(ValueError("mine"), endpoint="here") is None
