"""Scales of verdicts, and reading a judge's answer strictly.

A judge reasons first and ends with one line, or answers as a JSON object. An answer that does not
give exactly one verdict on the scale (a refusal, both verdicts, a number off the scale) is a
``ParseError`` and never a zero: a judge that failed says nothing about the candidate. What a judge
wrote in its reasoning, or quoted, is not its verdict.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from themis.catalog.judged.verdict_text import (
    TAKEN_BACK,
    VerdictLine,
    normalized_label,
    split_answer,
    verdict_lines,
)
from themis.catalog.thoughts import without_thoughts
from themis.core.base import JSONObject, JSONValue
from themis.core.errors import DefinitionError, ParseError

PASS_FAIL = "pass_fail"  # noqa: S105 - a scale
ScaleSpec = str | Mapping[str, float]
_NUMBER = re.compile(r"([+-]?\d+(?:\.\d+)?)(?:\s*(?:/|out of)\s*(\d+(?:\.\d+)?))?")
_SPAN = re.compile(r"(-?\d+(?:\.\d+)?)-(-?\d+(?:\.\d+)?)")
_LONGEST = 100_000
"""Characters of an answer beyond its thoughts in which a verdict is looked for."""


class JudgeVerdict(NamedTuple):
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
        labels = {normalized_label(label) if isinstance(label, str) else "" for label in names}
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

    def read(self, text: str) -> JudgeVerdict:
        """Return the verdict of an answer.

        Raises:
            ParseError: there is none, more than one, or one that is off the scale.
        """
        if not text.strip():
            raise ParseError("the judge's answer is empty", reason="nothing_found")
        answer = without_thoughts(text)
        if not answer.strip():
            raise ParseError("the judge's answer ends within its reasoning", reason="nothing_found")
        if len(answer) > _LONGEST:
            raise ParseError(
                f"the judge's answer has {len(answer)} characters; a verdict is looked for in "
                f"{_LONGEST} at most",
                reason="invalid",
            )
        data, around = split_answer(answer)
        lines = [line.strip() for line in around.splitlines() if line.strip()]
        given = verdict_lines(lines)
        values = {self._value(one.verdict) for one in given if one.is_whole} | self._bare(lines)
        values |= self._bare([one.verdict for one in given if not one.is_whole], every=True)
        whole = [place for place, line in enumerate(lines) if line in {one.line for one in given}]
        if whole:
            values |= self._taken_back(lines[whole[-1] + 1 :])
        reason = None
        if data is not None:
            verdict = next((data[key] for key in data if key.lower() == "verdict"), None)
            reason = next((data[key] for key in data if key.lower() == "reason"), None)
            values.add(self._value(verdict))
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
            reason = self._reason(lines, given)
        return JudgeVerdict(values.pop(), reason or None)

    def score(self, verdict: JSONValue) -> float:
        """Return what a verdict is worth: a number is worth itself."""
        return float(verdict) if self.worth is None else self.worth[str(verdict)]

    def _reason(self, lines: list[str], given: list[VerdictLine]) -> str:
        verdicts = {one.line for one in given}
        return "\n".join(line for line in lines if line not in verdicts and not self._bare([line]))

    def _value(self, given: Any) -> str | float:
        return self._label(given) if self.worth is not None else self._number(given)

    def _label(self, given: Any) -> str:
        assert self.worth is not None
        wanted = normalized_label(given) if isinstance(given, str) else None
        for label in self.worth:
            if normalized_label(label) == wanted:
                return label
        raise ParseError(f"verdict {_short(given)!r} is neither of {', '.join(self.worth)}")

    def _number(self, given: Any) -> float:
        if isinstance(given, str):
            found = _NUMBER.fullmatch(normalized_label(given))
            if found is None or (found[2] is not None and float(found[2]) != self.high):
                raise ParseError(f"verdict {_short(given)!r} is no number on the scale {self.name}")
            given = float(found[1])
        if type(given) not in (int, float) or not math.isfinite(given):
            raise ParseError(f"verdict {_short(given)!r} is no number on the scale {self.name}")
        if not self.low <= given <= self.high:
            raise ParseError(f"verdict {given:g} is off the scale {self.name}")
        return float(given)

    def _taken_back(self, lines: list[str]) -> set[str | float]:
        """Return the verdicts that lines behind the verdict name.

        A label counts as it was asked for, in capitals, and in any form in a line that takes
        something back ("Wait, that fails."); a number in such a line only.
        """
        found: set[str | float] = set()
        for line in lines:
            takes_back = TAKEN_BACK.match(line) is not None
            if self.worth is None:
                numbers = _NUMBER.findall(line) if takes_back else []
                found |= {float(one) for one, _ in numbers if self.low <= float(one) <= self.high}
                continue
            rest = line
            for label in sorted(self.worth, key=len, reverse=True):  # "IRRELEVANT" before its part
                form = re.escape(label.upper())
                form = rf"(?i:{form}\w{{0,3}})" if takes_back else form
                named = rf"(?<!\w){form}(?!\w)"
                rest, times = re.subn(named, " ", rest)
                found |= {label} if times else set()
        return found

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
