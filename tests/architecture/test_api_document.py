"""Whatever the API document declares is in the library, in its shape, and in the table of names."""

from __future__ import annotations

import inspect
import tomllib

import msgspec
import pytest
from msgspec import inspect as types

import vctui
from tests.architecture import api_document
from tests.architecture.test_generated import generator
from vctui.engine import api, docstrings

GENERATOR = generator("gen_api")
TABLE = tomllib.loads(GENERATOR.NAMES.read_text())
TYPED = [
    (owner, name, go)
    for owner, name, go in api_document.types_of_fields()
    if TABLE["structures"].get(owner, {}).get(name)
]
"""Those that are here."""
NUMBERS = {"int", "uint", "int64", "uint32", "os.FileMode"}


def test_declarations_are_found_in_a_document() -> None:
    said = (
        "## `type Thing`\n```Go\n// Thing is one.\ntype Thing struct {\n"
        "    // Name is its name.\n\tName   string // never empty\n\n}\n```\n"
        '```Go\ntype Kind string\nconst (\n\tOne Kind = "one"\n)\n```\n'
        "```Go\nfunc MakeThing(name string) (Thing, error)\nfunc ExampleMakeThing() {\n```\n"
        "```Go\ntype Kind string\n```\n"
    )
    assert api_document.declarations(said).splitlines() == [
        "type Thing struct {",
        "Name string",
        "}",
        "type Kind string",
        "const (",
        'One Kind = "one"',
        ")",
        "func MakeThing(name string) (Thing, error)",
    ]


@pytest.mark.parametrize(("owner", "name"), list(api_document.fields()))
def test_every_field_and_method_is_in_the_table(owner: str, name: str) -> None:
    section = "handles" if owner.startswith("VC") else "structures"
    assert name in TABLE[section][owner]


@pytest.mark.parametrize(("kind", "word"), list(api_document.words()))
def test_every_value_of_an_enumeration_is_in_the_table(kind: str, word: str) -> None:
    assert word in TABLE["enumerations"][kind]


def test_the_table_has_no_function_and_no_value_that_the_document_has_not() -> None:
    of_table = {name for names in TABLE["functions"].values() for name in names}
    assert of_table == set(api_document.functions())
    of_document = dict.fromkeys(kind for kind, _ in api_document.words())
    assert set(TABLE["enumerations"]) - set(of_document) == {"State"}
    for kind in of_document:
        said = [word for owner, word in api_document.words() if owner == kind]
        assert sorted(TABLE["enumerations"][kind]) == sorted(said)


@pytest.mark.parametrize("name", api_document.functions())
def test_functions_take_and_give_what_the_document_says(name: str) -> None:
    parameters, returned = api_document.functions()[name]
    function = getattr(vctui, GENERATOR.snake(name))
    assert function is getattr(api, function.__name__)
    signature = inspect.signature(function)
    taken = [one.name for one in signature.parameters.values() if one.kind is not one.KEYWORD_ONLY]
    assert taken == [GENERATOR.snake(one) for one in parameters]
    given = str(signature.return_annotation)
    for one in returned:
        spelt = {"[]PodStatus": "tuple[PodStatus, ...]", "ProcessList": "bytes"}
        assert spelt.get(one, one.removeprefix("*")) in given
    assert (given == "None") is (not returned)


@pytest.mark.parametrize(
    ("owner", "name", "go"), TYPED, ids=[f"{owner}.{name}" for owner, name, _ in TYPED]
)
def test_fields_are_of_the_types_that_the_document_gives_them(
    owner: str, name: str, go: str
) -> None:
    structure = getattr(vctui, GENERATOR.ELSEWHERE.get(owner, owner))
    field = next(
        one for one in msgspec.structs.fields(structure) if one.name == GENERATOR.snake(name)
    )
    wanted = types.type_info(field.type)
    kinds = wanted.types if isinstance(wanted, types.UnionType) else (wanted,)
    assert any(_is(one, go) for one in kinds), f"{owner}.{name} is {field.type}, not {go}"


def _is(kind: types.Type, go: str) -> bool:
    if go == "interface{}":
        return True
    match kind:
        case types.StrType():
            return go == "string"
        case types.EnumType():
            return go == "string" or kind.cls.__name__ == go
        case types.IntType():
            return go in NUMBERS
        case types.BoolType():
            return go == "bool"
        case types.DateTimeType():
            return go == "time.Time"
        case types.VarTupleType():
            return go.startswith("[]") and _is(kind.item_type, go[2:])
        case types.DictType():
            return go == "map[string]string"
        case types.StructType():
            there = GENERATOR.ELSEWHERE.get(go, go)
            return kind.cls.__name__ == there
        case _:
            return False


@pytest.mark.parametrize("owner", TABLE["structures"])
def test_every_field_of_its_structures_says_what_it_is(owner: str) -> None:
    structure = getattr(vctui, GENERATOR.ELSEWHERE.get(owner, owner), None)
    if structure is None:  # the table says that it is not here yet
        assert not any(TABLE["structures"][owner].values())
        return
    said = docstrings.of_fields(structure)
    assert [field for field in structure.__struct_fields__ if not said.get(field)] == []
