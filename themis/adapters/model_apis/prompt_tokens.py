"""How many tokens a request's prompt has, without the model's tokenizer: about, and at most.

The bound holds for tokenizers that make at least a byte of text into each token, as byte-level BPE
and SentencePiece do, and for chat templates that add no more than is allowed for here. What the
endpoint adds by itself (tools that it runs) has no bound, and none is made up.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from themis.adapters.prompting.content import OTHER_KINDS, is_image
from themis.core.base import JSONObject, JSONValue
from themis.core.errors import DefinitionError

MESSAGE_TOKENS = 64
"""Allowed for what a chat template puts around each message."""
TEMPLATE_TOKENS = 128
"""Allowed for a default system prompt, once."""
TOOLS_TOKENS = 512
"""Allowed for how a chat template explains that there are tools, once."""
IMAGE_TOKENS = 16_384
"""Allowed for one image, whatever its size: no tokenizer tells, and models differ widely."""
EXPECTED_IMAGE_TOKENS = 1_000

_CHARACTERS_A_TOKEN = 4
_CALLS = ("arguments", "function_call", "output", "tool_calls")
"""Where messages and items hold what tools were given and gave."""
_PROMPT = ("input", "instructions", "messages")
_SET = ("model", "stream", "stream_options")
_ESCAPED = str.maketrans(dict.fromkeys("<>&'", "......"))  # a template may write each as \u003c


def estimated_tokens(body: JSONObject) -> int:
    """Return about how many prompt tokens a request has: one for every 4 characters."""
    characters = images = 0
    for content in _contents(body):
        if isinstance(content, str):
            characters += len(content)
            continue
        for part in content if isinstance(content, list) else [content]:
            if is_image(part):
                images += 1
            else:
                characters += len(_text_of(part))
    for message in _messages(body):
        for name in _CALLS:
            if given := message.get(name):
                characters += len(_text_of(given))
    return -(-characters // _CHARACTERS_A_TOKEN) + images * EXPECTED_IMAGE_TOKENS


def bounded_tokens(body: JSONObject) -> int:
    """Return how many prompt tokens a request has at most.

    The UTF-8 bytes of all texts sent, of the JSON schema and the tools as written out by a chat
    template, and the allowances above. An image counts ``IMAGE_TOKENS``, whatever it is.

    Raises:
        DefinitionError: the request has tools that the endpoint runs, or files, sound or video,
            whose tokens nothing bounds.
    """
    total = TEMPLATE_TOKENS
    for content in _contents(body):
        total += MESSAGE_TOKENS
        for part in content if isinstance(content, list) else [content]:
            total += IMAGE_TOKENS if is_image(part) else _bytes(_text_of(_bounded(part)))
    for message in _messages(body):
        rest = {name: value for name, value in message.items() if name not in ("role", "content")}
        total += _bytes(str(message.get("role", ""))) + (_written(rest) if rest else 0)
    for name, value in body.items():
        if name not in _PROMPT and name not in _SET and isinstance(value, (str, dict, list)):
            total += _written(value)
    if tools := body.get("tools"):
        _check_tools(tools)
        total += TOOLS_TOKENS
    return total


def _contents(body: JSONObject) -> list[JSONValue]:
    """Return the contents of a request, message by message."""
    said = [message.get("content") for message in _messages(body)]
    given = body.get("input")
    if isinstance(given, str):
        said.append(given)
    if isinstance(instructions := body.get("instructions"), str):
        said.append(instructions)
    return said


def _messages(body: JSONObject) -> list[dict[str, Any]]:
    found = body.get("messages", body.get("input"))
    return found if isinstance(found, list) else []


def _text_of(part: JSONValue) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and isinstance(text := part.get("text"), str):
        return text
    return "" if part is None else json.dumps(part, ensure_ascii=False)


def _bytes(text: str) -> int:
    if text.isascii():
        return len(text)
    # A tokenizer may first make compatible characters plain, and one may become many.
    plain = unicodedata.normalize("NFKC", text)
    return max(len(one.encode("utf-8", "replace")) for one in (text, plain))


def _written(value: JSONValue) -> int:
    """Return the bytes of JSON as the most wasteful template writes it: indented and escaped."""
    return len(json.dumps(value, indent=4).translate(_ESCAPED))


def _bounded(part: JSONValue) -> JSONValue:
    """Return a part of a message whose text says how long it is at most, or refuse it."""
    if isinstance(part, dict) and (kind := part.get("type")) in OTHER_KINDS:
        raise DefinitionError(
            f"the input has a part of type '{kind}': nothing bounds its tokens, so it cannot be "
            "used under a budget of tokens or dollars",
            field="input",
        )
    return part


def _check_tools(tools: JSONValue) -> None:
    for tool in tools if isinstance(tools, list) else []:
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind not in ("function", "custom"):
            raise DefinitionError(
                f"sampling.tools has {kind!r}, which the endpoint runs: nothing bounds its tokens, "
                "so it cannot be used under a budget of tokens or dollars",
                field="tools",
            )
