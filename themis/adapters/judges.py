"""Models as judges, over the same requests as the generators.

A judge answers one rendered prompt; what is asked and how an answer is read is the metric's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from themis.adapters.generator import EndpointModel, ModelSettings
from themis.adapters.inputs import rendered_input
from themis.adapters.prompt_tokens import bounded_tokens, estimated_tokens
from themis.adapters.requests import OPENAI, VLLM, joined_instructions, response_format
from themis.adapters.vllm import NO_KEY
from themis.core.base import JSONObject, JSONValue
from themis.core.errors import DefinitionError
from themis.core.hashing import digest_value, text
from themis.core.judging import JudgeResponse, RenderedJudgePrompt
from themis.core.prompts import as_text

PromptBuilder = Callable[[RenderedJudgePrompt], JSONValue]


class EndpointJudge(EndpointModel):
    """Judges by asking a model once a question.

    Attributes:
        structured_output: whether the endpoint enforces JSON schemas, so that metrics ask for their
            verdicts in the form of one.
    """

    def __init__(self, settings: ModelSettings, *, structured_output: bool) -> None:
        super().__init__(settings, kind=f"{settings.endpoint.provider}_judge")
        if not isinstance(structured_output, bool):
            raise DefinitionError(
                f"structured_output = {structured_output!r}: must be true or false",
                field="structured_output",
                value=structured_output,
            )
        self.structured_output = structured_output

    def fingerprint(self) -> str:
        """Return a digest over all that changes an answer, and how answers are asked for."""
        digest = super().fingerprint()
        # A judge that is asked in prose has the fingerprint of its settings alone.
        return text(digest_value("structured", digest)) if self.structured_output else digest

    def request(self, prompt: RenderedJudgePrompt, *, seed: int | None = None) -> JSONObject:
        """Return the body that would be sent for a prompt."""
        return self._request(prompt, seed, sent=False)

    def _request(self, prompt: RenderedJudgePrompt, seed: int | None, *, sent: bool) -> JSONObject:
        schema = prompt.response_schema
        given = self._settings.built.of(prompt, prompt.text, call=id(prompt), sent=sent)
        return self._settings.body(
            rendered_input(given, None, {}),
            instructions=joined_instructions(self._settings.instructions, prompt.instructions),
            seed=seed,
            sampling=None
            if schema is None
            else {"response_format": response_format(schema, "judgment")},
        )

    async def judge(self, prompt: RenderedJudgePrompt, *, seed: int | None = None) -> JudgeResponse:
        """Return the model's answer to a prompt; an answer that only calls tools as JSON text.

        Raises:
            ProviderError: the endpoint gave none.
        """
        answer = await self._settings.endpoint.ask(self._request(prompt, seed, sent=True))
        return JudgeResponse(
            text=as_text(answer.output),
            token_usage=answer.token_usage,
            latency_ms=answer.latency_ms,
            artifacts=answer.artifacts,
        )

    def estimate_tokens(self, prompt: RenderedJudgePrompt) -> int:
        """Return about how many tokens a prompt has: a token for every 4 characters."""
        return estimated_tokens(self.request(prompt))

    def bound_tokens(self, prompt: RenderedJudgePrompt) -> int:
        """Return how many tokens a prompt has at most, counted as a generator's are.

        Raises:
            DefinitionError: there are tools that the endpoint runs, whose tokens nothing bounds.
        """
        return bounded_tokens(self.request(prompt))


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
    stream: bool = False,
    model_id: str | None = None,
    client_options: Mapping[str, Any] = {},
    fingerprint: str | None = None,
    structured_output: bool = False,
) -> EndpointJudge:
    """Return a judge that asks an OpenAI model; the arguments are those of ``openai``.

    ``input_builder`` is given the rendered prompt. ``structured_output=True`` says that the
    endpoint enforces JSON schemas: metrics then ask for a verdict in the form of one, else for a
    last line.
    """
    return EndpointJudge(
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
        ),
        structured_output=structured_output,
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
    stream: bool = False,
    model_id: str | None = None,
    client_options: Mapping[str, Any] = {},
    fingerprint: str | None = None,
    structured_output: bool = False,
) -> EndpointJudge:
    """Return a judge that asks a model served by vLLM; the arguments are those of ``vllm``.

    ``input_builder`` is given the rendered prompt. ``structured_output=True`` says that the
    endpoint enforces JSON schemas: metrics then ask for a verdict in the form of one, else for a
    last line.
    """
    return EndpointJudge(
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
        ),
        structured_output=structured_output,
    )
