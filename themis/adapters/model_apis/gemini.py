"""Google's Gemini models, by the API's generateContent.

Source: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import mimetypes
from typing import Annotated, Any, Unpack
from urllib.parse import quote, urlsplit

from themis.adapters.model_apis.api import Api, Dialect, Parts, PiecedAnswer
from themis.adapters.model_apis.chat_completions import counted_body
from themis.adapters.model_apis.endpoint_generator import EndpointGenerator, ModelSettings
from themis.adapters.model_apis.endpoint_judge import EndpointJudge, PromptBuilder
from themis.adapters.model_apis.options import AskOptions, takes_options
from themis.adapters.model_apis.sampling import OUTPUT_CAP, function_of, schema_of, split_sampling
from themis.adapters.prompting.content import data_of, image_address
from themis.adapters.prompting.input_builder import InputBuilder
from themis.adapters.prompting.messages import (
    chat_messages,
    instructions_apart,
    merged_turns,
    tool_calls_of,
)
from themis.adapters.transport.lenient_json import read_json
from themis.adapters.transport.meanings import Meaning, reason_of
from themis.adapters.transport.model_answers import (
    Said,
    check_ended,
    field,
    items,
    joined_thoughts,
    shapeless,
)
from themis.core.base import JSONObject, JSONValue
from themis.core.config_roles import OBJECT, SECRET
from themis.core.prompts import as_text

_LARGEST_SEED = 2**31 - 1
_BESIDE = frozenset(
    ("cachedContent", "labels", "modelArmorConfig", "safetySettings", "toolConfig", "tools")
)
"""Parameters that stand beside the generation's configuration."""
_NAMES = {OUTPUT_CAP: "maxOutputTokens", "stop": "stopSequences", "top_logprobs": "logprobs"}
_CHOICES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


class GenerateContentApi(Api):
    """The method generateContent."""

    mode = "generate_content"
    version = "/v1"

    def body(self, parts: Parts) -> JSONObject:
        """Return the request, and beside it the model, which stands in the path."""
        system, messages = instructions_apart(
            chat_messages(parts.content, parts.instructions), where="generateContent"
        )
        turns = merged_turns(_turns(messages))
        body: JSONObject = {
            "model": parts.model,
            "contents": [{"role": one["role"], "parts": one["content"]} for one in turns],
        }
        if system:
            body["systemInstruction"] = {"parts": [{"text": system}]}
        sampling, left_out = split_sampling(parts.sampling)
        config: JSONObject = {}
        if parts.seed is not None and "seed" not in left_out:
            config["seed"] = parts.seed & _LARGEST_SEED
        for name, value in sampling.items():
            _add(body, config, name, value)
        if config:
            body["generationConfig"] = config
        if parts.stream:
            body["stream"] = True
        return body

    def target(self, body: JSONObject) -> tuple[str, JSONObject]:
        """Return the path of a call, and the body without what stands in the path."""
        model = str(body["model"])
        named = quote(model if "/" in model else f"models/{model}", safe="/")
        method = "streamGenerateContent?alt=sse" if "stream" in body else "generateContent"
        sent = {name: value for name, value in body.items() if name not in ("model", "stream")}
        return f"/{named}:{method}", sent

    def read(self, source: Any, endpoint: str) -> Said:
        """Return what was said in an answer."""
        candidates = items(source, "candidates")
        if not candidates:
            feedback = field(source, "promptFeedback")
            if field(feedback, "blockReason") is None:
                raise shapeless(endpoint, "candidates")
            said = str(field(feedback, "blockReasonMessage") or "")
            return Said(text=said, reason=reason_of("content_filter"))
        reason = reason_of(field(candidates[0], "finishReason"))
        content = field(candidates[0], "content")
        if content is None and reason is None:
            raise shapeless(endpoint, "candidates[0].content")
        check_ended(reason, None, endpoint)
        parts = [part for part in items(content, "parts") if isinstance(part, dict)]
        text = "".join(_texts(parts, thought=False))
        calls = tuple(_call(part["functionCall"]) for part in parts if _calls(part))
        if calls and not text and reason is not None and reason.meaning is Meaning.ANSWER:
            reason = reason_of("tool_calls")
        thoughts = joined_thoughts(_texts(parts, thought=True))
        return Said(text=text, reason=reason, reasoning=thoughts, tool_calls=calls)

    def usage(self, source: Any) -> Any:
        """Return an answer's account of its tokens: thoughts are output."""
        found = field(source, "usageMetadata")
        if not isinstance(found, dict):
            return None
        thought = found.get("thoughtsTokenCount")
        return {
            "prompt_tokens": _sum(
                found.get("promptTokenCount"), found.get("toolUsePromptTokenCount")
            ),
            "completion_tokens": _sum(found.get("candidatesTokenCount", 0), thought),
            "prompt_tokens_details": {"cached_tokens": found.get("cachedContentTokenCount")},
            "completion_tokens_details": {"reasoning_tokens": thought},
        }

    def pieces(self) -> PiecedAnswer:
        """Return an answer of which nothing has come."""
        return PiecedContent()

    def countable(self, parts: Parts) -> JSONObject:
        """Return the same texts as Chat Completions have them."""
        return counted_body(parts)


def _add(body: JSONObject, config: JSONObject, name: str, value: JSONValue) -> None:
    """Add a sampling parameter where the API has its place."""
    known = _NAMES.get(name) or _camel(name)
    if name == "stop":
        config[known] = [value] if isinstance(value, str) else value
    elif name == "tools" and isinstance(value, list):
        body["tools"] = _tools(value)
    elif name == "tool_choice":
        body["toolConfig"] = {"functionCallingConfig": _choice(value)}
    elif name == "response_format":
        config["responseMimeType"] = "application/json"
        if (schema := schema_of(value)) is not None:
            config["responseJsonSchema"] = schema
    elif name == "reasoning_effort":
        level = str(value).upper()
        config["thinkingConfig"] = {**config.get("thinkingConfig", {}), "thinkingLevel": level}
    elif name == "logprobs" and isinstance(value, bool):
        config["responseLogprobs"] = value
    elif known in _BESIDE:
        body[known] = value
    else:
        config[known] = value


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in others)


def _tools(tools: list[JSONValue]) -> list[JSONValue]:
    """Return tools: functions as declarations, others as they are."""
    found: list[JSONValue] = []
    declared: list[JSONValue] = []
    for tool in tools:
        function = function_of(tool)
        if function is None:
            found.append(tool)
            continue
        named = {"parameters": "parametersJsonSchema"}
        declared.append(
            {named.get(name, name): value for name, value in function.items() if name != "strict"}
        )
    return [*found, {"functionDeclarations": declared}] if declared else found


def _choice(value: JSONValue) -> JSONObject:
    function = function_of(value)
    if function is not None:
        return {"mode": "ANY", "allowedFunctionNames": [function.get("name")]}
    if isinstance(value, dict):
        return value
    return {"mode": _CHOICES.get(str(value), value)}


def _turns(messages: list[JSONObject]) -> list[tuple[str, JSONValue]]:
    """Return each message's role and parts; a result of a tool is said by the user."""
    turns: list[tuple[str, JSONValue]] = []
    called: dict[str, str] = {}
    for message in messages:
        role, content = str(message["role"]), message.get("content")
        if role in ("tool", "function"):
            number = str(message.get("tool_call_id") or "")
            name = called.get(number) or str(message.get("name") or "")
            given = _with_id({"name": name, "response": _result(content)}, number)
            turns.append(("user", [{"functionResponse": given}]))
            continue
        said = content if isinstance(content, list) else [as_text(content)] if content else []
        parts = [_part(one) for one in said]
        for call in tool_calls_of(message):
            called[call.number] = call.name
            made = _with_id({"name": call.name, "args": call.arguments}, call.number)
            parts.append({"functionCall": made, **call.signature})
        turns.append(("model" if role == "assistant" else "user", parts or [{"text": ""}]))
    return turns


def _with_id(part: JSONObject, number: str) -> JSONObject:
    return {"id": number, **part} if number else part


def _result(content: JSONValue) -> JSONObject:
    """Return what a tool gave as the object that the API wants."""
    said = as_text(content)
    try:
        found = read_json(said.encode())
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"output": said}


def _part(part: JSONValue) -> JSONValue:
    if isinstance(part, str):
        return {"text": part}
    address = image_address(part)
    if address is None:
        said = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
        return part if said is None else {"text": said}
    if (inline := data_of(address)) is not None:
        kind, data = inline
        return {"inlineData": {"mimeType": kind, "data": data}}
    kind = mimetypes.guess_type(urlsplit(address).path)[0] or "image/jpeg"
    return {"fileData": {"mimeType": kind, "fileUri": address}}


def _texts(parts: list[dict[str, Any]], *, thought: bool) -> list[str]:
    return [
        part["text"]
        for part in parts
        if isinstance(part.get("text"), str) and bool(part.get("thought")) == thought
    ]


def _calls(part: dict[str, Any]) -> bool:
    return isinstance(part.get("functionCall"), dict)


def _call(said: dict[str, Any]) -> JSONObject:
    return {
        "id": said.get("id"),
        "name": str(said.get("name") or ""),
        "arguments": said.get("args", {}),
    }


def _sum(*counts: Any) -> Any:
    known = [count for count in counts if type(count) is int]
    return sum(known) if known and type(counts[0]) is int else None


class PiecedContent:
    """An answer while its pieces come: each is an answer with some of the parts."""

    def __init__(self) -> None:
        self.done = False
        self._head: dict[str, Any] = {}
        self._candidate: dict[str, Any] = {}
        self._parts: list[dict[str, Any]] = []
        self._texts: list[list[str]] = []

    def add(self, event: dict[str, Any]) -> bool:
        """Take an event; return whether a piece of the answer is in it."""
        self._head |= {name: value for name, value in event.items() if name != "candidates"}
        found = False
        for candidate in event.get("candidates") or ():
            if candidate.get("index", 0) != 0:
                continue
            self._candidate |= {
                name: value for name, value in candidate.items() if name != "content"
            }
            for part in (candidate.get("content") or {}).get("parts") or ():
                self._add_part(part)
                found = found or bool(part.get("text") or part.get("functionCall"))
        return found

    def whole(self) -> dict[str, Any] | None:
        """Return the answer; None where the stream ended before it said why it ended."""
        blocked = (self._head.get("promptFeedback") or {}).get("blockReason")
        if blocked and not self._candidate:
            return self._head
        if not self._candidate.get("finishReason"):
            return None
        parts = [
            {**part, "text": "".join(texts)} if texts else part
            for part, texts in zip(self._parts, self._texts, strict=True)
        ]
        content = {"role": "model", "parts": parts}
        return {**self._head, "candidates": [{**self._candidate, "content": content}]}

    def _add_part(self, part: dict[str, Any]) -> None:
        text = part.get("text")
        last = self._parts[-1] if self._parts else None
        goes_on = (
            isinstance(text, str)
            and last is not None
            and bool(self._texts[-1])
            and bool(last.get("thought")) == bool(part.get("thought"))
        )
        if goes_on:
            assert last is not None
            last.update({name: value for name, value in part.items() if name != "text"})
            self._texts[-1].append(str(text))
        else:
            self._parts.append(dict(part))
            self._texts.append([text] if isinstance(text, str) else [])


GEMINI = Dialect(
    provider="gemini",
    apis={"generate_content": GenerateContentApi()},
    headers=lambda key: {"x-goog-api-key": key},
    address="https://generativelanguage.googleapis.com",
    address_variable="GOOGLE_GEMINI_BASE_URL",
    key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
)


class GeminiGenerator(EndpointGenerator):
    """Generates by asking one of Google's Gemini models."""


@takes_options
def gemini(
    model: str,
    *,
    base_url: str | None = None,
    api_key: Annotated[str | None, SECRET] = None,
    input_builder: Annotated[InputBuilder | None, OBJECT] = None,
    **options: Unpack[AskOptions],
) -> GeminiGenerator:
    """Return a generator that asks one of Google's Gemini models.

    The sample's seed is sent, its lowest 31 bits.

    Args:
        model: name of the model, such as "gemini-2.5-flash".
        base_url: address of the endpoint; ``GOOGLE_GEMINI_BASE_URL``, or Google's, by default.
        api_key: its key, or ``env:NAME``; ``GEMINI_API_KEY`` or ``GOOGLE_API_KEY`` by default.
            Never stored, never part of identity.
        input_builder: makes the input of a case, as with ``openai``.
        **options: those of ``AskOptions``.

    Raises:
        MissingExtraError: the extra is not installed. DefinitionError: an argument is not right.
    """
    return GeminiGenerator(ModelSettings(GEMINI, model, base_url, api_key, input_builder, options))


@takes_options
def gemini_judge(
    model: str,
    *,
    base_url: str | None = None,
    api_key: Annotated[str | None, SECRET] = None,
    input_builder: Annotated[PromptBuilder | None, OBJECT] = None,
    structured_output: bool = False,
    **options: Unpack[AskOptions],
) -> EndpointJudge:
    """Return a judge that asks one of Google's Gemini models.

    Args:
        model: name of the model, such as "gemini-2.5-flash".
        base_url: address of the endpoint, as with ``gemini``.
        api_key: its key, as with ``gemini``.
        input_builder: makes the input of a rendered judge prompt.
        structured_output: whether the endpoint enforces JSON schemas: metrics then ask for a
            verdict in the form of one, else for a last line.
        **options: those of ``AskOptions``.

    Raises:
        MissingExtraError: the extra is not installed. DefinitionError: an argument is not right.
    """
    settings = ModelSettings(GEMINI, model, base_url, api_key, input_builder, options)
    return EndpointJudge(settings, structured_output=structured_output)
