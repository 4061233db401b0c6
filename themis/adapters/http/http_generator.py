"""Any endpoint that speaks JSON: a body by template, an answer by path.

For a product's own service, whose API is no known one. The body, the paths and the address are
identity; headers with secrets, proxies and certificates are not. No API is guessed at: what the
paths do not name is kept as evidence and not understood.

Texts in the body are sandboxed Jinja templates over

- ``input``: the case's, through the prompt spec. Its instructions stand before it, unless the body
  names ``instructions`` or ``messages``;
- ``messages``: the same as chat messages, the instructions first unless the body names them apart;
- ``instructions``: the spec's, or null;
- ``seed``, ``sample_index``, ``model``, ``max_output_tokens``;
- ``case.input``, ``case.metadata``, ``case.expected_output``, ``case.case_id``: as they are.

A text that is one expression, ``"{{ seed }}"``, becomes that value, whatever its type; within other
text a value that is no text is written as JSON.

Paths are keys and places: ``choices[0].text``, ``data["the answer"]``; a dot alone is the whole.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping
from typing import Annotated, Any

from themis.adapters.http.exchange import Exchange, Received, shown_error
from themis.adapters.http.json_path import JsonPath
from themis.adapters.http.target import Address, BodySecrets, leaves
from themis.adapters.prompting.content import rendered_input
from themis.adapters.prompting.input_builder import (
    BuiltInputs,
    InputBuilder,
    builder_fingerprint,
    fields_read,
    normal_case,
)
from themis.adapters.prompting.messages import chat_messages, conversation, one_input
from themis.adapters.transport.connections import (
    OF_CLIENT_OPTIONS,
    ConnectionOptions,
    read_headers,
    read_options,
)
from themis.adapters.transport.endpoint_errors import RefusedError, broken_off, error_in_body
from themis.adapters.transport.endpoint_words import complaint_in, tells_of_error
from themis.adapters.transport.meanings import Meaning, reason_of, told_reason
from themis.adapters.transport.model_answers import Said, read_choice
from themis.adapters.transport.references import is_reference
from themis.core.base import JSONObject, JSONValue
from themis.core.config_roles import OBJECT, SECRET, ConfigRole
from themis.core.contexts import GenerateContext
from themis.core.errors import DefinitionError, MissingExtraError, ProviderError, did_you_mean
from themis.core.hashing import digest_value, encode, text
from themis.core.models import Case, GenerationResult, Message
from themis.core.prompts import PromptSpec

METHODS = ("GET", "POST", "PUT")
NAMES = (
    "input",
    "instructions",
    "max_output_tokens",
    "messages",
    "model",
    "sample_index",
    "seed",
)
USAGE = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
_EXTRA_TOKENS = 256
_LONGEST = 300  # of what an endpoint says beside an answer that is not there
_OWN_NAMES = ConfigRole(reads_references=True, knows_its_secrets=True)
"""Of parameters whose names are the endpoint's own: ``target`` finds the secrets in them."""


class HttpGenerator:
    """Generates by asking a JSON endpoint once a sample."""

    version = "1"

    def __init__(
        self,
        url: str,
        *,
        body: JSONValue,
        answer: str,
        headers: Mapping[str, str],
        usage: Mapping[str, str] | None,
        method: str,
        model_id: str | None,
        model: str | None,
        finish_reason: str | None,
        input_builder: InputBuilder | None,
        client_options: Mapping[str, Any],
        max_output_tokens: int | None,
        fingerprint: str | None,
    ) -> None:
        from themis.adapters.http.body_template import BodyTemplate

        if importlib.util.find_spec("aiohttp") is None:
            raise MissingExtraError(extra="http", needed_for="themis.adapters.http")
        if method not in METHODS:
            raise DefinitionError(
                f"method = {method!r}{did_you_mean(str(method), METHODS)}", field="method"
            )
        self._address = Address(url)
        self._template = BodyTemplate(body, NAMES)
        self._secrets = BodySecrets(body)
        self._answer = JsonPath(answer, "answer")
        self._finish = None if finish_reason is None else JsonPath(finish_reason, "finish_reason")
        self._usage = _usage_paths(usage)
        self._own_headers = read_headers(headers)
        self._exchange = Exchange(
            self._address,
            method=method,
            secrets=self._secrets,
            options=_options(client_options, self._own_headers),
        )
        self._built = BuiltInputs(input_builder)
        self.method = method
        self.model = model
        self.model_id = model_id
        self.base_url = self._address.normalised
        self.max_output_tokens = max_output_tokens
        self.users_function = input_builder
        self.component_id = f"http/{model_id or self.base_url.partition('://')[2]}"
        self.provider_key = f"http:{self.base_url}"
        self.reads = self._reads()
        self._check_body(body)
        self.fingerprinted = self._facts(fingerprint)
        self._fingerprint = text(digest_value("http", self.fingerprinted))

    def __repr__(self) -> str:
        return f"http({self.base_url!r}, answer={self._answer.text!r})"

    def fingerprint(self) -> str:
        """Return a digest over all that changes an answer; secrets are not in it."""
        return self._fingerprint

    def request(self, case: Case, ctx: GenerateContext) -> JSONObject:
        """Return the request that would be sent for a sample, secrets hidden."""
        return self._exchange.shown(self._filled(case, ctx, self._given(case, ctx)))

    async def generate(self, case: Case, ctx: GenerateContext) -> GenerationResult:
        """Return what the endpoint answers.

        Raises:
            ProviderError: it refused, failed, or gave no such answer.
        """
        given = self._given(case, ctx, sent=True)
        filled = self._filled(case, ctx, given)
        request = self._exchange.shown(filled)
        began = time.perf_counter()
        try:
            received = await self._exchange.send(filled)
            said = self._said(received)
            output = self._found(received) if said is None else said.output
        except RefusedError as refused:
            refusal = Said(text=refused.said, reason=reason_of("content_filter"))
            return GenerationResult(
                candidate_id=f"{case.case_id}-{ctx.sample_index}",
                final_output=refusal.text,
                conversation=self._conversation(case, ctx, given, refusal.text),
                artifacts={"request": request, **refused.evidence(), **refusal.evidence()},
                latency_ms=(time.perf_counter() - began) * 1000,
            )
        turn = output if said is None else said.turn
        told: JSONObject = {} if said is None else said.evidence()
        if said is None or not said.is_refusal:
            told = {**told, **self._ending(received)}
        return GenerationResult(
            candidate_id=f"{case.case_id}-{ctx.sample_index}",
            final_output=output,
            conversation=self._conversation(case, ctx, given, turn),
            artifacts={
                "request": request,
                **received.evidence(),
                **told,
            },
            token_usage=self._token_usage(received),
            latency_ms=received.latency_ms,
        )

    def estimate_tokens(self, case: Case, ctx: GenerateContext) -> int:
        """Return about how many tokens the texts of the body have: one for every 4 characters."""
        said = [
            leaf
            for leaf in leaves(self._filled(case, ctx, self._given(case, ctx)))
            if isinstance(leaf, str)
        ]
        return -(-sum(map(len, said)) // 4)

    def max_prompt_tokens(self, case: Case, ctx: GenerateContext) -> int:
        """Return the tokens that the body has at most: one for each of its bytes, and some more.

        What the endpoint adds on its side is not known and not in it.
        """
        return len(encode(self._filled(case, ctx, self._given(case, ctx)))) + _EXTRA_TOKENS

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        await self._exchange.aclose()

    def _reads(self) -> frozenset[str]:
        if self.users_function is not None:
            return fields_read(self.users_function)
        rendered = {"input"} if self._template.names & {"input", "messages"} else set()
        return frozenset(rendered | self._template.reads)

    def _check_body(self, body: JSONValue) -> None:
        if self.method == "GET" and not (body is None or isinstance(body, dict)):
            raise DefinitionError(
                "body of a GET request becomes its query: give an object such as "
                '{"q": "{{ input }}"}',
                field="body",
            )
        cap = self.max_output_tokens
        if cap is None:
            if "max_output_tokens" in self._template.names:
                raise DefinitionError(
                    "body names max_output_tokens, and none is given: max_output_tokens=...",
                    field="max_output_tokens",
                )
        elif type(cap) is not int or cap < 1:
            raise DefinitionError(
                f"max_output_tokens = {cap!r}: must be a number of tokens, 1 or more",
                field="max_output_tokens",
                value=cap,
            )
        elif "max_output_tokens" not in self._template.names and cap not in leaves(body):
            raise DefinitionError(
                f"max_output_tokens = {cap} is nowhere in body, so that nothing holds the endpoint "
                "to it: write '{{ max_output_tokens }}' where its API takes the cap",
                field="max_output_tokens",
                value=cap,
            )
        if self.model is None and "model" in self._template.names:
            raise DefinitionError("body names model, and none is given: model=...", field="model")

    def _facts(self, declared: str | None) -> JSONObject:
        served: JSONObject = (
            {"url": self.base_url, "query": [list(pair) for pair in self._address.query()]}
            if self.model_id is None
            else {"model_id": self.model_id}
        )
        plain = {
            name.lower(): value
            for name, value in self._own_headers.items()
            if not is_reference(value)
        }
        named = self._template.names
        return {
            "answer": self._answer.text,
            "body": encode(self._secrets.shown(self._template.source)).decode(),
            "cap": self.max_output_tokens if "max_output_tokens" in named else None,
            "finish_reason": None if self._finish is None else self._finish.text,
            "headers": plain,
            "input_builder": builder_fingerprint(self.users_function, declared),
            "method": self.method,
            "model": self.model if "model" in named else None,
            "served": served,
        }

    def _given(self, case: Case, ctx: GenerateContext, *, sent: bool = False) -> JSONValue:
        return self._built.of_case(case, ctx, sent=sent)

    def _filled(self, case: Case, ctx: GenerateContext, given: JSONValue) -> JSONValue:
        """Return the body for a sample and its input, references as they stand."""
        from themis.adapters.http.body_template import filled

        spec = ctx.prompt_spec or PromptSpec()
        named = self._template.names
        if not spec.is_empty() and not named & {"input", "messages"}:
            raise ProviderError(
                "body names neither input nor messages, so that the prompt spec has no place: "
                "write '{{ input }}' where it belongs",
                fatal=True,
            )
        case = normal_case(case)
        values: JSONObject = {
            "instructions": spec.instructions,
            "max_output_tokens": self.max_output_tokens,
            "model": self.model,
            "sample_index": ctx.sample_index,
            "seed": ctx.seed,
        }
        apart = "instructions" in named
        if "input" in named:
            has_place = apart or "messages" in named
            inner = spec.model_copy(update={"instructions": None}) if has_place else spec
            values["input"] = one_input(given, inner, case.metadata)
        if "messages" in named:
            asked = rendered_input(given, spec, case.metadata)
            values["messages"] = chat_messages(asked, None if apart else spec.instructions)
        if "case" in named:
            values["case"] = case.model_dump(mode="json")
        return filled(self._template, values)

    def _conversation(
        self, case: Case, ctx: GenerateContext, given: JSONValue, output: JSONValue
    ) -> list[Message] | None:
        """Return the exchange as messages, where messages or a text were asked."""
        spec = ctx.prompt_spec or PromptSpec()
        if "messages" in self._template.names:
            asked = rendered_input(given, spec, case.metadata)
        elif "input" in self._template.names:
            asked = spec.render_input(given, metadata=case.metadata)
            if not isinstance(asked, str):
                return None
        else:
            return None
        return conversation(asked, spec.instructions, output)

    def _said(self, received: Received) -> Said | None:
        """Return what a model said, where the path is that of a chat message's text.

        Raises:
            ProviderError: the endpoint says that it broke its answer off.
        """
        steps = self._answer.steps
        if steps[-2:] != ["message", "content"]:
            return None
        data = received.secrets.hide_in_data(received.data)
        there, choice = JsonPath.of(steps[:-2]).find(data)
        inner = choice.get("message") if there and isinstance(choice, dict) else None
        if not isinstance(inner, dict) or inner.get("role", "assistant") != "assistant":
            return None
        if not isinstance(inner.get("content"), (str, list, type(None))):
            return None
        try:
            return read_choice(choice, self._exchange.name)
        except ProviderError as error:
            raise shown_error(error, received.secrets, data, received.headers) from None

    def _found(self, received: Received) -> JSONValue:
        data, secrets = received.data, received.secrets
        there, output = self._answer.find(data)
        if there:
            found: JSONValue = secrets.hide_in_data(output)
            return found
        said = ""
        if tells_of_error(data):
            error = error_in_body(data, endpoint=self._exchange.name)
            if isinstance(error, RefusedError) or error.retryable or error.fatal:
                raise shown_error(error, secrets, data, received.headers)
        if words := complaint_in(data):
            said = f"; it says: {secrets.hide(words)[:_LONGEST]}"
        raise ProviderError(
            f"{self._exchange.name} answered without '{self._answer.text}': "
            f"{secrets.hide(self._answer.missing(data))}{said}",
            retryable=True,
            fatal=True,
            confirm="none_answered",
        )

    def _token_usage(self, received: Received) -> dict[str, int] | None:
        found = {name: path.find(received.data)[1] for name, path in self._usage.items()}
        counts = {name: count for name, count in found.items() if type(count) is int and count >= 0}
        return counts or None

    def _ending(self, received: Received) -> JSONObject:
        """Return what is kept of why the answer ended, where a path leads to it.

        Raises:
            ProviderError: the endpoint says that it broke its answer off.
        """
        said = None if self._finish is None else self._finish.find(received.data)[1]
        reason = reason_of(said)
        if reason is None:
            return {}
        if reason.meaning is Meaning.PASSING:
            raise broken_off(reason.word, endpoint=self._exchange.name)
        note = told_reason(reason)
        return {"finish_reason": reason.word, **({"note": note} if note else {})}


def http(
    url: Annotated[str, _OWN_NAMES],
    *,
    body: Annotated[JSONValue, _OWN_NAMES],
    answer: str,
    headers: Annotated[Mapping[str, str], SECRET] = {},
    usage: Mapping[str, str] | None = None,
    method: str = "POST",
    model_id: str | None = None,
    model: str | None = None,
    finish_reason: str | None = None,
    input_builder: Annotated[InputBuilder | None, OBJECT] = None,
    client_options: Annotated[Mapping[str, Any], OF_CLIENT_OPTIONS] = {},
    max_output_tokens: int | None = None,
    fingerprint: str | None = None,
) -> HttpGenerator:
    """Return a generator that asks a JSON endpoint.

    Texts in ``body`` are sandboxed Jinja over ``input``, ``messages``, ``instructions``, ``seed``,
    ``sample_index``, ``model``, ``max_output_tokens`` and ``case`` with its fields; paths are such
    as ``choices[0].text``. The head of the module tells more of both.

    Args:
        url: its address; a secret in the query as ``?key=env:NAME``.
        body: what is sent, as JSON; of a GET request, its query. A secret as ``env:NAME``.
        answer: path of the answer in what comes back.
        headers: sent with each request; part of identity, save those given as ``env:NAME``.
        usage: paths of ``prompt_tokens``, ``completion_tokens``, ``cached_tokens`` and
            ``reasoning_tokens``.
        method: "POST", "PUT" or "GET".
        model_id: what is served there; stands in identity in place of ``url``.
        model: name of the model behind it, for templates and prices.
        finish_reason: path of why the answer ended ("stop", "length", "refusal", ...).
        input_builder: makes the input of a case: text, chat messages, or any JSON value.
        client_options: ``headers``, ``proxy``, ``verify``, ``timeout`` in seconds; no identity.
        max_output_tokens: the cap on output tokens that the body carries; a budget needs it.
        fingerprint: a name for what ``input_builder`` does, where its source cannot say it.

    Raises:
        MissingExtraError: the HTTP library is not installed.
        DefinitionError: an argument is not what it must be, or a secret is written out.
    """
    return HttpGenerator(
        url,
        body=body,
        answer=answer,
        headers=headers,
        usage=usage,
        method=method,
        model_id=model_id,
        model=model,
        finish_reason=finish_reason,
        input_builder=input_builder,
        client_options=client_options,
        max_output_tokens=max_output_tokens,
        fingerprint=fingerprint,
    )


def _options(client_options: Mapping[str, Any], headers: dict[str, str]) -> ConnectionOptions:
    given = dict(client_options)
    transport = read_headers(given.get("headers"), "client_options.headers")
    return read_options({**given, "headers": {**transport, **headers}})


def _usage_paths(usage: Mapping[str, str] | None) -> dict[str, JsonPath]:
    for name in usage or {}:
        if name not in USAGE:
            raise DefinitionError(
                f"usage has no key '{name}'{did_you_mean(str(name), USAGE)}", field="usage"
            )
    return {name: JsonPath(path, f"usage.{name}") for name, path in (usage or {}).items()}
