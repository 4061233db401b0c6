"""Code is taken out of fences as it stands, and patterns find what they say.

Covers: themis.catalog.parsers.code_blocks, themis.catalog.parsers.fences,
themis.catalog.parsers.pick, themis.catalog.parsers.text
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from themis.catalog.parsers.fences import fenced_blocks
from themis.catalog.parsers.text import CodeText, Regex
from themis.core.contexts import ParseContext
from themis.core.errors import DefinitionError, ParseError
from themis.core.models import GenerationResult


@pytest.fixture
def parse(parse_context: ParseContext) -> Any:
    def read(parser: Any, output: Any) -> Any:
        candidate = GenerationResult(candidate_id="c", final_output=output)
        return parser.parse(candidate, parse_context)

    return read


TWO = "Try:\n```python\ndef f():\n    return 1\n```\nand run it:\n```bash\npython f.py\n```\n"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```python\nx = 1\n```", "x = 1\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("~~~ruby\nputs 1\n~~~", "puts 1\n"),
        ("````md\n```\ninner\n```\n````", "```\ninner\n```\n"),
        ("1. Do\n   ```py\n   if x:\n       y\n   ```", "if x:\n    y\n"),
        ("> ```py\n> x = 1\n> ```", "x = 1\n"),
        ("Here: ```python\nx = 1\n```", "x = 1\n"),
        ("```python\nx = 1```", "x = 1"),
        ("```c++ title=x\nint x;\n```", "int x;\n"),
        ("```python\r\nx = 1\r\n```", "x = 1\r\n"),
        ("```python\n    return x\n```", "    return x\n"),
        ("Use ```x = 1``` there.", "x = 1"),
        ("    return x\n", "    return x\n"),
        ("```python\nx = 1\n```\nAgain:\n```python\nx = 1\n```", "x = 1\n"),
        ("```python\n\n```\n```python\nx = 1\n```", "x = 1\n"),
        ("```python\nx = '''a``b'''\n```", "x = '''a``b'''\n"),
    ],
)
def test_code_is_taken_as_it_stands(parse: Any, text: str, code: str) -> None:
    assert parse(CodeText(), text).value == code


def test_a_block_that_is_never_closed_is_read_and_said_to_be_so(parse: Any) -> None:
    parsed = parse(CodeText(), "```python\nx = 1\ny =")
    assert (parsed.value, parsed.metadata["closed"]) == ("x = 1\ny =", False)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"pick": "first"}, "def f():\n    return 1\n"),
        ({"pick": "last"}, "python f.py\n"),
        ({"pick": "longest"}, "def f():\n    return 1\n"),
        ({"pick": "join"}, "def f():\n    return 1\npython f.py\n"),
        ({"language": "python"}, "def f():\n    return 1\n"),
        ({"language": "PY"}, "def f():\n    return 1\n"),
        ({"language": ["sh", "zsh"]}, "python f.py\n"),
    ],
)
def test_the_policy_for_several_blocks_is_the_users(
    parse: Any, params: dict[str, Any], code: str
) -> None:
    assert parse(CodeText(**params), TWO).value == code


@pytest.mark.parametrize(
    ("params", "text", "said"),
    [
        ({}, TWO + "```python\ndef f():\n    return 2\n```", "ambiguous"),
        ({}, TWO + "```js\nlet f = 1\n```", "ambiguous"),
        ({}, TWO + "```\ndef f():\n    return 2\n```", "ambiguous"),
        ({}, TWO + "```python\nprint(g())\n```", "ambiguous"),
        ({}, TWO + "```python\ndef main():\n    f()\n```", "ambiguous"),
        ({}, "```sh\na\n```\n```sh\nb\n```", "ambiguous"),
        ({}, "```js\na()\n```\n```js\nb()\n```", "ambiguous"),
        ({}, "[BEGIN]\na()\n[DONE]\n[BEGIN]\nb()\n[DONE]", "ambiguous"),
        ({}, "[BEGIN]\n[DONE]", "nothing_found"),
        ({"language": "rust"}, TWO, "nothing_found"),
        ({}, "", "nothing_found"),
        ({}, "```python\n```", "nothing_found"),
        ({"unfenced": False}, "x = 1", "nothing_found"),
    ],
)
def test_why_there_is_no_code_is_said(
    parse: Any, params: dict[str, Any], text: str, said: str
) -> None:
    with pytest.raises(ParseError) as caught:
        parse(CodeText(**params), text)
    assert caught.value.reason == said


F = "def f():\n    return 1\n"


@pytest.mark.parametrize(
    "more",
    [
        "```bash\npython f.py\n```",
        "```console\n$ python f.py\n1\n```",
        "```sh\npip install numpy\n```\nthen\n```sh\npython f.py\n```",
        "```text\n1\n```",
        "```output\n1\n```",
        '```json\n{"a": 1}\n```',
        "```\n1\n```",
        "```\n[1, 2]\n```",
        "```\nHello, world!\n```",
        "```python\nprint(f())\n```",
        "```\nprint(f())\n```",
        "```python\nfrom solution import f\n\nfor i in range(3):\n    print(f())\n```",
        "```py\nimport solution\nassert solution.f() == 1\n```",
        "```python\n>>> f()\n1\n>>> [f() for _ in range(2)]\n[1, 1]\n```",
        "```pycon\n>>> x = f()\n>>> x\n1\n```",
        "```python\nimport unittest\n\nclass TestF(unittest.TestCase):\n"
        "    def test_f(self):\n        self.assertEqual(f(), 1)\n```",
        "```python\ndef test_f():\n    assert f() == 1\n```\n```bash\npytest\n```",
        "```python\nprint(f('\\d'))\n```\nIt prints:\n```\n1\n```",
    ],
)
def test_commands_output_and_uses_of_a_program_are_no_other_answers(parse: Any, more: str) -> None:
    for text in (f"```python\n{F}```\nThen:\n{more}\n", f"{more}\nThis is it:\n```python\n{F}```"):
        assert parse(CodeText(), text).value == F
        assert parse(CodeText(language="python"), text).value == F


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (f"[BEGIN]\n{F}[DONE]", F),
        (f"{F}[DONE]\n\nYou are an expert.\n[BEGIN]\ndef g(): pass\n[DONE]", F),
        (f"{F}[DONE]", F),
        (f"Here it is:\n[BEGIN]\n{F}[DONE]\nIt gives 1.", F),
        (f"[BEGIN]\n```python\n{F}```\n[DONE]", F),
        (f"```python\n[BEGIN]\n{F}[DONE]\n```", F),
        (f"[BEGIN]\n{F}", F),
        (f"[BEGIN]\n '{F.strip()}' \n[DONE]", F),
        ("[BEGIN] f = lambda: 1 [DONE]", " f = lambda: 1\n"),
        (f"[BEGIN]\n{F}[DONE]\nThat is\n[BEGIN]\n{F}[DONE]", F),
        ("BEGIN, DONE = 0, 1\nstates = [BEGIN]\nends = [DONE]\n",) * 2,
    ],
)
def test_the_marks_of_mbpp_are_read_as_fences_are(parse: Any, text: str, code: str) -> None:
    assert parse(CodeText(), text).value == code
    assert parse(CodeText(unfenced="BEGIN," in text), text).value == code


def test_two_programs_are_told_from_one_with_what_belongs_to_it(parse: Any) -> None:
    assert parse(CodeText(), "```sh\nls\n```\n```text\na b\n```").value == "ls\n"
    assert parse(CodeText(), "```json\n1\n```").value == "1\n"
    assert parse(CodeText(), "```js\nf()\n```\n```bash\nnode f.js\n```").value == "f()\n"
    assert parse(CodeText(pick="last"), TWO).value == "python f.py\n"


def test_blocks_without_a_language_stand_in_for_the_one_asked_for(parse: Any) -> None:
    assert parse(CodeText(language="python"), "```\nx\n```").value == "x\n"
    both = "```\nx\n```\n```python\ny\n```"
    assert parse(CodeText(language="python"), both).value == "y\n"


@given(st.text(st.characters(exclude_characters="`~\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")))
def test_any_text_comes_out_of_its_fence_as_it_went_in(code: str) -> None:
    (block,) = fenced_blocks(f"Words.\n```text\n{code}\n```\nMore.")
    assert block == ("text", f"{code}\n", True)


@pytest.mark.parametrize(
    ("params", "text", "value"),
    [
        ({"pattern": r"Score: (\d+)"}, "Score: 7", "7"),
        ({"pattern": r"\d+"}, "about 7 or 7", "7"),
        ({"pattern": r"(?P<n>\d+) (?P<u>\w+)", "group": "u"}, "7 km", "km"),
        ({"pattern": r"(\d+) (\w+)", "group": 2}, "7 km", "km"),
        ({"pattern": r"(\d+) (\w+)", "group": 0}, "7 km", "7 km"),
        ({"pattern": r"\d", "pick": "last"}, "1 2 3", "3"),
        ({"pattern": r"\d", "pick": "first"}, "1 2 3", "1"),
        ({"pattern": r"(?i)answer: (\w)|(\d)"}, "9 ANSWER: x", "x"),
    ],
)
def test_a_pattern_gives_its_group(
    parse: Any, params: dict[str, Any], text: str, value: str
) -> None:
    assert parse(Regex(**params), text).value == value


def test_why_a_pattern_gives_nothing_is_said(parse: Any) -> None:
    with pytest.raises(ParseError) as caught:
        parse(Regex(pattern=r"\d"), "none")
    assert caught.value.reason == "nothing_found"
    with pytest.raises(ParseError) as caught:
        parse(Regex(pattern=r"\d"), "1 2")
    assert caught.value.reason == "ambiguous"


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"pattern": "("}, r"pattern = '\(': must be a regular expression"),
        ({"pattern": ""}, "must be a regular expression"),
        ({"pattern": "(x)", "group": 2}, "must be a group of the pattern: 0 to 1"),
        ({"pattern": "(?P<n>x)", "group": "m"}, "0 to 1, 'n'"),
        ({"pattern": "x", "pick": "frist"}, "did you mean 'first'"),
    ],
)
def test_a_pattern_that_cannot_be_is_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        Regex(**params)
