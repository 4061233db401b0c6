"""The verb preview: text for a person, JSON for a program, one line where something is amiss.

Covers: themis.cli.preview_verb
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

CONFIG: dict[str, Any] = {
    "generation": {
        "generator": {
            "use": "openai",
            "model": "m",
            "base_url": "http://127.0.0.1:1/v1",
            "api_key": "env:CLI_PREVIEW_KEY",
            "api_mode": "chat_completions",
        },
        "candidate_policy": {"num_samples": 2},
        "prompt_spec": {"instructions": "Be brief."},
    },
    "evaluation": {
        "parsers": ["builtin/choice_letter"],
        "metrics": [
            "builtin/choice_accuracy",
            {"use": "builtin/llm_rubric", "params": {"rubric": "Polite?"}, "name": "polite"},
        ],
        "judge_models": ["builtin/demo_judge"],
    },
    "storage": {"store": "sqlite", "parameters": {"path": "runs.db"}},
    "datasets": [
        {
            "dataset_id": "d",
            "cases": [
                {"case_id": "a", "input": "A or B?", "expected_output": "A"},
                {"case_id": "b", "input": "B or C?", "expected_output": "B"},
            ],
        }
    ],
    "seeds": [11, 12],
}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLI_PREVIEW_KEY", "a-key-of-no-known-shape")
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


def test_a_program_gets_the_exact_requests(inside: Any, config: Path, tmp_path: Path) -> None:
    ended = inside("preview", "--config", config, "-n", "1")
    assert (ended.code, ended.err) == (0, "")
    (shown,) = ended.data
    assert shown["request"] == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "A or B?"},
        ],
        "seed": 11,
    }
    assert shown["other_seeds"] == [12]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["c.yaml"]


def test_a_person_is_told_what_would_be_sent_and_made_of_an_output(
    inside: Any, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    ended = inside("preview", "--config", config, "--output", "The answer is A.")
    assert ended.code == 0, ended.err
    for line in (
        "Case a of d: seed 11 (further samples: 12), about ",
        " prompt tokens",
        "request:\n{\n  ",
        '      "content": "A or B?"',
        'given the output: "The answer is A."',
        '  builtin/choice_letter reads: "A"',
        "  builtin/choice_accuracy gives: 1",
        "  polite would ask builtin/demo_judge",
        "Case b of d: ",
        "  builtin/choice_accuracy gives: 0",
    ):
        assert line in ended.out
    assert "a-key-of" not in ended.out


def test_what_cannot_be_read_is_said_to_a_person(
    inside: Any, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    out = inside("preview", "--config", config, "-n", "1", "--output", "I cannot say").out
    assert "  builtin/choice_letter reads: parse_failure (" in out
    assert "  builtin/choice_accuracy gives: 0, parse_failure (" in out


def test_outputs_come_from_a_file_by_case(inside: Any, config: Path, tmp_path: Path) -> None:
    lines = [{"case_id": "b", "output": "B"}, {"case_id": "a", "output": "C"}]
    (tmp_path / "o.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    first, second = inside("preview", "--config", config, "--outputs", "o.jsonl").data
    assert [one["scores"][0]["value"] for one in (first, second)] == [0, 1]


@pytest.mark.parametrize(
    ("words", "text", "said"),
    [
        (["--outputs", "o.jsonl"], "{", "o.jsonl line 1: not JSON"),
        (["--outputs", "o.jsonl"], '{"case_id": "a"}', 'line 1: write {"case_id": ..., "output"'),
        (["--outputs", "o.jsonl"], '{"case_id": "x", "output": 1}', "not among the first 2"),
        (["--outputs", "o.jsonl"], '{"case_id": [], "output": 1}', "line 1: write "),
        (["--outputs", "no.jsonl"], "", "no.jsonl: No such file"),
        (["--outputs", "o.jsonl", "--output", "A"], "", "not both"),
        (["-n", "0"], "", "n = 0: must be an integer of at least 1"),
        (["--set", "generation.prompt_spec.template='{{ metadata.x }}'"], "", "case 'a'"),
    ],
)
def test_what_is_amiss_is_one_line(
    inside: Any, config: Path, tmp_path: Path, words: list[str], text: str, said: str
) -> None:
    (tmp_path / "o.jsonl").write_text(text)
    ended = inside("preview", "--config", config, *words)
    assert ended.code != 0
    assert said in ended.err
    assert (ended.out, ended.err.count("\n")) == ("", 1)
