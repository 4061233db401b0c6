"""Config files: what is written there is what runs; what is not understood is refused by name.

Covers: themis.experiment.config, themis.experiment.config.component_specs,
themis.experiment.config.data, themis.experiment.config.file
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from themis import Experiment, PromptSpec
from themis.core.config import ComponentUse
from themis.core.errors import ConfigError, DefinitionError
from themis.experiment.config.file import read_experiment

WHOLE: dict[str, Any] = {
    "generation": {
        "generator": {"use": "builtin/demo_generator", "params": {"accuracy": 0.5}},
        "candidate_policy": {"num_samples": 2},
        "prompt_spec": {"instructions": "Be brief.", "examples": [{"input": "a", "output": "b"}]},
        "selector": None,
        "reducer": "builtin/majority_vote",
    },
    "evaluation": {
        "metrics": [
            "builtin/exact_match",
            {"use": "builtin/exact_match", "name": "strict", "parser": {"use": "builtin/text"}},
            {"use": "builtin/llm_rubric", "params": {"rubric": "Polite?"}, "name": "polite"},
        ],
        "parsers": ["builtin/text"],
        "judge_models": ["builtin/demo_judge"],
        "workflow_overrides": {"polite": {"anything": 1}},
    },
    "storage": {"store": "sqlite", "parameters": {"path": "kept/runs.db"}},
    "runtime": {"max_concurrent_tasks": 4, "generation_timeout": 3},
    "datasets": [
        {
            "dataset_id": "d",
            "revision": "7",
            "metadata": {"language": "en"},
            "cases": [{"case_id": "1", "input": {"q": 1}, "expected_output": None}],
        }
    ],
    "seeds": [1, 2],
    "environment_metadata": {"team": "evals"},
}


def written(folder: Path, data: Any, name: str = "themis.yaml") -> Path:
    path = folder / name
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data), encoding="utf-8")
    return path


def with_value(place: str, value: Any) -> dict[str, Any]:
    """Return the whole config with one value set."""
    data: dict[str, Any] = json.loads(json.dumps(WHOLE))
    *before, last = place.split(".")
    target: Any = data
    for part in before:
        target = target[int(part) if part.isdecimal() else part]
    target[int(last) if last.isdecimal() else last] = value
    return data


def refused(path: Path, *overrides: str) -> str:
    with pytest.raises(DefinitionError) as caught:
        read_experiment(path, list(overrides))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_whole_config_becomes_an_experiment(tmp_path: Path) -> None:
    made = Experiment(**read_experiment(written(tmp_path, WHOLE), []))
    assert made.generation.generator == ComponentUse(
        use="builtin/demo_generator", params={"accuracy": 0.5}
    )
    assert made.generation.num_samples == 2
    assert isinstance(made.generation.prompt_spec, PromptSpec)
    assert made.generation.prompt_spec.examples[0].output == "b"
    assert made.evaluation.metrics[1] == ComponentUse(
        use="builtin/exact_match", name="strict", parser=ComponentUse(use="builtin/text")
    )
    assert made.storage.parameters == {"path": str(tmp_path / "kept" / "runs.db")}
    assert made.runtime.max_concurrent_tasks == 4
    assert made.datasets[0].metadata == {"language": "en"}
    assert made.seeds == [1, 2]
    assert made.environment_metadata == {"team": "evals"}
    assert made.compile().identity.num_samples == 2
    assert not (tmp_path / "kept").exists()


def test_toml_says_the_same_as_yaml(tmp_path: Path) -> None:
    toml = """
        seeds = [1]
        [generation]
        generator = "builtin/demo_generator"
        [storage]
        store = "memory"
        [[datasets]]
        dataset_id = "d"
        cases = [{case_id = "a", input = "q", expected_output = "x"}]
    """
    data = {
        "generation": {"generator": "builtin/demo_generator"},
        "storage": {"store": "memory"},
        "datasets": [
            {"dataset_id": "d", "cases": [{"case_id": "a", "input": "q", "expected_output": "x"}]}
        ],
        "seeds": [1],
    }
    one = Experiment.from_config(written(tmp_path, toml, "a.toml")).compile()
    other = Experiment.from_config(written(tmp_path, data)).compile()
    assert one.run_id == other.run_id


def test_yaml_is_read_by_the_rules_of_yaml_1_2(tmp_path: Path) -> None:
    text = """
generation: {generator: builtin/demo_generator}
storage: {store: memory}
datasets:
- dataset_id: d
  cases:
  - case_id: a
    input: [yes, no, on, 12:30, 2024-01-01, 010, 0o10, 0x1F, 1e-6, .5, 1., null, ~, true, -3]
"""
    data = read_experiment(written(tmp_path, text), [])
    assert data["datasets"][0].cases[0].input == [
        *("yes", "no", "on", "12:30", "2024-01-01"),
        *(10, 8, 31, 1e-6, 0.5, 1.0, None, None, True, -3),
    ]


def test_anchors_and_merges_work(tmp_path: Path) -> None:
    text = """
generation: &g {generator: builtin/demo_generator}
storage: {store: memory}
runtime: {<<: &r {max_concurrent_tasks: 3}, generation_timeout: 2}
datasets: [{dataset_id: d, cases: [{case_id: a, input: q}]}]
"""
    assert read_experiment(written(tmp_path, text), [])["runtime"].max_concurrent_tasks == 3


@pytest.mark.parametrize("name", ["data.jsonl", "data.csv"])
def test_data_files_are_found_beside_the_config(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    lines = {
        "data.jsonl": '{"q": "1+1", "gold": "2", "id": "a"}\n{"q": "1", "gold": "3", "id": "b"}\n',
        "data.csv": "q,gold,id\n1+1,2,a\n1+2,3,b\n",
    }
    (folder / name).write_text(lines[name])
    dataset = {
        "path": name,
        "input": "q",
        "expected_output": "gold",
        "case_id": "id",
        "revision": "r1",
        "metadata": {"k": 1},
        "take": 1,
    }
    data = {**WHOLE, "datasets": [dataset]}
    made = read_experiment(written(folder, data), [])["datasets"][0]
    assert (made.dataset_id, made.revision, made.metadata) == ("data", "r1", {"k": 1})
    assert [(case.case_id, case.input, case.expected_output) for case in made] == [
        ("a", "1+1", "2")
    ]
    both = read_experiment(written(folder, data), ["datasets.0.take=null"])["datasets"][0]
    assert len(list(both)) == 2
    drawn = ["datasets.0.take=null", "datasets.0.sample={n: 1, seed: 3}"]
    assert len(list(read_experiment(written(folder, data), drawn)["datasets"][0])) == 1


def test_an_own_component_is_imported_from_beside_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "parts_of_config_test.py").write_text(
        "from themis.catalog.generators.demo import DemoGenerator\n"
        "def make(accuracy=1.0):\n    return DemoGenerator(accuracy=accuracy)\n"
    )
    spec = {"use": "parts_of_config_test:make", "params": {"accuracy": 0.25}}
    path = written(tmp_path, with_value("generation.generator", spec))
    made = Experiment.from_config(path).compile()
    assert made.identity.generator.params == {"accuracy": 0.25}

    other = tmp_path / "other"
    other.mkdir()
    (other / "parts_of_config_test.py").write_text("make = None\n")
    message = refused(written(other, with_value("generation.generator", spec)))
    assert "another module 'parts_of_config_test' is loaded already" in message


def test_an_adapter_takes_its_arguments_inline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONFIG_TEST_KEY", "sk-very-secret")
    spec = {
        "use": "openai",
        "model": "m",
        "base_url": "http://localhost:1/v1",
        "sampling": {"temperature": 0},
        "api_key": "env:CONFIG_TEST_KEY",
        "client_options": {"headers": {"Authorization": "Bearer env:CONFIG_TEST_KEY"}},
    }
    made = Experiment.from_config(written(tmp_path, with_value("generation.generator", spec)))
    use = made.generation.generator
    assert isinstance(use, ComponentUse)
    assert use.params["api_key"] == "env:CONFIG_TEST_KEY"
    snapshot = made.compile()
    for shown in (repr(made.generation), repr(snapshot), snapshot.model_dump_json()):
        assert "sk-very-secret" not in shown


@pytest.mark.parametrize("kind", ["generator", "judge"])
def test_a_key_that_is_written_out_is_refused_and_not_shown(tmp_path: Path, kind: str) -> None:
    spec: dict[str, Any] = {"use": "openai", "model": "m", "api_key": "sk-very-secret"}
    place = "generation.generator"
    if kind == "judge":
        spec["use"], place = "openai_judge", "evaluation.judge_models.0"
    message = refused(written(tmp_path, with_value(place, spec)))
    assert "sk-very-secret" not in message
    assert "api_key is written out" in message
    assert "env:NAME" in message


def test_a_secret_is_no_parameter_of_an_own_component(tmp_path: Path) -> None:
    spec = {"use": "themis.catalog.generators.demo:DemoGenerator"}
    spec |= {"params": {"deep": {"password": "hunter2"}}}
    message = refused(written(tmp_path, with_value("generation.generator", spec)))
    assert "hunter2" not in message
    assert "params.deep.password looks like a secret" in message


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"sampling": {"user": "env:CONFIG_TEST_WHO"}}, "sampling.user"),
        ({"sampling": {"stop": ["a", "env:CONFIG_TEST_WHO"]}}, "sampling.stop[1]"),
        ({"instructions": "env:CONFIG_TEST_WHO"}, "instructions"),
        ({"base_url": "env:CONFIG_TEST_WHO"}, "base_url"),
    ],
)
def test_a_reference_where_nobody_reads_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], place: str
) -> None:
    monkeypatch.setenv("CONFIG_TEST_WHO", "somebody")
    spec = {"use": "openai", "model": "m", **settings}
    message = refused(written(tmp_path, with_value("generation.generator", spec)))
    assert f"generation.generator.{place} = 'env:CONFIG_TEST_WHO' would be sent as it is" in message
    assert "'env:NAME' is read in api_key, client_options only" in message
    assert "somebody" not in message


def test_a_text_that_speaks_of_a_variable_is_no_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONFIG_TEST_WHO", raising=False)
    asked = "explain env:CONFIG_TEST_WHO"
    own = {"use": "http", "url": "http://h/x", "body": {"q": asked}, "answer": "a"}
    shared = {"use": "openai", "model": "m", "instructions": asked, "base_url": "http://h/v1"}
    for spec in (own, shared):
        Experiment.from_config(written(tmp_path, with_value("generation.generator", spec)))
    own["body"] = {"q": "env:CONFIG_TEST_WHO"}
    message = refused(written(tmp_path, with_value("generation.generator", own)))
    assert "the environment variable CONFIG_TEST_WHO is not set" in message


def test_what_is_counted_by_tokens_is_no_secret(tmp_path: Path) -> None:
    facts = {"cost_per_output_token": 2e-6, "requires_api_key": False, "token": "bank"}
    sampling = {"max_new_token": 5, "use_token": True, "logit_token": 0.5}
    spec = {"use": "openai", "model": "m", "base_url": "http://h/v1", "sampling": sampling}
    data = with_value("generation.generator", spec)
    data["environment_metadata"] = facts
    made = Experiment.from_config(written(tmp_path, data))
    assert made.environment_metadata == facts
    made.compile()


def test_a_key_that_is_not_set_is_said_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONFIG_TEST_KEY", raising=False)
    spec = {"use": "openai", "model": "m", "api_key": "env:CONFIG_TEST_KEY"}
    message = refused(written(tmp_path, with_value("generation.generator", spec)))
    assert "the environment variable CONFIG_TEST_KEY is not set" in message


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("genration", {}, "there is no key 'genration'; did you mean 'generation'?"),
        ("generation.genrator", 1, "'generation.genrator'; did you mean 'generator'?"),
        ("generation.candidate_policy.num_sample", 1, "did you mean 'num_samples'?"),
        ("generation.prompt_spec.instruction", "x", "did you mean 'instructions'?"),
        ("generation.prompt_spec.examples.0.out", "x", "did you mean 'output'?"),
        ("evaluation.metric", [], "did you mean 'metrics'?"),
        ("storage.path", "x", "'storage.path'"),
        ("runtime.max_concurrent_task", 1, "did you mean 'max_concurrent_tasks'?"),
        ("datasets.0.dataset", "x", "'datasets.0.dataset'; did you mean 'dataset_id'?"),
        ("datasets.0.cases.0.inputs", "x", "did you mean 'input'?"),
        ("datasets.0.sample", {"count": 1}, "'datasets.0.sample.count'"),
        ("generation.generator.parms", {}, "did you mean 'params'?"),
        ("generation.generator", {"use": "openai", "modle": 1}, "did you mean 'model'?"),
        ("generation.generator", {"use": "openai_judge", "model": "m"}, "is a judge, not a gen"),
        ("generation.generator", {"params": {}}, "generation.generator must be an id"),
        ("generation.generator", ["x"], "generation.generator must be an id"),
        ("generation.generator.parser", "builtin/text", "only a metric has a parser"),
        ("generation.candidate_policy.num_samples", 0, "must be an integer of at least 1"),
        ("evaluation.metrics", "builtin/exact_match", "evaluation.metrics is text; it must be a l"),
        ("runtime.max_concurrent_tasks", "4", "runtime.max_concurrent_tasks = '4'"),
        ("runtime", [], "runtime is a list; it must be a mapping"),
        ("seeds", 3, "seeds is an integer; it must be a list"),
        ("datasets.0.path", "x.jsonl", "either 'cases' or the 'path'"),
        ("datasets.0.input", "q", "says how to read a data file"),
        ("datasets.0.cases.0.case_id", 1, "datasets[0].cases[0].case_id = 1"),
        ("datasets.0.take", -1, "cannot be negative"),
        ("datasets.0.sample", {"n": 5}, "datasets[0].sample.seed is missing"),
        ("datasets.0.sample", {"n": 5, "seed": 1}, "sample(5) of 1 cases"),
        ("datasets", [{"path": "none.jsonl"}], "is not there"),
        (
            "datasets",
            [{"path": "data.txt"}],
            "must end in one of .jsonl, .ndjson, .json, .csv, .tsv",
        ),
        ("datasets", None, "'datasets' is missing"),
        ("storage", None, "'storage' is missing; write, say, storage:"),
        ("generation", None, "'generation' is missing"),
    ],
)
def test_what_is_not_understood_is_refused_by_file_and_place(
    tmp_path: Path, place: str, value: Any, said: str
) -> None:
    path = written(tmp_path, with_value(place, value))
    message = refused(path)
    assert message.startswith(str(path))
    assert said in message


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.yaml", "", "is empty"),
        ("a.yaml", "# only a comment\n", "is empty"),
        ("a.toml", "", "is empty"),
        ("a.yaml", "- a\n- b\n", "holds a list"),
        ("a.yaml", "a: [1,\nb: 2\n", "line 3: not YAML"),
        ("a.yaml", "seeds: [1]\nseeds: [2]\n", "line 2: not YAML: the key 'seeds' stands twice"),
        ("a.yaml", "a: !!python/object:os.system x\n", "line 1: not YAML"),
        ("a.yaml", "? [a]\n: b\n", "line 1: not YAML: a key that is not text"),
        ("a.yaml", "1: x\n", "the key 1 is not text"),
        ("a.toml", "a = \n", "not TOML"),
        ("a.json", "{}", "ends in '.json'"),
    ],
)
def test_a_broken_file_is_one_line_with_the_place(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    path = written(tmp_path, text, name)
    message = refused(path)
    assert str(path) in message
    assert said in message


def test_a_missing_file_a_folder_and_bytes_are_told_apart(tmp_path: Path) -> None:
    for name in ("none.yaml", "none"):
        with pytest.raises(ConfigError, match="is not there"):
            read_experiment(tmp_path / name, [])
    for name in ("folder.yaml", "folder"):
        (tmp_path / name).mkdir()
        with pytest.raises(ConfigError, match="is a folder"):
            read_experiment(tmp_path / name, [])
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_experiment(tmp_path / "bytes.yaml", [])


def test_overrides_set_values_as_yaml(tmp_path: Path) -> None:
    made = read_experiment(
        written(tmp_path, WHOLE),
        [
            "runtime.max_concurrent_tasks=7",
            "runtime.stage_concurrency.judge=2",
            "generation.candidate_policy={num_samples: 1}",
            "datasets.0.cases.0.input=a=b",
            "evaluation.metrics.1=builtin/exact_match",
            "seeds=[5]",
            "environment_metadata=",
        ],
    )
    assert made["runtime"].max_concurrent_tasks == 7
    assert made["runtime"].stage_concurrency == {"judge": 2}
    assert made["generation"].num_samples == 1
    assert made["datasets"][0].cases[0].input == "a=b"
    assert made["evaluation"].metrics[1] == "builtin/exact_match"
    assert made["seeds"] == [5]
    assert made["environment_metadata"] == {}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("runtime", "write it as 'section.key=value'"),
        ("=3", "write it as 'section.key=value'"),
        ("runtime..x=3", "write it as 'section.key=value'"),
        ("runtme.max_concurrent_tasks=3", "no 'runtme'; did you mean 'runtime'?"),
        ("runtime.max_concurent_tasks=3", "did you mean 'max_concurrent_tasks'?"),
        ("datasets.4.take=1", "a list of 1, which has no item '4'"),
        ("datasets.first.take=1", "a list of 1, which has no item 'first'"),
        ("generation.reducer.use=x", "set generation.reducer as a whole"),
        ("seeds=[1", "the value is not YAML"),
    ],
)
def test_an_override_that_leads_nowhere_is_refused(
    tmp_path: Path, override: str, said: str
) -> None:
    assert said in refused(written(tmp_path, WHOLE), override)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("evaluation.metrics.0=null", "evaluation.metrics[0] must be an id"),
        ("datasets.0=null", "datasets[0] is missing; it must be a mapping"),
        ("datasets.0=~", "datasets[0] is missing; it must be a mapping"),
    ],
)
def test_null_is_a_value_like_any_other(tmp_path: Path, override: str, said: str) -> None:
    assert said in refused(written(tmp_path, WHOLE), override)


def test_one_override_is_a_list_of_one(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE)
    with pytest.raises(DefinitionError, match=r"give a list: \['seeds=\[5, 6\]'\]"):
        read_experiment(path, "seeds=[5, 6]")


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("generation.generator", "builtin/demo_generatr", "did you mean 'builtin/demo_generator'?"),
        ("generation.generator", "builtin/exact_match", "is a metric, not a generator"),
        ("generation.generator", "no_such_module_at_all:x", "there is no module"),
        ("generation.generator.params.acuracy", 1, "has no param 'acuracy'"),
        ("generation.generator.params.accuracy", 7, "accuracy"),
        ("generation.generator", {"use": "openai"}, "openai needs the param 'model'"),
        ("generation.reducer", "builtin/majority", "did you mean 'builtin/majority_vote'?"),
        ("evaluation.metrics.0", "builtin/exact", "did you mean 'builtin/exact_match'?"),
        ("evaluation.metrics.2.params", {}, "needs the param 'rubric'"),
        ("evaluation.metrics.1.parser.use", "builtin/txt", "did you mean 'builtin/text'?"),
        ("evaluation.judge_models.0", "builtin/judge", "did you mean 'builtin/demo_judge'?"),
        ("evaluation.metrics.1.name", "", "name"),
        ("evaluation.metrics.1.name", "two\nlines", "control characters"),
    ],
)
def test_a_wrong_component_is_refused_by_file_and_place(
    tmp_path: Path, place: str, value: Any, said: str
) -> None:
    path = written(tmp_path, with_value(place, value))
    message = refused(path)
    where = place.partition(".params")[0].removesuffix(".use").removesuffix(".name")
    for number in range(3):
        where = where.replace(f".{number}", f"[{number}]")
    assert message.startswith(f"{path}: {where}")
    assert said in message


def test_reading_a_config_makes_no_component_of_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "costly_parts_of_config_test.py").write_text(
        "def make(size=1):\n    raise RuntimeError('made')\n"
    )
    spec = {"use": "costly_parts_of_config_test:make", "params": {"size": 2}}
    read_experiment(written(tmp_path, with_value("generation.generator", spec)), [])
    spec["params"] = {"sise": 2}
    said = refused(written(tmp_path, with_value("generation.generator", spec)))
    assert "did you mean 'size'?" in said


def test_a_secret_in_an_override_is_not_shown(tmp_path: Path) -> None:
    spec = {"use": "openai", "model": "m"}
    path = written(tmp_path, with_value("generation.generator", spec))
    message = refused(path, "generation.generator.api_key=sk-very-secret")
    assert "sk-very-secret" not in message
    assert "sk-very" not in refused(path, "generation.generator.api_key=[sk-very-secret")
