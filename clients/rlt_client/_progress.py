"""Show how far a job is: a bar where it can move, else a line where something has changed."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from rlt_core.schemas.jobs import Job


class Progress:
    """One job's bar on stderr, so that a pipe's stdout stays as it is."""

    def __init__(self, job_id: str, *, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._said: tuple[str, int] | None = None
        self._task: TaskID | None = None
        self._bar: Bar | None = None
        if self._console.is_terminal or self._console.is_jupyter:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bar = Bar(*columns, TextColumn("{task.fields[figures]}"), console=self._console)
            self._task = self._bar.add_task(job_id, total=None, figures="")

    def show(self, job: Job) -> None:
        """Show the job as it is now."""
        step, total = job.progress.step, job.progress.total
        figures = " ".join(f"{name} {value:.3g}" for name, value in list(job.progress.metrics.items())[:3])
        if self._bar is not None and self._task is not None:
            left = "" if job.progress.eta_s is None else f" {job.progress.eta_s:.0f} s left"
            description = f"{job.kind} {job.id} {job.status}"
            self._bar.update(self._task, description=description, completed=step, total=total, figures=figures + left)
            return
        tenth = 10 * step // total if total else 0
        if self._said != (job.status, tenth):
            self._said = (job.status, tenth)
            of = f"/{total}" if total else ""
            self._console.print(f"{job.kind} {job.id} {job.status} {step}{of} {figures}".rstrip(), soft_wrap=True)

    def __enter__(self) -> Self:
        """Begin to paint."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the bar as it is last."""
        if self._bar is not None:
            self._bar.stop()
