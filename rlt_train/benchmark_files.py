"""Own the fetching of a benchmark's rows from the Hugging Face hub into a file that `?benchmark=` reads.

`python -m rlt_train.benchmark_files NAME --revision COMMIT --out FILE`, where the hub can be reached; no server fetches
anything. One commit is named, since what a hub serves under a name changes. Tokens, mirrors and proxies are the
environment's (HF_TOKEN, HF_ENDPOINT, HTTPS_PROXY).
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlt_core.benchmarks import find_benchmark
from rlt_core.errors import InvalidDatasetError, InvalidRequestError, RltError

MAX_CHARACTERS = 1_000_000
"""Of a text of a row; servers have a limit of their own."""
_COMMIT = re.compile(r"[0-9a-f]{40}")

Load = Callable[..., Iterable[Mapping[str, Any]]]
"""`datasets.load_dataset`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRows:
    """Where a benchmark's rows lie on the hub."""

    repository: str
    config: str | None
    split: str


PLACES: Mapping[str, HubRows] = {
    "gsm8k": HubRows(repository="openai/gsm8k", config="main", split="test"),
    "math-500": HubRows(repository="HuggingFaceH4/MATH-500", config=None, split="test"),
    "aime-2024": HubRows(repository="Maxwell-Jia/AIME_2024", config=None, split="train"),
    "gpqa-diamond": HubRows(repository="Idavidrein/gpqa", config="gpqa_diamond", split="train"),
    "countdown": HubRows(repository="Jiayi-Pan/Countdown-Tasks-3to4", config=None, split="train"),
}
"""By the benchmark's name; `--split` names another part."""


def fetch_rows(
    name: str, *, revision: str, out: Path, split: str | None = None, limit: int | None = None, load: Load | None = None
) -> int:
    """Write a benchmark's rows, as they are, to a JSONL file; give how many.

    Raises InvalidRequestError for a benchmark that is not known, or a revision that may move; InvalidDatasetError for a
    row that is none of this benchmark's. Then there is no file.
    """
    benchmark = find_benchmark(name)
    if not _COMMIT.fullmatch(revision):
        raise InvalidRequestError(
            f"{revision[:80]!r} is no commit of 40 hexadecimal digits in small letters; branches and tags move: name "
            "the commit that the hub shows for them",
            param="/revision",
        )
    place = PLACES[benchmark.name]
    rows = (load or _load())(
        place.repository, name=place.config, split=split or place.split, revision=revision, streaming=True
    )
    partial, count = out.with_name(f".{out.name}.partial"), 0
    try:
        with partial.open("w", encoding="utf-8") as file:
            for row in rows:
                if count == limit:
                    break
                count += 1
                _check(benchmark.apply, row, number=count)
                file.write(json.dumps(dict(row), ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return count


def main(argv: Sequence[str], *, load: Load | None = None) -> int:
    """Fetch as the arguments say; 1 after a line that says why not."""
    parser = argparse.ArgumentParser(
        prog="python -m rlt_train.benchmark_files", description="Fetch a benchmark's rows."
    )
    parser.add_argument("name", help=", ".join(PLACES))
    parser.add_argument("--revision", required=True, help="commit of the repository, 40 hexadecimal digits")
    parser.add_argument("--out", required=True, type=Path, help="JSONL file to write")
    parser.add_argument("--split", help="another part than the usual one")
    parser.add_argument("--limit", type=int, help="at most so many rows")
    given = parser.parse_args(argv)
    try:
        count = fetch_rows(
            given.name, revision=given.revision, out=given.out, split=given.split, limit=given.limit, load=load
        )
    except (RltError, OSError, ValueError) as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())[:500]}", file=sys.stderr)  # noqa: T201 - the command's
        return 1
    print(f"{count} rows in {given.out}: rlt datasets upload {given.out} --benchmark {given.name}")  # noqa: T201 - the command's
    return 0


def _check(apply: Callable[..., object], row: Mapping[str, Any], *, number: int) -> None:
    try:
        apply(row, max_characters=MAX_CHARACTERS)
    except InvalidDatasetError as error:
        raise InvalidDatasetError(f"row {number}: {error.detail}", param=error.param) from error


def _load() -> Load:
    # Here, because it takes seconds to import.
    from datasets import load_dataset

    loaded: Any = load_dataset
    return loaded


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
