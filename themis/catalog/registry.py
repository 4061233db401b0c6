"""From an id to a component: the checks between a name and an object.

What is not in the table of names (``table``) may be another package's (``plugins``), under a name
that the table does not have. The registry makes components and checks that they can be what they
are used as; it never calls them, and it gives no meaning to what they declare.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, TypeAlias, cast, get_args, get_type_hints

from themis.catalog import plugins, table
from themis.catalog.component import missing_param, unknown_param
from themis.catalog.table import ADAPTERS, CATALOG
from themis.core.base import JSONObject
from themis.core.config import ComponentUse
from themis.core.config_roles import ConfigRole
from themis.core.errors import (
    DefinitionError,
    MissingExtraError,
    UnknownComponentError,
    did_you_mean,
    nearest,
)
from themis.core.hashing import check_json

Kind: TypeAlias = table.Kind
KINDS: tuple[Kind, ...] = get_args(Kind)

_METHODS: Mapping[Kind, tuple[str, ...]] = {
    "generator": ("generate",),
    "selector": ("select",),
    "reducer": ("reduce",),
    "parser": ("parse",),
    "metric": ("score", "build_workflow", "score_set"),
    "judge": ("judge",),
}

_ADVICE = {
    "component_id": 'add component_id = "..." naming it',
    "version": 'add version = "1.0", to be raised when its behaviour changes',
    "fingerprint()": "add a method that returns a text naming its behaviour",
    "generate()": "add async def generate(self, case, ctx) -> GenerationResult",
    "select()": "add async def select(self, candidates, ctx) returning those to keep",
    "reduce()": "add async def reduce(self, candidates, ctx) -> ReducedCandidate",
    "parse()": "add def parse(self, candidate, ctx) -> ParsedOutput",
    "score() or build_workflow() or score_set()": (
        "add def score(self, parsed, case, ctx) -> Score, "
        "def build_workflow(self, subject, ctx) for a judged metric, "
        "or def score_set(self, scores, case, ctx) -> Score for one that folds samples' scores"
    ),
    "judge()": "add async def judge(self, prompt, *, seed=None) -> JudgeResponse",
}


def ids(kind: Kind | None = None) -> list[str]:
    """Return the catalog's ids, sorted; those of one kind, if given."""
    kinds = KINDS if kind is None else (kind,)
    return sorted(component_id for one in kinds for component_id in CATALOG[one])


def adapter_names(kind: Kind) -> list[str]:
    """Return the short names of the adapters of a kind, which are used with params."""
    return sorted(ADAPTERS.get(kind, ()))


def kind_of(component_id: str) -> Kind | None:
    """Return the kind of a known id or adapter name, or None."""
    for names in (CATALOG, ADAPTERS):
        for kind, known in names.items():
            if component_id in known:
                return kind
    return None


def is_adapter(name: str) -> bool:
    """Return whether a name is an adapter's short one."""
    return any(name in known for known in ADAPTERS.values())


def kinds_of(thing: object) -> list[Kind]:
    """Return what a component, its class, or what a function says it returns may be used as.

    Empty where that cannot be told without making one.
    """
    if inspect.isfunction(thing):
        thing = _returned_by(thing)
    return [
        kind
        for kind, methods in _METHODS.items()
        if any(callable(getattr(thing, name, None)) for name in methods)
    ]


def plugin_distributions(specs: Iterable[object]) -> dict[str, str]:
    """Return name and version of each package whose plug-ins are named, for provenance.

    Args:
        specs: what stands in an experiment's component fields; Themis's own ids, import paths and
            objects name no plug-in.
    """
    found: dict[str, str] = {}
    for spec in specs:
        if isinstance(spec, ComponentUse):
            found |= plugin_distributions([spec.use, spec.parser])
        elif isinstance(spec, str) and ":" not in spec and kind_of(spec) is None:
            plugin = plugins.find(spec)
            if plugin is not None:
                found[plugin.distribution] = plugin.version
    return found


def load(component_id: str, kind: Kind) -> Callable[..., Any]:
    """Return what makes the component of an id, an adapter name or an import path.

    Args:
        component_id: "builtin/exact_match", "openai", a plug-in's "acme/echo", or
            "pkg.module:factory".
        kind: what it must be.

    Raises:
        UnknownComponentError: nothing is there; the message names the nearest id, or what is
            missing of the path, or the package whose plug-in cannot be imported.
        DefinitionError: the id is known and is something else, or two packages declare it.
    """
    known = kind_of(component_id)
    if known == kind:
        return _resolve(CATALOG[kind].get(component_id) or ADAPTERS[kind][component_id])
    if known is not None:
        raise DefinitionError(
            f"{component_id} is a {known}, not a {kind}{_of_kind(kind)}", value=component_id
        )
    if ":" in component_id:
        return _resolve(component_id)
    if (plugin := plugins.find(component_id)) is not None:
        return _plugged(plugin, kind)
    options = [*CATALOG[kind], *ADAPTERS.get(kind, ()), *plugins.usable_ids()]
    raise UnknownComponentError(
        f"no {kind} '{component_id}'{did_you_mean(component_id, options)}"
        + (
            f" (for an import path, write '{_as_path(component_id)}')"
            if "." in component_id and "/" not in component_id
            else ""
        ),
        component=component_id,
        nearest=nearest(component_id, options),
    )


def make(spec: object, kind: Kind) -> tuple[Any, JSONObject]:
    """Return the component that a spec stands for, and the params it was made with.

    Args:
        spec: an id, an import path, ``use(...)``, or the component itself.
        kind: what it must be.

    Returns:
        The component and its params that are recorded with a run: none for objects and adapters,
        whose fingerprints say it all, and of others all but those with a role in a config file.

    Raises:
        UnknownComponentError: an id or path leads nowhere.
        DefinitionError: a param is unknown, missing or no JSON value, or the component lacks what
            its kind must have; the message says what to write.
    """
    if isinstance(spec, str):
        return _make(spec, {}, kind)
    if isinstance(spec, ComponentUse):
        return _make(spec.use, spec.params, kind)
    check_component(spec, kind)
    return spec, {}


def config_roles(factory: Callable[..., Any]) -> Mapping[str, ConfigRole]:
    """Return what a component's parameters are to a config file, as far as it declares that.

    Args:
        factory: what makes the component: a function or a class. What is no such thing, or has
            annotations that cannot be read, declares nothing.
    """
    try:
        parameters = inspect.signature(factory, eval_str=True).parameters
    except Exception:  # noqa: BLE001 - an annotation of somebody else's may name what is not there
        return {}
    found = {name: _role(one.annotation) for name, one in parameters.items()}
    return {name: role for name, role in found.items() if role is not None}


def _role(annotation: object) -> ConfigRole | None:
    """Return the role that an annotation declares: its own, or that of one of a union's types."""
    for part in (annotation, *get_args(annotation)):
        for declared in getattr(part, "__metadata__", ()):
            if isinstance(declared, ConfigRole):
                return declared
    return None


def path_params(factory: object) -> Sequence[str]:
    """Return the params of a component that say where a file is: they are no part of identity."""
    declared: Sequence[str] = getattr(factory, "path_params", ())
    return declared


def check_component(component: object, kind: Kind) -> None:
    """Check that an object has what a component of its kind must have.

    Raises:
        DefinitionError: one message with everything that is missing and what to write.
    """
    if inspect.isclass(component):
        raise DefinitionError(
            f"{component.__name__} is a class; give an instance of it as the {kind}: "
            f"{component.__name__}(...)",
            field=kind,
        )
    missing = [name for name in ("component_id", "version") if not hasattr(component, name)]
    if not callable(getattr(component, "fingerprint", None)):
        missing.append("fingerprint()")
    methods = _METHODS[kind]
    if not any(callable(getattr(component, name, None)) for name in methods):
        missing.append(" or ".join(f"{name}()" for name in methods))
    if not missing:
        return
    if kind == "generator" and inspect.isroutine(component):
        raise DefinitionError(
            f"{getattr(component, '__name__', component)} is a function; wrap it: "
            "themis.adapters.function(...)",
            field=kind,
        )
    name = type(component).__name__
    listed = "; ".join(
        f"{name if index == 0 else 'it'} has no {what}: {_ADVICE[what]}"
        for index, what in enumerate(missing)
    )
    raise DefinitionError(listed + _looks_like(component, kind), field=kind)


def check_use(component_id: str, params: Mapping[str, Any], kind: Kind) -> None:
    """Check what a component is named and given, as far as that goes without making the user's.

    A component of the catalog is made, and refuses what it does not take; of all others the
    parameters' names are checked.

    Raises:
        UnknownComponentError, DefinitionError: as ``make`` does.
    """
    if component_id in CATALOG[kind]:
        _make(component_id, dict(params), kind)
        return
    factory: Any = load(component_id, kind)
    if callable(factory) and (inspect.isclass(factory) or not hasattr(factory, "component_id")):
        _check_params(component_id, factory, params)


def _make(component_id: str, params: dict[str, Any], kind: Kind) -> tuple[Any, JSONObject]:
    factory: Any = load(component_id, kind)
    if hasattr(factory, "component_id") and not inspect.isclass(factory):
        if params:  # a path may name a component that stands in the module, made already
            raise DefinitionError(
                f"{component_id} is a {type(factory).__name__} object and takes no params; "
                "name the class or function that makes it",
                field="params",
            )
        check_component(factory, kind)
        return factory, {}
    if not callable(factory):
        raise DefinitionError(
            f"{component_id} is a {type(factory).__name__}, which makes no {kind}", field=kind
        )
    _check_params(component_id, factory, params)
    if is_adapter(component_id):
        recorded = {}
    else:
        apart = config_roles(factory)
        recorded = {name: value for name, value in params.items() if name not in apart}
    for name, value in recorded.items():
        check_json(value, f"{component_id}: param '{name}'")
    component = factory(**params)
    check_component(component, kind)
    # Where a file is says nothing of what is in it, which the fingerprint does.
    places = path_params(factory)
    return component, {name: one for name, one in recorded.items() if name not in places}


def _check_params(
    component_id: str, factory: Callable[..., Any], params: Mapping[str, Any]
) -> None:
    signature = inspect.signature(factory)
    named = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    open_ended = any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values()
    )
    for name in params:
        if name not in named and not open_ended:
            raise unknown_param(component_id, name, named)
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in params:
            raise missing_param(component_id, name)


def _plugged(plugin: plugins.Plugin, kind: Kind) -> Callable[..., Any]:
    """Return what is behind a plug-in's id, refused where it is told to be of another kind."""
    thing = plugin.load()
    kinds = kinds_of(thing)
    is_store = inspect.isclass(thing) and not kinds and hasattr(thing, "append")
    if (kinds and kind not in kinds) or is_store:
        is_a = "store" if is_store else " and ".join(kinds)
        raise DefinitionError(
            f"{plugin.plugin_id} of the package {plugin.package} is a {is_a}, not a {kind}",
            field=kind,
            value=plugin.plugin_id,
        )
    return cast("Callable[..., Any]", thing)


def _returned_by(function: Callable[..., Any]) -> object:
    try:
        return get_type_hints(function).get("return")
    except Exception:  # noqa: BLE001 - a hint of somebody else's may name what is not there
        return None


def _resolve(path: str) -> Callable[..., Any]:
    """Import what "pkg.module:attribute" names."""
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise UnknownComponentError(
            f"'{path}' is no import path: write 'pkg.module:factory'", component=path
        )
    module = _module(module_name, path)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = [name for name in vars(module) if not name.startswith("_")]
            raise UnknownComponentError(
                f"'{path}': module '{module_name}' has no '{attribute}'"
                + (f"; did you mean '{guess}'?" if (guess := nearest(part, names)) else ""),
                component=path,
                nearest=nearest(part, names),
            )
        found = getattr(found, part)
    return cast("Callable[..., Any]", found)


def _module(name: str, path: str) -> Any:
    try:
        return import_module(name)
    except MissingExtraError:
        raise
    except ModuleNotFoundError as error:
        lacking = error.name or name
        if name == lacking or name.startswith(f"{lacking}."):
            said = f"'{path}': there is no module '{lacking}'"
        else:
            said = f"'{path}': module '{name}' needs '{lacking}', which is not installed"
        raise UnknownComponentError(said, component=path) from error
    except Exception as error:  # a user's module may fail in any way while it loads
        raise UnknownComponentError(
            f"'{path}': importing '{name}' failed with {type(error).__name__}: {error}",
            component=path,
        ) from error


def _of_kind(kind: Kind) -> str:
    return f"; {kind}s: {', '.join(ids(kind))}"


def _as_path(dotted: str) -> str:
    module, _, attribute = dotted.rpartition(".")
    return f"{module}:{attribute}"


def _looks_like(component: object, kind: Kind) -> str:
    for other, methods in _METHODS.items():
        if other != kind and any(callable(getattr(component, name, None)) for name in methods):
            return f" (it looks like a {other}, and stands where a {kind} is wanted)"
    return ""
