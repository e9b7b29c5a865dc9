"""Own what happens to an alias after a job: asked over HTTP, since the service probes a version before it serves."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from rlt_core import trace_context
from rlt_core.addresses import addresses_of
from rlt_core.replicas import Replicas
from rlt_core.schemas.jobs import PromotePolicy, PromotionResult
from rlt_core.schemas.teachers import AliasPut, Evaluation, JobAttempt

LOGGER = logging.getLogger(__name__)

PATIENCE_S = 1800.0
"""How long an engine may be away before the promotion is given up; the job has succeeded either way."""
RETRY_S = 2.0
REQUEST_TIMEOUT_S = 300.0
"""A probe loads the adapter into the engine."""


class Interrupted(Exception):
    """The worker drains, or lost the job, while it waits for the service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoter:
    """Moves an alias to a job's result, if the policy and the service allow."""

    base_url: str
    """One address, or several as `rlt_core.addresses` reads them."""
    keep_on: Callable[[], bool]
    """False ends the waiting."""
    api_key: str | None = None
    """Of the attempt that asks."""
    transport: httpx.BaseTransport | None = None
    """Null is the network."""
    sleep: Callable[[float], None] = time.sleep
    replicas: Replicas = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the addresses."""
        object.__setattr__(self, "replicas", Replicas(addresses_of(self.base_url)))

    def promote(
        self, policy: PromotePolicy, *, version: str, evaluation: Evaluation | None, student: str, asker: JobAttempt
    ) -> PromotionResult:
        """Carry out a policy by the judgement of `student`; a refusal is a result. Raises Interrupted.

        The move is fenced: an attempt that has lost its job moves nothing.
        """
        if policy.when == "never":
            return PromotionResult(alias=policy.alias, outcome="skipped", reason="promote.when is never")
        with httpx.Client(
            headers={"Authorization": f"Bearer {self.api_key}"} if self.api_key is not None else {},
            timeout=REQUEST_TIMEOUT_S,
            transport=self.transport,
            trust_env=False,
        ) as client:
            return self._put(client, policy, version=version, evaluation=evaluation, student=student, asker=asker)

    def _put(
        self,
        client: httpx.Client,
        policy: PromotePolicy,
        *,
        version: str,
        evaluation: Evaluation | None,
        student: str,
        asker: JobAttempt,
    ) -> PromotionResult:
        answer = self._ask(client, "GET", "/v1/aliases")
        if not answer.is_success:
            return PromotionResult(alias=policy.alias, outcome="refused", reason=_reason(answer))
        present = _target(answer.json(), alias=policy.alias)
        if present == version:
            return PromotionResult(alias=policy.alias, outcome="promoted", reason="it already serves")
        # Judged against what served when the comparison was made; where nothing served, nothing can be worse.
        gated = policy.when == "if_better" and present is not None
        expected = evaluation.before if gated and evaluation is not None else present
        body = AliasPut(
            version=version,
            expected=expected,
            gate="if_better" if gated else "none",
            evaluation=evaluation.id if evaluation is not None else None,
            student=student,
            by=asker.job,
            attempt_of=asker,
            # Where the gate decides, its own figures are the reason that the history keeps.
            reason=None if gated else f"job {asker.job}, promote.when = {policy.when}",
        )
        answer = self._ask(client, "PUT", f"/v1/aliases/teacher/{policy.alias}", json=body.model_dump())
        # A refusal may come after an earlier try that moved the alias and whose answer was lost.
        if answer.is_success or self._serves(client, policy.alias) == version:
            why = body.reason or f"the gate found it better than {expected}"
            return PromotionResult(alias=policy.alias, outcome="promoted", reason=why, previous=expected)
        return PromotionResult(alias=policy.alias, outcome="refused", reason=_reason(answer), previous=present)

    def _serves(self, client: httpx.Client, alias: str) -> str | None:
        answer = self._ask(client, "GET", "/v1/aliases")
        return _target(answer.json(), alias=alias) if answer.is_success else None

    def _ask(self, client: httpx.Client, method: str, path: str, *, json: object = None) -> httpx.Response:
        """Send a request until the service answers with something that waiting does not change.

        Each try goes to a server that is well: the move is fenced, so that sending it twice moves nothing twice.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self._send(client, method, path, json=json)
            if answer.status_code not in (429, 502, 503, 504) or time.monotonic() >= deadline:
                return answer
            LOGGER.warning("%s %s: %s; asking again", method, path, _reason(answer))
            if not self.keep_on():
                raise Interrupted
            self.sleep(RETRY_S)

    def _send(self, client: httpx.Client, method: str, path: str, *, json: object) -> httpx.Response:
        server = self.replicas.take(path)
        try:
            answer = client.request(method, server + path, json=json, headers=trace_context.headers())
        except httpx.TransportError as error:
            answer = httpx.Response(503, json={"detail": f"{type(error).__name__}: {error}"})
        finally:
            self.replicas.give_back(server)
        if answer.status_code in (502, 503, 504):
            self.replicas.away(server)
        else:
            self.replicas.answered(server)
        return answer


def _target(body: Any, *, alias: str) -> str | None:
    """Return what a teacher alias points at, out of the list of aliases."""
    found = (item["version"] for item in body["data"] if (item["role"], item["alias"]) == ("teacher", alias))
    return next(found, None)


def _reason(answer: httpx.Response) -> str:
    try:
        body = answer.json()
        return str(body["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the service answered {answer.status_code}"
