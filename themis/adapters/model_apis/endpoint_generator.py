"""A generator over an endpoint of models: a case in, one answer out.

What would change the answer is in its fingerprint; where and with which key it was asked is not,
except that the address stands for what is served there until ``model_id`` says it by name.
"""

from __future__ import annotations

from collections.abc import Callable

from themis.adapters.model_apis.api import Api, Dialect, Parts
from themis.adapters.model_apis.endpoint import Endpoint
from themis.adapters.model_apis.options import DEFAULTS, AskOptions, ModelOptions
from themis.adapters.model_apis.prompt_tokens import bounded_tokens, estimated_tokens
from themis.adapters.model_apis.sampling import OUTPUT_CAP, canonical_sampling
from themis.adapters.prompting.content import rendered_input
from themis.adapters.prompting.input_builder import (
    BuiltInputs,
    builder_fingerprint,
    fields_read,
)
from themis.adapters.prompting.messages import conversation, joined_instructions
from themis.core.base import JSONObject, JSONValue
from themis.core.contexts import GenerateContext
from themis.core.errors import DefinitionError
from themis.core.hashing import digest_value, encode, text
from themis.core.models import Case, GenerationResult


class ModelSettings:
    """A model, its endpoint and how it is asked: what generators and judges have in common.

    Args:
        dialect: which provider it is.
        model: the model's name at the endpoint.
        base_url: the endpoint's address.
        api_key: its key, or ``env:NAME``.
        input_builder: makes the input of a case or of a judge prompt; fingerprinted.
        options: the shared ones, as far as they were given.
    """

    def __init__(
        self,
        dialect: Dialect,
        model: str,
        base_url: str | None,
        api_key: str | None,
        input_builder: Callable[..., JSONValue] | None,
        options: AskOptions,
    ) -> None:
        given: ModelOptions = {**DEFAULTS, **options}
        _check_kinds(model=model, instructions=given["instructions"], stream=given["stream"])
        self.api = dialect.api(str(dict(options).get("api_mode", next(iter(dialect.apis)))))
        self.endpoint = Endpoint(
            dialect=dialect,
            api=self.api,
            base_url=base_url,
            api_key=api_key,
            client=given["client"],
            client_options=given["client_options"],
        )
        self.model = model
        self.instructions = given["instructions"] or None
        self.input_builder = input_builder
        self.sampling = canonical_sampling(given["sampling"])
        self.api.check(self.sampling)
        self.stream = given["stream"]
        self.model_id = given["model_id"]
        self.built = BuiltInputs(input_builder)
        self.facts = self._facts(given["fingerprint"])
        """All that changes an answer."""
        self.digest = text(digest_value("model", self.facts))

    def parts(
        self,
        content: JSONValue,
        *,
        instructions: str | None,
        seed: int | None,
        sampling: JSONObject | None = None,
    ) -> Parts:
        """Return what a request for text or messages is made of."""
        return Parts(
            model=self.model,
            content=content,
            instructions=instructions,
            sampling=self.sampling if sampling is None else {**self.sampling, **sampling},
            seed=seed,
            stream=self.stream,
        )

    def _facts(self, declared: str | None) -> JSONObject:
        served = (
            {"base_url": self.endpoint.base_url}
            if self.model_id is None
            else {"model_id": self.model_id}
        )
        return {
            "api_mode": self.api.mode,
            "input_builder": builder_fingerprint(self.input_builder, declared),
            "instructions": self.instructions or None,
            "model": self.model,
            "sampling": {
                name: {"json": encode(value).decode()} if isinstance(value, (list, dict)) else value
                for name, value in self.sampling.items()
            },
            "served": served,
            **_seeded(self.api),
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


def _seeded(api: Api) -> JSONObject:
    """Return what tells requests with a seed from those of an API that commonly takes none."""
    return {"seeded": True} if getattr(api, "takes_seed", False) else {}


class EndpointModel:
    """A model behind an endpoint: the attributes that its generators and its judges share."""

    version = "1"

    def __init__(self, settings: ModelSettings, *, kind: str) -> None:
        self._settings = settings
        self.component_id = f"{kind}/{settings.model}"
        self.provider_key = settings.endpoint.provider_key
        self.model = settings.model
        self.base_url = settings.endpoint.base_url
        self.api_mode = settings.api.mode
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
        self.reads = fields_read(settings.input_builder)

    def request(self, case: Case, ctx: GenerateContext) -> JSONObject:
        """Return the body that would be sent for a sample."""
        return self._settings.api.body(self._parts(case, ctx))

    async def generate(self, case: Case, ctx: GenerateContext) -> GenerationResult:
        """Return the model's answer: its text or, if it only calls tools, the list of the calls.

        A call is ``{"name": ..., "arguments": ...}``; with their ids they are in the artifacts.

        Raises:
            ProviderError: the endpoint gave none.
        """
        content, instructions = self._rendered(case, ctx, sent=True)
        parts = self._settings.parts(content, instructions=instructions, seed=ctx.seed)
        answer = await self._settings.endpoint.ask(self._settings.api.body(parts))
        return GenerationResult.unchecked(  # it is made of what was read as JSON
            candidate_id=f"{case.case_id}-{ctx.sample_index}",
            final_output=answer.output,
            trace=None,
            conversation=conversation(content, instructions, answer.said.turn),
            artifacts=answer.artifacts,
            token_usage=answer.token_usage,
            latency_ms=answer.latency_ms,
        )

    def estimate_tokens(self, case: Case, ctx: GenerateContext) -> int:
        """Return about how many tokens a sample's prompt has: a token for every 4 characters."""
        return estimated_tokens(self._settings.api.countable(self._parts(case, ctx)))

    def max_prompt_tokens(self, case: Case, ctx: GenerateContext) -> int:
        """Return how many tokens a sample's prompt has at most.

        A token for every byte of UTF-8 in all texts sent, the JSON schema and the tools included,
        and allowances for the chat template: 64 for each message, 128 for a default system prompt,
        512 where there are tools, 16,384 for each image, whatever its size. It holds for byte-level
        BPE and SentencePiece tokenizers.

        Raises:
            DefinitionError: there are tools that the endpoint runs, whose tokens nothing bounds.
        """
        return bounded_tokens(self._settings.api.countable(self._parts(case, ctx)))

    def _parts(self, case: Case, ctx: GenerateContext) -> Parts:
        content, instructions = self._rendered(case, ctx, sent=False)
        return self._settings.parts(content, instructions=instructions, seed=ctx.seed)

    def _rendered(
        self, case: Case, ctx: GenerateContext, *, sent: bool
    ) -> tuple[JSONValue, str | None]:
        spec = ctx.prompt_spec
        given = self._settings.built.of_case(case, ctx, sent=sent)
        content = rendered_input(given, spec, case.metadata)
        own = None if spec is None else spec.instructions
        return content, joined_instructions(self._settings.instructions, own)
