"""What links are filtered by, as one byte for each: quick to look through, and small beside the links themselves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from .state import StoredLink

V = TypeVar("V")
RARE = 255
"""The code that every value shares for which no other one was left."""
_OPPOSITE = bytes((1, 0)) + bytes(254)

# A mask has one byte for each link of a stretch of time, oldest first: 1 for those that are meant, otherwise 0.
# Whatever is done with it is one call that goes over all bytes, so that a million links take about a millisecond.
Mask = bytes | bytearray


class Column(Generic[V]):
    """One field of all links of an account, in their order.

    The first 255 values that it meets get a code of their own, by which fields with few values are found, and values
    that many links share. Links with any other value are kept by that value: those are the fields in which every link
    has its own.
    """

    __slots__ = ("_by_rare_value", "_code_of", "codes", "value_of")

    def __init__(self, value_of: Callable[[StoredLink], V]) -> None:
        self.value_of = value_of
        self.codes = bytearray()
        """The code of each link's value."""
        self._code_of: dict[V, int] = {}
        # The id alone where one link has the value: a million sets would be as large as the links.
        self._by_rare_value: dict[V, str | set[str]] = {}

    def extend(self, links: Iterable[StoredLink]) -> None:
        """Links were added at the end."""
        self.codes.extend(map(self._arrived, links))

    def insert(self, position: int, link: StoredLink) -> None:
        """A link was added."""
        self.codes.insert(position, self._arrived(link))

    def replace(self, position: int, old: StoredLink, new: StoredLink) -> None:
        """A link has changed, in this field or in others."""
        if self.value_of(old) != self.value_of(new):
            self._left(old)
            self.codes[position] = self._arrived(new)

    def delete(self, position: int, link: StoredLink) -> None:
        """A link was removed."""
        self._left(link)
        del self.codes[position]

    def _arrived(self, link: StoredLink) -> int:
        value = self.value_of(link)
        code = self._code_of.get(value)
        if code is not None:
            return code
        if len(self._code_of) < RARE:
            return self._code_of.setdefault(value, len(self._code_of))
        same = self._by_rare_value.setdefault(value, link.id)
        if isinstance(same, set):
            same.add(link.id)
        elif same != link.id:
            self._by_rare_value[value] = {same, link.id}
        return RARE

    def _left(self, link: StoredLink) -> None:
        value = self.value_of(link)
        same = self._by_rare_value.get(value)
        if isinstance(same, set):
            same.remove(link.id)
            if same:
                return
        if same is not None:
            del self._by_rare_value[value]

    @property
    def values(self) -> Iterable[V]:
        """The values that have a code of their own, in the order of their codes."""
        return self._code_of

    def mask(self, first: int, last: int, values: Collection[V]) -> bytearray:
        """The links between two positions that have one of these values; none of those whose value is rare."""
        table = bytes(value in values for value in self._code_of).ljust(256, b"\0")
        return self.codes[first:last].translate(table)

    def rare(self, values: Collection[V]) -> Iterator[str]:
        """The ids of the links that have one of these values, where it is rare."""
        for value in values:
            same = self._by_rare_value.get(value)
            if same is not None:
                yield from (same,) if isinstance(same, str) else same

    def all_rare(self) -> Iterator[str]:
        """The ids of all links whose value is rare."""
        return self.rare(self._by_rare_value)


def opposite(mask: Mask) -> Mask:
    """The links that a mask does not mean."""
    return mask.translate(_OPPOSITE)


def all_of(masks: Sequence[Mask], size: int) -> Mask:
    """The links that every mask means; without any, all of so many."""
    if len(masks) < 2:
        return masks[0] if masks else b"\1" * size
    numbers = [int.from_bytes(mask, "little") for mask in masks]
    common = numbers[0]
    for number in numbers[1:]:
        common &= number
    return common.to_bytes(size, "little")
