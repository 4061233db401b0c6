"""Metrics that compare a parsed value with the gold answer, as JSON, a letter or a number.

They refuse to score a case without a gold answer, and never repair a value: reading an answer out
of a text is a parser's work.
"""

from __future__ import annotations

import math
import re
import string
from fractions import Fraction
from typing import Any

from themis.catalog import squad
from themis.catalog.gold import accepted_texts, lacks_gold, no_gold, text_answer
from themis.catalog.json_difference import difference
from themis.catalog.numbers_in_text import whole_number
from themis.catalog.shipped import ShippedComponent
from themis.core.base import JSONValue
from themis.core.contexts import ScoreContext
from themis.core.hashing import canonical
from themis.core.models import Case, ParsedOutput, Score, ScoreError

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NO_DIGITS = str.maketrans("", "", string.digits)


class _Binary(ShippedComponent):
    kind = "binary"
    value_range = (0.0, 1.0)
    higher_is_better = True
    unparsed = "incorrect"
    reads = frozenset({"expected_output"})

    def right(self, is_right: bool, **details: JSONValue) -> Score:
        make = Score if details else Score.unchecked
        return make(metric_id=self.component_id, value=1.0 if is_right else 0.0, details=details)


class ExactMatch(_Binary):
    """1 where the parsed value equals the expected output, else 0.

    By default the two are compared as JSON (4 equals 4.0). With ``normalize`` or one of the
    ``ignore`` parameters they are compared as texts, after the same changes to both, and an
    expected output that is a list holds several right answers.

    Args:
        normalize: "none", or "squad": lower case, without punctuation, articles and superfluous
            white space, as SQuAD's official scripts have it (see ``squad``).
        any_of: whether an expected output that is a list holds several right answers; always so
            where texts are compared.
        regexes_to_ignore: what matches is removed, in order. Before all else.
        ignore_case: lower both.
        ignore_punctuation: remove ASCII punctuation.
        ignore_numbers: remove ASCII digits.

    A list that holds several right answers and has none is an error; only SQuAD's, of a question
    without an answer, is right where the answer is nothing.

    Source of the last four: ``exact_match`` of Hugging Face's evaluate, which the
    lm-evaluation-harness took over (``exact_match_hf_evaluate`` in ``lm_eval/api/metrics.py``).
    """

    component_id = "builtin/exact_match"

    def __init__(
        self,
        *,
        normalize: str = "none",
        any_of: bool = False,
        regexes_to_ignore: list[str] | None = None,
        ignore_case: bool = False,
        ignore_punctuation: bool = False,
        ignore_numbers: bool = False,
    ) -> None:
        given: dict[str, Any] = {
            "normalize": normalize,
            "any_of": any_of,
            "regexes_to_ignore": regexes_to_ignore,
            "ignore_case": ignore_case,
            "ignore_punctuation": ignore_punctuation,
            "ignore_numbers": ignore_numbers,
        }
        # Without parameters it is what it was before it had any, and so is its fingerprint.
        super().__init__({k: v for k, v in given.items() if v not in ("none", False, None)})
        if self.params:
            self.version = "2"
        self._squad = self.one_of("normalize", normalize, ("none", "squad")) == "squad"
        self._any_of = self.flag_param("any_of", any_of)
        self._ignored = self._patterns(regexes_to_ignore)
        self._lower = self.flag_param("ignore_case", ignore_case)
        self._no_punctuation = self.flag_param("ignore_punctuation", ignore_punctuation)
        self._no_digits = self.flag_param("ignore_numbers", ignore_numbers)
        self._as_text = bool(
            self._squad or self._ignored or self._lower or self._no_punctuation or self._no_digits
        )

    def score(self, parsed: ParsedOutput, case: Case, ctx: ScoreContext) -> Score | ScoreError:
        """Return the score; a ``ScoreError`` for a case without an expected output."""
        del ctx
        expected = case.expected_output
        if expected is None:
            return no_gold(self.component_id, case)
        if self._as_text:
            accepted, answer = accepted_texts(expected), text_answer(parsed.value)
            if accepted is None or answer is None:
                what = "expected_output" if accepted is None else "the parsed value"
                return ScoreError(
                    metric_id=self.component_id,
                    reason=f"case '{case.case_id}': {what} is no text, as comparing texts needs",
                )
            if not accepted:
                if not self._squad:
                    return lacks_gold(self.component_id, case)
                accepted = [""]  # SQuAD 2.0: a question without an answer
            changed = self._changed(answer)
            return self.right(any(self._changed(one) == changed for one in accepted))
        several = expected if self._any_of and isinstance(expected, list) else [expected]
        if not several:
            return lacks_gold(self.component_id, case)
        found = canonical(parsed.value)
        return self.right(any(canonical(one) == found for one in several))

    def _changed(self, text: str) -> str:
        for pattern in self._ignored:
            text = pattern.sub("", text)
        text = text.lower() if self._lower else text
        text = text.translate(_NO_PUNCTUATION) if self._no_punctuation else text
        text = text.translate(_NO_DIGITS) if self._no_digits else text
        return squad.normalise(text) if self._squad else text

    def _patterns(self, given: list[str] | None) -> list[re.Pattern[str]]:
        if given is None:
            return []
        if not isinstance(given, list):
            raise self.refuse("regexes_to_ignore", given, "a list of regular expressions")
        return [self.pattern_param("regexes_to_ignore", one) for one in given]


class ChoiceAccuracy(_Binary):
    """1 where the chosen letter is the right one, whatever its case, else 0.

    The expected output is a letter, the position of the right option, or an object whose
    ``answer`` is one of these. A parsed value that names no option is incorrect, and its details
    say so.

    Args:
        first_index: the position that stands for A, where the expected output is a number.
    """

    component_id = "builtin/choice_accuracy"

    def __init__(self, *, first_index: int = 0) -> None:
        super().__init__({"first_index": first_index})
        if type(first_index) is not int:
            raise self.refuse("first_index", first_index, "an integer, such as 0 or 1")
        self._first_index = first_index

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
                    f"a letter nor a position counted from {self._first_index}"
                ),
            )
        given = self._letter(parsed.value)
        if given is None:
            return self.right(False, note="the parsed value names no option", value=parsed.value)
        return self.right(given == expected)

    def _letter(self, value: Any) -> str | None:
        if isinstance(value, dict):
            return self._letter(value.get("answer")) if "answer" in value else None
        if isinstance(value, str):
            found = re.fullmatch(r"\(?([A-Za-z])[).]?", value.strip())
            return found[1].upper() if found else None
        if type(value) is float and value.is_integer():  # 1.0 is 1, as everywhere in JSON
            value = int(value)
        if type(value) is int and 0 <= value - self._first_index < 26:
            return chr(ord("A") + value - self._first_index)
        return None


class Numeric(_Binary):
    """1 where the parsed number is near enough to the expected one, else 0.

    Near enough is what ``math.isclose`` says: a difference of at most ``tol``, or of at most
    ``rel_tol`` times the larger of the two magnitudes. Texts that are numbers as a whole are read
    ("1,234", "3/4"); a parsed value that is no number is incorrect, and its details say so.

    Args:
        tol: greatest absolute difference.
        rel_tol: greatest relative difference; 0 and ``tol=0`` ask for equal numbers.
    """

    component_id = "builtin/numeric"

    def __init__(self, *, tol: float = 0.0, rel_tol: float = 1e-9) -> None:
        super().__init__({"tol": tol, "rel_tol": rel_tol})
        self._tol = self.number_param("tol", tol, wanted="a number of at least 0")
        self._rel_tol = self.number_param(
            "rel_tol", rel_tol, greatest=1.0, wanted="a number from 0 to 1"
        )

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

    def _near(self, given: float, expected: float) -> bool:
        try:
            if not (isinstance(given, int) and isinstance(expected, int)):
                return math.isclose(given, expected, rel_tol=self._rel_tol, abs_tol=self._tol)
        except OverflowError:  # an integer that no float can hold
            pass
        a, b = Fraction(given), Fraction(expected)
        return abs(a - b) <= max(Fraction(self._tol), Fraction(self._rel_tol) * max(abs(a), abs(b)))


class JsonMatch(_Binary):
    """1 where the parsed value equals the expected output as JSON, part by part, else 0.

    Where they differ the details say where first, as a path: ``$.items[2].name``.

    Args:
        ignore_order: whether lists are equal in any order.
        ignore_extra: whether objects may have keys that the expected ones lack.
        tol: greatest difference between two numbers.
    """

    component_id = "builtin/json_match"

    def __init__(
        self, *, ignore_order: bool = False, ignore_extra: bool = False, tol: float = 0.0
    ) -> None:
        super().__init__({"ignore_order": ignore_order, "ignore_extra": ignore_extra, "tol": tol})
        self._ignore_order = self.flag_param("ignore_order", ignore_order)
        self._ignore_extra = self.flag_param("ignore_extra", ignore_extra)
        self._tol = self.number_param("tol", tol, wanted="a number of at least 0")
        # Items that equal several are tried pair by pair, which takes long in long lists.
        self.cpu_bound = ignore_order and (ignore_extra or tol > 0)

    def score(self, parsed: ParsedOutput, case: Case, ctx: ScoreContext) -> Score | ScoreError:
        """Return the score; a ``ScoreError`` for a case without an expected output."""
        del ctx
        if case.expected_output is None:
            return no_gold(self.component_id, case)
        where = difference(
            parsed.value,
            case.expected_output,
            ignore_order=self._ignore_order,
            ignore_extra=self._ignore_extra,
            tol=self._tol,
        )
        return self.right(True) if where is None else self.right(False, differs_at=where)


def _number(value: Any) -> int | float | None:
    if isinstance(value, dict):
        return _number(value["answer"]) if "answer" in value else None
    if isinstance(value, str):
        return whole_number(value)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
