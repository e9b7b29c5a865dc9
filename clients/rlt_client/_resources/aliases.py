"""`client.aliases`: which version a name such as `default` points at, and how it came to."""

from typing import Literal

from rlt_client._calls import Call, get, path_of, write
from rlt_client._methods import Awaiting, Blocking, call
from rlt_core.schemas.base import Page, Role
from rlt_core.schemas.teachers import Alias, AliasHistory


class AliasCalls:
    """Moved by compare-and-swap: say what you believe an alias points at, and a wrong belief is refused."""

    @call
    def list(self) -> Call[Page[Alias]]:
        """List every alias of both roles."""
        return get(path_of("aliases"), into=Page[Alias])

    @call
    def put(
        self,
        role: Role,
        alias: str,
        *,
        version: str,
        expected: str | None,
        gate: Literal["if_better", "none"] = "none",
        evaluation: str | None = None,
        student: str | None = None,
        reason: str | None = None,
        by: str | None = None,
    ) -> Call[Alias]:
        """Promote: point the alias at `version`, if it points at `expected` now (None: if it is new).

        `by` says in the history who asked. The gate goes by the judgement of `student` (None: the alias `default`).
        Raises ConflictError with code `alias_moved`, `evaluation_required` or `not_better`.
        """
        fields = {
            "version": version,
            "gate": gate,
            "evaluation": evaluation,
            "student": student,
            "reason": reason,
            "by": by,
        }
        body = {"expected": expected, **{name: value for name, value in fields.items() if value is not None}}
        return write("PUT", path_of("aliases", role, alias), into=Alias, body=body)

    @call
    def history(self, role: Role, alias: str) -> Call[AliasHistory]:
        """List who served when and why, newest first."""
        return get(path_of("aliases", role, alias, "history"), into=AliasHistory)

    @call
    def rollback(
        self, role: Role, alias: str, *, expected: str, to: str | None = None, by: str | None = None
    ) -> Call[Alias]:
        """Point the alias back at `to`, or at the version before; `by` says in the history who asked."""
        body = {"expected": expected, "to": to} | ({} if by is None else {"by": by})
        return write("POST", path_of("aliases", role, alias, "rollback"), into=Alias, body=body)


class Aliases(AliasCalls, Blocking):
    """Moved by compare-and-swap: say what you believe an alias points at, and a wrong belief is refused."""


class AsyncAliases(AliasCalls, Awaiting):
    """Aliases, awaited."""
