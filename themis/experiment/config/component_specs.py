"""Components in a config file: their ids and parameters, checked and made ready for use.

What is refused is refused in one line that names the file and the place in it. An API key is never
taken from the file, which names its environment variable instead. An adapter is given that name and
reads the key itself when it makes a client; a store is given the key, in a form that never shows
it. What a component's parameters are, objects or secrets or files, the component declares itself
(``core.config_roles``).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from themis.catalog import registry
from themis.core.base import Model
from themis.core.config import ComponentUse
from themis.core.config_roles import ConfigRole
from themis.core.errors import (
    ConfigError,
    DefinitionError,
    MissingExtraError,
    ProviderError,
    did_you_mean,
)
from themis.core.redaction import HIDDEN, find_secret, is_secret_name, looks_like_secret

_USE_KEYS = ("use", "params", "name", "parser")
_NAMES = {
    bool: "true or false",
    dict: "a mapping",
    float: "a number",
    int: "an integer",
    list: "a list",
    str: "text",
    type(None): "missing",
}

M = TypeVar("M", bound=Model)


class _Secret(str):
    """A key on its way to a store, whose repr is hidden."""

    __slots__ = ()

    def __repr__(self) -> str:
        return HIDDEN


@dataclass(frozen=True)
class ConfigReader:
    """Reads parts of one file.

    Attributes:
        path: the file, for messages and relative paths; None for data from elsewhere.
    """

    path: Path | None

    def component(self, spec: object, kind: registry.Kind, where: str) -> Any:
        """Return an id as it is, and everything else as a ``ComponentUse``."""
        if isinstance(spec, str):
            self._make_importable(spec, where)
            self._check(spec, {}, kind, where)
            return spec
        if not isinstance(spec, dict) or not isinstance(spec.get("use"), str):
            self.refuse(
                f"{where} must be an id, 'pkg.module:factory', or {{use: id, params: {{...}}}}",
                where,
            )
        used: str = spec["use"]
        self._make_importable(used, where)
        factory = self._loaded(used, kind, where)
        roles = registry.config_roles(factory)
        params = dict(self.typed(spec.get("params") or {}, dict, f"{where}.params"))
        for key, value in spec.items():
            if key in _USE_KEYS:
                continue
            if not roles:
                hint = did_you_mean(str(key), _USE_KEYS)
                self.refuse(
                    f"{where} has no key '{key}'{hint} ({used}'s own go under params)", where
                )
            if key in params:
                self.refuse(f"{where} has '{key}' twice, beside params and in them", where)
            params[key] = value
        if roles:
            self._check(used, params, kind, where)
            params = self._by_their_roles(params, roles, kind, where)
        else:
            if (found := find_secret(params, f"{where}.params")) is not None:
                self.refuse(
                    f"{found} looks like a secret; params are stored with the run, so let the "
                    "component read it from the environment",
                    f"{where}.params",
                )
            params = self._with_files(factory, params)
            self._check(used, params, kind, where)
        parser = spec.get("parser")
        if parser is not None:
            if kind != "metric":
                self.refuse(f"{where}.parser: only a metric has a parser of its own", where)
            parser = self.component(parser, "parser", f"{where}.parser")
        fields = {"use": used, "params": params, "name": spec.get("name"), "parser": parser}
        return self.built(ComponentUse, fields, where)

    def absolute(self, path: str) -> str:
        """Return a path taken from the file's folder."""
        if self.path is None or path.startswith("~"):
            return path
        return os.path.normpath(self.path.resolve().parent / path)

    def built(self, model: type[M], data: object, where: str) -> M:
        """Build a model; its messages then name the place in the file."""
        fields = self.typed(data, dict, where)
        try:
            return model.read(fields, where)
        except DefinitionError as error:
            said, own = str(error), f"{model.__name__}."
            said = (
                f"{where}.{said.removeprefix(own)}" if said.startswith(own) else f"{where}: {said}"
            )
            self.refuse(said, error.field or where)

    def typed(self, value: Any, kind: type, where: str) -> Any:
        """Return the value, which must be of that type exactly."""
        if type(value) is not kind:
            found = _NAMES.get(type(value), f"a {type(value).__name__}")
            self.refuse(f"{where} is {found}; it must be {_NAMES[kind]}", where)
        return value

    def refuse(self, message: str, where: str) -> NoReturn:
        """Raise a ConfigError: the message, after the file's name."""
        said = message if self.path is None else f"{self.path}: {message}"
        raise ConfigError(said, field=where) from None

    @contextmanager
    def refusing_at(self, where: str) -> Iterator[None]:
        """Have what is refused within name the file and the place in it."""
        try:
            yield
        except (ConfigError, MissingExtraError):
            raise  # the one names its place; the other says what to install, wherever asked for
        except DefinitionError as error:
            self.refuse(f"{where}: {error}", where)

    def _loaded(self, used: str, kind: registry.Kind, where: str) -> Any:
        """Return the class or function that makes a component; refuse an id that is not known."""
        with self.refusing_at(where):
            return registry.load(used, kind)

    def _check(self, used: str, params: dict[str, Any], kind: registry.Kind, where: str) -> None:
        with self.refusing_at(where):
            registry.check_use(used, params, kind)

    def _with_files(self, factory: Any, params: dict[str, Any]) -> dict[str, Any]:
        """Return params with the files among them taken from the config's folder."""
        places = registry.path_params(factory)
        return {
            key: self.absolute(value) if key in places and isinstance(value, str) else value
            for key, value in params.items()
        }

    def _by_their_roles(
        self,
        params: dict[str, Any],
        roles: Mapping[str, ConfigRole],
        kind: registry.Kind,
        where: str,
    ) -> dict[str, Any]:
        """Return params as the component declares that they are given in a config."""
        readers = ", ".join(sorted(name for name, one in roles.items() if one.reads_references))
        unread = f"'env:NAME' is read in {readers or 'none of its parameters'} only"
        made: dict[str, Any] = {}
        for key, value in params.items():
            place, role = f"{where}.{key}", roles.get(key, ConfigRole())
            if role.is_object and isinstance(value, str):
                made[key] = self._named_object(value, kind, place)
                continue
            if role.knows_its_secrets:
                self._check_whole_references(value, place)
            elif role.reads_references and isinstance(value, str) and not _is_reference(value):
                self.refuse_written_out(
                    place
                )  # a text that is declared a secret, whatever its form
            else:
                self._check_references(value, place, unread="" if role.reads_references else unread)
            if isinstance(value, dict):
                value = {
                    name: self.absolute(one) if name in role.files and isinstance(one, str) else one
                    for name, one in value.items()
                }
            made[key] = value
        return made

    def _named_object(self, path: str, kind: registry.Kind, where: str) -> Any:
        if ":" not in path:
            self.refuse(f"{where} = '{path}' is no import path: write 'pkg.module:name'", where)
        self._make_importable(path, where)
        return self._loaded(path, kind, where)

    def _check_whole_references(self, value: Any, where: str) -> None:
        """Check that each reference's variable is set; the component itself refuses secrets."""
        from themis.adapters.transport.references import is_whole_reference

        for place, text in _texts(value, where):
            if is_whole_reference(text):
                self._resolved(text, place)

    def _check_references(self, value: Any, where: str, *, unread: str = "") -> None:
        """Check that each secret is a reference, and that each reference's variable is set.

        Args:
            value: any JSON data.
            where: its place in the file.
            unread: where references are not read, the message for one that stands there.
        """
        is_text = isinstance(value, str)
        if is_text and not unread and _is_reference(value):
            self._resolved(value, where)
        elif is_text and value.startswith("env:") and _is_reference(value):
            self.refuse(f"{where} = '{value}' would be sent as it is: {unread}", where)
        elif _is_written_out(where.rpartition(".")[2], value):
            self.refuse_written_out(where)
        elif isinstance(value, dict):
            for key, item in value.items():
                self._check_references(item, f"{where}.{key}", unread=unread)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self._check_references(item, f"{where}[{index}]", unread=unread)

    def with_secrets(self, value: Any, where: str) -> Any:
        """Return data that is not stored, with what each ``env:NAME`` in it stands for.

        Raises:
            ConfigError: a secret is written out, or an environment variable is not set.
        """
        self._check_references(value, where)
        if isinstance(value, dict):
            return {key: self.with_secrets(item, f"{where}.{key}") for key, item in value.items()}
        if isinstance(value, list):
            return [self.with_secrets(one, f"{where}[{at}]") for at, one in enumerate(value)]
        if isinstance(value, str) and _is_reference(value):
            return _Secret(self._resolved(value, where))
        return value

    def refuse_written_out(self, where: str) -> NoReturn:
        """Refuse a key that stands in the file itself."""
        self.refuse(
            f"{where} is written out in the config, and is or looks like a secret; put it into an "
            "environment variable and, where a key is taken, write 'env:NAME'",
            where,
        )

    def _resolved(self, reference: str, where: str) -> str:
        from themis.adapters.transport.references import resolve_reference

        try:
            return resolve_reference(reference, where)
        except ProviderError as error:
            self.refuse(str(error), where)

    def _make_importable(self, spec: str, where: str) -> None:
        """Let the file's folder be imported from, where a component is given by import path."""
        if ":" not in spec or self.path is None:
            return
        folder = self.path.resolve().parent
        top = spec.partition(":")[0].partition(".")[0]
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        loaded = getattr(sys.modules.get(top), "__file__", None)
        stands_here = (folder / f"{top}.py").is_file() or (folder / top / "__init__.py").is_file()
        if loaded and stands_here and folder not in Path(loaded).resolve().parents:
            self.refuse(
                f"{where} = '{spec}': another module '{top}' is loaded already, from {loaded}; "
                "give one of the two another name",
                where,
            )


def _is_written_out(name: str, value: Any) -> bool:
    """Return whether a value is a secret: by its name, if it can be one, or by its shape."""
    if isinstance(value, str) and looks_like_secret(value):
        return True
    return is_secret_name(name) and value is not None and not isinstance(value, (bool, float))


def _texts(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Yield the texts of JSON data with their places."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, f"{where}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{where}[{index}]")


def _is_reference(text: str) -> bool:
    if "env:" not in text:
        return False
    from themis.adapters.transport.references import is_reference

    return is_reference(text)
