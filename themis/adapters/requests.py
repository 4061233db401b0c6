"""From a case's input and the prompt material to the body of a request.

Both of the endpoint's APIs are served from one set of words: the sampling parameters go by one
name whatever the API, and instructions stand where the API has a place for them. A body holds
nothing secret: keys travel in headers.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from themis.adapters.inputs import chat_content, responses_content
from themis.core.base import JSONObject, JSONValue
from themis.core.errors import DefinitionError
from themis.core.hashing import check_json, normalise
from themis.core.models import Message
from themis.core.prompts import as_text, is_messages
from themis.core.redaction import is_secret_name

ApiMode = Literal["responses", "chat_completions"]
API_MODES: tuple[ApiMode, ...] = ("responses", "chat_completions")
OUTPUT_CAP = "max_output_tokens"
"""What the limit of output tokens is called here, whatever the API calls it."""

_CAP_NAMES = ("max_completion_tokens", "max_tokens")
_ONE_REQUEST = "a sample is one request, and nothing of it is kept at the endpoint"
_OURS = {
    "background": _ONE_REQUEST,
    "conversation": _ONE_REQUEST,
    "extra_body": "write its parameters into sampling itself",
    "extra_headers": 'use client_options={"headers": {...}}',
    "extra_query": "the API takes none",
    "input": "it is the case's input",
    "instructions": "use instructions=, or PromptSpec.instructions",
    "messages": "it is the case's input",
    "model": "it is the adapter's first argument",
    "n": 'use candidate_policy={"num_samples": n}',
    "previous_response_id": _ONE_REQUEST,
    "prompt": f"use PromptSpec: {_ONE_REQUEST}",
    "stream": "use the adapter's argument stream=",
    "stream_options": "use the adapter's argument stream=",
    "timeout": 'use client_options={"timeout": seconds}, or RuntimeConfig.generation_timeout',
}
_SYSTEM = ("system", "developer")
_PARAMETERS = (
    "allowed_token_ids", "bad_words", "chat_template_kwargs", "frequency_penalty", "ignore_eos",
    "include", "length_penalty", "logit_bias", "logprobs", OUTPUT_CAP, *_CAP_NAMES,
    "max_tool_calls", "metadata", "min_p", "min_tokens", "parallel_tool_calls", "prediction",
    "presence_penalty", "prompt_logprobs", "reasoning", "reasoning_effort", "repeat_penalty",
    "repetition_penalty", "response_format", "seed", "service_tier", "skip_special_tokens", "stop",
    "stop_token_ids", "store", "structured_outputs", "temperature", "text", "tool_choice", "tools",
    "top_k", "top_logprobs", "top_p", "truncate_prompt_tokens", "truncation", "typical_p", "user",
    "verbosity",
)  # fmt: skip
"""Parameters by which a misspelled one is known: of OpenAI, vLLM and llama.cpp."""
_A_SLIP = 0.9
"""How alike two names are of which one is the other misspelled."""


class Dialect(NamedTuple):
    """How one provider speaks the two APIs."""

    provider: str
    """Its name: the extra that brings the SDK, and the first part of the limits' key."""
    chat_cap: str
    """What Chat Completions call the limit of output tokens there."""
    responses_seed: bool
    """Whether its Responses API takes a seed; Chat Completions take one everywhere."""


OPENAI = Dialect("openai", "max_completion_tokens", responses_seed=False)
VLLM = Dialect("vllm", "max_tokens", responses_seed=True)


def check_api_mode(api_mode: str) -> ApiMode:
    """Return the mode, or refuse it."""
    for known in API_MODES:
        if api_mode == known:
            return known
    raise DefinitionError(
        f"api_mode = {api_mode!r}: must be one of {', '.join(API_MODES)}",
        field="api_mode",
        value=api_mode,
    )


def canonical_sampling(sampling: Mapping[str, Any]) -> JSONObject:
    """Return sampling parameters under their one name, checked.

    ``max_tokens`` and ``max_completion_tokens`` are ``max_output_tokens``. Parameters that Themis
    does not know are passed on as they are. Integral floats are integers, as in identity; the order
    of what is nested in them is kept, as models heed it.

    Raises:
        DefinitionError: a value is not JSON, a parameter is given twice, is Themis's own to set,
            or has the name of a secret.
    """
    if not isinstance(sampling, Mapping):
        raise DefinitionError(
            f'sampling = {sampling!r}: must be a mapping such as {{"temperature": 0}}',
            field="sampling",
        )
    found: JSONObject = {}
    for name, value in sampling.items():
        _check_spelling(name)
        if name in _OURS:
            raise DefinitionError(f"sampling.{name} is not yours to set: {_OURS[name]}", field=name)
        if (secret := _secret_in({name: value}, "sampling")) is not None:
            raise DefinitionError(
                f"{secret} looks like a secret, and sampling is stored: "
                'use client_options={"headers": {...}}',
                field=name,
            )
        if name == "seed" and type(value) is not int:
            raise DefinitionError(
                f"sampling.seed = {value!r}: must be a whole number", field=name, value=value
            )
        known = OUTPUT_CAP if name in _CAP_NAMES else name
        if known in found:
            raise DefinitionError(f"sampling gives {known} twice, once as {name}", field=name)
        is_cap = known == OUTPUT_CAP and value is not None
        if is_cap and (type(value) is not int or value < 1):
            raise DefinitionError(
                f"sampling.{name} = {value!r}: must be an integer of at least 1; leave it out for "
                "no cap",
                field=name,
                value=value,
            )
        if known == "response_format":
            value = _nested_format(value)
        found[known] = normalise(check_json(value, f"sampling.{name}"))
    return found


def _check_spelling(name: object) -> None:
    """Refuse a slip of the pen: many servers ignore what they do not know, and answer all the same.

    What merely is unknown here passes: servers have parameters of their own.
    """
    if not isinstance(name, str):
        raise DefinitionError(f"sampling has the key {name!r}: must be text", field="sampling")
    if name in _PARAMETERS or name in _OURS:
        return
    if meant := difflib.get_close_matches(name, _PARAMETERS, n=1, cutoff=_A_SLIP):
        raise DefinitionError(
            f"sampling has no '{name}'; did you mean '{meant[0]}'?", field="sampling", value=name
        )


def _nested_format(value: Any) -> Any:
    """Return a response format as Chat Completions write it; the Responses API's form is flat."""
    if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
        raise DefinitionError(
            f"sampling.response_format = {value!r}: must be an object with a type, such as "
            '{"type": "json_schema", "json_schema": {"name": ..., "schema": {...}}}',
            field="response_format",
            value=value,
        )
    if value["type"] != "json_schema":
        return value
    inner = value.get("json_schema")
    if inner is None and "schema" in value:
        inner = {name: item for name, item in value.items() if name != "type"}
    if not isinstance(inner, Mapping) or not isinstance(inner.get("schema"), Mapping):
        raise DefinitionError(
            'sampling.response_format of type "json_schema" needs its schema: '
            '{"json_schema": {"name": ..., "schema": {...}}}',
            field="response_format",
        )
    return {"type": "json_schema", "json_schema": dict(inner)}


def joined_instructions(*parts: str | None) -> str | None:
    """Return instructions of several sources as one text, each said once; None for none."""
    said = list(dict.fromkeys(part for part in parts if part))
    return "\n\n".join(said) or None


def request_body(
    *,
    model: str,
    dialect: Dialect,
    api_mode: ApiMode,
    content: JSONValue,
    instructions: str | None,
    sampling: JSONObject,
    seed: int | None,
    stream: bool = False,
) -> JSONObject:
    """Return the body of one request.

    Args:
        model: the model's name at the endpoint.
        dialect: how the provider speaks the API.
        api_mode: which of the two APIs it is for.
        content: text, or chat messages.
        instructions: the system message, where there is one.
        sampling: canonical sampling parameters; a ``seed`` in it goes before the sample's.
        seed: the sample's seed, sent where the API takes one.
        stream: whether the answer is to come in pieces, its usage included.
    """
    if api_mode == "responses":
        body: JSONObject = {"model": model, "input": responses_content(content)}
        if instructions is not None:
            body["instructions"] = instructions
        if seed is not None and dialect.responses_seed:
            body["seed"] = seed
        body.update(_responses_sampling(sampling))
        if stream:
            body["stream"] = True
        return body
    body = {"model": model, "messages": chat_messages(content, instructions)}
    if seed is not None:
        body["seed"] = seed
    for name, value in sampling.items():
        body[dialect.chat_cap if name == OUTPUT_CAP else name] = value
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def chat_messages(content: JSONValue, instructions: str | None) -> list[JSONObject]:
    """Return chat messages, the instructions first: in the input's own system message if any."""
    messages: list[JSONObject] = (
        chat_content(content)
        if is_messages(content)
        else [{"role": "user", "content": as_text(content)}]
    )
    if instructions is None:
        return messages
    if messages[0]["role"] not in _SYSTEM:
        return [{"role": "system", "content": instructions}, *messages]
    own = messages[0]["content"]
    if isinstance(own, list):
        merged: JSONValue = [{"type": "text", "text": instructions}, *own]
    else:
        merged = joined_instructions(instructions, as_text(own))
    return [{**messages[0], "content": merged}, *messages[1:]]


def conversation(content: JSONValue, instructions: str | None, answer: JSONValue) -> list[Message]:
    """Return the exchange as messages, the answer last."""
    sent = chat_messages(content, instructions)
    said = [Message(role=str(one["role"]), content=one["content"]) for one in sent]
    return [*said, Message(role="assistant", content=answer)]


def response_format(schema: JSONObject, name: str) -> JSONObject:
    """Return the ``response_format`` (as in Chat Completions) that enforces a JSON schema."""
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}


def _secret_in(value: object, where: str) -> str | None:
    """Return the place of a text under a secret's name; a schema's field of that name is none."""
    if isinstance(value, list):
        found = (_secret_in(item, f"{where}[{i}]") for i, item in enumerate(value))
        return next((place for place in found if place is not None), None)
    if not isinstance(value, dict):
        return None
    for name, item in value.items():
        place = f"{where}.{name}"
        if is_secret_name(str(name)) and isinstance(item, str) and item:
            return place
        if (inner := _secret_in(item, place)) is not None:
            return inner
    return None


def _responses_sampling(sampling: JSONObject) -> JSONObject:
    """Return sampling parameters as the Responses API nests them."""
    body: JSONObject = {}
    for name, value in sampling.items():
        if name == "response_format" and isinstance(value, dict):
            named = value.get("type") == "json_schema"
            asked = {"type": "json_schema", **value.get("json_schema", {})} if named else value
            body["text"] = {**body.get("text", {}), "format": asked}
        elif name == "reasoning_effort":
            body["reasoning"] = {**body.get("reasoning", {}), "effort": value}
        elif isinstance(value, dict) and isinstance(body.get(name), dict):
            body[name] = {**body[name], **value}
        else:
            body[name] = value
    return body
