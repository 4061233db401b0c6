"""An endpoint of one's own: the request it is sent, the answer read from it, and what goes wrong.

Everything is asked of a real service on loopback; ``tests/support/product.py`` is that service.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.product import Asked, Product, Said
from tests.support.proxy import proxy_server
from tests.support.runs import experiment
from tests.support.tls import tls_server
from themis import Experiment
from themis.adapters import http
from themis.core.config import StorageConfig
from themis.core.contexts import GenerateContext
from themis.core.errors import (
    BudgetSpentError,
    DefinitionError,
    MissingExtraError,
    ProviderError,
    RunStoppedError,
)
from themis.core.models import Case, Dataset
from themis.core.prompts import Example, PromptSpec
from themis.core.redaction import HIDDEN
from themis.testing.scripted import CountingMetric

pytestmark = pytest.mark.network
Context = Callable[..., GenerateContext]
BODY = {"question": {"text": "{{ input }}"}}
ANSWER = "data.reply.text"
TEXT = Case(
    case_id="case-1", input="2+3", expected_output="5", metadata={"topic": "sums", "items": 4}
)
OBJECT = Case(case_id="case-1", input={"a": 2, "b": [3]})
MESSAGES = Case(case_id="case-1", input=[{"role": "user", "content": "2+3"}])
SECRET = "correct-horse-battery"


@pytest.fixture
def product() -> Iterator[Product]:
    with Product() as made:
        yield made


def sent(body: Any, case: Case, ctx: GenerateContext, **settings: Any) -> Any:
    """Return the body that would be sent."""
    made = http("http://localhost/x", body=body, answer=".", **settings)
    return made.request(case, ctx)["body"]


# ── the request ───────────────────────────────────────────────────────────────────────────────────


async def test_a_case_is_asked_and_its_answer_is_found(product: Product, context: Context) -> None:
    generator = http(
        f"{product.url}/v2/answer?mode=exact",
        body={**BODY, "seed": "{{ seed }}", "limits": {"tokens": "{{ max_output_tokens }}"}},
        answer=ANSWER,
        headers={"x-team": "evals"},
        usage={"prompt_tokens": "meta.tokens.in", "completion_tokens": "meta.tokens.out"},
        finish_reason="data.why",
        max_output_tokens=9,
    )
    result = await generator.generate(TEXT, context())
    await generator.aclose()
    (asked,) = product.asked
    body = {"question": {"text": "2+3"}, "seed": 7, "limits": {"tokens": 9}}
    assert (asked.method, asked.path, asked.query) == ("POST", "/v2/answer", {"mode": "exact"})
    assert asked.body == body
    assert asked.headers["x-team"] == "evals"
    assert asked.headers["content-type"] == "application/json"
    assert result.final_output == "5"
    assert result.token_usage == {"prompt_tokens": 3, "completion_tokens": 1}
    assert result.latency_ms is not None
    artifacts = result.artifacts or {}
    assert artifacts["request"] == {
        "method": "POST", "url": f"{product.url}/v2/answer?mode=exact", "body": body,
    }  # fmt: skip
    assert artifacts["request"] == generator.request(TEXT, context())
    assert artifacts["raw_response"]["data"]["reply"] == {"text": "5", "sources": []}
    assert artifacts["provider_request_id"] == "req-1"
    assert artifacts["finish_reason"] == "stop"  # the service says "eos"
    assert [one.content for one in result.conversation or []] == ["2+3", "5"]


@pytest.mark.parametrize(
    ("body", "case", "spec", "expected"),
    [
        ("{{ input }}", TEXT, None, "2+3"),
        ("{{ input }}", OBJECT, None, {"a": 2, "b": [3]}),
        (" {{- input -}} ", OBJECT, None, {"a": 2, "b": [3]}),
        ("{{ input.b[0] }}", OBJECT, None, 3),
        ("{{ input.b[0] + 1 }}", OBJECT, None, 4),
        ("Q: {{ input }}", TEXT, None, "Q: 2+3"),
        ("Q: {{ input }}, {{ seed }}, {{ instructions }}", OBJECT, None,
         'Q: {"a":2,"b":[3]}, 7, null'),
        (["{{ seed }}", "{{ sample_index }}", True, None, 1.5, "plain"], TEXT, None,
         [7, 0, True, None, 1.5, "plain"]),
        ("{{ input }}", TEXT, PromptSpec(prefix="Q:", suffix="A:"), "Q:\n2+3\nA:"),
        ("{{ input }}", TEXT, PromptSpec(instructions="Add."), "Add.\n\n2+3"),
        ({"q": "{{ input }}", "s": "{{ instructions }}"}, TEXT,
         PromptSpec(instructions="Add."), {"q": "2+3", "s": "Add."}),
        ("{{ messages }}", TEXT, PromptSpec(instructions="Add."),
         [{"role": "system", "content": "Add."}, {"role": "user", "content": "2+3"}]),
        ({"m": "{{ messages }}", "s": "{{ instructions }}"}, TEXT,
         PromptSpec(instructions="Add."),
         {"m": [{"role": "user", "content": "2+3"}], "s": "Add."}),
        ("{{ messages }}", MESSAGES, PromptSpec(examples=[Example(input="1+1", output="2")]),
         [{"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"},
          {"role": "user", "content": "2+3"}]),
        ("{{ case.metadata.items }} of {{ case.case_id }}", TEXT, None, "4 of case-1"),
        ("{% for x in input.b %}<{{ x }}>{% endfor %}", OBJECT, None, "<3>"),
        ("{{ case.expected_output }}", TEXT, None, "5"),
    ],
)  # fmt: skip
def test_a_body_is_filled(
    context: Context, body: Any, case: Case, spec: PromptSpec | None, expected: Any
) -> None:
    assert sent(body, case, context(prompt_spec=spec)) == expected


@given(st.text())
def test_a_text_in_a_case_is_never_a_template_or_a_reference(text: str) -> None:
    ctx = GenerateContext(
        run_id=None, case_id=None, dataset_id=None, case_key=None, seed=1,  # type: ignore[arg-type]
    )  # fmt: skip
    for said in (text, "env:HOME", "{{ seed }}"):
        case = Case.model_construct(case_id="c", input=said, expected_output=None, metadata={})
        assert sent({"q": "{{ input }}"}, case, ctx) == {"q": said}


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_characters="{", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from("abcd"), inner),
    max_leaves=6,
)


@given(PLAIN)
def test_a_body_without_templates_is_sent_as_it_is(body: Any) -> None:
    ctx = GenerateContext(
        run_id=None, case_id=None, dataset_id=None, case_key=None, seed=1,  # type: ignore[arg-type]
    )  # fmt: skip
    assert sent(body, TEXT, ctx) == body


async def test_a_case_that_looks_like_a_reference_is_sent_as_it_is(
    product: Product, context: Context
) -> None:
    generator = http(f"{product.url}/v2/answer", body=BODY, answer=ANSWER)
    await generator.generate(Case(case_id="c", input="env:HOME"), context())
    await generator.aclose()
    assert product.asked[0].body == {"question": {"text": "env:HOME"}}


@pytest.mark.parametrize(
    "text",
    ["explain env:PRODUCT_KEY", "see env:PRODUCT_KEY", "env:PRODUCT_KEY?", " env:PRODUCT_KEY"],
)
async def test_only_a_whole_text_is_a_reference(
    product: Product, context: Context, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("PRODUCT_KEY", SECRET)
    generator = http(
        f"{product.url}/v2/answer?note={quote_plus(text)}",
        body={"question": {"text": "{{ input }}"}, "note": text}, answer=ANSWER,
    )  # fmt: skip
    await generator.generate(TEXT, context())
    await generator.aclose()
    (asked,) = product.asked
    assert (asked.body["note"], asked.query["note"]) == (text, text)


TWICE = (
    Case(case_id="1", input={"b": 1, "a": [{"d": 2.0, "c": 0}]}, expected_output={"y": 1, "x": 2},
         metadata={"m": {"z": 1.0, "k": 2}}),
    Case(case_id="1", input={"a": [{"c": 0, "d": 2}], "b": 1.0}, expected_output={"x": 2, "y": 1},
         metadata={"m": {"k": 2, "z": 1}}),
)  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        "{{ input }}",
        "Q: {{ input }}",
        {"messages": "{{ messages }}"},
        {"all": "{{ case }}"},
        "{{ case.expected_output }} {{ case.metadata.m }} {{ case.input.items() | list }}",
        {"z": "{{ input.a }}", "each": "{% for key in input %}{{ key }}{% endfor %}"},
    ],
)
@pytest.mark.parametrize("builder", [None, lambda case: {"text": json.dumps(case.input), "a": 1.0}])
def test_cases_of_one_key_are_one_request(body: Any, builder: Any, context: Context) -> None:
    made = http("http://localhost/x", body=body, answer=".", input_builder=builder)
    one, other = (json.dumps(made.request(case, context())) for case in TWICE)
    assert one == other


def _schema(*names: str) -> Any:
    return {
        "schema": {"properties": {name: {"type": "string"} for name in names}},
        "n": 1,
        "q": "?",
    }


def test_the_order_of_a_schema_is_kept_and_is_identity(context: Context) -> None:
    made = [http("http://h/x", body=_schema(*names), answer=".") for names in ("ab", "ba")]
    bodies = [one.request(TEXT, context())["body"] for one in made]
    assert [list(body["schema"]["properties"]) for body in bodies] == [["a", "b"], ["b", "a"]]
    assert made[0].fingerprint() != made[1].fingerprint()


def test_what_is_no_order_of_meaning_is_no_identity(context: Context) -> None:
    one = http("http://h/x", body=_schema("a"), answer=".")
    other = http("http://h/x", body={**dict(reversed(_schema("a").items())), "n": 1.0}, answer=".")
    assert one.fingerprint() == other.fingerprint()
    assert json.dumps(one.request(TEXT, context())) == json.dumps(other.request(TEXT, context()))


def test_an_input_builder_has_a_case_of_its_own(context: Context) -> None:
    def build(case: Case) -> Any:
        assert isinstance(case.input, dict)
        return case.input.pop("a")

    made = http("http://localhost/x", body="{{ input }}", answer=".", input_builder=build)
    for _ in range(2):
        assert made.request(OBJECT, context())["body"] == 2
    assert OBJECT.input == {"a": 2, "b": [3]}


async def test_what_an_input_builder_made_to_be_counted_is_what_is_sent(
    product: Product, context: Context
) -> None:
    """One that makes something else each time would escape a budget."""
    made: list[str] = []

    def build(case: Case) -> str:
        made.append("1+1" * (len(made) + 1))
        return made[-1]

    generator = http(
        f"{product.url}/v2/answer", body=BODY, answer=ANSWER, input_builder=build, fingerprint="x"
    )
    generator.estimate_tokens(TEXT, context())
    bound = generator.bound_tokens(TEXT, context())
    result = await generator.generate(TEXT, context())
    await generator.aclose()
    assert made == ["1+1"]
    assert product.asked[0].body == {"question": {"text": "1+1"}}
    assert bound >= len(json.dumps(product.asked[0].body))
    assert [one.content for one in result.conversation or []] == ["1+1", "2"]


@pytest.mark.parametrize(
    ("body", "reads"),
    [
        ("{{ input }}", {"input"}),
        ("{{ messages }}", {"input"}),
        ("{{ case.metadata.topic }}", {"metadata"}),
        ("{{ case['metadata'] }} {{ input }}", {"metadata", "input"}),
        ("{{ case.case_id }}", set()),
        ("{{ case }}", {"input", "expected_output", "metadata"}),
        ("{{ case[seed] }}", {"input", "expected_output", "metadata"}),
        ({"a": "{{ case.expected_output }}", "b": ["{{ seed }}"]}, {"expected_output"}),
    ],
)
def test_what_the_body_names_is_what_is_read(body: Any, reads: set[str]) -> None:
    assert http("http://localhost/x", body=body, answer=".").reads == reads


def test_an_input_builder_makes_the_input(context: Context) -> None:
    settings = {"input_builder": lambda case: {"topic": case.metadata["topic"]}}
    assert sent("{{ input.topic }}", TEXT, context(), **settings) == "sums"
    made = http("http://localhost/x", body=BODY, answer=".", **settings)
    assert made.reads == {"input", "expected_output", "metadata"}


async def test_a_get_request_carries_its_body_as_a_query(
    product: Product, context: Context
) -> None:
    generator = http(
        f"{product.url}/search?lang=en",
        method="GET",
        body={"q": "{{ input }}", "seed": "{{ seed }}", "tag": ["a", "b"], "none": None},
        answer='hits[0]["the answer"]',
    )
    result = await generator.generate(TEXT, context())
    await generator.aclose()
    (asked,) = product.asked
    assert (asked.method, asked.body) == ("GET", None)
    assert asked.query == {"lang": "en", "q": "2+3", "seed": "7", "tag": "b"}
    assert (result.artifacts or {})["request"] == {
        "method": "GET", "url": f"{product.url}/search?lang=en&q=2%2B3&seed=7&tag=a&tag=b",
    }  # fmt: skip
    assert result.final_output == "5"


async def test_a_put_request_carries_a_body(product: Product, context: Context) -> None:
    generator = http(f"{product.url}/v2/answer", method="PUT", body=BODY, answer=ANSWER)
    assert (await generator.generate(TEXT, context())).final_output == "5"
    await generator.aclose()
    assert product.asked[0].method == "PUT"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "localhost:80"}, "url = 'localhost:80': must be an address such as"),
        ({"url": "http://h:80a0/x"}, "url = 'http://h:80a0/x': must be an address such as"),
        ({"url": "http://[::1/x"}, r"url = 'http://\[::1/x': must be an address such as"),
        ({"url": "http://me:pw@host/x"}, "url holds a user or password"),
        ({"url": f"http://host/x?api_key={SECRET}"},
         r"url holds a secret in 'api_key'.*write '\?api_key=env:NAME'"),
        ({"url": "http://host/x?key=AIza" + "A1b2c" * 7}, "url holds a secret in 'key'"),
        ({"body": {"api_key": SECRET}}, r"body\.api_key holds a secret.*'env:NAME'"),
        ({"body": [{"auth": {"password": 1234}}]}, r"body\[0\]\.auth\.password holds a secret"),
        ({"body": {"x": "ghp_" + "a1B2" * 9}}, r"body\.x holds a secret"),
        ({"headers": {"Authorization": f"Bearer {SECRET}"}}, "headers: 'Authorization' holds a se"),
        ({"headers": {"x-api-key": SECRET}}, "headers: 'x-api-key' holds a secret"),
        ({"client_options": {"headers": {"cookie": SECRET}}}, "'cookie' holds a secret"),
        ({"client_options": {"verfy": True}}, "did you mean 'verify'"),
        ({"body": "{{ input"}, r"body line 1: unexpected end"),
        ({"body": {"a": ["{{ inputs }}"]}}, r"body\.a\[0\] names 'inputs'; did you mean 'input'"),
        ({"body": "{{ metadata.x }}"}, "did you mean 'case.metadata'"),
        ({"body": "{{ case.metdata }}"}, "a case has no 'metdata'; did you mean 'metadata'"),
        ({"body": {"a": (1, 2)}}, "body.a is tuple"),
        ({"body": "{{ model }}"}, "body names model, and none is given"),
        ({"body": "{{ max_output_tokens }}"}, "names max_output_tokens, and none is given"),
        ({"max_output_tokens": 9}, "max_output_tokens = 9 is nowhere in body"),
        ({"max_output_tokens": 0}, "max_output_tokens = 0: must be"),
        ({"method": "GET", "body": ["{{ input }}"]}, "becomes its query: give an object"),
        ({"method": "POS"}, "method = 'POS'; did you mean 'POST'"),
        ({"answer": "a..b"}, r"answer = 'a\.\.b' is no path"),
        ({"usage": {"tokens": "x"}}, "usage has no key 'tokens'"),
        ({"usage": {"prompt_tokens": ""}}, r"usage\.prompt_tokens = '' is no path"),
        ({"fingerprint": "v1"}, "there is none"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_when_it_is_made(settings: Any, said: str) -> None:
    given = {"url": "http://host/x", "body": BODY, "answer": ANSWER, **settings}
    with pytest.raises(DefinitionError, match=said) as caught:
        http(given.pop("url"), **given)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'themis-eval\[http\]'"):
        http("http://host/x", body=BODY, answer=ANSWER)


def test_a_cap_that_is_written_in_the_body_itself_counts() -> None:
    body = {**BODY, "limit": 9}
    assert http("http://host/x", body=body, answer=".", max_output_tokens=9).max_output_tokens == 9


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{{ input.nothing }}", "has no attribute 'nothing'"),
        ("{{ input | int }}{{ 1 // 0 }}", "body cannot be filled: ZeroDivisionError"),
        ("{{ input.a }}", "no attribute 'a'"),
        ("{{ input.upper }}", "not a JSON value"),
        ("{{ input.__class__ }}", "unsafe"),
    ],
)
def test_a_template_that_a_case_cannot_fill_fails_that_case_in_one_line(
    context: Context, body: str, said: str
) -> None:
    with pytest.raises(DefinitionError, match=said) as caught:
        sent(body, TEXT, context())
    assert "\n" not in str(caught.value)


async def test_a_prompt_spec_that_has_no_place_in_the_body_stops_the_run(context: Context) -> None:
    generator = http("http://localhost:1/x", body={"q": "{{ case.input }}"}, answer=".")
    with pytest.raises(ProviderError, match="the prompt spec has no place") as caught:
        await generator.generate(TEXT, context(prompt_spec=PromptSpec(prefix="Q:")))
    assert caught.value.fatal


# ── identity ──────────────────────────────────────────────────────────────────────────────────────


def _digest(**settings: Any) -> str:
    given: dict[str, Any] = {"url": "http://host/x", "body": BODY, "answer": ANSWER, **settings}
    return http(given.pop("url"), **given).fingerprint()


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "http://HOST:80/x"},
        {"headers": {"x-key": "env:SOME_KEY"}},
        {"client_options": {"headers": {"x-team": "a"}, "timeout": 3}},
        {"usage": {"prompt_tokens": "a"}},
        {"model": "m"},  # a name for prices, unless the body says it
        {"body": {"question": {"text": "{{ input }}"}}},
    ],
)
def test_how_it_is_reached_is_not_its_identity(settings: Any) -> None:
    assert _digest(**settings) == _digest()


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "http://other/x"},
        {"url": "http://host/y"},
        {"url": "http://host/x/"},
        {"url": "http://host/x?mode=exact"},
        {"method": "PUT"},
        {"headers": {"x-variant": "b"}},
        {"body": {"question": {"text": "{{input}}"}}},
        {"answer": "data.reply"},
        {"finish_reason": "data.why"},
        {"input_builder": lambda case: case.input},
        {"model_id": "served"},
    ],
)
def test_what_is_asked_is_its_identity(settings: Any) -> None:
    assert _digest(**settings) != _digest()


def test_a_name_for_what_is_served_stands_in_place_of_the_address() -> None:
    one = http("http://one/x", body=BODY, answer=ANSWER, model_id="v2")
    other = http("http://other/y", body=BODY, answer=ANSWER, model_id="v2")
    assert (one.fingerprint(), one.component_id) == (other.fingerprint(), other.component_id)
    assert one.provider_key == "http:http://one/x"


def test_which_variable_holds_a_secret_is_not_identity() -> None:
    def keyed(name: str) -> str:
        return _digest(body={**BODY, "api_key": f"env:{name}"}, url=f"http://h/x?key=env:{name}")

    assert keyed("ONE") == keyed("OTHER")


def test_the_bound_of_its_tokens_is_above_the_bytes_sent(context: Context) -> None:
    generator = http("http://host/x", body=BODY, answer=ANSWER)
    case = Case(case_id="c", input="größer " * 100)
    assert generator.bound_tokens(case, context()) >= len("größer ".encode()) * 100
    assert generator.estimate_tokens(case, context()) == 175


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("said", "expected", "words"),
    [
        (Said(429, {"error": {"message": "slow down"}}, {"Retry-After": "3"}),
         (429, True, False, 3.0), "answered 429: slow down"),
        (Said(503, b"busy\nnow"), (503, True, False, None), "answered 503: busy now"),
        (Said(500, {}), (500, True, False, None), "answered 500"),
        (Said(401, {"detail": "who?"}), (401, False, True, None), "answered 401: who?"),
        (Said(403, {"error": "no"}), (403, False, True, None), "answered 403: no"),
        (Said(404, b""), (404, False, False, None),
         r"answered 404: nothing more \(is the address right\?\)$"),
        (Said(405, b""), (405, False, True, None), "answered 405"),
        (Said(400, {"message": "too long"}), (400, False, False, None), "400: too long"),
        (Said(307, {}, {"Location": "http://elsewhere/x"}),
         (307, False, True, None), "redirect to http://elsewhere/x: give that address"),
        (Said(200, b"<html>gateway</html>"), (200, True, False, None), "not JSON: '<html>"),
        (Said(200, b'{"data": '), (200, True, False, None), "not JSON"),
        (Said(200, {"data": {"text": 5, "id": 1}}), (None, True, False, None),
         r"without 'data\.reply\.text': 'data' has text, id"),
        (Said(200, {"error": {"message": "out of stock"}}), (None, True, False, None),
         "the answer has error; it says: out of stock"),
        (Said(drop=True), (None, True, False, None), "broke|cannot be reached|connection"),
    ],
)  # fmt: skip
async def test_a_refusal_says_what_it_means_for_the_run(
    context: Context, said: Said, expected: Any, words: str
) -> None:
    with Product(lambda asked: said) as product:
        generator = http(f"{product.url}/v2/answer", body=BODY, answer=ANSWER)
        with pytest.raises(ProviderError, match=words) as caught:
            await generator.generate(TEXT, context())
        await generator.aclose()
        error = caught.value
        assert (error.status, error.retryable, error.fatal, error.retry_after) == expected
        assert not error.unreachable
        assert "\n" not in str(error)
        assert len(product.asked) == 1


async def test_an_endpoint_that_is_not_there_cannot_be_reached(context: Context) -> None:
    with Product() as gone:
        url = gone.url
    generator = http(f"{url}/v2/answer", body=BODY, answer=ANSWER)
    with pytest.raises(ProviderError, match="cannot be reached") as caught:
        await generator.generate(TEXT, context())
    await generator.aclose()
    assert caught.value.unreachable


async def test_an_endpoint_that_hangs_is_left(context: Context) -> None:
    release = threading.Event()

    def hang(asked: Asked) -> None:
        release.wait(30)

    with Product(hang) as product:
        url = f"{product.url}/v2/answer"
        generator = http(url, body=BODY, answer=ANSWER, client_options={"timeout": 0.2})
        with pytest.raises(ProviderError, match="did not answer in time") as caught:
            await generator.generate(TEXT, context())
        await generator.aclose()
        assert caught.value.retryable
        assert isinstance(caught.value, TimeoutError)
        patient = http(url, body=BODY, answer=ANSWER)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(patient.generate(TEXT, context()), 0.2)
        release.set()
        assert (await patient.generate(TEXT, context())).final_output == "5"
        await patient.aclose()


async def test_an_input_that_is_no_message_is_sent_as_it_is(
    context: Context,
) -> None:
    given = {"text": "what is it?", "image": "cat.png", "lang": "en"}
    with Product(lambda asked: Said(200, asked.body["q"])) as product:
        generator = http(f"{product.url}/x", body={"q": "{{ input }}"}, answer=".")
        result = await generator.generate(Case(case_id="c", input=given), context())
        await generator.aclose()
    assert result.final_output == given
    assert result.conversation is None


async def test_what_no_path_finds_beside_the_answer_is_left_out(
    product: Product, context: Context
) -> None:
    generator = http(
        f"{product.url}/v2/answer", body=BODY, answer="meta.tokens", finish_reason="nowhere",
        usage={"prompt_tokens": "nowhere", "completion_tokens": "data.why"},
    )  # fmt: skip
    result = await generator.generate(TEXT, context())
    await generator.aclose()
    assert result.final_output == {"in": 3, "out": 1}
    assert result.token_usage is None
    assert "finish_reason" not in (result.artifacts or {})


# ── connections and secrets ───────────────────────────────────────────────────────────────────────


async def test_one_connection_serves_one_sample_after_the_other(
    product: Product, context: Context
) -> None:
    generator = http(f"{product.url}/v2/answer", body=BODY, answer=ANSWER)
    for _ in range(5):
        await generator.generate(TEXT, context())
    await generator.aclose()
    await generator.aclose()
    assert (product.connections, len(product.asked)) == (1, 5)


async def test_a_run_that_ends_leaves_another_on_its_loop_its_connections(
    context: Context,
) -> None:
    """Two runs share a generator: the first to end closes nothing that the other still uses."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(asked: Asked) -> None:
        begun.set()
        go_on.wait(30)

    with Product(slow) as product:
        generator = http(f"{product.url}/v2/answer", body=BODY, answer=ANSWER)
        under_way = asyncio.create_task(generator.generate(TEXT, context()))
        await asyncio.to_thread(begun.wait, 30)
        await generator.aclose()
        go_on.set()
        assert (await under_way).final_output == "5"
        assert (await generator.generate(TEXT, context())).final_output == "5"
        await generator.aclose()
        assert (len(product.asked), product.connections) == (2, 2)


async def test_two_runs_at_once_share_a_generator() -> None:
    with Product() as product:
        generator = http(f"{product.url}/v2/answer", body=BODY, answer=ANSWER)
        made = [experiment(generator, cases=_sums(n), max_concurrent_tasks=2) for n in (1, 12)]
        results = await asyncio.gather(*(one.run_async(progress=False) for one in made))
    assert [result.status for result in results] == ["completed", "completed"]
    assert len(product.asked) == 13  # nothing was asked a second time


@pytest.mark.parametrize("word", ["blue", "reply", "text", "data"])
async def test_a_short_value_that_is_a_word_changes_no_answer(
    context: Context, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setenv("TENANT", word)
    answer = {"data": {"reply": {"text": f"the {word} one"}}}
    with Product(lambda asked: Said(200, answer)) as product:
        generator = http(
            f"{product.url}/v2/answer", body={**BODY, "tenant": "env:TENANT"}, answer=ANSWER
        )
        result = await generator.generate(TEXT, context())
        await generator.aclose()
    assert result.final_output == f"the {word} one"
    assert (result.artifacts or {})["raw_response"] == answer


async def test_a_secret_is_hidden_in_an_answer_and_never_in_its_keys(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRODUCT_KEY", SECRET)
    answer = {SECRET: {"text": f"your key is {SECRET}", "n": 2}}
    with Product(lambda asked: Said(200, answer)) as product:
        generator = http(
            f"{product.url}/v2/answer", body={**BODY, "api_key": "env:PRODUCT_KEY"},
            answer=f'["{SECRET}"].text',
        )  # fmt: skip
        result = await generator.generate(TEXT, context())
        await generator.aclose()
    assert result.final_output == f"your key is {HIDDEN}"
    assert (result.artifacts or {})["raw_response"] == {
        SECRET: {"text": f"your key is {HIDDEN}", "n": 2}
    }


@pytest.mark.parametrize("form", ["{}", '{{"detail": "{}"}}', '{{"reply": {{"detail": "{}"}}}}'])
@pytest.mark.parametrize("status", [200, 500])
async def test_a_secret_where_an_error_is_cut_off_is_not_told_in_part(
    context: Context, monkeypatch: pytest.MonkeyPatch, form: str, status: int
) -> None:
    monkeypatch.setenv("PRODUCT_KEY", SECRET)
    for before in (*range(60, 82, 3), *range(280, 302, 3)):
        said = Said(status, form.format("x" * before + SECRET).encode())
        with Product(lambda asked, said=said: said) as product:
            generator = http(
                f"{product.url}/v2/answer", body=BODY, answer=ANSWER,
                headers={"x-product-key": "env:PRODUCT_KEY"},
            )  # fmt: skip
            with pytest.raises(ProviderError) as caught:
                await generator.generate(TEXT, context())
            await generator.aclose()
        assert SECRET[:4] not in str(caught.value)


async def test_secrets_are_sent_and_kept_nowhere(
    context: Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("ONE", "TWO", "THREE"):
        monkeypatch.setenv(name, f"{SECRET}-{name}")

    def echo(asked: Asked) -> Said:
        you = {"sent": asked.body, "query": asked.query, "key": asked.headers["x-product-key"]}
        said = {"reply": "5", "you": you}
        return Said(200, said)

    with Product(echo) as product:
        generator = http(
            f"{product.url}/v2/answer?key=env:ONE&lang=en",
            body={"q": "{{ input }}", "api_key": "env:TWO", "deep": [{"token": "Bearer env:TWO"}]},
            answer="reply",
            headers={"x-product-key": "env:THREE"},
        )
        result = await generator.generate(TEXT, context())
        await generator.aclose()
        (asked,) = product.asked
    assert asked.query == {"key": f"{SECRET}-ONE", "lang": "en"}
    assert asked.body["api_key"] == f"{SECRET}-TWO"
    assert asked.body["deep"] == [{"token": f"Bearer {SECRET}-TWO"}]
    assert asked.headers["x-product-key"] == f"{SECRET}-THREE"
    assert SECRET not in json.dumps(result.model_dump(mode="json"))
    assert SECRET not in repr(generator)
    assert "/v2/answer?[hidden]" in caplog.text  # the library logs each address
    assert SECRET not in caplog.text
    request = (result.artifacts or {})["request"]
    assert request["url"].endswith(f"?key={HIDDEN}&lang=en")
    assert request["body"] == {"q": "2+3", "api_key": HIDDEN, "deep": [{"token": HIDDEN}]}


async def test_a_refusal_that_echoes_a_secret_does_not_tell_it(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = f"{SECRET}/+ x"
    monkeypatch.setenv("PRODUCT_KEY", secret)
    echo = {"detail": f"the key {secret} is not known"}
    elsewhere = {"Location": f"http://other/x?key={quote_plus(secret)}"}
    for said in (
        Said(401, echo), Said(200, f"key {secret}".encode()), Said(200, echo),
        Said(307, {}, elsewhere),
    ):  # fmt: skip
        with Product(lambda asked, said=said: said) as product:
            generator = http(
                f"{product.url}/v2/answer", body=BODY, answer=ANSWER,
                headers={"x-product-key": "env:PRODUCT_KEY"},
            )  # fmt: skip
            with pytest.raises(ProviderError) as caught:
                await generator.generate(TEXT, context())
            await generator.aclose()
        assert HIDDEN in str(caught.value)
        assert SECRET not in str(caught.value)


async def test_a_secret_in_the_query_of_a_get_request_is_in_no_log(
    product: Product,
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PRODUCT_KEY", SECRET)
    generator = http(
        f"{product.url}/search", method="GET", body={"q": "{{ input }}", "key": "env:PRODUCT_KEY"},
        answer="hits",
    )  # fmt: skip
    result = await generator.generate(TEXT, context())
    await generator.aclose()
    assert product.asked[0].query["key"] == SECRET
    assert SECRET not in caplog.text
    assert "/search?[hidden]" in caplog.text
    assert (result.artifacts or {})["request"]["url"].endswith(f"?key={HIDDEN}&q=2%2B3")


@pytest.mark.parametrize("where", ["headers", "body", "url"])
async def test_a_reference_to_a_variable_that_is_not_set_stops_the_run(
    product: Product, context: Context, where: str
) -> None:
    given: dict[str, Any] = {"url": f"{product.url}/v2/answer", "body": BODY}
    given |= {
        "headers": {"headers": {"x-product-key": "env:NOT_SET_HERE"}},
        "body": {"body": {**BODY, "key": "env:NOT_SET_HERE"}},
        "url": {"url": f"{product.url}/v2/answer?key=env:NOT_SET_HERE"},
    }[where]
    generator = http(given.pop("url"), answer=ANSWER, **given)
    with pytest.raises(ProviderError, match="NOT_SET_HERE is not set") as caught:
        await generator.generate(TEXT, context())
    await generator.aclose()
    assert caught.value.fatal
    assert product.asked == []


async def test_one_line_names_the_way_out_where_the_certificate_is_unknown_and_then_it_works(
    context: Context, tmp_path: Path
) -> None:
    with tls_server(lambda path, body: b'{"reply": "5"}', folder=tmp_path) as server:
        url = f"{server.url}/answer"
        doubtful = http(url, body=BODY, answer="reply")
        with pytest.raises(ProviderError, match=r"is not trusted.*verify") as caught:
            await doubtful.generate(TEXT, context())
        await doubtful.aclose()
        assert caught.value.fatal
        assert "\n" not in str(caught.value)
        assert server.requests == []
        trusting = http(url, body=BODY, answer="reply", client_options={"verify": server.ca_file})
        assert (await trusting.generate(TEXT, context())).final_output == "5"
        await trusting.aclose()
        assert json.loads(server.requests[0].body) == {"question": {"text": "2+3"}}


async def test_a_proxy_with_a_password_is_gone_through(
    product: Product, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy_server(user="me", password=SECRET) as proxy:
        monkeypatch.setenv("PROXY_PASSWORD", SECRET)
        generator = http(
            f"{product.url}/v2/answer", body=BODY, answer=ANSWER,
            client_options={"proxy": f"http://me:env:PROXY_PASSWORD@{proxy.address}"},
        )  # fmt: skip
        result = await generator.generate(TEXT, context())
        await generator.aclose()
        assert proxy.let_through == [f"POST {product.url}/v2/answer"]
        assert SECRET not in json.dumps(result.model_dump(mode="json"))
        monkeypatch.setenv("PROXY_PASSWORD", "wrong")
        locked_out = http(
            f"{product.url}/v2/answer", body=BODY, answer=ANSWER,
            client_options={"proxy": f"http://me:env:PROXY_PASSWORD@{proxy.address}"},
        )  # fmt: skip
        with pytest.raises(ProviderError, match=r"the proxy .* answered 407") as caught:
            await locked_out.generate(TEXT, context())
        await locked_out.aclose()
        assert caught.value.fatal
    assert len(product.asked) == 1


# ── a whole experiment ────────────────────────────────────────────────────────────────────────────


def _sums(n: int) -> Dataset:
    return Dataset(
        dataset_id="sums",
        cases=[
            Case(case_id=f"c{i}", input=f"{i}+{i}", expected_output=str(2 * i)) for i in range(n)
        ],
    )


def test_a_product_is_evaluated_and_asked_once_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRODUCT_KEY", SECRET)
    busy = Said(429, {"error": "busy"}, {"Retry-After": "0"})

    def script(asked: Asked) -> Said | None:
        return busy if asked.nth % 7 == 0 else None

    def make(url: str, store: str, metric: str) -> Any:
        return experiment(
            http(
                f"{url}/v2/answer",
                body=BODY,
                answer=ANSWER,
                headers={"x-product-key": "env:PRODUCT_KEY"},
                usage={"prompt_tokens": "meta.tokens.in", "completion_tokens": "meta.tokens.out"},
            ),
            cases=_sums(20),
            samples=2,
            metrics=["builtin/exact_match", CountingMetric(component_id=metric)],
            parser="builtin/text",
            storage=StorageConfig(store="sqlite", parameters={"path": str(tmp_path / store)}),
            generation_retry_attempts=5,
        )

    with Product(script, key=SECRET) as product:
        result = make(product.url, "runs.db", "one").run(progress=False)
        assert result.status == "completed"
        assert result.metrics["builtin/exact_match"].value == 1.0
        refused = sum(asked.nth % 7 == 0 for asked in product.asked)
        assert refused > 0
        assert len(product.asked) == 40 + refused
        before = len(product.asked)
        assert make(product.url, "runs.db", "two").run(progress=False).status == "completed"
        assert len(product.asked) == before  # another metric asks nothing again
        result.report(str(tmp_path / "report.md"))
    for path in tmp_path.rglob("*"):
        assert SECRET.encode() not in path.read_bytes(), path


def test_a_budget_is_never_overspent_as_the_service_counts() -> None:
    def settings(**more: Any) -> Any:
        usage = {"prompt_tokens": "meta.tokens.in", "completion_tokens": "meta.tokens.out"}
        return {"answer": ANSWER, "usage": usage, **more}

    with Product() as product:
        url = f"{product.url}/v2/answer"
        uncapped = http(url, body=BODY, **settings())
        with pytest.raises(DefinitionError, match="max_output_tokens"):
            experiment(uncapped, cases=_sums(20), budget={"tokens": 1500}).run(progress=False)
        assert product.asked == []
        body = {**BODY, "limit": "{{ max_output_tokens }}"}
        capped = http(url, body=body, **settings(max_output_tokens=4))
        with pytest.raises(BudgetSpentError, match=r"budget of 1,500 tokens"):
            experiment(capped, cases=_sums(200), metrics=[], budget={"tokens": 1500}).run(
                progress=False
            )
        spent = sum(len(asked.body["question"]["text"]) + 1 for asked in product.asked)
    assert 0 < spent <= 1500


def test_a_bad_key_stops_the_run_after_few_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRODUCT_KEY", "another")
    with Product(key=SECRET) as product:
        generator = http(
            f"{product.url}/v2/answer", body=BODY, answer=ANSWER,
            headers={"x-product-key": "env:PRODUCT_KEY"},
        )  # fmt: skip
        with pytest.raises(RunStoppedError, match="answered 401: who are you"):
            experiment(generator, cases=_sums(50), max_concurrent_tasks=4).run(progress=False)
        assert len(product.asked) <= 8


def test_an_address_that_is_not_known_there_stops_the_run_after_few_requests() -> None:
    with Product(lambda asked: Said(404)) as product:
        generator = http(f"{product.url}/v3/answer", body=BODY, answer=ANSWER)
        with pytest.raises(RunStoppedError, match="answered 404"):
            experiment(generator, cases=_sums(50), max_concurrent_tasks=4).run(progress=False)
        assert len(product.asked) <= 8


def test_a_case_that_a_product_does_not_know_stops_no_other() -> None:
    def unknown(asked: Asked) -> Said | None:
        return Said(404) if asked.nth > 1 and asked.nth % 2 else None

    with Product(unknown) as product:
        generator = http(f"{product.url}/v2/answer", body=BODY, answer=ANSWER)
        result = experiment(generator, cases=_sums(20), max_concurrent_tasks=1).run(progress=False)
        assert len(product.asked) == 20
    assert result.status == "partial_failure"
    failures = [failure for case in result.cases for failure in case.generation_failures]
    assert [failure.status for failure in failures] == [404] * 9


def test_an_answer_path_that_never_leads_anywhere_stops_the_run_after_few_requests() -> None:
    with Product() as product:
        generator = http(f"{product.url}/v2/answer", body=BODY, answer="data.reply.nowhere")
        with pytest.raises(RunStoppedError, match=r"answered without 'data\.reply\.nowhere'"):
            experiment(generator, cases=_sums(50), max_concurrent_tasks=4).run(progress=False)
        assert len(product.asked) <= 8


def test_a_config_file_names_an_endpoint_of_ones_own(
    tmp_path: Path, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRODUCT_KEY", SECRET)
    (tmp_path / "cases.jsonl").write_text(
        '{"case_id": "c1", "input": "2+3", "expected_output": "5"}\n'
    )
    config = tmp_path / "experiment.yaml"
    config.write_text(f"""
generation:
  generator:
    use: http
    url: {product.url}/v2/answer?key=env:PRODUCT_KEY
    body:
      question: {{text: "{{{{ input }}}}"}}
      seed: "{{{{ seed }}}}"
      api_key: env:PRODUCT_KEY
    answer: data.reply.text
    headers: {{x-product-key: env:PRODUCT_KEY}}
evaluation:
  metrics: [builtin/exact_match]
  parsers: [builtin/text]
storage: {{store: sqlite, parameters: {{path: runs.db}}}}
datasets:
  - {{path: cases.jsonl}}
""")
    result = Experiment.from_config(config).run(progress=False)
    assert result.metrics["builtin/exact_match"].value == 1.0
    (asked,) = product.asked
    assert (asked.query["key"], asked.headers["x-product-key"]) == (SECRET, SECRET)
    assert asked.body["api_key"] == SECRET
    assert type(asked.body["seed"]) is int
    for path in tmp_path.rglob("*"):
        assert SECRET.encode() not in path.read_bytes(), path
    literal = config.read_text().replace("api_key: env:PRODUCT_KEY", f"api_key: {SECRET}")
    config.write_text(literal)
    with pytest.raises(DefinitionError, match=r"body\.api_key") as caught:
        Experiment.from_config(config).compile()
    assert SECRET not in str(caught.value)
