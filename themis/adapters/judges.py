"""Models as judges, over the same requests as the generators.

A judge answers one rendered prompt; what is asked and how an answer is read is the metric's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from themis.adapters.endpoint import Endpoint
from themis.adapters.generator import ModelSettings
from themis.adapters.requests import (
    check_api_mode,
    joined_instructions,
    rendered_input,
    response_format,
)
from themis.adapters.vllm import NO_KEY
from themis.core.base import JSONValue
from themis.core.judging import JudgeResponse, RenderedJudgePrompt

PromptBuilder = Callable[[RenderedJudgePrompt], JSONValue]


class EndpointJudge:
    """Judges by asking a model once a question."""

    version = "1"

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self.component_id = f"{settings.endpoint.provider}_judge/{settings.model}"
        self.provider_key = settings.endpoint.provider_key
        self.model = settings.model
        self.base_url = settings.endpoint.base_url
        self.api_mode = settings.api_mode
        self.instructions = settings.instructions
        self.sampling = settings.sampling
        self.model_id = settings.model_id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r}, base_url={self.base_url!r})"

    def fingerprint(self) -> str:
        """Return a digest over all that changes an answer; keys and headers are not in it."""
        return self._settings.digest

    async def judge(self, prompt: RenderedJudgePrompt, *, seed: int | None = None) -> JudgeResponse:
        """Return the model's answer to a prompt.

        Raises:
            ProviderError: the endpoint gave none.
        """
        schema = prompt.response_schema
        body = self._settings.body(
            rendered_input(self._settings.built(prompt, prompt.text), None, {}),
            instructions=joined_instructions(self._settings.instructions, prompt.instructions),
            seed=seed,
            sampling=None
            if schema is None
            else {"response_format": response_format(schema, "judgment")},
        )
        answer = await self._settings.endpoint.ask(body)
        return JudgeResponse(
            text=answer.text,
            token_usage=answer.token_usage,
            latency_ms=answer.latency_ms,
            artifacts=answer.artifacts,
        )

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        await self._settings.endpoint.aclose()


def openai_judge(
    model: str,
    *,
    client: Any = None,
    instructions: str | None = None,
    input_builder: PromptBuilder | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    api_mode: str = "responses",
    sampling: Mapping[str, Any] = {},
    model_id: str | None = None,
    client_options: Mapping[str, Any] = {},
    fingerprint: str | None = None,
) -> EndpointJudge:
    """Return a judge that asks an OpenAI model; the arguments are those of ``openai``.

    ``input_builder`` is given the rendered prompt.
    """
    return EndpointJudge(
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


def vllm_judge(
    model: str,
    *,
    base_url: str,
    client: Any = None,
    api_key: str = NO_KEY,
    api_mode: str = "responses",
    instructions: str | None = None,
    input_builder: PromptBuilder | None = None,
    sampling: Mapping[str, Any] = {},
    model_id: str | None = None,
    client_options: Mapping[str, Any] = {},
    fingerprint: str | None = None,
) -> EndpointJudge:
    """Return a judge that asks a model served by vLLM; the arguments are those of ``vllm``.

    ``input_builder`` is given the rendered prompt.
    """
    return EndpointJudge(
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
