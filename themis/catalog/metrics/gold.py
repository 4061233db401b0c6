"""What a metric compares: the answer as text, and the answers that count as right.

An expected output is one answer, or a list of answers each of which is right; an object stands for
what is under its ``answer`` or ``answers``. Nothing else is taken for text.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from themis.catalog.component import LONG_ANSWER, ShippedPart
from themis.core.base import JSONValue
from themis.core.contexts import ScoreContext
from themis.core.models import Case, ParsedOutput, Score, ScoreError
from themis.core.prompts import as_text

_WORKED = re.compile(r"\S\s*\n?[ \t]*####[ \t]*[^\n#]+\s*\Z")


class TextMetric(ShippedPart):
    """Base of metrics that compare the answer's text with the texts that are right."""

    kind: ClassVar[str] = "value"
    value_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    unparsed: ClassVar[str] = "incorrect"
    reads: ClassVar[frozenset[str]] = frozenset({"expected_output"})
    cpu_bound_over: ClassVar[int] = LONG_ANSWER

    def score(self, parsed: ParsedOutput, case: Case, ctx: ScoreContext) -> Score | ScoreError:
        """Return the score; a ``ScoreError`` where one of the two is no text."""
        del ctx
        if case.expected_output is None:
            return no_gold(self.component_id, case)
        accepted = accepted_texts(case.expected_output)
        if accepted is None:
            return ScoreError(
                metric_id=self.component_id,
                reason=(
                    f"case '{case.case_id}': expected_output {_short(case.expected_output)} is "
                    "neither a text, a list of texts, nor an object with an 'answer'"
                ),
            )
        answer = text_answer(parsed.value)
        return (
            self.no_text(parsed, case) if answer is None else self.compare(answer, accepted, case)
        )

    def compare(self, answer: str, accepted: list[str], case: Case) -> Score | ScoreError:
        """Return the score of an answer against the texts that are right, of which may be none."""
        raise NotImplementedError

    def why_unequal(self, answer: JSONValue, expected: JSONValue) -> str | None:
        """Return why the expected output can equal no answer: it tells how one gets there."""
        texts = accepted_texts(expected) or []
        return worked_out(text_answer(answer) or "", texts)

    def no_text(self, parsed: ParsedOutput, case: Case) -> ScoreError:
        """Return the error of a parsed value that is no text."""
        return ScoreError(
            metric_id=self.component_id,
            reason=(
                f"case '{case.case_id}': the parsed value {_short(parsed.value)} is no text; "
                f'give the metric a parser, as in use("{self.component_id}", parser="builtin/text")'
            ),
        )

    def lacks_gold(self, case: Case) -> ScoreError:
        """Return the error of a case whose list of right answers is empty."""
        return lacks_gold(self.component_id, case)


def text_answer(value: Any) -> str | None:
    """Return a value as text: JSON text of numbers and booleans, empty for nothing; else None."""
    if isinstance(value, dict):
        return text_answer(value["answer"]) if "answer" in value else None
    if value is None:
        return ""
    return as_text(value) if isinstance(value, (str, int, float)) else None


def accepted_texts(expected: Any) -> list[str] | None:
    """Return the texts that count as right; None where an expected output is no such thing."""
    if isinstance(expected, dict):
        name = "answers" if "answers" in expected else "answer"
        return accepted_texts(expected[name]) if expected.get(name) is not None else None
    if isinstance(expected, list):
        texts = [None if one is None else text_answer(one) for one in expected]
        kept = [text for text in texts if text is not None]
        return kept if len(kept) == len(texts) else None
    text = text_answer(expected)
    return None if text is None else [text]


def worked_out(answer: str, accepted: list[str]) -> str | None:
    """Return why worked solutions, as GSM8K has them ("... #### 18"), can equal no answer."""
    if "####" in answer or not accepted or not all(map(_WORKED.search, accepted)):
        return None
    return (
        "the expected output is a worked solution, and only what follows its #### is the answer: "
        "give that as expected_output, as a function of the record does"
    )


def kinds_apart(answer: JSONValue, expected: JSONValue) -> str | None:
    """Return why two JSON values can never be equal, where their kinds say so already."""
    given, wanted = _kind(answer), _kind(expected)
    if isinstance(answer, str) and isinstance(expected, str):
        return worked_out(answer, [expected])
    if given == wanted or expected is None or answer in (None, ""):
        return None
    way = {
        "a number": 'give the metric a parser, such as parser="builtin/number"',
        "a boolean": "give the metric a parser that gives a boolean, or write it as a text",
        "a list": 'give the metric parser="builtin/json" where the answer is a list; several right '
        "answers are a list with any_of=True of builtin/exact_match",
        "an object": 'give the metric a parser of JSON, such as parser="builtin/json"',
        "a text": "write the expected output as the parser gives answers, or leave the parser out",
    }[wanted]
    return f"the answer is {given} and the expected output {wanted}, which are never equal; {way}"


def _kind(value: JSONValue) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
    return "an object"


def no_gold(metric_id: str, case: Case) -> ScoreError:
    """Return the error of a case without a gold answer."""
    return ScoreError(
        metric_id=metric_id,
        reason=f"case '{case.case_id}' has no expected_output to compare with",
    )


def lacks_gold(metric_id: str, case: Case) -> ScoreError:
    """Return the error of a case whose list of right answers is empty."""
    return ScoreError(
        metric_id=metric_id,
        reason=f"case '{case.case_id}': expected_output lists no answer to compare with",
    )


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
