"""The data of a QR challenge: an image, or the text to encode, told from the bytes alone."""

import base64
import tracemalloc
from collections.abc import Iterator
from urllib.parse import quote, quote_from_bytes

import pytest
import segno
from hypothesis import given
from hypothesis import strategies as st

from belvo_links.protocol.qr import MAX_ESCAPES, MAX_TEXT, MAX_VALUE, QrCode, raster_type, read_qr

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(251, 256)) * 3
IMAGES = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0 and more \xfb\xff",
    "image/gif": b"GIF89a and more \xfb\xff",
    "image/webp": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
    "image/bmp": b"BM" + (60).to_bytes(4, "little") + bytes(54),
}


def spellings(image: bytes) -> list[str]:
    """The ways in which an image may arrive as text."""
    encoded = base64.b64encode(image).decode()
    return [
        encoded,
        encoded.rstrip("="),
        base64.urlsafe_b64encode(image).decode(),
        f"data:image/png;base64,{encoded}",
        f"DATA:image/svg+xml;charset=utf-8;BASE64,{encoded}",
        f"data:;base64,{encoded}",
        "\n".join(encoded[start : start + 7] for start in range(0, len(encoded), 7)),
        f"  {encoded}\n",
        f" data:image/png ; base64 ,{encoded}",
        f"data:image/png;base64,{quote(encoded, safe='')}%0A",
        f"data:image/png,{quote_from_bytes(image)}",
        f"data:text/html,{''.join(f'%{byte:02x}' for byte in image)}",
        f"data:,{quote_from_bytes(image)}",
    ]


@pytest.mark.parametrize("media_type, image", IMAGES.items())
def test_an_image_is_found_in_every_spelling_and_named_by_its_bytes(media_type: str, image: bytes) -> None:
    """Data URI or bare base64, url-safe or not, padded or not: the claimed type is not believed."""
    for value in spellings(image):
        assert read_qr(value) == QrCode(image=image, media_type=media_type)


def test_the_older_gif_is_one_too() -> None:
    """Both signatures of GIF count."""
    code = read_qr(base64.b64encode(b"GIF87a...").decode())
    assert code is not None
    assert code.media_type == "image/gif"


@pytest.mark.parametrize(
    "value",
    [
        "00020126580014br.gov.bcb.pix0136123e4567-e12b-12d1-a456-426655440000",
        "https://bank.example/login?code=abc",
        "12345",
        "QkFOQ08gREUgQ0FOQVJZ",
        "Qk0xMjM0NTY3ODkw",
        " ",
        "ñandú 🦊",
        "no\ud800character",
        "data:image/svg+xml;base64," + base64.b64encode(b"<svg onload='alert(1)'/>").decode(),
        "data:text/html;base64," + base64.b64encode(b"<script>").decode(),
        "<svg/>",
        "data:image/png,notbase64",
        "data:image/png;base64,%%%",
        "data:text/html,<script>alert(1)</script>",
        "data:text/plain;base64,%%%",
        "data:text/plain,%ff",
        "data:text/plain",
        "data: 1, 2 and 3",
        base64.b64encode(b"RIFF\x00\x00\x00\x00WAVEfmt ").decode(),
    ],
)
def test_anything_else_is_the_text_to_encode(value: str) -> None:
    """Texts stay as they came; SVG and HTML can run scripts, so they are no images."""
    assert read_qr(value) == QrCode(text=value)


@pytest.mark.parametrize(
    "value",
    [
        "data:text/plain,Olá & até%20já",
        "data:,Ol%C3%A1%20%26%20at%C3%A9 j%c3%a1",
        "DATA:TEXT/PLAIN;CHARSET=UTF-7;BASE64,T2zDoSAmIGF0w6kgasOh",
        "data:text/plain;base64,T2zDoSAmIGF0w6kgasOh%0A",
        "data:;charset=utf-8,Olá & até já",
    ],
)
def test_a_data_uri_of_plain_text_gives_the_text(value: str) -> None:
    """That is what it stands for; the charset is not believed."""
    assert read_qr(value) == QrCode(text="Olá & até já")


def test_a_data_uri_of_plain_text_may_hold_any_text() -> None:
    """Markup is a text like another: it is encoded, never shown."""
    assert read_qr("data:text/plain,<script>alert(1)</script>") == QrCode(text="<script>alert(1)</script>")


# ------------------------------------------------------------------------------------------------------------ bounds


LARGEST = [("7", 7_089), ("A", 4_296), ("x", 2_953), ("\xff", 2_953), ("点", 1_817)]


@pytest.mark.parametrize("sign, most", LARGEST)
def test_a_text_is_as_long_as_a_symbol_can_hold(sign: str, most: int) -> None:
    """The figures of the standard, each to the sign."""
    assert read_qr(sign * most) == QrCode(text=sign * most)
    assert read_qr(sign * (most + 1)) is None
    assert read_qr(f"data:text/plain,{sign * most}") == QrCode(text=sign * most)
    assert read_qr(f"data:text/plain,{sign * (most + 1)}") is None


@pytest.mark.parametrize("sign, most", LARGEST)
def test_what_an_encoder_can_hold_is_not_refused(sign: str, most: int) -> None:
    """The largest texts are those of another's encoder."""
    assert segno.make_qr(sign * most).version == 40
    with pytest.raises(ValueError, match="Data too large"):
        segno.make_qr(sign * (most + 1))


@pytest.mark.parametrize("value", ["", "data:,", "data:text/plain;base64,"])
def test_nothing_is_no_code(value: str) -> None:
    """An empty text cannot be encoded; a data URI without data stays a text."""
    assert read_qr(value) == (QrCode(text=value) if value else None)


def test_the_largest_image_is_decoded_and_a_larger_one_is_none() -> None:
    """The limit counts the signs of the value."""
    image = PNG + bytes(MAX_VALUE * 3 // 4 - len(PNG))
    value = base64.b64encode(image).decode()
    assert len(value) == MAX_VALUE
    assert read_qr(value) == QrCode(image=image, media_type="image/png")
    assert read_qr(value + "\n") is None


def test_so_many_escapes_and_no_more_are_undone() -> None:
    """They are what costs time: an image with more of them is none."""
    image = PNG + bytes(MAX_ESCAPES - len(PNG))
    value = "data:image/png," + "".join(f"%{byte:02X}" for byte in image)
    assert read_qr(value) == QrCode(image=image, media_type="image/png")
    assert read_qr(value + "%00") is None


HOSTILE = {
    "escapes": "data:image/png," + "%41" * (MAX_VALUE // 3 - 8),
    "percent signs": "data:," + "%" * (MAX_VALUE - 8),
    "escaped base64": "data:;base64," + "%41%0a" * (MAX_VALUE // 6 - 8),
    "line breaks": "A\n" * (MAX_VALUE // 2),
    "blanks": " " * MAX_VALUE,
    "parameters": "data:" + ";a=b" * (MAX_VALUE // 4 - 8),
    "prefixes": "data:" * (MAX_VALUE // 5),
    "prefixes with commas": "data:;base64," * (MAX_VALUE // 13),
    "padding": "=" * MAX_VALUE,
    "astral": "🦊" * MAX_VALUE,
    "far too long": "iVBORw0KGgo" + "A" * 8 * MAX_VALUE,
    "far too long, escaped": "data:image/png,%89PNG" + "%00" * 8 * MAX_VALUE,
}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_value_costs_little(value: str) -> None:
    """A few copies of what may be decoded and no more, whatever the value is and however long."""
    tracemalloc.start()
    try:
        code = read_qr(value)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert code is None
    assert peak < 10 * MAX_VALUE


class Uncounted(str):
    """A text whose signs nobody may look at one by one."""

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("counted")


def test_the_signs_of_a_long_text_are_not_counted() -> None:
    """Its length says enough, so megabytes of it take no time."""
    assert read_qr(Uncounted("7" * (MAX_TEXT + 1))) is None
    with pytest.raises(AssertionError, match="counted"):
        read_qr(Uncounted("7" * MAX_TEXT))


def test_the_data_does_not_show() -> None:
    """Neither image nor text is in the repr: who sees the code can scan it."""
    assert "PNG" not in repr(read_qr(spellings(PNG)[0]))
    assert "CANARY" not in repr(read_qr("CANARY"))


ANYTHING = st.text() | st.binary().map(lambda data: base64.b64encode(data).decode())
STARTS = st.sampled_from(
    ["", " ", "data:", "data:,", "data:image/png,", "data:;base64,", "data:text/plain,", "data:text/html;base64,"]
)
MIDDLES = st.sampled_from(["", "%89PNG%0D%0A%1a%0A", "iVBORw0KGgo", "%FF%D8%FF", "R0lGODlh", "%", "<svg onload=1>"])


@given(start=STARTS, middle=MIDDLES, end=ANYTHING)
def test_every_value_is_an_image_or_a_text_or_nothing(start: str, middle: str, end: str) -> None:
    """No value raises; an image is what its bytes say; a text is what came, or what it stands for."""
    value = start + middle + end
    code = read_qr(value)
    if code is None:
        assert not value or len(value) > 1_000
    elif code.image is not None:
        assert code.media_type == raster_type(code.image) is not None
        assert code.text is None
        assert len(code.image) <= len(value.encode("utf-8", "surrogatepass"))
    else:
        assert code.media_type is None
        assert code.text == value or (code.text and "data:" in value.lower())
