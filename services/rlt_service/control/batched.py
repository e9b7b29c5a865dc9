"""Own the cutting of a stream into parts, as itertools.batched does from Python 3.12 on."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

ItemT = TypeVar("ItemT")


def batched(items: Iterable[ItemT], size: int) -> Iterator[list[ItemT]]:
    """Give lists of `size` items, the last of those that are left; no more than one is held."""
    source = iter(items)
    while some := list(islice(source, size)):
        yield some
