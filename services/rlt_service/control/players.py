"""Own how a dry run reaches teacher and student: in this process, or over HTTP where others play them."""

from dataclasses import dataclass
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from rlt_core.errors import EngineUnavailableError
from rlt_core.schemas.explain import ExplainRequest, ExplainResponse
from rlt_core.schemas.score import ScoreRequest, ScoreResponse
from rlt_core.schemas.solve import SolveRequest, SolveResponse
from rlt_service.student.score import Scorer
from rlt_service.student.solve import Solver
from rlt_service.teacher.explain import Explainer

AnswerT = TypeVar("AnswerT", bound=BaseModel)

REQUEST_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPlayers:
    """Those of this process."""

    explainer: Explainer
    scorer: Scorer
    solver: Solver

    async def explain(self, request: ExplainRequest) -> ExplainResponse:
        """Sample; raises RltError."""
        return await self.explainer.explain(request)

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Judge; raises RltError."""
        return await self.scorer.score(request)

    async def solve(self, request: SolveRequest) -> SolveResponse:
        """Have a student solve; raises RltError."""
        return await self.solver.solve(request)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePlayers:
    """Those behind RLT_SERVICE_URL, where trainers reach them too."""

    base_url: str
    transport: httpx.AsyncBaseTransport | None = None
    """Null is the network."""

    async def explain(self, request: ExplainRequest) -> ExplainResponse:
        """Sample; raises EngineUnavailableError for whatever is no answer."""
        return await self._post("/v1/explain", request, into=ExplainResponse)

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Judge; raises EngineUnavailableError for whatever is no answer."""
        return await self._post("/v1/score", request, into=ScoreResponse)

    async def solve(self, request: SolveRequest) -> SolveResponse:
        """Have a student solve; raises EngineUnavailableError for whatever is no answer."""
        return await self._post("/v1/solve", request, into=SolveResponse)

    async def _post(self, path: str, body: BaseModel, *, into: type[AnswerT]) -> AnswerT:
        try:
            async with httpx.AsyncClient(
                base_url=self.base_url, timeout=REQUEST_TIMEOUT_S, transport=self.transport, trust_env=False
            ) as client:
                answer = await client.post(
                    path, content=body.model_dump_json(), headers={"Content-Type": "application/json"}
                )
        except httpx.HTTPError as error:
            raise EngineUnavailableError(f"{self.base_url} does not answer: {error!r}") from error
        if not answer.is_success:
            raise EngineUnavailableError(f"{self.base_url}{path} answered {answer.status_code}: {_detail(answer)}")
        try:
            return into.model_validate_json(answer.content)
        except ValidationError as error:
            raise EngineUnavailableError(f"{self.base_url}{path} answered what is no {into.__name__}") from error


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])[:300]
    except (ValueError, KeyError, TypeError):
        return answer.text[:300]
