"""Metrics that compare a parsed value with the gold answer, by themselves.

They refuse to score a case without a gold answer, and never repair a value: reading an answer out
of a text is a parser's work.
"""

from __future__ import annotations

import re
from typing import Any

from themis.catalog.shipped import ShippedComponent
from themis.core.contexts import ScoreContext
from themis.core.hashing import canonical
from themis.core.models import Case, ParsedOutput, Score, ScoreError


class ExactMatch(ShippedComponent):
    """1 where the parsed value equals the expected output as JSON (4 equals 4.0), else 0."""

    component_id = "builtin/exact_match"
    kind = "binary"
    value_range = (0.0, 1.0)
    higher_is_better = True
    unparsed = "incorrect"
    reads = frozenset({"expected_output"})

    def score(self, parsed: ParsedOutput, case: Case, ctx: ScoreContext) -> Score | ScoreError:
        """Return the score; a ``ScoreError`` for a case without an expected output."""
        del ctx
        if case.expected_output is None:
            return _no_gold(self.component_id, case)
        equal = canonical(parsed.value) == canonical(case.expected_output)
        return Score(metric_id=self.component_id, value=1.0 if equal else 0.0)


class ChoiceAccuracy(ShippedComponent):
    """1 where the chosen letter is the right one, whatever its case, else 0.

    The expected output is a letter, the position of the right option, or an object whose
    ``answer`` is one of these. A parsed value that names no option is incorrect, and its details
    say so.

    Args:
        first_index: the position that stands for A, where the expected output is a number.
    """

    component_id = "builtin/choice_accuracy"
    kind = "binary"
    value_range = (0.0, 1.0)
    higher_is_better = True
    unparsed = "incorrect"
    reads = frozenset({"expected_output"})

    def __init__(self, *, first_index: int = 0) -> None:
        super().__init__({"first_index": first_index})
        if type(first_index) is not int:
            raise self.refuse("first_index", first_index, "an integer, such as 0 or 1")
        self._first_index = first_index

    def score(self, parsed: ParsedOutput, case: Case, ctx: ScoreContext) -> Score | ScoreError:
        """Return the score; a ``ScoreError`` where the expected output names no option."""
        del ctx
        if case.expected_output is None:
            return _no_gold(self.component_id, case)
        expected = self._letter(case.expected_output)
        if expected is None:
            return ScoreError(
                metric_id=self.component_id,
                reason=(
                    f"case '{case.case_id}': expected_output {case.expected_output!r} is neither "
                    f"a letter nor a position counted from {self._first_index}"
                ),
            )
        given = self._letter(parsed.value)
        if given is None:
            return Score(
                metric_id=self.component_id,
                value=0.0,
                details={"note": "the parsed value names no option", "value": parsed.value},
            )
        return Score(metric_id=self.component_id, value=1.0 if given == expected else 0.0)

    def _letter(self, value: Any) -> str | None:
        if isinstance(value, dict):
            return self._letter(value.get("answer")) if "answer" in value else None
        if isinstance(value, str):
            found = re.fullmatch(r"\(?([A-Za-z])[).]?", value.strip())
            return found[1].upper() if found else None
        if type(value) is int and 0 <= value - self._first_index < 26:
            return chr(ord("A") + value - self._first_index)
        return None


def _no_gold(metric_id: str, case: Case) -> ScoreError:
    return ScoreError(
        metric_id=metric_id,
        reason=f"case '{case.case_id}' has no expected_output to compare with",
    )
