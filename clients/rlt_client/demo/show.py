"""What the demonstration prints: live progress, per-token scores in colour, a table; plain lines in a pipe."""

import contextlib
from collections.abc import Callable, Generator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from rlt_core.schemas.explain import Explanation
from rlt_core.schemas.jobs import Job, JobEvent
from rlt_core.schemas.score import Score, TokenScore

COLOURS = ((-0.1, "green"), (-0.7, "yellow"), (-2.5, "dark_orange"))
"""Log-prob above which a token gets the colour; below all of them it is red."""


class Screen:
    """One place that prints, so that a terminal and a pipe both read well."""

    def __init__(self, console: Console | None = None) -> None:
        """Print to `console`, by default standard output."""
        self.console = console or Console(highlight=False, soft_wrap=True)

    def title(self, text: str) -> None:
        """Open a part of the demonstration."""
        self.console.print(f"\n[bold]{text}[/bold]")

    def say(self, text: str) -> None:
        """Print one line as it is, without markup."""
        self.console.print(Text(text))

    @contextlib.contextmanager
    def waiting(self, text: str) -> Generator[Callable[[str], None]]:
        """Show that something is under way; the block reports its latest news."""
        last = [""]

        def report(news: str) -> None:
            status.update(f"{text}: {news[:100]}")
            if not self.console.is_terminal and news != last[0]:
                last[0] = news
                self.say(f"  {news[:150]}")

        self.say(f"{text} …")
        with self.console.status(text) as status:
            yield report

    @contextlib.contextmanager
    def counting(self, text: str, *, total: int) -> Generator[Callable[[int], None]]:
        """Show a bar over `total` items; the block calls back with how many are done."""
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        with bar:
            task = bar.add_task(text, total=total)
            yield lambda done: bar.update(task, completed=done)
        if not self.console.is_terminal:
            self.say(f"  {text}: {total}/{total}")

    def job_event(self, event: JobEvent) -> None:
        """Print what an event of a job says, where it says something to a reader."""
        line = event_line(event)
        if line:
            self.say(f"  {line}")

    def job_end(self, job: Job) -> None:
        """Print how a job ended."""
        made = job.result and (job.result.teacher or job.result.student)
        self.say(f"  {job.status}: {made}" if made else f"  {job.status}: {job.error.message if job.error else ''}")

    def tokens(self, explanation: Explanation, score: Score, *, title: str) -> None:
        """Print an explanation and its solution, each token coloured by how hard the student found it."""
        self.say(f"  {title} (reward {score.reward:+.2f}, r_SS {score.r_ss:+.2f}, r_KL {score.r_kl:.2f})")
        tokens = score.tokens or []
        self.console.print(_coloured([token for token in tokens if token.segment == "explanation"]))
        solution = [token for token in tokens if token.segment == "solution"]
        self.console.print(_coloured(solution))
        self.say(f"    log p: {' '.join(f'{token.text.strip()}:{token.logprob:.2f}' for token in solution)}")
        if not explanation.well_formed:
            self.say("    (the explanation was never closed)")

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table."""
        table = Table(*heads)
        for row in rows:
            table.add_row(*row)
        self.console.print(table)


def _coloured(tokens: Sequence[TokenScore]) -> Text:
    text = Text("    ")
    for token in tokens:
        style = next((name for floor, name in COLOURS if token.logprob > floor), "red")
        text.append(token.text.replace("\n", "\n    "), style=style)
    return text


def event_line(event: JobEvent) -> str | None:
    """Put an event into one line; None for those that only machines read."""
    if event.type == "progress":
        metrics = event.data.get("metrics", {})
        shown = [f"{name} {metrics[name]:.3g}" for name in SHOWN_METRICS if name in metrics]
        return f"step {event.data.get('step')}/{event.data.get('total')}  {'  '.join(shown)}"
    if event.type in ("log", "waiting"):
        return str(event.data.get("message", ""))
    return None


SHOWN_METRICS = (
    "loss",
    "reward",
    "r_ss",
    "r_kl",
    "closed",
    "length",
    "rollout_s",
    "score_s",
    "train_s",
    "publish_s",
)
