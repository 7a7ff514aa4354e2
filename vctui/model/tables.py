"""Documents of others, read key by key: what is understood is taken, the rest is named. Pure.

A document in a foreign format is no pod file: most of it may mean nothing here. What nobody took
becomes a warning with its path, so that nothing is dropped in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from vctui.errors import InvalidConfig

T = TypeVar("T")


class Table:
    """One table of a document, and what was taken from it. All methods raise InvalidConfig."""

    def __init__(self, data: Mapping[str, Any], path: str, warnings: list[str]) -> None:
        self._data = {str(key): value for key, value in data.items()}
        self._path = path
        self._taken: set[str] = set()
        self.warnings = warnings

    def __contains__(self, key: str) -> bool:
        return self._data.get(key) is not None

    def path(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def text(self, key: str, default: str = "") -> str:
        return self._of(key, str, "a string", default)

    def flag(self, key: str, default: bool = False) -> bool:
        return self._of(key, bool, "true or false", default)

    def integer(self, key: str) -> int | None:
        value = self._take(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise InvalidConfig(f"{self.path(key)} must be an integer, not {_shown(value)}")
        return value

    def texts(self, key: str) -> list[str]:
        values = self._of(key, list, "a list of strings", [])
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise InvalidConfig(
                    f"{self.path(key)}[{index}] must be a string, not {_shown(value)}"
                )
        return list(values)

    def mapping(self, key: str) -> dict[str, str]:
        """A table of strings."""
        table = self._of(key, dict, "a table of strings", {})
        for name, value in table.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise InvalidConfig(
                    f"{self.path(key)}.{name} must be a string, not {_shown(value)}"
                )
        return dict(table)

    def table(self, key: str) -> Table:
        """An empty one where the key is missing."""
        return Table(self._of(key, dict, "a table", {}), self.path(key), self.warnings)

    def tables(self, key: str) -> list[Table]:
        values = self._of(key, list, "a list of tables", [])
        found = []
        for index, value in enumerate(values):
            path = f"{self.path(key)}[{index}]"
            if not isinstance(value, dict):
                raise InvalidConfig(f"{path} must be a table, not {_shown(value)}")
            found.append(Table(value, path, self.warnings))
        return found

    def value(self, key: str) -> Any:
        """Whatever stands there."""
        return self._take(key)

    def warn(self, key: str, why: str) -> None:
        self.warnings.append(f"{self.path(key)} {why}")

    def rest(self, *meaningless: str) -> None:
        """Name what was not taken; `meaningless` keys have no effect anywhere."""
        for key, value in self._data.items():
            if key not in self._taken and key not in meaningless and not _says_nothing(value):
                self.warn(key, "is not supported and has no effect")

    def _take(self, key: str) -> Any:
        self._taken.add(key)
        return self._data.get(key)

    def _of(self, key: str, kind: type[T], words: str, default: T) -> T:
        value = self._take(key)
        if value is None:
            return default
        if not isinstance(value, kind):
            raise InvalidConfig(f"{self.path(key)} must be {words}, not {_shown(value)}")
        return value


def _says_nothing(value: object) -> bool:
    return value is None or value is False or value in ("", [], {})


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
