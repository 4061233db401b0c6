"""Sampling parameters: one set of names for all APIs, checked where a model is named.

Each API writes them as it calls them. Nothing secret may stand in them: they are stored.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from themis.core.base import JSONObject, JSONValue
from themis.core.errors import DefinitionError
from themis.core.hashing import check_json, normalise
from themis.core.redaction import is_secret_name

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
LEFT_OUT = ("seed", "stream_options")
"""What Themis sends by itself and is not sent where ``sampling`` gives it as None."""
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


def canonical_sampling(sampling: Mapping[str, Any]) -> JSONObject:
    """Return sampling parameters under their one name, checked.

    ``max_tokens`` and ``max_completion_tokens`` are ``max_output_tokens``. Parameters that Themis
    does not know are passed on as they are. Integral floats are integers, as in identity; the order
    of what is nested in them is kept, as models heed it.

    What Themis sends by itself (``seed``, ``stream_options``) is left out where it is None.

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
        if name in LEFT_OUT and value is None:
            found[name] = None
            continue
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
                f"sampling.seed = {value!r}: must be a whole number, or None to send none",
                field=name,
                value=value,
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


def schema_of(response_format: JSONValue) -> JSONObject | None:
    """Return the JSON schema of a canonical ``response_format``; None for one of another type."""
    named = response_format.get("json_schema") if isinstance(response_format, dict) else None
    return named["schema"] if isinstance(named, dict) else None


def function_of(tool: JSONValue) -> JSONObject | None:
    """Return the function that a tool, or a choice of one, is; None for what is no function.

    Chat Completions write it as an object of its own, the Responses API beside the type.
    """
    if not isinstance(tool, dict) or tool.get("type") != "function":
        return None
    inner = tool.get("function")
    if isinstance(inner, dict):
        return inner
    return {name: value for name, value in tool.items() if name != "type"}


def split_sampling(sampling: JSONObject) -> tuple[JSONObject, frozenset[str]]:
    """Return what is sent of sampling parameters, and which of Themis's own are to be left out."""
    left_out = frozenset(name for name in LEFT_OUT if sampling.get(name, name) is None)
    return {name: value for name, value in sampling.items() if name not in left_out}, left_out


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
