from pathlib import Path

import pytest

from rlt_core.errors import ConfigurationError
from rlt_core.schemas.training import Parallel
from rlt_train.ranks import Rank, check_gpus, check_ranks, first_to_break, own_rank


def test_a_process_without_a_launcher_is_the_only_rank() -> None:
    assert own_rank({}) == Rank(index=0, count=1, count_here=1)
    second = own_rank({"RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"})
    assert (second, second.is_first) == (Rank(index=1, count=4, count_here=2), False)


@pytest.mark.parametrize(("processes", "started"), [(1, 2), (2, 1)])
def test_as_many_ranks_are_started_as_the_spec_says(processes: int, started: int) -> None:
    rank = Rank(index=0, count=started, count_here=started)
    with pytest.raises(ConfigurationError, match=f"started as {started} ranks"):
        check_ranks(Parallel(processes=processes), rank=rank)
    check_ranks(Parallel(processes=started), rank=rank)


def test_only_ddp_runs_on_cpus_and_each_process_has_a_gpu_of_its_own() -> None:
    check_gpus(Parallel(), gpus=0)
    check_gpus(Parallel(processes=2), gpus=0)
    check_gpus(Parallel(processes=2, strategy="fsdp"), gpus=2)
    with pytest.raises(ConfigurationError, match="this worker has 0: ask for fewer, or for ddp"):
        check_gpus(Parallel(processes=2, strategy="fsdp"), gpus=0)
    with pytest.raises(ConfigurationError, match="this worker has 1: ask for fewer, or let"):
        check_gpus(Parallel(processes=2), gpus=1)


def test_of_ranks_that_break_the_first_alone_has_a_say(tmp_path: Path) -> None:
    ranks = [Rank(index=index, count=2, count_here=2) for index in range(2)]
    assert [first_to_break(tmp_path, rank=rank) for rank in reversed(ranks)] == [True, False]
    alone = Rank(index=0, count=1, count_here=1)
    assert first_to_break(tmp_path, rank=alone)
