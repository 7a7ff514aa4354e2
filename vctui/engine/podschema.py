"""The pod file as a JSON Schema, for editors and for programs that write pod files."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vctui.engine import docstrings
from vctui.model.ids import MAX_LENGTH
from vctui.model.pod import PodConfig

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_ID: Final = {
    "type": "string",
    "pattern": f"^[A-Za-z0-9][A-Za-z0-9_.-]{{1,{MAX_LENGTH - 1}}}$",
}
_ENV: Final = {"type": "string", "pattern": "^[^=]+=", "description": "NAME=value"}


def pod_schema() -> dict[str, Any]:
    """What every pod file must be, with the structures' docstrings as descriptions.

    The values that a file leaves out come from config.toml first, which no schema can know.
    """
    (_,), parts = msgspec.json.schema_components([PodConfig], ref_template="#/$defs/{name}")
    for part in parts.values():
        part.pop("title", None)
    for structure in _structures(PodConfig):
        properties = parts[structure.__name__]["properties"]
        for name, text in docstrings.of_fields(structure).items():
            if name in properties:
                properties[name]["description"] = text
    for name in ("PodConfig", "ContainerConfig"):
        parts[name]["properties"]["id"].update(_ID)
    envs = parts["Cmd"]["properties"]["envs"]
    envs["items"] = {"anyOf": [_ENV, envs["items"]]}
    top = parts.pop("PodConfig")
    return {"$schema": DIALECT, "title": "vctui pod file", **top, "$defs": parts}


def _structures(top: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """`top` and the structures that its fields are made of."""
    from msgspec import inspect

    found: list[type[msgspec.Struct]] = []

    def walk(wanted: inspect.Type) -> None:
        match wanted:
            case inspect.StructType():
                if wanted.cls not in found:
                    found.append(wanted.cls)
                    for field in wanted.fields:
                        walk(field.type)
            case inspect.VarTupleType() | inspect.ListType():
                walk(wanted.item_type)
            case inspect.DictType():
                walk(wanted.value_type)
            case inspect.UnionType():
                for one in wanted.types:
                    walk(one)
            case _:
                pass

    walk(inspect.type_info(top))
    return found
