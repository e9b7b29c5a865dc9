"""Own how a dry run is shown: what a job would read, take and make, before it is started. Pure."""

from collections.abc import Callable

from rlt_core.schemas.dry_run import Estimate
from rlt_core.schemas.jobs import DryRun
from rlt_service.dashboard.figures import NONE, count, duration, figure, signed, size
from rlt_service.dashboard.markup import Markup, joined, tag
from rlt_service.dashboard.tables import table
from rlt_service.dashboard.token_views import facts


def checked(found: DryRun) -> Markup:
    """Write everything that the server can know before the start."""
    rows = [("rows", count(found.dataset_rows)), ("to train on", count(found.train_rows))]
    rows += [(f"held out, {name}", count(number)) for name, number in found.held_out_rows.items() if number]
    rows += [(name, version) for name, version in (("teacher", found.teacher), ("student", found.student)) if version]
    return tag(
        "div",
        tag("h2", "The server would start this"),
        [tag("p", warning, class_="notice") for warning in found.warnings],
        facts(rows),
        _estimates(found),
        _tried(found),
        class_="card",
        role="status",
    )


def _estimates(found: DryRun) -> Markup | None:
    if found.estimates is None:
        return None
    e = found.estimates
    lines: list[tuple[str, Estimate, Callable[[float | None], str]]] = [
        ("time in all", e.total_s, duration),
        ("of it sampling", e.generate_s, duration),
        ("of it scoring", e.score_s, duration),
        ("of it training", e.train_s, duration),
        ("tokens sampled", e.generated_tokens, count),
        ("tokens scored", e.scored_tokens, count),
        ("tokens trained on", e.trained_tokens, count),
        ("memory of the trainer", e.memory_bytes, size),
        ("disk", e.disk_bytes, size),
    ]
    rows = [[name, write(estimate.value), estimate.basis] for name, estimate, write in lines]
    made = table(["What", "About", "By"], rows, classes=["", "number", "muted"], label="Estimates")
    return joined(tag("h4", "Estimates"), made)


def _tried(found: DryRun) -> Markup | None:
    tried = found.rehearsal
    if tried is None:
        return None
    if not tried.rows:
        return tag("p", f"No row was tried: {tried.not_scored or NONE}", class_="muted")
    rows = [
        [row.row or NONE, signed(row.reward), signed(row.r_ss), figure(row.r_kl), "yes" if row.well_formed else "no"]
        for row in tried.rows
    ]
    names = ["Row", "Reward", "r_SS", "r_KL", "Closed"]
    made = table(names, rows, classes=["", "number", "number", "number", ""], label="Rows that were tried")
    return joined(tag("h4", "Rows that were tried"), made)
