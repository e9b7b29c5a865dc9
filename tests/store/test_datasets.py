import hashlib

import pytest

from rlt_core.errors import ConflictError, InvalidRequestError, NotFoundError
from rlt_core.schemas.datasets import Dataset, DatasetRow
from rlt_core.schemas.jobs import WarmupSpec
from rlt_core.schemas.training import Splits
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.datasets import DatasetStore
from rlt_service.store.jobs import JobStore

ROWS = [DatasetRow(id=str(number), question=f"{number}+1?", solution=str(number + 1)) for number in range(5)]


def upload(datasets: DatasetStore, artifacts: ArtifactStore, *, name: str | None = None) -> Dataset:
    text = "".join(row.model_dump_json() + "\n" for row in ROWS)
    with artifacts.incoming_file() as path:
        path.write_text(text)
        return datasets.create(
            name=name,
            path=path,
            rows=len(ROWS),
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            columns=["id", "question", "solution"],
            size_bytes=len(text),
        )


def test_a_dataset_comes_back_with_its_rows_in_windows(datasets: DatasetStore, artifacts: ArtifactStore) -> None:
    dataset = upload(datasets, artifacts, name="sums")
    assert datasets.get(dataset.id) == dataset
    window = datasets.rows(dataset.id, offset=3, limit=10)
    assert (window.data, window.total, window.has_more) == (ROWS[3:], 5, False)
    assert datasets.rows(dataset.id, offset=0, limit=2).has_more
    assert datasets.path(dataset.id).is_file()


def test_lists_are_newest_first_in_pages(datasets: DatasetStore, artifacts: ArtifactStore) -> None:
    ids = [upload(datasets, artifacts).id for _ in range(3)]
    page = datasets.list(limit=2)
    assert ([item.id for item in page.data], page.has_more) == ([ids[2], ids[1]], True)
    assert [item.id for item in datasets.list(after=page.last_id).data] == [ids[0]]
    with pytest.raises(InvalidRequestError):
        datasets.list(after="ds_nothing")


@pytest.mark.parametrize("use", ["dataset", "split"])
def test_a_dataset_that_a_waiting_job_reads_cannot_be_deleted(
    datasets: DatasetStore, artifacts: ArtifactStore, jobs: JobStore, warmup: WarmupSpec, use: str
) -> None:
    dataset = upload(datasets, artifacts)
    named = {"dataset": {"dataset": dataset.id}, "split": {"splits": Splits(gate=dataset.id)}}[use]
    job = jobs.submit(warmup.model_copy(update=named))
    with pytest.raises(ConflictError, match=job.id):
        datasets.delete(dataset.id)
    jobs.cancel(job.id)
    path = datasets.path(dataset.id)
    datasets.delete(dataset.id)
    assert not path.exists()
    with pytest.raises(NotFoundError, match=dataset.id):
        datasets.get(dataset.id)


def test_a_dataset_whose_file_is_gone_says_so(datasets: DatasetStore, artifacts: ArtifactStore) -> None:
    dataset = upload(datasets, artifacts)
    artifacts.dataset_path(dataset.id).unlink()
    with pytest.raises(NotFoundError, match="upload the dataset again"):
        datasets.path(dataset.id)
