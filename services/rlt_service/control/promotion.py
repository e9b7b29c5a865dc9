"""Own the moves of an alias that a caller asks for: gate, probe, then one compare-and-swap (architecture: hot swap)."""

import asyncio
from dataclasses import dataclass

from rlt_core.errors import AliasMovedError, ConflictError, NotFoundError
from rlt_core.schemas.base import Role
from rlt_core.schemas.teachers import Alias, AliasPut, AliasRollback, JobAttempt
from rlt_service.control.gate import Gate
from rlt_service.control.probe import Prober, prove
from rlt_service.control.versions import check_alias_name, resolve_version
from rlt_service.store.ownership import caller
from rlt_service.store.registry import Registry, ResolvedVersion

SAID_CHARACTERS = 80
"""Of what a caller says of itself, where its key stands beside it: a history's entry has room for 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    """An alias's next version, with what the history shall say of it."""

    to: ResolvedVersion
    expected: str | None
    reason: str
    by: str
    evaluation: str | None = None
    attempt_of: JobAttempt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """Moves aliases; until the last step the old version serves, and whatever fails leaves it serving."""

    registry: Registry
    prober: Prober
    engine: str
    """What serves here."""

    async def put(self, role: Role, alias: str, request: AliasPut) -> Alias:
        """Point the alias at a version.

        Raises AliasMovedError, StaleAttemptError, EvaluationRequiredError, NotBetterError, InvalidAdapterError,
        InvalidWeightsError, ModelNotFoundError, NotFoundError, InvalidRequestError, EngineUnavailableError.
        """
        return await self._move(role, alias, await asyncio.to_thread(self._promotion, role, alias, request))

    async def roll_back(self, role: Role, alias: str, request: AliasRollback) -> Alias:
        """Point the alias back at `to`, or at the version before; raises what `put` raises, NotFoundError."""
        return await self._move(role, alias, await asyncio.to_thread(self._return, role, alias, request))

    async def _move(self, role: Role, alias: str, move: _Move) -> Alias:
        await prove(move.to, registry=self.registry, prober=self.prober)
        return await asyncio.to_thread(
            self.registry.move_alias,
            role,
            alias,
            move.to.version,
            expected=move.expected,
            reason=move.reason,
            by=move.by,
            evaluation=move.evaluation,
            attempt_of=move.attempt_of,
        )

    def _promotion(self, role: Role, alias: str, request: AliasPut) -> _Move:
        check_alias_name(self.registry, role, alias, param="/alias")
        to = resolve_version(self.registry, role, request.version, param="/version")
        self._check_expected(role, alias, expected=request.expected)
        if request.gate == "if_better":
            passed = Gate(registry=self.registry, engine=self.engine).check(request, after=to)
            reason, evaluation = passed.reason, passed.evaluation
        else:
            reason, evaluation = "asked for, without a gate", request.evaluation
            if evaluation is not None:
                self.registry.get_evaluation(evaluation)
        return _Move(
            to=to,
            expected=request.expected,
            reason=request.reason or reason,
            by=_asker(request.by),
            evaluation=evaluation,
            attempt_of=request.attempt_of,
        )

    def _return(self, role: Role, alias: str, request: AliasRollback) -> _Move:
        last = self.registry.alias_history(role, alias, limit=1).data[0]
        self._check_expected(role, alias, expected=request.expected)
        target = request.to if request.to is not None else last.previous
        if target is None:
            raise ConflictError(
                f"the {role} alias {alias!r} has pointed at nothing but {last.version}: name a version in `to`",
                param="/to",
            )
        to = resolve_version(self.registry, role, target, param="/to")
        return _Move(
            to=to, expected=request.expected, reason=f"rolled back from {request.expected}", by=_asker(request.by)
        )

    def _check_expected(self, role: Role, alias: str, *, expected: str | None) -> None:
        """Fail early, before a probe; what decides is the swap itself."""
        try:
            present = self.registry.get_alias(role, alias).version
        except NotFoundError:
            present = None
        if present != expected:
            raise AliasMovedError(
                f"the {role} alias {alias!r} points at {present or 'nothing yet'}, not at {expected or 'nothing'}: "
                "read it again, and send what it points at as `expected` if the move is still wanted",
                param="/expected",
                extra={"version": present},
            )


def _asker(said: str) -> str:
    """Give who asks, for the history: what the caller says, and the key, which it cannot choose."""
    key = caller()
    return said if key is None else f"{said[:SAID_CHARACTERS]} (key {key})"
