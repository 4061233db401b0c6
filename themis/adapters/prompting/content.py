"""What a case's input is to a chat model: text, messages, or a message with images in it.

Parts are known by the names of either API and sent by those of the one that is called. An image is
an address, of the web or with the data in it: no file is read here, as its content would be no part
of the case.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from themis.core.base import JSONObject, JSONValue
from themis.core.errors import DefinitionError
from themis.core.hashing import normal_form
from themis.core.prompts import PromptSpec, as_text, is_messages

IMAGE_KINDS = ("image_url", "input_image")
_TEXT_KINDS = ("text", "input_text", "output_text")
OTHER_KINDS = ("audio_url", "file", "input_audio", "input_file", "video_url")
_KINDS = frozenset((*_TEXT_KINDS, *IMAGE_KINDS, *OTHER_KINDS))
_IMAGE_FIELDS = frozenset(("text", "image", "images"))
_CALL_ITEMS = ("function_call", "custom_tool_call")
_RESULT_ITEMS = ("function_call_output", "custom_tool_call_output")
_ITEMS = (*_CALL_ITEMS, *_RESULT_ITEMS, "reasoning")
"""Items of the Responses API that are no messages."""
_KIND_OF = "kind of"
_ITEMS_OWN = ("type", "id", "status", "phase")
"""Fields of a message that only the Responses API has."""
_CHATS_OWN = (
    "annotations", "audio", "function_call", "reasoning", "reasoning_content", "refusal",
    "tool_calls",
)  # fmt: skip
"""Fields of an assistant's message that the Responses API refuses, as an SDK dumps them."""
_ADDRESSES = ("http://", "https://", "data:")


def rendered_input(value: JSONValue, spec: PromptSpec | None, metadata: JSONObject) -> JSONValue:
    """Return what is sent for an input: text, or chat messages.

    A list of typed parts, and an object with ``text`` and ``image`` or ``images``, become one user
    message. The prompt material joins its text; the images come after the text.

    Raises:
        DefinitionError: an image is no address, or the template names a field that is missing.
    """
    spec = spec or PromptSpec()
    value = _as_chat(normal_form(value))
    images: list[JSONObject] = []
    if _is_parts(value):
        assert isinstance(value, list)
        if spec.template is None:
            value = [{"role": "user", "content": value}]
        else:
            images = [part for part in value if part["type"] not in _TEXT_KINDS]
    elif isinstance(value, dict) and (addresses := _addresses(value)):
        images = [{"type": "image_url", "image_url": {"url": one}} for one in addresses]
        value = value if spec.template is not None else value["text"]
    rendered = spec.render_input(value, metadata=metadata)
    if not images:
        return rendered if is_messages(rendered) else as_text(rendered)
    return _with_images(rendered, images)


def _as_chat(value: JSONValue) -> JSONValue:
    """Return a history in items of the Responses API as chat messages; any other value as it is.

    Thoughts among the items are left out: a message has no place for them.
    """
    if not isinstance(value, list) or not any(_item_kind(one) in _ITEMS for one in value):
        return value
    if not all(_item_kind(one) in _ITEMS or is_messages([one]) for one in value):
        return value
    messages: list[JSONObject] = []
    for one in value:
        kind = _item_kind(one)
        assert isinstance(one, dict)
        if kind not in _ITEMS:
            messages.append({name: item for name, item in one.items() if name not in _ITEMS_OWN})
        elif kind in _CALL_ITEMS:
            last = messages[-1] if messages else {}
            if "tool_calls" not in last and last.get("role") != "assistant":
                messages.append(last := {"role": "assistant", "content": None})
            last.setdefault("tool_calls", []).append(_call_of_item(one))
        elif kind in _RESULT_ITEMS:
            number, output = one.get("call_id"), one.get("output")
            messages.append({"role": "tool", "tool_call_id": number, "content": output})
    return list(messages)


def _item_kind(item: JSONValue) -> object:
    return item.get("type") if isinstance(item, dict) and "role" not in item else None


def _call_of_item(item: JSONObject) -> JSONObject:
    """Return the tool call of a chat message that an item is."""
    number, name = item.get("call_id") or item.get("id"), item.get("name")
    if item["type"] == "custom_tool_call":
        return {"id": number, "type": "custom", "custom": {"name": name, "input": item["input"]}}
    function = {"name": name, "arguments": as_text(item.get("arguments") or {})}
    return {"id": number, "type": "function", "function": function}


def chat_content(messages: Any) -> list[JSONObject]:
    """Return messages with their parts named as Chat Completions name them."""
    return [
        {**message, "content": [_chat_part(part) for part in parts]}
        if isinstance(parts := message.get("content"), list)
        else dict(message)
        for message in messages
    ]


def responses_content(content: JSONValue) -> JSONValue:
    """Return content with messages as the Responses API has them: each tool call is an item.

    What only Chat Completions know of an assistant's or a tool's message is left out.
    """
    if not is_messages(content):
        return content
    assert isinstance(content, list)
    called: dict[str, str] = {}
    return [item for message in content for item in _responses_items(message, called)]


def _responses_items(message: Any, called: dict[str, str]) -> Iterator[JSONObject]:
    """Yield the items that a chat message is.

    Args:
        message: the message.
        called: ids of the last calls, by the names of what they call: a result of the role
            "function" names no other; and the kinds of calls, by their ids. It grows.
    """
    role, parts = message["role"], message.get("content")
    if role in ("tool", "function"):
        name = str(message.get("name") or "")
        number = message.get("tool_call_id") or called.get(name) or _call_id(name)
        kind = called.get(f"{_KIND_OF} {number}", "function_call")
        yield {"type": f"{kind}_output", "call_id": number, "output": _output(parts)}
        return
    calls = list(calls_of(message)) if role == "assistant" else []
    said = [_responses_part(part, role) for part in parts] if isinstance(parts, list) else parts
    if not calls:
        yield (
            _without_chats_own(message, said)
            if role == "assistant"
            else {**message, "content": said}
        )
        return
    if said:
        yield {"role": role, "content": said}
    for call in calls:
        called[call["name"]] = call["call_id"]
        called[f"{_KIND_OF} {call['call_id']}"] = call["type"]
        yield call


def _without_chats_own(message: JSONObject, said: JSONValue) -> JSONObject:
    """Return an assistant's message without what only Chat Completions know of it."""
    kept = {name: value for name, value in message.items() if name not in _CHATS_OWN}
    return {**kept, "content": said if said is not None else message.get("refusal") or ""}


def calls_of(message: JSONObject) -> Iterator[JSONObject]:
    """Yield the tool calls of an assistant's message as items of the Responses API."""
    for call in message.get("tool_calls") or ():
        inner = call.get("function") or call.get("custom") or call
        name = str(inner.get("name") or "")
        number = str(call.get("id") or call.get("call_id") or _call_id(name))
        if call.get("custom"):
            text = as_text(inner.get("input") or "")
            yield {"type": "custom_tool_call", "call_id": number, "name": name, "input": text}
        else:
            yield _function_call(number, name, inner)
    if isinstance(old := message.get("function_call"), dict):
        name = str(old.get("name") or "")
        yield _function_call(_call_id(name), name, old)


def _function_call(number: str, name: str, inner: JSONObject) -> JSONObject:
    given: JSONValue = next(
        (inner[key] for key in ("arguments", "args", "input") if key in inner), {}
    )
    return {
        "type": "function_call",
        "call_id": number,
        "name": name,
        "arguments": as_text(given),
    }


def _call_id(name: str) -> str:
    """Return the id of a call that was given none: the same for the call and its result."""
    return f"call_{name}"


def _output(content: JSONValue) -> JSONValue:
    """Return what a tool gave: text, or parts where there is more than text."""
    if content is None:
        return ""
    if not isinstance(content, list):
        return as_text(content)
    texts = [
        part if isinstance(part, str) else part.get("text")
        for part in content
        if isinstance(part, str) or (isinstance(part, dict) and part.get("type") in _TEXT_KINDS)
    ]
    if len(texts) == len(content) and all(isinstance(text, str) for text in texts):
        return "".join(map(str, texts))
    if all(isinstance(part, dict) and part.get("type") in _KINDS for part in content):
        return [_responses_part(part, "tool") for part in content]
    return as_text(content)


def is_image(part: JSONValue) -> bool:
    """Return whether a part of a message is an image."""
    return isinstance(part, dict) and part.get("type") in IMAGE_KINDS


def image_address(part: JSONValue) -> str | None:
    """Return the address of the image that a part of a message is; None for any other part."""
    if not isinstance(part, dict) or part.get("type") not in IMAGE_KINDS:
        return None
    return None if "file_id" in part else _image(part)[0]


def data_of(address: str) -> tuple[str, str] | None:
    """Return the media type and the base64 text of a ``data:`` address; None for any other.

    Raises:
        DefinitionError: its data is not base64.
    """
    head, comma, data = address.partition(",")
    if not head.lower().startswith("data:"):
        return None
    kind, _, coding = head[5:].partition(";")
    if not comma or coding.rpartition(";")[2].lower() != "base64":
        raise DefinitionError(
            f"the image {address[:80]!r} must hold its data as base64: 'data:image/png;base64,...'",
            field="input",
        )
    return kind or "image/png", data


def _is_parts(value: JSONValue) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(part, dict) and part.get("type") in _KINDS for part in value)
    )


def _addresses(value: JSONObject) -> list[str]:
    """Return the images of an object with a text; none where it is some other JSON object."""
    if not isinstance(value.get("text"), str):
        return []
    one, more = value.get("image"), value.get("images")
    found = [*([] if one is None else [one]), *(more if isinstance(more, list) else [])]
    if not found or not all(isinstance(image, str) for image in found):
        return []
    if others := sorted(set(value) - _IMAGE_FIELDS):
        raise DefinitionError(
            f"an input with text and images has '{others[0]}' too, which no message has a place "
            "for: leave it out, put it into the case's metadata, or give input_builder=",
            field="input",
        )
    return [_checked(image) for image in found]


def _checked(address: object) -> str:
    if isinstance(address, str) and address.lower().startswith(_ADDRESSES):
        return address
    shown = address if isinstance(address, str) else type(address).__name__
    raise DefinitionError(
        f"the image {shown[:80]!r} is no http(s): or data: address; for a file, put its content "
        "into the case: 'data:image/png;base64,...'",
        field="input",
        value=address,
    )


def _with_images(rendered: JSONValue, images: list[JSONObject]) -> list[JSONObject]:
    """Return messages, the last of the user with the images after its text."""
    if is_messages(rendered):
        assert isinstance(rendered, list)
        *before, last = rendered
    else:
        before, last = [], {"role": "user", "content": as_text(rendered)}
    text = [{"type": "text", "text": last["content"]}] if last["content"] else []
    return [*before, {**last, "content": [*text, *images]}]


def _chat_part(part: JSONValue) -> JSONValue:
    if not isinstance(part, dict):
        return part
    if part.get("type") in _TEXT_KINDS:
        return {**part, "type": "text"}
    if part.get("type") in IMAGE_KINDS:
        address, detail = _image(part)
        return {"type": "image_url", "image_url": {"url": address, **detail}}
    return part


def _responses_part(part: JSONValue, role: str) -> JSONValue:
    if not isinstance(part, dict):
        return part
    if part.get("type") in _TEXT_KINDS:
        return {**part, "type": "output_text" if role == "assistant" else "input_text"}
    if part.get("type") in IMAGE_KINDS and "file_id" not in part:
        address, detail = _image(part)
        return {"type": "input_image", "image_url": address, **detail}
    return part


def _image(part: JSONObject) -> tuple[str, JSONObject]:
    """Return an image's address, and its detail where one is given."""
    given = part.get("image_url")
    inner = given if isinstance(given, dict) else {"url": given, **part}
    detail = {"detail": inner["detail"]} if inner.get("detail") is not None else {}
    return _checked(inner.get("url")), detail
