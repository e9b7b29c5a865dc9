"""vLLM's executor, waiting for the worker's answers without burning a core.

Leans on the inside of vLLM 0.32: the engine's core polls shared memory in a loop for a second after each answer, so
during generation always, and takes a core from the worker that computes; `SpinCondition` sleeps until it is notified
where that second is set to zero.
"""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

from vllm.v1.executor.multiproc_executor import MultiprocExecutor


class PatientExecutor(MultiprocExecutor):
    """Starts the worker as vLLM does, then makes the reader of its answers sleep between them."""

    def _init_executor(self) -> None:
        super()._init_executor()
        for queue in self.response_mqs:
            queue._spin_condition.busy_loop_s = 0.0
