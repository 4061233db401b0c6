"""Parsers: what of a final output is the answer.

A parser that finds nothing, or more than one thing, says so by ``ParseError``. None of them
guesses, and none looks at the case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from themis.catalog.component import MustBe, Pattern
from themis.catalog.parsers.choices import ALL_LETTERS, read_choice
from themis.catalog.parsers.code_blocks import marked_code, programs
from themis.catalog.parsers.fences import Block, fenced_blocks
from themis.catalog.parsers.json_in_text import Found, json_in, read_json
from themis.catalog.parsers.json_schema import Schema
from themis.catalog.parsers.pick import AnswerParser, Pick, pick_one
from themis.core.base import JSONValue
from themis.core.contexts import ParseContext
from themis.core.errors import DefinitionError, ParseError
from themis.core.models import GenerationResult, ParsedOutput, ReducedCandidate
from themis.core.prompts import as_text

_LANGUAGES = {
    "c++": "cpp", "golang": "go", "js": "javascript", "py": "python", "py3": "python",
    "python3": "python", "sh": "bash", "shell": "bash", "ts": "typescript",
}  # fmt: skip


def _languages(language: str | list[str]) -> list[str]:
    """Return languages by the names that they are compared by; none where one has no name."""
    given = [language] if isinstance(language, str) else language
    known = [one.strip().lower() for one in given]
    return [_LANGUAGES.get(one, one) for one in known] if all(known) else []


def _letters(choices: int | str) -> str:
    """Return the letters of the options; an empty text where there are no such options."""
    if isinstance(choices, int):
        return ALL_LETTERS[:choices] if 2 <= choices <= 26 else ""
    letters = choices.upper()
    are_plain = set(letters) <= set(ALL_LETTERS)
    return letters if are_plain and 2 <= len(letters) == len(set(letters)) else ""


def _is_path(choices: int | str) -> bool:
    """Return whether options are to be found in the case: "metadata.options", "input.choices"."""
    return (
        isinstance(choices, str)
        and re.fullmatch(r"(?:input|metadata)(?:\.[^.]+)+", choices) is not None
    )


_JsonSchema = Annotated[dict[str, Any], MustBe("a JSON Schema, as an object")]
_Group = Annotated[int | str, MustBe("a number or a name of a group of the pattern")]
_Language = Annotated[str | list[str], MustBe('a language such as "python", or a list', _languages)]
_Choices = Annotated[
    int | str,
    MustBe(
        'a number from 2 to 26, letters such as "ABCD", or where the case has its options, such as '
        '"metadata.options" or "input.choices"',
        lambda choices: _is_path(choices) or _letters(choices),
    ),
]


class JsonIdentity(AnswerParser):
    """The final output as the JSON value it is; text is read as JSON text."""

    component_id = "builtin/json_identity"

    def parse(
        self, candidate: GenerationResult | ReducedCandidate, ctx: ParseContext
    ) -> ParsedOutput:
        """Return the value; raise ``ParseError`` for text that is not JSON."""
        del ctx
        output = candidate.final_output
        value = _read_json(self.answer_in(output)) if isinstance(output, str) else output
        return ParsedOutput.unchecked(value=value, format="json", metadata={})


class Text(AnswerParser):
    """The final output as text, without white space around it; other values as JSON text."""

    component_id = "builtin/text"

    def parse(
        self, candidate: GenerationResult | ReducedCandidate, ctx: ParseContext
    ) -> ParsedOutput:
        """Return the text; raise ``ParseError`` where there is none."""
        del ctx
        found = self.text_of(candidate).strip()
        return ParsedOutput.unchecked(value=found, format="text", metadata={})


class Json(AnswerParser):
    """The JSON value in the final output, out of prose and fences; checked against a schema.

    The clearest place decides: a text that is JSON as a whole, else its fenced blocks, else objects
    and arrays between words. A final output that is no text is the value as it is.
    """

    component_id = "builtin/json"
    json_schema: _JsonSchema | None = Field(None, alias="schema")
    """A JSON Schema (draft 2020-12, unless its ``$schema`` names another) that the value must meet;
    values that do not are passed over. It needs the extra "schema". References to other documents
    are never fetched."""
    expect: Literal["any", "object", "array"] = "any"
    """The type of the value; values of other types are passed over."""
    pick: Pick = "only"
    """Which of several values is taken; with "only", several that differ are ambiguous."""

    @property
    def cpu_bound(self) -> bool:
        """A schema may take very long on some answer: its patterns, its references to itself."""
        return self.json_schema is not None

    def model_post_init(self, context: Any, /) -> None:
        """Refuse what is no JSON Schema."""
        _ = self._schema

    @cached_property
    def _schema(self) -> Schema | None:
        return None if self.json_schema is None else Schema(self.json_schema, self.component_id)

    def parse(
        self, candidate: GenerationResult | ReducedCandidate, ctx: ParseContext
    ) -> ParsedOutput:
        """Return the value; raise ``ParseError`` where there is none, several, or it is invalid."""
        del ctx
        output = candidate.final_output
        if isinstance(output, str) or output is None:
            found = json_in(self.text_of(candidate))
        else:
            found = [Found(output, "whole")]
        fitting = [one for one in found if self._is_expected(one.value)]
        if not fitting:
            raise ParseError(
                f"the text holds JSON, and no {self.expect} among it", reason="invalid"
            )
        if self._schema is not None:
            complaints = [self._schema.complaint(one.value) for one in fitting]
            valid = [one for one, said in zip(fitting, complaints, strict=True) if said is None]
            if not valid:
                raise ParseError(f"the JSON does not meet the schema: {complaints[-1]}")
            fitting = valid
        chosen = pick_one(fitting, [one.value for one in fitting], self.pick, "JSON values")
        return ParsedOutput(value=chosen.value, format="json", metadata={"where": chosen.where})

    def _is_expected(self, value: JSONValue) -> bool:
        types = {"object": dict, "array": list}
        return self.expect == "any" or isinstance(value, types[self.expect])


class Regex(AnswerParser):
    """What a regular expression finds in the final output, as text."""

    component_id = "builtin/regex"
    cpu_bound: ClassVar[bool] = True  # a user's pattern may take very long on some answer
    pattern: Pattern
    """The expression in Python's syntax; flags stand inside, such as ``(?i)`` or ``(?s)``."""
    group: _Group | None = None
    """The group to keep, by number or name; the first one by default, the whole match where the
    pattern has none."""
    pick: Pick = "only"
    """Which of several matches is taken; with "only", several that differ are ambiguous."""

    def model_post_init(self, context: Any, /) -> None:
        """Refuse a group that the pattern does not have."""
        n_groups, names = self._pattern.groups, self._pattern.groupindex
        group = self.group
        if group is not None and group not in names and group not in range(n_groups + 1):
            named = "".join(f", {name!r}" for name in names)
            raise self.refuse("group", group, f"a group of the pattern: 0 to {n_groups}{named}")

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(self.pattern)

    @cached_property
    def _group(self) -> int | str:
        return min(1, self._pattern.groups) if self.group is None else self.group

    def parse(
        self, candidate: GenerationResult | ReducedCandidate, ctx: ParseContext
    ) -> ParsedOutput:
        """Return what the group matched; raise ``ParseError`` where nothing did, or several."""
        del ctx
        matches = self._pattern.finditer(self.text_of(candidate))
        found = [one for match in matches if (one := match[self._group])]
        if not found:
            raise ParseError(
                f"nothing in the text matches {self._pattern.pattern!r}", reason="nothing_found"
            )
        return ParsedOutput(value=pick_one(found, found, self.pick, "matches"), format="text")


class CodeText(AnswerParser):
    """The code in the final output: what stands in a fenced block, of any language.

    The code is left as it is, indentation and line ends included. MBPP's marks, ``[BEGIN]`` and
    ``[DONE]``, are read as fences are.
    """

    component_id = "builtin/code_text"
    language: _Language | None = None
    """The language of the blocks to keep, or several ("python" also stands for "py" and "python3");
    where no block names it, those that name no language are kept."""
    pick: Literal["only", "first", "last", "longest", "join"] = "only"
    """Which of several blocks is taken; with "only", several programs that differ are ambiguous,
    where commands, data, output and uses of a program are none, and "join" takes all of them, one
    after the other."""
    unfenced: bool = True
    """Whether a text without any fence is code as a whole, as completions are."""

    @cached_property
    def _known_as(self) -> list[str]:
        return [] if self.language is None else _languages(self.language)

    def parse(
        self, candidate: GenerationResult | ReducedCandidate, ctx: ParseContext
    ) -> ParsedOutput:
        """Return the code; raise ``ParseError`` where there is none, or several."""
        del ctx
        text = self.text_of(candidate)
        marked = marked_code(text)
        if marked is None:
            blocks = [block for block in fenced_blocks(text) if block.content.strip()]
        else:
            blocks = [
                block
                for code in marked
                for block in fenced_blocks(code) or [Block("", code, closed=True)]
                if block.content.strip()
            ]
        if not blocks:
            if self.unfenced and marked is None and "```" not in text:
                return ParsedOutput(value=text, format="code", metadata={"rule": "unfenced"})
            raise ParseError("the text holds no fenced block with code", reason="nothing_found")
        kept = self._of_language(blocks)
        if not kept:
            there = ", ".join(sorted({block.language for block in blocks}))
            raise ParseError(
                f"no fenced block is {' or '.join(self._known_as)}; there are: {there}",
                reason="nothing_found",
            )
        if self.pick == "join":
            code = "\n".join(block.content.removesuffix("\n") for block in kept) + "\n"
            return ParsedOutput(
                value=code,
                format="code",
                metadata={"rule": "fenced", "language": kept[0].language, "blocks": len(kept)},
            )
        if self.pick == "only":
            kept = programs(kept)
        chosen = (
            max(kept, key=lambda block: len(block.content))
            if self.pick == "longest"
            else pick_one(kept, [block.content for block in kept], self.pick, "blocks of code")
        )
        metadata: dict[str, Any] = {"rule": "fenced", "language": chosen.language}
        if not chosen.closed:
            metadata["closed"] = False
        return ParsedOutput(value=chosen.content, format="code", metadata=metadata)

    def _of_language(self, blocks: list[Block]) -> list[Block]:
        if not self._known_as:
            return blocks
        named = [
            block
            for block in blocks
            if _LANGUAGES.get(block.language.lower(), block.language.lower()) in self._known_as
        ]
        return named or [block for block in blocks if not block.language]


class ChoiceLetter(AnswerParser):
    r"""The letter of the option that the final output chooses, in upper case.

    It reads "the answer is (b)", "**C**", "C) Paris", "I think C is right", "\boxed{A}" and their
    like. Where several options are named and none is clearly chosen, it refuses.
    """

    component_id = "builtin/choice_letter"
    choices: _Choices | None = None
    """How many options there are, or their letters ("ABCDE"); all letters by default. A path says
    where each case has its own: a list of options, their number or their letters
    ("metadata.options", "input.choices")."""

    @property
    def reads(self) -> frozenset[str]:  # type: ignore[override]  # depends on a parameter
        """The part of the case that holds its options, if one does."""
        if self.choices is None or not _is_path(self.choices):
            return frozenset()
        return frozenset({str(self.choices).partition(".")[0]})

    def parse(
        self, candidate: GenerationResult | ReducedCandidate, ctx: ParseContext
    ) -> ParsedOutput:
        """Return the letter; raise ``ParseError`` ("ambiguous" or "nothing_found")."""
        output = candidate.final_output
        if isinstance(output, dict) and isinstance(output.get("answer"), str):
            output = output["answer"]
        text = "" if output is None else as_text(output)
        found = read_choice(self.answer_in(text), self._offered(ctx))
        return ParsedOutput(
            value=found.letter, format="choice_letter", metadata={"rule": found.rule}
        )

    def _offered(self, ctx: ParseContext) -> str:
        if self.choices is None:
            return ALL_LETTERS
        if not _is_path(self.choices):
            return _letters(self.choices)
        part, *names = str(self.choices).split(".")
        value: Any = ctx.metadata if part == "metadata" else ctx.input
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, (list, tuple, Mapping)):
            value = len(value)
        is_right = isinstance(value, (int, str)) and not isinstance(value, bool)
        offered = _letters(value) if is_right else ""
        if not offered:
            raise DefinitionError(
                f"{self.component_id}: choices = {self.choices!r}: the case has {value!r} there; "
                "it must be a list of 2 to 26 options, their number or their letters",
                field="choices",
                value=value,
            )
        return offered


def _read_json(output: str) -> Any:
    if not output.strip():
        raise ParseError("the final output is empty", reason="nothing_found")
    try:
        return read_json(output)
    except ValueError as error:
        raise ParseError(f"the final output is not JSON text: {error}", reason="invalid") from None
