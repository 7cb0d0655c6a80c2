"""The shapes that charts are made of. Positions across are percentages, heights are pixels."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Piece:
    """A part of a bar: what it stands for, where it begins and how wide it is (percent), and its words."""

    kind: str
    start: float
    width: float
    said: str


@attrs.frozen(kw_only=True)
class Bar:
    """A horizontal bar with its label and value."""

    label: str
    value: str
    pieces: tuple[Piece, ...]


@attrs.frozen(kw_only=True)
class Bars:
    """A chart of horizontal bars: categories.

    Attributes:
        title: what it shows.
        said: the same in words.
        bars: from top to bottom.
        kinds: what the legend explains; none where the labels say it.
    """

    title: str
    said: str
    bars: tuple[Bar, ...]
    kinds: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Column:
    """A column: its place across (percent), its height (pixels), its label below, its value and its words."""

    kind: str
    start: float
    width: float
    height: float
    label: str
    value: str
    said: str

    @property
    def middle(self) -> float:
        """Where its label is centred, in percent."""
        return round(self.start + self.width / 2, 2)


@attrs.frozen(kw_only=True)
class Histogram:
    """A chart of columns: a distribution."""

    title: str
    said: str
    height: int
    columns: tuple[Column, ...]


@attrs.frozen(kw_only=True)
class Lane:
    """One row of a timeline: its name, what lies before and after, what its upper end stands for, its columns."""

    name: str
    past: str
    later: str
    top: str
    columns: tuple[Column, ...]


@attrs.frozen(kw_only=True)
class Mark:
    """A mark on the axis of time: its place (percent) and its text."""

    at: float
    text: str


@attrs.frozen(kw_only=True)
class Timeline:
    """Lanes above one axis of time.

    Attributes:
        title: what it shows.
        said: the same in words.
        height: of the highest possible column, in pixels.
        lanes: from top to bottom.
        months: the axis.
    """

    title: str
    said: str
    height: int
    lanes: tuple[Lane, ...]
    months: tuple[Mark, ...]


@attrs.frozen(kw_only=True)
class Charts:
    """All charts of a report."""

    statuses: Bars
    severities: Bars
    ages: Histogram
    running_out: Timeline
    institutions: Bars
    checks: Bars
