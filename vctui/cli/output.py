"""Everything on standard output: sentences, tables, details, JSON."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from vctui.present.columns import Column
    from vctui.present.details import Section

T = TypeVar("T")

_COLOURS: Final = {
    "error": "31",
    "muted": "2",
    "state-busy": "36",
    "state-failed": "31",
    "state-paused": "33",
    "state-ready": "34",
    "state-running": "32",
    "warning": "33",
}
"""Role → SGR. The operator's own palette gives the shades."""

_CONTROLS: Final = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""DEL and C1, and what hides or reorders text; JSON itself escapes C0."""


class OutputFailed(Exception):
    """Standard output cannot be written."""


class Output:
    """`json` decides: one document, or one for each line while following.

    Every method raises BrokenPipeError where nobody reads any more, and OutputFailed where the
    output cannot be written for another reason.
    """

    def __init__(self) -> None:
        self.json = False

    def text(self, text: str) -> None:
        """A line for people."""
        with _writing():
            sys.stdout.write(f"{text}\n")

    def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        with _writing():
            sys.stdout.flush()
            sys.stdout.buffer.write(data)

    def flush(self) -> None:
        with _writing():
            sys.stdout.flush()

    def document(self, value: Any) -> None:
        """The one JSON document of a command."""
        import msgspec

        self.text(_escaped(msgspec.json.format(msgspec.json.encode(value), indent=2)))

    def line(self, value: Any) -> None:
        """One JSON document of several; the reader sees it at once."""
        import msgspec

        self.text(_escaped(msgspec.json.encode(value)))
        self.flush()

    def done(self, sentence: str, value: Any) -> None:
        """What a change came to: a sentence, or the new status."""
        if self.json:
            self.document(value)
        else:
            self.text(sentence)

    async def stream(
        self,
        items: AsyncIterator[T],
        show: Callable[[T], None],
        data: Callable[[T], Any],
        *,
        following: bool,
    ) -> None:
        """Show items as they come. In JSON they are one array, or lines while following."""
        if not self.json:
            async for item in items:
                show(item)
                if following:
                    self.flush()
        elif following:
            async for item in items:
                self.line(data(item))
        else:
            self.document([data(item) async for item in items])

    def table(self, columns: Sequence[Column[T]], rows: Sequence[T]) -> None:
        """Aligned columns. On a terminal they are made to fit; elsewhere nothing is cut off."""
        from datetime import UTC, datetime

        now = datetime.now(UTC)
        cells = [[column.cell(row, now) for column in columns] for row in rows]
        titles = [column.title for column in columns]
        widths = [
            max(_width(text) for text in (title, *(line[index].text for line in cells)))
            for index, title in enumerate(titles)
        ]
        shown = list(range(len(columns)))
        if sys.stdout.isatty():
            room = shutil.get_terminal_size().columns
            while _total(widths, shown) > room and any(columns[i].priority for i in shown):
                shown.remove(max(shown, key=lambda i: columns[i].priority))
            while _total(widths, shown) > room and max(widths[i] for i in shown) > 8:
                widths[max(shown, key=lambda i: widths[i])] -= 1
        self.text(_row([(titles[i], widths[i], columns[i].align, "") for i in shown]))
        for line in cells:
            self.text(
                _row(
                    [
                        (
                            line[i].text,
                            widths[i],
                            columns[i].align,
                            line[i].role,
                        )
                        for i in shown
                    ]
                )
            )

    def details(self, sections: Iterable[Section]) -> None:
        """Sections of label and value."""
        shown = [section for section in sections if section.fields]
        width = max((len(field.label) for section in shown for field in section.fields), default=0)
        for index, section in enumerate(shown):
            if index:
                self.text("")
            self.text(section.title)
            for field in section.fields:
                value = self.painted(field.value, field.role)
                self.text(f"  {field.label:<{width}}  {value}")

    @staticmethod
    def painted(text: str, role: str) -> str:
        """`text` in the colour of `role`, where the output is a terminal that wants colours."""
        colour = _COLOURS.get(role)
        if not colour or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
            return text
        return f"\x1b[{colour}m{text}\x1b[0m"


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(
            f"cannot write the output: {error.strerror}; write it elsewhere"
        ) from error


def _escaped(json: bytes) -> str:
    """The same document, with what a terminal could obey written as escapes."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", json.decode())


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[i] for i in shown) + 2 * (len(shown) - 1)


def _row(cells: Sequence[tuple[str, int, str, str]]) -> str:
    parts = []
    for text, width, align, role in cells:
        cut = _cut(text, width)
        gap = " " * (width - _width(cut))
        painted = Output.painted(cut, role)
        parts.append(gap + painted if align == "right" else painted + gap)
    return "  ".join(parts).rstrip()


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    return max(wcswidth(text), 0)


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    while text and _width(text) > width - 1:
        text = text[:-1]
    return f"{text}…"
