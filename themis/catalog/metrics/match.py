"""Metrics that compare a parsed value with the gold answer, as JSON, a letter or a number.

They refuse to score a case without a gold answer, and never repair a value: reading an answer out
of a text is a parser's work.
"""

from __future__ import annotations

import math
import re
import string
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from themis.catalog.component import LONG_ANSWER, Amount, MustBe, Patterns, Share, ShippedPart
from themis.catalog.metrics import squad
from themis.catalog.metrics.gold import (
    accepted_texts,
    kinds_apart,
    lacks_gold,
    no_gold,
    text_answer,
    worked_out,
)
from themis.catalog.metrics.json_difference import difference
from themis.catalog.numbers_in_text import whole_number
from themis.core.base import JSONValue
from themis.core.contexts import ScoreContext
from themis.core.hashing import canonical
from themis.core.models import Case, ParsedOutput, Score, ScoreError

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NO_DIGITS = str.maketrans("", "", string.digits)


class _Binary(ShippedPart):
    kind: ClassVar[str] = "binary"
    value_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    unparsed: ClassVar[str] = "incorrect"
    reads: ClassVar[frozenset[str]] = frozenset({"expected_output"})
    cpu_bound_over: ClassVar[int] = LONG_ANSWER

    def right(self, is_right: bool, **details: JSONValue) -> Score:
        make = Score if details else Score.unchecked
        return make(metric_id=self.component_id, value=1.0 if is_right else 0.0, details=details)


class ExactMatch(_Binary):
    """1 where the parsed value equals the expected output, else 0.

    By default the two are compared as JSON (4 equals 4.0). With ``normalize`` or one of the
    ``ignore`` parameters they are compared as texts, after the same changes to both, and an
    expected output that is a list holds several right answers. A list that holds several right
    answers and has none is an error; only SQuAD's, of a question without an answer, is right where
    the answer is nothing.

    Source of the last four parameters: ``exact_match`` of Hugging Face's evaluate, which the
    lm-evaluation-harness took over (``exact_match_hf_evaluate`` in ``lm_eval/api/metrics.py``).
    """

    component_id = "builtin/exact_match"
    normalize: Literal["none", "squad"] = "none"
    """How both are changed: "squad" puts them in lower case, without punctuation, articles and
    superfluous white space, as SQuAD's official scripts have it (see ``squad``)."""
    any_of: bool = False
    """Whether an expected output that is a list holds several right answers; always so where texts
    are compared."""
    regexes_to_ignore: Patterns | None = None
    """What matches one of these is removed, in their order and before all else."""
    ignore_case: bool = False
    """Whether both are put in lower case."""
    ignore_punctuation: bool = False
    """Whether ASCII punctuation is removed."""
    ignore_numbers: bool = False
    """Whether ASCII digits are removed."""

    @property
    def cpu_bound(self) -> bool:
        """A user's pattern may take very long on some answer."""
        return bool(self.regexes_to_ignore)

    @cached_property
    def _ignored(self) -> list[re.Pattern[str]]:
        return [re.compile(one) for one in self.regexes_to_ignore or ()]

    @cached_property
    def _compares_texts(self) -> bool:
        return bool(
            self.normalize == "squad"
            or self.regexes_to_ignore
            or self.ignore_case
            or self.ignore_punctuation
            or self.ignore_numbers
        )

    def score(self, parsed: ParsedOutput, case: Case, ctx: ScoreContext) -> Score | ScoreError:
        """Return the score; a ``ScoreError`` for a case without an expected output."""
        del ctx
        expected = case.expected_output
        if expected is None:
            return no_gold(self.component_id, case)
        if self._compares_texts:
            accepted, answer = accepted_texts(expected), text_answer(parsed.value)
            if accepted is None or answer is None:
                what = "expected_output" if accepted is None else "the parsed value"
                return ScoreError(
                    metric_id=self.component_id,
                    reason=f"case '{case.case_id}': {what} is no text, as comparing texts needs",
                )
            if not accepted:
                if self.normalize != "squad":
                    return lacks_gold(self.component_id, case)
                accepted = [""]  # SQuAD 2.0: a question without an answer
            changed = self._changed(answer)
            return self.right(any(self._changed(one) == changed for one in accepted))
        found = canonical(parsed.value)
        if not (self.any_of and isinstance(expected, list)):
            return self.right(canonical(expected) == found)
        if not expected:
            return lacks_gold(self.component_id, case)
        return self.right(any(canonical(one) == found for one in expected))

    def why_unequal(self, answer: JSONValue, expected: JSONValue) -> str | None:
        """Return why an answer of this kind can never be right, or None."""
        if self._compares_texts:
            return worked_out(text_answer(answer) or "", accepted_texts(expected) or [])
        several = expected if self.any_of and isinstance(expected, list) else [expected]
        reasons = [kinds_apart(answer, one) for one in several]
        return reasons[0] if reasons and all(reasons) else None

    def _changed(self, text: str) -> str:
        for pattern in self._ignored:
            text = pattern.sub("", text)
        text = text.lower() if self.ignore_case else text
        text = text.translate(_NO_PUNCTUATION) if self.ignore_punctuation else text
        text = text.translate(_NO_DIGITS) if self.ignore_numbers else text
        return squad.normalise(text) if self.normalize == "squad" else text


class ChoiceAccuracy(_Binary):
    """1 where the chosen letter is the right one, whatever its case, else 0.

    The expected output is a letter, the position of the right option, or an object whose
    ``answer`` is one of these. A parsed value that names no option is incorrect, and its details
    say so.
    """

    component_id = "builtin/choice_accuracy"
    first_index: Annotated[int, MustBe("an integer, such as 0 or 1")] = 0
    """The position that stands for A, where the expected output is a number."""

    def score(self, parsed: ParsedOutput, case: Case, ctx: ScoreContext) -> Score | ScoreError:
        """Return the score; a ``ScoreError`` where the expected output names no option."""
        del ctx
        if case.expected_output is None:
            return no_gold(self.component_id, case)
        expected = self._letter(case.expected_output)
        if expected is None:
            return ScoreError(
                metric_id=self.component_id,
                reason=(
                    f"case '{case.case_id}': expected_output {case.expected_output!r} is neither "
                    f"a letter nor a position counted from {self.first_index}"
                ),
            )
        given = self._letter(parsed.value)
        if given is None:
            return self.right(False, note="the parsed value names no option", value=parsed.value)
        return self.right(given == expected)

    def why_unequal(self, answer: JSONValue, expected: JSONValue) -> str | None:
        """Return why what names no option is never right."""
        if answer in (None, "") or self._letter(answer) or not self._letter(expected):
            return None
        return (
            "the answer is more than the letter of an option; give the metric a parser, such as "
            'parser="builtin/choice_letter"'
        )

    def _letter(self, value: Any) -> str | None:
        if isinstance(value, dict):
            return self._letter(value.get("answer")) if "answer" in value else None
        if isinstance(value, str):
            found = re.fullmatch(r"\(?([A-Za-z])[).]?", value.strip())
            return found[1].upper() if found else None
        if type(value) is float and value.is_integer():  # 1.0 is 1, as everywhere in JSON
            value = int(value)
        if type(value) is int and 0 <= value - self.first_index < 26:
            return chr(ord("A") + value - self.first_index)
        return None


class Numeric(_Binary):
    """1 where the parsed number is near enough to the expected one, else 0.

    Near enough is what ``math.isclose`` says: a difference of at most ``tol``, or of at most
    ``rel_tol`` times the larger of the two magnitudes. Texts that are numbers as a whole are read
    ("1,234", "3/4"); a parsed value that is no number is incorrect, and its details say so.
    """

    component_id = "builtin/numeric"
    tol: Amount = 0.0
    """The greatest absolute difference between two numbers that are equal."""
    rel_tol: Share = 1e-9
    """The greatest relative difference; with 0 here and for ``tol``, numbers must be equal."""

    def score(self, parsed: ParsedOutput, case: Case, ctx: ScoreContext) -> Score | ScoreError:
        """Return the score; a ``ScoreError`` where the expected output is no number."""
        del ctx
        if case.expected_output is None:
            return no_gold(self.component_id, case)
        expected = _number(case.expected_output)
        if expected is None:
            return ScoreError(
                metric_id=self.component_id,
                reason=f"case '{case.case_id}': expected_output {case.expected_output!r} is no "
                "number",
            )
        given = _number(parsed.value)
        if given is None:
            return self.right(False, note="the parsed value is no number", value=parsed.value)
        return self.right(self._near(given, expected))

    def why_unequal(self, answer: JSONValue, expected: JSONValue) -> str | None:
        """Return why what is no number is never right."""
        if answer in (None, "") or _number(answer) is not None or _number(expected) is None:
            return None
        return (
            "the answer is no number as a whole; give the metric a parser, such as "
            'parser="builtin/number"'
        )

    def _near(self, given: float, expected: float) -> bool:
        try:
            if not (isinstance(given, int) and isinstance(expected, int)):
                return math.isclose(given, expected, rel_tol=self.rel_tol, abs_tol=self.tol)
        except OverflowError:  # an integer that no float can hold
            pass
        a, b = Fraction(given), Fraction(expected)
        return abs(a - b) <= max(Fraction(self.tol), Fraction(self.rel_tol) * max(abs(a), abs(b)))


class JsonMatch(_Binary):
    """1 where the parsed value equals the expected output as JSON, part by part, else 0.

    Where they differ the details say where first, as a path: ``$.items[2].name``.
    """

    component_id = "builtin/json_match"
    ignore_order: bool = False
    """Whether lists are equal in any order."""
    ignore_extra: bool = False
    """Whether objects may have keys that the expected ones lack."""
    tol: Amount = 0.0
    """The greatest difference between two numbers that are equal."""

    @property
    def cpu_bound(self) -> bool:
        """Whether items may equal several others: trying them pair by pair takes long."""
        return self.ignore_order and (self.ignore_extra or self.tol > 0)

    def score(self, parsed: ParsedOutput, case: Case, ctx: ScoreContext) -> Score | ScoreError:
        """Return the score; a ``ScoreError`` for a case without an expected output."""
        del ctx
        if case.expected_output is None:
            return no_gold(self.component_id, case)
        where = difference(
            parsed.value,
            case.expected_output,
            ignore_order=self.ignore_order,
            ignore_extra=self.ignore_extra,
            tol=self.tol,
        )
        return self.right(True) if where is None else self.right(False, differs_at=where)

    def why_unequal(self, answer: JSONValue, expected: JSONValue) -> str | None:
        """Return why an answer of this kind can never be right, or None."""
        return kinds_apart(answer, expected)


def _number(value: Any) -> int | float | None:
    if isinstance(value, dict):
        return _number(value["answer"]) if "answer" in value else None
    if isinstance(value, str):
        return whole_number(value)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
