"""What reports promise: everything told, nothing from elsewhere, nothing taken for markup.

Covers: themis.experiment.queries, themis.reporting, themis.reporting.as_csv,
themis.reporting.as_html, themis.reporting.as_json, themis.reporting.as_latex,
themis.reporting.as_markdown, themis.reporting.contents, themis.reporting.facts,
themis.reporting.reporter, themis.reporting.sections
"""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.views.journals import EXACT, PARSER, Journal, component, metric, snapshot_of, store_of
from themis.core.base import RunId
from themis.core.errors import DefinitionError, RunNotFoundError
from themis.core.events import Stage, StepAddress
from themis.core.models import Case
from themis.core.snapshot import RunSnapshot
from themis.experiment.queries import quickcheck, snapshot_report
from themis.experiment.result import RunResult
from themis.reporting import Reporter, as_latex
from themis.stores.memory import InMemoryRunStore

HOSTILE = '<script>alert("x")</script><img src=https://evil.example/x onerror=alert(1)>'


def named(snapshot: RunSnapshot, generator: str) -> RunSnapshot:
    identity = snapshot.identity.model_copy(update={"generator": component("generator", generator)})
    return RunSnapshot(identity=identity, provenance=snapshot.provenance)


def small_run(n_cases: int = 4) -> tuple[RunSnapshot, Journal]:
    unbounded = metric("length", kind="value", value_range=None)
    snapshot = snapshot_of(n_cases, metrics=[metric(parser=PARSER), unbounded], parser=PARSER)
    journal = Journal()
    start = journal.started()
    start.data["provenance"] = {"host": "box", "environment": {"api_key": "sk-1"}}
    journal.generate(0, token_usage={"prompt_tokens": 7})
    journal.score(0, 1)
    journal.score(0, 12.5, name="length", details={"of": "words, all"})
    journal.generate(1, reused=True)
    journal.score(1, 0, failure={"category": "parse_failure", "message": "no answer"})
    journal.score(1, 7, name="length")
    journal.failed(2, StepAddress(Stage.GENERATE, 0), "timeout", "gen: no answer within 1 s")
    journal.note("the code of gen changed")
    journal.finished("partial_failure")
    return snapshot, journal


def hostile_run() -> tuple[RunSnapshot, InMemoryRunStore]:
    snapshot = named(snapshot_of(1, metrics=[metric(HOSTILE)]), HOSTILE)
    journal = Journal()
    journal.started()
    journal.generate(0, output=HOSTILE)
    failure = {"category": HOSTILE, "message": HOSTILE}
    journal.score(0, 0, name=HOSTILE, failure=failure, details={"why": HOSTILE})
    journal.note(HOSTILE)
    case = Case(case_id=HOSTILE, input=[{"role": "user", "content": HOSTILE}])
    return snapshot, store_of(snapshot, journal, [case])


class Page(HTMLParser):
    """Collects a page's elements, attributes and text, and refuses what does not close."""

    VOID = frozenset({"meta", "input", "br", "link", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_every_format_tells_of_the_run() -> None:
    snapshot, journal = small_run()
    reporter = Reporter(store_of(snapshot, journal))
    assert reporter.formats == ("csv", "html", "json", "latex", "markdown")
    for name in reporter.formats:
        text = reporter.render(snapshot.run_id, name)
        assert EXACT.rpartition("/")[2] in text.replace("\\_", "_")
        assert text.endswith("\n")
        if name != "csv":
            assert snapshot.run_id in text


@pytest.mark.parametrize("name", ["html", "markdown", "latex"])
def test_a_mean_never_stands_without_its_denominator(name: str) -> None:
    snapshot, journal = small_run()
    text = Reporter(store_of(snapshot, journal)).render(snapshot.run_id, name)
    for fact in (
        "0.500",
        "0.095 to 0.905",
        "1 (timeout 1)",
        "0.250 to 0.750",
        "no range",
        "2 of 4 cases",
    ):
        assert fact in text


def test_markdown_is_a_table_and_shows_names_as_they_are() -> None:
    snapshot, journal = small_run()
    text = Reporter(store_of(snapshot, journal)).render(snapshot.run_id)
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert "<td>builtin/exact_match</td>".replace("<td>", "") in html
    assert "parse_failure 1" in html
    assert "4, of which 1 reused" not in html
    assert "6, of which 1 reused" in html
    assert "the code of gen changed" in html
    assert "<strong>prompt tokens</strong>: 7" in html


def test_markdown_takes_nothing_for_markup() -> None:
    snapshot, store = hostile_run()
    text = Reporter(store).render(snapshot.run_id)
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert "<script" not in html
    assert "<img" not in html


def test_json_is_full_and_says_its_version() -> None:
    snapshot, journal = small_run()
    told = json.loads(Reporter(store_of(snapshot, journal)).render(snapshot.run_id, "json"))
    assert told["themis_report"] == 1
    (run,) = told["runs"]
    assert run["run_id"] == snapshot.run_id
    assert run["metrics"][0]["bounds"] == [0.25, 0.75]
    assert run["metrics"][0]["interval_method"] == "wilson"
    assert run["state"]["status"] == "partial_failure"
    assert (run["steps_done"], run["steps_reused"]) == (6, 1)


def costly_run() -> tuple[RunSnapshot, Journal]:
    """Two answers, one of them cut off, one of unknown price; stopped by a budget."""
    snapshot = snapshot_of(3)
    journal = Journal()
    journal.started()
    usage = {"prompt_tokens": 1000, "completion_tokens": 7}
    evidence = {"finish_reason": "length", "first_token_ms": 33.0}
    first = journal.generate(0, token_usage=usage, latency_ms=120.0, artifacts=evidence)
    first.data["cost"] = 0.0123
    journal.score(0, 1)
    journal.generate(1, token_usage=usage, latency_ms=480.0)
    journal.score(1, 0)
    journal.finished("interrupted", through=None, reason="the budget of 2,000 tokens is spent")
    return snapshot, journal


@pytest.mark.parametrize("name", ["html", "markdown"])
def test_tokens_cost_latency_and_endings_are_told(name: str) -> None:
    snapshot, journal = costly_run()
    text = Reporter(store_of(snapshot, journal)).render(snapshot.run_id, name)
    for fact in (
        "$0.0123 + 1 call at an unknown price",
        "p50 120 ms, p90 480 ms, p99 480 ms, max 480 ms",
        "p50 33 ms",
        "1 truncated",
        "the budget of 2,000 tokens is spent",
    ):
        assert fact in text
    assert "2000" in text or "2,000" in text


@pytest.mark.parametrize("name", ["html", "markdown", "json"])
def test_a_run_that_reused_every_answer_tells_tokens_reused_and_none_spent(name: str) -> None:
    snapshot = snapshot_of(1)
    journal = Journal()
    journal.started()
    journal.generate(0, token_usage={"prompt_tokens": 1234}, reused=True)
    journal.finished()
    store = store_of(snapshot, journal)
    text = Reporter(store).render(snapshot.run_id, name)
    facts = {
        "html": [
            "<dt>tokens</dt><dd>none spent</dd>",
            "<dt>prompt tokens reused</dt><dd>1,234</dd>",
        ],
        "markdown": ["**tokens**: none spent\n", "**prompt tokens reused**: 1,234\n"],
        "json": ['"tokens_reused": {'],
    }
    for fact in facts[name]:
        assert fact in text
    both = Reporter(store).render([snapshot.run_id, snapshot.run_id], "markdown")
    assert "none spent, 1,234 (1,234 prompt) reused" in both
    said = repr(RunResult.of(store, snapshot.run_id))
    assert "tokens: none spent, 1,234 (1,234 prompt) reused, cost: none" in said
    assert quickcheck(store, snapshot.run_id)["tokens_reused"] == {"prompt_tokens": 1234}


def test_what_did_not_happen_is_not_told() -> None:
    snapshot, journal = small_run()
    store = store_of(snapshot, journal)
    for name in ("html", "markdown", "latex"):
        text = Reporter(store).render(snapshot.run_id, name)
        for words in ("stopped early", "first token", "0 truncated", "Answers:"):
            assert words not in text
    assert "**cost**: unknown price" in Reporter(store).render(snapshot.run_id)


def test_endings_stand_in_every_format() -> None:
    snapshot, journal = costly_run()
    reporter = Reporter(store_of(snapshot, journal))
    for name in reporter.formats:
        assert "truncated" in reporter.render(snapshot.run_id, name)
    assert "Answers: 1 truncated." in reporter.render(snapshot.run_id, "latex")
    (run,) = json.loads(reporter.render(snapshot.run_id, "json"))["runs"]
    assert run["metrics"][0]["endings"] == {"truncated": 1}
    assert run["state"]["reason"] == "the budget of 2,000 tokens is spent"
    progress = run["state"]["progress"]
    assert (progress["cost_usd"], progress["unpriced_calls"]) == (0.0123, 1)
    assert progress["latency_ms"]["max"] == 480.0


def test_the_pages_cases_are_found_by_how_their_answers_ended() -> None:
    snapshot, journal = costly_run()
    failure = {"category": "parse_failure", "message": "no number"}
    journal.generate(2, artifacts={"finish_reason": "length"})
    journal.score(2, 0, failure=failure)
    text = Reporter(store_of(snapshot, journal)).render(snapshot.run_id, "html")
    assert '<tr data-outcomes="correct truncated">' in text
    assert '<tr data-outcomes="incorrect truncated unparsed">' in text
    assert "<option>truncated</option>" in text


@pytest.mark.parametrize("name", ["html", "markdown"])
def test_runs_side_by_side_tell_tokens_cost_and_latencies_side_by_side(name: str) -> None:
    snapshot, journal = costly_run()
    store = store_of(snapshot, journal)
    other = named(snapshot_of(2), "other")
    store.save_snapshot(other)
    text = Reporter(store).render([snapshot.run_id, other.run_id], name, labels=["a", "b"])
    work = text.partition("Work")[2]
    cells = ["a", "interrupted", "2,014 (14 completion, 2,000 prompt)"]
    cells += ["$0.0123 + 1 call at an unknown price", "120 ms", "480 ms"]
    if name == "markdown":
        assert f"| {' | '.join(cells)} |" in work
        assert "| b | pending | none | none | - | - |" in work
    else:
        row = "".join(re.findall(r"<tr><td.*", work)[0])
        assert re.findall(r">([^<]+)</td>", row) == cells


@pytest.mark.parametrize("name", ["html", "markdown", "json"])
def test_no_report_shows_a_secret(name: str) -> None:
    snapshot, journal = small_run()
    text = Reporter(store_of(snapshot, journal)).render(snapshot.run_id, name)
    assert "sk-1" not in text
    assert "[hidden]" in text.replace("\\", "")


def test_secrets_among_a_components_parameters_are_hidden_everywhere() -> None:
    params = {"hf_token": "sk-1", "deep": {"openaiApiKey": "sk-1"}, "max_tokens": 77}
    made = component("generator", "gen", params=params)
    identity = snapshot_of(1).identity.model_copy(update={"generator": made})
    snapshot = RunSnapshot(identity=identity, provenance=snapshot_of(1).provenance)
    reporter = Reporter(store_of(snapshot, Journal()))
    for name in reporter.formats:
        assert "sk-1" not in reporter.render(snapshot.run_id, name)
    page = reporter.render(snapshot.run_id, "html")
    assert "[hidden]" in page
    assert "77" in page
    shown = str(snapshot_report(snapshot))
    assert "sk-1" not in shown
    assert "77" in shown


@pytest.mark.parametrize("name", ["html", "markdown", "latex"])
def test_cases_that_were_not_reached_are_told_only_where_there_are_some(name: str) -> None:
    def told(n_cases: int) -> str:
        snapshot = snapshot_of(n_cases)
        journal = Journal()
        for case in range(3):
            journal.score(case, 1)
        return Reporter(store_of(snapshot, journal)).render(snapshot.run_id, name)

    part = told(5)
    assert "3 of 5 cases" in part
    assert "0.600 to 1.000" in part
    assert "not scored yet had been worst" in part or "every case that is not scored yet" in part
    whole = told(3).partition("Thin line below")[0]
    assert "of 3 cases" not in whole
    assert "not scored yet" not in whole


@pytest.mark.parametrize(
    ("said", "cell"),
    [
        ("=cmd()", "'=cmd()"),
        ("+1+cmd()", "'+1+cmd()"),
        ("-1+cmd()", "'-1+cmd()"),
        ("@SUM(1)", "'@SUM(1)"),
        (" =cmd()", "' =cmd()"),
        ("＝cmd()", "'＝cmd()"),
        ("'=quoted", "''=quoted"),
        ("-12.5e3", "-12.5e3"),
        ("plain", "plain"),
        ("a=b", "a=b"),
    ],
)
def test_no_csv_cell_is_a_formula(said: str, cell: str) -> None:
    snapshot = snapshot_of(1, metrics=[metric(said)])
    journal = Journal()
    journal.score(0, -1.5, name=said)
    text = Reporter(store_of(snapshot, journal)).render(snapshot.run_id, "csv")
    (row,) = csv.DictReader(StringIO(text, newline=""))
    assert row["metric_id"] == cell
    assert float(row["value"]) == -1.5


def test_a_row_of_latex_that_begins_with_a_bracket_is_no_argument_of_the_row_before() -> None:
    assert as_latex._line(["[x]", "*"]).startswith("{}[x]")
    assert as_latex.escape("`\x1b\u202e") == (
        r"\textasciigrave{}\textbackslash{}x1b\textbackslash{}u202e"
    )


def test_csv_is_the_score_table_row_by_row() -> None:
    snapshot, journal = small_run()
    text = Reporter(store_of(snapshot, journal)).render(snapshot.run_id, "csv")
    rows = list(csv.DictReader(StringIO(text, newline="")))
    assert [(row["case_id"], row["metric_id"], row["value"], row["outcome"]) for row in rows] == [
        ("case-0", EXACT, "1.0", "correct"),
        ("case-0", "length", "12.5", "scored"),
        ("case-1", EXACT, "0.0", "incorrect"),
        ("case-1", "length", "7.0", "scored"),
        ("case-2", EXACT, "", "error"),
        ("case-2", "length", "", "error"),
    ]
    assert json.loads(rows[1]["details"]) == {"of": "words, all"}
    assert rows[2]["error_category"] == "parse_failure"


def test_csv_is_streamed() -> None:
    from themis.reporting import as_csv
    from themis.reporting.facts import report_facts

    snapshot = snapshot_of(2000)
    journal = Journal()
    for case in range(2000):
        journal.score(case, 1)
    facts = report_facts(store_of(snapshot, journal), snapshot.run_id)
    assert max(map(len, as_csv.render(facts))) < 50_000


def test_latex_is_escaped() -> None:
    snapshot = named(snapshot_of(1, metrics=[metric("a_b%c&d")]), "50% of $x^2$ \\input{x}")
    journal = Journal()
    journal.score(0, 1, name="a_b%c&d")
    text = Reporter(store_of(snapshot, journal)).render(snapshot.run_id, "latex")
    assert r"a\_b\%c\&d" in text
    assert r"50\% of \$x\textasciicircum{}2\$ \textbackslash{}input\{x\}" in text
    assert r"\toprule" in text
    assert as_latex.escape('say "no"') == r"say \symbol{34}no\symbol{34}"


def test_the_page_is_whole_and_takes_nothing_for_markup() -> None:
    snapshot, store = hostile_run()
    text = Reporter(store).render(snapshot.run_id, "html")
    page = Page(text)
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert HOSTILE in "".join(page.texts)


def test_a_long_label_may_wrap() -> None:
    snapshot, journal = small_run()
    store = store_of(snapshot, journal)
    other = named(snapshot_of(2), "other")
    store.save_snapshot(other)
    long = "x" * 300
    text = Reporter(store).render([snapshot.run_id, other.run_id], "html", labels=[long, "b"])
    assert f'<td class="label">{long}</td>' in text
    assert f'<span class="label">{long}</span>' in text
    assert ".label { overflow-wrap: anywhere; }" in text


def test_the_page_loads_nothing_from_elsewhere() -> None:
    snapshot, journal = small_run()
    text = Reporter(store_of(snapshot, journal)).render(snapshot.run_id, "html")
    page = Page(text)
    loading = {"src", "href", "action", "data", "poster", "srcset", "xlink:href"}
    assert not [one for one in page.attributes if one[0] in loading]
    assert not re.search(r"https?://|@import|url\(", text)
    assert "default-src 'none'" in text


def test_the_pages_policy_admits_its_script() -> None:
    import base64
    import hashlib

    snapshot, journal = small_run()
    text = Reporter(store_of(snapshot, journal)).render(snapshot.run_id, "html")
    script = text.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text


def test_the_page_lists_the_first_cases_and_says_how_many_more() -> None:
    snapshot = snapshot_of(503)
    journal = Journal()
    journal.score(0, 1)
    text = Reporter(store_of(snapshot, journal)).render(snapshot.run_id, "html")
    assert text.count("<tr data-outcomes") == 500
    assert "The first 500 of 503 cases; 3 more" in text
    assert '<tr data-outcomes="correct">' in text


def test_runs_stand_side_by_side_under_their_labels(tmp_path: Path) -> None:
    snapshot, journal = small_run()
    store = store_of(snapshot, journal)
    other = named(snapshot_of(2), "other")
    store.save_snapshot(other)
    reporter = Reporter(store)
    ids = [snapshot.run_id, other.run_id]
    text = reporter.write(ids, tmp_path / "a.md", labels=["plain", "with hint"]).read_text()
    assert [line.split(" |")[0] for line in text.splitlines() if EXACT in line][:2] == [
        "| plain",
        "| with hint",
    ]
    for name in reporter.formats:
        assert "gen" in reporter.render(ids, name)
    with pytest.raises(DefinitionError, match="1 labels for 2 runs"):
        reporter.render(ids, labels=["one"])


def test_runs_of_one_generator_are_told_apart_without_labels() -> None:
    one, other = snapshot_of(1), snapshot_of(2)
    store = store_of(one, Journal())
    store.save_snapshot(other)
    text = Reporter(store).render([one.run_id, other.run_id])
    assert f"gen ({one.run_id[:8]})" in text
    assert f"gen ({other.run_id[:8]})" in text


def test_a_quick_look_says_why_a_run_stopped_and_what_it_cost() -> None:
    snapshot, journal = costly_run()
    store = store_of(snapshot, journal)
    told = quickcheck(store, snapshot.run_id)
    assert told["status"] == "interrupted"
    assert told["reason"] == "the budget of 2,000 tokens is spent"
    assert told["cost"] == "$0.0123 + 1 call at an unknown price"
    assert told["cost_usd"] == 0.0123
    assert told["tokens"] == {"completion_tokens": 14, "prompt_tokens": 2000}
    result = RunResult(store, snapshot)
    assert (result.reason, result.cost) == (told["reason"], told["cost"])
    assert result.state.reason == result.reason
    shown = repr(result).splitlines()
    assert shown[1] == "stopped early: the budget of 2,000 tokens is spent"
    assert shown[-3:] == [
        "answers: 1 truncated",
        "steps reused: 0 of 4, generations made: 1970-01-01 00:16:42 UTC to "
        "1970-01-01 00:16:44 UTC",
        "tokens: 2,014 (14 completion, 2,000 prompt), cost: $0.0123 + 1 call at an unknown price",
    ]


def test_only_the_metrics_asked_for_are_told() -> None:
    snapshot, journal = small_run()
    reporter = Reporter(store_of(snapshot, journal))
    for name in reporter.formats:
        text = reporter.render(snapshot.run_id, name, metric_ids=["length"])
        if name != "json":  # which tells the whole identity
            assert EXACT not in text.replace("\\_", "_").partition("What was asked")[0]
    with pytest.raises(DefinitionError, match="did you mean 'length'"):
        reporter.render(snapshot.run_id, metric_ids=["lenght"])


def test_a_metric_that_only_one_of_the_runs_has_is_told_of_that_one() -> None:
    snapshot, journal = small_run()
    store = store_of(snapshot, journal)
    other = named(snapshot_of(2), "other")
    store.save_snapshot(other)
    told = json.loads(
        Reporter(store).render([snapshot.run_id, other.run_id], "json", metric_ids=["length"])
    )
    assert [len(run["metrics"]) for run in told["runs"]] == [1, 0]


def test_a_run_without_metrics_or_events_has_a_report_in_every_format() -> None:
    snapshot = snapshot_of(1, metrics=[])
    reporter = Reporter(store_of(snapshot, Journal()))
    for name in reporter.formats:
        assert reporter.render(snapshot.run_id, name)
    assert "No metrics" in reporter.render(snapshot.run_id)


@pytest.mark.parametrize("suffix", [".md", ".json", ".csv", ".tex", ".html"])
def test_the_suffix_says_the_format(suffix: str, tmp_path: Path) -> None:
    snapshot, journal = small_run()
    reporter = Reporter(store_of(snapshot, journal))
    path = reporter.write(snapshot.run_id, tmp_path / "new" / f"report{suffix}")
    format_ = {".md": "markdown", ".tex": "latex"}.get(suffix, suffix[1:])
    assert path.read_bytes().decode() == reporter.render(snapshot.run_id, format_)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_what_cannot_be_told_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    snapshot, journal = small_run()
    reporter = Reporter(store_of(snapshot, journal))
    with pytest.raises(DefinitionError, match="did you mean 'markdown'"):
        reporter.render(snapshot.run_id, "markdwn")
    with pytest.raises(DefinitionError, match="give format="):
        reporter.write(snapshot.run_id, tmp_path / "report.docx")
    with pytest.raises(RunNotFoundError):
        reporter.write("nope", tmp_path / "report.md")
    with pytest.raises(DefinitionError, match="at least one run"):
        reporter.render([])
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_is_told_as_it_was_given(tmp_path: Path) -> None:
    snapshot, journal = small_run()
    reporter = Reporter(store_of(snapshot, journal))
    for format_ in (None, "markdown"):
        with pytest.raises(DefinitionError, match="is a folder; name a file"):
            reporter.write(snapshot.run_id, tmp_path, format_)
    (tmp_path / "plain").write_text("")
    for wrong in (tmp_path / "plain" / "x.md", Path("/proc/x.md")):
        with pytest.raises(OSError, match=str(wrong)) as caught:
            reporter.write(snapshot.run_id, wrong)
        assert caught.value.filename == str(wrong)
        assert "partial" not in str(caught.value)


def test_a_failure_half_way_leaves_the_old_report(tmp_path: Path) -> None:
    snapshot = snapshot_of(1000)
    journal = Journal()
    for case in range(1000):
        journal.score(case, 1)
    store = store_of(snapshot, journal)
    path = tmp_path / "rows.csv"
    path.write_text("old")
    whole, calls = store.case_events, []

    def failing(run_id: RunId, start: int, stop: int) -> object:
        calls.append(start)
        if start:
            raise OSError("gone")
        return whole(run_id, start, stop)

    store.case_events = failing  # type: ignore[method-assign, assignment]
    with pytest.raises(OSError, match="gone"):
        Reporter(store).write(snapshot.run_id, path)
    assert len(calls) > 1
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["rows.csv"]
