r"""Whether two mathematical answers are one, as Math-Verify decides it.

Math-Verify bounds its work by alarm signals, which only a process's main thread can set, and its
memory by nothing. So the work goes to a process of its own (``math_process``), where both are
bounded: it is ended where it does not answer in time, and started again when asked next.

Source: https://github.com/huggingface/Math-Verify
"""

from __future__ import annotations

import atexit
import json
import os
import re
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any, ClassVar, Literal, NamedTuple

from themis.catalog.component import Count, CountFromZero, needs_extra
from themis.catalog.math_in_text import delimited, has_formula, plain, typeset, words_of
from themis.catalog.metrics.gold import TextMetric
from themis.catalog.metrics.math_process import STARTING, UNDECIDED, UNREAD_GOLD, MathVerdict
from themis.catalog.numbers_in_text import in_full, numbers_in
from themis.catalog.units_in_text import unit_of
from themis.core.base import JSONObject
from themis.core.models import Case, Score, ScoreError

# As Math-Verify finds answers in words; the last counts.
_DECLARED = re.compile(
    r".*\banswer\b[^\n]{0,50}?(?:\bis\b|:)\s*(?P<answer>[^\n]+)", re.IGNORECASE | re.DOTALL
)
_SEVERAL = re.compile(r"[,;]\s|\b(?:and|or)\b", re.IGNORECASE)
_POWER = re.compile(r"(?<=[A-Za-z])(?:\^\{?-?\d+\}?|[²³])")
# "2 \\text{ hours } 30 \\text{ minutes}": Math-Verify would take the first of them for all.
_QUANTITIES = re.compile(
    r"\d[\s\\,~]*\\(?:text\w*|mathrm|mbox)\s*\{\s*(?!(?:and|or|if|for|when|where|mod)\b)[^\W\d_][^{}]*\}"
    r"[\s\\,~]*(?:\\text\{\s*and\s*\}\s*)?\d"
)
_DIGITS = re.compile(r"\d+(?:[.,]\d+)*")


class MathEquivalence(TextMetric):
    r"""1 where the answer and the expected one are mathematically equal, else 0.

    Both are read by Math-Verify's ``parse`` and compared by its ``verify``, the expected one as
    gold: 1/2, 0.5 and ``\frac{1}{2}`` are one answer. Math-Verify reads LaTeX between delimiters
    only, and elsewhere the last number it finds; what is mathematics throughout (``2\sqrt{3}``,
    ``7, 8, 3``, a matrix) is put between dollar signs first, so that it is compared whole. The same
    words are equal ("no solution"); of other words, the one number in them counts. The same
    number in another unit or currency is another answer. Of several expected answers one
    suffices. What cannot be read is incorrect, and the details say so.

    It runs off the loop, each reading and comparison within ``timeout``, in 2 GiB of memory. An
    answer that is undecided by then, as ``1000000!`` is, is incorrect, and the details say so: to
    Math-Verify too it is not equal. Where even 1 beside the expected answers is undecided, these
    are at fault, an error; and where 1 beside 1 is, it is the machine, and the next run tries
    again. Needs the extra "math".
    """

    component_id = "builtin/math_equivalence"
    kind = "binary"
    cpu_bound: ClassVar[bool] = True
    float_rounding: CountFromZero = 6
    """The number of decimals to which floats are compared."""
    numeric_precision: Count = 15
    """The number of digits with which expressions are evaluated."""
    strict: bool = True
    """Whether variables must be the same, and sets are no tuples."""
    timeout: Count = 5
    """The whole seconds that each reading and each comparison may take."""
    unread_gold: Literal["incorrect", "error"] = "incorrect"
    """What an answer is where Math-Verify cannot read the expected ones."""

    def model_post_init(self, context: Any, /) -> None:
        """Refuse to be made where Math-Verify is not installed."""
        needs_extra("math_verify", extra="math", needed_for=self.component_id)

    def compare(self, answer: str, accepted: list[str], case: Case) -> Score | ScoreError:
        """Return 1 or 0."""
        if not accepted:
            return self.lacks_gold(case)
        answer, *accepted = (typeset(in_full(one)) for one in (answer, *accepted))
        # What is word for word the same is equal, also where it is no mathematics ("no solution").
        if (said := plain(answer)) and said in map(plain, accepted):
            return Score(metric_id=self.component_id, value=1.0)
        unit = unit_of(answer)
        accepted = [one for one in accepted if unit is None or unit_of(one) in (unit, None)]
        if not accepted:
            note = "the units are other than the expected ones"
            return Score(metric_id=self.component_id, value=0.0, details={"note": note})
        options: JSONObject = {
            "float_rounding": self.float_rounding,
            "numeric_precision": self.numeric_precision,
            "strict": self.strict,
        }
        verdict = self._verdict(answer, accepted, options)
        if verdict.note in (UNDECIDED_GOLD, UNDECIDED_ANYTHING):
            return ScoreError(
                metric_id=self.component_id,
                reason=f"case '{case.case_id}': {verdict.note} (timeout = {self.timeout} s)",
                retryable=verdict.note == UNDECIDED_ANYTHING,
            )
        if verdict.note == UNREAD_GOLD and self.unread_gold == "error":
            return ScoreError(
                metric_id=self.component_id, reason=f"case '{case.case_id}': {UNREAD_GOLD}"
            )
        details: JSONObject = {} if verdict.note is None else {"note": verdict.note}
        return Score(
            metric_id=self.component_id, value=1.0 if verdict.equal else 0.0, details=details
        )

    def _verdict(self, answer: str, accepted: list[str], options: JSONObject) -> MathVerdict:
        given, right = read(answer), [read(one) for one in accepted]
        # "5 km" and "5 kg" are two quantities, unless Math-Verify, which knows units, says so.
        unit = unit_of(answer)
        apart = [
            _are_of_other_things(given, one) and (unit is None or unit_of(text) != unit)
            for one, text in zip(right, accepted, strict=True)
        ]
        if any(apart):
            units = [f"${one}$" for one, other in zip(accepted, apart, strict=True) if other]
            verdict = judged(f"${answer}$", units, self.timeout, options)
            if verdict.equal or all(apart):
                return verdict
        same = [one.text for one, other in zip(right, apart, strict=True) if not other]
        return judged(given.text, same, self.timeout, options)


class MathProcess:
    """Asks Math-Verify from any thread; questions wait for each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def ask(self, question: list[Any], *, within: float) -> list[Any] | None:
        """Return what ``compare`` gives, or None where it took longer than that.

        Args:
            question: its arguments.
            within: seconds, beside those that the process takes to start.
        """
        with self._lock:
            if self._process is None:
                self._process = _started()
                atexit.register(self.close)
            process = self._process
            assert process.stdin is not None
            assert process.stdout is not None
            killer = threading.Timer(STARTING + within, process.kill)
            killer.daemon = True
            killer.start()
            try:
                process.stdin.write(json.dumps(question) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except OSError:  # it is gone, as if it had not answered
                line = ""
            finally:
                killer.cancel()
            if not line:
                self._end()
                return None
            answer: list[Any] = json.loads(line)
            return answer

    def close(self) -> None:
        """End the process, if there is one."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._process is not None:
            atexit.unregister(self.close)
            process, self._process = self._process, None
            process.kill()
            with suppress(OSError), process:  # closes the pipes, one of them broken, and waits
                pass
            process.wait()


def _started() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "themis.catalog.metrics.math_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        encoding="utf-8",
    )


_PROCESS = MathProcess()
_PLAIN = "$1$"
UNDECIDED_GOLD = f"beside the expected output even 1 is undecided: {UNDECIDED}"
UNDECIDED_ANYTHING = f"even 1 beside 1 is undecided: {UNDECIDED}"


class Reading(NamedTuple):
    """How an answer is given to Math-Verify."""

    text: str
    """Empty where nothing in it can be told to be the answer."""
    of_what: frozenset[str] = frozenset()
    """The words beside the one number that is read."""


def read(text: str) -> Reading:
    """Return how an answer, or the right one, is given to Math-Verify.

    What is mathematics throughout is given whole; what marks its mathematics as it stands. Of
    words without any, what they declare is taken, else the only number in them; of several numbers
    ("2 hours 30 minutes") none is the answer.
    """
    given = delimited(text)
    if _QUANTITIES.search(given) is not None:
        return Reading("")
    if has_formula(given):
        return Reading(given)
    if (declared := _DECLARED.match(text)) is not None:
        text = declared["answer"].strip().strip("*").strip()
        if has_formula(given := delimited(text)):
            return Reading(given)
    # "3 + 4 = 7 apples" comes to 7; the power of a unit is no number.
    worked, _, comes_to = text.rpartition("=")
    said = text if worked and _SEVERAL.search(text) else comes_to
    counted = _POWER.sub("", said)
    values = {number.value for number in numbers_in(counted)}
    if len(values) == 1 or (not values and len(_DIGITS.findall(counted)) == 1):
        return Reading(counted, frozenset(words_of(text)))
    return Reading("")


def _are_of_other_things(one: Reading, other: Reading) -> bool:
    both = one.of_what and other.of_what
    return bool(both) and not (one.of_what <= other.of_what or other.of_what <= one.of_what)


def judged(answer: str, right: list[str], timeout: int, options: JSONObject) -> MathVerdict:
    """Return Math-Verify's verdict, wherever this is called; see ``compare`` for what is taken.

    Of one that it does not come to the note says whose fault that is: plain ones are asked for.
    """
    verdict = _asked(answer, right, timeout, options)
    if verdict.note != UNDECIDED or _asked(_PLAIN, right, timeout, options).note != UNDECIDED:
        return verdict
    is_machines = _asked(_PLAIN, [_PLAIN], timeout, options).note == UNDECIDED
    return verdict._replace(note=UNDECIDED_ANYTHING if is_machines else UNDECIDED_GOLD)


def _asked(answer: str, right: list[str], timeout: int, options: JSONObject) -> MathVerdict:
    # Alarms bound the work there; the process is ended where it does not hear them.
    within = timeout * (1 + 5 * len(right)) + 5.0
    found = _PROCESS.ask([answer, right, timeout, options], within=within)
    return MathVerdict(equal=False, note=UNDECIDED) if found is None else MathVerdict(*found)
