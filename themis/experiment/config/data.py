"""From a config file's text to plain data, and single values set from a command line.

YAML is read by the rules of YAML 1.2: ``yes`` and ``12:30`` are text, ``1e-6`` is a number, and a
date is text; a key that stands twice is refused. Nothing here knows what an experiment is: which
keys there are, and what they mean, is known to ``experiment.config.file``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import yaml

from themis.core.errors import ConfigError, DefinitionError, did_you_mean

_NOTHING: Any = object()
"""No value to set, where null is a value like any other."""
KnownKeys = Callable[[Sequence[str]], Collection[str] | None]
"""Returns the keys that may stand at a place; None where any may."""
MOST_BYTES = 16 * 1024 * 1024
"""Size of a config file; data of that size belongs into a data file."""
_MOST_VALUES = 1_000_000
"""Values a config stands for, each counted wherever YAML's aliases repeat it."""
_MOST_LEVELS = 100
_YAML_SUFFIXES = (".yaml", ".yml")
_TOML_SUFFIXES = (".toml",)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema, without tags that make objects."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - the base's own attribute


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key, _ in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            continue
        name = loader.construct_object(key)
        try:
            twice = name in seen
            seen.add(name)
        except TypeError:
            raise yaml.constructor.ConstructorError(
                None, None, "a key that is not text", key.start_mark
            ) from None
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key '{name}' stands twice", key.start_mark
            )
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


for _tag, _pattern, _starts in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _starts
    )
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read_data(path: Path) -> dict[str, Any]:
    """Return what a YAML or TOML file holds.

    Raises:
        ConfigError: the file is missing, broken (with the line), empty or not a mapping.
    """
    text = _text(path)
    suffix = path.suffix.lower()
    if suffix not in _YAML_SUFFIXES + _TOML_SUFFIXES:
        raise ConfigError(
            f"config file '{path}' ends in '{suffix}': .yaml, .yml and .toml are understood",
            field="path",
        )
    try:
        data = _read_toml(text) if suffix in _TOML_SUFFIXES else read_yaml(text)
    except ConfigError as error:
        raise ConfigError(f"{path}{error}", field="path") from None
    if data is None or data == {}:
        raise ConfigError(f"{path} is empty: it needs generation, storage and datasets")
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds a {type(data).__name__}, but a config is a mapping")
    return data


def read_yaml(text: str) -> Any:
    """Return the value that a YAML text stands for.

    Raises:
        ConfigError: it is broken; the message begins with the line.
    """
    try:
        return _bounded(yaml.load(text, Loader=_Loader))  # noqa: S506 - derived from SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = "" if mark is None else f" line {mark.line + 1}"
        raise ConfigError(f"{line}: not YAML: {error.problem or error.context}") from None
    except RecursionError:
        raise _too_deep() from None
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f": not YAML: {str(error).splitlines()[0]}") from None


def _read_toml(text: str) -> dict[str, Any]:
    try:
        data: dict[str, Any] = _bounded(tomllib.loads(text))
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f": not TOML: {error}") from None
    return data


def _bounded(data: Any) -> Any:
    """Return plain data that is not larger or deeper than a config may be.

    Raises:
        ConfigError: it is; a few lines of YAML with aliases can stand for more than memory holds.
    """
    left, waiting = _MOST_VALUES, [(data, 0)]
    while waiting:
        value, level = waiting.pop()
        if level > _MOST_LEVELS:
            raise _too_deep()
        if isinstance(value, (dict, list)):
            left -= len(value)
            if left < 0:
                raise ConfigError(
                    f": it stands for more than {_MOST_VALUES:,} values; put cases into a data file"
                )
            items = value.values() if isinstance(value, dict) else value
            waiting += [(item, level + 1) for item in items]
    return data


def _too_deep() -> ConfigError:
    return ConfigError(f": it is nested more than {_MOST_LEVELS} levels deep")


def set_value(data: dict[str, Any], override: str, known: KnownKeys) -> None:
    """Set one value in plain data.

    Args:
        data: changed in place; mappings on the way that are not there are made.
        override: path and value, such as "section.key=value" or "datasets.0.take=5"; the value is
            read as YAML.
        known: which keys there may be where.

    Raises:
        DefinitionError: it has no such form, or names a place that is not there.
    """
    path, equals, text = override.partition("=")
    places = path.strip().split(".")
    if not equals or not all(places):
        shown = override if not equals else f"{path}=..."
        raise DefinitionError(
            f"override '{shown}': write it as 'section.key=value'", field="overrides"
        )
    try:
        value = read_yaml(text)
    except ConfigError:
        raise DefinitionError(
            f"override '{path}=...': the value is not YAML; quote it", field="overrides"
        ) from None
    target: Any = data
    for depth, place in enumerate(places):
        is_last = depth == len(places) - 1
        if isinstance(target, list):
            target = _set_item(target, place, value if is_last else _NOTHING, path, places[:depth])
        elif isinstance(target, dict):
            keys = known(places[:depth])
            if keys is not None and place not in keys:
                raise DefinitionError(
                    f"override '{path}=...': there is no '{'.'.join(places[: depth + 1])}'"
                    f"{did_you_mean(place, keys)}",
                    field="overrides",
                )
            if is_last:
                target[place] = value
            else:
                if target.get(place) is None:
                    target[place] = {}
                target = target[place]
        else:
            whole = ".".join(places[:depth])
            raise DefinitionError(
                f"override '{path}=...': {whole} is a {type(target).__name__} and holds nothing "
                f"named '{place}'; set {whole} as a whole, such as {whole}={{{place}: ...}}",
                field="overrides",
            )


def _set_item(items: list[Any], place: str, value: Any, path: str, before: list[str]) -> Any:
    """Set an item of a list, or with nothing to set return it, to be gone on with."""
    if not place.isdecimal() or int(place) >= len(items):
        raise DefinitionError(
            f"override '{path}=...': {'.'.join(before)} is a list of {len(items)}, "
            f"which has no item '{place}'; they count from 0",
            field="overrides",
        )
    if value is not _NOTHING:
        items[int(place)] = value
    return items[int(place)]


def _text(path: Path) -> str:
    try:
        if path.is_file() and (size := path.stat().st_size) > MOST_BYTES:
            raise ConfigError(
                f"config file '{path}' has {size:,} bytes, and may have {MOST_BYTES:,}; "
                "put cases into a data file",
                field="path",
            )
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"config file '{path}' is not there", field="path") from None
    except IsADirectoryError:
        raise ConfigError(f"config file '{path}' is a folder", field="path") from None
    except OSError as error:
        raise ConfigError(f"config file '{path}': {error.strerror}", field="path") from None
    except UnicodeDecodeError:
        raise ConfigError(f"config file '{path}' is not UTF-8 text", field="path") from None
