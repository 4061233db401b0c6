"""Addresses, queries and bodies with secrets in them: sent where they belong, and kept nowhere.

Covers: themis.adapters.http.target, themis.adapters.transport.references,
themis.adapters.transport.secrets
"""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import quote_plus

import pytest

from tests.adapters.http.conftest import ANSWER, BODY, SECRET, TEXT, Context
from tests.support.product import Asked, Product, Said
from themis.adapters import http
from themis.core.errors import (
    ProviderError,
)
from themis.core.models import Case
from themis.core.redaction import HIDDEN

pytestmark = pytest.mark.network


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


async def test_a_secret_is_hidden_in_an_answer_and_in_the_names_of_its_fields(
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
        HIDDEN: {"text": f"your key is {HIDDEN}", "n": 2}
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
