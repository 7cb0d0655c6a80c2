"""What is drawn is what was sent, and nothing else of it gets into a page."""

import base64
import random
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from string import ascii_lowercase
from xml.etree import ElementTree as ET

import pytest
import segno
from hypothesis import given, settings
from hypothesis import strategies as st

import belvo_links.qr
from belvo_links import QrCode, UndrawableQrError
from belvo_links.protocol.qr import read_qr
from belvo_links.qr import to_modules, to_svg, to_terminal
from belvo_links.sandbox.qr import qr_png
from tests.qr.images import MATRIX, TEXT, chunk, header, picture, png
from tests.qr.symbols import QUIET_ZONE, SVG, Modules, painted, seen, text_of

IMAGE = QrCode(image=picture(0, 8), media_type="image/png")
GIF = b"GIF89a <script>alert(1)</script> \xfb\xff"
INTERLACED = png(header(1, 1, 8, 0, interlace=1), chunk(b"IDAT", zlib.compress(b"\0\0")))
TITLES = st.text(max_size=40) | st.text(alphabet="<>&'\"/ascript\x00\ud800\ufffe]!-=", max_size=40)


def by_segno(text: str) -> Modules:
    return tuple(tuple(bool(module) for module in row) for row in segno.make_qr(text).matrix)


class Elements(HTMLParser):
    """The elements with their attributes, and the text, that a browser finds in a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


# ----------------------------------------------------------------------------------------------- the same modules


def test_the_simulators_image_is_drawn_as_its_symbol() -> None:
    """From the value in the 428 to a page and a terminal, module by module; the simulator encodes by itself."""
    code = read_qr(qr_png(TEXT))
    assert code is not None
    assert code.media_type == "image/png"
    assert to_modules(code) == MATRIX
    assert painted(to_svg(code)) == MATRIX
    assert seen(to_terminal(code).splitlines()) == MATRIX
    assert seen(to_terminal(code, ascii_only=True).splitlines()) == MATRIX
    assert to_terminal(code, ascii_only=True).isascii()
    assert text_of(MATRIX) == TEXT


@pytest.mark.parametrize(
    "text", ["a", "0" * 40, "https://bank.example/confirm?id=0123456789", "ñandú " * 40, "点茗" * 9]
)
def test_a_text_is_drawn_as_the_symbol_that_segno_makes(text: str) -> None:
    """The same modules, whatever the size."""
    code, expected = QrCode(text=text), by_segno(text)
    assert to_modules(code) == expected
    assert painted(to_svg(code)) == expected
    assert seen(to_terminal(code).splitlines()) == seen(to_terminal(code, ascii_only=True).splitlines()) == expected


@settings(max_examples=20)
@given(text=st.text(alphabet=ascii_lowercase + "?&=/:0123456789", min_size=17, max_size=31).map("q".__add__))
def test_who_reads_the_drawing_gets_the_text(text: str) -> None:
    """Unmasked and decoded by other code than what encoded it."""
    assert text_of(painted(to_svg(QrCode(text=text)))) == text
    assert text_of(seen(to_terminal(QrCode(text=text)).splitlines())) == text


def test_the_longest_text_is_drawn_and_one_sign_more_is_not() -> None:
    """It is refused here where no symbol holds it."""
    assert len(to_modules(QrCode(text="x" * 2953))) == 177
    for draw in (to_modules, to_svg, to_terminal):
        with pytest.raises(UndrawableQrError, match="fits into no QR code"):
            draw(QrCode(text="x" * 2954))


# -------------------------------------------------------------------------------------------------- safe in a page


@pytest.mark.parametrize("code", [IMAGE, QrCode(text="<script>alert(1)</script>"), QrCode(image=GIF)])
@given(title=TITLES)
def test_a_page_gets_shapes_and_an_escaped_title(code: QrCode, title: str) -> None:
    """For a parser of HTML and for one of XML: no other element, attribute or text, whatever the title is."""
    svg = to_svg(code, title=title)
    page = Elements(f"<p>{svg}</p>")
    assert page.tags == ["p", "svg", "title", "rect", "image" if code.image == GIF else "path"]
    assert page.attributes <= {
        *("xmlns", "viewbox", "width", "height", "role", "fill", "shape-rendering", "d", "x", "y", "href")
    }
    root = ET.fromstring(svg)
    read = root[0].text or ""
    assert len(read) == len(title.replace("\r\n", "\n"))
    assert all(there in {given, "\ufffd", "\n"} for there, given in zip(read, title.replace("\r\n", "\n"), strict=True))
    assert root[0].tag == f"{SVG}title"


def test_it_has_a_name_a_size_and_scales() -> None:
    """For people who do not see it, and for pages of any width."""
    root = ET.fromstring(to_svg(IMAGE))
    assert root.attrib == {"viewBox": "0 0 33 33", "width": "240", "height": "240", "role": "img"}
    assert root[0].text == "QR code"
    other = ET.fromstring(to_svg(IMAGE, size=99, title="Scan <this>"))
    assert (other.attrib["width"], other.attrib["height"]) == ("99", "99")
    assert other[0].text == "Scan <this>"


def test_nothing_of_a_readable_image_is_in_the_drawing() -> None:
    """Two images that show the same symbol are drawn alike, whatever else they hold."""
    bloated = QrCode(image=IMAGE.image + b"<script>" if IMAGE.image else None, media_type="text/html")
    assert to_svg(bloated) == to_svg(IMAGE) == to_svg(QrCode(image=picture(6, 8)))


@pytest.mark.parametrize("image, media_type", [(GIF, "image/gif"), (INTERLACED, "image/png")])
def test_an_image_that_is_not_read_is_embedded_under_its_own_type(image: bytes, media_type: str) -> None:
    """In a quiet zone on a light ground; what the code claims to be counts for nothing."""
    _, ground, embedded = ET.fromstring(to_svg(QrCode(image=image, media_type="text/html")))
    assert ground.attrib == {"width": "29", "height": "29", "fill": "#fff"}
    head, _, data = embedded.attrib.pop("href").partition(",")
    assert head == f"data:{media_type};base64"
    assert base64.b64decode(data, validate=True) == image
    assert embedded.attrib == {"x": "4", "y": "4", "width": "21", "height": "21"}


@pytest.mark.parametrize(
    "code",
    [
        QrCode(),
        QrCode(text=""),
        QrCode(text="\ud800"),
        QrCode(image=b""),
        QrCode(image=b"<svg onload='alert(1)'/>", media_type="image/svg+xml"),
        QrCode(image=b"<html>", media_type="image/png"),
    ],
    ids=["nothing", "empty text", "no character", "empty image", "svg", "html"],
)
def test_what_is_neither_text_nor_raster_image_is_refused(code: QrCode) -> None:
    """Also where it says that it is one; and without its data in the error."""
    for draw in (to_modules, to_svg, to_terminal):
        with pytest.raises(UndrawableQrError) as caught:
            draw(code)
        assert caught.value.__context__ is None or caught.value.__suppress_context__
        assert "alert" not in str(caught.value)


def test_a_terminal_has_no_place_for_other_images() -> None:
    """They can be saved, or embedded."""
    for draw in (to_modules, to_terminal):
        with pytest.raises(UndrawableQrError, match="is no PNG"):
            draw(QrCode(image=GIF, media_type="image/gif"))


def test_a_drawing_is_never_large() -> None:
    """The widest symbol, full of noise, behind as much of a finder as is looked for."""
    noise = random.Random(7)
    rows = [[noise.random() < 0.5 for _ in range(177)] for _ in range(177)]
    rows[0][:8] = [True] * 7 + [False]
    rows[-1] = [True] * 177  # so that it ends where the symbol does
    rows[0][-1] = True
    lines = (b"\0" + int("".join("10"[dark] for dark in row).ljust(184, "0"), 2).to_bytes(23, "big") for row in rows)
    image = png(header(177, 177, 1, 0), chunk(b"IDAT", zlib.compress(b"".join(lines))))
    svg = to_svg(QrCode(image=image))
    assert painted(svg) == tuple(map(tuple, rows))
    assert len(svg) < 200_000


# ------------------------------------------------------------------------------------------------------- quiet zone


def test_the_quiet_zone_is_painted_all_around() -> None:
    """Scanners need it; on a dark ground light is what is painted."""
    for lines in (to_terminal(IMAGE).splitlines(), to_terminal(IMAGE, ascii_only=True).splitlines()):
        painted_signs = {"█", "#"}
        assert set(lines[0]) <= painted_signs
        assert set(lines[-1]) <= painted_signs
        width = QUIET_ZONE * (2 if lines[0][0] == "#" else 1)
        assert all(set(line[:width] + line[-width:]) <= painted_signs for line in lines)


# ------------------------------------------------------------------------------------------------------- the extra


def test_without_the_extra_a_text_names_it_and_images_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only encoding needs a library."""
    monkeypatch.setitem(sys.modules, "segno", None)
    assert painted(to_svg(IMAGE)) == MATRIX
    for draw in (to_modules, to_svg, to_terminal):
        with pytest.raises(
            ModuleNotFoundError, match=r"needs the extra \[qr\]: pip install 'belvo-links\[qr\]'"
        ) as caught:
            draw(QrCode(text="CANARY"))
        assert caught.value.name == "segno"
        assert caught.value.__suppress_context__


def test_importing_it_loads_nothing_else() -> None:
    """Neither the encoder nor the drawing, until one draws."""
    program = """
import sys
import belvo_links.qr
print(sorted(name for name in sys.modules if name.startswith(("segno", "belvo_links.qr.", "aiohttp"))))
belvo_links.qr.to_svg, belvo_links.qr.to_modules, belvo_links.qr.to_terminal
print(sorted({"segno", "aiohttp", "asyncio"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.splitlines() == ["[]", "[]"]


def test_there_are_no_other_names() -> None:
    """As for any module."""
    assert all(hasattr(belvo_links.qr, name) for name in belvo_links.qr.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'to_pdf'"):
        belvo_links.qr.to_pdf  # noqa: B018  # type: ignore[attr-defined]
