"""What pages show, made without a browser: figures, tokens, curves, lists, forms, trees, addresses."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_core.schemas.base import Page
from rlt_core.schemas.jobs import SPECS, Job, JobError, JobMetrics, JobResult, Progress, RlSpec
from rlt_core.schemas.projects import AuditEntry, KeyCard, Project, Quotas, QuotaUse
from rlt_core.schemas.score import TokenScore
from rlt_core.schemas.teachers import Difference, EvaluationRow, ModelVersion
from rlt_service.dashboard import access_views, figures, forms, job_views, system_views, token_views
from rlt_service.dashboard.addresses import Comparison, JobList, JobPage, number, own_path
from rlt_service.dashboard.curves import MAX_POINTS, Curves, chart, groups_of, with_peaks
from rlt_service.dashboard.evaluation_views import pairs_of, verdict
from rlt_service.dashboard.live import changes
from rlt_service.dashboard.markup import joined, tag
from rlt_service.dashboard.tables import refusal, table
from rlt_service.dashboard.version_tree import forest, tree
from tests.support.control import evaluation_row

NOW = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)


def job(number: int = 1, **fields: object) -> Job:
    known: dict[str, object] = {
        "id": f"job_{number:020d}",
        "kind": "rl",
        "status": "running",
        "created_at": NOW - timedelta(minutes=5),
        "spec": RlSpec(kind="rl", dataset="ds_" + "0" * 20, target_name="made"),
    }
    return Job.model_validate(known | fields)


def token(logprob: float, *, text: str = " so") -> TokenScore:
    return TokenScore(segment="explanation", text=text, id=1, logprob=logprob)


def key_card(**fields: object) -> KeyCard:
    known: dict[str, object] = {"id": "a" * 12, "name": "ann", "project": "algebra", "scopes": ["train"]}
    more = {"max_per_minute": None, "max_at_once": None, "created_at": NOW - timedelta(hours=2), "revoked_at": None}
    return KeyCard.model_validate(known | more | fields)


def entry(**fields: object) -> AuditEntry:
    known: dict[str, object] = {"id": "7", "created_at": NOW, "key": "a" * 12, "project": "prj_1", "status": 202}
    return AuditEntry.model_validate(known | {"action": "POST /v1/train", "subject": None, "request_id": None} | fields)


def a_project(**quotas: float) -> Project:
    use = QuotaUse(requests_per_day=3, tokens_per_day=1200, jobs_at_once=1, gpu_hours_per_month=1.5, disk_bytes=2048)
    bounds = Quotas.model_validate(quotas)
    return Project(id="prj_1", name="algebra", created_at=NOW, quotas=bounds, used=use)


def test_a_project_shows_what_it_has_used_of_what_it_may() -> None:
    shown = access_views.projects([a_project(tokens_per_day=2400, gpu_hours_per_month=1.0)])
    assert "1,200 of 2,400" in shown
    assert '<progress max="2400" value="1200" aria-label="1,200 of 2,400">' in shown
    assert "1.50 of 1.00" in shown
    assert "<span>2.0 KiB</span>" in shown
    assert 'href="/access?project=algebra"' in shown
    assert "No projects yet" in access_views.projects([])


def test_typed_quotas_are_read_and_what_is_no_figure_is_said() -> None:
    quotas = Quotas(disk_bytes=2**53, gpu_hours_per_month=1.5)
    typed = access_views.typed_of(quotas)
    assert access_views.quotas_of(typed) == quotas.model_dump()
    with pytest.raises(forms.FieldError, match="jobs_at_once: 'two' is not a whole number"):
        access_views.quotas_of(typed | {"jobs_at_once": "two"})
    with pytest.raises(forms.FieldError, match=r"disk_bytes: '1.5' is not a whole number"):
        access_views.quotas_of(typed | {"disk_bytes": "1.5"})


def test_the_audit_log_names_projects_and_leads_to_older_entries_of_the_same() -> None:
    page = Page[AuditEntry](data=[entry(), entry(key=None, status=None)], has_more=True, last_id="7")
    shown = access_views.audit(page, names={"prj_1": "algebra"}, of={"project": "algebra", "key": None})
    assert "Who did what of the project algebra" in shown
    assert shown.count(">algebra<") == 2
    assert "on the server&#x27;s machine" in shown
    assert 'href="/access?project=algebra&amp;after=7"' in shown
    assert "revoked" in access_views.keys([key_card(revoked_at=NOW)], now=NOW)
    assert "revoked" not in access_views.keys([key_card()], now=NOW)


def test_text_of_others_is_never_html() -> None:
    assert tag("p", '<b title="x">') == "<p>&lt;b title=&quot;x&quot;&gt;</p>"
    assert tag("a", "x", href='"><script>') == '<a href="&quot;&gt;&lt;script&gt;">x</a>'
    assert joined("<", tag("br")) == "&lt;<br>"
    name = "<img src=x onerror=alert(1)>"
    for markup in (
        job_views.listed(Page[Job](data=[job(name=name)]), JobList(), now=NOW),
        job_views.outcome(job(status="failed", error=JobError(code="c", message=name, log_tail=name))) or "",
        job_views.sample({"step": 1, "question_id": name, "text": name, "reward": 0.1}),
        token_views.running_text([token(-1.0, text=name)], label=name),
        refusal(name, code="c", extra={"lines": [{"line": 1, "message": name}]}),
        access_views.keys([key_card(name=name)], now=NOW),
        access_views.audit(Page[AuditEntry](data=[entry(subject=name)]), names={}, of={"key": name}),
    ):
        assert "<img" not in markup
        assert "&lt;img" in markup


def test_figures_are_written_for_people() -> None:
    assert figures.figure(-0.1234) == "\u22120.123"
    assert figures.figure(0.000012) == "1.20e\u221205"
    assert figures.figure(None) == "\u2013"
    assert figures.signed(0.5) == "+0.500"
    assert figures.interval(0.1, 0.05, 0.15, digits=2) == "0.10 [0.05, 0.15]"
    assert figures.interval(0.1, None, None, digits=2) == "0.10"
    assert [figures.duration(seconds) for seconds in (0.25, 59.6, 61, 3700, 90_000)] == [
        "0.2 s", "1 min 0 s", "1 min 1 s", "1 h 1 min", "1 d 1 h",
    ]  # fmt: skip
    assert [figures.size(value) for value in (10, 2048, 3 * 2**30)] == ["10 B", "2.0 KiB", "3.0 GiB"]
    assert figures.count(1234567) == "1,234,567"


@given(st.floats(min_value=-1e6, max_value=0.0), st.floats(min_value=-1e6, max_value=0.0))
def test_a_likelier_token_is_never_drawn_as_harder(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert token_views.level_of(low) >= token_views.level_of(high)


def test_a_token_is_drawn_by_its_probability_and_says_its_figures() -> None:
    # p = e^-0.1 = 0.905, e^-1 = 0.368, e^-5 = 0.0067
    assert [token_views.level_of(value) for value in (-0.1, -1.0, -5.0)] == [0, 2, 5]
    assert token_views.shown(token(-1.0)).figures == "log p \u22121.000 · p 36.8%"
    made = token_views.running_text([token(-0.1), token(-5.0)], label="tokens")
    assert made.count('tabindex="0"') == 1  # one stop of the keyboard, arrows go on from there
    assert "tok tok-5" in made
    assert [one.logprob for one in token_views.hardest([token(-1.0), token(-5.0), token(-2.0)], most=2)] == [-5.0, -2.0]


def test_a_curve_of_a_hundred_thousand_points_keeps_its_ends_and_its_peak() -> None:
    points = [(step, float(step % 100)) for step in range(100_000)]
    points[51_234] = (51_234, 1e6)
    drawn = with_peaks(points, most=MAX_POINTS)
    assert len(drawn) <= MAX_POINTS
    assert drawn[0] == points[0]
    assert drawn[-1] == points[-1]
    assert (51_234, 1e6) in drawn
    assert [step for step, _ in drawn] == sorted(step for step, _ in drawn)


def test_curves_grow_by_deltas_and_a_step_done_again_has_its_last_values() -> None:
    curves = Curves.of(JobMetrics(job="j", steps=[1, 2], series={"reward": [0.1, None], "loss": [2.0, 1.0]}))
    curves.add(3, {"reward": 0.3})
    curves.add(2, {"reward": 0.2})
    assert curves.points("reward") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert (curves.last_step, curves.names) == (3, ["loss", "reward"])
    for step in range(4, 10 * MAX_POINTS):
        curves.add(step, {"reward": 0.0})
    assert len(curves.points("reward", most=10**9)) <= 2 * MAX_POINTS  # a page that stays open does not grow
    assert curves.last_step == 10 * MAX_POINTS - 1


def test_known_series_share_charts_and_unknown_ones_get_their_own() -> None:
    assert groups_of(["zeta", "r_kl", "reward", "r_ss"]) == [
        ("Reward", ["reward"]),
        ("Parts of the reward", ["r_ss", "r_kl"]),
        ("zeta", ["zeta"]),
    ]
    options = chart({"a": [(1, 0.5)], "b": []}, title="T")
    assert [line["data"] for line in options["series"]] == [[[1, 0.5]], []]
    assert options["legend"]["show"]


def test_a_list_of_jobs_links_each_and_pages_by_the_last() -> None:
    running = job(progress=Progress(step=5, total=20, eta_s=61, metrics={"reward": -0.25}), runtime_s=30)
    page = Page[Job](data=[running], has_more=True, last_id=running.id)
    made = job_views.listed(page, JobList(status="running"), now=NOW)
    assert f'href="/jobs/{running.id}"' in made
    assert "5 of 20 · 1 min 1 s left" in made
    assert "\u22120.250" in made
    assert "5 min ago" in made
    assert f"/jobs?status=running&amp;after={running.id}" in made
    assert "No such job" in job_views.listed(Page[Job](data=[]), JobList(kind="rl"), now=NOW)
    assert "No jobs yet" in job_views.listed(Page[Job](data=[]), JobList(), now=NOW)


def test_only_what_has_changed_is_sent() -> None:
    before = job_views.live_cells([job(progress=Progress(step=1, total=9)), job(2)])
    after = job_views.live_cells([job(progress=Progress(step=2, total=9)), job(2), job(3)])
    assert list(changes(before, after)) == [f"{job().id}.progress"]


@pytest.mark.parametrize(
    ("fields", "actions"),
    [
        ({"status": "queued"}, ["pause", "cancel"]),
        ({"status": "running"}, ["pause", "cancel"]),
        ({"status": "running", "pause_requested": True}, ["resume", "cancel"]),
        ({"status": "running", "cancel_requested": True}, []),
        ({"status": "paused"}, ["resume", "cancel"]),
        ({"status": "succeeded"}, []),
        ({"status": "failed"}, []),
    ],
)
def test_a_job_offers_what_can_be_asked_of_it(fields: dict[str, Any], actions: list[str]) -> None:
    assert job_views.actions_of(job(**fields)) == actions


def test_the_end_of_a_job_says_what_it_made_or_what_to_do() -> None:
    made = job_views.outcome(job(status="succeeded", result=JobResult(teacher="algebra@3", evaluation="eval_1")))
    assert made is not None
    assert "/models?version=algebra@3" in made
    assert "/evaluations/eval_1" in made
    failed = job_views.outcome(job(status="failed", error=JobError(code="diverged", message="a gradient broke")))
    assert failed is not None
    assert JobError(code="diverged", message="").remedy in failed.replace("&#x27;", "'")
    assert job_views.outcome(job()) is None


@pytest.mark.parametrize("kind", SPECS)
def test_the_form_of_each_kind_has_each_of_its_fields_and_makes_a_spec_of_what_is_typed(kind: str) -> None:
    fields = forms.fields_of(kind)
    assert {field.name for field in fields} | {"kind"} == set(SPECS[kind].model_fields)
    typed = {field.name: field.initial for field in fields}  # every default, as it stands in the form
    typed |= {"dataset": "ds_" + "0" * 20, "target_name": "made", "role": "teacher", "teacher": "", "model": "made@1"}
    made = SPECS[kind].model_validate(forms.spec_of(kind, typed))
    assert made.dataset == "ds_" + "0" * 20


def test_what_is_typed_becomes_the_field_s_own_type() -> None:
    typed = {
        "steps": "20",
        "learning_rate": "1e-4",
        "unbiased_kl": "false",
        "lora": '{"rank": 8}',
        "name": " ",
        "x": "1",
    }
    assert forms.spec_of("rl", typed) == {
        "kind": "rl", "steps": 20, "learning_rate": 1e-4, "unbiased_kl": False, "lora": {"rank": 8},
    }  # fmt: skip
    assert forms.spec_of("rl", {"student": '["a@1", "b@1"]'})["student"] == ["a@1", "b@1"]
    assert forms.spec_of("rl", {"student": "fake@0"})["student"] == "fake@0"
    with pytest.raises(forms.FieldError, match="not JSON"):
        forms.spec_of("rl", {"lora": "rank 8"})
    with pytest.raises(forms.FieldError, match="'many' is not a whole number"):
        forms.spec_of("rl", {"steps": "many"})


def version(name: str, *, parent: str | None = None, minutes: int = 0, aliases: tuple[str, ...] = ()) -> ModelVersion:
    stem, _, digits = name.partition("@")
    return ModelVersion(
        version=name, name=stem, number=int(digits), role="teacher", created_at=NOW + timedelta(minutes=minutes),
        base_model="b", format="stratos@1", weights="adapter", lora_rank=4, parent=parent, aliases=list(aliases),
    )  # fmt: skip


def test_versions_stand_under_their_parents_and_orphans_at_the_root() -> None:
    versions = [
        version("a@2", parent="a@1", minutes=2),
        version("a@1", parent="gone@1"),
        version("b@1", parent="a@1", minutes=1),
    ]
    [root] = forest(versions)
    assert root.version.version == "a@1"
    assert [child.version.version for child in root.children] == ["b@1", "a@2"]
    made = tree([version("a@1", aliases=("default",))], chosen="a@1")
    assert "serves as default" in made
    assert 'aria-current="true"' in made


def test_an_interval_decides_what_is_said_of_a_difference() -> None:
    said = [
        verdict(Difference(mean=mean, ci_low=low, ci_high=high, n=9))
        for mean, low, high in ((0.2, 0.1, 0.3), (-0.2, -0.3, -0.1), (0.1, -0.1, 0.3))
    ]
    assert said == ["higher", "lower", "no difference shown"]


def test_answers_to_the_same_question_stand_side_by_side() -> None:
    def answer(question: int, version_: str, reward: float) -> EvaluationRow:
        return evaluation_row(number=question, version=version_, reward=reward)

    rows = [answer(2, "a@1", -1.0), answer(1, "a@2", -0.5), answer(1, "a@1", -1.0), answer(2, "a@2", 0.0)]
    rows += [answer(3, "a@1", -1.0)]  # the other version has not answered it
    pairs = pairs_of(rows, before="a@1", after="a@2")
    assert [(before.question_id, after.reward) for before, after in pairs] == [("2", 0.0), ("1", -0.5)]


@given(
    st.one_of(st.none(), st.sampled_from(["queued", "failed"])),
    st.one_of(st.none(), st.sampled_from(["rl", "pipeline"])),
    st.one_of(st.none(), st.text(min_size=1, max_size=9)),
)
def test_an_address_shows_the_same_list_again(status: str | None, kind: str | None, after: str | None) -> None:
    place = JobList(status=status, kind=kind, after=after)
    assert JobList.of(dict(parse_qsl(urlsplit(place.address).query))) == place


def test_an_address_that_says_nothing_known_shows_the_first_view() -> None:
    assert JobList.of({"status": "odd", "kind": "x"}) == JobList()
    assert JobPage.of("job_1", {"tab": "odd", "step": "-3"}) == JobPage(id="job_1")
    assert JobPage(id="job_1", tab="samples", step=4).address == "/jobs/job_1?tab=samples&step=4"
    assert Comparison.of(["a", "b", "a"], "").address == "/jobs/compare?job=a&job=b"
    assert [number(text) for text in ("12", "", "x", "-1", "9" * 30, "²")] == [12, None, None, None, None, None]


@pytest.mark.parametrize(
    "address", ["https://elsewhere.example", "//elsewhere.example", "/\\elsewhere.example", "x", "/a\nb"]
)
def test_nobody_is_led_to_another_site_after_signing_in(address: str) -> None:
    assert own_path(address) == "/"


def test_a_table_has_a_name_a_head_and_a_place_of_its_own_to_scroll_in() -> None:
    made = table(["A", ""], [["1", "2"]], label="Figures", classes=["number", ""])
    assert re.search(r'role="region" aria-label="Figures"', made)
    assert '<th scope="col" class="number">A</th>' in made
    assert "<td></td></tr></thead>" in made  # a head without a name is no head


def test_metrics_are_summed_over_their_labels() -> None:
    restarts = 'rlt_engine_restarts_total{base="x"} 2.0\nrlt_engine_restarts_total{base="y"} 1.0'
    text = f"# HELP a b\n{restarts}\nrlt_free 5\nodd\n"
    assert system_views.sums_of(text) == {
        "rlt_engine_restarts_total": 3.0,
        'rlt_engine_restarts_total{base="x"}': 2.0,
        'rlt_engine_restarts_total{base="y"}': 1.0,
        "rlt_free": 5.0,
    }
