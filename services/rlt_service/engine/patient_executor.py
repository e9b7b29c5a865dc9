"""vLLM's executor, waiting for the worker's answers without burning a core, and without missing one.

Leans on the inside of vLLM 0.32 (`device_communicators/shm_broadcast.py`): the engine's core polls shared memory in a
loop for a second after each answer, so during generation always, and takes a core from the worker that computes.
`SpinCondition` sleeps until it is notified where that second is set to zero. The notice may be lost, though (a PUB
socket with room for one drops what comes right after another), and vLLM looks again after 5 s only: a step of a small
model then takes 5 s. So a sleep ends after `LOOK_AGAIN_MS` at most.
"""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

from collections.abc import Callable

from vllm.v1.executor.multiproc_executor import MultiprocExecutor

from rlt_service.engine.quick_exit import end_quickly

LOOK_AGAIN_MS = 2
"""A look costs some 20 microseconds; a step of the smallest model takes some milliseconds."""


class PatientExecutor(MultiprocExecutor):
    """Starts the worker as vLLM does, then makes the reader of its answers sleep between them.

    It lives in the engine's core, which ends quickly then.
    """

    def _init_executor(self) -> None:
        end_quickly()
        super()._init_executor()
        for queue in self.response_mqs:
            condition = queue._spin_condition
            condition.busy_loop_s = 0.0
            condition.wait = _looking_again(condition.wait)


def _looking_again(wait: Callable[[int | None], None]) -> Callable[[int | None], None]:
    def bounded(timeout_ms: int | None = None) -> None:
        wait(LOOK_AGAIN_MS if timeout_ms is None else min(timeout_ms, LOOK_AGAIN_MS))

    return bounded
