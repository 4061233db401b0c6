"""Scales of verdicts, and reading a judge's answer strictly.

A judge reasons first and ends with one line, or answers as a JSON object. What does not say exactly
one thing on the scale (a refusal, both verdicts, a number off the scale) is a ``ParseError`` and
never a zero: a judge that failed says nothing about the candidate. What a judge thought aloud or
quoted is not its verdict.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from themis.catalog.verdict_text import (
    Said,
    bare_label,
    own_words,
    spoken,
    without_reasoning,
)
from themis.core.base import JSONObject, JSONValue
from themis.core.errors import DefinitionError, ParseError

PASS_FAIL = "pass_fail"  # noqa: S105 - a scale
ScaleSpec = str | Mapping[str, float]
_NUMBER = re.compile(r"([+-]?\d+(?:\.\d+)?)(?:\s*(?:/|out of)\s*(\d+(?:\.\d+)?))?")
_SPAN = re.compile(r"(-?\d+(?:\.\d+)?)-(-?\d+(?:\.\d+)?)")


class Verdict(NamedTuple):
    """What a judge decided."""

    value: str | float
    """A label of the scale ("pass", "fail"), or a number on it."""
    reason: str | None


@dataclass(frozen=True, slots=True)
class Scale:
    """What verdicts are on offer: labels, each worth a number, or the numbers of a closed range."""

    name: str
    low: float
    high: float
    worth: Mapping[str, float] | None = None
    """By label; None for a range of numbers."""

    @classmethod
    def of(cls, given: ScaleSpec) -> Scale:
        """Return a scale.

        Args:
            given: "pass_fail"; a range of numbers such as "0-10"; or labels and what each is worth,
                such as ``{"right": 1, "partly": 0.5, "wrong": 0}``.

        Raises:
            DefinitionError: it is none of these.
        """
        if given == PASS_FAIL:
            return cls(PASS_FAIL, 0.0, 1.0, {"pass": 1.0, "fail": 0.0})
        if isinstance(given, Mapping):
            return cls._of_labels(given)
        spelt: object = given  # from a config, of any kind
        found = _SPAN.fullmatch(spelt) if isinstance(spelt, str) else None
        if found is None or not -math.inf < float(found[1]) < float(found[2]) < math.inf:
            raise DefinitionError(
                f'scale = {given!r}: must be "pass_fail", a range such as "0-10" or "1-5", or '
                'labels with their worth, such as {"right": 1, "partly": 0.5, "wrong": 0}',
                field="scale",
                value=given,
            )
        return cls(given, float(found[1]), float(found[2]))

    @classmethod
    def _of_labels(cls, given: Mapping[str, float]) -> Scale:
        names: list[Any] = list(given)  # from a config, of any kind
        numbers: list[Any] = list(given.values())
        labels = {bare_label(label) if isinstance(label, str) else "" for label in names}
        worth = [one for one in numbers if type(one) in (int, float) and math.isfinite(one)]
        alike = len(labels) != len(given) or len(worth) != len(given)
        if alike or "" in labels or len(set(worth)) < 2:
            raise DefinitionError(
                f"scale = {dict(given)!r}: must be two labels or more, told apart by more than "
                "case and punctuation, each with a finite number, and not all of one worth",
                field="scale",
                value=dict(given),
            )
        values = {label: float(one) for label, one in given.items()}
        return cls("|".join(values), min(worth), max(worth), values)

    @property
    def is_binary(self) -> bool:
        """Whether every verdict is worth 0 or 1."""
        return self.worth is not None and set(self.worth.values()) == {0.0, 1.0}

    @property
    def question(self) -> str:
        """The line that tells the judge how to answer."""
        if self.worth is None:
            wanted = f'"VERDICT: <number>", the number from {self.low:g} to {self.high:g}'
        else:
            *most, last = (f'"VERDICT: {label.upper()}"' for label in self.worth)
            wanted = f"{', '.join(most)} or {last}"
        return f"Give your reasons in short. Then end with one line and nothing after it: {wanted}."

    @property
    def json_question(self) -> str:
        """The line that tells a judge how to answer whose endpoint enforces a JSON schema."""
        return (
            'Answer as a JSON object: first "reason", your reasons in short, then "verdict", '
            f"{self._wanted}."
        )

    @property
    def _wanted(self) -> str:
        if self.worth is None:
            return f"a number from {self.low:g} to {self.high:g}"
        return "one of " + ", ".join(f'"{label.upper()}"' for label in self.worth)

    @property
    def schema(self) -> JSONObject:
        """JSON schema of an answer: the reason comes first, so that the verdict follows from it."""
        verdict: JSONObject
        if self.worth is None:
            verdict = {"type": "number", "minimum": self.low, "maximum": self.high}
        else:
            verdict = {"type": "string", "enum": [label.upper() for label in self.worth]}
        return {
            "type": "object",
            "properties": {"reason": {"type": "string"}, "verdict": verdict},
            "required": ["reason", "verdict"],
            "additionalProperties": False,
        }

    def read(self, text: str) -> Verdict:
        """Return the verdict of an answer.

        Raises:
            ParseError: there is none, more than one, or one that is off the scale.
        """
        if not text.strip():
            raise ParseError("the judge's answer is empty", reason="nothing_found")
        answer = without_reasoning(text)
        if not answer.strip():
            raise ParseError("the judge's answer ends within its reasoning", reason="nothing_found")
        data, around = own_words(answer)
        lines = [line.strip() for line in around.splitlines() if line.strip()]
        said = spoken(lines)
        values = {self._value(one.verdict) for one in said if one.is_whole} | self._bare(lines)
        values |= self._bare([one.verdict for one in said if not one.is_whole], every=True)
        reason = None
        if data is not None:
            given = next((data[key] for key in data if key.lower() == "verdict"), None)
            reason = next((data[key] for key in data if key.lower() == "reason"), None)
            values.add(self._value(given))
        if not values:
            raise ParseError(
                f"the judge's answer ends in {_short(_last(answer))!r}, which is no verdict",
                reason="nothing_found",
            )
        if len(values) > 1:
            raise ParseError(
                f"the judge's answer holds several verdicts: {sorted(map(str, values))}",
                reason="ambiguous",
            )
        if not isinstance(reason, str):
            reason = self._reason(lines, said)
        return Verdict(values.pop(), reason or None)

    def score(self, verdict: JSONValue) -> float:
        """Return what a verdict is worth: a number is worth itself."""
        return float(verdict) if self.worth is None else self.worth[str(verdict)]

    def _reason(self, lines: list[str], said: list[Said]) -> str:
        verdicts = {one.line for one in said}
        return "\n".join(line for line in lines if line not in verdicts and not self._bare([line]))

    def _value(self, given: Any) -> str | float:
        return self._label(given) if self.worth is not None else self._number(given)

    def _label(self, given: Any) -> str:
        assert self.worth is not None
        wanted = bare_label(given) if isinstance(given, str) else None
        for label in self.worth:
            if bare_label(label) == wanted:
                return label
        raise ParseError(f"verdict {_short(given)!r} is neither of {', '.join(self.worth)}")

    def _number(self, given: Any) -> float:
        if isinstance(given, str):
            found = _NUMBER.fullmatch(bare_label(given))
            if found is None or (found[2] is not None and float(found[2]) != self.high):
                raise ParseError(f"verdict {_short(given)!r} is no number on the scale {self.name}")
            given = float(found[1])
        if type(given) not in (int, float) or not math.isfinite(given):
            raise ParseError(f"verdict {_short(given)!r} is no number on the scale {self.name}")
        if not self.low <= given <= self.high:
            raise ParseError(f"verdict {given:g} is off the scale {self.name}")
        return float(given)

    def _bare(self, lines: list[str], *, every: bool = False) -> set[str | float]:
        """Return verdicts that stand alone on a line: any labels, but only a last number."""
        found: set[str | float] = set()
        for line in lines if self.worth is not None or every else lines[-1:]:
            try:
                found.add(self._value(line))
            except ParseError:
                continue
        return found


def _last(text: str) -> str:
    return next(line.strip() for line in reversed(text.splitlines()) if line.strip())


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
