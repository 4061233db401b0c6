"""What parsers and metrics take on hostile texts as these grow, and whether the loop stays free.

    python -m benchmarks.linear [--quick] [--only WORD] [--kinds WORD] [--slowest N]

Every parser and pure metric of the catalog's table is given texts of 10,000, 100,000 and 1,000,000
characters of each kind in ``tests/support/hostile_texts.py``. What runs on the event loop (all, up
to ``cpu_bound_over`` characters) may take no more than a second of the processor's time; and no
part may grow faster than by 2 ** 1.2 for each doubling. A part that is ``cpu_bound`` altogether is
held to neither: a user's pattern may take for ever. Instead each part is given a hostile answer in
a run: the run must end in a score or an unread answer, and the loop not be held up meanwhile.

A larger text is tried where the smaller took less than a tenth of a second, so that a full run
ends within the hour; ``--quick`` leaves out the largest, and three kinds of four. The exit status
is 1 where a bar is not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from benchmarks.fuzz import IDS, PARAMS, PARSING, parts
from tests.support.hostile_texts import Kind, kinds
from tests.support.runs import experiment
from themis.core.config import use
from themis.core.contexts import ScoreContext
from themis.core.errors import ParseError
from themis.core.models import (
    Case,
    Dataset,
    GenerationResult,
    ParsedOutput,
    TraceStep,
    WorkflowTrace,
)
from themis.testing.scripted import ScriptedGenerator

SIZES = (10_000, 100_000, 1_000_000)
LONGEST = 1.0
"""Seconds that a call on the event loop may take."""
STEEPEST = 1.2
"""log2 of the factor by which a call may take longer for a text of twice the length."""
_HELD_UP = 1.0
"""Seconds for which the loop may do nothing else while an answer is read elsewhere."""
_MATTERS = 0.05
"""Seconds up to which growth is not looked at: caches and clocks are too coarse."""
_GROWS = 0.1
_GIVEN_UP = 5

ENDLESS = "(a+)+$"
TO_TRY: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    **PARAMS,
    "builtin/regex": ({"pattern": ENDLESS},),
    "builtin/json": ({}, {"schema": {"type": "string", "pattern": f"^{ENDLESS}"}}),
    "builtin/code_text": ({}, {"pick": "join"}),
    "builtin/exact_match": ({}, {"normalize": "squad"}, {"regexes_to_ignore": [ENDLESS]}),
    "builtin/contains": ({}, {"words": True, "ignore_case": True}),
    "builtin/regex_match": ({"pattern": ENDLESS},),
}
_GOLDS = {"builtin/numeric": 13, "builtin/choice_accuracy": "A", "builtin/json_match": {"a": [1]}}
_GOLD = "The quick brown fox jumps over 13 lazy dogs, and rests in the shade by the old mill. " * 4
HOSTILE: Mapping[str, tuple[str, str]] = {
    "builtin/math_equivalence": ("$9^{9^{9^{9}}}$", "$5$"),
    "builtin/rouge": ("a b c d\n" * 12_500, "d c b a\n" * 12_500),
    "builtin/ter": ("a b c d " * 2_500, "d c a b " * 2_500),
}
"""Answers and expected ones that parts have no end with; to others one that is for patterns."""


class Growth(NamedTuple):
    """What a part took on a kind, in seconds at each size."""

    kind: str
    took: list[float]
    raised: str | None

    @property
    def slope(self) -> float:
        """log2 of the factor for a doubling, the largest between two sizes; 0 if all are short."""
        steps = [
            math.log10(more / max(less, _MATTERS / 20))
            for less, more in zip(self.took, self.took[1:], strict=False)
            if more > _MATTERS
        ]
        return max(steps, default=0.0)

    def is_kept(self, on_loop: int) -> bool:
        """Whether the bars are, of which one is for the first so many sizes."""
        is_short = max(self.took[:on_loop]) <= LONGEST
        return is_short and self.slope <= STEEPEST and self.raised is None

    def __str__(self) -> str:
        took = " ".join(f"{one * 1000:9.1f}" for one in self.took)
        return f"    {took:29} ms  2^{self.slope:.2f}  {self.kind}  {self.raised or ''}"


def call_on(part: Any, text: str) -> Callable[[], Any]:
    """Return a call of a part on a text."""
    if hasattr(part, "parse"):
        candidate = GenerationResult(candidate_id="c", final_output=text)
        return lambda: part.parse(candidate, PARSING)
    gold: Any = _GOLDS.get(part.component_id, _GOLD)
    case, parsed = Case(case_id="c", input="?", expected_output=gold), ParsedOutput(value=text)
    steps = [TraceStep(step_name="a", step_type="tool", input={"q": text})]
    trace = WorkflowTrace(trace_id="t", steps=steps)
    context = ScoreContext(**IDS, case=case, parsed_output=parsed, trace=trace)
    return lambda: part.score(parsed, case, context)


class _GivenUpError(BaseException):
    pass


def _give_up(*_: object) -> None:
    raise _GivenUpError


def grown(part: Any, kind: Kind, sizes: tuple[int, ...], on_loop: int) -> Growth:
    """Take the time of a part on ever longer texts of a kind; again where it keeps no bar."""
    found = _once(part, kind, sizes)
    for _ in range(2):
        if found.is_kept(on_loop):
            break
        took = [*map(min, found.took, _once(part, kind, sizes[: len(found.took)]).took)]
        found = found._replace(took=took)
    return found


def _once(part: Any, kind: Kind, sizes: tuple[int, ...]) -> Growth:
    took: list[float] = []
    raised: str | None = None
    for size in sizes:
        if took and took[-1] > _GROWS:
            break
        call = call_on(part, kind.of(size))
        signal.setitimer(signal.ITIMER_REAL, 4 * _GIVEN_UP)
        began = time.thread_time()
        try:
            call()
        except ParseError:
            pass
        except _GivenUpError:
            began = -math.inf
        except Exception as error:  # noqa: BLE001
            raised = f"{type(error).__name__}: {error}"[:100]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        took.append(time.thread_time() - began)
    return Growth(kind.name, took, raised)


def run_on(name: str, part: Any, answer: str, gold: Any) -> tuple[bool, str]:
    """Give a part an answer in a run, and say what came of it and of the loop meanwhile."""
    is_parser = hasattr(part, "parse")
    one = experiment(
        ScriptedGenerator(lambda case, ctx: answer),
        cases=Dataset(dataset_id="d", cases=[Case(case_id="c", input="?", expected_output=gold)]),
        parser=part if is_parser else None,
        metrics=[use("builtin/exact_match")] if is_parser else [part],
        cpu_timeout=2.0,
    )

    async def watched() -> tuple[Any, float]:
        held_up, last = 0.0, time.perf_counter()
        running = asyncio.ensure_future(one.run_async())
        while not running.done():
            await asyncio.sleep(0.01)
            now = time.perf_counter()
            held_up, last = max(held_up, now - last), now
        return await running, held_up

    began = time.perf_counter()
    result, held_up = asyncio.run(watched())
    (row,) = result.score_rows()
    said = f"{name}: {row.outcome} ({row.error_category}) in {time.perf_counter() - began:.1f} s"
    is_told = row.outcome != "error" or row.error_category in ("undecided", "no_trace", "scoring")
    return is_told and held_up <= _HELD_UP, f"{said}, the loop held up {held_up * 1000:.0f} ms"


def main() -> int:
    """Print a line for each part, and the kinds on which it keeps no bar."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", metavar="WORD")
    parser.add_argument("--kinds", default="", metavar="WORD")
    parser.add_argument("--slowest", type=int, default=0, metavar="N")
    given = parser.parse_args()
    signal.signal(signal.SIGALRM, _give_up)
    sizes = SIZES[:2] if given.quick else SIZES
    chosen = [one for one in kinds() if given.kinds in one.name][:: 4 if given.quick else 1]
    print(f"{len(chosen)} kinds of texts of {', '.join(map(str, sizes))} characters")
    all_kept = True
    for name, part_id, part in parts(given.only, TO_TRY):
        over = getattr(part, "cpu_bound_over", None)
        answer, gold = HOSTILE.get(part_id, (f'"{"a" * 100}!"', "5"))
        if not getattr(part, "cpu_bound", False):
            on_loop = sum(size <= (over or math.inf) for size in sizes)
            with_others = [grown(part, kind, sizes, on_loop) for kind in chosen]
            bad = [one for one in with_others if not one.is_kept(on_loop)]
            with_others.sort(key=lambda one: -one.took[-1])
            slowest = max(max(one.took[:on_loop]) for one in with_others)
            steepest = max(one.slope for one in with_others)
            verdict = "NOT OK" if bad else "ok"
            print(
                f"{verdict:6} {name}: on the loop {slowest * 1000:.0f} ms, 2^{steepest:.2f}",
                flush=True,
            )
            for one in bad or with_others[: given.slowest]:
                print(one, flush=True)
            all_kept = all_kept and not bad
            worst = next(one for one in chosen if one.name == with_others[0].kind)
            answer, gold = worst.of(1_000_000), _GOLDS.get(part_id, _GOLD)
        is_kept, said = run_on(name, part, answer, gold)
        all_kept = all_kept and is_kept
        print(f"{'ok' if is_kept else 'NOT OK':6} in a run: {said}", flush=True)
    return int(not all_kept)


if __name__ == "__main__":
    sys.exit(main())
