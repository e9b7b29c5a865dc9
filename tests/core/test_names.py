"""Names, versions and ids: what passes can be a folder, and nothing else passes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_core.schemas.base import NAME_PATTERN, ROLLOUT_PATTERN, VERSION_PATTERN, new_id, split_version

NAMES = st.from_regex(NAME_PATTERN, fullmatch=True).filter(lambda name: not name.endswith("\n"))
NEARLY = st.text(alphabet="az09-@._/\\\x00\n\u0660\u00e9AZ job", max_size=70)


@given(name=NAMES, number=st.integers(0, 999_999_999))
def test_a_version_is_split_into_what_it_was_made_of(name: str, number: int) -> None:
    assert split_version(f"{name}@{number}") == (name, number)


@given(text=NEARLY | st.text(max_size=20))
def test_any_other_text_is_no_version(text: str) -> None:
    whole = re.fullmatch(VERSION_PATTERN.strip("^$"), text) or re.fullmatch(ROLLOUT_PATTERN.strip("^$"), text)
    try:
        name, number = split_version(text)
    except ValueError:
        assert not whole
        return
    assert f"{name}@{number}" == text


@given(text=NEARLY)
def test_a_name_is_one_plain_part_of_a_path(text: str) -> None:
    if re.fullmatch(NAME_PATTERN.strip("^$"), text):
        assert text.isascii()
        assert not set(text) & set("/\\.@\x00\n ")
        assert 1 <= len(text) <= 63


@pytest.mark.parametrize("prefix", ["job", "ds", "eval", "req"])
def test_an_id_has_the_form_that_paths_take(prefix: str) -> None:
    assert re.fullmatch(rf"{prefix}_[a-z0-9]{{16,32}}", new_id(prefix))
