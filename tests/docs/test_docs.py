"""What the pages show, runs: every block of Python, every file and command, in order, page by page.

Servers of the tests' own stand at the addresses that the pages name; that the addresses are
replaced, and that pip installs into a folder of its own, is all that differs from what is shown.

Covers: docs
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.support.endpoint import Asked, Endpoint, Reply
from tests.support.product import Product
from themis.cli import main
from themis.experiment.experiment import Experiment

ROOT = Path(__file__).parent.parent.parent
GENERATORS = ROOT / "docs" / "generators.md"
PROSE = {ROOT / "docs" / "glossary.md", ROOT / "docs" / "internals.md"}  # without code
PAGES = [ROOT / "README.md", *sorted(set((ROOT / "docs").glob("*.md")) - {GENERATORS, *PROSE})]
BLOCK = re.compile(r"^```(python|yaml|toml|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (?P<name>[\w/]+\.(?:py|yaml|toml))\b")
KEYS = {"OPENAI_API_KEY": "walrus-on-a-bicycle", "PRODUCT_KEY": "heron-in-a-hat"}
MODELS = ("gpt-4.1-mini", "Qwen/Qwen3-8B")
PIP = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", "installed"]


class Servers(NamedTuple):
    """What stands at the addresses that the pages name."""

    model: Endpoint
    product: Product

    def at_home(self, block: str) -> str:
        """Return a block with the servers' own addresses in place of the page's."""
        own = {
            "http://localhost:8000": self.model.url.removesuffix("/v1"),
            "http://localhost:9000": self.product.url,
        }
        for address, server in own.items():
            block = block.replace(address, server)
        return block


def said(asked: Asked) -> str:
    """Return what the model says: sums, a verdict to a judge, and otherwise the question."""
    body = str(asked.body)
    if "VERDICT" in body:
        return "VERDICT: PASS"
    if "story" in asked.question:
        return "Once upon a time " * 200
    numbers = re.findall(r"\d+", asked.question)
    answer = str(sum(map(int, numbers))) if numbers else asked.question
    return f'{{"answer": {answer}}}' if "json_schema" in body else answer


def scripted(asked: Asked) -> Reply | None:
    """Refuse to pick locks, and say nothing where nothing is to be said."""
    if asked.question.startswith("How do I pick a lock"):
        return Reply(refusal="I will not help with that.")
    return Reply(text="") if asked.question.startswith("Say nothing") else None


@pytest.fixture
def servers() -> Iterator[Servers]:
    with (
        Endpoint(scripted, answer=said, models=MODELS) as model,
        Product(key=KEYS["PRODUCT_KEY"]) as product,
    ):
        yield Servers(model, product)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The reader's folder, whose modules the next page knows nothing of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def run_page(page: Path, servers: Servers, folder: Path) -> None:
    """Do all that a page shows, from top to bottom."""
    blocks = BLOCK.findall(page.read_text())
    assert blocks
    namespace: dict[str, object] = {"__name__": "page"}
    for number, (language, shown) in enumerate(blocks, start=1):
        block = servers.at_home(shown)
        if (named := FILE.match(block)) is not None:
            path = folder / named["name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block)
        if language == "python":
            # In a file, where what reads a function's source finds it.
            source = folder / f"block_{number}.py"
            source.write_text(block)
            exec(compile(block, str(source), "exec"), namespace)
        elif language == "yaml":
            _run_config(folder, block)
        elif language == "sh":
            for line in block.splitlines():
                _run_command(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_all_that_the_page_shows_runs(page: Path, servers: Servers, folder: Path) -> None:
    run_page(page, servers, folder)


def test_all_that_the_generators_page_shows_runs_and_does_what_it_says(
    servers: Servers, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_page(GENERATORS, servers, folder)
    told = capsys.readouterr()
    assert "stopped early, since every case would fail alike" in told.out
    assert "interrupted by its budget" in told.out
    assert {asked.path for asked in servers.model.requests} == {
        "/v1/responses",
        "/v1/chat/completions",
    }
    keys = {asked.headers["authorization"] for asked in servers.model.requests}
    assert keys == {f"Bearer {KEYS['OPENAI_API_KEY']}", "Bearer EMPTY"}
    kept = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"gpt-4.1-mini" in kept
    for key in KEYS.values():
        assert key not in told.out + told.err
        assert key.encode() not in kept


def _run_config(folder: Path, block: str) -> None:
    """Run a whole config; of a list of generators, each in place of the last config's."""
    data = yaml.safe_load(block)
    if isinstance(data, list):
        config = yaml.safe_load((folder / "endpoint.yaml").read_text())
        configs = [{**config, "generation": {"generator": one}} for one in data]
    else:
        configs = [data]
    for config in configs:
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        result = Experiment.from_config(path).run(progress=False)
        assert result.metrics["builtin/exact_match"].n_errors == 0


def _run_command(line: str) -> None:
    """Run a command: Themis's own in this process, others as they are."""
    program, *words = shlex.split(line)
    if program == "themis":
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert not ended.value.code, line
    elif program == "pip":
        subprocess.run([sys.executable, "-m", "pip", *words, *PIP], check=True)
        sys.path.insert(0, str(Path("installed").resolve()))
    else:
        subprocess.run([sys.executable if program == "python" else program, *words], check=True)
