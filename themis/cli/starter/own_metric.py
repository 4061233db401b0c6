"""An example of your own metric: any class with these three attributes and ``score``."""

from themis.core.models import Case, ParsedOutput, Score


class SameLength:
    """1 if the answer is as long as the gold answer, else 0."""

    component_id = "metric/same_length"
    version = "1"
    kind = "binary"
    value_range = (0.0, 1.0)

    def fingerprint(self) -> str:
        """Return the settings that the score depends on: none."""
        return "same-length"

    def score(self, parsed: ParsedOutput, case: Case, ctx: object) -> Score:
        """Compare the lengths."""
        del ctx
        same = len(str(parsed.value)) == len(str(case.expected_output))
        return Score(metric_id=self.component_id, value=same)
