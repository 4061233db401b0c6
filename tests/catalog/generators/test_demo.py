"""The demo generator: right in its share of the cases, and the same answers every time.

Covers: themis.catalog.draws, themis.catalog.generators, themis.catalog.generators.demo
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from themis.catalog.generators.demo import DemoGenerator, wrong
from themis.core.contexts import GenerateContext
from themis.core.hashing import canonical
from themis.core.models import Case
from themis.core.prompts import PromptSpec

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(JSON)
def test_a_wrong_answer_is_another_json_value(value: Any) -> None:
    assert canonical(wrong(value)) != canonical(value)


def test_a_wrong_answer_has_the_form_of_the_right_one() -> None:
    assert wrong({"answer": "4"}) == {"answer": "5"}
    assert wrong("D") == "A"
    assert wrong([1, "b"]) == [2, "c"]


async def test_the_demo_generator_gives_the_expected_output(
    generate_context: Callable[..., GenerateContext],
) -> None:
    case = Case(case_id="case-1", input="What is 2+2?", expected_output={"answer": "4"})
    result = await DemoGenerator().generate(case, generate_context())
    assert result.final_output == {"answer": "4"}
    assert result.token_usage == {"prompt_tokens": 3, "completion_tokens": 1}


async def test_without_an_expected_output_it_gives_back_what_it_was_sent(
    generate_context: Callable[..., GenerateContext],
) -> None:
    case = Case(case_id="case-1", input="2+2")
    spec = PromptSpec(instructions="Echo.", prefix="Q:")
    result = await DemoGenerator().generate(case, generate_context(prompt_spec=spec))
    assert result.final_output == "Q:\n2+2"
    assert result.token_usage is not None
    assert result.token_usage["prompt_tokens"] == 3


async def test_the_demo_generator_is_right_in_its_share_and_always_the_same(
    generate_context: Callable[..., GenerateContext],
) -> None:
    generator = DemoGenerator(accuracy=0.7)
    cases = [Case(case_id=f"case-{n}", input="q", expected_output="yes") for n in range(500)]
    first = [(await generator.generate(one, generate_context())).final_output for one in cases]
    again = [(await generator.generate(one, generate_context())).final_output for one in cases]
    other = [
        (await generator.generate(one, generate_context(seed=8))).final_output for one in cases
    ]
    assert first == again != other
    assert 300 < first.count("yes") < 400
