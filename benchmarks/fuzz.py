"""What reads answers, held to texts whose answers are known because they were put there.

    python -m benchmarks.fuzz [--strings 20000] [--seed 1] [--only WORD] [--examples 5]
                                [--unread]

Each text goes through every parser of the catalog's table and every metric that needs neither a
judge nor a sandbox; a new part is held to it by being in the table. No part may raise what is not
its own word for unread, take over a second, or read what the text's record does not hold
(``tests/support/made_texts.py``). A text that declares an answer and is not read counts as unread,
which is no fault. The exit status is 1 where there is one.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.support.made_texts import Made, made_texts
from themis.catalog import registry
from themis.catalog.table import CATALOG
from themis.core.base import CandidateId, CaseId, CaseKey, DatasetId, RunId
from themis.core.config import use
from themis.core.contexts import ParseContext, ScoreContext
from themis.core.errors import DefinitionError, ParseError
from themis.core.models import (
    Case,
    GenerationResult,
    ParsedOutput,
    Score,
    ScoreError,
    TraceStep,
    WorkflowTrace,
)

LONGEST = 1.0
"""Seconds that a part may take for one text."""
PARAMS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "builtin/choice_letter": ({}, {"choices": 4}),
    "builtin/regex": ({"pattern": r"Score: (\d+)"},),
    "builtin/number": ({}, {"percent": "number"}),
}
"""The parameters to try parts with; those that are not here are tried as they come."""
IDS: Any = {
    "run_id": RunId("r"),
    "case_id": CaseId("c"),
    "dataset_id": DatasetId("d"),
    "case_key": CaseKey("k"),
    "seed": None,
}
PARSING = ParseContext(**IDS, candidate_id=CandidateId("c"))


@dataclass
class Told:
    """What came of one part."""

    part: str
    strings: int = 0
    read: int = 0
    unread: int = 0
    """Texts that declare something for this part, and of which it read nothing."""
    otherwise: list[str] = field(default_factory=list)
    raised: list[str] = field(default_factory=list)
    slowest: float = 0.0
    slowest_text: str = ""
    unread_forms: Counter[str] = field(default_factory=Counter)

    @property
    def has_fault(self) -> bool:
        """Whether it did what no part may do."""
        return bool(self.otherwise or self.raised or self.slowest > LONGEST)


# ── what a text's record holds for a part ─────────────────────────────────────────────────────────


def _squeezed(text: str) -> str:
    return re.sub(r"[\s$*`_().\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]|\\[()\[\]]", "", text)


def _holds_number(made: Made, value: Any) -> bool:
    return any(math.isclose(value, one, rel_tol=1e-12) for one in made.numbers)


def _holds_formula(made: Made, value: Any) -> bool:
    if made.said and _squeezed(value) == _squeezed(made.said):
        return True  # the text is an expression as a whole
    return _squeezed(value) in {_squeezed(one) for one in made.formulas}


def _bare(text: str) -> str:
    return re.sub(r"[\W_]", "", text).upper()


def _is_letter(value: Any) -> bool:
    return len(value) == 1 and "A" <= value <= "Z"


def _behind(*marks: str) -> Callable[[Made, Any], bool]:
    """Return whether a convention's mark stands in the text, and what is read behind one."""

    def holds(made: Made, value: Any) -> bool:
        rests = [made.text[at.end() :] for mark in marks for at in re.finditer(mark, made.text)]
        return any(
            re.sub(r"[\W_]", "", rest).upper().startswith(re.sub(r"[\W_]", "", value).upper())
            for rest in rests
        )

    return holds


def _holds_json(made: Made, value: Any) -> bool:
    return value in made.values or value == _json(made.said)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return ...


def _holds_code(made: Made, value: Any) -> bool:
    is_unfenced = value.strip() == made.said.strip() and "```" not in value
    return value in made.code or is_unfenced


PARSERS: Mapping[str, Callable[[Made, Any], bool]] = {
    "builtin/choice_letter": lambda made, value: value in made.letters,
    "builtin/code_text": _holds_code,
    "builtin/gsm8k_cot_strict": _behind("The answer is "),
    "builtin/gsm8k_flexible": lambda made, value: value in re.sub("[,$]", "", made.text),
    "builtin/gsm8k_strict": _behind("#### "),
    "builtin/json": _holds_json,
    "builtin/json_identity": lambda made, value: value == _json(made.said),
    "builtin/math_answer": _holds_formula,
    "builtin/mmlu_flan_cot": lambda made, value: _is_letter(value) and "answer is " in made.text,
    "builtin/mmlu_flan_cot_strict": lambda made, value: _is_letter(value) and "nswer" in made.text,
    "builtin/mmlu_generative": lambda made, value: _is_letter(value) and value in made.text.upper(),
    "builtin/mmlu_pro": _behind("answer is "),
    "builtin/number": _holds_number,
    "builtin/regex": lambda made, value: False,
    "builtin/text": lambda made, value: value == made.said.strip(),
}  # fmt: skip
"""Whether a text's record holds what a parser read; a parser that is not here may read anything."""
READERS = {
    "number": ("builtin/number", "builtin/math_answer"),
    "letter": ("builtin/choice_letter",),
}


def pairs(part: str, made: Made) -> Iterator[tuple[Any, Any, set[float | None] | None]]:
    """Yield an answer, an expected output and the scores that they may have: None
    for an error; any, where there is no set."""
    yield made.text, made.written or "x", None
    yield "", made.text, None
    same = {"exact_match", "contains", "json_match", "levenshtein", "math_equivalence"}
    if part.partition("/")[2] in same and made.text.strip():
        yield made.text, made.text, {1.0}
    if part.endswith(("exact_match", "json_match")):
        yield made.text, made.text + ".", {0.0}
    if made.declares == "number":
        (value,) = made.numbers
        if part.endswith(("numeric", "math_equivalence")):
            yield made.written, value, {0.0, 1.0}
            yield made.written, value + 1, {0.0}
            yield value, made.written, {0.0, 1.0, None}
            yield value - 1, made.written, {0.0, None}
    if made.declares == "letter" and part.endswith("choice_accuracy"):
        yield made.written, made.written, {1.0}
        yield made.written, "ABCD".index(made.written), {1.0}
        yield made.written, chr(ord(made.written) + 1), {0.0}


# ── trying ────────────────────────────────────────────────────────────────────────────────────────


def parts(
    only: str = "", to_try: Mapping[str, tuple[Mapping[str, Any], ...]] = PARAMS
) -> Iterator[tuple[str, str, Any]]:
    """Yield the name, the id and the part of each parser and each pure metric of the table."""
    for kind in ("parser", "metric"):
        for part, home in CATALOG[kind].items():  # type: ignore[index]
            if only not in part or ".judged." in home or ".code:" in home:
                continue
            for params in to_try.get(part, ({},)):
                try:
                    made, _ = registry.make(use(part, **params), kind)  # type: ignore[arg-type]
                except DefinitionError as error:
                    if "of" in str(error):  # a set metric folds another one's scores
                        continue
                    raise
                if hasattr(made, "parse") or hasattr(made, "score"):
                    shown = "".join(f" {name}={value!r}" for name, value in params.items())
                    yield part + shown, part, made


def tried(name: str, part: str, component: Any, texts: list[Made]) -> Told:
    """Return what came of one part over all texts."""
    told = Told(name)
    attempt = _parsed if hasattr(component, "parse") else _scored
    with suppress(Exception):  # what it loads and starts is no text's time
        attempt(part, component, texts[0], Told(name))
    for made in texts:
        began = time.perf_counter()
        try:
            attempt(part, component, made, told)
        except Exception as error:  # noqa: BLE001
            told.raised.append(f"{made.text!r}: {type(error).__name__}: {error}")
        if (took := time.perf_counter() - began) > told.slowest:
            told.slowest, told.slowest_text = took, made.text
        told.strings += 1
    return told


def _parsed(part: str, parser: Any, made: Made, told: Told) -> None:
    try:
        candidate = GenerationResult(candidate_id="c", final_output=made.text)
    except ValueError:
        return  # no output is kept that holds a lone surrogate
    try:
        value = parser.parse(candidate, PARSING).value
    except ParseError:
        if part in READERS.get(made.declares, ()):
            told.unread += 1
            told.unread_forms[f"{made.form} <- {made.written}"] += 1
        return
    told.read += 1
    holds = PARSERS.get(part)
    if getattr(parser, "percent", "") == "number" and "%" in made.written:
        value = min((value, value / 100), key=lambda one: not _holds_number(made, one))
    if holds is not None and made.declares != "anything" and not holds(made, value):
        told.otherwise.append(f"{made.text!r}: {value!r} of {made.form!r} <- {made.written!r}")


def _scored(part: str, metric: Any, made: Made, told: Told) -> None:
    steps = [TraceStep(step_name=made.written or "x", step_type="tool", input={"q": made.form})]
    for answer, expected, may_be in pairs(part, made):
        try:
            parsed = ParsedOutput(value=answer)
            case = Case(case_id="c", input="?", expected_output=expected)
        except ValueError:
            continue
        trace = WorkflowTrace(trace_id="t", steps=steps)
        ctx = ScoreContext(**IDS, case=case, parsed_output=parsed, trace=trace)
        score = metric.score(parsed, case, ctx)
        assert isinstance(score, (Score, ScoreError)), score
        value = score.value if isinstance(score, Score) else None
        low, high = metric.value_range or (-math.inf, math.inf)
        told.read += value is not None
        if may_be is not None and 1.0 in may_be and value != 1.0:
            told.unread += 1
            told.unread_forms[f"{answer!r} against {expected!r}"] += 1
        is_within = value is None or low <= value <= high
        if not is_within or (may_be is not None and value not in may_be):
            told.otherwise.append(f"{answer!r} against {expected!r}: {value}")


def main() -> int:
    """Print a line for each part; return 1 where one did what none may do."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strings", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", metavar="WORD")
    parser.add_argument("--examples", type=int, default=5)
    parser.add_argument("--unread", action="store_true", help="tell what was not read")
    given = parser.parse_args()
    texts = made_texts(given.strings, given.seed)
    failed = False
    print("| part | strings | read | unread | read otherwise | exceptions | slowest, ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, part, component in parts(given.only):
        told = tried(name, part, component, texts)
        failed = failed or told.has_fault
        print(
            f"| {name} | {told.strings} | {told.read} | {told.unread} | {len(told.otherwise)} "
            f"| {len(told.raised)} | {told.slowest * 1000:.1f} |",
            flush=True,
        )
        slow = [f"{told.slowest:.1f} s: {told.slowest_text!r}"] if told.slowest > LONGEST else []
        unread = [
            f"unread {n}: {form}" for form, n in told.unread_forms.most_common(given.examples)
        ]
        for line in [
            *(unread if given.unread else ()),
            *told.otherwise[: given.examples],
            *told.raised[: given.examples],
            *slow,
        ]:
            print(f"  {line[:400]}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
