"""Own the dashboard's way to the server: its HTTP API, with the visitor's own key, like any other client of it."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError
from starlette.types import ASGIApp

from rlt_core.errors import RltError
from rlt_core.schemas.base import Page, Role
from rlt_core.schemas.datasets import Dataset, DatasetRows
from rlt_core.schemas.explain import ExplainDone, Explanation, ExplanationDelta
from rlt_core.schemas.jobs import Checkpoint, DryRun, Job, JobEvent, JobMetrics
from rlt_core.schemas.measured import AnswerRow, EvaluationComparison, ModelEvaluation
from rlt_core.schemas.projects import AuditEntry, KeyCard, Project
from rlt_core.schemas.score import ScoreResponse
from rlt_core.schemas.server import Capabilities, Readiness
from rlt_core.schemas.teachers import (
    Alias,
    AliasHistory,
    Evaluation,
    EvaluationRow,
    Lineage,
    ModelList,
    ModelVersion,
    NamedModel,
)
from rlt_service.dashboard.in_process import InProcess

OWN_URL: Final = "http://127.0.0.1"
"""An address in figures, under which the app knows itself whatever names it is called by."""
ROWS: Final = 1000
MOST_ROWS: Final = 4000
"""Of a comparison that are read for a page; evaluations have some hundred."""
AnswerT = TypeVar("AnswerT")
Params = Mapping[str, str | int | None]
ExplainEvent = ExplanationDelta | Explanation | ExplainDone
_EVENTS: dict[str, type[ExplainEvent]] = {"delta": ExplanationDelta, "explanation": Explanation, "done": ExplainDone}


class RefusedError(RltError):
    """The API's own refusal, with its words; a page shows it."""

    code, status, title = "refused", 500, "Refused"

    def __init__(
        self, detail: str, *, status: int = 500, code: str = "refused", param: str | None = None, extra: Any = None
    ) -> None:
        """Keep what the problem says."""
        super().__init__(detail, param=param, extra=extra)
        self.status = status
        self.code = code


class Gateway:
    """One visitor's calls."""

    def __init__(self, app: ASGIApp, *, key: str | None) -> None:
        """Take the app, and the key that the visitor signed in with."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.AsyncClient(
            transport=InProcess(app), base_url=OWN_URL, headers=headers, timeout=None, trust_env=False
        )

    async def jobs(
        self, *, limit: int, after: str | None = None, status: str | None = None, kind: str | None = None
    ) -> Page[Job]:
        """List jobs, newest first."""
        params = {"limit": limit, "after": after, "status": status, "kind": kind}
        return await self._get(Page[Job], "/v1/jobs", params)

    async def job(self, job_id: str) -> Job:
        """Read a job."""
        return await self._get(Job, path_of("jobs", job_id))

    async def change(self, job_id: str, action: str) -> Job:
        """Cancel, pause or resume a job."""
        return await self._send(Job, "POST", path_of("jobs", job_id, action))

    async def events(self, job_id: str, *, after: int, limit: int = 1000) -> Page[JobEvent]:
        """Read what happened after a sequence number."""
        return await self._get(Page[JobEvent], path_of("jobs", job_id, "events"), {"after": after, "limit": limit})

    async def peek(self, job_id: str, after: int) -> JobEvent | None:
        """Read the first event after a sequence number."""
        found = await self.events(job_id, after=after, limit=1)
        return found.data[0] if found.data else None

    async def metrics(self, job_id: str, *, max_points: int) -> JobMetrics:
        """Read a job's series, thinned."""
        return await self._get(JobMetrics, path_of("jobs", job_id, "metrics"), {"max_points": max_points})

    async def logs(self, job_id: str) -> str:
        """Read the end of a job's log."""
        return (await self._answer("GET", path_of("jobs", job_id, "logs"))).text

    async def checkpoints(self, job_id: str) -> list[Checkpoint]:
        """List a job's checkpoints, newest first."""
        return (await self._get(Page[Checkpoint], path_of("jobs", job_id, "checkpoints"))).data

    async def dry_run(self, spec: Mapping[str, Any]) -> DryRun:
        """Ask what a job would be."""
        return await self._send(DryRun, "POST", "/v1/train", spec, params={"dry_run": "true"})

    async def train(self, spec: Mapping[str, Any], *, idempotency_key: str) -> Job:
        """Hand a job in; the same key twice is one job."""
        return await self._send(Job, "POST", "/v1/train", spec, headers={"Idempotency-Key": idempotency_key})

    async def explain(self, request: Mapping[str, Any]) -> AsyncGenerator[ExplainEvent]:
        """Give an explanation while it is written; raises RefusedError, also in the middle."""
        body = {**request, "stream": True}
        async with self._http.stream("POST", "/v1/explain", json=body) as answer:
            if answer.is_error:
                await answer.aread()
            _check(answer)
            name = ""
            async for line in answer.aiter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield _explain_event(name, value)

    async def score(self, request: Mapping[str, Any]) -> ScoreResponse:
        """Have explanations judged."""
        return await self._send(ScoreResponse, "POST", "/v1/score", request)

    async def callable_names(self) -> list[str]:
        """List every name that can be called."""
        return [card.id for card in (await self._get(ModelList, "/v1/models")).data]

    async def names(self, role: Role) -> list[NamedModel]:
        """List the names made for a role, the newest first; the first hundred."""
        return (await self._get(Page[NamedModel], path_of(f"{role}s"), {"limit": 100})).data

    async def versions(self, role: Role, name: str) -> list[ModelVersion]:
        """List the versions of a name, newest first; the first hundred."""
        return (await self._get(Page[ModelVersion], path_of(f"{role}s", name, "versions"), {"limit": 100})).data

    async def lineage(self, role: Role, name: str, number: int) -> Lineage:
        """Read where a version comes from."""
        return await self._get(Lineage, path_of(f"{role}s", name, "versions", number, "lineage"))

    async def aliases(self) -> list[Alias]:
        """List every alias."""
        return (await self._get(Page[Alias], "/v1/aliases")).data

    async def promote(self, role: Role, alias: str, body: Mapping[str, Any]) -> Alias:
        """Move an alias, if it points where the visitor believes."""
        return await self._send(Alias, "PUT", path_of("aliases", role, alias), body)

    async def roll_back(self, role: Role, alias: str, body: Mapping[str, Any]) -> Alias:
        """Move an alias back."""
        return await self._send(Alias, "POST", path_of("aliases", role, alias, "rollback"), body)

    async def history(self, role: Role, alias: str) -> AliasHistory:
        """Read the last moves of an alias."""
        return await self._get(AliasHistory, path_of("aliases", role, alias, "history"), {"limit": 50})

    async def datasets(self, *, limit: int, after: str | None = None) -> Page[Dataset]:
        """List datasets, newest first."""
        return await self._get(Page[Dataset], "/v1/datasets", {"limit": limit, "after": after})

    async def dataset(self, dataset_id: str) -> Dataset:
        """Read a dataset."""
        return await self._get(Dataset, path_of("datasets", dataset_id))

    async def upload(self, content: AsyncIterator[bytes], *, name: str | None) -> Dataset:
        """Store JSONL; one bad line and nothing is stored."""
        params = {} if name is None else {"name": name}
        headers = {"Content-Type": "application/jsonl"}
        answer = await self._http.post("/v1/datasets", content=content, params=params, headers=headers)
        _check(answer)
        return _read(Dataset, answer)

    async def rows(self, dataset_id: str, *, offset: int, limit: int) -> DatasetRows:
        """Read a window of a dataset's rows."""
        return await self._get(DatasetRows, path_of("datasets", dataset_id, "rows"), {"offset": offset, "limit": limit})

    async def evaluation(self, evaluation_id: str) -> Evaluation | ModelEvaluation:
        """Read an evaluation's figures."""
        adapter: TypeAdapter[Evaluation | ModelEvaluation] = TypeAdapter(Evaluation | ModelEvaluation)
        return adapter.validate_json((await self._answer("GET", path_of("evaluations", evaluation_id))).content)

    async def answer_rows(self, evaluation_id: str, *, offset: int, limit: int) -> Page[AnswerRow]:
        """Read a window of a model's answers."""
        path = path_of("evaluations", evaluation_id, "rows")
        return await self._get(Page[AnswerRow], path, {"offset": offset, "limit": limit})

    async def explained_rows(self, evaluation_id: str) -> list[EvaluationRow]:
        """Read a comparison's rows, those of both versions, the first so many."""
        path, found = path_of("evaluations", evaluation_id, "rows"), list[EvaluationRow]()
        while len(found) < MOST_ROWS:
            page = await self._get(Page[EvaluationRow], path, {"offset": len(found), "limit": ROWS})
            found += page.data
            if not page.has_more:
                break
        return found

    async def compare(self, evaluations: str) -> EvaluationComparison:
        """Lay evaluations side by side; ids with commas between."""
        return await self._get(EvaluationComparison, "/v1/evaluations", {"compare": evaluations})

    async def projects(self) -> list[Project]:
        """List every project with what it has used."""
        return (await self._get(Page[Project], "/v1/projects")).data

    async def keys(self) -> list[KeyCard]:
        """List every key, without its secret."""
        return (await self._get(Page[KeyCard], "/v1/keys")).data

    async def bound(self, project: str, quotas: Mapping[str, float | None]) -> Project:
        """Put these quotas in place of a project's."""
        return await self._send(Project, "PUT", path_of("projects", project, "quotas"), quotas)

    async def revoke(self, key_id: str) -> KeyCard:
        """End a key for good."""
        return await self._send(KeyCard, "DELETE", path_of("keys", key_id))

    async def audit(self, *, limit: int, after: str | None, project: str | None, key: str | None) -> Page[AuditEntry]:
        """List who did what, the newest first."""
        params = {"limit": limit, "after": after, "project": project, "key": key}
        return await self._get(Page[AuditEntry], "/v1/audit", params)

    async def capabilities(self) -> Capabilities:
        """Read what the server is and can."""
        return await self._get(Capabilities, "/v1/capabilities")

    async def readiness(self) -> Readiness:
        """Read what readiness rests on; not ready is an answer too."""
        return Readiness.model_validate_json((await self._http.get("/readyz")).content)

    async def prometheus(self) -> str:
        """Read the server's metrics."""
        return (await self._answer("GET", "/metrics")).text

    async def _get(self, into: type[AnswerT], path: str, params: Params | None = None) -> AnswerT:
        return _read(into, await self._answer("GET", path, params=params))

    async def _send(
        self,
        into: type[AnswerT],
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AnswerT:
        return _read(into, await self._answer(method, path, body=body, params=params, headers=headers))

    async def _answer(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        present = {name: value for name, value in (params or {}).items() if value is not None}
        answer = await self._http.request(method, path, json=body, params=present, headers=headers)
        _check(answer)
        return answer


def path_of(*segments: str | int) -> str:
    """Build `/v1/…`; each segment is escaped, so that nothing in an address changes the path."""
    return "/v1/" + "/".join(quote(str(segment), safe="@") for segment in segments)


def _read(into: type[AnswerT], answer: httpx.Response) -> AnswerT:
    return TypeAdapter(into).validate_json(answer.content)


def _check(answer: httpx.Response) -> None:
    if answer.is_error:
        raise refusal_of(answer.content, status=answer.status_code)


def refusal_of(content: bytes | str, *, status: int) -> RefusedError:
    """Read a problem; what is none is told by its status."""
    try:
        found: Any = json.loads(content)
        known = ("type", "title", "status", "detail", "code", "param", "request_id", "retryable", "error")
        extra = {name: value for name, value in found.items() if name not in known}
        return RefusedError(
            found["detail"], status=found["status"], code=found["code"], param=found.get("param"), extra=extra
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return RefusedError(f"the server answered {status}", status=status, code="unexpected_response")


def _explain_event(name: str, data: str) -> ExplainEvent:
    if name not in _EVENTS:
        raise refusal_of(data, status=500)
    try:
        return _EVENTS[name].model_validate_json(data)
    except ValidationError as error:
        raise RefusedError(f"an event {name!r} that is none", status=502, code="unexpected_response") from error
