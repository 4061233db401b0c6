"""An endpoint of one's own as a generator: its settings, its identity, the answer read.

Covers: themis.adapters.http, themis.adapters.http.http_generator
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.adapters.http.conftest import ANSWER, BODY, OBJECT, SECRET, TEXT, Context, sent
from tests.support.product import Product, Said
from themis.adapters import http
from themis.core.errors import (
    DefinitionError,
    MissingExtraError,
)
from themis.core.models import Case

pytestmark = pytest.mark.network


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
    bound = generator.max_prompt_tokens(TEXT, context())
    result = await generator.generate(TEXT, context())
    await generator.aclose()
    assert made == ["1+1"]
    assert product.asked[0].body == {"question": {"text": "1+1"}}
    assert bound >= len(json.dumps(product.asked[0].body))
    assert [one.content for one in result.conversation or []] == ["1+1", "2"]


def test_an_input_builder_makes_the_input(context: Context) -> None:
    settings = {"input_builder": lambda case: {"topic": case.metadata["topic"]}}
    assert sent("{{ input.topic }}", TEXT, context(), **settings) == "sums"
    made = http("http://localhost/x", body=BODY, answer=".", **settings)
    assert made.reads == {"input", "expected_output", "metadata"}


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
    assert generator.max_prompt_tokens(case, context()) >= len("größer ".encode()) * 100
    assert generator.estimate_tokens(case, context()) == 175


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
