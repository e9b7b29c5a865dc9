import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_core.errors import InvalidRequestError
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.training import Splits
from rlt_core.splits import SplitRows, split_rows


def rows_of(questions: list[str]) -> list[DatasetRow]:
    return [DatasetRow(id=f"r{n}", question=question, solution="s") for n, question in enumerate(questions)]


def parts(split: SplitRows) -> list[set[str]]:
    return [{row.question for row in part} for part in (split.train, split.select, split.gate, split.report)]


@given(
    questions=st.lists(st.text("abc", min_size=1, max_size=2), max_size=60),
    fractions=st.tuples(*[st.floats(0.0, 0.33)] * 3),
    seed=st.integers(0, 100),
)
def test_no_question_stands_in_two_parts_and_no_row_is_lost(
    questions: list[str], fractions: tuple[float, float, float], seed: int
) -> None:
    rows = rows_of(questions)
    splits = Splits(select=fractions[0], gate=fractions[1], report=fractions[2])
    split = split_rows(rows, splits=splits, seed=seed)
    found = parts(split)
    assert sum(map(len, found)) == len(set(questions))
    every = [*split.train, *split.select, *split.gate, *split.report]
    assert sorted(str(row.id) for row in every) == sorted(str(row.id) for row in rows)


def test_split_depends_on_seed_and_questions_alone() -> None:
    rows = rows_of([f"q{n}" for n in range(100)])
    splits = Splits(gate=0.2)
    first = split_rows(rows, splits=splits, seed=1)
    again = split_rows(list(reversed(rows)), splits=splits, seed=1)
    other = split_rows(rows, splits=splits, seed=2)
    assert len(first.gate) == 20
    assert parts(first) == parts(again)
    assert parts(first) != parts(other)


def test_a_fraction_takes_the_questions_whose_hash_with_the_seed_is_lowest() -> None:
    # The rule in its own words: so a split stays what it is from one release to the next.
    questions = [f"q{n}" for n in range(50)]
    ranked = sorted(questions, key=lambda question: hashlib.sha256(f"7\0{question}".encode()).digest())
    split = split_rows(rows_of(questions), splits=Splits(select=0.1, gate=0.2, report=0.3), seed=7)
    assert parts(split) == [set(ranked[30:]), set(ranked[:5]), set(ranked[5:15]), set(ranked[15:30])]


def test_named_dataset_takes_its_questions_out_of_training() -> None:
    rows = rows_of(["a", "b", "c"])
    split = split_rows(rows, splits=Splits(gate="ds_1"), seed=0, held_out={"gate": rows_of(["b", "z"])})
    assert [row.question for row in split.gate] == ["b", "z"]
    assert [row.question for row in split.train] == ["a", "c"]


def test_question_of_two_named_datasets_is_held_out_once() -> None:
    held_out = {"select": rows_of(["a", "b"]), "report": rows_of(["b", "c"])}
    split = split_rows(rows_of(["x"]), splits=Splits(select="ds_1", report="ds_2"), seed=0, held_out=held_out)
    assert [row.question for row in split.report] == ["c"]


@pytest.mark.parametrize(
    ("splits", "param"),
    [
        (Splits(gate=1.0), "/splits/gate"),
        (Splits(select=-0.1), "/splits/select"),
        (Splits(select=0.5, gate=0.3, report=0.2), "/splits"),
        (Splits(report="ds_1"), "/splits/report"),
    ],
)
def test_impossible_splits_are_refused_where_they_stand(splits: Splits, param: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        split_rows(rows_of(["a", "b"]), splits=splits, seed=0)
    assert refusal.value.param == param
