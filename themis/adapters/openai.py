"""OpenAI, and endpoints that speak its Responses or Chat Completions API.

The SDK comes with the extra "openai" and is loaded by the first call. Streaming, tools that the
endpoint runs and conversations kept at the endpoint are not used: a sample is one request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from themis.adapters.endpoint import Endpoint
from themis.adapters.generator import EndpointGenerator, InputBuilder, ModelSettings
from themis.adapters.requests import check_api_mode


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
    model_id: str | None = None,
    client_options: Mapping[str, Any] = {},
    fingerprint: str | None = None,
) -> OpenAIGenerator:
    """Return a generator that asks an OpenAI model.

    Args:
        model: name of the model, such as "gpt-4.1-mini".
        client: an ``AsyncOpenAI`` or a stand-in for one; made by the first call by default.
        instructions: the system message; the prompt spec's instructions come after it.
        input_builder: makes the input of a case: text, chat messages, or any JSON value.
        base_url: address of the endpoint; ``OPENAI_BASE_URL``, or OpenAI's own, by default.
        api_key: its key; ``OPENAI_API_KEY`` by default. Never stored, never part of identity.
        api_mode: "responses" or "chat_completions".
        sampling: ``temperature``, ``top_p``, ``max_output_tokens`` and the like; part of identity.
        model_id: what is served there; stands in identity in place of ``base_url``.
        client_options: ``headers``, ``proxy``, ``verify``, ``timeout`` in seconds.
        fingerprint: a name for what ``input_builder`` does, where its source cannot say it.

    Raises:
        MissingExtraError: the SDK is not installed and no client was given.
        DefinitionError: an argument is not what it must be.
    """
    return OpenAIGenerator(
        ModelSettings(
            endpoint=Endpoint(
                provider="openai",
                api_mode=check_api_mode(api_mode),
                base_url=base_url,
                api_key=api_key,
                client=client,
                client_options=client_options,
            ),
            model=model,
            instructions=instructions,
            input_builder=input_builder,
            sampling=sampling,
            model_id=model_id,
            fingerprint=fingerprint,
            chat_limit="max_completion_tokens",
        )
    )
