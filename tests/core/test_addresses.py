"""Several servers in one text: what each plays, and who answers which path."""

import pytest

from rlt_core.addresses import Address, addresses_of, answering, check_addresses, room_of, text_of


def test_one_address_plays_everything() -> None:
    (alone,) = addresses_of("http://rlt.test:8400/")
    assert alone == Address("http://rlt.test:8400")
    assert [answering([alone], room_of(path)) for path in ("/v1/explain", "/v1/score", "/v1/train", "/v1/jobs/x")] == [
        ("http://rlt.test:8400",)
    ] * 4


def test_addresses_are_parted_by_commas_or_blanks_or_come_as_a_list() -> None:
    three = [Address("http://a"), Address("http://b"), Address("http://c")]
    assert list(addresses_of("http://a, http://b\n http://c")) == three
    assert list(addresses_of(["http://a", "http://b,http://c"])) == three
    assert addresses_of(" , ") == ()


def test_each_says_what_it_plays_and_the_text_says_it_again() -> None:
    text = "teacher+control=http://t,student=http://s1,student=http://s2,http://all"
    found = addresses_of(text)
    assert [sorted(one.plays) for one in found] == [
        ["control", "teacher"],
        ["student"],
        ["student"],
        ["control", "student", "teacher"],
    ]
    assert text_of(found) == text
    assert addresses_of(text_of(found)) == found


def test_one_that_is_named_twice_plays_both() -> None:
    assert text_of(addresses_of("teacher=http://a,student=http://a/")) == "teacher+student=http://a"


def test_an_equals_sign_within_a_url_names_no_part() -> None:
    assert addresses_of("http://a/?to=b") == (Address("http://a/?to=b"),)


def test_a_part_that_there_is_not_is_said() -> None:
    with pytest.raises(ValueError, match=r"no part 'pupil'.*teacher, student, control"):
        addresses_of("pupil=http://a")


@pytest.mark.parametrize(
    ("path", "urls"),
    [
        ("/v1/explain", ["t1", "t2"]),
        ("/explain/batch", ["t1", "t2"]),
        ("/v1/score/batch", ["s"]),
        ("/v1/solve", ["s"]),
        ("/v1/chat/completions", ["s"]),
        ("/v1/train", ["t1"]),
        ("/v1/aliases/teacher/default", ["t1"]),
        ("/v1/teachers/a/versions", ["t1"]),
        ("/v1/jobs/job_1/events", ["t1", "c"]),
        ("/v1/datasets", ["t1", "c"]),
        ("/v1/capabilities", ["t1", "c"]),
        ("/v1/explainer", ["t1", "c"]),
    ],
)
def test_each_path_is_answered_by_those_who_play_its_part(path: str, urls: list[str]) -> None:
    named = "teacher+control=http://t1,teacher=http://t2,student=http://s,control=http://c"
    assert list(answering(addresses_of(named), room_of(path))) == [f"http://{url}" for url in urls]


def test_without_an_engine_beside_control_whoever_plays_control_moves_aliases() -> None:
    named = addresses_of("teacher=http://t,student=http://s,control=http://c")
    assert answering(named, room_of("/v1/aliases")) == ("http://c",)


def test_anybody_says_how_he_is_where_nobody_plays_control() -> None:
    named = addresses_of("teacher=http://t,student=http://s")
    assert answering(named, room_of("/v1/capabilities")) == ("http://t", "http://s")
    assert answering(named, room_of("/v1/jobs")) == ()


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("rlt.test:8400", "write http://host:port"),
        ("http://a,https:/b", "'https:/b' is no address"),
        ("teacher=http://t,student=http://s", "plays control: add control=http://host:port"),
        ("control=http://c", "plays teacher or student"),
        ("", "plays teacher or student or control"),
    ],
)
def test_addresses_that_leave_something_out_are_refused(named: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_addresses(named)
