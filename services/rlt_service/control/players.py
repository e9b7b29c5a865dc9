"""Own how a dry run reaches teacher and student: in this process, or over HTTP where others play them."""

from dataclasses import dataclass, field
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from rlt_core.addresses import addresses_of
from rlt_core.errors import EngineUnavailableError
from rlt_core.replicas import Asked, Replicas
from rlt_core.schemas.explain import ExplainRequest, ExplainResponse
from rlt_core.schemas.score import ScoreRequest, ScoreResponse
from rlt_core.schemas.solve import SolveRequest, SolveResponse
from rlt_service.student.score import Scorer
from rlt_service.student.solve import Solver
from rlt_service.teacher.explain import Explainer

AnswerT = TypeVar("AnswerT", bound=BaseModel)

Question = ExplainRequest | ScoreRequest | SolveRequest

REQUEST_TIMEOUT_S = 60.0
AWAY = frozenset({429, 502, 503, 504})


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
    """One address, or several as `rlt_core.addresses` reads them."""
    transport: httpx.AsyncBaseTransport | None = None
    """Null is the network."""
    replicas: Replicas = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the addresses."""
        object.__setattr__(self, "replicas", Replicas(addresses_of(self.base_url)))

    async def explain(self, request: ExplainRequest) -> ExplainResponse:
        """Sample; raises EngineUnavailableError for whatever is no answer."""
        return await self._ask("/v1/explain", request, into=ExplainResponse)

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Judge; raises EngineUnavailableError for whatever is no answer."""
        return await self._ask("/v1/score", request, into=ScoreResponse)

    async def solve(self, request: SolveRequest) -> SolveResponse:
        """Have a student solve; raises EngineUnavailableError for whatever is no answer."""
        return await self._ask("/v1/solve", request, into=SolveResponse)

    async def _ask(self, path: str, request: Question, *, into: type[AnswerT]) -> AnswerT:
        """Ask the question's own server, and where that one is away each other once: it is only calculated."""
        tried: set[str] = set()
        asked = Asked(request.question)
        while True:
            server = self.replicas.take(path, asked, tried=tried)
            tried.add(server)
            try:
                answer = await self._post(server + path, request)
            finally:
                self.replicas.give_back(server)
            if not isinstance(answer, httpx.HTTPError) and answer.status_code not in AWAY:
                self.replicas.answered(server)
                return _read(answer, url=server + path, into=into)
            self.replicas.away(server)
            if not self.replicas.others(path, tried=tried):
                return _read(answer, url=server + path, into=into)

    async def _post(self, url: str, body: BaseModel) -> httpx.Response | httpx.HTTPError:
        headers = {"Content-Type": "application/json"}
        try:
            async with httpx.AsyncClient(
                timeout=REQUEST_TIMEOUT_S, transport=self.transport, trust_env=False
            ) as client:
                return await client.post(url, content=body.model_dump_json(), headers=headers)
        except httpx.HTTPError as error:
            return error


def _read(answer: httpx.Response | httpx.HTTPError, *, url: str, into: type[AnswerT]) -> AnswerT:
    """Read an answer; raises EngineUnavailableError for whatever is none."""
    if isinstance(answer, httpx.HTTPError):
        raise EngineUnavailableError(f"{url} does not answer: {answer!r}") from answer
    if not answer.is_success:
        raise EngineUnavailableError(f"{url} answered {answer.status_code}: {_detail(answer)}")
    try:
        return into.model_validate_json(answer.content)
    except ValidationError as error:
        raise EngineUnavailableError(f"{url} answered what is no {into.__name__}") from error


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])[:300]
    except (ValueError, KeyError, TypeError):
        return answer.text[:300]
