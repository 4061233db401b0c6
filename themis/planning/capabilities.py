"""What a component declares beside its id, its version and its fingerprint.

The declarations are attributes and methods that a component may have and need not. They are read
here, once, where the component is bound; whoever plans or runs asks ``bound.capabilities``. An
attribute of the wrong type is refused before anything runs, in one line. It is refused only where
it means something: a metric may call its own embedding model ``model``.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from themis.core.errors import DefinitionError, InvalidResultError, did_you_mean
from themis.core.snapshot import ALL_READS, MetricFacts
from themis.planning.sendable import check_sendable

Role = Literal["generator", "selector", "reducer", "parser", "metric", "judge"]
Method = Callable[..., Any]


class _Shape(NamedTuple):
    """What the value of an attribute must be."""

    wanted: str
    """In words, for the message."""
    fits: Callable[[Any], bool]
    may_be_own: bool = False
    """Whether an object of some class is the component's own business, and declares nothing: a
    generator that runs a model itself may well keep it in ``model``."""


def _one_of(*allowed: str) -> _Shape:
    return _Shape(
        f"one of {', '.join(allowed)}", lambda value: isinstance(value, str) and value in allowed
    )


def _one_of_fact(field: str) -> _Shape:
    return _one_of(*get_args(MetricFacts.model_fields[field].annotation))


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable()


def _is_positive(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value > 0


def _is_range(value: Any) -> bool:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return False
    are_numbers = all(isinstance(end, (int, float)) and math.isfinite(end) for end in value)
    return are_numbers and value[0] < value[1]


_FLAG = _Shape("True or False", lambda value: isinstance(value, bool))
_TEXT = _Shape("a text, or None", lambda value: isinstance(value, str))
_LINE = _Shape("a non-empty text on one line", _is_line)
_COUNT = _Shape(
    "an integer of at least 1, or None", lambda value: type(value) is int and value >= 1
)
_SECONDS = _Shape("seconds above 0, or None", _is_positive)
_METHOD = _Shape("a method, or None", callable)
_MAPPING = _Shape("a mapping, or None", lambda value: isinstance(value, Mapping))
_MODEL = _TEXT._replace(may_be_own=True)
_SAMPLING = _MAPPING._replace(may_be_own=True)
_KIND = _one_of_fact("kind")
_RANGE = _Shape("two finite numbers, the least first", _is_range)

_ANY: tuple[str, ...] = get_args(Role)
_ASKING = ("generator", "judge")
_COMPUTING = ("parser", "metric")
_JUDGING = ("selector", "judged metric")
_UNJUDGED = ("pure metric", "set metric")


class _Declared:
    """What an attribute must be, and for which roles, or kinds of metric, it means something."""

    def __init__(self, shape: _Shape, *kinds: str) -> None:
        self.shape = shape
        self.kinds = frozenset(kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What one component declares: each field but the last two is an attribute of that name."""

    reuse_across_runs: Annotated[bool, _Declared(_FLAG, *_ANY)] = True
    """Whether its fingerprint covers its behaviour, so that other runs' results may be reused."""
    fingerprinted: Annotated[Mapping[str, Any] | None, _Declared(_MAPPING, *_ANY)] = None
    """The settings that its fingerprint covers, so that it can be told which of them changed."""
    users_function: Annotated[Method | None, _Declared(_METHOD, *_ANY)] = None
    """The function of the user's that a shipped component calls."""
    made_elsewhere: Annotated[str | None, _Declared(_TEXT, *_ANY)] = None
    """What to tell of results that the component did not ask for in this run."""
    aopen: Annotated[Method | None, _Declared(_METHOD, *_ANY)] = None
    """Called, and awaited, before the first call."""
    aclose: Annotated[Method | None, _Declared(_METHOD, *_ANY)] = None
    """Called, and awaited, as the run ends."""

    provider_key: Annotated[str | None, _Declared(_TEXT, *_ASKING)] = None
    """The endpoint whose limits apply."""
    model: Annotated[str | None, _Declared(_MODEL, *_ASKING)] = None
    """The name of the model that is asked, for prices."""
    base_url: Annotated[str | None, _Declared(_TEXT, *_ASKING)] = None
    """The address at which it is asked, for prices."""
    max_output_tokens: Annotated[int | None, _Declared(_COUNT, *_ASKING)] = None
    """The cap on output tokens that each request carries."""
    estimate_tokens: Annotated[Method | None, _Declared(_METHOD, *_ASKING)] = None
    """Says how many tokens a prompt is expected to have."""
    max_prompt_tokens: Annotated[Method | None, _Declared(_METHOD, *_ASKING)] = None
    """Says how many tokens a prompt has at most."""
    sampling: Annotated[Mapping[str, Any] | None, _Declared(_SAMPLING, "generator")] = None
    """The sampling parameters that are sent with every request."""
    request: Annotated[Method | None, _Declared(_METHOD, "generator")] = None
    """Says what would be sent for a case."""
    structured_output: Annotated[bool, _Declared(_FLAG, "judge")] = False
    """Whether it keeps to the schema that a prompt comes with."""

    cpu_bound: Annotated[bool, _Declared(_FLAG, *_COMPUTING)] = False
    """Whether it runs in worker processes."""
    cpu_bound_over: Annotated[int | None, _Declared(_COUNT, *_COMPUTING)] = None
    """The length of an answer beyond which it runs there all the same; None for never."""
    cpu_timeout: Annotated[float | None, _Declared(_SECONDS, *_COMPUTING)] = None
    """Seconds that one call in a worker process may take; None for the run's own setting."""
    reads_parsed: Annotated[bool, _Declared(_FLAG, "reducer", "set metric")] = False
    """Whether it is given the parsed values of the samples."""

    judges_needed: Annotated[Method | None, _Declared(_METHOD, *_JUDGING)] = None
    """Says, of the names of the run's judges, which it asks."""
    check_samples: Annotated[Method | None, _Declared(_METHOD, *_JUDGING)] = None
    """Refuses a number of samples that it cannot judge."""
    check_prompt: Annotated[Method | None, _Declared(_METHOD, "judged metric")] = None
    """Refuses prompt material that it cannot show to a judge."""

    k: Annotated[int | None, _Declared(_COUNT, "set metric")] = None
    """How many samples a case must have at least."""
    of_kind: Annotated[str | None, _Declared(_KIND, "set metric")] = None
    """The kind of the scores that it folds; None for any."""
    aggregate: Annotated[Method | None, _Declared(_METHOD, *_UNJUDGED)] = None
    """Makes the value over the whole run of the statistics of its rows."""
    why_unequal: Annotated[Method | None, _Declared(_METHOD, "pure metric")] = None
    """Says why no answer of a kind could be worth more than 0 to it beside a gold answer."""
    scores_empty: Annotated[bool, _Declared(_FLAG, "pure metric")] = False
    """Whether an empty answer that no parser reads is an empty text to it, and no failure."""
    corpus_signature: Annotated[str | None, _Declared(_LINE, *_UNJUDGED)] = None
    """How ``aggregate`` makes its value, in the field's short form."""
    additive: Annotated[bool, _Declared(_FLAG, *_UNJUDGED)] = False
    """Whether ``aggregate`` gives the same of the sums of the statistics as the only row."""

    reads: frozenset[str] = frozenset(ALL_READS)
    """The parts of the case that it is shown; all of them where it does not say."""
    facts: MetricFacts | None = None
    """What a metric's numbers mean; None for all that is no metric."""
    own_facts: frozenset[str] = frozenset()
    """Which of ``value_range``, ``higher_is_better`` and ``unit`` a metric declares itself."""

    def is_long(self, answer: Any) -> bool:
        """Return whether an answer is too long to be worked on on the event loop."""
        most = self.cpu_bound_over
        return most is not None and _is_longer(answer, most)

    def facts_folding(self, base: MetricFacts) -> MetricFacts:
        """Return a set metric's facts: what it does not declare is what the folded metric has.

        The best of several TERs is the least of them.
        """
        assert self.facts is not None
        inherited = {name: getattr(base, name) for name in _INHERITED if name not in self.own_facts}
        if self.facts.kind == "binary":  # its range is that of its kind
            inherited.pop("value_range", None)
        return self.facts.model_copy(update=inherited)


def read_capabilities(component: object, role: Role, where: str) -> Capabilities:
    """Return what a component declares, checked.

    Args:
        component: the component.
        role: what it is used as.
        where: the field it stands in, for messages.

    Raises:
        DefinitionError: a declaration is not what it must be; one line that names the component,
            the attribute, its value and the way out.
    """
    return _Reader(component, role, where).read()


_NO_MAPPINGS: frozenset[type] = frozenset({bool, float, int, list, tuple, type(None)})


def _is_longer(answer: Any, most: int) -> bool:
    """Return whether an answer has more characters, or items in all, than so many."""
    if isinstance(answer, str):
        return len(answer) > most
    waiting = [answer]
    while waiting and most >= 0:
        one = waiting.pop()
        kind = type(one)
        if kind is str:
            most -= len(one)
            continue
        most -= 1
        if kind is dict or (kind not in _NO_MAPPINGS and isinstance(one, Mapping)):
            waiting += one
            waiting += one.values()
        elif kind is list or kind is tuple:
            waiting += one
    return most < 0


def min_judgments(workflow: object) -> int | None:
    """Return how many judgments suffice for a workflow; None where it needs them all.

    A metric makes a workflow for each subject, so that this is read then.

    Raises:
        InvalidResultError: it says something else.
    """
    declared = getattr(workflow, "min_judgments", None)
    if declared is None or (type(declared) is int and declared >= 0):
        return declared
    raise InvalidResultError(
        f"{type(workflow).__name__}.min_judgments is {_shown(declared)}; "
        "it must be a number of judgments, or None"
    )


_FACTS: Mapping[str, _Shape] = {
    "kind": _KIND,
    "value_range": _RANGE,
    "higher_is_better": _FLAG,
    "unit": _TEXT,
    "unparsed": _one_of_fact("unparsed"),
    "subject": _one_of_fact("subject"),
    "scores_refusals": _FLAG,
}
"""The fields of ``MetricFacts`` that every metric may declare; their defaults hold where it does
not."""
_INHERITED = ("value_range", "higher_is_better", "unit")
_SCORING = ("build_workflow", "score_set", "score")
"""The methods of a metric that make it judged, a set metric, or a pure one: the first that it
has."""


class _Reader:
    """Reads the declarations of one component."""

    def __init__(self, component: object, role: Role, where: str) -> None:
        self._component = component
        self._name = type(component).__name__
        self._where = where
        self._role = role
        self._is_judged = role == "metric" and hasattr(component, "build_workflow")
        self._folds = role == "metric" and hasattr(component, "score_set")
        self._kinds = {role, *self._kinds_of_metric()}

    def read(self) -> Capabilities:
        """Return everything that the component declares."""
        for name in ("component_id", "version"):
            self._value(name, _LINE, _ABSENT)
        declared = {
            name: self._value(name, rule.shape, default)
            for name, rule, default in _ATTRIBUTES
            if rule.kinds & self._kinds
        }
        if self._role == "metric":
            declared["facts"] = self._facts(declared)
            declared["own_facts"] = frozenset(
                name for name in _INHERITED if hasattr(self._component, name)
            )
        found = Capabilities(**declared, reads=self._reads())
        if found.cpu_bound or found.cpu_bound_over:
            name = "parse" if self._role == "parser" else self._scoring_method()
            check_sendable(self._component, getattr(self._component, name), self._where)
        return found

    def _kinds_of_metric(self) -> set[str]:
        if self._role != "metric":
            return set()
        found = {"judged metric"} if self._is_judged else set()
        if self._folds:
            found.add("set metric")
        return found or {"pure metric"}

    def _scoring_method(self) -> str:
        return next(name for name in _SCORING if hasattr(self._component, name))

    def _value(self, name: str, shape: _Shape, default: Any) -> Any:
        """Return the value of an attribute, or the default of one that is not there."""
        try:
            value = getattr(self._component, name, default)
        except Exception as error:
            raise DefinitionError(
                f"{self._where}: {self._name}.{name} raised {type(error).__name__}: {error}",
                field=self._where,
            ) from error
        if value is default or shape.fits(value):
            return value
        if shape.may_be_own and not isinstance(value, _PLAIN):
            return default
        raise self._refusal(
            f"{self._name}.{name} is {_shown(value)}; it must be {shape.wanted}", value=value
        )

    def _reads(self) -> frozenset[str]:
        wanted = f"a set of {', '.join(ALL_READS)}"
        is_collection = _Shape(wanted, lambda value: isinstance(value, Collection))
        declared = self._value("reads", is_collection, None)
        if declared is None:
            return frozenset(ALL_READS)
        parts = (declared,) if isinstance(declared, str) else declared
        for part in parts:
            if part not in ALL_READS:
                raise self._refusal(
                    f"{self._name}.reads has {part!r}{did_you_mean(str(part), ALL_READS)}",
                    value=part,
                )
        return frozenset(parts)

    def _facts(self, declared: Mapping[str, Any]) -> MetricFacts:
        facts = {
            name: self._value(name, shape, MetricFacts.model_fields[name].default)
            for name, shape in _FACTS.items()
        }
        if facts["subject"] == "candidates" and not self._is_judged and not self._folds:
            raise self._refusal(
                f"{self._name}.subject is 'candidates', but score() is given one candidate; give "
                "it score_set(self, scores, case, ctx) and of, the metric whose scores it folds",
                value=facts["subject"],
            )
        if facts["value_range"] is None and facts["kind"] == "binary":
            facts["value_range"] = (0, 1)
        if facts["value_range"] is not None:
            facts["value_range"] = [float(end) for end in facts["value_range"]]
        if self._folds:
            facts["subject"] = "candidates"
            facts["of"] = self._of()
        aggregate = declared.get("aggregate")
        if inspect.iscoroutinefunction(aggregate):
            raise self._refusal(
                f"{self._name}.aggregate() is async; it is called once the run is over, and "
                "wherever the run is looked at: make it a plain method"
            )
        # A judged metric has a workflow, and the value over the run is the workflow's to make.
        corpus = aggregate is not None and not self._is_judged
        return MetricFacts(**facts, judged=self._is_judged, corpus=corpus)

    def _of(self) -> str:
        of = getattr(self._component, "of", None)
        if not isinstance(of, str) or not of:
            raise DefinitionError(
                f"{self._where}: {self._name}.of is {_shown(of)}; it must name the metric whose "
                "scores of the samples it folds",
                field="of",
                value=of,
            )
        return of

    def _refusal(self, said: str, *, value: Any = None) -> DefinitionError:
        return DefinitionError(f"{self._where}: {said}", field=self._where, value=value)


_PLAIN = (bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict)
_ABSENT = object()
_HINTS = get_type_hints(Capabilities, include_extras=True)
_ATTRIBUTES = tuple(
    (one.name, _HINTS[one.name].__metadata__[0], one.default)
    for one in fields(Capabilities)
    if get_origin(_HINTS[one.name]) is Annotated
)


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 100 else f"{text[:97]}..."
