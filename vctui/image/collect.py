"""Runs on the guest's own Python, on the host: which modules an import brings in, and as what.

    collect.py import FOLDER:FOLDER ENTRY MODULE...
        With the folders searched last, lists `name TAB file` of what ENTRY imports, an empty
        line, then what the others add.
    collect.py compile
        Reads `source TAB target TAB shown name` lines.

It stands alone: that interpreter sees neither vctui's environment nor its version.
"""

from __future__ import annotations

import sys


def list_imported(folders: str, entry: str, others: list[str]) -> None:
    """Import the modules and list those with a file that the interpreter holds then."""
    sys.path.extend(folders.split(":"))
    __import__(entry)
    listed = {"__main__"}
    _list_new(listed)
    sys.stdout.write("\n")
    for name in others:
        __import__(name)
    _list_new(listed)


def _list_new(listed: set[str]) -> None:
    for name, module in sorted(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if spec is not None and spec.has_location and name not in listed:
            listed.add(name)
            sys.stdout.write(f"{name}\t{spec.origin}\n")


def compile_all(lines: list[str]) -> None:
    """Write code that is never checked against a source: flag 1 of PEP 552, no docstrings."""
    import marshal
    from importlib.util import MAGIC_NUMBER

    for line in lines:
        source, target, shown = line.rstrip("\n").split("\t")
        with open(source, "rb") as file:  # noqa: PTH123 - every import costs here
            code = compile(file.read(), shown, "exec", dont_inherit=True, optimize=2)
        with open(target, "wb") as file:  # noqa: PTH123
            file.write(MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(code))


if __name__ == "__main__":
    if sys.argv[1] == "import":
        list_imported(sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        compile_all(sys.stdin.readlines())
