"""An experiment in a config file: each section is checked key by key and becomes a model.

No value is guessed or coerced, nothing runs, and no store is opened.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from themis.catalog import registry
from themis.core.config import (
    POLICY_KEYS,
    EvaluationConfig,
    GenerationConfig,
    RuntimeConfig,
    StorageConfig,
)
from themis.core.errors import DefinitionError, did_you_mean
from themis.core.models import Case, Dataset
from themis.core.prompts import Example, PromptSpec
from themis.core.redaction import looks_like_secret
from themis.data.files import KNOWN_SUFFIXES, form_of
from themis.experiment.config.component_specs import ConfigReader
from themis.experiment.config.data import read_data, set_value

_SECTIONS: Mapping[str, Collection[str]] = {
    "generation": GenerationConfig.model_fields,
    "evaluation": EvaluationConfig.model_fields,
    "storage": StorageConfig.model_fields,
    "runtime": RuntimeConfig.model_fields,
    "datasets": (),
    "seeds": (),
    "environment_metadata": (),
}
_NEEDED = {
    "generation": "generation: {generator: builtin/demo_generator}",
    "storage": "storage: {store: sqlite, parameters: {path: runs.db}}",
    "datasets": "datasets: [{path: data.jsonl}]",
}
_DATASET_KEYS = ("dataset_id", "revision", "metadata", "take", "sample")
_FIELD_KEYS = ("input", "expected_output", "case_id", "metadata_keys")
_CSV_KEYS = ("delimiter", "encoding")
_FILE_KEYS = (*_FIELD_KEYS, *_CSV_KEYS)
_KEY_LISTS = ("input", "expected_output", "metadata_keys")
"""Keys of a data file that may be several."""
_SAMPLE_KEYS = ("n", "seed")
_PATH_PARAMETERS = ("path", "root")
_FORMS = {
    "jsonl": Dataset.from_jsonl,
    "json": Dataset.from_json,
    "csv": Dataset.from_csv,
    "parquet": Dataset.from_parquet,
}


def read_experiment(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of ``Experiment`` that a config file stands for.

    Args:
        path: a YAML or TOML file; relative paths inside it are taken from its folder.
        overrides: ``"section.key=value"`` or ``"datasets.0.take=5"`` each, the value as YAML.

    Raises:
        ConfigError: the file is missing or broken, or has a key or a value that is not known; one
            line that names the file, the key and the nearest known key.
        DefinitionError: an override names a place that is not there.
    """
    if isinstance(overrides, str):
        raise DefinitionError(
            f"overrides is one text; give a list: [{overrides!r}]", field="overrides"
        )
    data = read_data(path)
    for override in overrides:
        set_value(data, override, known_keys)
    return _ExperimentReader(path).experiment(data)


def read_component(spec: object, kind: registry.Kind, where: str) -> Any:
    """Return the component that plain data stands for, as a config file would.

    Args:
        spec: an id, an import path, or ``{use:, params:, name:, parser:}``.
        kind: what it must be.
        where: what it is called in messages.
    """
    return ConfigReader(None).component(spec, kind, where)


def read_dataset(data: object, where: str) -> Dataset:
    """Return the dataset that plain data stands for, as a config file would.

    Args:
        data: ``{dataset_id:, cases: [...]}``, or ``{path:, input:, expected_output:, take:, ...}``.
        where: what it is called in messages.
    """
    return _ExperimentReader(None).dataset(data, where)


def known_keys(place: Sequence[str]) -> Collection[str] | None:
    """Return the keys that there may be at a place of a config; None where any may be."""
    match tuple(place):
        case ():
            return _SECTIONS
        case ("generation" | "evaluation" | "storage" | "runtime" as section,):
            return _SECTIONS[section]
        case ("generation", "candidate_policy"):
            return POLICY_KEYS
        case ("generation" | "evaluation", "prompt_spec"):
            return PromptSpec.model_fields
        case ("generation" | "evaluation", "prompt_spec", "examples", _):
            return Example.model_fields
        case ("datasets", _):
            return (*_DATASET_KEYS, *_FILE_KEYS, "cases", "path")
        case ("datasets", _, "sample"):
            return _SAMPLE_KEYS
        case ("datasets", _, "cases", _):
            return Case.model_fields
    return None


def _is_content(place: tuple[str, ...]) -> bool:
    """Return whether a place holds a benchmark's own text, which may be about API keys."""
    match place:
        case ("datasets", _, "cases", _, "input" | "expected_output", *_):
            return True
        case ("generation" | "evaluation", "prompt_spec", *_):
            return True
    return False


class _ExperimentReader(ConfigReader):
    """Builds the sections of an experiment's file."""

    def experiment(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of ``Experiment``."""
        self._check_keys(data, ())
        given = {name: value for name, value in data.items() if value is not None}
        for name, way_out in _NEEDED.items():
            if name not in given:
                self.refuse(f"'{name}' is missing; write, say, {way_out}", name)
        environment = self.typed(
            given.get("environment_metadata", {}), dict, "environment_metadata"
        )
        return {
            "generation": self._generation(given["generation"]),
            "evaluation": self._evaluation(given.get("evaluation", {})),
            "storage": self._storage(given["storage"]),
            "runtime": self.built(RuntimeConfig, given.get("runtime", {}), "runtime"),
            "datasets": [
                self.dataset(one, f"datasets[{index}]")
                for index, one in enumerate(self.typed(given["datasets"], list, "datasets"))
            ],
            "seeds": self.typed(given.get("seeds", []), list, "seeds"),
            "environment_metadata": environment,
        }

    def _generation(self, data: object) -> GenerationConfig:
        fields = dict(self.typed(data, dict, "generation"))
        kinds: tuple[registry.Kind, ...] = ("generator", "selector", "reducer")
        for kind in kinds:
            if fields.get(kind) is not None:
                fields[kind] = self.component(fields[kind], kind, f"generation.{kind}")
        self._read_prompt(fields, "generation")
        return self.built(GenerationConfig, fields, "generation")

    def _evaluation(self, data: object) -> EvaluationConfig:
        fields = dict(self.typed(data, dict, "evaluation"))
        lists: tuple[tuple[str, registry.Kind], ...] = (
            ("metrics", "metric"),
            ("parsers", "parser"),
            ("judge_models", "judge"),
        )
        for name, kind in lists:
            if name in fields:
                where = f"evaluation.{name}"
                fields[name] = [
                    self.component(spec, kind, f"{where}[{index}]")
                    for index, spec in enumerate(self.typed(fields[name] or [], list, where))
                ]
        self._read_prompt(fields, "evaluation")
        return self.built(EvaluationConfig, fields, "evaluation")

    def _read_prompt(self, fields: dict[str, Any], section: str) -> None:
        if fields.get("prompt_spec") is not None:
            where = f"{section}.prompt_spec"
            fields["prompt_spec"] = self.built(PromptSpec, fields["prompt_spec"], where)

    def _storage(self, data: object) -> StorageConfig:
        fields = dict(self.typed(data, dict, "storage"))
        where = "storage.parameters"
        given = self.typed(fields.get("parameters") or {}, dict, where)
        parameters = dict(self.with_secrets(given, where))
        for name in _PATH_PARAMETERS:
            if isinstance(parameters.get(name), str) and parameters[name]:
                parameters[name] = self.absolute(parameters[name])
        return self.built(StorageConfig, {**fields, "parameters": parameters}, "storage")

    def dataset(self, data: object, where: str) -> Dataset:
        """Return a dataset of cases that are written out, or of a data file."""
        fields = self.typed(data, dict, where)
        if ("cases" in fields) == ("path" in fields):
            self.refuse(f"{where} needs either 'cases' or the 'path' of a data file", where)
        if "path" in fields:
            dataset = self._from_file(fields, where)
        else:
            for key in _FILE_KEYS:
                if key in fields:
                    self.refuse(f"{where}.{key} says how to read a data file; it has cases", where)
            facts = {key: fields[key] for key in _DATASET_KEYS[:3] if fields.get(key) is not None}
            cases = [
                self.built(Case, case, f"{where}.cases[{index}]")
                for index, case in enumerate(
                    self.typed(fields["cases"] or [], list, f"{where}.cases")
                )
            ]
            dataset = self.built(Dataset, {**facts, "cases": cases}, where)
        return self._part_of(dataset, fields, where)

    def _from_file(self, fields: Mapping[str, Any], where: str) -> Dataset:
        path = self.absolute(self.typed(fields["path"], str, f"{where}.path"))
        form = form_of(path)
        if form is None:
            known = ", ".join(KNOWN_SUFFIXES)
            self.refuse(f"{where}.path '{fields['path']}' must end in one of {known}", where)
        for key in _CSV_KEYS:
            if key in fields and form != "csv":
                self.refuse(f"{where}.{key} is for .csv and .tsv files", f"{where}.{key}")
        for key in ("dataset_id", "revision", *_FILE_KEYS):
            if key not in _KEY_LISTS or not isinstance(fields.get(key), list):
                kind = list if key == "metadata_keys" else str
                self.typed(fields.get(key) or kind(), kind, f"{where}.{key}")
        options = {key: fields[key] for key in _FILE_KEYS if key in fields}
        with self.refusing_at(where):
            dataset = _FORMS[form](
                path,
                dataset_id=fields.get("dataset_id"),
                revision=fields.get("revision"),
                **options,
            )
        metadata = fields.get("metadata") or {}
        self.built(Dataset, {"dataset_id": dataset.dataset_id, "metadata": metadata}, where)
        return dataset.model_copy(update={"metadata": metadata})

    def _part_of(self, dataset: Dataset, fields: Mapping[str, Any], where: str) -> Dataset:
        take, sample = fields.get("take"), fields.get("sample")
        if take is not None and sample is not None:
            self.refuse(f"{where} has both 'take' and 'sample'; choose one", where)
        with self.refusing_at(where):
            if take is not None:
                return dataset.take(self.typed(take, int, f"{where}.take"))
            if sample is not None:
                self.typed(sample, dict, f"{where}.sample")
                for key in _SAMPLE_KEYS:
                    self.typed(sample.get(key), int, f"{where}.sample.{key}")
                return dataset.sample(sample["n"], seed=sample["seed"])
        return dataset

    def _check_keys(self, value: object, place: tuple[str, ...]) -> None:
        if isinstance(value, str) and looks_like_secret(value) and not _is_content(place):
            self.refuse_written_out(".".join(place))
        if isinstance(value, list):
            for index, item in enumerate(value):
                self._check_keys(item, (*place, str(index)))
        if not isinstance(value, dict):
            return
        known = known_keys(place)
        for key, item in value.items():
            if looks_like_secret(str(key)) and not _is_content(place):
                self.refuse_written_out(f"a key of {'.'.join(place) or 'the file'}")
            shown = ".".join((*place, str(key)))
            if not isinstance(key, str):
                self.refuse(f"the key {shown} is not text; put it in quotes", shown)
            if known is not None and key not in known:
                self.refuse(f"there is no key '{shown}'{did_you_mean(key, known)}", shown)
            self._check_keys(item, (*place, key))
