# ruff: noqa: E402 - what is imported here may be missing
"""The dashboard in a real browser: every page, what people do there, and what a closed page leaves behind."""

import asyncio
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.dashboard.needs import skip_without_browser

skip_without_browser()

from playwright.sync_api import Browser, Page, expect

from rlt_core.schemas.jobs import JOB_SPEC
from rlt_core.schemas.projects import Quotas
from rlt_service.store.projects import ProjectStore
from tests.dashboard.site import Site, lay_long_job, lay_many_jobs
from tests.dashboard.watched import barriers, drop, ready, scrolls_sideways, watched
from tests.support.keys import make_key
from tests.support.measured import measure
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
KEPT = {
    "jobs", "job", "job-samples", "new-job", "compare-jobs", "models", "datasets", "evaluations", "evaluation",
    "system",
}  # fmt: skip
"""Pages whose pictures the documentation shows, light and on a desk."""
TRIES = 4
USABLE_S = 2.0
"""From the call of a page to its being drawn and connected."""
ROWS = "".join(
    f'{{"question": "{a} + {b}?", "solution": "{a + b}", "reasoning_trace": "Add {a} and {b}."}}\n'
    for a in range(6)
    for b in range(5)
)


class Laid:
    """What the tests find in the stores."""

    def __init__(self, site: Site) -> None:
        control = site.control
        answer = site.api("POST", "/v1/datasets?name=sums", content=ROWS, headers={"Content-Type": "application/jsonl"})
        self.dataset: str = answer.json()["id"]
        lay_many_jobs(site.services)
        self.first = control.version("algebra", seed=1)
        self.second = control.version("algebra", seed=2, parent=self.first)
        self.evaluation = control.evaluation(before=self.first, after=self.second, gain=0.2)
        self.measured = [measure(control, self.first).id, measure(control, self.second).id]
        self.jobs = [_job_with_steps(site, name=f"algebra, seed {seed}", seed=seed) for seed in (1, 2)]
        log = site.services.artifacts.log_path(self.jobs[0].id, self.jobs[0].attempt)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("".join(f"step {step} of 40 · 5 s\n" for step in range(1, 31)), encoding="utf-8")
        self.long = lay_long_job(site)


def _job_with_steps(site: Site, *, name: str, seed: int) -> Any:
    job = site.running_job(name=name, dataset="ds_" + "0" * 20, seed=seed)
    for step in range(1, 31):
        reward = -1.2 + 0.9 * (1 - 0.9**step) + 0.04 * ((step * 7 * seed) % 5)
        more = {"loss": 0.02 + 0.1 / step, "length": 90.0 + step % 7, "kl": 0.001 * step, "grad_norm": 0.4 + 0.1 / step}
        site.step(job, step, metrics={"reward": reward, "r_ss": reward + 0.2, "r_kl": 0.2, **more})
        site.tell(
            job, "sample", step=step, question_id="q7", question="7 + 5?", solution="12", reward=reward,
            text="Start at seven and count five further: eight, nine, ten, eleven, twelve.", r_ss=reward + 0.2,
            r_kl=0.2, well_formed=True,
        )  # fmt: skip
    return job


@pytest.fixture(scope="module")
def laid(site: Site) -> Laid:
    return Laid(site)


PAGES = {
    "try": "/",
    "jobs": "/jobs",
    "no-jobs": "/jobs?kind=pipeline",
    "job": "/jobs/{job}",
    "job-samples": "/jobs/{job}?tab=samples&step=7",
    "job-events": "/jobs/{job}?tab=events",
    "job-log": "/jobs/{job}?tab=log",
    "job-spec": "/jobs/{job}?tab=spec",
    "new-job": "/jobs/new?kind=rl",
    "compare-jobs": "/jobs/compare?job={job}&job={other}&metric=reward",
    "models": "/models?version={version}",
    "datasets": "/datasets",
    "dataset": "/datasets/{dataset}",
    "evaluations": "/evaluations",
    "evaluation": "/evaluations/{evaluation}",
    "compare-evaluations": "/evaluations/compare?id={measured}&id={measured2}",
    "system": "/system",
    "access": "/access",
}


def address_of(name: str, laid: Laid) -> str:
    return PAGES[name].format(
        job=laid.jobs[0].id, other=laid.jobs[1].id, version=laid.second, dataset=laid.dataset,
        evaluation=laid.evaluation, measured=laid.measured[0], measured2=laid.measured[1],
    )  # fmt: skip


def picture(page: Page, name: str) -> None:
    """Keep a picture for the documentation, where that is asked for."""
    if os.environ.get("RLT_PICTURES"):
        PICTURES.mkdir(exist_ok=True)
        page.wait_for_timeout(400)
        page.screenshot(path=PICTURES / f"{name}.png", animations="disabled")


@pytest.mark.parametrize("name", PAGES)
def test_each_page_is_whole_accessible_and_readable_on_a_phone(
    browser: Browser, site: Site, laid: Laid, name: str
) -> None:
    with watched(browser, site.url) as page:
        page.goto(address_of(name, laid))
        ready(page)
        assert page.locator(".notice.bad[role=alert]").count() == 0
        if name in KEPT:
            picture(page, f"dashboard-{name}")
        assert barriers(page) == []
        page.emulate_media(color_scheme="dark")
        expect(page.locator("body")).to_have_class(re.compile("body--dark"))
        assert [found for found in barriers(page) if "contrast" in found] == []
        if name == "job":
            picture(page, f"dashboard-{name}-dark")
        page.set_viewport_size({"width": 390, "height": 844})
        assert not scrolls_sideways(page)
        if name in ("job", "jobs"):
            page.emulate_media(color_scheme="light")
            picture(page, f"dashboard-{name}-phone")


def test_a_question_is_explained_while_one_looks_and_each_token_is_coloured(
    browser: Browser, site: Site, laid: Laid
) -> None:
    with watched(browser, site.url) as page:
        page.goto(f"/?teacher={laid.first}&other={laid.second}")
        ready(page)
        page.get_by_label("Question").fill("What is 17 + 25?")
        page.get_by_label("Solution").fill("42")
        page.get_by_role("button", name="Explain").click()
        answers = page.locator(".answer")
        expect(answers).to_have_count(2)
        expect(answers.nth(0).locator(".tokens")).to_have_count(2)  # explanation and solution
        expect(answers.nth(1).locator(".facts")).to_contain_text("uplift")
        assert barriers(page) == []
        first = answers.nth(0).locator(".tok").first
        first.focus()
        page.keyboard.press("ArrowRight")
        expect(answers.nth(0).locator(".readout")).to_contain_text("log p")
        assert "17+%2B+25" in page.url  # what was asked can be shared
        picture(page, "dashboard-explained")
        page.reload()
        ready(page)
        expect(page.get_by_label("Question")).to_have_value("What is 17 + 25?")


def test_a_refusal_stands_where_the_answer_would(browser: Browser, site: Site, laid: Laid) -> None:
    assert laid.dataset
    with watched(browser, site.url) as page:
        page.goto("/")
        ready(page)
        page.get_by_role("button", name="Explain").click()
        expect(page.locator(".answer [role=alert]")).to_contain_text("/question")


def test_a_job_s_page_follows_it_and_stops_when_it_has_ended(browser: Browser, site: Site, laid: Laid) -> None:
    job = site.running_job(name="followed")
    site.step(job, 1, metrics={"reward": -1.0})
    with watched(browser, site.url) as page:
        page.goto(f"/jobs/{job.id}")
        ready(page)
        expect(page.locator("body")).to_contain_text("1 of 40")
        site.step(job, 2, metrics={"reward": -0.5})
        expect(page.locator("body")).to_contain_text("2 of 40")
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel it").click()
        expect(page.locator(".state").first).to_contain_text("to be cancelled")
        assert site.services.jobs.get(job.id).cancel_requested
        site.services.jobs.finish(job.id, job.attempt, "cancelled")
        expect(page.locator(".state").first).to_have_text("cancelled")
        expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    assert laid.jobs


def test_a_job_is_paused_and_resumed_after_a_question(browser: Browser, site: Site, laid: Laid) -> None:
    spec = JOB_SPEC.validate_python({"kind": "rl", "dataset": laid.dataset, "target_name": "paused"})
    waiting, running = site.services.jobs.submit(spec), site.running_job(name="held")
    with watched(browser, site.url) as page:

        def ask(action: str, answer: str) -> None:
            page.get_by_role("button", name=action, exact=True).click()
            page.get_by_role("dialog").get_by_role("button", name=answer).click()

        state = page.locator(".state").first
        page.goto(f"/jobs/{waiting.id}")
        ready(page)
        ask("Pause", "Leave it")
        expect(state).to_have_text("queued")
        assert site.services.jobs.get(waiting.id).status == "queued"
        ask("Pause", "Pause it")
        expect(state).to_have_text("paused")
        expect(page.get_by_role("button", name="Pause", exact=True)).to_have_count(0)
        assert site.services.jobs.get(waiting.id).status == "paused"
        ask("Resume", "Resume it")
        expect(state).to_have_text("queued")
        assert site.services.jobs.get(waiting.id).status == "queued"
        page.goto(f"/jobs/{running.id}")
        ready(page)
        ask("Pause", "Pause it")
        expect(state).to_contain_text("to be paused")
        assert site.services.jobs.get(running.id).pause_requested
        ask("Resume", "Resume it")
        expect(state).to_have_text("running")
        assert not site.services.jobs.get(running.id).pause_requested
    for job in (waiting, running):
        site.services.jobs.cancel(job.id)


def test_the_slider_shows_the_samples_of_its_step_and_the_address_keeps_it(
    browser: Browser, site: Site, laid: Laid
) -> None:
    with watched(browser, site.url) as page:
        page.goto(f"/jobs/{laid.long.id}?tab=samples&step=7000")
        ready(page)
        expect(page.locator("article")).to_contain_text("One more than 7000.")
        page.get_by_role("slider", name="Step").fill("1234")
        expect(page.locator("article")).to_contain_text("One more than 1234.")
        assert "step=1234" in page.url


def test_jobs_are_filtered_paged_and_compared_by_links_and_forms(browser: Browser, site: Site, laid: Laid) -> None:
    with watched(browser, site.url) as page:
        page.goto("/jobs")
        ready(page)
        page.get_by_label("Status").select_option("failed")
        page.get_by_role("button", name="Filter").click()
        page.wait_for_url(re.compile("status=failed"))
        ready(page)
        assert page.locator("tbody .state-failed").count() == 25
        first = page.locator("tbody a").first.inner_text()
        page.get_by_role("link", name="Older").click()
        page.wait_for_url(re.compile("after=job_"))
        ready(page)
        assert page.locator("tbody a").first.inner_text() != first
        page.goto("/jobs?status=running")
        ready(page)
        for job in laid.jobs:
            page.locator(f"input[value={job.id}]").check()
        page.get_by_role("button", name="Compare the chosen").click()
        page.wait_for_url(re.compile("/jobs/compare"))
        ready(page)
        expect(page.locator("tbody tr")).to_have_count(2)
        expect(page.locator("canvas")).to_have_count(1)


def test_a_job_starts_from_a_form_after_a_dry_run_was_shown(browser: Browser, site: Site, laid: Laid) -> None:
    with watched(browser, site.url) as page:
        page.goto(f"/jobs/new?kind=rl&dataset={laid.dataset}")
        ready(page)
        start = page.get_by_role("button", name="Start", exact=True)
        expect(start).to_be_disabled()
        page.get_by_label("steps", exact=True).fill("many")
        page.get_by_role("button", name="Check").click()
        expect(page.get_by_role("alert")).to_contain_text("not a whole number")
        page.get_by_label("steps", exact=True).fill("3")
        page.get_by_label("target name *").fill("from-form")
        page.get_by_role("button", name="Check").click()
        expect(page.locator("body")).to_contain_text("The server would start this")
        assert barriers(page) == []
        start.click()
        page.wait_for_url(re.compile("/jobs/job_"))
        ready(page)
    newest = site.services.jobs.list(limit=1).data[0]
    assert newest.spec.model_dump()["target_name"] == "from-form"
    assert newest.spec.model_dump()["steps"] == 3


def test_a_version_is_promoted_and_rolled_back_after_a_question(browser: Browser, site: Site, laid: Laid) -> None:
    before = site.control.alias("teacher", "default")
    with watched(browser, site.url) as page:
        page.goto(f"/models?version={laid.second}")
        ready(page)
        expect(page.locator("body")).to_contain_text(laid.evaluation)
        page.get_by_role("button", name="Promote to default").click()
        page.get_by_role("dialog").get_by_role("button", name="Leave it").click()
        assert site.control.alias("teacher", "default") == before
        page.get_by_role("button", name="Promote to default").click()
        page.get_by_role("dialog").get_by_role("button", name="Promote it").click()
        expect(page.locator(f"li:has(> a[href='/models?version={laid.second}'])")).to_contain_text("serves as default")
        assert site.control.alias("teacher", "default") == laid.second
        page.get_by_role("button", name=f"Roll back to {before}").click()
        page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
        wait_until(lambda: site.control.alias("teacher", "default") == before, what="the alias is back")


def test_a_project_is_bounded_by_what_is_typed(browser: Browser, site: Site, laid: Laid) -> None:
    assert laid.dataset
    projects = ProjectStore(site.services.database)
    projects.create("algebra", Quotas())
    with watched(browser, site.url) as page:
        page.goto("/access")
        ready(page)
        page.get_by_role("link", name="algebra").click()
        page.wait_for_url(re.compile("project=algebra"))
        ready(page)
        page.get_by_label("jobs at once").fill("two")
        page.get_by_role("button", name="Set quotas").click()
        expect(page.get_by_role("alert")).to_contain_text("not a whole number")
        page.get_by_label("jobs at once").fill("2")
        page.get_by_role("button", name="Set quotas").click()
        expect(page.locator("tbody")).to_contain_text("0 of 2")
        assert barriers(page) == []
    assert projects.get("algebra").quotas == Quotas(jobs_at_once=2)


def test_a_dropped_file_becomes_a_dataset_and_each_bad_line_is_named(
    browser: Browser, site: Site, laid: Laid, tmp_path: Path
) -> None:
    bad, good = tmp_path / "bad.jsonl", tmp_path / "good.jsonl"
    bad.write_text('{"question": "q", "solution": "s"}\n{"question": "q"}\nno json\n')
    good.write_text('{"question": "2 + 2?", "solution": "4"}\n')
    with watched(browser, site.url) as page:
        page.goto("/datasets")
        ready(page)
        page.set_input_files("input[type=file]", bad)
        expect(page.get_by_role("alert")).to_contain_text("line 2")
        expect(page.get_by_role("alert")).to_contain_text("line 3")
        drop(page, ".drop", good)
        page.wait_for_url(re.compile("/datasets/ds_"))
        ready(page)
        expect(page.locator("h1")).to_have_text("good")
        expect(page.locator("tbody")).to_contain_text("2 + 2?")
    assert laid.dataset


def test_the_keyboard_reaches_the_content_first_and_the_theme_is_kept(browser: Browser, site: Site, laid: Laid) -> None:
    assert laid.dataset
    with watched(browser, site.url) as page:
        page.goto("/jobs")
        ready(page)
        page.keyboard.press("Tab")
        assert "skip" in str(page.evaluate("() => document.activeElement.className"))
        page.get_by_role("button", name="Theme: system").click()
        page.get_by_role("button", name="Theme: light").click()
        expect(page.locator("body")).to_have_class(re.compile("body--dark"))
        page.reload()
        ready(page)
        expect(page.locator("body")).to_have_class(re.compile("body--dark"))
        assert [found for found in barriers(page) if "contrast" in found] == []


def test_pages_are_usable_at_once_with_ten_thousand_jobs_and_a_hundred_thousand_points(
    browser: Browser, site: Site, laid: Laid
) -> None:
    with watched(browser, site.url) as page:
        page.goto("/system")  # what is loaded once for all pages
        ready(page)
        addresses = {"/jobs": "tbody tr", f"/jobs/{laid.long.id}": "canvas"}
        spent = {address: _usable_after(page, address, shown=shown) for address, shown in addresses.items()}
        print(spent)  # noqa: T201 - told where the test fails, or with -s
        assert max(spent.values()) < USABLE_S, spent


def _usable_after(page: Page, address: str, *, shown: str) -> float:
    """Give the seconds until a page is usable: the least of a few tries, for other tests run beside this one."""
    least = float("inf")
    for _ in range(TRIES):
        began = time.monotonic()
        page.goto(address)
        ready(page)
        page.wait_for_selector(shown)
        least = min(least, time.monotonic() - began)
        if least < USABLE_S:
            break
    return least


def test_a_closed_page_leaves_no_task_and_changes_nothing_in_its_job(browser: Browser, site: Site, laid: Laid) -> None:
    from nicegui import Client, background_tasks

    def pages() -> int:
        return site.count(lambda: len(Client.instances))

    def tasks() -> int:
        return site.count(lambda: len(asyncio.all_tasks()) + len(background_tasks.running_tasks))

    wait_until(lambda: pages() == 0, what="pages of the tests before are forgotten")
    before, job = tasks(), site.services.jobs.get(laid.jobs[0].id)
    with watched(browser, site.url) as page:
        for address in ("/", "/jobs", f"/jobs/{laid.jobs[0].id}", "/system"):
            page.goto(address)
            ready(page)
    wait_until(lambda: pages() == 0, what="the closed pages are forgotten")
    wait_until(lambda: tasks() <= before, what="their tasks have ended")
    assert site.services.jobs.get(laid.jobs[0].id) == job


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "elsewhere.example"}]
)
def test_a_page_of_another_site_reaches_no_socket(site: Site, laid: Laid, headers: dict[str, str]) -> None:
    assert laid.dataset
    answer = site.api("GET", "/_nicegui_ws/socket.io/?EIO=4&transport=polling", headers=headers)
    assert answer.status_code == 403


def test_other_paths_keep_the_api_s_answers(site: Site, laid: Laid) -> None:
    assert laid.dataset
    for method, path, status in (("GET", "/v1/nothing", 404), ("POST", "/jobs", 404), ("DELETE", "/v1/jobs", 405)):
        answer = site.api(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    page = site.api("GET", "/jobs")
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


def test_where_keys_exist_pages_ask_for_one_and_may_do_what_it_may(browser: Browser, site: Site, laid: Laid) -> None:
    key = make_key(site.control, "train", "explain", "score")["Authorization"].removeprefix("Bearer ")
    assert site.api("GET", "/jobs").status_code == 303
    assert site.api("GET", "/_nicegui_ws/socket.io/?EIO=4&transport=polling").status_code == 403
    assert site.api("POST", "/sign-in", data={"key": "rlt_no"}).status_code == 401
    taken = site.api("POST", "/sign-in", data={"key": key, "next": "//elsewhere.example"})
    assert taken.headers["location"] == "/"
    cookie = taken.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    with watched(browser, site.url) as page:
        page.goto(f"/datasets/{laid.dataset}")
        expect(page).to_have_url(re.compile("/sign-in"))
        assert barriers(page) == []
        page.get_by_label("Key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("[role=alert]")).to_contain_text("no")  # a key sees what it owns, and this is another's
        page.goto("/jobs")
        ready(page)
        expect(page.locator("body")).to_contain_text("No jobs yet")
        page.get_by_role("button", name="Sign out").click()
        expect(page).to_have_url(re.compile("/sign-in"))
    assert site.api("GET", "/v1/jobs", cookies={"rlt_key": key}).status_code == 401
