"""A generator over an OpenAI-compatible endpoint: a case in, one answer out.

What would change the answer is in its fingerprint; where and with which key it was asked is not,
except that the address stands for what is served there until ``model_id`` says it by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from themis.adapters.endpoint import Endpoint
from themis.adapters.functions import fingerprint_function
from themis.adapters.requests import (
    ApiMode,
    canonical_sampling,
    conversation,
    joined_instructions,
    rendered_input,
    request_body,
)
from themis.core.base import JSONObject, JSONValue
from themis.core.contexts import GenerateContext
from themis.core.errors import DefinitionError
from themis.core.hashing import check_json, digest_value, text
from themis.core.models import Case, GenerationResult
from themis.core.prompts import PromptSpec, as_text

InputBuilder = Callable[[Case], JSONValue]


class ModelSettings:
    """What is asked of which model: common to generators and judges.

    Args:
        endpoint: where requests go.
        model: the model's name at the endpoint.
        instructions: the adapter's own instructions; the prompt spec's come after them.
        input_builder: makes the input of what is asked; fingerprinted.
        sampling: sampling parameters, by their canonical or the API's names.
        model_id: what is served, where the address does not say it for good.
        fingerprint: the user's name for what ``input_builder`` does, in place of its source.
        chat_limit: what Chat Completions call the limit of output tokens here.
    """

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        model: str,
        instructions: str | None,
        input_builder: Callable[..., JSONValue] | None,
        sampling: Mapping[str, Any],
        model_id: str | None,
        fingerprint: str | None,
        chat_limit: str,
    ) -> None:
        if not model:
            raise DefinitionError("model is empty: name the model to ask", field="model")
        if fingerprint is not None and input_builder is None:
            raise DefinitionError(
                "fingerprint= names what input_builder does, and there is none", field="fingerprint"
            )
        self.endpoint = endpoint
        self.model = model
        self.instructions = instructions
        self.input_builder = input_builder
        self.sampling = canonical_sampling(sampling)
        self.model_id = model_id
        self._chat_limit = chat_limit
        self._digest = self._fingerprint(fingerprint)

    @property
    def api_mode(self) -> ApiMode:
        """The API that is called."""
        return self.endpoint.api_mode

    @property
    def digest(self) -> str:
        """Digest text over all that changes an answer."""
        return self._digest

    def body(
        self,
        content: JSONValue,
        *,
        instructions: str | None,
        seed: int | None,
        sampling: JSONObject | None = None,
    ) -> JSONObject:
        """Return the request for text or messages."""
        return request_body(
            model=self.model,
            api_mode=self.api_mode,
            content=content,
            instructions=instructions,
            sampling={**self.sampling, **(sampling or {})},
            seed=seed,
            chat_limit=self._chat_limit,
        )

    def built(self, subject: Any, default: JSONValue) -> JSONValue:
        """Return what ``input_builder`` makes of a subject; the default where there is none."""
        if self.input_builder is None:
            return default
        return check_json(self.input_builder(subject), "what input_builder returned")

    def _fingerprint(self, declared: str | None) -> str:
        builder = self.input_builder
        served = (
            {"base_url": self.endpoint.base_url}
            if self.model_id is None
            else {"model_id": self.model_id}
        )
        return text(
            digest_value(
                "model",
                {
                    "api_mode": self.api_mode,
                    "input_builder": None
                    if builder is None
                    else fingerprint_function(builder, declared),
                    "instructions": self.instructions,
                    "model": self.model,
                    "sampling": self.sampling,
                    "served": served,
                },
            )
        )


class EndpointGenerator:
    """Generates by asking a model once a sample."""

    version = "1"

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self.component_id = f"{settings.endpoint.provider}/{settings.model}"
        reads = {"input"} if settings.input_builder is None else None
        self.reads = frozenset(reads or {"input", "expected_output", "metadata"})
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

    def request(self, case: Case, ctx: GenerateContext) -> JSONObject:
        """Return the body that would be sent for a sample."""
        content, instructions = self._rendered(case, ctx)
        return self._settings.body(content, instructions=instructions, seed=ctx.seed)

    async def generate(self, case: Case, ctx: GenerateContext) -> GenerationResult:
        """Return the model's answer.

        Raises:
            ProviderError: the endpoint gave none.
        """
        content, instructions = self._rendered(case, ctx)
        body = self._settings.body(content, instructions=instructions, seed=ctx.seed)
        answer = await self._settings.endpoint.ask(body)
        return GenerationResult(
            candidate_id=f"{case.case_id}-{ctx.sample_index}",
            final_output=answer.text,
            conversation=conversation(content, instructions, answer.text),
            artifacts=answer.artifacts,
            token_usage=answer.token_usage,
            latency_ms=answer.latency_ms,
        )

    def estimate_tokens(self, case: Case, ctx: GenerateContext) -> int:
        """Return about how many tokens a sample's prompt has: a token for every 4 characters."""
        content, instructions = self._rendered(case, ctx)
        return -(-(len(as_text(content)) + len(instructions or "")) // 4)

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        await self._settings.endpoint.aclose()

    def _rendered(self, case: Case, ctx: GenerateContext) -> tuple[JSONValue, str | None]:
        spec = ctx.prompt_spec or PromptSpec()
        given = self._settings.built(case, case.input)
        content = rendered_input(given, spec, case.metadata)
        return content, joined_instructions(self._settings.instructions, spec.instructions)
