"""YAML text → plain data. Pure; the only importer of yaml.

Only plain data is made. Aliases may not multiply a small document into a huge one, and a key
that is given twice is an error, as it is in the other formats.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

from vctui.errors import FileProblem

MAX_NODES: Final = 100_000
"""Scalars, lists and tables of a document, with every alias written out."""
_MERGE: Final = "tag:yaml.org,2002:merge"
_SEVERAL: Final = "expected a single document in the stream"
"""How the parser says that there is more than one."""


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if key.value in seen:
                    error: Any = yaml.MarkedYAMLError
                    problem = f"the key {key.value!r} is given twice"
                    raise error(problem=problem, problem_mark=key.start_mark)
                seen.add(key.value)
        make: Any = super().construct_mapping
        return make(node, deep)


def parse_yaml(text: str, *, source: str) -> dict[str, Any]:
    """The one document of `text`, which must be a table.

    Raises:
        FileProblem: it is no YAML, with the line, or no table.
    """
    try:
        make: Any = _Loader
        loader = make(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                _count(node, {}, source)
            data = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise _invalid(error, source) from error
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, OverflowError) as error:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise FileProblem(f"{source} is not valid YAML: {what}; correct it") from error
    if not isinstance(data, dict):
        raise FileProblem(f"{source} must hold one YAML table; write keys and values")
    return data


def _invalid(error: yaml.MarkedYAMLError, source: str) -> FileProblem:
    mark = error.problem_mark
    if error.context == _SEVERAL and mark:
        return FileProblem(
            f"{source} holds several documents (another begins at line {mark.line + 1}); "
            "leave the Pod's alone in it"
        )
    where = f" (at line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    what = ", ".join(filter(None, (error.context, error.problem)))
    return FileProblem(f"{source} is not valid YAML: {what}{where}; correct it")


def _count(node: yaml.Node, known: dict[int, int], source: str) -> int:
    """How many nodes there are with aliases written out; each node is looked at once."""
    if id(node) in known:
        if known[id(node)] == 0:
            raise FileProblem(f"{source} holds a YAML alias to itself; write it out")
        return known[id(node)]
    known[id(node)] = 0
    total = 1
    if isinstance(node, yaml.SequenceNode):
        total += sum(_count(each, known, source) for each in node.value)
    elif isinstance(node, yaml.MappingNode):
        total += sum(_count(each, known, source) for pair in node.value for each in pair)
    if total > MAX_NODES:
        raise FileProblem(f"{source} has YAML aliases that grow without measure; write them out")
    known[id(node)] = total
    return total
