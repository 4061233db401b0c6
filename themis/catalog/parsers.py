"""Parsers: what of a final output is the answer.

A parser that finds nothing, or more than one thing, says so by ``ParseError``. None of them
guesses, and none looks at the case.
"""

from __future__ import annotations

import json
from typing import Any

from themis.catalog.choices import ALL_LETTERS, read_choice
from themis.catalog.shipped import ShippedComponent
from themis.core.contexts import ParseContext
from themis.core.errors import DefinitionError, ParseError
from themis.core.hashing import check_json
from themis.core.models import GenerationResult, ParsedOutput, ReducedCandidate
from themis.core.prompts import as_text


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
        return ParsedOutput(value=value, format="json")


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
        return ParsedOutput(value=found, format="text")


class ChoiceLetter(ShippedComponent):
    r"""The letter of the option that the final output chooses, in upper case.

    It reads "the answer is (b)", "**C**", "C) Paris", "I think C is right", "\boxed{A}" and their
    like. Where several options are named and none is clearly chosen, it refuses.

    Args:
        choices: how many options there are, or their letters ("ABCDE"); all letters by default.
    """

    component_id = "builtin/choice_letter"
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
