"""What makes two forms the same: what their parts hold, whatever the boundary, the names and the pieces."""

import tracemalloc
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rlt_service.fingerprints import FormDigest, form_boundary

HEAD = b"POST /v1/datasets?\n"
PARTS = st.lists(st.binary(max_size=40).filter(lambda part: b"--b" not in part), min_size=1, max_size=3)
BOUNDARIES = st.sampled_from([b"b1", b"b2", b"bbbb", b"b-" * 20])


def form_of(parts: list[bytes], boundary: bytes, *, name: str = "file") -> bytes:
    head = f'\r\nContent-Disposition: form-data; name="{name}"; filename="f"\r\n\r\n'.encode()
    return b"".join(b"--" + boundary + head + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"


def digest_of(body: bytes, boundary: bytes, cuts: list[int]) -> str:
    digest = FormDigest(HEAD, boundary=boundary)
    places = sorted({cut % (len(body) + 1) for cut in cuts} | {0, len(body)})
    for start, end in pairwise(places):
        digest.update(body[start:end])
    return digest.hexdigest()


@given(parts=PARTS, boundaries=st.tuples(BOUNDARIES, BOUNDARIES), cuts=st.lists(st.integers(0, 10**6), max_size=9))
def test_a_form_is_the_same_whatever_its_boundary_its_names_and_its_pieces(
    parts: list[bytes], boundaries: tuple[bytes, bytes], cuts: list[int]
) -> None:
    one, other = boundaries
    whole = digest_of(form_of(parts, one), one, [])
    assert digest_of(form_of(parts, other, name="renamed"), other, cuts) == whole != "broken"


@given(parts=PARTS, others=PARTS)
def test_forms_are_the_same_only_where_their_parts_are(parts: list[bytes], others: list[bytes]) -> None:
    digests = [digest_of(form_of(each, b"b1"), b"b1", []) for each in (parts, others)]
    assert (digests[0] == digests[1]) == (parts == others)


@given(body=st.binary(max_size=60))
def test_a_form_that_is_broken_is_the_same_as_none_that_was_taken(body: bytes) -> None:
    good = digest_of(form_of([body.replace(b"-", b"")], b"b1"), b"b1", [])
    assert digest_of(b"x" + form_of([body.replace(b"-", b"")], b"b1"), b"b1", []) == "broken" != good


def test_nothing_of_a_form_is_kept_but_hashes() -> None:
    piece = b"x" * 2**16
    digest = FormDigest(HEAD, boundary=b"b1")
    digest.update(form_of([b""], b"b1").partition(b"\r\n--b1--")[0])
    tracemalloc.start()
    try:
        for _ in range(512):  # 32 MiB
            digest.update(piece)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_only_what_says_that_it_is_a_form_and_names_a_boundary_is_one() -> None:
    assert form_boundary("multipart/form-data; boundary=b1") == b"b1"
    assert form_boundary('Multipart/Form-Data; boundary="b1"') == b"b1"
    for content_type in ("", "application/jsonl", "multipart/form-data", f"multipart/form-data; boundary={'b' * 71}"):
        assert form_boundary(content_type) is None
