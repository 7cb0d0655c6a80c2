"""The data of a QR challenge: an image, or the text to encode, told from the bytes alone."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belvo_links.protocol.qr import MAX_VALUE, QrCode, read_qr

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
    ]


@pytest.mark.parametrize("media_type, image", IMAGES.items())
def test_an_image_is_found_in_every_spelling_and_named_by_its_bytes(media_type: str, image: bytes) -> None:
    """Data URI or bare base64, url-safe or not, padded or not: the claimed type is not believed."""
    for value in spellings(image):
        assert read_qr(value) == QrCode(image=image, media_type=media_type)


def test_the_older_gif_is_one_too() -> None:
    """Both signatures of GIF count."""
    assert read_qr(base64.b64encode(b"GIF87a...").decode()).media_type == "image/gif"


@pytest.mark.parametrize(
    "value",
    [
        "00020126580014br.gov.bcb.pix0136123e4567-e12b-12d1-a456-426655440000",
        "https://bank.example/login?code=abc",
        "12345",
        "QkFOQ08gREUgQ0FOQVJZ",
        "Qk0xMjM0NTY3ODkw",
        "",
        "ñandú 🦊",
        "data:image/svg+xml;base64," + base64.b64encode(b"<svg onload='alert(1)'/>").decode(),
        "data:text/html;base64," + base64.b64encode(b"<script>").decode(),
        "<svg/>",
        "data:image/png,notbase64",
        "data:image/png;base64,%%%",
        base64.b64encode(b"RIFF\x00\x00\x00\x00WAVEfmt ").decode(),
    ],
)
def test_anything_else_is_the_text_to_encode(value: str) -> None:
    """Texts stay as they came; SVG and HTML can run scripts, so they are no images."""
    assert read_qr(value) == QrCode(text=value)


def test_a_value_beyond_the_limit_is_not_decoded() -> None:
    """Megabytes of base64 are taken as text."""
    value = base64.b64encode(PNG + bytes(MAX_VALUE)).decode()
    assert read_qr(value) == QrCode(text=value)


def test_the_data_does_not_show() -> None:
    """Neither image nor text is in the repr: who sees the code can scan it."""
    assert "PNG" not in repr(read_qr(spellings(PNG)[0]))
    assert "CANARY" not in repr(read_qr("CANARY"))


@given(value=st.text() | st.binary().map(lambda data: base64.b64encode(data).decode()))
def test_every_text_is_one_or_the_other(value: str) -> None:
    """No value raises, and there is either an image with a type or the text itself."""
    code = read_qr(value)
    assert (code.image is None) == (code.media_type is None) == (code.text is not None)
    assert code.text in {None, value}
