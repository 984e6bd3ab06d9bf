"""The vocabulary in a sentencepiece `tokenizer.model`, as GGUF's tokenizer "llama" wants it.

The sentencepiece package decides whether the file is a model; what it then does not tell (which pieces the user
defined, whether the model is BPE) is read from the file's own fields, a protobuf message:

    1 piece: 1 text, 2 score, 3 type    2 trainer: 3 model type, 40 unk, 41 bos, 42 eos    3 normalizer: 3 dummy prefix
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from ..errors import ModelInvalid, ModelNotFound, StorageError
from ..gguf import TokenType
from .range_file import refuse_pointer
from .tiktoken import is_tiktoken
from .vocabulary import Vocabulary

_MAX_SIZE = 64 << 20  # bytes; Gemma's, with 262,144 pieces, has under 5 MB
_BPE = 2  # trainer.model_type
_OWN_LINE = re.compile(r"^\w+: |\S+\.cc\(\d+\) (\[[^\n]*\])?")  # "INTERNAL: src/x.cc(109) [condition] "
# sentencepiece numbers its piece types in an order of its own, from NORMAL = 1 on.
_TYPES = {
    1: TokenType.NORMAL,
    2: TokenType.UNKNOWN,
    3: TokenType.CONTROL,
    4: TokenType.USER_DEFINED,
    5: TokenType.UNUSED,
    6: TokenType.BYTE,
}


def read_sentencepiece(path: Path) -> Vocabulary:
    """Read a sentencepiece BPE model. ModelNotFound, StorageError, or ModelInvalid with the reason."""
    data = _load(path)
    try:
        return _vocabulary(path, data)
    except (ValueError, IndexError, struct.error) as e:
        raise _invalid(path, f"its fields cannot be followed ({e})") from None


def _load(path: Path) -> bytes:
    """The file's bytes, accepted by sentencepiece."""
    import sentencepiece

    try:
        if (size := path.stat().st_size) > _MAX_SIZE:
            raise _invalid(path, f"it has {size} bytes, at most {_MAX_SIZE} were expected")
        data = path.read_bytes()
    except FileNotFoundError as e:
        raise ModelNotFound(f"There is no {path.name} in {path.parent}.") from e
    except OSError as e:
        raise StorageError(f"{path} cannot be read: {e.strerror or e}.") from e
    refuse_pointer(path.name, data)
    if not data:
        raise _invalid(path, "it is empty")
    if is_tiktoken(data):
        raise _invalid(path, "it is a tiktoken vocabulary, where one of sentencepiece was expected")
    try:
        sentencepiece.SentencePieceProcessor().LoadFromSerializedProto(data)
    except (RuntimeError, ValueError) as e:
        # Where sentencepiece says nothing but which line of its own gave up, it found no model at all.
        said = _OWN_LINE.sub("", str(e)).strip()
        raise _invalid(path, f"sentencepiece refuses it{f' ({ascii(said)[1:-1][:200]})' if said else ''}") from None
    return data


def _invalid(path: Path, why: str) -> ModelInvalid:
    return ModelInvalid(f"{path.name} is no tokenizer that can be converted: {why}.", remedy="Download it again.")


def _vocabulary(path: Path, data: bytes) -> Vocabulary:
    tokens: list[str] = []
    scores: list[float] = []
    types: list[TokenType] = []
    # As sentencepiece takes them where the file does not say.
    ids = {40: 0, 41: 1, 42: 2}
    model_type, dummy_prefix = 1, True
    for field, value in _fields(data):
        if field == 1 and isinstance(value, bytes):
            piece = dict(_fields(value))
            text, score, kind = piece.get(1, b""), piece.get(2, 0.0), piece.get(3, 1)
            if not isinstance(text, bytes) or not isinstance(score, float) or not isinstance(kind, int):
                raise ValueError(f"piece {len(tokens)}")
            if kind not in _TYPES:
                raise ValueError(f"a piece of type {kind}")
            tokens.append(text.decode())
            scores.append(score)
            types.append(_TYPES[kind])
        elif field == 2 and isinstance(value, bytes):
            trainer = dict(_fields(value))
            model_type = _whole(trainer.get(3, 1))
            ids = {n: _whole(trainer.get(n, default)) for n, default in ids.items()}
        elif field == 3 and isinstance(value, bytes):
            dummy_prefix = bool(dict(_fields(value)).get(3, 1))
    if model_type != _BPE:
        raise _invalid(path, f"it is no BPE model (type {model_type}); GGUF's tokenizer 'llama' is one")
    if any(score != score or abs(score) == float("inf") for score in scores):
        raise _invalid(path, "a score is not a finite number")
    unk, bos, eos = (i if 0 <= i < len(tokens) else None for i in ids.values())
    return Vocabulary(tokens, scores, types, unk, bos, eos, dummy_prefix)


def _whole(value: object) -> int:
    """A protobuf int32: negative ones come as 64-bit complements."""
    if not isinstance(value, int):
        raise ValueError("a field of another type")
    return value - (1 << 64) if value >= 1 << 63 else value


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int | float]]:
    """A protobuf message's (field number, value), in file order."""
    pos = 0
    while pos < len(data):
        tag, pos = _varint(data, pos)
        wire = tag & 7
        value: bytes | int | float
        if wire == 0:
            value, pos = _varint(data, pos)
        elif wire == 2:
            size, pos = _varint(data, pos)
            if size > len(data) - pos:
                raise ValueError(f"{size} bytes at {pos} of {len(data)}")
            value, pos = data[pos : pos + size], pos + size
        elif wire in (1, 5):
            code = "<d" if wire == 1 else "<f"
            (value,) = struct.unpack_from(code, data, pos)
            pos += struct.calcsize(code)
        else:
            raise ValueError(f"wire type {wire}")
        yield tag >> 3, value


def _varint(data: bytes, pos: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, pos
    raise ValueError("a number too long")
