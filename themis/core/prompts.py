"""Prompt specs, which are part of a run's identity, and how they are rendered.

Order: instructions (apart, as the system message), prefix, blocks, examples, input, suffix. The
request that an endpoint receives is built by the adapters.

JSON values are rendered from the normal form of which digests are computed: keys sorted, integral
floats as integers. So equal step keys mean equal prompts, in whatever order the JSON was written.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

from pydantic import Field, field_validator

from themis.core.base import JSONObject, JSONValue, Model
from themis.core.errors import DefinitionError
from themis.core.hashing import canonical, normal_form


class Example(Model):
    """One few-shot example: an input like a case's, and the answer to it."""

    input: JSONValue
    output: JSONValue


class PromptSpec(Model):
    """Prompt material of an experiment. Everything in it is part of the run's identity.

    JSON values are sent in their normal form, with sorted keys; to control the order, give text. An
    empty text counts as not set.
    """

    instructions: str | None = None
    """Instructions for the model; sent as the system message, or before the input without one."""
    prefix: str | None = None
    """Text before the input, on a line of its own unless it ends in white space."""
    suffix: str | None = None
    """Text after the input, on a line of its own unless it begins with white space."""
    blocks: list[JSONObject] = Field(default_factory=list)
    """Further material, any JSON objects; a ``title`` becomes a heading, a ``text`` stays text."""
    template: str | None = None
    """Sandboxed Jinja template over ``input``, ``metadata`` and, for an object, its fields by
    name."""
    examples: list[Example] = Field(default_factory=list)
    """Few-shot examples. An example whose input equals the case's is left out for that case."""
    examples_as: Literal["turns", "text"] = "turns"
    """Whether examples are sent as turns of a conversation or as text before the input."""

    @field_validator("examples", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if not isinstance(value, list):
            return value
        return [Example.read(item, "example") if isinstance(item, dict) else item for item in value]

    @field_validator("instructions", "prefix", "suffix")
    @classmethod
    def _said(cls, value: str | None) -> str | None:
        return value or None

    @field_validator("template")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            _template(value)
        return value

    def is_empty(self) -> bool:
        """Return whether nothing is set, so that an input is sent unchanged."""
        return self == PromptSpec()

    def uses_metadata(self) -> bool:
        """Return whether the template reads the case's metadata."""
        return self.template is not None and "metadata" in _names(self.template)

    def leaves_input_out(self) -> bool:
        """Return whether the template never names the input as a whole."""
        return self.template is not None and "input" not in _names(self.template)

    def render_input(self, value: JSONValue, *, metadata: JSONObject | None = None) -> JSONValue:
        """Return the rendered input: text or chat messages, without the instructions.

        Args:
            value: the case's input: text, a list of chat messages, or any JSON value.
            metadata: the case's metadata, for the template.

        Returns:
            The value's normal form where nothing is set; a list of ``{"role", "content"}`` where
            the input is one or examples are turns; else text.

        Raises:
            DefinitionError: the template names a field that the case lacks.
        """
        value = normal_form(value)
        if self.template is not None:
            metadata = normal_form(metadata or {})
            value = _render(self.template, value, metadata)
        shown = self._examples_for(value, metadata)
        turns = shown if self.examples_as == "turns" else []
        front = self._front([] if self.examples_as == "turns" else shown)
        if is_messages(value):
            return _with_turns(_wrap_last_user(value, front, self.suffix), turns)
        if not front and self.suffix is None and not turns:
            return value
        text = _join(_join(front, as_text(value)), self.suffix or "")
        if not turns:
            return text
        return _with_turns([{"role": "user", "content": text}], turns)

    def _front(self, examples: list[tuple[str, str]]) -> str:
        parts = [_block_text(block) for block in self.blocks]
        parts += [_join(given, wanted) for given, wanted in examples]
        body = "\n\n".join(parts)
        front = _join(self.prefix or "", body) if body else self.prefix or ""
        return front + "\n\n" if body else front

    def _examples_for(self, value: JSONValue, metadata: JSONObject | None) -> list[tuple[str, str]]:
        if not self.examples:
            return []
        own = canonical(value)
        pairs: list[tuple[str, str]] = []
        for example in self.examples:
            given = normal_form(example.input)
            if self.template is not None:
                given = _render(self.template, given, metadata or {})
            if canonical(given) != own:
                pairs.append((as_text(given), as_text(example.output)))
        return pairs


def as_text(value: JSONValue) -> str:
    """Return text unchanged, and any other JSON value as JSON text of its normal form."""
    return value if isinstance(value, str) else canonical(value).decode()


def is_messages(value: object) -> bool:
    """Return whether a JSON value is a list of chat messages.

    An assistant's message may have no content where it calls tools, refuses, or speaks.
    """
    return isinstance(value, list) and bool(value) and all(map(_is_message, value))


_WITHOUT_CONTENT = ("tool_calls", "function_call", "refusal", "audio")
"""What an assistant's message may have in place of content."""


def _is_message(item: object) -> bool:
    if not isinstance(item, dict) or "role" not in item:
        return False
    if "content" in item:
        return True
    return item["role"] == "assistant" and any(item.get(name) for name in _WITHOUT_CONTENT)


def _join(first: str, second: str) -> str:
    """Join two texts, on separate lines unless white space separates them already."""
    if not first or not second or first[-1].isspace() or second[0].isspace():
        return first + second
    return f"{first}\n{second}"


def _block_text(block: JSONObject) -> str:
    rest = {key: value for key, value in block.items() if key != "title"}
    if not rest:
        body = ""
    elif set(rest) == {"text"}:
        body = as_text(rest["text"])
    else:
        body = as_text(rest)
    if "title" not in block:
        return body
    heading = f"## {as_text(block['title'])}"
    return f"{heading}\n{body}" if body else heading


def _wrap_last_user(messages: list[Any], front: str, suffix: str | None) -> list[Any]:
    if not front and suffix is None:
        return messages
    users = [index for index, message in enumerate(messages) if message["role"] == "user"]
    if not users:
        return [*messages, {"role": "user", "content": _join(front, suffix or "")}]
    last = dict(messages[users[-1]])
    content = last["content"]
    if isinstance(content, list):
        before = [{"type": "text", "text": front}] if front else []
        after = [{"type": "text", "text": suffix}] if suffix else []
        last["content"] = [*before, *content, *after]
    else:
        last["content"] = _join(_join(front, as_text(content)), suffix or "")
    return [*messages[: users[-1]], last, *messages[users[-1] + 1 :]]


def _with_turns(messages: list[Any], pairs: list[tuple[str, str]]) -> list[Any]:
    if not pairs:
        return messages
    turns = [
        {"role": role, "content": text}
        for pair in pairs
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    head = 0
    while head < len(messages) and messages[head]["role"] in ("system", "developer"):
        head += 1
    return [*messages[:head], *turns, *messages[head:]]


# Jinja is loaded here, by the first template, and nowhere else in core.


@lru_cache(maxsize=64)
def _template(source: str) -> Any:
    from jinja2 import StrictUndefined, TemplateSyntaxError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    try:
        return environment.from_string(source)
    except TemplateSyntaxError as error:
        raise DefinitionError(
            f"PromptSpec.template line {error.lineno}: {error.message}", field="template"
        ) from None


@lru_cache(maxsize=64)
def _names(source: str) -> frozenset[str]:
    from jinja2 import meta

    environment = _template(source).environment
    return frozenset(meta.find_undeclared_variables(environment.parse(source)))


def _render(source: str, value: JSONValue, metadata: JSONObject) -> str:
    fields = value if isinstance(value, dict) else {}
    try:
        text: str = _template(source).render({**fields, "input": value, "metadata": metadata})
    except Exception as error:  # noqa: BLE001 - a template may fail in any way, such as 1 / 0
        said = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
        raise DefinitionError(
            f"PromptSpec.template cannot be filled: {said}", field="template"
        ) from None
    return text
