"""Which models answered: counted exactly, in any order, and told where they were not all one.

Covers: themis.analysis.tables, themis.experiment.queries, themis.views.headline,
themis.views.reported
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.views.journals import Journal, snapshot_of, store_of
from themis.analysis.tables import reported_text
from themis.core.events import Stage, StepAddress
from themis.core.results import RunProgress
from themis.experiment.queries import quickcheck
from themis.experiment.result import RunResult
from themis.reporting import Reporter
from themis.views.headline import execution_state
from themis.views.reported import ReportedFold


def _answer(model: Any = "a", build: Any = None) -> dict[str, Any]:
    told = {"model": model, "system_fingerprint": build, "id": "x"}
    return {"artifacts": {"raw_response": told}}


def _folded(answers: list[dict[str, Any]]) -> RunProgress:
    fold = ReportedFold()
    for answer in answers:
        fold.add(answer, None)
    reported = fold.reported()
    return RunProgress(
        reported=reported, deviating=sum(one.answers for one in reported if one.deviates)
    )


def test_one_model_throughout_deviates_nowhere() -> None:
    progress = _folded([_answer("a", "fp1")] * 3)
    assert [(one.model, one.system_fingerprint, one.answers) for one in progress.reported] == [
        ("a", "fp1", 3)
    ]
    assert (progress.deviating, reported_text(progress)) == (0, "")


def test_another_model_is_counted_and_told() -> None:
    progress = _folded([*[_answer("a")] * 3, *[_answer("b")] * 2])
    assert progress.deviating == 2
    assert reported_text(progress) == (
        "2 of 5 answers came from another model or system than the rest: b (2); the rest: a (3)"
    )


def test_another_system_fingerprint_of_the_same_model_is_another_system() -> None:
    progress = _folded([_answer("a", "fp1"), _answer("a", "fp1"), _answer("a", "fp2")])
    assert progress.deviating == 1
    assert "a / fp2 (1); the rest: a / fp1 (2)" in reported_text(progress)


def test_what_an_endpoint_does_not_say_is_no_deviation() -> None:
    progress = _folded([_answer("a", "fp1"), _answer("a", None), _answer(None, "fp1")])
    assert progress.deviating == 0
    assert _folded([_answer(None), {"artifacts": None}, {}, _answer(7, ["x"])]).reported == []
    assert _folded([{"artifacts": {"raw_response": ["a"]}}]).reported == []


def test_many_models_are_told_in_one_line() -> None:
    answers = [*[_answer("a")] * 9, *[_answer(f"m{n}") for n in range(6)]]
    text = reported_text(_folded(answers))
    assert "6 of 15 answers" in text
    assert "m0 (1), m1 (1), m2 (1) and 3 more; the rest: a (9)" in text


@given(
    answers=st.lists(
        st.builds(
            _answer,
            st.sampled_from(["a", "b", None]),
            st.sampled_from(["x", "y", None]),
        ),
        max_size=20,
    ),
    data=st.data(),
)
def test_the_order_of_the_answers_changes_nothing(
    answers: list[dict[str, Any]], data: st.DataObject
) -> None:
    assert _folded(data.draw(st.permutations(answers))) == _folded(answers)


def test_reused_and_newest_answers_count_once_and_judges_by_their_names() -> None:
    snapshot = snapshot_of(4)
    journal = Journal()
    journal.started()
    journal.generate(0, artifacts=_answer("old")["artifacts"])
    journal.generate(0, artifacts=_answer("a")["artifacts"])
    journal.generate(1, artifacts=_answer("a")["artifacts"], reused=True)
    journal.generate(2, artifacts=_answer("b")["artifacts"])
    for case, model in enumerate(["j1", "j1", "j2"]):
        response = {"text": "PASS", **_answer(model)}
        call = StepAddress(Stage.JUDGE, 0, "rubric", "call")
        journal.done(case, call, {"call": {"judge": "strict"}, "prompt": {}, "response": response})
    journal.finished()
    store = store_of(snapshot, journal)
    progress = execution_state(store, snapshot.run_id).progress
    assert [(one.judge, one.model, one.answers) for one in progress.reported] == [
        (None, "a", 2),
        (None, "b", 1),
        ("strict", "j1", 2),
        ("strict", "j2", 1),
    ]
    assert progress.deviating == 2
    assert quickcheck(store, snapshot.run_id)["deviating"] == 2
    shown = [repr(RunResult(store, snapshot))]
    shown += [
        Reporter(store).render(snapshot.run_id, form) for form in ("markdown", "html", "latex")
    ]
    for text in shown:
        assert "1 of 3 answers came from another model or system than the rest: b" in text
        assert "1 of 3 answers of judge strict came from another model" in text
