"""What the source says of a structure's fields: the string that stands below each of them."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap


@functools.cache
def of_fields(structure: type) -> dict[str, str]:
    """Field → its docstring on one line; fields that have none are left out.

    Where the source is not installed there are none.
    """
    try:
        source = textwrap.dedent(inspect.getsource(structure))
    except (OSError, TypeError):
        return {}
    (definition,) = ast.parse(source).body
    if not isinstance(definition, ast.ClassDef):
        return {}
    found = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = " ".join(text.split())
    return found


def of(thing: object) -> str:
    """The docstring of a class or function, on one line for each paragraph."""
    paragraphs = (inspect.getdoc(thing) or "").split("\n\n")
    return "\n\n".join(" ".join(one.split()) for one in paragraphs)
