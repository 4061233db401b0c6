"""What the tests of the HTTP adapter ask: cases, a body, and a real service on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.product import Product
from themis.adapters import http
from themis.core.contexts import GenerateContext
from themis.core.models import Case

Context = Callable[..., GenerateContext]
BODY = {"question": {"text": "{{ input }}"}}
ANSWER = "data.reply.text"
TEXT = Case(
    case_id="case-1", input="2+3", expected_output="5", metadata={"topic": "sums", "items": 4}
)
OBJECT = Case(case_id="case-1", input={"a": 2, "b": [3]})
MESSAGES = Case(case_id="case-1", input=[{"role": "user", "content": "2+3"}])
SECRET = "correct-horse-battery"


@pytest.fixture
def product() -> Iterator[Product]:
    with Product() as made:
        yield made


def sent(body: Any, case: Case, ctx: GenerateContext, **settings: Any) -> Any:
    """Return the body that would be sent."""
    made = http("http://localhost/x", body=body, answer=".", **settings)
    return made.request(case, ctx)["body"]
