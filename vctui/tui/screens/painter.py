"""Puts the widgets of a screen together to a picture, without those that nobody sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from textual._compositor import Compositor
from textual.geometry import Region
from textual.strip import Strip


class Painter(Compositor):
    """As Textual's (8.2), which asks every widget for its lines and cuts each at all edges on the
    screen, those of containers too that their contents cover."""

    def _render_chops(
        self, crop: Region, is_rendered_line: Callable[[int], bool]
    ) -> Sequence[Mapping[int, Strip]]:
        """For each line of the screen its pieces, by the column of their left edge."""
        lines: list[dict[int, Strip | None]] = [dict.fromkeys(cuts[:-1]) for cuts in self.cuts]
        for widget, (region, clip) in self.visible_widgets.items():
            seen = region.intersection(clip)
            if not seen.overlaps(crop):
                continue
            rows = [
                y
                for y in seen.line_range
                if is_rendered_line(y) and _open(lines[y], seen.x, seen.right)
            ]
            if not rows:
                continue
            strips = widget.render_lines(seen.translate((-region.x, -region.y)))
            for y in rows:
                edges = [cut for cut in self.cuts[y] if seen.x <= cut <= seen.right]
                pieces = strips[y - seen.y].divide([edge - seen.x for edge in edges[1:]])
                line = lines[y]
                for edge, piece in zip(edges, pieces, strict=False):
                    if line[edge] is None:  # the widgets in front come first
                        line[edge] = piece
        return lines  # type: ignore[return-value]


def _open(line: Mapping[int, Strip | None], left: int, right: int) -> bool:
    """Whether a piece between these columns is still to be painted."""
    return any(piece is None and left <= edge < right for edge, piece in line.items())
