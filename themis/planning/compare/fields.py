"""In what two runs differ: the fields of what was asked, down to the one inside a part.

Parts are matched by role and name, prompt material and settings field by field. What stands behind
a fingerprint is told where both runs recorded it, in words of the component's own settings;
elsewhere all that can be said is that the fingerprint is another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from themis.core.hashing import canonical
from themis.core.run_plan import Difference
from themis.core.snapshot import ComponentRef, DatasetRef, RunIdentity, RunSnapshot

_ABSENT = object()


def identity_differences(before: RunSnapshot, now: RunSnapshot) -> list[Difference]:
    """Return every field in which what was asked differs; none where the run ids are equal."""
    old, new = before.identity, now.identity
    return [
        *_datasets(old.datasets, new.datasets),
        *_components(before, now),
        *field_differences("default_parser", old.default_parser, new.default_parser),
        *field_differences("num_samples", old.num_samples, new.num_samples),
        *field_differences("seeds", old.seeds, new.seeds),
        *prompt_differences(before, now),
        *judging_differences(before, now),
    ]


def equal_seeds(before: RunIdentity, now: RunIdentity) -> bool:
    """Return whether the samples that two runs both have were asked with equal seeds."""
    return before.seeds[: now.num_samples] == now.seeds[: before.num_samples]


def counterpart(identity: RunIdentity, ref: ComponentRef) -> ComponentRef | None:
    """Return a run's component of the same role and, where a run may have several, the same name.

    The one generator, selector or reducer is compared whatever it is called.
    """
    is_single = ref.role in ("generator", "selector", "reducer")
    alike = (one for one in identity.components() if one.role == ref.role)
    return next((one for one in alike if is_single or one.name == ref.name), None)


def prompt_differences(before: RunSnapshot, now: RunSnapshot) -> list[Difference]:
    """Return the fields of the generation's prompt material that differ."""
    return _fields_of_models("prompt_spec", before.identity.prompt_spec, now.identity.prompt_spec)


def judging_differences(before: RunSnapshot, now: RunSnapshot) -> list[Difference]:
    """Return what differs in the judges' prompt material and settings."""
    old, new = before.identity, now.identity
    return [
        *_fields_of_models("judge_prompt_spec", old.judge_prompt_spec, new.judge_prompt_spec),
        *field_differences("judge_config", old.judge_config, new.judge_config),
        *field_differences("workflow_overrides", old.workflow_overrides, new.workflow_overrides),
    ]


def component_differences(
    before: RunSnapshot, now: RunSnapshot, old: ComponentRef, new: ComponentRef
) -> list[Difference]:
    """Return the fields in which two components of one role and name differ.

    Args:
        before: the run that the one is of.
        now: the run that the other is of.
        old: the one.
        new: the other.
    """
    place = f"{new.role}:{new.name}"
    was, is_now = before.provenance.settings, now.provenance.settings
    a, b = was.get(f"{old.role}:{old.name}"), is_now.get(place)
    said = list(field_differences(f"{place}.settings", a, b)) if a and b else []
    fields = ["component_id", "version", *([] if said else ["params"]), "reads", "parser", "metric"]
    found = [
        one
        for name in fields
        for one in field_differences(
            f"{place}.{name}", _plain(getattr(old, name)), _plain(getattr(new, name))
        )
    ]
    if not found and not said:
        found = list(field_differences(f"{place}.fingerprint", old.fingerprint, new.fingerprint))
    return [*found, *said]


def code_differences(
    before: Mapping[str, str | None], now: Mapping[str, str | None]
) -> list[Difference]:
    """Return the components of both runs whose code is not the same.

    Args:
        before: digest of each component's code, by role and name, as provenance has it.
        now: the same of the other run.
    """
    return [
        Difference(field=f"code of {name}", before=before[name], now=digest)
        for name, digest in sorted(now.items())
        if name in before and before[name] != digest
    ]


def field_differences(field: str, before: Any, now: Any) -> Iterator[Difference]:
    """Yield the fields in which two JSON values differ; objects are gone into, lists are not."""
    if type(before) is dict and type(now) is dict:
        for key in sorted(before.keys() | now.keys()):
            yield from field_differences(
                f"{field}.{key}", before.get(key, _ABSENT), now.get(key, _ABSENT)
            )
    elif before is _ABSENT:
        yield Difference(field=field, change="added", now=now)
    elif now is _ABSENT:
        yield Difference(field=field, change="removed", before=before)
    elif canonical(before) != canonical(now):
        yield Difference(field=field, before=before, now=now)


def _datasets(old: Sequence[DatasetRef], new: Sequence[DatasetRef]) -> list[Difference]:
    before, now = ({one.dataset_id: one for one in side} for side in (old, new))
    found: list[Difference] = []
    for name in [*before, *(name for name in now if name not in before)]:
        field = f"dataset:{name}"
        if name not in now:
            found.append(Difference(field=field, change="removed"))
        elif name not in before:
            found.append(Difference(field=field, change="added"))
        else:
            a, b = (one.model_dump(mode="json") for one in (before[name], now[name]))
            found += field_differences(field, a, b)
    return [*found, *_order("datasets", list(before), list(now))]


def _components(before: RunSnapshot, now: RunSnapshot) -> list[Difference]:
    old, new = before.component_refs, now.component_refs
    found: list[Difference] = []
    known: set[str] = set()
    for name, ref in old.items():
        other = counterpart(now.identity, ref)
        if other is None:
            found.append(Difference(field=name, change="removed"))
            continue
        place = f"{other.role}:{other.name}"
        known.add(place)
        if place != name:
            found.append(Difference(field=f"{place}.name", before=ref.name, now=other.name))
        found += component_differences(before, now, ref, other)
    found += [Difference(field=name, change="added") for name in new if name not in known]
    for role in ("parser", "metric", "judge"):
        sides = [[name for name in side if name.startswith(f"{role}:")] for side in (old, new)]
        found += _order(f"{role}s", *sides)
    return found


def _order(field: str, before: Sequence[str], now: Sequence[str]) -> list[Difference]:
    """Return that what both have stands in another order."""
    both = set(before) & set(now)
    sides = [[name for name in side if name in both] for side in (before, now)]
    if sides[0] == sides[1]:
        return []
    return [Difference(field=f"order of {field}", before=sides[0], now=sides[1])]


def _fields_of_models(field: str, before: Any, now: Any) -> list[Difference]:
    """Compare two optional models field by field; one that is absent is at its defaults."""
    sides = [
        {} if one is None else one.model_dump(mode="json", exclude_defaults=True)
        for one in (before, now)
    ]
    return list(field_differences(field, *sides))


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value
