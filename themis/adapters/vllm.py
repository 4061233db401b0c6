"""A vLLM server, by its OpenAI-compatible APIs.

Sampling parameters that only vLLM knows (``top_k``, ``min_p``, ...) are sent as they are. The
environment's OpenAI key is never sent to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from themis.adapters.building import InputBuilder
from themis.adapters.generator import EndpointGenerator, ModelSettings
from themis.adapters.requests import VLLM

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
    stream: bool = False,
    model_id: str | None = None,
    client_options: Mapping[str, Any] = {},
    fingerprint: str | None = None,
) -> VLLMGenerator:
    """Return a generator that asks a model served by vLLM.

    The sample's seed is sent with both APIs.

    Args:
        model: the name it is served under.
        base_url: address of the server, such as "http://localhost:8000/v1".
        client: an ``AsyncOpenAI`` or a stand-in for one; made by the first call by default.
        api_key: what the server was started with, if anything, or ``env:NAME``. Never stored,
            never part of identity.
        api_mode: "responses" or "chat_completions".
        instructions: the system message; the prompt spec's instructions come after it.
        input_builder: makes the input of a case: text, chat messages, a list of text and image
            parts, ``{"text": ..., "image": ...}``, or any other JSON value, sent as JSON text.
        sampling: ``temperature``, ``top_k``, ``max_output_tokens``, ``seed``, ``stop``,
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
    return VLLMGenerator(
        ModelSettings(
            VLLM,
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
