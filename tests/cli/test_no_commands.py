"""Every verb at a terminal, over a store of texts that would command it: none gets through.

The verbs are taken from the command line itself, so that a new one is held to this as well.

Covers: themis.cli.shell, themis.cli.output
"""

from __future__ import annotations

import ast
import json
import logging
import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import themis
from themis.cli import app, main
from themis.stores.sqlite import SqliteRunStore

pytestmark = pytest.mark.slow

COMMANDS = (
    "\x1b]52;c;ZXZpbA==\x07\x1b]8;;evil:example\x1b\\\x1b[5;97;105m\x9b2J\u202elive\u2066"
    "\r\0\x08\x7f\u2028\u200b[red]\\input{x}`|<b>"
)
"""What no terminal may be given: OSC 52 and 8, colours, C1, bidi, and controls of one character."""
ARGUMENT = COMMANDS.replace("\0", "")
"""The system takes no NUL in an argument."""
FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\u200b]")
OWN = re.compile(r"\x1b\[(?:(?!5;97;105)[0-9;]{1,20}m|\?25[lh]|1A|2K)|\r(?=\x1b)")
"""What bars and colours of our own are made of."""
LONGEST = 60.0
"""Seconds after which a verb that does not end is ended."""

PARTS = """
import json
from themis.core.errors import ParseError, ProviderError
from themis.core.models import GenerationResult, ParsedOutput, Score
COMMANDS = json.loads(TEXT)

class Part:
    version = "1"
    component_id = "hostile"
    def fingerprint(self):
        return "x"

class Generator(Part):
    def generate(self, case, ctx):
        if case.metadata["n"] == 1:
            raise ProviderError("an endpoint's line " + COMMANDS, status=400)
        artifacts = {"note": "noted " + COMMANDS, "raw_response": {COMMANDS: COMMANDS}}
        return GenerationResult(
            candidate_id="c" + COMMANDS, final_output="=" + COMMANDS, artifacts=artifacts
        )

class Parser(Part):
    def parse(self, candidate, ctx):
        if ctx.case.metadata["n"] == 2:
            raise ParseError("unread " + COMMANDS)
        return ParsedOutput(value=COMMANDS)

class Metric(Part):
    kind = "binary"
    def score(self, parsed, case, ctx):
        if case.metadata["n"] == 3:
            raise ValueError("a metric's " + COMMANDS)
        return Score(metric_id="hostile", value=1.0, details={COMMANDS: COMMANDS})
"""

CONFIG = """
generation: {generator: "hostile_parts:Generator"}
evaluation: {parsers: ["hostile_parts:Parser"], metrics: ["hostile_parts:Metric"]}
datasets: [{dataset_id: NAME, path: cases.jsonl}]
storage: {store: sqlite, parameters: {path: runs.db}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished hostile run, its config and its data."""
    path = tmp_path_factory.mktemp("hostile")
    rows = [
        {
            "case_id": f"=c{n}{COMMANDS}",
            "input": COMMANDS,
            "expected_output": COMMANDS,
            "metadata": {"n": n, COMMANDS: COMMANDS},
        }
        for n in range(4)
    ]
    (path / "hostile_parts.py").write_text(PARTS.replace("TEXT", repr(json.dumps(COMMANDS))))
    (path / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "config.yaml").write_text(CONFIG.replace("NAME", json.dumps("d" + COMMANDS)))
    said = at_terminal(path, ["run", "--config", "config.yaml"])
    assert b"Run " in said, said[-4000:]
    check(said, ["run"])
    assert b"\\x1b]52;c;" in said
    return path


def at_terminal(folder: Path, words: list[str]) -> bytes:
    """Return all that a command line writes to a terminal of its own."""
    child, terminal = pty.fork()
    if child == 0:
        try:
            os.chdir(folder)
            sys.path.insert(0, str(folder))
            logging.getLogger().handlers.clear()
            sys.stdin = os.fdopen(0, encoding="utf-8")
            sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="surrogateescape")
            sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="surrogateescape")
            os.environ.update(TERM="xterm-256color", COLUMNS="200", HF_HUB_OFFLINE="1")
            main(words)
        except BaseException:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(0)
    said, until = b"", time.monotonic() + LONGEST
    while select.select([terminal], [], [], max(0.0, until - time.monotonic()))[0]:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the other side is closed
            break
        said += piece
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail(f"{words} did not end: {said[-2000:]!r}")
    os.close(terminal)
    os.waitpid(child, 0)
    return said


def verbs(command: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, one in sorted(command.commands.items()):
        if hasattr(one, "commands"):
            yield from verbs(one, (*names, name))
        else:
            yield (*names, name)


VERBS = list(verbs(get_command(app)))
GOOD: dict[str, str] = {
    "run_id": "latest",
    "run_ids": "latest",
    "run_a": "latest",
    "run_b": "latest",
    "store": "runs.db",
    "config": "config.yaml",
    "case_id": f"=c0{ARGUMENT}",
    "stage": "parse",
    "model": "builtin/demo_generator",
    "metric": "builtin/exact_match",
}
"""By parameter: what lets a verb do its work; any other that is needed gets hostile text."""


def words_for(names: tuple[str, ...], *, hostile: bool) -> Iterator[list[str]]:
    """Yield command lines of a verb: one that works or, hostile, one for each parameter."""
    found: Any = get_command(app)
    for name in names:
        found = found.commands[name]
    takes = [one for one in found.params if one.name != "help"]
    base = {
        one.name: GOOD.get(one.name, ARGUMENT)
        for one in takes
        if one.required or one.name in ("store", "config")
    }
    named = [one.name for one in takes if not getattr(one, "is_flag", False)]
    for bad in named if hostile else [None]:
        values = {**base, **({bad: ARGUMENT} if bad else {})}
        options: list[str] = []
        arguments: list[str] = []
        for one in takes:
            if one.name in values and one.param_type_name == "argument":
                arguments.append(values[one.name])
            elif one.name in values:
                options += [one.opts[0], values[one.name]]
        yield [*names, *options, *(["--", *arguments] if arguments else [])]


def check(said: bytes, words: list[str]) -> None:
    text = OWN.sub("", said.decode("utf-8", "replace").replace("\r\n", "\n"))
    found = FORBIDDEN.search(text)
    assert found is None, f"{words}: {text[max(0, found.start() - 60) : found.end() + 20]!r}"


@pytest.mark.parametrize("names", VERBS, ids=" ".join)
def test_a_verb_writes_no_command_of_what_it_shows(folder: Path, names: tuple[str, ...]) -> None:
    for words in words_for(names, hostile=False):
        said = at_terminal(folder, words)
        assert said.strip(), words
        check(said, words)


@pytest.mark.parametrize("names", VERBS, ids=" ".join)
def test_a_verb_writes_no_command_of_what_it_is_given(folder: Path, names: tuple[str, ...]) -> None:
    for words in words_for(names, hostile=True):
        check(at_terminal(folder, words), words)


@pytest.mark.parametrize("form", ["markdown", "html", "json", "csv", "latex"])
def test_no_report_holds_a_command(folder: Path, form: str, tmp_path: Path) -> None:
    (first, *_) = SqliteRunStore(folder / "runs.db").runs()  # a verb may have made another
    words = ["report", first.run_id, "--store", "runs.db", "--format", form]
    said = at_terminal(folder, words)
    assert b"hostile" in said
    check(said, words)
    file = tmp_path / "report"
    at_terminal(folder, [*words, "-o", str(file)])
    check(file.read_bytes(), words)


def test_errors_and_their_tracebacks_hold_no_command(folder: Path) -> None:
    of_a_store = ["report", ARGUMENT, "--store", "runs.db"]
    for words in (of_a_store, [ARGUMENT], ["run", "--config", ARGUMENT]):
        said = at_terminal(folder, ["--debug", *words])
        assert b"\\x1b]52" in said
        check(said, words)


def test_nothing_but_the_shell_writes_to_a_terminal() -> None:
    """Whatever a verb writes goes through ``echo``: bundles, and what is no verb's, aside."""
    package = Path(themis.__file__).parent
    allowed = {
        ("cli/shell.py", "typer.echo"),
        ("cli/bundle_verbs.py", "sys.stdout.buffer.write"),
        ("core/shown_text.py", "logging.getLogger"),
        ("experiment/evaluate.py", "sys.stderr.write"),  # a path of our own
    }
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                writes = called in ("print", "warnings.warn", "logging.getLogger", "click.echo")
                if writes or re.match(r"typer\.(s?echo|secho)|sys\.std(out|err)\..*write", called):
                    found.add((path.relative_to(package).as_posix(), called))
    of_other_processes = ("testing/", "catalog/", "execution/workers/")
    told = {one for one in found - allowed if not one[0].startswith(of_other_processes)}
    assert told == set()
