"""Parsers: what of a final output is the answer.

A parser that finds nothing, or more than one thing, says so by ``ParseError``. None of them
guesses, and none looks at the case.
"""

from __future__ import annotations

import json
from typing import Any

from themis.catalog.choices import ALL_LETTERS, read_choice
from themis.catalog.fences import Block, fenced_blocks
from themis.catalog.json_in_text import Found, json_in
from themis.catalog.json_schema import Schema
from themis.catalog.reading import ONLY, PICKS, pick_one, text_of
from themis.catalog.shipped import ShippedComponent
from themis.core.base import JSONValue
from themis.core.contexts import ParseContext
from themis.core.errors import DefinitionError, ParseError
from themis.core.hashing import check_json
from themis.core.models import GenerationResult, ParsedOutput, ReducedCandidate
from themis.core.prompts import as_text

_LANGUAGES = {
    "c++": "cpp", "golang": "go", "js": "javascript", "py": "python", "py3": "python",
    "python3": "python", "sh": "bash", "shell": "bash", "ts": "typescript",
}  # fmt: skip


class JsonIdentity(ShippedComponent):
    """The final output as the JSON value it is; text is read as JSON text."""

    component_id = "builtin/json_identity"
    reads: frozenset[str] = frozenset()

    def parse(
        self, candidate: GenerationResult | ReducedCandidate, ctx: ParseContext
    ) -> ParsedOutput:
        """Return the value; raise ``ParseError`` for text that is not JSON."""
        del ctx
        output = candidate.final_output
        value = _read_json(output) if isinstance(output, str) else output
        return ParsedOutput.unchecked(value=value, format="json", metadata={})


class Text(ShippedComponent):
    """The final output as text, without white space around it; other values as JSON text."""

    component_id = "builtin/text"
    reads: frozenset[str] = frozenset()

    def parse(
        self, candidate: GenerationResult | ReducedCandidate, ctx: ParseContext
    ) -> ParsedOutput:
        """Return the text; raise ``ParseError`` where there is none."""
        del ctx
        output = candidate.final_output
        found = "" if output is None else as_text(output).strip()
        if not found:
            raise ParseError("the final output is empty", reason="nothing_found")
        return ParsedOutput.unchecked(value=found, format="text", metadata={})


class Json(ShippedComponent):
    """The JSON value in the final output, out of prose and fences; checked against a schema.

    The clearest place decides: a text that is JSON as a whole, else its fenced blocks, else objects
    and arrays between words. A final output that is no text is the value as it is.

    Args:
        schema: a JSON Schema (draft 2020-12, unless its ``$schema`` names another) that the value
            must meet; values that do not are passed over. Needs the extra "schema". References to
            other documents are never fetched.
        expect: "any", "object" or "array": values of other types are passed over.
        pick: "only" (several that differ are ambiguous), "first" or "last".
    """

    component_id = "builtin/json"
    reads: frozenset[str] = frozenset()

    def __init__(
        self, *, schema: dict[str, Any] | None = None, expect: str = "any", pick: str = ONLY
    ) -> None:
        super().__init__({"schema": schema, "expect": expect, "pick": pick})
        self._expect = self.one_of("expect", expect, ("any", "object", "array"))
        self._pick = self.one_of("pick", pick, PICKS)
        self._schema = None if schema is None else Schema(schema, self.component_id)

    def parse(
        self, candidate: GenerationResult | ReducedCandidate, ctx: ParseContext
    ) -> ParsedOutput:
        """Return the value; raise ``ParseError`` where there is none, several, or it is invalid."""
        del ctx
        output = candidate.final_output
        if isinstance(output, str) or output is None:
            found = json_in(text_of(candidate))
        else:
            found = [Found(output, "whole")]
        fitting = [one for one in found if self._is_expected(one.value)]
        if not fitting:
            raise ParseError(
                f"the text holds JSON, and no {self._expect} among it", reason="invalid"
            )
        if self._schema is not None:
            complaints = [self._schema.complaint(one.value) for one in fitting]
            valid = [one for one, said in zip(fitting, complaints, strict=True) if said is None]
            if not valid:
                raise ParseError(f"the JSON does not meet the schema: {complaints[-1]}")
            fitting = valid
        chosen = pick_one(fitting, [one.value for one in fitting], self._pick, "JSON values")
        return ParsedOutput(value=chosen.value, format="json", metadata={"where": chosen.where})

    def _is_expected(self, value: JSONValue) -> bool:
        types = {"object": dict, "array": list}
        return self._expect == "any" or isinstance(value, types[self._expect])


class Regex(ShippedComponent):
    r"""What a regular expression finds in the final output, as text.

    Args:
        pattern: Python's syntax; flags stand inside, such as ``(?i)`` or ``(?s)``.
        group: the group to keep, by number or name; the first one by default, the whole match where
            the pattern has none.
        pick: "only" (matches that differ are ambiguous), "first" or "last".
    """

    component_id = "builtin/regex"
    reads: frozenset[str] = frozenset()

    def __init__(self, *, pattern: str, group: int | str | None = None, pick: str = ONLY) -> None:
        super().__init__({"pattern": pattern, "group": group, "pick": pick})
        self._pattern = self.pattern_param("pattern", pattern)
        self._group = self._known_group(group)
        self._pick = self.one_of("pick", pick, PICKS)

    def parse(
        self, candidate: GenerationResult | ReducedCandidate, ctx: ParseContext
    ) -> ParsedOutput:
        """Return what the group matched; raise ``ParseError`` where nothing did, or several."""
        del ctx
        matches = self._pattern.finditer(text_of(candidate))
        found = [one for match in matches if (one := match[self._group])]
        if not found:
            raise ParseError(
                f"nothing in the text matches {self._pattern.pattern!r}", reason="nothing_found"
            )
        return ParsedOutput(value=pick_one(found, found, self._pick, "matches"), format="text")

    def _known_group(self, group: int | str | None) -> int | str:
        if group is None:
            return min(1, self._pattern.groups)
        by_number = type(group) is int and 0 <= group <= self._pattern.groups
        if by_number or (isinstance(group, str) and group in self._pattern.groupindex):
            return group
        names = ", ".join(map(repr, self._pattern.groupindex))
        raise self.refuse(
            "group",
            group,
            f"a group of the pattern: 0 to {self._pattern.groups}"
            + (f", {names}" if names else ""),
        )


class CodeText(ShippedComponent):
    """The code in the final output: what stands in a fenced block, of any language.

    The code is left as it is, indentation and line ends included.

    Args:
        language: keep blocks of this language ("python" also stands for "py" and "python3"), or of
            these; where none names it, those that name no language.
        pick: "only" (several that differ are ambiguous), "first", "last", "longest", or "join": all
            of them, one after the other.
        unfenced: whether a text without any fence is code as a whole, as completions are.
    """

    component_id = "builtin/code_text"
    reads: frozenset[str] = frozenset()

    def __init__(
        self,
        *,
        language: str | list[str] | None = None,
        pick: str = ONLY,
        unfenced: bool = True,
    ) -> None:
        super().__init__({"language": language, "pick": pick, "unfenced": unfenced})
        self._languages = self._named(language)
        self._pick = self.one_of("pick", pick, (*PICKS, "longest", "join"))
        self._unfenced = self.flag_param("unfenced", unfenced)

    def parse(
        self, candidate: GenerationResult | ReducedCandidate, ctx: ParseContext
    ) -> ParsedOutput:
        """Return the code; raise ``ParseError`` where there is none, or several."""
        del ctx
        text = text_of(candidate)
        blocks = [block for block in fenced_blocks(text) if block.content.strip()]
        if not blocks:
            if self._unfenced and "```" not in text:
                return ParsedOutput(value=text, format="code", metadata={"rule": "unfenced"})
            raise ParseError("the text holds no fenced block with code", reason="nothing_found")
        kept = self._of_language(blocks)
        if not kept:
            there = ", ".join(sorted({block.language for block in blocks}))
            raise ParseError(
                f"no fenced block is {' or '.join(self._languages)}; there are: {there}",
                reason="nothing_found",
            )
        if self._pick == "join":
            code = "\n".join(block.content.removesuffix("\n") for block in kept) + "\n"
            return ParsedOutput(
                value=code,
                format="code",
                metadata={"rule": "fenced", "language": kept[0].language, "blocks": len(kept)},
            )
        chosen = (
            max(kept, key=lambda block: len(block.content))
            if self._pick == "longest"
            else pick_one(kept, [block.content for block in kept], self._pick, "blocks of code")
        )
        metadata: dict[str, Any] = {"rule": "fenced", "language": chosen.language}
        if not chosen.closed:
            metadata["closed"] = False
        return ParsedOutput(value=chosen.content, format="code", metadata=metadata)

    def _of_language(self, blocks: list[Block]) -> list[Block]:
        if not self._languages:
            return blocks
        named = [
            block
            for block in blocks
            if _LANGUAGES.get(block.language.lower(), block.language.lower()) in self._languages
        ]
        return named or [block for block in blocks if not block.language]

    def _named(self, language: Any) -> list[str]:
        if language is None:
            return []
        given = [language] if isinstance(language, str) else language
        texts = given if isinstance(given, list) else []
        known = [one.strip().lower() for one in texts if isinstance(one, str) and one.strip()]
        if not known or len(known) != len(texts):
            raise self.refuse("language", language, 'a language such as "python", or a list')
        return [_LANGUAGES.get(one, one) for one in known]


class ChoiceLetter(ShippedComponent):
    r"""The letter of the option that the final output chooses, in upper case.

    It reads "the answer is (b)", "**C**", "C) Paris", "I think C is right", "\boxed{A}" and their
    like. Where several options are named and none is clearly chosen, it refuses.

    Args:
        choices: how many options there are, or their letters ("ABCDE"); all letters by default.
    """

    component_id = "builtin/choice_letter"
    version = "2"
    reads: frozenset[str] = frozenset()

    def __init__(self, *, choices: int | str | None = None) -> None:
        super().__init__({"choices": choices})
        self._letters = self._allowed(choices)

    def parse(
        self, candidate: GenerationResult | ReducedCandidate, ctx: ParseContext
    ) -> ParsedOutput:
        """Return the letter; raise ``ParseError`` ("ambiguous" or "nothing_found")."""
        del ctx
        output = candidate.final_output
        if isinstance(output, dict) and isinstance(output.get("answer"), str):
            output = output["answer"]
        found = read_choice("" if output is None else as_text(output), self._letters)
        return ParsedOutput(
            value=found.letter, format="choice_letter", metadata={"rule": found.rule}
        )

    def _allowed(self, choices: int | str | None) -> str:
        if choices is None:
            return ALL_LETTERS
        if type(choices) is int and 2 <= choices <= 26:
            return ALL_LETTERS[:choices]
        if isinstance(choices, str):
            letters = choices.upper()
            plain = set(letters) <= set(ALL_LETTERS)
            if plain and len(letters) >= 2 and len(set(letters)) == len(letters):
                return letters
        raise self.refuse("choices", choices, 'a number from 2 to 26, or letters such as "ABCD"')


def _read_json(output: str) -> Any:
    if not output.strip():
        raise ParseError("the final output is empty", reason="nothing_found")
    try:
        return check_json(json.loads(output, parse_constant=_refuse_constant))
    except (DefinitionError, RecursionError, ValueError) as error:
        raise ParseError(f"the final output is not JSON text: {error}", reason="invalid") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
