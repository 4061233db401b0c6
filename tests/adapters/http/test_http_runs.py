"""Whole runs against a service of one's own, and what stops them early.

Covers: themis.adapters.http.exchange, themis.adapters.http.http_generator
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.http.conftest import ANSWER, BODY, SECRET
from tests.support.product import Asked, Product, Said
from tests.support.runs import experiment
from themis import Experiment
from themis.adapters import http
from themis.core.config import StorageConfig
from themis.core.errors import (
    BudgetSpentError,
    DefinitionError,
    RunStoppedError,
)
from themis.core.models import Case, Dataset
from themis.testing.scripted import CountingMetric

pytestmark = pytest.mark.network


async def test_two_runs_at_once_share_a_generator() -> None:
    with Product() as product:
        generator = http(f"{product.url}/v2/answer", body=BODY, answer=ANSWER)
        made = [experiment(generator, cases=_sums(n), max_concurrent_tasks=2) for n in (1, 12)]
        results = await asyncio.gather(*(one.run_async(progress=False) for one in made))
    assert [result.status for result in results] == ["completed", "completed"]
    assert len(product.asked) == 13  # nothing was asked a second time


def _sums(n: int) -> Dataset:
    return Dataset(
        dataset_id="sums",
        cases=[
            Case(case_id=f"c{i}", input=f"{i}+{i}", expected_output=str(2 * i)) for i in range(n)
        ],
    )


def test_a_product_is_evaluated_and_asked_once_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRODUCT_KEY", SECRET)
    busy = Said(429, {"error": "busy"}, {"Retry-After": "0"})

    def script(asked: Asked) -> Said | None:
        return busy if asked.nth % 7 == 0 else None

    def make(url: str, store: str, metric: str) -> Any:
        return experiment(
            http(
                f"{url}/v2/answer",
                body=BODY,
                answer=ANSWER,
                headers={"x-product-key": "env:PRODUCT_KEY"},
                usage={"prompt_tokens": "meta.tokens.in", "completion_tokens": "meta.tokens.out"},
            ),
            cases=_sums(20),
            samples=2,
            metrics=["builtin/exact_match", CountingMetric(component_id=metric)],
            parser="builtin/text",
            storage=StorageConfig(store="sqlite", parameters={"path": str(tmp_path / store)}),
            generation_retry_attempts=5,
        )

    with Product(script, key=SECRET) as product:
        result = make(product.url, "runs.db", "one").run(progress=False)
        assert result.status == "completed"
        assert result.metrics["builtin/exact_match"].value == 1.0
        refused = sum(asked.nth % 7 == 0 for asked in product.asked)
        assert refused > 0
        assert len(product.asked) == 40 + refused
        before = len(product.asked)
        assert make(product.url, "runs.db", "two").run(progress=False).status == "completed"
        assert len(product.asked) == before  # another metric asks nothing again
        result.report(str(tmp_path / "report.md"))
    for path in tmp_path.rglob("*"):
        assert SECRET.encode() not in path.read_bytes(), path


def test_a_budget_is_never_overspent_as_the_service_counts() -> None:
    def settings(**more: Any) -> Any:
        usage = {"prompt_tokens": "meta.tokens.in", "completion_tokens": "meta.tokens.out"}
        return {"answer": ANSWER, "usage": usage, **more}

    with Product() as product:
        url = f"{product.url}/v2/answer"
        uncapped = http(url, body=BODY, **settings())
        with pytest.raises(DefinitionError, match="max_output_tokens"):
            experiment(uncapped, cases=_sums(20), budget={"tokens": 1500}).run(progress=False)
        assert product.asked == []
        body = {**BODY, "limit": "{{ max_output_tokens }}"}
        capped = http(url, body=body, **settings(max_output_tokens=4))
        with pytest.raises(BudgetSpentError, match=r"budget of 1,500 tokens"):
            experiment(capped, cases=_sums(200), metrics=[], budget={"tokens": 1500}).run(
                progress=False
            )
        spent = sum(len(asked.body["question"]["text"]) + 1 for asked in product.asked)
    assert 0 < spent <= 1500


def test_a_bad_key_stops_the_run_after_few_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRODUCT_KEY", "another")
    with Product(key=SECRET) as product:
        generator = http(
            f"{product.url}/v2/answer", body=BODY, answer=ANSWER,
            headers={"x-product-key": "env:PRODUCT_KEY"},
        )  # fmt: skip
        with pytest.raises(RunStoppedError, match="answered 401: who are you"):
            experiment(generator, cases=_sums(50), max_concurrent_tasks=4).run(progress=False)
        assert len(product.asked) <= 8


def test_an_address_that_is_not_known_there_stops_the_run_after_few_requests() -> None:
    with Product(lambda asked: Said(404)) as product:
        generator = http(f"{product.url}/v3/answer", body=BODY, answer=ANSWER)
        with pytest.raises(RunStoppedError, match="answered 404"):
            experiment(generator, cases=_sums(50), max_concurrent_tasks=4).run(progress=False)
        assert len(product.asked) <= 8


def test_a_case_that_a_product_does_not_know_stops_no_other() -> None:
    def unknown(asked: Asked) -> Said | None:
        return Said(404) if asked.nth > 1 and asked.nth % 2 else None

    with Product(unknown) as product:
        generator = http(f"{product.url}/v2/answer", body=BODY, answer=ANSWER)
        result = experiment(generator, cases=_sums(20), max_concurrent_tasks=1).run(progress=False)
        assert len(product.asked) == 20
    assert result.status == "partial_failure"
    failures = [failure for case in result.cases for failure in case.generation_failures]
    assert [failure.status for failure in failures] == [404] * 9


def test_an_answer_path_that_never_leads_anywhere_stops_the_run_after_few_requests() -> None:
    with Product() as product:
        generator = http(f"{product.url}/v2/answer", body=BODY, answer="data.reply.nowhere")
        with pytest.raises(RunStoppedError, match=r"answered without 'data\.reply\.nowhere'"):
            experiment(generator, cases=_sums(50), max_concurrent_tasks=4).run(progress=False)
        assert len(product.asked) <= 8


def test_a_config_file_names_an_endpoint_of_ones_own(
    tmp_path: Path, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRODUCT_KEY", SECRET)
    (tmp_path / "cases.jsonl").write_text(
        '{"case_id": "c1", "input": "2+3", "expected_output": "5"}\n'
    )
    config = tmp_path / "experiment.yaml"
    config.write_text(f"""
generation:
  generator:
    use: http
    url: {product.url}/v2/answer?key=env:PRODUCT_KEY
    body:
      question: {{text: "{{{{ input }}}}"}}
      seed: "{{{{ seed }}}}"
      api_key: env:PRODUCT_KEY
    answer: data.reply.text
    headers: {{x-product-key: env:PRODUCT_KEY}}
evaluation:
  metrics: [builtin/exact_match]
  parsers: [builtin/text]
storage: {{store: sqlite, parameters: {{path: runs.db}}}}
datasets:
  - {{path: cases.jsonl}}
""")
    result = Experiment.from_config(config).run(progress=False)
    assert result.metrics["builtin/exact_match"].value == 1.0
    (asked,) = product.asked
    assert (asked.query["key"], asked.headers["x-product-key"]) == (SECRET, SECRET)
    assert asked.body["api_key"] == SECRET
    assert type(asked.body["seed"]) is int
    for path in tmp_path.rglob("*"):
        assert SECRET.encode() not in path.read_bytes(), path
    literal = config.read_text().replace("api_key: env:PRODUCT_KEY", f"api_key: {SECRET}")
    config.write_text(literal)
    with pytest.raises(DefinitionError, match=r"body\.api_key") as caught:
        Experiment.from_config(config).compile()
    assert SECRET not in str(caught.value)
