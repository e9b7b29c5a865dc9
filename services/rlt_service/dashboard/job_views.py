"""Own how jobs are shown: the list, a job's head, its progress, its history, what it made. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from rlt_core.schemas.base import Page
from rlt_core.schemas.jobs import TERMINAL, Job, JobEvent
from rlt_service.dashboard.addresses import KINDS, STATUSES, TABS, JobList, JobPage
from rlt_service.dashboard.figures import ago, clock, count, duration, figure, moment, signed
from rlt_service.dashboard.live import live
from rlt_service.dashboard.markup import Markup, joined, tag
from rlt_service.dashboard.tables import empty, table
from rlt_service.dashboard.token_views import facts

KIND_NAMES: Final = {
    "warmup": "warm-up",
    "rl": "reinforcement",
    "collect": "collect",
    "distill": "distil",
    "evaluate": "evaluate",
    "rlvr": "verifiable reward",
    "pipeline": "pipeline",
}
TAB_NAMES: Final = {"overview": "Curves", "samples": "Samples", "events": "Events", "log": "Log", "spec": "Spec"}
SHOWN: Final = ("reward", "r_ss", "r_kl", "right", "loss", "select_reward", "select_loss", "kl", "grad_norm")
"""Metrics that stand in words beside the curves, in this order."""
ACTIONS: Final = {"pause": "Pause", "resume": "Resume", "cancel": "Cancel"}
QUESTIONS: Final = {
    "pause": "It saves its last whole step and makes room; Resume goes on from there.",
    "resume": "It goes back into the queue and on after its last checkpoint.",
    "cancel": "It saves its last whole step and ends for good. What it has learnt becomes no version.",
}


def actions_of(job: Job) -> list[str]:
    """Name what can be asked of a job as it is."""
    if job.status in TERMINAL or job.cancel_requested:
        return []
    if job.status == "paused" or job.pause_requested:
        return ["resume", "cancel"]
    return ["pause", "cancel"]


def state(job: Job) -> Markup:
    """Write a job's status, and what it was asked for meanwhile."""
    word = job.status
    if job.status not in TERMINAL and job.cancel_requested:
        word = f"{job.status}, to be cancelled"
    elif job.status == "running" and job.pause_requested:
        word = "running, to be paused"
    return tag("span", word, class_=f"state state-{job.status}")


def progress(job: Job) -> Markup:
    """Write how far a job is, as a bar and in words."""
    done, total = job.progress.step, job.progress.total
    words = f"{count(done)} of {count(total)}" if total else count(done or None)
    bar = tag("progress", max=total, value=min(done, total), aria_label=f"step {words}") if total else None
    left = f" · {duration(job.progress.eta_s)} left" if job.status == "running" and job.progress.eta_s else ""
    return joined(tag("span", f"{words}{left}", class_="number"), bar if job.status not in TERMINAL else None)


def standing(job: Job) -> Markup:
    """Write a job's status and how far it is, at the head of its page."""
    return tag("div", state(job), tag("div", progress(job), class_="grow"), class_="standing")


def listed(page: Page[Job], place: JobList, *, now: datetime) -> Markup:
    """Write a page of jobs, each with a box to be compared by."""
    if not page.data:
        return nothing_listed(place)
    cells = live_cells(page.data)
    rows = [
        [
            tag("input", type="checkbox", name="job", value=job.id, aria_label=f"compare {job.name or job.id}"),
            tag("a", job.name or job.id, href=JobPage(id=job.id).address),
            KIND_NAMES[job.kind],
            live(f"{job.id}.state", cells[f"{job.id}.state"]),
            live(f"{job.id}.progress", cells[f"{job.id}.progress"]),
            live(f"{job.id}.figure", cells[f"{job.id}.figure"]),
            ago(job.created_at, now=now),
            live(f"{job.id}.ran", cells[f"{job.id}.ran"]),
        ]
        for job in page.data
    ]
    names = ["", "Name", "Kind", "Status", "Steps", "Reward", "Handed in", "Ran"]
    return tag(
        "form",
        table(
            names,
            rows,
            classes=["narrow", "clip", "optional", "", "", "number", "optional", "number optional"],
            label="Jobs",
        ),
        tag(
            "div",
            tag("button", "Compare the chosen", type="submit", class_="button"),
            pager(page, place),
            class_="head",
            style="margin-top: 14px",
        ),
        method="get",
        action="/jobs/compare",
        class_="card",
    )


def pager(page: Page[Job], place: JobList) -> Markup:
    """Write the links to the newest page and to the next older one."""
    newest = tag("a", "Newest", href=place.at(None).address, class_="button") if place.after else None
    older = (
        tag("a", "Older", href=place.at(page.last_id).address, class_="button", rel="next") if page.has_more else None
    )
    return tag("nav", newest, older, class_="pager", aria_label="Pages of jobs")


def nothing_listed(place: JobList) -> Markup:
    """Say that there is no job, and what to do."""
    if place != JobList():
        return empty("No such job", "Nothing fits these filters.", link=("/jobs", "Show all jobs"))
    return empty(
        "No jobs yet",
        "Training, collecting and evaluating run as jobs: start one here, with rlt train, or from the SDK.",
        link=("/jobs/new", "Start a job"),
    )


def filters(place: JobList) -> Markup:
    """Write the form that filters the list; its fields are the address."""
    return tag(
        "form",
        _choice("Status", "status", STATUSES, chosen=place.status),
        _choice("Kind", "kind", KINDS, chosen=place.kind),
        tag("button", "Filter", type="submit", class_="button"),
        method="get",
        action="/jobs",
        class_="bar",
    )


def tabs(place: JobPage) -> Markup:
    """Write the links between the parts of a job's page."""
    links = [
        tag("a", TAB_NAMES[name], href=place.on(name).address, aria_current="page" if name == place.tab else None)
        for name in TABS
    ]
    return tag("nav", links, class_="tabs", aria_label="Parts of the job")


def head_facts(job: Job, *, now: datetime) -> Markup:
    """Write the figures at the head of a job's page."""
    pairs = [
        ("kind", KIND_NAMES[job.kind]),
        ("handed in", f"{moment(job.created_at)} UTC"),
        ("began", ago(job.started_at, now=now)),
        *([("ran for", duration(job.runtime_s))] if job.runtime_s else []),
        ("attempt", count(job.attempt or None)),
    ]
    metrics = job.progress.metrics
    return facts([*pairs, *[(name, figure(metrics[name])) for name in SHOWN if name in metrics]])


def outcome(job: Job) -> Markup | None:
    """Write what a job made, or why it failed and what to do."""
    if job.error is not None:
        return tag(
            "div",
            tag("h2", f"{job.error.code}: {job.error.message}"),
            tag("p", job.error.remedy),
            _details("The last lines of its log", job.error.log_tail),
            class_="notice bad",
            role="status",
        )
    if job.result is None:
        return None
    made = job.result
    links = [
        _made("teacher", made.teacher, f"/models?version={made.teacher}"),
        _made("student", made.student, f"/models?version={made.student}"),
        _made("dataset", made.dataset, f"/datasets/{made.dataset}"),
        *[_made("evaluation", id_, f"/evaluations/{id_}") for id_ in made.evaluations or [made.evaluation]],
    ]
    promoted = made.promotion
    said = None if promoted is None else tag("p", f"{promoted.alias}: {promoted.outcome}, {promoted.reason}")
    return tag("div", tag("h2", "Made"), links, said, class_="notice", role="status")


def told(events: Sequence[JobEvent]) -> Markup:
    """Write events, the newest first."""
    if not events:
        return empty("No events", "Nothing has happened yet.")
    rows = [
        [str(event.seq), clock(event.created_at), event.type, sentence(event), str(event.attempt)] for event in events
    ]
    return table(
        ["No.", "UTC", "Event", "What", "Attempt"],
        rows,
        classes=["number narrow", "narrow optional", "narrow", "", "number narrow optional"],
        label="Events, the newest first",
    )


def sentence(event: JobEvent) -> str:
    """Say in words what an event tells."""
    data = event.data
    if "message" in data:
        return str(data["message"])
    if event.type == "progress":
        metrics: dict[str, float] = data.get("metrics") or {}
        parts = [f"{name} {figure(metrics[name])}" for name in SHOWN if name in metrics]
        return f"step {data.get('step')} of {data.get('total')}" + (f": {', '.join(parts)}" if parts else "")
    if event.type in ("sample", "solved"):
        worth = [f"{name} {figure(data[name])}" for name in SHOWN if isinstance(data.get(name), float)]
        return f"step {data.get('step')}, question {data.get('question_id')}: {', '.join(worth)}".removesuffix(": ")
    shown = [f"{name} {_said(value)}" for name, value in data.items() if isinstance(value, str | int | float)]
    return ", ".join(shown)[:300]


def sample(data: dict[str, Any]) -> Markup:
    """Write one sample of a step: what was asked, what was written, what it was worth."""
    pairs = [("reward", signed(data.get("reward")))]
    if "r_ss" in data:
        pairs += [("r_SS", signed(data.get("r_ss"))), ("r_KL", figure(data.get("r_kl")))]
    if "right" in data:
        pairs.append(("answer", "right" if data["right"] else f"wrong: {data.get('why', '')}"))
    if not data.get("well_formed", True):
        pairs.append(("format", "never closed"))
    written = data.get("text") or data.get("thought") or ""
    return tag(
        "article",
        tag("h3", f"Step {data.get('step')}, question {data.get('question_id')}"),
        facts(pairs),
        [
            joined(tag("h4", name), tag("p", str(value), class_="text"))
            for name, value in (
                ("Question", data.get("question")),
                ("Written", written),
                ("Solution", data.get("solution")),
                ("Right answer", data.get("answer")),
            )
            if value
        ],
        class_="card",
    )


def _said(value: str | float) -> str:
    return figure(value) if isinstance(value, float) else str(value)


def _main_figure(job: Job) -> str:
    metrics = job.progress.metrics
    return signed(metrics["reward"]) if "reward" in metrics else figure(None)


def _choice(label: str, name: str, options: Sequence[str], *, chosen: str | None) -> Markup:
    items = [
        tag("option", KIND_NAMES.get(option, option), value=option, selected=option == chosen) for option in options
    ]
    return tag("label", label, tag("select", tag("option", "all", value=""), items, name=name))


def _made(what: str, name: str | None, address: str) -> Markup | None:
    return None if name is None else tag("p", f"{what} ", tag("a", name, href=address))


def _details(title: str, text: str) -> Markup | None:
    return tag("details", tag("summary", title), tag("pre", text)) if text else None


def live_cells(jobs: Sequence[Job]) -> dict[str, Markup]:
    """Give what changes of each listed job, by the names of their places."""
    found: dict[str, Markup] = {}
    for job in jobs:
        found[f"{job.id}.state"] = state(job)
        found[f"{job.id}.progress"] = progress(job)
        found[f"{job.id}.figure"] = Markup(_main_figure(job))
        found[f"{job.id}.ran"] = Markup(duration(job.runtime_s or None))
    return found


def newer(place: JobList) -> Markup:
    """Say that there are newer jobs than those that are shown."""
    return tag("p", "There are newer jobs. ", tag("a", "Show them", href=place.address), class_="notice", role="status")
