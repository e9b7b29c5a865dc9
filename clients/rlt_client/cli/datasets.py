"""`rlt datasets`: upload questions, look at them, download, delete."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from rlt_client._resources.datasets import DownloadForm
from rlt_client.cli.state import Json, print_json, state_of

DatasetId = Annotated[str, typer.Argument(help="The dataset's id, such as ds_0a1b….", metavar="DATASET")]


def build() -> typer.Typer:
    """Put the group together."""
    group = typer.Typer(help="Questions with solutions: upload, list, show, download, delete.", no_args_is_help=True)
    reading = (("list", show_list), ("show", show), ("download", download))
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
        str | None,
        typer.Option(help="Whose columns the rows have: gsm8k, math-500, aime-2024, gpqa-diamond, countdown."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Upload a dataset; with one bad line nothing is stored, and every bad line is named.

    A benchmark's own file: `rlt datasets upload test.jsonl --benchmark gsm8k`

    Example: `rlt datasets upload sums.jsonl --column "solution=The answer is {answer}."`
    """
    state = state_of(context)
    templates = dict(_template(text) for text in columns or [])
    with state.client() as client:
        dataset = client.datasets.create(file, name=name, columns=templates or None, benchmark=benchmark)
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
    table = Table("id", "rows", "bytes", "created", "name", box=None)
    for found in page.data:
        created = f"{found.created_at:%Y-%m-%d %H:%M}"
        table.add_row(found.id, str(found.rows), str(found.size_bytes), created, found.name or "")
    state.out.print(table if page.data else "no datasets")


def show(
    context: typer.Context,
    dataset_id: DatasetId,
    rows: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 5,
    as_json: Json = False,
) -> None:
    """Show a dataset and its first rows."""
    state = state_of(context)
    with state.client() as client:
        dataset, window = client.datasets.get(dataset_id), client.datasets.rows(dataset_id, limit=rows)
    if as_json:
        typer.echo(_joined(dataset.model_dump(mode="json"), [row.model_dump(mode="json") for row in window.data]))
        return
    shown = f"sha256 {dataset.sha256}" if dataset.complete else f"not complete, {dataset.job} fills it"
    state.out.print(f"{dataset.id}  {dataset.rows} rows, {shown}", markup=False)
    for row in window.data:
        state.out.print(f"- {row.question}\n  {row.solution}", markup=False)


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


def _joined(dataset: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    return json.dumps({**dataset, "data": rows}, indent=2, ensure_ascii=False)
