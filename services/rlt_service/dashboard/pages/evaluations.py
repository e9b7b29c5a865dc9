"""Evaluations: those that jobs have made, question by question, side by side."""

from typing import Final

from rlt_core.schemas.teachers import Evaluation
from rlt_service.dashboard.addresses import number
from rlt_service.dashboard.evaluation_views import answers, compared, head, listed, side_by_side
from rlt_service.dashboard.frame import raw
from rlt_service.dashboard.markup import tag
from rlt_service.dashboard.tables import empty, heading
from rlt_service.dashboard.visits import Visit

LOOKED_THROUGH: Final = 100
WINDOW: Final = 25
KINDS: Final = ("evaluate", "rl")
"""Whose results name evaluations."""


async def build(visit: Visit) -> None:
    """Show what the newest jobs have measured."""
    pages = [await visit.gateway.jobs(limit=LOOKED_THROUGH, kind=kind, status="succeeded") for kind in KINDS]
    jobs = sorted((job for page in pages for job in page.data), key=lambda job: job.created_at, reverse=True)
    raw(tag("h1", "Evaluations"))
    raw(listed(jobs))


async def build_one(visit: Visit) -> None:
    """Show one evaluation's figures and a window of its questions."""
    id_ = visit.path["evaluation_id"]
    found = await visit.gateway.evaluation(id_)
    offset = number(visit.query.get("offset", "")) or 0
    raw(heading("Evaluation", above=("Evaluations", "/evaluations"), here=id_))
    raw(head(found))
    if isinstance(found, Evaluation):
        rows = await visit.gateway.explained_rows(id_)
        raw(side_by_side(found, rows, offset=offset, limit=WINDOW))
        return
    window = await visit.gateway.answer_rows(id_, offset=offset, limit=WINDOW)
    raw(answers(window, evaluation_id=id_, offset=offset, limit=WINDOW))


async def build_pairs(visit: Visit) -> None:
    """Show the chosen ones side by side."""
    ids = visit.queries.get("id", [])
    raw(heading("Compare evaluations", above=("Evaluations", "/evaluations"), here="compare"))
    if len(ids) < 2:
        raw(
            empty(
                "Choose two",
                "A comparison needs at least two evaluations.",
                link=("/evaluations", "To the evaluations"),
            )
        )
        return
    raw(compared(await visit.gateway.compare(",".join(ids))))
