"""/v1/score and /v1/solve, and their batches."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field, SkipValidation

from rlt_core.schemas.base import WireModel
from rlt_core.schemas.score import ScoreBatchResponse, ScoreRequest, ScoreResponse
from rlt_core.schemas.solve import SolveBatchResponse, SolveRequest, SolveResponse
from rlt_service.access.scopes import Needs
from rlt_service.batches import answer_items
from rlt_service.calls import CallDep
from rlt_service.container import ServicesDep
from rlt_service.idempotency import Once, refuse_key
from rlt_service.json_bodies import JsonRoute
from rlt_service.openapi import refusals
from rlt_service.request_ids import request_id_of
from rlt_service.use_cases import scorer_of, solver_of
from rlt_service.version_headers import stamp

router = APIRouter(tags=["score"], route_class=JsonRoute, dependencies=[Needs("score")])


class ScoreItems(WireModel):
    """Many requests at once; each is validated and answered for itself."""

    items: Annotated[list[SkipValidation[ScoreRequest]], Field(min_length=1, max_length=256)]


class SolveItems(WireModel):
    """Many requests at once; each is validated and answered for itself."""

    items: Annotated[list[SkipValidation[SolveRequest]], Field(min_length=1, max_length=256)]


@router.post("/score", include_in_schema=False, dependencies=[Once])
@router.post("/v1/score", dependencies=[Once], responses=refusals(404, 429))
async def score(body: ScoreRequest, response: Response, services: ServicesDep, call: CallDep) -> ScoreResponse:
    """Judge explanations by how likely they make the solution to a student."""
    answer = await call.answer(scorer_of(services).score(body))
    _stamp(response, [answer])
    return answer


@router.post("/v1/score/batch", dependencies=[Once], responses=refusals(429))
async def score_batch(
    body: ScoreItems, request: Request, response: Response, services: ServicesDep, call: CallDep
) -> ScoreBatchResponse:
    """Judge explanations of many questions; a bad item fails alone."""
    refuse_key(request.headers, of="batches")
    scorer = scorer_of(services)
    answers = await call.answer(
        answer_items(body.items, model=ScoreRequest, answer=scorer.score, request_id=request_id_of(request))
    )
    _stamp(response, [answer for answer in answers if isinstance(answer, ScoreResponse)])
    return ScoreBatchResponse(data=answers)


@router.post("/v1/solve", dependencies=[Once], responses=refusals(404, 429))
async def solve(body: SolveRequest, response: Response, services: ServicesDep, call: CallDep) -> SolveResponse:
    """Let a student think a question through and solve it by itself."""
    answer = await call.answer(solver_of(services).solve(body))
    stamp(response, teachers=[], students=[answer.student.version])
    return answer


@router.post("/v1/solve/batch", dependencies=[Once], responses=refusals(429))
async def solve_batch(
    body: SolveItems, request: Request, response: Response, services: ServicesDep, call: CallDep
) -> SolveBatchResponse:
    """Let a student solve many questions; a bad item fails alone."""
    refuse_key(request.headers, of="batches")
    solver = solver_of(services)
    answers = await call.answer(
        answer_items(body.items, model=SolveRequest, answer=solver.solve, request_id=request_id_of(request))
    )
    stamp(
        response,
        teachers=[],
        students=[answer.student.version for answer in answers if isinstance(answer, SolveResponse)],
    )
    return SolveBatchResponse(data=answers)


def _stamp(response: Response, answers: list[ScoreResponse]) -> None:
    teachers = [answer.teacher.version for answer in answers if answer.teacher is not None]
    stamp(response, teachers=teachers, students=[answer.student.version for answer in answers])
