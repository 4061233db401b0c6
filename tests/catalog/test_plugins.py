"""Other packages' parts: a real package is built, installed and used; what is amiss is one line.

Covers: themis.catalog.plugins, themis.catalog.registry
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import ROOT, Ended, environment
from themis.catalog import registry
from themis.core.config import ComponentUse, StorageConfig, use
from themis.core.errors import ConfigError, DefinitionError, UnknownComponentError
from themis.experiment.config.component_specs import ConfigReader
from themis.stores import check_storage

PACKAGE = ROOT / "tests" / "support" / "plugin_package"
CONFIG: dict[str, Any] = {
    "generation": {
        "generator": {"use": "acme/echo", "params": {"before": "a "}},
        "candidate_policy": {"num_samples": 2},
        "selector": "acme/keeper",
        "reducer": "acme/first",
    },
    "evaluation": {
        "metrics": [
            {"use": "acme/similar", "parser": "acme/upper"},
            {"use": "builtin/llm_rubric", "params": {"rubric": "Is it right?"}, "name": "judged"},
        ],
        "judge_models": ["acme/strict"],
    },
    "storage": {"store": "acme/shelf", "parameters": {"path": "kept"}},
    "datasets": [
        {"dataset_id": "d", "cases": [{"case_id": "1", "input": "b", "expected_output": "B"}]}
    ],
}


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package is installed in."""
    target = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--no-cache-dir"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", target, _copied(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


def _copied(target: Path) -> Path:
    """Return a copy of the package to build from, so that nothing is left in the work tree."""
    copy = target.parent / "plugin_package"
    for path in sorted(PACKAGE.rglob("*")):
        if path.is_file() and path.suffix in (".py", ".toml"):
            place = copy / path.relative_to(PACKAGE)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    return copy


@pytest.fixture
def ended(installed: Path, tmp_path: Path) -> Any:
    """Run Python where the package is installed."""

    def run(*words: str | Path) -> Ended:
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=tmp_path,
            env=environment(PYTHONPATH=f"{installed}:{ROOT}"),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


def test_an_installed_packages_parts_run_by_their_ids(ended: Any, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    program = textwrap.dedent(
        """
        import json
        from themis import Experiment, use
        from themis.core.config import EvaluationConfig, GenerationConfig, StorageConfig
        from themis.core.models import Case, Dataset
        for store, parameters in (("acme_memory", {}), ("acme/shelf", {"path": "kept"})):
            experiment = Experiment(
                generation=GenerationConfig(
                    generator=use("acme/echo", before="a "),
                    candidate_policy={"num_samples": 2},
                    selector="acme/keeper",
                    reducer="acme/first",
                ),
                evaluation=EvaluationConfig(
                    metrics=[use("acme/similar", name="alike")],
                    parsers=["acme/upper"],
                    judge_models=["acme/strict"],
                ),
                storage=StorageConfig(store=store, parameters=parameters),
                datasets=[Dataset(dataset_id="d",
                    cases=[Case(case_id="1", input="b", expected_output="B")])],
            )
            result = experiment.run(progress=False)
            provenance = result.snapshot.provenance
            print(json.dumps({
                "status": result.status.value,
                "value": result.metrics["alike"].value,
                "output": result.cases[0].generated_candidates[0].final_output,
                "store": type(experiment.store).__name__,
                "package": provenance.dependencies.get("acme-parts"),
                "code": sorted(name for name, digest in provenance.code.items() if digest),
            }))
        """
    )
    (tmp_path / "program.py").write_text(program)
    done = ended("program.py")
    assert done.code == 0, done.err
    in_memory, on_the_shelf = map(json.loads, done.out.splitlines())
    assert in_memory == {
        "status": "completed",
        "value": 0.75,
        "output": "a b",
        "store": "Shelf",
        "package": "1.2.3",
        "code": [
            "generator:acme/echo",
            "judge:acme/strict",
            "metric:alike",
            "parser:acme/upper",
            "reducer:acme/first",
            "selector:acme/keeper",
        ],
    }
    assert on_the_shelf == {**in_memory, "store": "SqliteRunStore"}
    assert (tmp_path / "kept" / "shelf.db").is_file()


def test_a_config_names_an_installed_packages_parts(ended: Any, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(CONFIG))
    done = ended("-m", "themis", "run", "--config", "c.yaml")
    assert done.code == 0, done.err
    assert done.data["status"] == "completed"
    assert done.data["metrics"]["acme/similar"]["mean"] == 0.75
    assert done.data["metrics"]["judged"]["mean"] == 0
    again = ended("-m", "themis", "estimate", "--config", "c.yaml").data
    assert again["to_run"] == {"generate": 0}


def test_code_of_a_package_that_changed_is_run_again(
    ended: Any, installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(CONFIG))
    words = ("-m", "themis", "run", "--config", "c.yaml")
    ended(*words)
    source = installed / "acme_parts" / "parts.py"
    before = source.read_text()
    try:
        source.write_text(before.replace("0.75 if same", "0.5 if same"))
        changed = ended(*words)
    finally:
        source.write_text(before)
    assert changed.data["metrics"]["acme/similar"]["mean"] == 0.5
    assert any("acme/similar" in note for note in changed.data["notes"])


def test_the_catalog_names_plug_ins_with_their_package(ended: Any) -> None:
    rows = ended("-m", "themis", "catalog", "list").data
    plugged = {row["id"]: row["kind"] for row in rows if row["package"] == "acme-parts 1.2.3"}
    assert plugged == {
        "acme/echo": "generator",
        "acme/first": "reducer",
        "acme/keeper": "selector",
        "acme/shelf": "store",
        "acme/similar": "metric",
        "acme/strict": "judge",
        "acme/upper": "parser",
        "acme_memory": "store",
    }
    assert {"id": "builtin/text", "kind": "parser", "package": "themis"} in rows
    stores = ended("-m", "themis", "catalog", "list", "--kind", "store").data
    assert [row["id"] for row in stores] == ["acme/shelf", "acme_memory"]


@pytest.mark.parametrize(
    ("section", "value", "said"),
    [
        ("generation", {"generator": "acme/ehco"}, "did you mean 'acme/echo'?"),
        ("generation", {"generator": "acme/upper"}, "acme/upper of the package acme-parts 1.2.3 "
            "is a parser, not a generator"),
        ("generation", {"generator": "acme/strict"}, "is a judge, not a generator"),
        ("generation", {"generator": "acme_memory"}, "is a store, not a generator"),
        ("generation", {"generator": {"use": "acme/echo", "params": {"befor": "x"}}},
            "acme/echo has no param 'befor'; did you mean 'before'?"),
        ("storage", {"store": "acme/echo"}, "acme_parts.parts:Echo of the package acme-parts 1.2.3 "
            "is no store"),
        ("storage", {"store": "acme/shelv"}, "did you mean 'acme/shelf'?"),
        ("storage", {"store": "acme/shelf", "parameters": {"pth": "x"}}, "did you mean 'path'?"),
    ],
)  # fmt: skip
def test_what_is_no_such_part_is_one_line(
    ended: Any, tmp_path: Path, section: str, value: Any, said: str
) -> None:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({**CONFIG, section: value}))
    done = ended("-m", "themis", "run", "--config", "c.yaml")
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1
    assert done.out == ""


def test_a_run_without_plug_ins_looks_for_none() -> None:
    program = (
        "from themis import evaluate\n"
        "from themis.core.config import StorageConfig\n"
        "from themis.catalog import plugins\n"
        "result = evaluate(model='builtin/demo_generator', metric='builtin/exact_match',\n"
        "    data=[{'input': 'a', 'expected_output': 'a'}], progress=False,\n"
        "    storage=StorageConfig(store='memory'))\n"
        "print(result.status.value, plugins._read.cache_info().misses)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["completed", "0"]


@pytest.fixture
def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Install the metadata of packages, and modules, in a folder of the import path."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(name: str, entries: dict[str, str], **modules: str) -> None:
        folder = site / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{key} = {value}" for key, value in entries.items()]
        (folder / "entry_points.txt").write_text("\n".join(["[themis.components]", *lines]))
        for module, source in modules.items():
            (site / f"{module}.py").write_text(source)

    yield install
    for module in ("plugged_parts", "broken_parts", "remote_parts"):
        sys.modules.pop(module, None)


PARTS = """
class Parser:
    component_id, version = "x/parser", "1"
    def fingerprint(self): return "x"
    def parse(self, candidate, ctx): ...

def untold(size=1):
    return Parser()

ready = Parser()
number = 4
"""


def refused(spec: str | ComponentUse, kind: Any) -> str:
    with pytest.raises(DefinitionError) as caught:
        registry.make(spec, kind)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_two_packages_with_one_id_are_refused_and_both_named(declare: Any) -> None:
    declare("first-parts", {"x/parser": "plugged_parts:Parser"}, plugged_parts=PARTS)
    declare("other-parts", {"x/parser": "plugged_parts:ready", "x/own": "plugged_parts:ready"})
    said = refused("x/parser", "parser")
    assert "'x/parser' is declared by first-parts 1.0 and other-parts 1.0" in said
    with pytest.raises(DefinitionError, match=r"first-parts 1\.0 and other-parts"):
        check_storage(StorageConfig(store="x/parser"))
    assert registry.make("x/own", "parser")[0].component_id == "x/parser"


def test_a_plug_in_cannot_take_a_name_of_themis(declare: Any) -> None:
    names = ("builtin/text", "builtin/stolen", "openai", "memory")
    declare("taking-parts", dict.fromkeys(names, "plugged_parts:untold"), plugged_parts=PARTS)
    assert registry.load("builtin/text", "parser").__module__ == "themis.catalog.parsers.text"
    assert (
        registry.load("openai", "generator").__module__
        == "themis.adapters.model_apis.openai_compatible"
    )
    check_storage(StorageConfig(store="memory"))
    assert "names that begin with builtin/ are Themis's own" in refused("builtin/stolen", "parser")
    assert registry.plugin_distributions(["builtin/text", "openai"]) == {}


def test_a_plug_in_that_cannot_be_imported_is_one_line_that_names_its_package(
    declare: Any,
) -> None:
    declare(
        "broken-parts",
        {
            "x/breaks": "broken_parts:Thing",
            "x/gone": "not_there_at_all:Thing",
            "x/leaves": "leaving_parts:Thing",
            "x/lacks": "plugged_parts:Missing",
            "x/module": "plugged_parts",
        },
        broken_parts="raise RuntimeError('two\\nlines')\n",
        leaving_parts="import sys\nsys.exit(3)\n",
        plugged_parts=PARTS,
    )
    for name, why in (
        ("x/breaks", "importing 'broken_parts' failed with RuntimeError: two lines"),
        ("x/leaves", "importing 'leaving_parts' failed with SystemExit: 3"),
        ("x/gone", "No module named 'not_there_at_all'"),
        ("x/lacks", "'plugged_parts' has no 'Missing'"),
        ("x/module", "names no class or function"),
    ):
        said = refused(name, "parser")
        assert f"'{name}' of the package broken-parts 1.0: " in said
        assert why in said


def test_a_function_that_tells_no_kind_is_known_by_what_it_makes(declare: Any) -> None:
    declare(
        "untold-parts",
        {"x/untold": "plugged_parts:untold", "x/number": "plugged_parts:number"},
        plugged_parts=PARTS,
    )
    made, params = registry.make(use("x/untold", size=2), "parser")
    assert (made.component_id, params) == ("x/parser", {"size": 2})
    assert "it looks like a parser, and stands where a metric is wanted" in refused(
        "x/untold", "metric"
    )
    assert "is a int, which makes no parser" in refused("x/number", "parser")
    assert registry.plugin_distributions(["x/untold", use("x/number", parser="x/untold")]) == {
        "untold-parts": "1.0"
    }


def test_an_id_that_would_be_refused_is_suggested_to_nobody(declare: Any) -> None:
    parts = "plugged_parts:Parser"
    declare("first-parts", {"x/twice": parts, "x/bad id": parts, "x/goodid": parts})
    declare("other-parts", {"x/twice": parts})
    assert "did you mean 'x/goodid'" in refused("x/badid", "parser")
    for name in ("x/twicee", "x/badid", "twice"):
        said = refused(name, "parser")
        assert "x/bad id" not in said
        assert "x/twice'" not in said
    with pytest.raises(DefinitionError) as caught:
        check_storage(StorageConfig(store="x/twicee"))
    assert "'x/twice'" not in str(caught.value)


def test_an_id_that_nobody_declares_is_unknown_as_before(declare: Any) -> None:
    with pytest.raises(UnknownComponentError, match="did you mean 'builtin/exact_match'"):
        registry.load("builtin/exact_mach", "metric")


REMOTE = """
from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from themis.adapters.transport.references import resolve_reference
from themis.core.config_roles import OBJECT, SECRET, ConfigRole


class Remote:
    component_id, version = "acme/remote", "1"

    def __init__(
        self,
        model: str,
        *,
        api_key: Annotated[str | None, SECRET] = None,
        pin: Annotated[str | None, SECRET] = None,
        shape: Annotated[Callable[[str], str], OBJECT] | None = None,
        connection: Annotated[
            dict[str, Any], ConfigRole(reads_references=True, files=("ca_file",))
        ] = {},
        body: Annotated[Any, ConfigRole(reads_references=True, knows_its_secrets=True)] = None,
    ) -> None:
        self.given = {"model": model, "connection": connection, "body": body}
        self.key = resolve_reference(api_key or "", "api_key")
        self.shape = shape

    def fingerprint(self) -> str:
        return self.given["model"]

    async def generate(self, case: Any, ctx: Any) -> Any: ...


def shout(text: str) -> str:
    return f"{text}!"
"""
KEY = "hunter2-zebra-crossing"


@pytest.fixture
def remote(declare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Read a config's generator, an adapter of another package."""
    declare("remote-parts", {"acme/remote": "remote_parts:Remote"}, remote_parts=REMOTE)
    monkeypatch.setenv("ACME_KEY", KEY)
    monkeypatch.delenv("ACME_NONE", raising=False)

    def read(**fields: Any) -> ComponentUse:
        spec = {"use": "acme/remote", "model": "m", **fields}
        read: ComponentUse = ConfigReader(tmp_path / "c.yaml").component(spec, "generator", "g")
        return read

    return read


def test_a_plug_ins_adapter_is_configured_like_themiss_own(remote: Any, tmp_path: Path) -> None:
    connection = {"token": "env:ACME_KEY", "ca_file": "ca.pem"}
    body = {"password": "{{ input }}"}
    read = remote(
        api_key="Bearer env:ACME_KEY",
        shape="remote_parts:shout",
        connection=connection,
        body=body,
    )
    assert KEY not in repr(read)
    made, recorded = registry.make(read, "generator")
    assert recorded == {"model": "m"}  # its fingerprint says the rest
    assert made.key == f"Bearer {KEY}"
    assert made.shape("a") == "a!"
    assert made.given["body"] == body
    assert made.given["connection"] == {
        "token": "env:ACME_KEY",
        "ca_file": str(tmp_path / "ca.pem"),
    }


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"api_key": KEY}, "g.api_key is written out in the config"),
        ({"pin": KEY}, "g.pin is written out in the config"),
        ({"connection": {"token": KEY}}, "g.connection.token is written out in the config"),
        ({"params": {"api_key": KEY}}, "g.api_key is written out in the config"),
        ({"api_key": "env:ACME_NONE"}, "the environment variable ACME_NONE is not set"),
        ({"body": {"k": "env:ACME_NONE"}}, "g.body.k is 'env:ACME_NONE'"),
        ({"model": "env:ACME_KEY"}, "'env:NAME' is read in api_key, body, connection, pin only"),
        ({"shape": "shout"}, "g.shape = 'shout' is no import path"),
        ({"shape": "remote_parts:shuot"}, "did you mean 'shout'?"),
        ({"api_kee": "env:ACME_KEY"}, "has no param 'api_kee'; did you mean 'api_key'?"),
    ],
)
def test_a_plug_ins_adapter_is_refused_what_themiss_own_are(
    remote: Any, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        remote(**fields)
    assert said in str(caught.value)
    assert KEY not in str(caught.value)


def test_annotations_that_cannot_be_read_declare_nothing(declare: Any) -> None:
    unread = REMOTE.replace("model: str,", "model: NotThere,")
    declare("remote-parts", {"acme/remote": "remote_parts:Remote"}, remote_parts=unread)
    assert registry.config_roles(registry.load("acme/remote", "generator")) == {}
    with pytest.raises(ConfigError, match="api_key looks like a secret"):
        ConfigReader(None).component(
            {"use": "acme/remote", "params": {"model": "m", "api_key": KEY}}, "generator", "g"
        )
