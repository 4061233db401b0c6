"""From a case's input and the prompt material to the body of a request.

Both of the endpoint's APIs are served from one set of words: the sampling parameters go by one
name whatever the API, and instructions stand where the API has a place for them. A body holds
nothing secret: keys travel in headers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from themis.core.base import JSONObject, JSONValue
from themis.core.errors import DefinitionError
from themis.core.hashing import check_json
from themis.core.models import Message
from themis.core.prompts import PromptSpec, as_text, is_messages
from themis.core.redaction import is_secret_name

ApiMode = Literal["responses", "chat_completions"]
API_MODES: tuple[ApiMode, ...] = ("responses", "chat_completions")

_LIMIT = "max_output_tokens"
_LIMIT_NAMES = ("max_completion_tokens", "max_tokens")
_OURS = {
    "input": "it is the case's input",
    "instructions": "use instructions=, or PromptSpec.instructions",
    "messages": "it is the case's input",
    "model": "it is the adapter's first argument",
    "n": 'use candidate_policy={"num_samples": n}',
    "seed": "use the experiment's seeds",
    "stream": "Themis reads whole answers",
}
_SYSTEM = ("system", "developer")


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
    does not know are passed on as they are.

    Raises:
        DefinitionError: a value is not JSON, a parameter is given twice, is Themis's own to set,
            or has the name of a secret.
    """
    found: JSONObject = {}
    for name, value in sampling.items():
        if name in _OURS:
            raise DefinitionError(f"sampling.{name} is not yours to set: {_OURS[name]}", field=name)
        if is_secret_name(name):
            raise DefinitionError(
                f"sampling.{name} looks like a secret, and sampling is stored: "
                'use client_options={"headers": {...}}',
                field=name,
            )
        known = _LIMIT if name in _LIMIT_NAMES else name
        if known in found:
            raise DefinitionError(f"sampling gives {known} twice, once as {name}", field=name)
        found[known] = check_json(value, f"sampling.{name}")
    return found


def joined_instructions(*parts: str | None) -> str | None:
    """Return instructions of several sources as one text, each said once; None for none."""
    said = list(dict.fromkeys(part for part in parts if part))
    return "\n\n".join(said) or None


def rendered_input(value: JSONValue, spec: PromptSpec | None, metadata: JSONObject) -> JSONValue:
    """Return what is sent for an input: text, or chat messages."""
    if spec is not None:
        value = spec.render_input(value, metadata=metadata)
    return value if is_messages(value) else as_text(value)


def request_body(
    *,
    model: str,
    api_mode: ApiMode,
    content: JSONValue,
    instructions: str | None,
    sampling: JSONObject,
    seed: int | None,
    chat_limit: str = "max_completion_tokens",
) -> JSONObject:
    """Return the body of one request.

    Args:
        model: the model's name at the endpoint.
        api_mode: which of the two APIs it is for.
        content: text, or chat messages.
        instructions: the system message, where there is one.
        sampling: canonical sampling parameters.
        seed: the sample's seed; sent where the API takes one, which is Chat Completions.
        chat_limit: what Chat Completions call the limit of output tokens at this endpoint.
    """
    if api_mode == "responses":
        body: JSONObject = {"model": model, "input": _for_responses(content)}
        if instructions is not None:
            body["instructions"] = instructions
        return {**body, **_responses_sampling(sampling)}
    body = {"model": model, "messages": chat_messages(content, instructions)}
    if seed is not None:
        body["seed"] = seed
    for name, value in sampling.items():
        body[chat_limit if name == _LIMIT else name] = value
    return body


def chat_messages(content: JSONValue, instructions: str | None) -> list[JSONObject]:
    """Return chat messages, the instructions first: in the input's own system message if any."""
    messages: list[JSONObject] = (
        [dict(message) for message in content]
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


def conversation(content: JSONValue, instructions: str | None, answer: str) -> list[Message]:
    """Return the exchange as messages, the answer last."""
    sent = chat_messages(content, instructions)
    said = [Message(role=str(one["role"]), content=one["content"]) for one in sent]
    return [*said, Message(role="assistant", content=answer)]


def response_format(schema: JSONObject, name: str) -> JSONObject:
    """Return the ``response_format`` (as in Chat Completions) that enforces a JSON schema."""
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}


def _responses_sampling(sampling: JSONObject) -> JSONObject:
    """Return sampling parameters as the Responses API nests them."""
    body: JSONObject = {}
    for name, value in sampling.items():
        if name == "response_format" and isinstance(value, dict):
            inner = value.get("json_schema", {}) if value.get("type") == "json_schema" else {}
            body["text"] = {**body.get("text", {}), "format": {"type": value.get("type"), **inner}}
        elif name == "reasoning_effort":
            body["reasoning"] = {**body.get("reasoning", {}), "effort": value}
        elif isinstance(value, dict) and isinstance(body.get(name), dict):
            body[name] = {**body[name], **value}
        else:
            body[name] = value
    return body


def _for_responses(content: JSONValue) -> JSONValue:
    """Return content with the parts of messages named as the Responses API names them."""
    if not is_messages(content):
        return content
    return [
        {**message, "content": [_responses_part(part, message["role"]) for part in parts]}
        if isinstance(parts := message["content"], list)
        else message
        for message in content
    ]


def _responses_part(part: JSONValue, role: str) -> JSONValue:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        return {**part, "type": "output_text" if role == "assistant" else "input_text"}
    if kind == "image_url" and isinstance(part.get("image_url"), dict):
        image = part["image_url"]
        detail = {"detail": image["detail"]} if "detail" in image else {}
        return {"type": "input_image", "image_url": image.get("url"), **detail}
    return part
