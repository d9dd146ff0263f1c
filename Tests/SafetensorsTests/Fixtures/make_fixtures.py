"""Writes the fixtures beside this file with the Python package safetensors 0.8.0: `python make_fixtures.py`.

The order of several metadata differs from run to run.
"""

import ctypes
from pathlib import Path

import safetensors
from safetensors import TensorSpec

assert safetensors.__version__ == "0.8.0", safetensors.__version__
here = Path(__file__).parent


def write(name, tensors, metadata):
    """Writes a file of tensors: name → (dtype, shape, bytes)."""
    buffers = {tensor: ctypes.create_string_buffer(data, max(1, len(data))) for tensor, (_, _, data) in tensors.items()}
    specs = {
        tensor: TensorSpec(dtype=dtype, shape=shape, data_ptr=ctypes.addressof(buffers[tensor]), data_len=len(data))
        for tensor, (dtype, shape, data) in tensors.items()
    }
    safetensors.serialize_file(specs, here / name, metadata)


# The package's name of each dtype, and the size of an element. Byte i of a tensor is (7·i + number of the dtype) mod 256.
DTYPES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint64": 8,
    "uint32": 4,
    "uint16": 2,
    "uint8": 1,
    "bool": 1,
}

tensors = {}
for number, (dtype, size) in enumerate(DTYPES.items()):
    for shape in [[2, 3], [], [5, 0]]:
        count = size
        for dimension in shape:
            count *= dimension
        data = bytes((7 * i + number) % (2 if dtype == "bool" else 256) for i in range(count))
        tensors[f"{dtype}.{len(shape)}.{count}"] = (dtype, shape, data)
write("dtypes.safetensors", tensors, {"format": "pt"})

# Names and metadata that need escapes, or more than one byte.
texts = ['quote " and backslash \\', "controls \0 \b \t \n \f \r \x1f \x7f", "é, e\u0301, 漢字, 🎈", ""]
tensors = {text: ("uint8", [1], bytes([number])) for number, text in enumerate(texts)}
write("names.safetensors", tensors, {text: text[::-1] for text in texts})

write("empty.safetensors", {}, None)
