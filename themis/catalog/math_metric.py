r"""Whether two mathematical answers are one, as Math-Verify decides it.

Math-Verify bounds its work by alarm signals, which only a process's main thread can set, and its
memory by nothing. So the work goes to a process of its own, where both are bounded. Source: https://github.com/huggingface/Math-Verify
"""

from __future__ import annotations

import re

from themis.catalog.gold import TextMetric
from themis.catalog.math_process import MathProcess
from themis.catalog.math_verdicts import UNDECIDED, UNREAD_GOLD, Verdict
from themis.catalog.shipped import needs_extra
from themis.core.base import JSONObject
from themis.core.models import Case, Score, ScoreError

_DELIMITED = re.compile(r"\$|\\\(|\\\[|\\boxed|\\begin")
_COMMAND = re.compile(r"\\(?:text\w*|mathrm|mbox|operatorname)\s*\{[^{}]*\}|\\[A-Za-z]+")
_WORD = re.compile(r"[A-Za-z]{2,}")
_PLAIN = re.compile(r"[\s\d.,/%+-]*")


class MathEquivalence(TextMetric):
    r"""1 where the answer and the expected one are mathematically equal, else 0.

    Both are read by Math-Verify's ``parse`` and compared by its ``verify``, the expected one as
    gold: 1/2, 0.5 and ``\frac{1}{2}`` are one answer. Math-Verify reads LaTeX between delimiters
    only; a text that is an expression without any (``2\sqrt{3}``, as data sets and
    ``builtin/math_answer`` give it) is put between dollar signs first. Of several expected answers
    one suffices. What cannot be read is incorrect, as Math-Verify has it, and the details say so.

    It runs off the loop, each reading and comparison within ``timeout``, in 2 GiB of memory. What
    is undecided by then is an error, which the next run tries again, since it depends on the
    machine; Math-Verify by itself would call it not equal. Needs the extra "math".

    Args:
        float_rounding: decimals to which floats are compared.
        numeric_precision: digits with which expressions are evaluated.
        strict: whether variables must be the same, and sets are no tuples.
        timeout: whole seconds for each reading and each comparison.
        unread_gold: "incorrect", or "error" for expected answers that Math-Verify cannot read.
    """

    component_id = "builtin/math_equivalence"
    version = "2"
    kind = "binary"
    cpu_bound = True

    def __init__(
        self,
        *,
        float_rounding: int = 6,
        numeric_precision: int = 15,
        strict: bool = True,
        timeout: int = 5,
        unread_gold: str = "incorrect",
    ) -> None:
        super().__init__(
            {
                "float_rounding": float_rounding,
                "numeric_precision": numeric_precision,
                "strict": strict,
                "timeout": timeout,
                "unread_gold": unread_gold,
            }
        )
        needs_extra("math_verify", extra="math", needed_for=self.component_id)
        self._options: JSONObject = {
            "float_rounding": self.count_param("float_rounding", float_rounding, least=0),
            "numeric_precision": self.count_param("numeric_precision", numeric_precision),
            "strict": self.flag_param("strict", strict),
        }
        self._timeout = self.count_param("timeout", timeout)
        self._unread = self.one_of("unread_gold", unread_gold, ("incorrect", "error"))

    def compare(self, answer: str, accepted: list[str], case: Case) -> Score | ScoreError:
        """Return 1 or 0."""
        if not accepted:
            return self.lacks_gold(case)
        right = [delimited(one) for one in accepted]
        verdict = judged(delimited(answer), right, self._timeout, self._options)
        if verdict.note == UNDECIDED:
            return ScoreError(
                metric_id=self.component_id,
                reason=f"case '{case.case_id}': {UNDECIDED} (timeout = {self._timeout} s)",
                retryable=True,
            )
        if verdict.note == UNREAD_GOLD and self._unread == "error":
            return ScoreError(
                metric_id=self.component_id, reason=f"case '{case.case_id}': {UNREAD_GOLD}"
            )
        details: JSONObject = {} if verdict.note is None else {"note": verdict.note}
        return Score(
            metric_id=self.component_id, value=1.0 if verdict.equal else 0.0, details=details
        )


_PROCESS = MathProcess()


def delimited(text: str) -> str:
    """Return a text as Math-Verify is to be given it: a bare expression between dollar signs."""
    bare = text.strip()
    if not bare or _DELIMITED.search(bare) or _PLAIN.fullmatch(bare):
        return text
    return text if _WORD.search(_COMMAND.sub(" ", bare)) else f"${bare}$"


def judged(answer: str, right: list[str], timeout: int, options: JSONObject) -> Verdict:
    """Return Math-Verify's verdict, wherever this is called; see ``compare`` for what is taken."""
    # Alarms bound the work there; the process is ended where it does not hear them.
    within = timeout * (1 + 5 * len(right)) + 5.0
    found = _PROCESS.ask([answer, right, timeout, options], within=within)
    return Verdict(equal=False, note=UNDECIDED) if found is None else Verdict(*found)
