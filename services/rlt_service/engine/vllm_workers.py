"""Ask the workers of a vLLM engine, all of them. Leans on the inside of vLLM 0.32; vLLM is not imported.

`AsyncLLM.collective_rpc` has every core of a data-parallel engine ask its workers, and tells what the first one's
said: `DPLBAsyncMPClient.call_utility_async` keeps no other. Its `call_utility_all_async` does. **Not run** with several
cores.
"""

from collections.abc import Sequence
from typing import Any


async def ask_workers(llm: Any, method: str) -> Sequence[Sequence[Any]]:
    """Call a method without arguments on every worker of an AsyncLLM; give their answers core by core."""
    if llm.vllm_config.parallel_config.data_parallel_size == 1:
        return [await llm.collective_rpc(method)]
    return await llm.engine_core.call_utility_all_async("collective_rpc", method, None, (), None)


def positions_in(answers: Sequence[Sequence[int]]) -> int:
    """Sum what the cores have scored, each position once.

    Workers over which each layer is spread all score it; of a pipeline, the last one alone does.
    """
    return sum(max(core) for core in answers)
