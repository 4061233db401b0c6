"""What a case's input is to a chat model: text, messages, or a message with images in it.

Parts are known by the names of either API and sent by those of the one that is called. An image is
an address, of the web or with the data in it: no file is read here, as its content would be no part
of the case.
"""

from __future__ import annotations

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
_ADDRESSES = ("http://", "https://", "data:")


def rendered_input(value: JSONValue, spec: PromptSpec | None, metadata: JSONObject) -> JSONValue:
    """Return what is sent for an input: text, or chat messages.

    A list of typed parts, and an object with ``text`` and ``image`` or ``images``, become one user
    message. The prompt material joins its text; the images come after the text.

    Raises:
        DefinitionError: an image is no address, or the template names a field that is missing.
    """
    spec = spec or PromptSpec()
    value = normal_form(value)
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


def chat_content(messages: Any) -> list[JSONObject]:
    """Return messages with their parts named as Chat Completions name them."""
    return [
        {**message, "content": [_chat_part(part) for part in parts]}
        if isinstance(parts := message["content"], list)
        else dict(message)
        for message in messages
    ]


def responses_content(content: JSONValue) -> JSONValue:
    """Return content with the parts of messages named as the Responses API names them."""
    if not is_messages(content):
        return content
    return [
        {**message, "content": [_responses_part(part, message["role"]) for part in parts]}
        if isinstance(parts := message["content"], list)
        else message
        for message in content
    ]


def is_image(part: JSONValue) -> bool:
    """Return whether a part of a message is an image."""
    return isinstance(part, dict) and part.get("type") in IMAGE_KINDS


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
    """Return an image's address, and its detail where it is said."""
    given = part.get("image_url")
    inner = given if isinstance(given, dict) else {"url": given, **part}
    detail = {"detail": inner["detail"]} if inner.get("detail") is not None else {}
    return _checked(inner.get("url")), detail
