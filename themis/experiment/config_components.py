"""A place in a config file: what is there is checked, and a component there is made ready.

What is refused is refused in one line that names the file and the place. A key is never taken from
the file: it is named there by its environment variable. An adapter is given that name, and reads
the key itself when it makes a client; a store, which is given the key, shows it to nobody.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from themis.catalog import registry
from themis.core.base import Model
from themis.core.config import ComponentUse
from themis.core.errors import (
    ConfigError,
    DefinitionError,
    MissingExtraError,
    ProviderError,
    did_you_mean,
)
from themis.core.redaction import HIDDEN, find_secret, is_secret_name, looks_like_secret

_USE_KEYS = ("use", "params", "name", "parser")
_OBJECT_PARAMS = ("callable", "client", "graph", "input_builder")
"""Arguments of adapters that are objects, and so are given by import path."""
_REFERENCED = ("api_key", "body", "client_options", "headers", "url")
"""Arguments of adapters in which ``env:NAME`` is read; anywhere else it would be sent as it is."""
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
    """A key on its way to a store; shows itself to nobody."""

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
        is_adapter = registry.is_adapter(used)
        params = dict(self.typed(spec.get("params") or {}, dict, f"{where}.params"))
        for key, value in spec.items():
            if key in _USE_KEYS:
                continue
            if not is_adapter:
                self._check_id(used, kind, where)
                hint = did_you_mean(str(key), _USE_KEYS)
                self.refuse(
                    f"{where} has no key '{key}'{hint} ({used}'s own go under params)", where
                )
            if key in params:
                self.refuse(f"{where} has '{key}' twice, beside params and in them", where)
            params[key] = value
        if is_adapter:
            params = self._adapter_params(used, kind, params, where)
        else:
            self._refuse_secret(
                params,
                f"{where}.params",
                "params are stored with the run, so let the component read it from the environment",
            )
            params = self._with_files(used, kind, params, where)
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
        """Raise the one line that names the file and says what is wrong."""
        said = message if self.path is None else f"{self.path}: {message}"
        raise ConfigError(said, field=where) from None

    def _check_id(self, used: str, kind: registry.Kind, where: str) -> None:
        """Refuse an id that leads nowhere: what stands beside it can mean nothing then."""
        if ":" not in used:
            try:
                registry.load(used, kind)
            except DefinitionError as error:
                self.refuse(f"{where}: {error}", where)

    def _check(self, used: str, params: dict[str, Any], kind: registry.Kind, where: str) -> None:
        try:
            registry.check_use(used, params, kind)
        except MissingExtraError:
            raise  # it says what to install, wherever it is asked for
        except DefinitionError as error:
            self.refuse(f"{where}: {error}", where)

    def _with_files(
        self, used: str, kind: registry.Kind, params: dict[str, Any], where: str
    ) -> dict[str, Any]:
        """Return params with the files among them taken from the config's folder."""
        if ":" in used:
            return params
        self._check_id(used, kind, where)
        places = registry.path_params(registry.load(used, kind))
        return {
            key: self.absolute(value) if key in places and isinstance(value, str) else value
            for key, value in params.items()
        }

    def _adapter_params(
        self, used: str, kind: registry.Kind, params: dict[str, Any], where: str
    ) -> dict[str, Any]:
        try:
            known = inspect.signature(registry.load(used, kind)).parameters
        except DefinitionError as error:  # it is of another kind
            self.refuse(f"{where}: {error}", where)
        made: dict[str, Any] = {}
        for key, value in params.items():
            if key not in known:
                self.refuse(f"{where}: {used} has no key '{key}'{did_you_mean(key, known)}", where)
            place = f"{where}.{key}"
            if key in _OBJECT_PARAMS and isinstance(value, str):
                made[key] = self._named_object(value, kind, place)
            else:
                if key == "body":
                    self._check_body(value, place)
                elif key != "url":
                    self._check_references(value, place, read=key in _REFERENCED)
                made[key] = self._with_ca_file(value) if key == "client_options" else value
        return made

    def _with_ca_file(self, options: Any) -> Any:
        """Return client options with the file of certificates taken from the config's folder."""
        if not isinstance(options, dict) or not isinstance(options.get("verify"), str):
            return options
        return {**options, "verify": self.absolute(options["verify"])}

    def _named_object(self, path: str, kind: registry.Kind, where: str) -> Any:
        if ":" not in path:
            self.refuse(f"{where} = '{path}' is no import path: write 'pkg.module:name'", where)
        self._make_importable(path, where)
        try:
            return registry.load(path, kind)
        except DefinitionError as error:
            self.refuse(f"{where}: {error}", where)

    def _check_body(self, value: Any, where: str) -> None:
        """Check that the references of a body lead somewhere.

        Its names are the endpoint's own: what is secret there the adapter tells, as in a URL.
        """
        from themis.adapters.http_target import is_whole_reference

        for place, text in _texts(value, where):
            if is_whole_reference(text):
                self._resolved(text, place)

    def _check_references(self, value: Any, where: str, *, read: bool = True) -> None:
        """Check that each secret is a reference, and that each reference leads somewhere.

        Where references are not read, one is refused.
        """
        if read and isinstance(value, str) and _is_reference(value):
            self._resolved(value, where)
        elif isinstance(value, str) and value.startswith("env:") and _is_reference(value):
            self.refuse(
                f"{where} = '{value}' would be sent as it is: 'env:NAME' is read in "
                f"{', '.join(_REFERENCED)} only",
                where,
            )
        elif _is_written_out(where.rpartition(".")[2], value):
            self.refuse_written_out(where)
        elif isinstance(value, dict):
            for key, item in value.items():
                self._check_references(item, f"{where}.{key}", read=read)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self._check_references(item, f"{where}[{index}]", read=read)

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
            f"{where} is written out in the config, and looks like a secret; put it into an "
            "environment variable and, where a key is taken, write 'env:NAME'",
            where,
        )

    def _resolved(self, reference: str, where: str) -> str:
        from themis.adapters.connections import resolve_reference

        try:
            return resolve_reference(reference, where)
        except ProviderError as error:
            self.refuse(str(error), where)

    def _refuse_secret(self, value: object, where: str, way_out: str) -> None:
        found = find_secret(value, where)
        if found is not None:
            self.refuse(f"{found} looks like a secret; {way_out}", where)

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
    from themis.adapters.connections import is_reference

    return is_reference(text)
