"""What a metric compares: the answer as text, and the answers that count as right.

An expected output is one answer, or a list of answers each of which is right; an object stands for
what is under its ``answer`` or ``answers``. Nothing else is taken for text.
"""

from __future__ import annotations

from typing import Any

from themis.catalog.shipped import ShippedComponent
from themis.core.contexts import ScoreContext
from themis.core.models import Case, ParsedOutput, Score, ScoreError
from themis.core.prompts import as_text


class TextMetric(ShippedComponent):
    """Base of metrics that compare the answer's text with the texts that are right."""

    kind = "value"
    value_range: tuple[float, float] | None = (0.0, 1.0)
    higher_is_better = True
    unparsed = "incorrect"
    reads = frozenset({"expected_output"})

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
