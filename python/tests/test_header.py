"""The header, the library's dynamic symbols, `_c_api.py` and the two after it say the same."""

from __future__ import annotations

import ctypes
import inspect
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import header
import pytest

import speediff
from speediff._native import c_api as c
from speediff._native import c_processes as cp
from speediff._native import c_training as ct
from speediff._native import library as native_library

DECLARED = {**vars(c), **vars(cp), **vars(ct)}
NAMES = list(header.functions())
C_TYPES = {
    "void": None,
    "int32_t": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32,
    "int64_t": ctypes.c_int64,
    "uint64_t": ctypes.c_uint64,
    "double": ctypes.c_double,
    "float": ctypes.c_float,
    "char*": ctypes.c_char_p,
    "void*": ctypes.c_void_p,
    "speediff_schedule": c.Schedule,
    "speediff_sampling": c.Sampling,
    "speediff_weighting": c.Weighting,
    "speediff_sampler": c.Sampler,
    "speediff_sampler_options": c.SamplerOptions,
    "speediff_process": cp.Process,
    "speediff_sigma_sampler": cp.SigmaSampler,
    "size_t": ctypes.c_size_t,
    "speediff_network": ct.Network,
    "speediff_trainer_options": ct.TrainerOptions,
    "speediff_trainer": ct.Trainer,
    "speediff_training_batch": ct.TrainingBatch,
    "speediff_generation_options": ct.GenerationOptions,
    "speediff_progress": ct.progress_p,
    "speediff_checkpoint": ct.Checkpoint,
    **dict.fromkeys(header.enums(), ctypes.c_int),
}


POINTER = ctypes._Pointer
"""The type of all pointers."""


def ctype(spelling: str) -> object:
    """The ctypes type of a C type."""
    if spelling in C_TYPES:
        return C_TYPES[spelling]
    assert spelling.endswith("*"), spelling
    return ctypes.POINTER(ctype(spelling[:-1]))  # type: ignore[arg-type]


def exported() -> list[str]:
    """All dynamic symbols that the library defines."""
    command = ["nm", "-D", "--defined-only", speediff.library_path()]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split()[-1] for line in lines]


def test_the_header_was_understood() -> None:
    assert len(NAMES) > 30
    assert NAMES[0] == "speediff_abi_version"
    assert header.parameter_types("speediff_sampler_create")[-1] == "speediff_sampler**"


def test_the_library_exports_the_functions_of_the_header_and_nothing_else() -> None:
    assert sorted(exported()) == sorted(NAMES)


def test_python_declares_the_functions_of_the_header_in_its_order() -> None:
    text = "".join(Path(part.__file__).read_text() for part in (c, cp, ct))
    declared = re.findall(r"^(speediff_\w+) = ", text, flags=re.MULTILINE)
    assert declared == NAMES
    assert sorted(name for name in DECLARED if name.startswith("speediff_")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_types_of_arguments_and_results_are_those_of_the_header(name: str) -> None:
    function = DECLARED[name]
    assert list(function.argtypes) == [ctype(kind) for kind in header.parameter_types(name)]
    assert function.restype == ctype(header.result(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_function_that_can_fail_has_an_error_check(name: str) -> None:
    function = DECLARED[name]
    has_check = getattr(function, "errcheck", None) is not None and header.returns_status(name)
    assert has_check == header.returns_status(name)
    harmless = ("_version", "_last_error", "_destroy", "_names")
    assert header.returns_status(name) or name.endswith(harmless), "neither fallible nor harmless"


def test_values_of_enums_are_those_of_the_header() -> None:
    in_header = {
        name.removeprefix("SPEEDIFF_"): value
        for values in header.enums().values()
        for name, value in values.items()
    }
    in_python = {name: value for name, value in DECLARED.items() if name.isupper() and isinstance(value, int)}
    for name in ("SIGMA_EMPHASIS_COUNT", "MAXIMUM_RANK"):
        in_header[name] = int(header.macro(f"SPEEDIFF_{name}"))
    assert in_python == in_header


def test_callbacks_have_the_types_of_the_header() -> None:
    assert header.callbacks() == {"speediff_progress": ["int32_t", "void*", "int64_t", "int64_t"]}
    result, *arguments = (ctype(kind) for kind in header.callbacks()["speediff_progress"])
    assert ct.progress_p._restype_ == result
    assert list(ct.progress_p._argtypes_) == arguments


# The defaults of Python and those of C are the same, but for the threads and the method's name.
TRAINER = {name: one.default for name, one in inspect.signature(speediff.Trainer).parameters.items()}
GENERATION = {
    name: one.default for name, one in inspect.signature(speediff.Trainer.generate).parameters.items()
}
STRUCTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "speediff_sampler_options": (c.SamplerOptions, {"world_size": 1, "accumulation": 1}),
    "speediff_trainer_options": (
        ct.TrainerOptions,
        {
            **TRAINER,
            **dict(zip(("beta1", "beta2"), TRAINER["betas"], strict=True)),
            "epsilon": TRAINER["eps"],
            "max_grad_norm": 0,
            "precision": ct.PRECISION_FLOAT32,
            "size": ctypes.sizeof(ct.TrainerOptions),
        },
    ),
    "speediff_training_batch": (ct.TrainingBatch, {"size": ctypes.sizeof(ct.TrainingBatch)}),
    "speediff_generation_options": (ct.GenerationOptions, {**GENERATION, "method": ct.GENERATION_DDPM}),
}


def test_structs_are_laid_out_as_in_the_header() -> None:
    for name, fields in header.structs().items():
        assert (name in STRUCTS) == (fields is not None), name
    for name, (structure, _) in STRUCTS.items():
        fields = header.structs()[name]
        assert fields is not None
        assert list(structure._fields_) == [(field, ctype(kind)) for field, kind in fields]


@pytest.mark.parametrize("struct", STRUCTS)
def test_structs_have_the_size_offsets_and_defaults_that_a_compiler_gives_them(
    struct: str, tmp_path: Path
) -> None:
    structure, defaults = STRUCTS[struct]
    names = [name for name, *_ in structure._fields_]
    values = [
        "sizeof o",
        *(f"offsetof({struct}, {name})" for name in names),
        # A pointer counts as whether there is one.
        *(f"o.{name} {'!= NULL' if issubclass(kind, POINTER) else ''}" for name, kind in structure._fields_),
    ]
    source = tmp_path / "layout.c"
    source.write_text(
        "#include <speediff.h>\n#include <stddef.h>\n#include <stdio.h>\n"
        f"int main(void) {{\n  {struct} o = {struct.upper()}_DEFAULT;\n"
        f"  double v[] = {{{', '.join(f'(double)({value})' for value in values)}}};\n"
        '  for (size_t i = 0; i < sizeof v / sizeof *v; i++) printf("%.17g ", v[i]);\n  return 0;\n}\n'
    )
    program = tmp_path / "layout"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{header.HEADER.parent}"]
    subprocess.run(["cc", *flags, str(source), "-o", str(program)], check=True)
    printed = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout.split()
    expected = [ctypes.sizeof(structure), *(getattr(structure, name).offset for name in names)]
    expected += [defaults.get(name) or 0 for name in names]
    assert [float(value) for value in printed] == expected


def test_versions_are_the_same_everywhere() -> None:
    abi = int(header.macro("SPEEDIFF_ABI_VERSION"))
    assert abi == native_library.ABI_VERSION == c.speediff_abi_version()
    pyproject = (header.TESTS.parent / "pyproject.toml").read_text()
    found = re.search(r'^version = "(.+)"$', pyproject, flags=re.MULTILINE)
    assert found
    assert found[1] == speediff.__version__ == c.speediff_version().decode()


@pytest.mark.parametrize("standard", ["c11", "c++11", "c++17"])
def test_the_header_needs_no_other_one_for_any_of_its_macros(standard: str, tmp_path: Path) -> None:
    macros = re.findall(r"^#define SPEEDIFF_(\w+) (.+)$", header.HEADER.read_text(), flags=re.MULTILINE)
    assert len(macros) > 6
    uses = [
        # An initializer is a struct's default, and the others are numbers.
        f"  speediff_{name.removesuffix('_DEFAULT').lower()} v{i} = SPEEDIFF_{name};\n  (void)v{i};\n"
        if value.startswith("{")
        else f"  if (SPEEDIFF_{name} < 1) return;\n"
        for i, (name, value) in enumerate(macros)
    ]
    source = tmp_path / ("alone.cpp" if "++" in standard else "alone.c")
    source.write_text(
        "#include <speediff.h>\n#include <speediff.h>\n"
        f"void use(void);\nvoid use(void) {{\n{''.join(uses)}}}\n"
    )
    flags = [f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"]
    subprocess.run(["cc", *flags, f"-I{header.HEADER.parent}", str(source)], check=True)


def test_the_first_program_of_the_header_is_built_and_run_as_it_says(tmp_path: Path) -> None:
    comment = header.HEADER.read_text().partition("*/")[0]
    blocks = re.findall(r"(?:^ \*(?:     .*)?\n)+", comment, flags=re.MULTILINE)
    program, line = (
        "".join(line[7:] for line in block.splitlines(keepends=True)) for block in blocks if "     " in block
    )
    (tmp_path / "main.c").write_text(program)
    (tmp_path / "include").symlink_to(header.HEADER.parent)
    library = tmp_path / ".build" / "release" / "libspeediff.so"
    library.parent.mkdir(parents=True)
    library.symlink_to(speediff.library_path())
    # A wheel's library has its own OpenBLAS, which the linker and the program look for here.
    environment = {"LD_LIBRARY_PATH": str(Path(speediff.__file__).parent.parent / "speediff.libs")}
    linking: dict[str, Any] = {"shell": True, "cwd": tmp_path, "env": {**os.environ, **environment}}
    subprocess.run(line.strip() + " -Wall -Wextra -Werror -pedantic", check=True, **linking)
    done = subprocess.run(
        [str(tmp_path / "main")], cwd="/", env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # What fails is told.
    (tmp_path / "main.c").write_text(program.replace("draw(sampler, step,", "draw(sampler, -1,"))
    subprocess.run(line.strip(), check=True, **linking)
    done = subprocess.run(
        [str(tmp_path / "main")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "first_call must be at least 0, got -1\n"


COMBINATORS = {"shifted", "truncated", "mixture", "blend", "stages", "to_emphasis", "table"}
"""Methods of methods or of tables, which have functions of their own."""


@pytest.mark.parametrize("kind", ["sampling", "weighting"])
def test_the_named_methods_of_the_header_are_those_of_the_library_and_of_the_package(kind: str) -> None:
    text = header.HEADER.read_text()
    comment = text[: text.index(f"speediff_status speediff_{kind}_create(const char")].rsplit("/*", 1)[1]
    rows = dict(re.findall(r"^ \*   (\w+)((?:  +[\w, =.-]*?)?)(?:  |$)", comment, flags=re.MULTILINE))
    rows.pop("name")
    assert " ".join(rows) == getattr(c, f"speediff_{kind}_names")().decode()
    methods = {m.name: m for m in speediff.methods() if m.kind == kind and m.implemented}
    assert rows.keys() | COMBINATORS & methods.keys() == methods.keys()
    for name, row in rows.items():
        # asymmetric's tau has a function of its own, and what has no number here depends on T.
        defaults = {key: value for key, value in methods[name].defaults.items() if value is not None}
        given = {key: float(value) for key, value in re.findall(r"(\w+) = ([-\d.]+)", row)}
        assert given == defaults, name
