"""/v1/datasets: upload, list, read, delete."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from rlt_core.benchmarks import BENCHMARKS, find_benchmark
from rlt_core.columns import parse_columns
from rlt_core.errors import InvalidRequestError
from rlt_core.schemas.base import Page
from rlt_core.schemas.datasets import Dataset, DatasetDeleted, DatasetRows
from rlt_service.access.authentication import begin_visit
from rlt_service.access.scopes import Needs
from rlt_service.container import ServicesDep
from rlt_service.control.exports import PARQUET_TYPE, DownloadForm, export
from rlt_service.control.routes.parameters import DatasetId, PageAfter, PageLimit, RowLimit, RowOffset
from rlt_service.control.routes.wiring import uploader_of
from rlt_service.control.rows import RowMap
from rlt_service.control.upload import JSONL_TYPES, MULTIPART
from rlt_service.idempotency import Once
from rlt_service.json_bodies import check_announced_length, check_not_compressed
from rlt_service.openapi import LOCATION

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], dependencies=[Needs("train")])

_FILE = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}, "required": ["file"]}
_ROWS = '{"question": "What is 2 + 3?", "solution": "5"}\n{"question": "What is 4 + 4?", "solution": "8"}\n'
_BODY = {
    "required": True,
    "content": {
        **{media_type: {"schema": {"type": "string"}, "example": _ROWS} for media_type in JSONL_TYPES},
        MULTIPART: {"schema": _FILE},
    },
}

DOWNLOADED = {
    JSONL_TYPES[0]: {"schema": {"type": "string"}, "example": _ROWS},
    PARQUET_TYPE: {"schema": {"type": "string", "format": "binary"}},
}


@router.post(
    "",
    status_code=201,
    dependencies=[Once],
    responses={201: {"headers": LOCATION}},
    openapi_extra={"requestBody": _BODY},
)
async def create_dataset(
    request: Request,
    services: ServicesDep,
    response: Response,
    name: Annotated[str | None, Query(max_length=200)] = None,
    columns: Annotated[str | None, Query(max_length=100_000, description="Templates by column, JSON.")] = None,
    benchmark: Annotated[
        str | None,
        Query(max_length=100, description=f"Whose columns the rows have: {', '.join(BENCHMARKS)}."),
    ] = None,
    content_type: Annotated[str, Header(include_in_schema=False)] = "",
    content_encoding: Annotated[str, Header()] = "identity",
) -> Dataset:
    """Upload JSONL, one question a line; one bad line and nothing is stored."""
    check_not_compressed(content_encoding)
    mapping = _row_map(columns, benchmark=benchmark)
    check_announced_length(request.headers.get("content-length"), max_bytes=services.settings.max_dataset_bytes)
    stored = await uploader_of(services, keyed=await begin_visit(request) is not None).store(
        request.stream(), content_type=content_type, name=name, columns=mapping
    )
    response.headers["Location"] = f"/v1/datasets/{stored.id}"
    return stored


def _row_map(columns: str | None, *, benchmark: str | None) -> RowMap:
    """Read how rows are brought into the contract's columns; raises InvalidRequestError."""
    if benchmark is None:
        return parse_columns(columns)
    if columns is not None:
        raise InvalidRequestError(
            "a benchmark says itself how its columns are read: leave columns or benchmark out", param="/columns"
        )
    return find_benchmark(benchmark)


@router.get("")
def list_datasets(services: ServicesDep, limit: PageLimit = 20, after: PageAfter = None) -> Page[Dataset]:
    """List datasets, newest first."""
    return services.datasets.list(limit=limit, after=after)


@router.get("/{dataset_id}")
def get_dataset(dataset_id: DatasetId, services: ServicesDep) -> Dataset:
    """Read what an upload came to."""
    return services.datasets.get(dataset_id)


@router.get("/{dataset_id}/rows")
def get_rows(dataset_id: DatasetId, services: ServicesDep, offset: RowOffset = 0, limit: RowLimit = 100) -> DatasetRows:
    """Read a window of rows, in the order of the upload."""
    return services.datasets.rows(dataset_id, offset=offset, limit=limit)


@router.get("/{dataset_id}/download", response_class=StreamingResponse, responses={200: {"content": DOWNLOADED}})
def download(
    dataset_id: DatasetId,
    services: ServicesDep,
    format: Annotated[
        DownloadForm, Query(description="`jsonl` is as it is stored; the last three are chats.")
    ] = "jsonl",
) -> StreamingResponse:
    """Download all rows; of a dataset that grows, those that are there."""
    made = services.datasets.get(dataset_id), services.datasets.lines(dataset_id)
    found = export(*made, form=format, format_id=services.registry.base().format)
    headers = {"Content-Disposition": f'attachment; filename="{found.file_name}"'}
    return StreamingResponse(found.chunks, media_type=found.media_type, headers=headers)


@router.delete("/{dataset_id}", dependencies=[Once])
def delete_dataset(dataset_id: DatasetId, services: ServicesDep) -> DatasetDeleted:
    """Delete a dataset that no waiting or running job reads."""
    services.datasets.delete(dataset_id)
    return DatasetDeleted(id=dataset_id)
