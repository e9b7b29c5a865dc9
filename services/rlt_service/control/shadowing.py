"""Own what a caller asks of a shadow: proved before it begins, and turned into an evaluation like any other."""

import asyncio
from dataclasses import dataclass

from rlt_core.comparison import evaluation_of
from rlt_core.errors import ConflictError, InvalidRequestError
from rlt_core.schemas.base import Role, now_utc
from rlt_core.schemas.shadows import Shadow, ShadowEnded, ShadowPut
from rlt_core.schemas.teachers import Evaluation
from rlt_service.control.probe import Prober, prove
from rlt_service.control.versions import resolve_version
from rlt_service.store.registry import Registry, ResolvedVersion
from rlt_service.store.shadows import ShadowStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadowing:
    """Begins, reads, ends and evaluates shadows; the traffic itself is the teacher service's."""

    registry: Registry
    shadows: ShadowStore
    prober: Prober

    async def put(self, role: Role, alias: str, request: ShadowPut) -> Shadow:
        """Set the shadow of a teacher alias.

        Raises NotFoundError, ModelNotFoundError, InvalidRequestError, InvalidAdapterError, ConflictError where the
        version serves already.
        """
        _check_role(role)
        candidate = await asyncio.to_thread(self._candidate, alias, request)
        await prove(candidate, registry=self.registry, prober=self.prober)
        return await asyncio.to_thread(
            self.shadows.put,
            alias,
            candidate.version,
            share=request.share,
            max_in_flight=request.max_in_flight,
            student=request.student,
        )

    def get(self, role: Role, alias: str) -> Shadow:
        """Read a shadow with its counts; raises NotFoundError, InvalidRequestError for a student's alias."""
        _check_role(role)
        return self.shadows.get(alias)

    def end(self, role: Role, alias: str) -> ShadowEnded:
        """End a shadow; raises NotFoundError, InvalidRequestError for a student's alias."""
        _check_role(role)
        self.shadows.end(alias)
        return ShadowEnded(role=role, alias=alias)

    def evaluate(self, role: Role, alias: str) -> Evaluation:
        """Store what the pairs so far show; raises NotFoundError, InvalidRequestError, ConflictError for too few."""
        _check_role(role)
        found = self.shadows.collected(alias)
        try:
            evaluation = evaluation_of(
                found.rows,
                before=found.before,
                after=found.after,
                student=found.student,
                format=self.registry.get_version(found.after).format,
                created_at=now_utc(),
                source="shadow",
            )
        except ValueError as error:
            raise ConflictError(
                f"the shadow of {alias!r} has nothing to compare yet ({error}): let more traffic come", param="/alias"
            ) from error
        self.registry.save_evaluation(evaluation, found.rows)
        return evaluation

    def _candidate(self, alias: str, request: ShadowPut) -> ResolvedVersion:
        self.registry.get_alias("teacher", alias)
        resolve_version(self.registry, "student", request.student, param="/student")
        return resolve_version(self.registry, "teacher", request.version, param="/version")


def _check_role(role: Role) -> None:
    if role != "teacher":
        raise InvalidRequestError(
            "only a teacher's alias can have a shadow: a student answers nobody's questions", param="/role"
        )
