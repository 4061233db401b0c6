"""A metric of one's own: any class with these three attributes and ``score`` will do."""

from themis.core.models import Case, ParsedOutput, Score


class SameLength:
    """1 where the answer is as long as the gold answer, else 0."""

    component_id = "metric/same_length"
    version = "1"
    kind = "binary"
    value_range = (0.0, 1.0)

    def fingerprint(self) -> str:
        """Say what the result depends on besides the code: nothing."""
        return "same-length"

    def score(self, parsed: ParsedOutput, case: Case, ctx: object) -> Score:
        """Compare the lengths."""
        del ctx
        same = len(str(parsed.value)) == len(str(case.expected_output))
        return Score(metric_id=self.component_id, value=same)
