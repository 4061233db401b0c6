"""What is read of code objects, and how often.

Covers: themis.planning.code.bytecode, themis.planning.code.digest
"""

from __future__ import annotations

import dis
from typing import Any

import pytest

from themis.planning.code.bytecode import instructions_of
from themis.planning.code.digest import code_digest


def test_code_is_disassembled_once_however_often_it_is_digested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[Any] = []
    real = dis.get_instructions

    def counted(code: Any) -> Any:
        read.append(code)
        return real(code)

    monkeypatch.setattr(dis, "get_instructions", counted)

    class Component:
        def parse(self, candidate: Any, ctx: Any) -> Any:
            return [part for part in candidate.final_output.split("bytecode") if part]

    first = code_digest(Component())
    assert len(read) > 0
    read.clear()
    assert code_digest(Component()) == first
    assert read == []


@pytest.mark.parametrize(("one", "other"), [("1", "True"), ("1", "1.0"), ("0.0", "-0.0")])
def test_code_that_differs_in_the_type_of_a_constant_only_is_told_apart(
    one: str, other: str
) -> None:
    said = [list(instructions_of(compile(f"f({text})", "", "eval"))) for text in (one, other)]
    assert repr(said[0]) != repr(said[1])
