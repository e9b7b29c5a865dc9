"""Own `client.with_raw_response`: every single call of a client, with its HTTP response."""

from typing import TYPE_CHECKING

from rlt_client._base_client import ServerCalls
from rlt_client._methods import RawAwaiting, RawBlocking
from rlt_client._resources.aliases import AliasCalls
from rlt_client._resources.datasets import DatasetCalls
from rlt_client._resources.evaluations import EvaluationCalls
from rlt_client._resources.explain import ExplainCalls
from rlt_client._resources.job import AsyncJob, Job
from rlt_client._resources.job_calls import JobCalls
from rlt_client._resources.models import ModelCalls
from rlt_client._resources.projects import ProjectCalls
from rlt_client._resources.score import ScoreCalls
from rlt_client._resources.shadows import ShadowCalls
from rlt_client._resources.solve import SolveCalls
from rlt_client._resources.train import TrainCalls
from rlt_core.schemas import jobs as wire
from rlt_core.schemas.base import Role

if TYPE_CHECKING:
    from rlt_client._api import Api
    from rlt_client._async_api import AsyncApi


class RawAlias(AliasCalls, RawBlocking):
    """AliasCalls, each with its HTTP response."""


class RawDataset(DatasetCalls, RawBlocking):
    """DatasetCalls, each with its HTTP response."""


class RawEvaluation(EvaluationCalls, RawBlocking):
    """EvaluationCalls, each with its HTTP response."""


class RawExplain(ExplainCalls, RawBlocking):
    """ExplainCalls, each with its HTTP response."""


class RawJob(JobCalls[Job], RawBlocking):
    """JobCalls, each with its HTTP response."""

    def _hold(self, job: wire.Job) -> Job:
        return Job.of(job, api=self._api)


class RawProject(ProjectCalls, RawBlocking):
    """ProjectCalls, each with its HTTP response."""


class RawScore(ScoreCalls, RawBlocking):
    """ScoreCalls, each with its HTTP response."""


class RawShadow(ShadowCalls, RawBlocking):
    """ShadowCalls, each with its HTTP response."""


class RawSolve(SolveCalls, RawBlocking):
    """SolveCalls, each with its HTTP response."""


class RawTrain(TrainCalls[Job], RawBlocking):
    """TrainCalls, each with its HTTP response."""

    def _hold(self, job: wire.Job) -> Job:
        return Job.of(job, api=self._api)


class RawModel(ModelCalls, RawBlocking):
    """ModelCalls, each with its HTTP response."""

    def __init__(self, api: "Api", *, role: Role) -> None:
        super().__init__(api)
        self._root = f"{role}s"


class RawClient(ServerCalls, RawBlocking):
    """A client whose calls give a RawResponse each."""

    def __init__(self, api: "Api") -> None:
        super().__init__(api)
        self.explain = RawExplain(api)
        self.score = RawScore(api)
        self.solve = RawSolve(api)
        self.train = RawTrain(api)
        self.jobs = RawJob(api)
        self.datasets = RawDataset(api)
        self.teachers = RawModel(api, role="teacher")
        self.students = RawModel(api, role="student")
        self.aliases = RawAlias(api)
        self.shadows = RawShadow(api)
        self.projects = RawProject(api)
        self.evaluations = RawEvaluation(api)


class AsyncRawAlias(AliasCalls, RawAwaiting):
    """AliasCalls, each with its HTTP response."""


class AsyncRawDataset(DatasetCalls, RawAwaiting):
    """DatasetCalls, each with its HTTP response."""


class AsyncRawEvaluation(EvaluationCalls, RawAwaiting):
    """EvaluationCalls, each with its HTTP response."""


class AsyncRawExplain(ExplainCalls, RawAwaiting):
    """ExplainCalls, each with its HTTP response."""


class AsyncRawJob(JobCalls[AsyncJob], RawAwaiting):
    """JobCalls, each with its HTTP response."""

    def _hold(self, job: wire.Job) -> AsyncJob:
        return AsyncJob.of(job, api=self._api)


class AsyncRawProject(ProjectCalls, RawAwaiting):
    """ProjectCalls, each with its HTTP response."""


class AsyncRawScore(ScoreCalls, RawAwaiting):
    """ScoreCalls, each with its HTTP response."""


class AsyncRawShadow(ShadowCalls, RawAwaiting):
    """ShadowCalls, each with its HTTP response."""


class AsyncRawSolve(SolveCalls, RawAwaiting):
    """SolveCalls, each with its HTTP response."""


class AsyncRawTrain(TrainCalls[AsyncJob], RawAwaiting):
    """TrainCalls, each with its HTTP response."""

    def _hold(self, job: wire.Job) -> AsyncJob:
        return AsyncJob.of(job, api=self._api)


class AsyncRawModel(ModelCalls, RawAwaiting):
    """ModelCalls, each with its HTTP response."""

    def __init__(self, api: "AsyncApi", *, role: Role) -> None:
        super().__init__(api)
        self._root = f"{role}s"


class AsyncRawClient(ServerCalls, RawAwaiting):
    """A client whose calls give a RawResponse each."""

    def __init__(self, api: "AsyncApi") -> None:
        super().__init__(api)
        self.explain = AsyncRawExplain(api)
        self.score = AsyncRawScore(api)
        self.solve = AsyncRawSolve(api)
        self.train = AsyncRawTrain(api)
        self.jobs = AsyncRawJob(api)
        self.datasets = AsyncRawDataset(api)
        self.teachers = AsyncRawModel(api, role="teacher")
        self.students = AsyncRawModel(api, role="student")
        self.aliases = AsyncRawAlias(api)
        self.shadows = AsyncRawShadow(api)
        self.projects = AsyncRawProject(api)
        self.evaluations = AsyncRawEvaluation(api)
