"""A vLLM server, by its OpenAI-compatible APIs.

Sampling parameters that only vLLM knows (``top_k``, ``min_p``, ...) are sent as they are. The
environment's OpenAI key is never sent to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from themis.adapters.endpoint import Endpoint
from themis.adapters.generator import EndpointGenerator, InputBuilder, ModelSettings
from themis.adapters.requests import check_api_mode

NO_KEY = "EMPTY"
"""What vLLM's own documentation gives for a server that asks for no key."""


class VLLMGenerator(EndpointGenerator):
    """Generates by asking a vLLM server."""


def vllm(
    model: str,
    *,
    base_url: str,
    client: Any = None,
    api_key: str = NO_KEY,
    api_mode: str = "responses",
    instructions: str | None = None,
    input_builder: InputBuilder | None = None,
    sampling: Mapping[str, Any] = {},
    model_id: str | None = None,
    client_options: Mapping[str, Any] = {},
    fingerprint: str | None = None,
) -> VLLMGenerator:
    """Return a generator that asks a model served by vLLM.

    Args:
        model: the name it is served under.
        base_url: address of the server, such as "http://localhost:8000/v1".
        client: an ``AsyncOpenAI`` or a stand-in for one; made by the first call by default.
        api_key: what the server was started with, if anything. Never stored, never identity.
        api_mode: "responses" or "chat_completions".
        instructions: the system message; the prompt spec's instructions come after it.
        input_builder: makes the input of a case: text, chat messages, or any JSON value.
        sampling: ``temperature``, ``top_k``, ``max_output_tokens`` and the like; part of identity.
        model_id: what is served there; stands in identity in place of ``base_url``.
        client_options: ``headers``, ``proxy``, ``verify``, ``timeout`` in seconds.
        fingerprint: a name for what ``input_builder`` does, where its source cannot say it.

    Raises:
        MissingExtraError: the SDK is not installed and no client was given.
        DefinitionError: an argument is not what it must be.
    """
    return VLLMGenerator(
        ModelSettings(
            endpoint=Endpoint(
                provider="vllm",
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
            chat_limit="max_tokens",
        )
    )
