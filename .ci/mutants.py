"""Change one condition of the package at a time, and see whether a test notices.

    python .ci/mutants.py [--jobs N] [PART-OF-A-MODULE'S-NAME ...]

The changes stand in ``mutants.toml``: by module and function, what is written there and what takes
its place; a third text says why no test can notice. The code is found by its words, wherever they
move within the function; a change whose words are not found, or are found twice, is an error, so
that the list stays true. Each change is made in a copy of the repository, and the test files whose
``Covers:`` line names the module are run there, the quickest first, until one fails. A survivor is
a promise that no test keeps: write a test of the promise, not of the expression.
"""

from __future__ import annotations

import argparse
import ast
import multiprocessing
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from source_tree import ROOT, Module, SourceTree

BAR = 0.95
"""The least share of changes that tests notice."""
LEFT_OUT = ("tests/docs/", "tests/endpoints/", "tests/faults/", "tests/project/", "tests/typing/")
"""Tests of whole runs, which take minutes, and of what no change of one condition concerns."""
MOST_SECONDS = 300.0
"""For a test file as it stands. With a change, tests that hang have ten times as long as they took,
and are taken for failed."""

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["aiohttp", "hypothesis", "numpy", "orjson", "pydantic", "pytest", "pytest_asyncio", "scipy"]
)  # loaded once, and not for every change


@dataclass(frozen=True)
class Mutant:
    """One change of one place."""

    module: Module
    function: str
    was: str
    becomes: str
    reason: str | None
    """Why no test can notice; None where one must."""
    text: str
    """The module's text, changed."""

    def __str__(self) -> str:
        place = f"{self.module.name} {self.function}".strip()
        return f"{place}: `{self.was}` -> `{self.becomes}`"


class NotFoundError(Exception):
    """A place of the list is not in the code, or is there more than once."""


def read_list(tree: SourceTree, wanted: list[str]) -> tuple[list[Mutant], list[str]]:
    """Return the changes of the modules named (of all by default), and the errors of the list."""
    found, wrong = [], []
    listed = tomllib.loads((ROOT / ".ci" / "mutants.toml").read_text(encoding="utf-8"))
    for name, functions in listed.items():
        if wanted and not any(one in name for one in wanted):
            continue
        if name not in tree.by_name:
            wrong.append(f"{name}: there is no such module")
            continue
        module = tree.by_name[name]
        for function, changes in functions.items():
            for was, becomes, *reason in changes:
                try:
                    text = changed(module, function, was, becomes)
                except NotFoundError as error:
                    wrong.append(f"{name} {function}: `{was}` {error}")
                    continue
                found.append(
                    Mutant(module, function, was, becomes, reason[0] if reason else None, text)
                )
    return found, wrong


def changed(module: Module, function: str, was: str, becomes: str) -> str:
    """Return a module's text with one place of one function changed; line breaks are as blanks."""
    start, end = _span(module, function)
    words = r"\s+".join(map(re.escape, was.split()))
    places = [match.span() for match in re.finditer(words, module.text[start:end])]
    if len(places) != 1:
        raise NotFoundError(f"is found {len(places)} times: name the one place where it stands now")
    (first, last) = places[0]
    text = module.text[: start + first] + becomes + module.text[start + last :]
    try:
        ast.parse(text)
    except SyntaxError as error:
        raise NotFoundError(f"becomes what is no Python: {error}") from None
    return text


def _span(module: Module, function: str) -> tuple[int, int]:
    """Return where a function or class begins and ends; "" is the whole module."""
    body: list[ast.stmt] = module.tree.body
    node: ast.AST | None = None
    for name in filter(None, function.split(".")):
        node = next((one for one in body if getattr(one, "name", None) == name), None)
        if node is None:
            raise NotFoundError(f"is looked for in {function}, which is not there")
        body = getattr(node, "body", [])
    if node is None:
        return 0, len(module.text)
    lines = module.text.splitlines(keepends=True)
    begin, end = node.lineno, node.end_lineno  # type: ignore[attr-defined]
    return len("".join(lines[: begin - 1])), len("".join(lines[:end]))


def tests_by_module(root: Path) -> dict[str, list[str]]:
    """Return, for each module, the test files whose docstring says that they cover it."""
    found: dict[str, list[str]] = {}
    for path in sorted((root / "tests").rglob("test_*.py")):
        file = path.relative_to(root).as_posix()
        covers = re.search(
            r"^Covers: (.+?)(?:\n\n|\"\"\")",
            path.read_text(encoding="utf-8"),
            re.MULTILINE | re.DOTALL,
        )
        if covers is not None and not file.startswith(LEFT_OUT):
            for name in re.split(r"[,\s]+", covers[1].strip()):
                found.setdefault(name, []).append(file)
    return found


class Copy:
    """A copy of the repository, in which one change after the other is tried."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._writes = 0
        listed = subprocess.run(
            ["git", "ls-files", "-z", "-co", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name)

    def notices(self, mutant: Mutant, files: list[str], seconds: float) -> bool:
        """Return whether one of the tests fails once the change is made; take it back."""
        path = self._root / "themis" / mutant.module.path
        try:
            self._write(path, mutant.text)
            return not self.passes(files, seconds)
        finally:
            self._write(path, mutant.module.text)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        self._writes += 1  # compiled code is known by its source's second and size
        os.utime(path, (self._writes, self._writes))

    def passes(self, files: list[str], seconds: float = MOST_SECONDS) -> bool:
        """Return whether the tests pass, and end in time."""
        process = SERVER.Process(target=_run_tests, args=(self._root, files))
        process.start()
        process.join(seconds)
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)  # type: ignore[arg-type]  # it is started
            process.join()
        return process.exitcode == 0


def _run_tests(root: Path, files: list[str]) -> None:
    os.setsid()
    os.chdir(root)
    os.environ["PYTHONPATH"] = sys.path[0] = str(root)
    os.environ["CI"] = "1"  # the same examples for every change
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    import pytest

    options = ["-q", "-x", "-p", "no:cacheprovider", "-m", "not slow and not vllm"]
    sys.exit(pytest.main([*options, *files]))


def run(mutants: list[Mutant], jobs: int) -> Iterator[tuple[Mutant, bool]]:
    """Yield each change with whether a test noticed it, as they are known."""
    covering = tests_by_module(ROOT)
    with tempfile.TemporaryDirectory(prefix="themis-mutants-") as folder:
        free: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        for number in range(jobs):
            free.put(Copy(Path(folder) / str(number)))
        seconds: dict[str, float] = {}

        def time_of(file: str) -> None:
            copy, began = free.get(), time.perf_counter()
            try:
                if copy.passes([file]):
                    seconds[file] = time.perf_counter() - began
                else:
                    print(f"left out, for it fails without any change: {file}", flush=True)
            finally:
                free.put(copy)

        def tried(mutant: Mutant) -> tuple[Mutant, bool]:
            files = [file for file in covering.get(mutant.module.name, ()) if file in seconds]
            copy = free.get()
            try:
                files.sort(key=seconds.__getitem__)
                most = 10.0 + 10.0 * sum(seconds[file] for file in files)
                return mutant, bool(files) and copy.notices(mutant, files, most)
            finally:
                free.put(copy)

        needed = {file for one in mutants for file in covering.get(one.module.name, ())}
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(time_of, sorted(needed)))
            yield from pool.map(tried, mutants)


def main() -> int:
    """Try the list; fail if it is not true any more, or if fewer are noticed than ``BAR``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--jobs", type=int, default=2, metavar="N")
    parser.add_argument("--list", action="store_true", help="check the list, and try nothing")
    parser.add_argument("modules", nargs="*")
    asked = parser.parse_args()
    mutants, wrong = read_list(SourceTree(ROOT), asked.modules)
    for line in wrong:
        print(f"error: {line}")
    if asked.list:
        print(f"{len(mutants)} changes")
        return bool(wrong)
    telling, noticed = 0, 0
    for mutant, seen in run(mutants, asked.jobs):
        if mutant.reason is None:
            telling, noticed = telling + 1, noticed + seen
            if not seen:
                print(f"unnoticed: {mutant}", flush=True)
        elif seen:
            wrong.append(str(mutant))
            print(f"error: noticed, though it is said that none can: {mutant}", flush=True)
        else:
            print(f"as it should be: {mutant}\n    {mutant.reason}", flush=True)
    share = noticed / telling if telling else 1.0
    print(f"{noticed} of {telling} noticed ({share:.1%}); {len(mutants) - telling} change nothing")
    return bool(wrong) or share < BAR


if __name__ == "__main__":
    sys.exit(main())
