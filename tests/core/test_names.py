"""Names, versions and ids: what passes can be a folder, and nothing else passes."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_core.schemas.base import NAME_PATTERN, ROLLOUT_PATTERN, VERSION_PATTERN, new_id, split_version

NAMES = st.from_regex(NAME_PATTERN, fullmatch=True).filter(lambda name: not name.endswith("\n"))
PIECES = st.lists(st.sampled_from(["a", "@", "1", "@2", "0", "-", "job_" + "0" * 16, ".1", "\n"]), max_size=5).map(
    "".join
)
NEARLY = PIECES | st.text(alphabet="az09-@._/\\\x00\n\u0660\u00e9AZ job", max_size=70)


@given(name=NAMES, number=st.integers(0, 999_999_999))
def test_a_version_is_split_into_what_it_was_made_of(name: str, number: int) -> None:
    assert split_version(f"{name}@{number}") == (name, number)


@given(text=NEARLY | st.text(max_size=20))
def test_any_other_text_is_no_version(text: str) -> None:
    whole = re.fullmatch(VERSION_PATTERN.strip("^$"), text) or re.fullmatch(ROLLOUT_PATTERN.strip("^$"), text)
    split: tuple[str, int] | None = None
    with contextlib.suppress(ValueError):
        split = split_version(text)
    assert (split is not None) == bool(whole)


@given(text=NEARLY)
def test_a_name_is_one_plain_part_of_a_path(text: str) -> None:
    if re.fullmatch(NAME_PATTERN.strip("^$"), text):
        assert text.isascii()
        assert not set(text) & set("/\\.@\x00\n ")
        assert 1 <= len(text) <= 63


@pytest.mark.parametrize("prefix", ["job", "ds", "eval", "req"])
def test_an_id_has_the_form_that_paths_take(prefix: str) -> None:
    assert re.fullmatch(rf"{prefix}_[a-z0-9]{{16,32}}", new_id(prefix))
