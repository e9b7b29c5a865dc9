"""Every worker of an engine is asked, also where vLLM's own call tells of the first core's alone."""

from types import SimpleNamespace
from typing import Any

from rlt_service.engine.vllm_workers import ask_workers, positions_in


class Double:
    """In AsyncLLM's place: so many cores of two workers each."""

    def __init__(self, cores: int) -> None:
        self.vllm_config = SimpleNamespace(parallel_config=SimpleNamespace(data_parallel_size=cores))
        self.engine_core = SimpleNamespace(call_utility_all_async=self._of_all)
        self._answers = [[f"{core}.{worker}" for worker in range(2)] for core in range(cores)]

    async def collective_rpc(self, method: str) -> list[str]:
        assert method == "process_ids"
        return self._answers[0]

    async def _of_all(self, call: str, method: str, timeout: None, args: tuple[()], kwargs: None) -> Any:
        assert (call, method, timeout, args, kwargs) == ("collective_rpc", "process_ids", None, (), None)
        return self._answers


async def test_the_workers_of_one_core_and_of_several_are_all_asked() -> None:
    assert await ask_workers(Double(1), "process_ids") == [["0.0", "0.1"]]
    assert await ask_workers(Double(2), "process_ids") == [["0.0", "0.1"], ["1.0", "1.1"]]


def test_a_position_that_several_workers_scored_counts_once() -> None:
    assert positions_in([[3, 3], [2, 2]]) == 5  # each layer over two
    assert positions_in([[0, 3]]) == 3  # a pipeline of two
