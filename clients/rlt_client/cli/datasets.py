"""`rlt datasets`: upload questions, look at them, download, delete."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.text import Text

from rlt_client.cli import tables
from rlt_client.cli.ids import DatasetId
from rlt_client.cli.state import Json, State, print_json, state_of
from rlt_core.schemas.datasets import DatasetRow

DownloadForm = Literal["jsonl", "parquet", "messages", "prompt_completion", "sharegpt"]
Benchmark = Literal["gsm8k", "math-500", "aime-2024", "gpqa-diamond", "countdown"]


def build() -> typer.Typer:
    """Put the group together."""
    group = typer.Typer(
        help="Questions with solutions: upload, list, show, rows, download, delete.", no_args_is_help=True
    )
    reading = (("list", show_list), ("show", show), ("rows", rows), ("download", download))
    for name, command in (("upload", upload), *reading, ("delete", delete)):
        group.command(name)(command)
    return group


def upload(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSONL: one object a line.", metavar="FILE")],
    name: Annotated[str | None, typer.Option(help="For people; need not be unique.")] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--column", help="A template over the uploaded row.", metavar="COLUMN=TEMPLATE")
    ] = None,
    benchmark: Annotated[
        Benchmark | None,
        typer.Option(help="Whose columns the rows have."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Upload a dataset; with one bad line nothing is stored, and every bad line is named.

    A benchmark's own file: `rlt datasets upload test.jsonl --benchmark gsm8k`

    Example: `rlt datasets upload sums.jsonl --column "solution=The answer is {answer}."`
    """
    state = state_of(context)
    templates = dict(_template(text) for text in columns or [])
    with state.client() as client, _bar(file, state=state) as on_sent:
        dataset = client.datasets.create(
            file, name=name, columns=templates or None, benchmark=benchmark, on_sent=on_sent
        )
    if as_json:
        print_json(dataset)
    else:
        state.out.print(f"{dataset.id}  {dataset.rows} rows: {', '.join(dataset.columns)}", markup=False)


def show_list(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="Most datasets to show.")] = 20,
    as_json: Json = False,
) -> None:
    """List datasets, newest first."""
    state = state_of(context)
    with state.client() as client:
        page = client.datasets.list(limit=limit)
    if as_json:
        print_json(page)
        return
    listed = [
        (found.id, str(found.rows), str(found.size_bytes), f"{found.created_at:%Y-%m-%d %H:%M}", found.name or "")
        for found in page.data
    ]
    tables.show(("id", "rows", "bytes", "created", "name"), listed, out=state.out, empty="no datasets")


def show(
    context: typer.Context,
    dataset_id: DatasetId,
    shown: Annotated[int, typer.Option("--rows", min=1, max=1000, help="Rows to show.")] = 5,
    as_json: Json = False,
) -> None:
    """Show a dataset and its first rows; with --json the dataset, its rows as `data`."""
    state = state_of(context)
    with state.client() as client:
        dataset, window = client.datasets.get(dataset_id), client.datasets.rows(dataset_id, limit=shown)
    if as_json:
        print_json({**dataset.model_dump(mode="json"), "data": [row.model_dump(mode="json") for row in window.data]})
        return
    said = f"sha256 {dataset.sha256}" if dataset.complete else f"not complete, {dataset.job} fills it"
    state.out.print(f"{dataset.id}  {dataset.rows} rows, {said}", markup=False)
    for row in window.data:
        state.out.print(f"- {row.question}\n  {row.solution}", markup=False)


def rows(
    context: typer.Context,
    dataset_id: DatasetId,
    offset: Annotated[int, typer.Option(min=0, help="Rows to pass over.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most rows to show.")] = 10,
    as_json: Json = False,
) -> None:
    """Show rows with all that they hold: question, solution, answer, reasoning, what else was uploaded."""
    state = state_of(context)
    with state.client() as client:
        window = client.datasets.rows(dataset_id, offset=offset, limit=limit)
    if as_json:
        print_json(window)
        return
    for index, row in enumerate(window.data, start=window.offset):
        state.out.print(f"[{index}] {row.id or ''}".rstrip(), style="bold", markup=False)
        for name, said in _cells(row):
            state.out.print(Text.assemble((f"{name:>15}  ", "dim"), said))
    last = window.offset + len(window.data)
    more = f", the next: --offset {last}" if window.has_more else ""
    state.errors.print(f"rows {window.offset} to {last - 1} of {window.total}{more}" if window.data else "no rows")


def download(
    context: typer.Context,
    dataset_id: DatasetId,
    file: Annotated[Path, typer.Argument(help="Where to write.", metavar="FILE")],
    form: Annotated[
        DownloadForm, typer.Option("--format", help="As stored, as Parquet, or as chats for other trainers.")
    ] = "jsonl",
    as_json: Json = False,
) -> None:
    """Download all rows; of a dataset that a collect fills, those that are there.

    `messages` is for TRL and axolotl, `prompt_completion` for TRL, `sharegpt` for LLaMA-Factory.
    """
    state = state_of(context)
    with state.client() as client:
        dataset, path = client.datasets.get(dataset_id), client.datasets.download(dataset_id, file, format=form)
    if as_json:
        print_json(dataset)
    else:
        state.out.print(f"{dataset.id} is in {path}, {path.stat().st_size} bytes", markup=False)


def delete(context: typer.Context, dataset_id: DatasetId, as_json: Json = False) -> None:
    """Delete a dataset; refused while a job that has not ended names it."""
    state = state_of(context)
    with state.client() as client:
        deleted = client.datasets.delete(dataset_id)
    if as_json:
        print_json(deleted)
    else:
        state.out.print(f"{deleted.id} deleted", markup=False)


def _template(text: str) -> tuple[str, str]:
    column, equals, template = text.partition("=")
    if not equals:
        raise typer.BadParameter(
            f'--column {text}: write COLUMN=TEMPLATE, such as "solution=The answer is {{answer}}."'
        )
    return column, template


def _cells(row: DatasetRow) -> list[tuple[str, str]]:
    held: dict[str, Any] = {"question": row.question, "solution": row.solution, "answer": row.answer}
    held |= {"reasoning_trace": row.reasoning_trace} | row.metadata
    return [(name, str(said)) for name, said in held.items() if said is not None]


@contextmanager
def _bar(file: Path, *, state: State) -> Generator[Callable[[int], None] | None]:
    """Show how much of a file was sent, where somebody looks; gives what the SDK tells it to."""
    if not state.errors.is_terminal or not file.is_file():
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=state.errors, transient=True) as progress:
        size = file.stat().st_size
        task = progress.add_task(file.name, total=size)

        def on_sent(sent: int) -> None:
            progress.update(task, completed=sent, description="checking" if sent >= size else file.name)

        yield on_sent
