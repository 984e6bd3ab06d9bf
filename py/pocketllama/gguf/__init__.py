"""GGUF files, read and written in pure Python. A leaf: it knows bytes, and imports nothing of pocketllama but errors.

with gguf.read("model.gguf") as file:
    file.metadata["general.architecture"], file.tensors[0].shape

with gguf.Writer(path, metadata, tensors) as out:  # metadata: {key: (type, value)}
    for tensor in tensors:
        out.write(data_of(tensor))
"""

from .reader import GGUF, Metadata, TensorInfo, read
from .target import check_space, check_target
from .types import DEFAULT_ALIGNMENT, FileType, GGMLType, TokenType, ValueType
from .writer import ArrayOf, TensorSpec, Writer

__all__ = [
    "DEFAULT_ALIGNMENT",
    "GGUF",
    "ArrayOf",
    "FileType",
    "GGMLType",
    "Metadata",
    "TensorInfo",
    "TensorSpec",
    "TokenType",
    "ValueType",
    "Writer",
    "check_space",
    "check_target",
    "read",
]
