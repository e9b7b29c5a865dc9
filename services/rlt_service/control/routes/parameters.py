"""Own the parameters that routes share: path names, filters, pages."""

from typing import Annotated

from fastapi import Query
from pydantic import AfterValidator, BeforeValidator

from rlt_core.schemas.jobs import JobKind
from rlt_service.control import names
from rlt_service.control.specs import known_kind

JobId = Annotated[str, AfterValidator(names.known_form(names.JOB, kind="job")), names.described(names.JOB)]
DatasetId = Annotated[
    str, AfterValidator(names.known_form(names.DATASET, kind="dataset")), names.described(names.DATASET)
]
EvaluationId = Annotated[
    str, AfterValidator(names.known_form(names.EVALUATION, kind="evaluation")), names.described(names.EVALUATION)
]
ModelName = Annotated[str, AfterValidator(names.known_form(names.NAME, kind="model")), names.described(names.NAME)]
VersionNumber = Annotated[
    str, AfterValidator(names.known_form(names.NUMBER, kind="version number")), names.described(names.NUMBER)
]
AliasName = Annotated[str, AfterValidator(names.known_form(names.NAME, kind="alias")), names.described(names.NAME)]
RoleName = Annotated[str, AfterValidator(names.known_form(names.ROLE, kind="role")), names.described(names.ROLE)]
KeyId = Annotated[str, AfterValidator(names.known_form(names.KEY, kind="key")), names.described(names.KEY)]
ProjectName = Annotated[str, AfterValidator(names.known_form(names.NAME, kind="project")), names.described(names.NAME)]
FormatId = Annotated[str, AfterValidator(names.known_form(names.FORMAT, kind="format")), names.described(names.FORMAT)]

KindFilter = Annotated[JobKind, BeforeValidator(known_kind)]
PipelineFilter = Annotated[str | None, Query(max_length=100, description="A pipeline's id.")]

PageLimit = Annotated[int, Query(ge=1, le=100, description="Most entries of the answer.")]
PageAfter = Annotated[str | None, Query(max_length=100, description="The `last_id` of the page before.")]
RowOffset = Annotated[int, Query(ge=0, le=2**53, description="Rows to skip.")]
RowLimit = Annotated[int, Query(ge=1, le=1000, description="Most rows of the answer.")]
