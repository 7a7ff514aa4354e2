"""Runs on the guest's own Python, on the host: which modules an import brings in, and as what.

    python3 -I -S -B collect.py import FOLDER... -- MODULE...   lists `name TAB file` of each
    python3 -I -S -B collect.py compile < LIST                  `source TAB target TAB shown name`

It stands alone: that interpreter sees neither vctui's environment nor its version.
"""

from __future__ import annotations

import sys


def list_imported(folders: list[str], names: list[str]) -> None:
    """Import the modules and list every module with a file that the interpreter holds now."""
    sys.path += folders
    for name in names:
        __import__(name)
    for name, module in sorted(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if spec is not None and spec.has_location and name != "__main__":
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
        end = sys.argv.index("--")
        list_imported(sys.argv[2:end], sys.argv[end + 1 :])
    else:
        compile_all(sys.stdin.readlines())
