"""Mixed into a vLLM worker by a test: which sequences each step of the engine computed together."""

from typing import Any


class StepWatch:
    """`worker_extension_cls`: its methods are called over collective_rpc."""

    model_runner: Any
    steps_seen: list[list[str]]

    def watch_steps(self) -> None:
        """Note the requests of every step from now on."""
        self.steps_seen = []
        theirs = self.model_runner.execute_model

        def execute_model(scheduled: Any, *given: Any, **named: Any) -> Any:
            self.steps_seen.append(list(scheduled.num_scheduled_tokens))
            return theirs(scheduled, *given, **named)

        self.model_runner.execute_model = execute_model

    def seen_steps(self) -> list[list[str]]:
        """Give the names of each step's requests, and begin anew."""
        seen, self.steps_seen = self.steps_seen, []
        return seen
