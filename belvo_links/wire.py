"""What JSON over HTTP needs and Python lacks: open enums, a sentinel for "not given", timestamps, safe unpacking."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Final, Literal, Self, TypeAlias, TypeVar

import msgspec

JsonValue: TypeAlias = bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None
"""Any JSON value, as the standard library's types."""

T = TypeVar("T")


class Absent(Enum):
    """The type of :data:`ABSENT`, the default of arguments that are sent only when given."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


ABSENT: Final = Absent.ABSENT
"""Not given: the field is left out of the request. ``None`` is JSON's null, ``""`` and ``False`` are themselves."""

MaybeAbsent: TypeAlias = T | Literal[Absent.ABSENT]


class OpenStrEnum(StrEnum):
    """A text enum that keeps words it does not know.

    An unknown word becomes a member of its own that equals its text and survives copying and pickling, so that no
    reply fails because the service added a word (documentation section 3). Such members are made anew each time:
    caching them would let hostile input grow the class without bound.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = value
        member._value_ = value
        return member

    def __reduce_ex__(self, protocol: object) -> tuple[type[Self], tuple[str]]:
        """Travel as the word; the first Pythons of 3.11 would look its name up, which an unknown word does not have."""
        return type(self), (self.value,)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    @property
    def is_known(self) -> bool:
        """Whether this version of the package has a name for the word."""
        return type(self).__members__.get(self.name) is self


class NotJsonError(ValueError):
    """A body that is not JSON. Carries nothing of the body."""


def decode_json(body: bytes) -> JsonValue:
    """Parse a JSON body.

    Raises:
        NotJsonError: the body is no JSON, is not UTF-8, or is nested too deeply.
    """
    try:
        value: JsonValue = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # from None: the original message may quote the body.
        raise NotJsonError from None
    return value


def encode_json(value: JsonValue) -> bytes:
    """Serialise a JSON value to UTF-8 bytes.

    Raises:
        ValueError: a text holds half of a surrogate pair, which UTF-8 cannot say. The text is not quoted.
    """
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        msg = "a text is not valid Unicode"
        raise ValueError(msg) from None  # the original carries the text


def parse_timestamp(text: str) -> datetime:
    """Read an ISO-8601 timestamp with 0 to 6 fractional digits as an aware UTC ``datetime``.

    Belvo sends UTC with ``Z`` (documentation section 4); a timestamp without a zone is read as UTC.

    Raises:
        ValueError: it is no such timestamp. The text is not quoted.
    """
    if len(text) < len("2024-01-01T00:00"):
        msg = "not a timestamp"
        raise ValueError(msg)
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        msg = "not a timestamp"
        raise ValueError(msg) from None


def format_timestamp(moment: datetime) -> str:
    """Write an aware ``datetime`` as ISO-8601 UTC with six fractional digits and ``Z``."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


class Unpacker:
    """Unpacks a reply, in pieces that are bounded whatever the reply says.

    Args:
        encoding: the ``Content-Encoding``; other than gzip and deflate are handed on as they are.
    """

    PIECE: Final = 64 * 1024

    def __init__(self, encoding: str) -> None:
        packed = encoding.strip().lower() in {"gzip", "x-gzip", "deflate"}
        self._engine = _engine() if packed else None
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what these bytes unpack to, a bounded piece at a time.

        Raises:
            ValueError: they are not packed as the reply says.
        """
        if self._engine is None:
            yield data
            return
        self._begun = True
        more = bool(data)
        while more:
            if self._engine.eof:  # another member, or bytes behind the end
                self._engine = _engine()
            try:
                piece = self._engine.decompress(data, self.PIECE)
            except zlib.error:
                msg = "not packed as the reply says"
                raise ValueError(msg) from None
            data = self._engine.unconsumed_tail or self._engine.unused_data
            more = bool(data) or len(piece) == self.PIECE  # a full piece may have left some inside
            yield piece

    def finish(self) -> None:
        """Say that nothing more comes.

        Raises:
            ValueError: something is missing.
        """
        if self._begun and self._engine is not None and not self._engine.eof:
            msg = "the end is missing"
            raise ValueError(msg)


def _engine() -> zlib._Decompress:
    return zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # tells gzip and zlib by their beginning
