"""No verb writes a command to a terminal, whatever stands in data sets, answers, names and errors.

The verbs are those that the command line has: one that is added is walked through as well, with
hostile texts for all that it takes.

Covers: themis.cli, themis.cli.shell, themis.cli.output, themis.core.shown_text
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from typer.main import get_command

from tests.cli.conftest import environment
from themis.cli import app
from themis.reporting import Reporter

COMMANDS = (
    "\x1b[2J", "\x1b[31m", "\x1b]52;c;aGk=\x07", "\x1b]8;;file:///\x1b\\", "\x1bP", "\x9b2J",
    "\x9d0;x\x9c", "\x85", "\x7f", "\b", "\r", "\v", "\f", "\t", "\u061c", "\u200e", "\u202e",
    "\u2066", "\u2028", "\u2029", "\u200b", "\ufeff", "\u2060", "\U000e0041",
)  # fmt: skip
"""Controls of terminals, marks of direction, ends of lines, and what nobody sees."""
MARK = "☠"
"""Before each of them, so that none passes for one of the bars that are drawn."""
FORGED = "themis: all is well"
MARKUP = (
    "[red]x[/red] {{7*7}} <script>alert(1)</script> \\input{/etc/passwd} `x` | a ![x](http://e)"
)
IN_A_NAME = "=1+1 " + "".join(f"{MARK}{one}" for one in COMMANDS)
"""What a file may be called, less its markup and slashes."""
ID = "=1+1 [red]x[/red] <b> ` | \\input{x}"
"""What a component may be called: it has to be printable."""
HOSTILE = f"{IN_A_NAME}{MARK}\0{MARK}\n{FORGED}\n{MARKUP}"
LEFT = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\U000e0000-\U000e007f]"
)
BARS = re.compile(rf"(?<!{MARK})(?:\x1b\[(?:[0-9;]*m|\?25[lh]|2K|1A)|\r)")
"""What rich writes to draw bars."""

MODULE = f"""
from themis.core.errors import ComponentError, ProviderError
from themis.testing.scripted import CountingMetric, ScriptedGenerator, ScriptedJudge

HOSTILE = {HOSTILE!r}
ID = {ID!r}


def answers():
    return ScriptedGenerator(
        {{}}, failures={{"bad": ProviderError(HOSTILE, status=400)}}, component_id="g" + ID
    )


def _rule(value, case):
    if case.case_id == "worse":
        raise ValueError(HOSTILE)
    return True


def metric():
    return CountingMetric(_rule, fingerprint="1", component_id="m/" + ID)


def judge():
    return ScriptedJudge(HOSTILE + "\\nVERDICT: PASS", component_id="j" + ID)


def refusing():
    raise ValueError(HOSTILE)
"""
PROGRAM = """
import json, sys
from themis.cli import main
for words in json.loads(sys.stdin.read()):
    try:
        main(words)
    except SystemExit as end:
        code = end.code
    except BaseException as error:
        code = type(error).__name__
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    print(f"\\n=== {code}", flush=True)
"""


class Said(NamedTuple):
    code: str
    text: str


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a hostile name with an experiment and a run, its data and its bundle."""
    folder = tmp_path / ("f" + IN_A_NAME.replace("/", ""))
    folder.mkdir()
    (folder / "hostile.py").write_text(MODULE)
    ids = ("good", "bad", "worse", HOSTILE)
    cases = [
        {"case_id": one, "input": HOSTILE, "expected_output": HOSTILE, "metadata": {"tag": HOSTILE}}
        for one in ids
    ]
    rubric = {"use": "builtin/llm_rubric", "name": "r\u202e", "params": {"rubric": HOSTILE}}
    experiment = {
        "generation": {"generator": "hostile:answers"},
        "evaluation": {
            "metrics": ["builtin/exact_match", "hostile:metric", rubric],
            "judge_models": ["hostile:judge"],
        },
        "storage": {"store": "sqlite", "parameters": {"path": "runs.db"}},
        "datasets": [{"dataset_id": f"d{HOSTILE}", "cases": cases}],
    }
    (folder / "eval.yaml").write_text(yaml.safe_dump(experiment))
    (folder / "outputs.jsonl").write_text(json.dumps({"case_id": "good", "output": HOSTILE}) + "\n")
    (folder / "data.jsonl").write_text(
        json.dumps({"case_id": HOSTILE, "input": HOSTILE, "expected_output": HOSTILE}) + "\n"
    )
    kinds = ("generation", "reduction", "parse", "score", "evaluation")
    exported = [["export", kind, "latest", *STORE, "-o", kind] for kind in kinds]
    made = run([["run", "-c", "eval.yaml"], *exported], folder, at_terminal=False)
    assert {one.code for one in made} == {"0"}, made
    return folder


STORE = ("--store", "runs.db")
GOOD: dict[str, str] = {
    "run_id": "latest", "run_ids": "latest", "run_a": "latest", "run_b": "latest",
    "config": "eval.yaml", "stage": "score", "metric_id": "r\u202e", "case_id": "good",
    "path": "data.jsonl", "store": "runs.db", "folder": f"new{MARK}\x1b[2J{MARK}\u202e",
    "model": "hostile:answers", "given": HOSTILE, "name": "none",
}  # fmt: skip
"""By parameter, what lets a verb do its work."""


def verbs(
    command: Any = None, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the words and the parameters of each verb."""
    command = get_command(app) if command is None else command
    for name, one in getattr(command, "commands", {}).items():
        yield from verbs(one, (*words, name))
    if not hasattr(command, "commands"):
        yield words, command.params


def lines_of(words: tuple[str, ...], params: Any) -> Iterator[list[str]]:
    """Yield command lines of a verb: one that works, and for each parameter one that is hostile."""
    arguments = [one for one in params if one.param_type_name == "argument"]
    options = {one.name: one.opts[0] for one in params if one.param_type_name == "option"}
    flags = {one.name for one in params if getattr(one, "is_flag", False)}
    needed = [one.name for one in params if one.required]
    has_config = "config" in options and not {"store", "run_ids"} & {one.name for one in params}
    if has_config and "config" not in needed:
        needed.append("config")
    if words[0] in ("import", "explain"):
        needed += [one.name for one in arguments if one.name not in needed]
    if "store" in options:
        needed.append("store")

    def line(**values: str) -> list[str]:
        values = {name: GOOD.get(name, HOSTILE) for name in needed} | values
        if words[0] == "import" and "path" in needed and "path" in values:
            values["path"] = words[1] if values["path"] == GOOD["path"] else values["path"]
        said = [*words]
        for name, value in values.items():
            if name in options:
                said += [options[name]] if name in flags else [options[name], value]
        given = [values[one.name] for one in arguments if one.name in values]
        return [*said, "--", *given] if given else said

    yield line()
    if "as_json" in options:
        yield line(as_json="")
    for one in params:
        if one.name not in flags and one.name not in ("as_json", "output"):
            yield line(**{one.name: IN_A_NAME if one.name in ("folder", "store") else HOSTILE})
    if "form" in options:
        yield from (line(form=form) for form in Reporter.formats)
    yield [*words, f"--no-such{HOSTILE}"]
    yield ["--debug", *words, HOSTILE, HOSTILE, HOSTILE]


def extra() -> list[list[str]]:
    """Return what the walk does not reach by itself: errors of files, and progress."""
    config = ("-c", "eval.yaml")
    return [
        [HOSTILE],
        ["--debug", "run", *config, "--set", "generation.generator=hostile:refusing"],
        ["run", *config, "--progress", "--rerun"],
        ["run", *config, "--set", f"generation.{HOSTILE}=1"],
        ["run", *config, "--set", f"evaluation.metrics=[{json.dumps(HOSTILE)}]"],
        ["preview", *config, "--output", HOSTILE],
        ["import", "generation", "--from", "outputs.jsonl", *config],
        ["quick-eval", "file", "data.jsonl", "--model", "hostile:answers", *STORE, "--progress"],
        ["quick-eval", "inline", "--model", "{use: hostile:refusing}", "--input", HOSTILE, *STORE],
        ["report", "latest", *STORE, "-o", f"{IN_A_NAME}.md"],
        ["export", "score", "latest", *STORE, "-o", f"/no/{IN_A_NAME}"],
    ]


def run(lines: list[list[str]], folder: Path, *, at_terminal: bool) -> list[Said]:
    """Run command lines one after the other; return what each said on both streams."""
    ours, theirs = pty.openpty() if at_terminal else os.pipe()
    if at_terminal:
        tty.setraw(theirs)  # the terminal adds nothing of its own
    lines = [[word.replace("\0", "\\0") for word in line] for line in lines]  # no argument has it
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE, stdout=theirs, stderr=theirs, cwd=folder,
        env=environment(TERM="xterm", COLUMNS="200", HF_HUB_OFFLINE="1"),
    ) as process:  # fmt: skip
        os.close(theirs)
        assert process.stdin is not None
        process.stdin.write(json.dumps(lines).encode())
        process.stdin.close()
        said = b""
        try:
            while chunk := os.read(ours, 65536):
                said += chunk
        except OSError:  # how Linux says that the other end is closed
            pass
        os.close(ours)
    *found, rest = re.split(r"\n=== (.*)\n", said.decode())
    assert (len(found) // 2, rest) == (len(lines), "")
    return [Said(code, text) for text, code in zip(found[::2], found[1::2], strict=True)]


ALL = [line for words, params in verbs() for line in lines_of(words, params)] + extra()


@pytest.mark.parametrize("at_terminal", [True, False], ids=["terminal", "pipes"])
def test_no_verb_writes_a_command(folder: Path, at_terminal: bool) -> None:
    found = dict(zip(map(tuple, ALL), run(ALL, folder, at_terminal=at_terminal), strict=True))
    for words, _ in verbs():
        codes = [said.code for line, said in found.items() if line[: len(words)] == words]
        assert {"0", "1"} & set(codes) or words == ("quick-eval", "huggingface"), (words, codes)
    wrong: list[tuple[Any, Any, Said]] = []
    for line, said in found.items():
        bundle = line[0] == "export" and not at_terminal  # a file as it is signed
        left = set() if bundle else set(LEFT.findall(BARS.sub("", said.text)))
        if "csv" in line and not at_terminal:
            left -= {"\r"}  # RFC 4180 ends lines so
        if left:
            wrong.append((line, left, said))
        is_quoted = bundle or "csv" in line or "html" in line or "--debug" in line
        if not is_quoted and any(one.startswith(FORGED) for one in said.text.splitlines()):
            wrong.append((line, FORGED, said))
        is_own = any("refusing" in one for one in line)  # a component's error, which is shown
        if said.code not in ("0", "1", "2", "3") or (
            "error: unexpected" in said.text and not is_own
        ):
            wrong.append((line, "unexpected", said))
    assert not wrong, "\n".join(
        f"{[one[:30] for one in line]} {why} {said.code} {said.text[-400:]!r}"
        for line, why, said in wrong[:9]
    )
