"""OpenAI, and endpoints that speak its Responses or Chat Completions API.

The SDK comes with the extra "openai" and is loaded by the first call. Conversations kept at the
endpoint are not used: a sample is one request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from themis.adapters.building import InputBuilder
from themis.adapters.generator import EndpointGenerator, ModelSettings
from themis.adapters.requests import OPENAI


class OpenAIGenerator(EndpointGenerator):
    """Generates by asking OpenAI, or who speaks like it."""


def openai(
    model: str,
    *,
    client: Any = None,
    instructions: str | None = None,
    input_builder: InputBuilder | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    api_mode: str = "responses",
    sampling: Mapping[str, Any] = {},
    stream: bool = False,
    model_id: str | None = None,
    client_options: Mapping[str, Any] = {},
    fingerprint: str | None = None,
) -> OpenAIGenerator:
    """Return a generator that asks an OpenAI model.

    The sample's seed is sent with Chat Completions; the Responses API takes none.

    Args:
        model: name of the model, such as "gpt-4.1-mini".
        client: an ``AsyncOpenAI`` or a stand-in for one; made by the first call by default.
        instructions: the system message; the prompt spec's instructions come after it.
        input_builder: makes the input of a case: text, chat messages, a list of text and image
            parts, ``{"text": ..., "image": ...}``, or any other JSON value, sent as JSON text.
        base_url: address of the endpoint; ``OPENAI_BASE_URL``, or OpenAI's own, by default.
        api_key: its key, or ``env:NAME``; ``OPENAI_API_KEY`` by default. Never stored, never part
            of identity.
        api_mode: "responses" or "chat_completions".
        sampling: ``temperature``, ``top_p``, ``max_output_tokens``, ``seed``, ``stop``,
            ``reasoning_effort``, ``response_format`` and the like; part of identity.
        stream: whether answers come in pieces, so that ``artifacts["first_token_ms"]`` tells when
            they began; no part of identity.
        model_id: what is served there; stands in identity in place of ``base_url``.
        client_options: of a made client. ``headers``, a secret in them as ``env:NAME`` or ``Bearer
            env:NAME``; ``proxy``, a URL, its password as ``env:NAME``, or the environment's proxies
            by default; ``verify``, True, False or a CA file; ``timeout``, seconds between two bytes
            of an answer, none by default.
        fingerprint: a name for what ``input_builder`` does, where its source cannot say it.

    Raises:
        MissingExtraError: the SDK is not installed. DefinitionError: an argument is not right.
    """
    return OpenAIGenerator(
        ModelSettings(
            OPENAI,
            model=model,
            client=client,
            instructions=instructions,
            input_builder=input_builder,
            base_url=base_url,
            api_key=api_key,
            api_mode=api_mode,
            sampling=sampling,
            stream=stream,
            model_id=model_id,
            client_options=client_options,
            fingerprint=fingerprint,
        )
    )
