"""Own the parameters that routes share: path names, pages, and the key that no route honours yet."""

from typing import Annotated

from fastapi import Depends, Header, Query
from pydantic import AfterValidator

from rlt_core.errors import NotAvailableYetError
from rlt_service.control import names

JobId = Annotated[str, AfterValidator(names.known_form(names.JOB, kind="job"))]
DatasetId = Annotated[str, AfterValidator(names.known_form(names.DATASET, kind="dataset"))]
EvaluationId = Annotated[str, AfterValidator(names.known_form(names.EVALUATION, kind="evaluation"))]
ModelName = Annotated[str, AfterValidator(names.known_form(names.NAME, kind="model"))]
VersionNumber = Annotated[str, AfterValidator(names.known_form(names.NUMBER, kind="version number"))]
AliasName = Annotated[str, AfterValidator(names.known_form(names.NAME, kind="alias"))]
RoleName = Annotated[str, AfterValidator(names.known_form("teacher|student", kind="role"))]
FormatId = Annotated[str, AfterValidator(names.known_form(names.FORMAT, kind="format"))]

PageLimit = Annotated[int, Query(ge=1, le=100, description="Most entries of the answer.")]
PageAfter = Annotated[str | None, Query(max_length=100, description="The `last_id` of the page before.")]
RowOffset = Annotated[int, Query(ge=0, le=2**53, description="Rows to skip.")]
RowLimit = Annotated[int, Query(ge=1, le=1000, description="Most rows of the answer.")]


def refuse_idempotency_key(
    key: Annotated[str | None, Header(alias="Idempotency-Key", description="Not available yet.")] = None,
) -> None:
    """Raise NotAvailableYetError rather than leave a caller in the belief that a second call is harmless."""
    if key is not None:
        raise NotAvailableYetError(
            "Idempotency-Key is not available yet: send the call without it, and look at the list before sending again",
            param="/Idempotency-Key",
        )


NotTwice = Depends(refuse_idempotency_key)
