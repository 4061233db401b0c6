"""Of an answer's headers those are kept that tell something of it, and no secret in them.

Covers: themis.adapters.transport.kept_headers
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.each_adapter import ADAPTERS, Adapter
from tests.support.raw_server import answer, serving
from themis.adapters.transport.kept_headers import LONGEST, header_evidence, kept_headers
from themis.core.contexts import GenerateContext
from themis.core.models import Case
from themis.core.redaction import HIDDEN

Context = Callable[..., GenerateContext]
TEXT = Case(case_id="c", input="2+2")
OPENAI = """date server content-type cf-ray cf-cache-status openai-version openai-processing-ms
x-request-id x-ratelimit-limit-requests x-ratelimit-remaining-tokens x-ratelimit-reset-requests
x-envoy-upstream-service-time retry-after retry-after-ms x-should-retry"""
ANTHROPIC = """request-id anthropic-ratelimit-input-tokens-remaining via
anthropic-ratelimit-requests-reset x-cloud-trace-context-trace-id"""
AZURE = "apim-request-id x-ms-request-id x-ms-region x-ms-deployment-name azureml-model-session"
OTHERS = """x-compute-time x-time-per-token x-inference-time x-prompt-tokens x-generated-tokens
x-queue-time server-timing x-litellm-call-id x-litellm-model-id x-litellm-version
x-litellm-response-cost ratelimit ratelimit-policy x-rate-limit-remaining x-generation-id
x-inference-provider x-amzn-requestid x-amzn-trace-id traceparent age x-cache deprecation sunset
x-model x-model-version system-fingerprint"""
DROPPED = """set-cookie strict-transport-security alt-svc nel report-to vary connection keep-alive
access-control-expose-headers access-control-allow-origin cache-control x-content-type-options
content-length content-encoding transfer-encoding openai-organization openai-project
anthropic-organization-id content-security-policy x-powered-by pragma expires etag location
x-frame-options referrer-policy permissions-policy"""


@pytest.mark.parametrize("names", [OPENAI, ANTHROPIC, AZURE, OTHERS])
def test_what_tells_of_the_request_the_model_its_time_and_its_limits_is_kept(names: str) -> None:
    headers = dict.fromkeys(names.split(), "1")
    assert kept_headers(headers) == headers


def test_what_is_for_browsers_and_networks_or_names_the_account_is_not() -> None:
    assert kept_headers(dict.fromkeys(DROPPED.split(), "1")) == {}


def test_a_secret_is_hidden_in_what_is_kept_and_a_long_value_cut() -> None:
    key = "sk-" + "Ab1" * 10
    kept = kept_headers({"x-token-model": key, "x-session-id-model": "1", "x-model": "a" * 60_000})
    assert key not in str(kept)
    assert kept["x-session-id-model"] == HIDDEN
    assert kept["x-model"] == "a" * LONGEST


@pytest.mark.parametrize("name", ["x-request-id", "request-id", "apim-request-id"])
def test_the_request_is_named_by_a_header_or_else_by_its_answer(name: str) -> None:
    assert header_evidence({name: "r1"}, request_id="body")["provider_request_id"] == "r1"
    assert header_evidence({}, request_id="body")["provider_request_id"] == "body"
    assert header_evidence({}) == {}


@pytest.mark.network
@pytest.mark.parametrize("adapter", ADAPTERS, ids=str)
async def test_every_adapter_keeps_the_same(adapter: Adapter, context: Context) -> None:
    said = answer(adapter.body, cf_ray="c1", set_cookie="a=b", alt_svc="h3", x_model="m-2")
    with serving(lambda _: said) as raw:
        generator = adapter.make(raw.url)
        result = await generator.generate(TEXT, context())
        await generator.aclose()
    assert result.final_output == "4"
    artifacts = result.artifacts or {}
    assert artifacts["response_headers"] == {"cf-ray": "c1", "x-model": "m-2"}
