"""Own the upload of a dataset: received, validated as a whole, and only then stored."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rlt_core.schemas.datasets import Dataset
from rlt_service.control.rows import RowLimits, RowMap, ValidatedRows, validate_rows
from rlt_service.control.upload import receive
from rlt_service.settings import Settings
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.datasets import DatasetStore
from rlt_service.store.faults import storage_faults

_VALIDATION = ThreadPoolExecutor(max_workers=2, thread_name_prefix="rlt-upload")
"""Of its own: a few uploads of a gigabyte would take every thread that short work of other calls needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploader:
    """Makes a dataset of a body; a body with one bad line leaves nothing behind."""

    datasets: DatasetStore
    artifacts: ArtifactStore
    settings: Settings
    keyed: bool
    """Whether the caller has a key."""

    async def store(
        self, chunks: AsyncIterator[bytes], *, content_type: str, name: str | None, columns: RowMap
    ) -> Dataset:
        """Receive and store.

        Raises what `receive` and `validate_rows` raise, QuotaExceededError, StorageUnavailableError.
        """
        await asyncio.to_thread(self.datasets.check_room)
        with self.artifacts.incoming_file() as raw, self.artifacts.incoming_file() as clean:
            await receive(
                chunks,
                raw,
                content_type=content_type,
                max_bytes=self.settings.max_dataset_bytes,
                max_multipart_bytes=self._max_multipart_bytes,
            )
            keep = partial(self._keep, raw, clean, name=name, columns=columns)
            return await asyncio.get_running_loop().run_in_executor(_VALIDATION, copy_context().run, keep)

    @property
    def _max_multipart_bytes(self) -> int:
        limits = self.settings
        most = limits.max_dataset_bytes
        return most if self.keyed else min(most, limits.max_open_multipart_bytes)

    def _keep(self, raw: Path, clean: Path, *, name: str | None, columns: RowMap) -> Dataset:
        rows = self._validate(raw, clean, columns=columns)
        return self.datasets.create(
            name=name,
            path=clean,
            rows=rows.rows,
            sha256=rows.sha256,
            columns=rows.columns,
            size_bytes=rows.size_bytes,
        )

    def _validate(self, raw: Path, clean: Path, *, columns: RowMap) -> ValidatedRows:
        limits = RowLimits(
            max_rows=self.settings.max_dataset_rows,
            max_line_bytes=self.settings.max_body_bytes,
            max_text_characters=self.settings.max_text_characters,
            max_depth=self.settings.max_json_depth,
        )
        with storage_faults("store the dataset"), raw.open("rb") as source, clean.open("wb") as target:
            return validate_rows(source, target, columns=columns, limits=limits)
