"""A generator of one's own: any class with a name, a version, a fingerprint and `generate`."""

from __future__ import annotations

from themis import Experiment
from themis.core.config import EvaluationConfig, GenerationConfig, StorageConfig
from themis.core.contexts import GenerateContext
from themis.core.models import Case, Dataset, GenerationResult


class AddingMachine:
    """Answers "a+b" questions by adding."""

    component_id = "generator/adding_machine"
    version = "1.0"

    def fingerprint(self) -> str:
        """Name the behaviour: answers are reused for as long as this text stays the same."""
        return "adds the terms of the question"

    async def generate(self, case: Case, ctx: GenerateContext) -> GenerationResult:
        """Answer one sample of a case; `ctx` has the sample's seed and the prompt material."""
        terms = case.input["question"].split("+")
        return GenerationResult(
            candidate_id=f"{case.case_id}-{ctx.sample_index}",
            final_output={"answer": str(sum(int(term) for term in terms))},
        )


def run_example() -> dict[str, object]:
    """Run two questions through the machine and score them."""
    questions = {"two": ("2+2", "4"), "three": ("1+2+3", "6")}
    experiment = Experiment(
        generation=GenerationConfig(generator=AddingMachine()),
        evaluation=EvaluationConfig(
            metrics=["builtin/exact_match"], parsers=["builtin/json_identity"]
        ),
        storage=StorageConfig(store="memory"),
        datasets=[
            Dataset(
                dataset_id="sums",
                cases=[
                    Case(
                        case_id=case_id,
                        input={"question": question},
                        expected_output={"answer": answer},
                    )
                    for case_id, (question, answer) in questions.items()
                ],
            )
        ],
    )
    result = experiment.run()
    return {
        "run_id": result.run_id,
        "status": result.status.value,
        "accuracy": result.metrics["builtin/exact_match"].value,
    }


if __name__ == "__main__":
    print(run_example())
