"""A generator over an OpenAI-compatible endpoint: a case in, one answer out.

What would change the answer is in its fingerprint; where and with which key it was asked is not,
except that the address stands for what is served there until ``model_id`` says it by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from themis.adapters.building import BuiltInputs
from themis.adapters.endpoint import Endpoint
from themis.adapters.functions import fingerprint_function
from themis.adapters.inputs import rendered_input
from themis.adapters.prompt_tokens import bounded_tokens, estimated_tokens
from themis.adapters.requests import (
    OUTPUT_CAP,
    ApiMode,
    Dialect,
    canonical_sampling,
    check_api_mode,
    conversation,
    joined_instructions,
    request_body,
)
from themis.core.base import JSONObject, JSONValue
from themis.core.contexts import GenerateContext
from themis.core.errors import DefinitionError
from themis.core.hashing import digest_value, encode, text
from themis.core.models import Case, GenerationResult


class ModelSettings:
    """What is asked of which model, and where: common to generators and judges.

    Args:
        dialect: which provider it is.
        model: the model's name at the endpoint.
        client: an ``AsyncOpenAI`` or a stand-in for one.
        instructions: the adapter's own instructions; the prompt spec's come after them.
        input_builder: makes the input of what is asked; fingerprinted.
        base_url: the endpoint's address.
        api_key: its key, or ``env:NAME``.
        api_mode: which API is called.
        sampling: sampling parameters, by their canonical or the API's names.
        stream: whether answers come in pieces.
        model_id: what is served, where the address does not say it for good.
        client_options: how a made client connects.
        fingerprint: the user's name for what ``input_builder`` does, in place of its source.
    """

    def __init__(
        self,
        dialect: Dialect,
        *,
        model: str,
        client: Any,
        instructions: str | None,
        input_builder: Callable[..., JSONValue] | None,
        base_url: str | None,
        api_key: str | None,
        api_mode: str,
        sampling: Mapping[str, Any],
        stream: bool,
        model_id: str | None,
        client_options: Mapping[str, Any],
        fingerprint: str | None,
    ) -> None:
        _check_kinds(model=model, instructions=instructions, stream=stream)
        if fingerprint is not None and input_builder is None:
            raise DefinitionError(
                "fingerprint= names what input_builder does, and there is none", field="fingerprint"
            )
        self.api_mode = check_api_mode(api_mode)
        self.endpoint = Endpoint(
            provider=dialect.provider,
            api_mode=self.api_mode,
            base_url=base_url,
            api_key=api_key,
            client=client,
            client_options=client_options,
        )
        self.model = model
        self.instructions = instructions or None
        self.input_builder = input_builder
        self.sampling = canonical_sampling(sampling)
        self.stream = stream
        self.model_id = model_id
        self._dialect = dialect
        self.built = BuiltInputs(input_builder)
        self.facts = self._facts(fingerprint)
        """All that changes an answer."""
        self.digest = text(digest_value("model", self.facts))

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
            dialect=self._dialect,
            api_mode=self.api_mode,
            content=content,
            instructions=instructions,
            sampling=self.sampling if sampling is None else {**self.sampling, **sampling},
            seed=seed,
            stream=self.stream,
        )

    def _facts(self, declared: str | None) -> JSONObject:
        builder = self.input_builder
        served = (
            {"base_url": self.endpoint.base_url}
            if self.model_id is None
            else {"model_id": self.model_id}
        )
        return {
            "api_mode": self.api_mode,
            "input_builder": None if builder is None else fingerprint_function(builder, declared),
            "instructions": self.instructions or None,
            "model": self.model,
            "sampling": {
                name: {"json": encode(value).decode()} if isinstance(value, (list, dict)) else value
                for name, value in self.sampling.items()
            },
            "served": served,
            **_seeded(self._dialect, self.api_mode),
        }


def _check_kinds(*, model: object, instructions: object, stream: object) -> None:
    if not isinstance(model, str) or not model:
        raise DefinitionError(
            f"model = {model!r}: must be the name of the model to ask", field="model", value=model
        )
    if not isinstance(instructions, str | None):
        raise DefinitionError(
            f"instructions are a {type(instructions).__name__}: must be text", field="instructions"
        )
    if type(stream) is not bool:
        raise DefinitionError(
            f"stream = {stream!r}: must be True or False", field="stream", value=stream
        )


def _seeded(dialect: Dialect, api_mode: ApiMode) -> JSONObject:
    """Return what tells requests with a seed from those of an API that commonly takes none."""
    return {"seeded": True} if api_mode == "responses" and dialect.responses_seed else {}


class EndpointModel:
    """A model behind an endpoint, whether it answers cases or judges: what it says of itself."""

    version = "1"

    def __init__(self, settings: ModelSettings, *, kind: str) -> None:
        self._settings = settings
        self.component_id = f"{kind}/{settings.model}"
        self.provider_key = settings.endpoint.provider_key
        self.model = settings.model
        self.base_url = settings.endpoint.base_url
        self.api_mode = settings.api_mode
        self.instructions = settings.instructions
        self.sampling = settings.sampling
        self.model_id = settings.model_id
        self.stream = settings.stream
        self.users_function = settings.input_builder
        self.fingerprinted = settings.facts

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r}, base_url={self.base_url!r})"

    @property
    def max_output_tokens(self) -> int | None:
        """The cap on output tokens that each request carries; None where it carries none."""
        cap = self.sampling.get(OUTPUT_CAP)
        return cap if type(cap) is int else None

    def fingerprint(self) -> str:
        """Return a digest over all that changes an answer; keys and headers are not in it."""
        return self._settings.digest

    async def aopen(self) -> None:
        """Load what the first call needs, so that its timeout is the endpoint's alone."""
        await self._settings.endpoint.aopen()

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        await self._settings.endpoint.aclose()


class EndpointGenerator(EndpointModel):
    """Generates by asking a model once a sample."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings, kind=settings.endpoint.provider)
        reads = {"input"} if settings.input_builder is None else None
        self.reads = frozenset(reads or {"input", "expected_output", "metadata"})

    def request(self, case: Case, ctx: GenerateContext) -> JSONObject:
        """Return the body that would be sent for a sample."""
        content, instructions = self._rendered(case, ctx, sent=False)
        return self._settings.body(content, instructions=instructions, seed=ctx.seed)

    async def generate(self, case: Case, ctx: GenerateContext) -> GenerationResult:
        """Return the model's answer: its text or, if it only calls tools, the list of the calls.

        A call is ``{"name": ..., "arguments": ...}``; with their ids they are in the artifacts.

        Raises:
            ProviderError: the endpoint gave none.
        """
        content, instructions = self._rendered(case, ctx, sent=True)
        body = self._settings.body(content, instructions=instructions, seed=ctx.seed)
        answer = await self._settings.endpoint.ask(body)
        return GenerationResult(
            candidate_id=f"{case.case_id}-{ctx.sample_index}",
            final_output=answer.output,
            conversation=conversation(content, instructions, answer.output),
            artifacts=answer.artifacts,
            token_usage=answer.token_usage,
            latency_ms=answer.latency_ms,
        )

    def estimate_tokens(self, case: Case, ctx: GenerateContext) -> int:
        """Return about how many tokens a sample's prompt has: a token for every 4 characters."""
        return estimated_tokens(self.request(case, ctx))

    def bound_tokens(self, case: Case, ctx: GenerateContext) -> int:
        """Return how many tokens a sample's prompt has at most.

        A token for every byte of UTF-8 in all texts sent, the JSON schema and the tools included,
        and allowances for the chat template: 64 for each message, 128 for a default system prompt,
        512 where there are tools, 16,384 for each image, whatever its size. It holds for byte-level
        BPE and SentencePiece tokenizers.

        Raises:
            DefinitionError: there are tools that the endpoint runs, whose tokens nothing bounds.
        """
        return bounded_tokens(self.request(case, ctx))

    def _rendered(
        self, case: Case, ctx: GenerateContext, *, sent: bool
    ) -> tuple[JSONValue, str | None]:
        spec = ctx.prompt_spec
        call = (ctx.run_id, ctx.case_key, ctx.sample_index)
        given = self._settings.built.of(case, case.input, call=call, sent=sent)
        content = rendered_input(given, spec, case.metadata)
        own = None if spec is None else spec.instructions
        return content, joined_instructions(self._settings.instructions, own)
