"""What include/speediff.h declares, by pycparser."""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path

from pycparser import c_ast, c_generator, c_parser

TESTS = Path(__file__).resolve().parent
HEADER = TESTS.parents[1] / "include" / "speediff.h"
SIZED = {"int32_t": "int", "uint32_t": "unsigned int", "int64_t": "long", "uint64_t": "unsigned long"}
SIZED["size_t"] = "unsigned long"


@functools.cache
def tree() -> c_ast.FileAST:
    """The header's declarations, after the preprocessor."""
    text = re.sub(r"^\s*#\s*include.*$", "", HEADER.read_text(), flags=re.MULTILINE)
    command = ["cc", "-E", "-P", "-x", "c", "-"]
    plain = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    typedefs = "".join(f"typedef {kind} {name};\n" for name, kind in SIZED.items())
    return c_parser.CParser().parse(typedefs + plain)


@functools.cache
def functions() -> dict[str, c_ast.FuncDecl]:
    """Every function, in the header's order."""
    declarations = (node for node in tree().ext if isinstance(node, c_ast.Decl))
    return {node.name: node.type for node in declarations if isinstance(node.type, c_ast.FuncDecl)}


def spelled(node: c_ast.Node) -> str:
    """A type as C spells it, without qualifiers."""
    return re.sub(r"\bconst\b", "", c_generator.CGenerator().visit(node)).replace(" ", "")


def parameter_nodes(name: str) -> list[c_ast.Decl]:
    nodes = list(functions()[name].args.params)
    return [] if spelled(nodes[0].type) == "void" else nodes


def parameters(name: str) -> list[str]:
    """The names of a function's parameters."""
    return [str(node.name) for node in parameter_nodes(name)]


def _type(node: c_ast.Node) -> str:
    """A type by its name; an array as the pointer that it is to a function."""
    kind, stars = node, ""
    while isinstance(kind, (c_ast.PtrDecl, c_ast.ArrayDecl)):
        kind, stars = kind.type, stars + "*"
    return "".join(kind.type.names) + stars


def parameter_types(name: str) -> list[str]:
    """Their types, such as `double`, `int64_t*`, `speediff_schedule**`."""
    return [_type(node.type) for node in parameter_nodes(name)]


def is_pointer(name: str, place: int) -> bool:
    return parameter_types(name)[place].endswith("*")


def result(name: str) -> str:
    """The type of a function's result."""
    return _type(functions()[name].type)


def returns_status(name: str) -> bool:
    return result(name) == "speediff_status"


@functools.cache
def enums() -> dict[str, dict[str, int]]:
    """The values of every enum, by its name."""
    found = {}
    for node in tree().ext:
        if isinstance(node, c_ast.Typedef) and isinstance(node.type.type, c_ast.Enum):
            values = {one.name: int(one.value.value) for one in node.type.type.values.enumerators}
            found[str(node.name)] = values
    return found


@functools.cache
def structs() -> dict[str, list[tuple[str, str]] | None]:
    """The fields of every struct, as names and types; None for an opaque one."""
    found: dict[str, list[tuple[str, str]] | None] = {}
    for node in tree().ext:
        if isinstance(node, c_ast.Typedef) and isinstance(node.type.type, c_ast.Struct):
            fields = node.type.type.decls
            found[str(node.name)] = [(field.name, _type(field.type)) for field in fields] if fields else None
    return found


@functools.cache
def callbacks() -> dict[str, list[str]]:
    """The types of functions that the caller gives: result, then parameters."""
    found = {}
    for node in tree().ext:
        if isinstance(node, c_ast.Typedef) and isinstance(node.type, c_ast.PtrDecl):
            function = node.type.type
            types = [_type(function.type), *(_type(one.type) for one in function.args.params)]
            found[str(node.name)] = types
    return found


def macro(name: str) -> str:
    """The replacement of a macro without arguments."""
    found = re.search(rf"^#define {name} (.+)$", HEADER.read_text(), flags=re.MULTILINE)
    assert found, name
    return found[1].strip()
