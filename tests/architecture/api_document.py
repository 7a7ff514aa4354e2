"""The declarations of the API document, which is Markdown with Go in it.

    python -m tests.architecture.api_document DOCUMENT

records those of a document, which is not a part of this project, for the tests.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "tests" / "data" / "virtcontainers-1.0-api.txt"
"""What the document declares."""

_DECLARATION = re.compile(
    r"^(type \w+ (?:struct|interface) \{\n.*?^\}|type \w+ \w+$|const \(\n.*?^\)"
    r"|func (?!Example)\w+\([^\n]*)",
    re.DOTALL | re.MULTILINE,
)


def declarations(document: str) -> str:
    """What it declares, each once, without comments and with single spaces."""
    said = re.sub(r"[ \t]*//[^\n]*", "", document)
    found = dict.fromkeys(
        "\n".join(" ".join(line.split()) for line in one.splitlines() if line.strip())
        for one in _DECLARATION.findall(said)
    )
    return "\n".join(found) + "\n"


def fields() -> Iterator[tuple[str, str]]:
    """Structure and field, and handle and method."""
    for owner, name, _ in types_of_fields():
        yield owner, name


def types_of_fields() -> Iterator[tuple[str, str, str]]:
    """Structure, field and its type; of a method, the rest of its declaration."""
    for owner, body in re.findall(
        r"^type (\w+) (?:struct|interface) \{\n(.*?)^\}",
        RECORD.read_text(),
        re.DOTALL | re.MULTILINE,
    ):
        for line in body.splitlines():
            name, type_ = re.split(r"[ (]", line, maxsplit=1)
            yield owner, name, type_


def words() -> Iterator[tuple[str, str]]:
    """Type and value of each constant; a number stands for the name that is made of it."""
    kind = ""
    for block in re.findall(r"^const \(\n(.*?)^\)", RECORD.read_text(), re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            name, *rest = line.split()
            kind = rest[0] if len(rest) == 3 else kind
            if name.startswith("SocketType"):  # the document gives it no type
                yield "SocketType", rest[-1].strip('"')
            elif '"' in line:
                yield kind, rest[-1].strip('"')
            else:
                yield kind, name.removeprefix("NetXConnect").removesuffix("Model").lower()


def functions() -> dict[str, tuple[list[str], list[str]]]:
    """Name → its parameters and what it returns but for the error, as the document spells them."""
    found = {}
    for name, taken, given in re.findall(
        r"^func (\w+)\((.*?)\) (.+)$", RECORD.read_text(), re.MULTILINE
    ):
        parameters = [one.split()[0] for one in taken.split(",") if one.strip()]
        returned = [one.strip() for one in given.strip("()").split(",")]
        found[name] = (parameters, [one for one in returned if one != "error"])
    return found


if __name__ == "__main__":
    RECORD.write_text(declarations(Path(sys.argv[1]).read_text(encoding="utf-8")), encoding="utf-8")
