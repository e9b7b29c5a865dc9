"""Own the moves of an alias that a caller asks for: gate, probe, then one compare-and-swap (architecture: hot swap)."""

import asyncio
from dataclasses import dataclass

from rlt_core.errors import AliasMovedError, ConflictError, EvaluationRequiredError, NotBetterError, NotFoundError
from rlt_core.schemas.base import Role
from rlt_core.schemas.teachers import Alias, AliasPut, AliasRollback, Evaluation
from rlt_service.control.probe import Prober
from rlt_service.control.versions import check_alias_name, resolve_version
from rlt_service.store.registry import Registry, ResolvedVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    """An alias's next version, with what the history shall say of it."""

    to: ResolvedVersion
    expected: str | None
    reason: str
    evaluation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """Moves aliases; until the last step the old version serves, and whatever fails leaves it serving."""

    registry: Registry
    prober: Prober

    async def put(self, role: Role, alias: str, request: AliasPut) -> Alias:
        """Point the alias at a version.

        Raises AliasMovedError, EvaluationRequiredError, NotBetterError, InvalidAdapterError, InvalidWeightsError,
        ModelNotFoundError, InvalidRequestError, EngineUnavailableError.
        """
        return await self._move(role, alias, await asyncio.to_thread(self._promotion, role, alias, request))

    async def roll_back(self, role: Role, alias: str, request: AliasRollback) -> Alias:
        """Point the alias back at `to`, or at the version before; raises what `put` raises, NotFoundError."""
        return await self._move(role, alias, await asyncio.to_thread(self._return, role, alias, request))

    async def _move(self, role: Role, alias: str, move: _Move) -> Alias:
        await self.prober.load(move.to)
        return await asyncio.to_thread(
            self.registry.move_alias,
            role,
            alias,
            move.to.version,
            expected=move.expected,
            reason=move.reason,
            evaluation=move.evaluation,
        )

    def _promotion(self, role: Role, alias: str, request: AliasPut) -> _Move:
        check_alias_name(self.registry, role, alias, param="/alias")
        to = resolve_version(self.registry, role, request.version, param="/version")
        self._check_expected(role, alias, expected=request.expected)
        evaluation = self._evaluation(request, to=to)
        if request.gate == "if_better":
            reason = _check_better(evaluation, before=request.expected, after=to)
        else:
            reason = "asked for, without a gate"
        return _Move(
            to=to,
            expected=request.expected,
            reason=request.reason or reason,
            evaluation=evaluation.id if evaluation is not None else None,
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
        return _Move(to=to, expected=request.expected, reason=f"rolled back from {request.expected}")

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

    def _evaluation(self, request: AliasPut, *, to: ResolvedVersion) -> Evaluation | None:
        if request.evaluation is not None:
            return self.registry.get_evaluation(request.evaluation)
        if request.gate == "none" or request.expected is None:
            return None
        return self.registry.latest_evaluation(before=request.expected, after=to.version)


def _check_better(evaluation: Evaluation | None, *, before: str | None, after: ResolvedVersion) -> str:
    """Give the reason for the history; raises EvaluationRequiredError or NotBetterError."""
    if before is None:
        raise EvaluationRequiredError(
            "a new alias has no version to be better than: leave the gate at none", param="/gate"
        )
    if evaluation is None:
        raise EvaluationRequiredError(
            f"no stored evaluation compares {before} with {after.version}: an rl job with a gate split makes one",
            param="/evaluation",
        )
    if (evaluation.before, evaluation.after) != (before, after.version):
        raise EvaluationRequiredError(
            f"{evaluation.id} compares {evaluation.before} with {evaluation.after}, wanted is {before} with "
            f"{after.version}",
            param="/evaluation",
        )
    if evaluation.format != after.format:
        raise EvaluationRequiredError(
            f"{evaluation.id} was made in the format {evaluation.format}, {after.version} serves in {after.format}",
            param="/evaluation",
        )
    found = evaluation.difference
    interval = f"{found.mean:+.4f}, 95% interval [{found.ci_low:+.4f}, {found.ci_high:+.4f}], n = {found.n}"
    if not found.ci_low > 0.0:
        raise NotBetterError(
            f"{after.version} is not shown to be better than {before}: reward {interval} ({evaluation.id})",
            param="/evaluation",
        )
    return f"better than {before}: reward {interval}"
