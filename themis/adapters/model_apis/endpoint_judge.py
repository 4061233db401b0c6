"""Models as judges, over the same requests as the generators.

A judge answers one rendered prompt. The metric writes the prompt and reads the answer.
"""

from __future__ import annotations

from collections.abc import Callable

from themis.adapters.model_apis.api import Parts
from themis.adapters.model_apis.endpoint_generator import EndpointModel, ModelSettings
from themis.adapters.model_apis.prompt_tokens import bounded_tokens, estimated_tokens
from themis.adapters.model_apis.sampling import response_format
from themis.adapters.prompting.content import rendered_input
from themis.adapters.prompting.messages import joined_instructions
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
        return self._settings.api.body(self._parts(prompt, seed, sent=False))

    def _parts(self, prompt: RenderedJudgePrompt, seed: int | None, *, sent: bool) -> Parts:
        schema = prompt.response_schema
        given = self._settings.built.of(prompt, prompt.text, call=id(prompt), sent=sent)
        return self._settings.parts(
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
        parts = self._parts(prompt, seed, sent=True)
        answer = await self._settings.endpoint.ask(self._settings.api.body(parts))
        return JudgeResponse(
            text=as_text(answer.output),
            token_usage=answer.token_usage,
            latency_ms=answer.latency_ms,
            artifacts=answer.artifacts,
        )

    def estimate_tokens(self, prompt: RenderedJudgePrompt) -> int:
        """Return about how many tokens a prompt has: a token for every 4 characters."""
        return estimated_tokens(self._countable(prompt))

    def max_prompt_tokens(self, prompt: RenderedJudgePrompt) -> int:
        """Return how many tokens a prompt has at most, counted as a generator's are.

        Raises:
            DefinitionError: there are tools that the endpoint runs, whose tokens nothing bounds.
        """
        return bounded_tokens(self._countable(prompt))

    def _countable(self, prompt: RenderedJudgePrompt) -> JSONObject:
        return self._settings.api.countable(self._parts(prompt, None, sent=False))
