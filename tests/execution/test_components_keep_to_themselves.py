"""What a component does to what it is handed stays with it."""

from __future__ import annotations

from typing import Any

from tests.support.runs import experiment, table
from themis.core.errors import ProviderError
from themis.core.models import Case, Dataset, GenerationResult, ParsedOutput, Score

TALK = [{"role": "user", "content": "2+2?"}]


class Part:
    version = "1"

    def __init__(self, component_id: str) -> None:
        self.component_id = component_id

    def fingerprint(self) -> str:
        return self.component_id


class Appending(Part):
    """Adds to the messages it was given, as many a script does, and fails once."""

    def __init__(self) -> None:
        super().__init__("appending")
        self.lengths: list[int] = []

    async def generate(self, case: Case, ctx: Any) -> GenerationResult:
        case.input.append({"role": "assistant", "content": "4"})
        case.metadata["tries"] = len(self.lengths)
        self.lengths.append(len(case.input))
        if len(self.lengths) == 1:
            raise ProviderError("busy", status=503)
        return GenerationResult(candidate_id="x", final_output=[3, 1, 2])


class Sorting(Part):
    kind = "binary"

    def score(self, parsed: ParsedOutput, case: Case, ctx: Any) -> Score:
        before = list(parsed.value)
        parsed.value.sort()
        case.expected_output.append("mine")
        return Score(metric_id=self.component_id, value=before == [3, 1, 2])


class Emptying(Part):
    def parse(self, candidate: Any, ctx: Any) -> ParsedOutput:
        value = list(candidate.final_output)
        candidate.final_output.clear()
        return ParsedOutput(value=value)


def test_what_a_component_changes_is_neither_anothers_nor_the_datasets() -> None:
    case = Case(case_id="c", input=list(TALK), expected_output=[1], metadata={"a": 1})
    data = Dataset(dataset_id="d", cases=[case])
    generator = Appending()
    one = experiment(
        generator,
        cases=data,
        samples=3,
        parser=Emptying("emptying"),
        metrics=[Sorting("first"), Sorting("second")],
    )
    run_id = one.compile().run_id
    result = one.run()
    assert generator.lengths == [2, 2, 2, 2]
    assert [row[-1] for row in table(result)] == ["correct"] * 6
    assert case.input == TALK
    assert case.expected_output == [1]
    assert case.metadata == {"a": 1}
    assert one.compile().run_id == run_id
    assert result.cases[0].generated_candidates[0].final_output == [3, 1, 2]
