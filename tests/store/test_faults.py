import errno
import os

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from rlt_core.errors import StorageUnavailableError
from rlt_service.store.faults import storage_faults

OF_THE_MACHINE = ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EIO", "EMFILE", "ENFILE"]


def meet(error: Exception) -> None:
    with storage_faults("write the rows"):
        raise error


@pytest.mark.parametrize("name", OF_THE_MACHINE)
def test_a_fault_of_the_disk_is_a_503_that_says_what_to_do(name: str) -> None:
    number = getattr(errno, name)
    with pytest.raises(StorageUnavailableError, match=r"Cannot write the rows: .*RLT_HOME") as caught:
        meet(OSError(number, os.strerror(number), "/state/rows"))
    assert (caught.value.status, caught.value.code, caught.value.retryable) == (503, "storage_unavailable", True)
    assert caught.value.retry_after_s is not None
    assert os.strerror(number) in caught.value.detail


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "no such file"), ValueError("a mistake of ours")])
def test_what_is_no_fault_of_the_disk_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        meet(error)
    assert caught.value is error


def test_a_database_that_lends_no_connection_is_a_503() -> None:
    with pytest.raises(StorageUnavailableError, match="Try again"):
        meet(PoolTimeoutError("no connection within 30 s"))
