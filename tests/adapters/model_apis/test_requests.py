"""What is sent, what of it is identity, and what a refusal means: without sending anything.

Covers: themis.adapters.model_apis.api, themis.adapters.model_apis.openai_compatible,
themis.adapters.model_apis.prompt_tokens, themis.adapters.model_apis.sampling,
themis.adapters.prompting.content, themis.adapters.prompting.input_builder,
themis.adapters.prompting.messages, themis.adapters.transport.endpoint_errors,
themis.adapters.transport.rate_limit_headers
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from themis.adapters import openai, openai_judge, vllm
from themis.adapters.model_apis.prompt_tokens import IMAGE_TOKENS
from themis.adapters.transport.endpoint_errors import error_in_body, provider_error
from themis.adapters.transport.rate_limit_headers import rate_limit, retry_after
from themis.core.contexts import GenerateContext
from themis.core.errors import DefinitionError
from themis.core.judging import RenderedJudgePrompt
from themis.core.models import Case
from themis.core.prompts import Example, PromptSpec

Context = Callable[..., GenerateContext]
TEXT = Case(case_id="case-1", input="What is 2+2?")


async def _never(**_: Any) -> Any:
    raise AssertionError("nothing is sent here")


UNASKED = SimpleNamespace(
    responses=SimpleNamespace(create=_never),
    chat=SimpleNamespace(completions=SimpleNamespace(create=_never)),
)
"""A client for generators of which only the requests are looked at."""


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
    generator = openai("m", client=UNASKED, instructions=own)
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
    generator = openai("m", client=UNASKED, api_mode="chat_completions")
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
    generator = make("m", base_url="http://h/v1", client=UNASKED, api_mode=mode, sampling=sampling)
    body = generator.request(TEXT, context())
    assert {name: body[name] for name in body if name not in ("model", "input", "messages")} == sent


@pytest.mark.parametrize(
    ("sampling", "said"),
    [
        ({"seed": 1.0}, "sampling.seed = 1.0: must be a whole number"),
        ({"seed": True}, "must be a whole number"),
        (
            {"stream": True},
            "sampling.stream is not yours to set: use the adapter's argument stream=",
        ),
        ({"stream_options": {}}, "use the adapter's argument stream="),
        ({"previous_response_id": "r"}, "a sample is one request"),
        ({"n": 2}, "num_samples"),
        ({"max_tokens": 1, "max_output_tokens": 2}, "twice"),
        ({"api_key": "x"}, "sampling.api_key looks like a secret"),
        (
            {"tools": [{"type": "mcp", "headers": {"Authorization": "x"}}]},
            r"sampling.tools\[0\].headers.Authorization looks like a secret",
        ),
        ({"extra_headers": {"x-a": "b"}}, "use client_options="),
        ({"extra_body": {"top_k": 1}}, "write its parameters into sampling itself"),
        ({"timeout": 3}, "client_options="),
        ({"stop": {"a"}}, "not a JSON value"),
        ("hot", "sampling = 'hot': must be a mapping such as"),
        (None, "sampling = None: must be a mapping such as"),
        ({1: 2}, "sampling has the key 1: must be text"),
        ({"temprature": 0}, "sampling has no 'temprature'; did you mean 'temperature'"),
        ({"max_output_token": 5}, "did you mean 'max_output_tokens'"),
        ({"frequency_penality": 1}, "did you mean 'frequency_penalty'"),
    ],
)
def test_sampling_that_cannot_be_meant_is_refused(sampling: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        openai("m", client=UNASKED, sampling=sampling)


@pytest.mark.parametrize(
    "name",
    ["dry_multiplier", "repetition_penalty_range", "temperature_last", "top_a", "max_new_tokens"],
)
def test_a_parameter_that_only_its_server_knows_is_passed_on(name: str) -> None:
    assert openai("m", client=UNASKED, sampling={name: 1}).sampling == {name: 1}


def test_a_schema_may_name_a_field_as_secrets_are_named() -> None:
    schema = {"type": "object", "properties": {"password": {"type": "string"}}}
    tool = {"type": "function", "name": "f", "parameters": schema}
    assert openai("m", client=UNASKED, sampling={"tools": [tool]}).sampling == {"tools": [tool]}


# ── identity ──────────────────────────────────────────────────────────────────────────────────────


def _print(**arguments: Any) -> str:
    return openai("m", **{"client": UNASKED, "base_url": "http://h/v1", **arguments}).fingerprint()


def test_the_fingerprint_covers_what_changes_an_answer_and_nothing_else() -> None:
    plain = _print()
    same: list[dict[str, Any]] = [
        {"api_key": "other"}, {"base_url": "HTTP://H:80/v1/"}, {"instructions": ""},
    ]  # fmt: skip
    assert [_print(**more) for more in same] == [plain] * len(same)
    others: list[dict[str, Any]] = [
        {"base_url": "http://h/v2"}, {"api_mode": "chat_completions"}, {"instructions": "x"},
        {"sampling": {"temperature": 0}}, {"model_id": "llama@1"}, {"input_builder": _shout},
    ]  # fmt: skip
    found = [_print(**more) for more in others]
    assert len({plain, *found}) == len(others) + 1
    assert _print(sampling={"max_tokens": 4}) == _print(sampling={"max_output_tokens": 4})


def _schema(*names: str, least: float = 1) -> dict[str, Any]:
    fields = {name: {"type": "integer", "minimum": least} for name in names}
    return {"type": "json_schema", "json_schema": {"name": "n", "schema": {"properties": fields}}}


@pytest.mark.parametrize("mode", ["responses", "chat_completions"])
def test_a_schema_in_another_order_is_asked_as_it_is_and_is_another_question(
    context: Context, mode: str
) -> None:
    found = []
    for names in (("reason", "answer"), ("answer", "reason")):
        generator = openai(
            "m", client=UNASKED, api_mode=mode, sampling={"response_format": _schema(*names)}
        )
        sent = json.dumps(generator.request(TEXT, context()))
        assert sent.index(f'"{names[0]}"') < sent.index(f'"{names[1]}"')
        found.append(generator.fingerprint())
    assert found[0] != found[1]


_SETTINGS = st.dictionaries(
    st.text("abc", min_size=1, max_size=2),
    st.recursive(
        st.integers(-3, 3) | st.floats(-3, 3) | st.text("ab", max_size=2) | st.booleans(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner),
        max_leaves=6,
    ),
    max_size=3,
)


@given(one=_SETTINGS, other=_SETTINGS)
def test_equal_fingerprints_send_equal_settings(one: Any, other: Any) -> None:
    generators = [openai("m", client=UNASKED, sampling=each) for each in (one, other)]
    bodies = [
        {name: json.dumps(value) for name, value in generator.request(TEXT, made_context()).items()}
        for generator in generators
    ]
    prints = {generator.fingerprint() for generator in generators}
    assert (len(prints) == 1) == (bodies[0] == bodies[1])


def test_whole_numbers_are_sent_in_the_one_form_that_identity_knows(context: Context) -> None:
    one, other = (
        {"temperature": number, "response_format": _schema("a", least=number)}
        for number in (1, 1.0)
    )
    bodies = [
        json.dumps(openai("m", client=UNASKED, sampling=each).request(TEXT, context()))
        for each in (one, other)
    ]
    assert bodies[0] == bodies[1]
    assert _print(sampling=one) == _print(sampling=other)


def _shout(case: Case) -> str:
    return str(case.input).upper()


def test_what_is_served_may_be_named_in_place_of_the_address() -> None:
    here = _print(model_id="llama@1")
    assert _print(model_id="llama@1", base_url="http://elsewhere/v1") == here


def test_the_environments_address_is_part_of_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://proxy/v1")
    there = openai("m", client=UNASKED)
    monkeypatch.delenv("OPENAI_BASE_URL")
    here = openai("m", client=UNASKED)
    assert there.base_url == "http://proxy/v1"
    assert here.base_url == "https://api.openai.com/v1"
    assert there.fingerprint() != here.fingerprint()


def test_what_is_read_of_a_case_follows_from_the_input_builder(context: Context) -> None:
    assert openai("m", client=UNASKED).reads == {"input"}
    shouting = openai("m", client=UNASKED, input_builder=_shout)
    assert shouting.reads == {"input", "expected_output", "metadata"}
    assert shouting.request(TEXT, context())["input"] == "WHAT IS 2+2?"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"api_mode": "chat"}, "api_mode = 'chat'"),
        ({"base_url": "http://h/v1?api-version=1"}, r"holds a query, .*default_query="),
        ({"base_url": "localhost:8000"}, "must be an address such as"),
        ({"base_url": "http://localhost:80a0/v1"}, "must be an address such as"),
        ({"base_url": "http://[::1/v1"}, "must be an address such as"),
        ({"model": 5}, "model = 5: must be the name of the model"),
        ({"model": ""}, "model = '': must be the name of the model"),
        ({"instructions": ["a"]}, "instructions are a list: must be text"),
        ({"stream": "yes"}, "stream = 'yes': must be True or False"),
        ({"api_key": 5}, "api_key is a int: must be text"),
        ({"client_options": None}, "client_options: must be a mapping such as"),
        ({"client": "me"}, r"client is a str without responses\.create\(\)"),
        (
            {"client": SimpleNamespace(chat=SimpleNamespace()), "api_mode": "chat_completions"},
            r"without chat\.completions\.create\(\)",
        ),
        ({"client": None, "client_options": {"header": {}}}, "did you mean 'headers'"),
        ({"client_options": {"timeout": 1}}, "set them on the client given"),
        ({"fingerprint": "x"}, "there is none"),
        ({"api_key": "env:sk-1"}, "what stands after 'env:' is no environment variable's name"),
        ({"input_builder": print}, "give fingerprint='...'"),
    ],
)
def test_an_argument_that_cannot_be_meant_is_refused(arguments: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        openai(arguments.pop("model", "m"), **{"client": UNASKED, **arguments})


async def test_a_builders_result_that_is_no_json_value_is_refused(context: Context) -> None:
    generator = openai("m", client=UNASKED, input_builder=lambda case: {1, 2})
    with pytest.raises(DefinitionError, match="what input_builder returned is set"):
        await generator.generate(TEXT, context())


def test_prompt_tokens_are_estimated_from_the_rendered_prompt(context: Context) -> None:
    generator = openai("m", client=UNASKED, instructions="abcd")
    assert generator.estimate_tokens(TEXT, context()) == 4


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}


@pytest.mark.parametrize("mode", ["responses", "chat_completions"])
@given(
    said=st.lists(st.text(max_size=40), min_size=1, max_size=4),
    instructions=st.text(max_size=40) | st.none(),
    sampling=st.sampled_from([{}, {"tools": [TOOL]}, {"response_format": SCHEMA}]),
)
def test_the_bound_covers_every_byte_of_text_that_is_sent(
    mode: str, said: list[str], instructions: str | None, sampling: dict[str, Any]
) -> None:
    roles = ["user", "assistant"]
    messages = [{"role": roles[i % 2], "content": one} for i, one in enumerate(said)]
    generator = openai(
        "m", client=UNASKED, api_mode=mode, instructions=instructions, sampling=sampling
    )
    case, ctx = Case(case_id="c", input=messages), made_context()
    texts = [*said, *([instructions] if instructions else [])]
    sent = sum(len(one.encode()) for one in texts)
    extra = sum(len(json.dumps(one, indent=4)) for one in sampling.values())
    bound = generator.max_prompt_tokens(case, ctx)
    assert bound >= sent + extra + 64 * len(said) + 128
    assert bound >= generator.estimate_tokens(case, ctx)


def made_context() -> GenerateContext:
    ids = {"run_id": "r", "case_id": "c", "dataset_id": "d", "case_key": "k"}
    return GenerateContext(**ids, seed=7)  # type: ignore[arg-type]


def test_the_bound_of_a_plain_text_is_its_bytes_and_the_allowances() -> None:
    assert openai("m", client=UNASKED).max_prompt_tokens(TEXT, made_context()) == 12 + 64 + 128
    long = Case(case_id="c", input="\ufdfa")  # one character that some tokenizers make 18
    assert openai("m", client=UNASKED).max_prompt_tokens(long, made_context()) == 33 + 64 + 128


@pytest.mark.parametrize("mode", ["responses", "chat_completions"])
def test_an_image_counts_its_allowance_and_not_its_letters(mode: str) -> None:
    generator = openai("m", client=UNASKED, api_mode=mode)
    image = "data:image/png;base64," + "A" * 1_000_000
    case = Case(case_id="c", input={"text": "What?", "image": image})
    assert generator.max_prompt_tokens(case, made_context()) == 9 + 64 + 128 + IMAGE_TOKENS
    assert generator.estimate_tokens(case, made_context()) == 2 + 1000


def test_a_schema_counts_as_the_most_wasteful_template_writes_it() -> None:
    schema = {"type": "json_object", "note": "<a> & 'b'"}
    generator = openai("m", client=UNASKED, sampling={"response_format": schema})
    nested = {"format": schema}  # as the Responses API has it
    escaped = json.dumps(nested, indent=4)
    for letter in "<>&'":
        escaped = escaped.replace(letter, f"\\u{ord(letter):04x}")
    assert generator.max_prompt_tokens(TEXT, made_context()) == 12 + 64 + 128 + len(escaped)


def test_tools_have_an_allowance_beside_their_letters() -> None:
    generator = openai("m", client=UNASKED, sampling={"tools": [TOOL]})
    letters = len(json.dumps([TOOL], indent=4))
    assert generator.max_prompt_tokens(TEXT, made_context()) == 12 + 64 + 128 + letters + 512


def test_what_a_builder_made_to_be_counted_is_what_is_sent() -> None:
    built: list[str] = []

    def build(case: Case) -> str:
        built.append("word " * 10 ** len(built))
        return built[-1]

    sent: list[Any] = []

    async def create(**body: Any) -> Any:
        sent.append(body["input"])
        return SimpleNamespace(output_text="4")

    client = SimpleNamespace(responses=SimpleNamespace(create=create))
    generator = openai("m", client=client, input_builder=build, fingerprint="words")
    ctx = made_context()
    for tries in (1, 2):  # a try that is made again is counted again
        bound = generator.max_prompt_tokens(TEXT, ctx)
        generator.estimate_tokens(TEXT, ctx)
        asyncio.run(generator.generate(TEXT, ctx))
        assert sent[-1] == built[-1]
        assert len(built) == len(sent) == tries
        assert bound == len(sent[-1]) + 64 + 128
    other = Case(case_id="case-1", input="What is 3+3?")
    generator.max_prompt_tokens(TEXT, ctx)
    generator.max_prompt_tokens(other, ctx)  # what was built of one case is not another's
    assert len(built) == 4


def test_what_a_judges_builder_made_to_be_counted_is_what_is_sent() -> None:
    built: list[str] = []

    def build(prompt: RenderedJudgePrompt) -> str:
        built.append(f"{len(built)}: {prompt.text}")
        return built[-1]

    async def create(**body: Any) -> Any:
        return SimpleNamespace(output_text=body["input"])

    client = SimpleNamespace(responses=SimpleNamespace(create=create))
    judge = openai_judge("m", client=client, input_builder=build, fingerprint="numbers")
    prompt = RenderedJudgePrompt(text="Right?")
    judge.max_prompt_tokens(prompt)
    judge.estimate_tokens(prompt)
    assert asyncio.run(judge.judge(prompt)).text == "0: Right?"


def test_a_builder_may_change_the_case_that_it_is_given(context: Context) -> None:
    def pop(case: Case) -> Any:
        return case.input.pop("question")

    generator = openai("m", client=UNASKED, input_builder=pop)
    case = Case(case_id="case-1", input={"question": "2+2"})
    assert [generator.request(case, context())["input"] for _ in range(2)] == ["2+2", "2+2"]
    assert case.input == {"question": "2+2"}


def test_a_file_has_no_bound() -> None:
    part = {"type": "input_file", "file_url": "https://h/long.pdf"}
    with pytest.raises(DefinitionError, match="'input_file': nothing bounds its tokens"):
        openai("m", client=UNASKED).max_prompt_tokens(
            Case(case_id="c", input=[part]), made_context()
        )


def test_tools_that_the_endpoint_runs_have_no_bound() -> None:
    generator = openai("m", client=UNASKED, sampling={"tools": [{"type": "web_search"}]})
    with pytest.raises(DefinitionError, match="'web_search', which the endpoint runs"):
        generator.max_prompt_tokens(TEXT, made_context())


@pytest.mark.parametrize(
    ("sampling", "cap"), [({}, None), ({"max_tokens": 7}, 7), ({"max_output_tokens": None}, None)]
)
def test_the_cap_on_output_tokens_is_told(sampling: Any, cap: int | None) -> None:
    assert openai("m", client=UNASKED, sampling=sampling).max_output_tokens == cap
    assert openai_judge("m", client=UNASKED, sampling=sampling).max_output_tokens == cap


def test_a_judges_prompt_is_counted_as_a_generators() -> None:
    judge = openai_judge("m", client=UNASKED, instructions="abcd")
    prompt = RenderedJudgePrompt(text="What is 2+2?")
    assert judge.max_prompt_tokens(prompt) == 12 + 4 + 2 * 64 + 128
    assert judge.estimate_tokens(prompt) == 4
    schema = prompt.model_copy(update={"response_schema": {"type": "object"}})
    assert judge.max_prompt_tokens(schema) > judge.max_prompt_tokens(prompt)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"text": "?", "image": "cat.png"}, "'cat.png' is no http(s): or data: address"),
        ({"text": "?", "images": ["/tmp/cat.png"]}, "'data:image/png;base64,...'"),
        ({"text": "?", "image": "https://h/c.png", "label": 1}, "has 'label' too"),
        ([{"type": "input_image", "image_url": "file:///c.png"}], "is no http(s): or data:"),
    ],
)
def test_an_image_that_cannot_be_sent_is_refused_with_the_way_out(given: Any, said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        openai("m", client=UNASKED).request(Case(case_id="c", input=given), made_context())
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [{"text": "?", "image": {"width": 3}}, {"text": "?", "images": []}, {"image": "cat.png"},
     [{"type": "triangle"}], []],
)  # fmt: skip
def test_json_that_is_no_message_is_sent_as_json_text(given: Any) -> None:
    request = openai("m", client=UNASKED).request(Case(case_id="c", input=given), made_context())
    assert json.loads(request["input"]) == given


def test_streaming_is_no_part_of_identity() -> None:
    assert _print(stream=True) == _print()
    assert _print(sampling={"seed": 1}) != _print()


def test_a_generator_shows_no_secret() -> None:
    generator = openai("m", base_url="http://h/v1", api_key="sk-1")
    shown = repr(generator) + generator.base_url + generator.provider_key
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
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "30"}, 30),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1790000990"}, 1790000000),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1790000990000"}, 1790000000),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1970-01-01T00:16:40Z"}, 10),
        ({"ratelimit-limit": "9", "RateLimit-Remaining": "0", "ratelimit-reset": "12"}, 12),
        ({"ratelimit-remaining": "3", "ratelimit-reset": "12"}, None),
        ({"ratelimit": '"default";r=0;t=30'}, 30),
        ({"ratelimit": '"burst";r=4;t=2, "daily";r=0;t=90'}, 90),
        ({"ratelimit": '"default";r=7;t=30'}, None),
        ({"retry-after": "4", "ratelimit": '"default";r=0;t=30'}, 4),
    ],
)  # fmt: skip
def test_the_time_to_wait_is_read_from_the_headers(headers: Any, seconds: float | None) -> None:
    assert retry_after(headers, now=990) == (seconds if seconds is None else pytest.approx(seconds))


def test_an_endpoints_figures_are_kept_as_it_gave_them() -> None:
    given = {
        "X-RateLimit-Limit-Requests": "60", "ratelimit-remaining": "3", "x-other": "1",
        "ratelimit-policy": '"default";q=100;w=60', "ratelimit": '"default";r=7;t=30',
    }  # fmt: skip
    assert rate_limit(given) == {
        "limit_requests": "60", "remaining": "3",
        "limit_default": "100", "remaining_default": "7", "reset_default": "30",
    }  # fmt: skip


class Said(Exception):
    def __init__(self, status: int, **error: Any) -> None:
        super().__init__()
        self.status_code, self.body = status, {"error": error}
        self.code, self.param = error.get("code"), error.get("param")


@pytest.mark.parametrize(
    ("error", "fatal"),
    [
        (Said(400, message="?", code="model_not_found"), True),
        (Said(400, message="The model `x` does not exist."), True),
        (Said(422, message="unknown model 'x'"), True),
        (Said(400, message="invalid value", param="model"), True),
        (Said(400, message="Unsupported", code="unsupported_parameter"), True),
        (Said(400, message="This model's maximum context length is 8 tokens."), False),
        (Said(400, message="The image was not found."), False),
        (Said(400, message="model not found"), True),
        (Said(400, message='model "a/b:c" not found, try pulling it first'), True),
        (Said(400, message="The model named a file that was not found"), False),
        (Said(402, message="pay"), True),
        (Said(405, message="no"), True),
        (Said(407, message="who?"), True),
        (Said(308, message="moved"), True),
        (Said(500, message="the model was not found"), False),
    ],
)  # fmt: skip
def test_what_would_repeat_for_every_case_is_fatal(error: Said, fatal: bool) -> None:
    found = provider_error(error, endpoint="here")
    assert found is not None
    assert (found.fatal, found.status) == (fatal, error.status_code)


def test_an_error_in_a_body_says_what_it_means() -> None:
    unknown = {"message": "model 'x' not found", "code": 404}
    assert error_in_body(unknown, endpoint="here").fatal
    broken = error_in_body({"message": "overloaded", "type": "x"}, endpoint="here", streamed=True)
    assert (broken.retryable, broken.fatal) == (True, False)
    too_long = error_in_body({"message": "too long", "code": 400}, endpoint="here", streamed=True)
    assert (too_long.retryable, too_long.fatal) == (False, False)


def test_another_clients_error_is_read_by_its_shape() -> None:
    class OwnError(Exception):
        status_code = 429
        response = SimpleNamespace(headers={"retry-after": "1"})

    found = provider_error(OwnError("slow"), endpoint="here")
    assert found is not None
    assert (found.status, found.retryable, found.retry_after) == (429, True, 1.0)
    assert provider_error(ValueError("mine"), endpoint="here") is None


@pytest.mark.parametrize("cap", [-1, 0, 2.5, "64", True])
def test_a_cap_that_is_none_is_refused(cap: Any) -> None:
    with pytest.raises(DefinitionError, match="must be an integer of at least 1"):
        openai("m", client=UNASKED, sampling={"max_tokens": cap})


FLAT = {"type": "json_schema", "name": "sum", "schema": {"type": "object"}, "strict": True}


@pytest.mark.parametrize("mode", ["responses", "chat_completions"])
def test_a_json_schema_written_flat_is_the_same_as_nested(mode: str) -> None:
    inner = {name: value for name, value in FLAT.items() if name != "type"}
    nested = {"type": "json_schema", "json_schema": inner}
    made = [
        openai("m", client=UNASKED, api_mode=mode, sampling={"response_format": form})
        for form in (FLAT, nested)
    ]
    assert made[0].fingerprint() == made[1].fingerprint()
    bodies = [one.request(TEXT, made_context()) for one in made]
    assert bodies[0] == bodies[1]
    assert inner["schema"] in (
        bodies[0].get("text", {}).get("format", {}).get("schema"),
        bodies[0].get("response_format", {}).get("json_schema", {}).get("schema"),
    )


@pytest.mark.parametrize(
    "form",
    ["json_object", {"type": "json_schema"}, {"type": "json_schema", "json_schema": "x"}, {}],
)
def test_a_response_format_that_is_none_is_refused(form: Any) -> None:
    with pytest.raises(DefinitionError, match=r"sampling\.response_format"):
        openai("m", client=UNASKED, sampling={"response_format": form})


@pytest.mark.parametrize("call", ["chat/completions", "responses", "completions"])
def test_the_address_of_a_call_is_no_endpoint(call: str) -> None:
    with pytest.raises(DefinitionError, match=f"leave out '/{call}'"):
        openai("m", base_url=f"http://host/v1/{call}", api_key="k")
