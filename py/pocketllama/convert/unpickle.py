"""Read the pickle inside a torch checkpoint without the power that pickle has.

A pickle is a program for a small stack machine, and Python's own machine can call anything by name. This one knows the
thirty instructions that a checkpoint of tensors is made of, and the names below; it makes dicts, lists, tuples,
strings, numbers, and records that say where a tensor lies. Everything else in the file is refused by name, before
anything happens. Work and memory stay in proportion to the pickle's length, which the caller bounds.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from ..errors import ModelInvalid, UnsafeFile

# torch's storage classes → our names of their element types.
STORAGES = {
    "torch FloatStorage": "f32",
    "torch HalfStorage": "f16",
    "torch BFloat16Storage": "bf16",
    "torch DoubleStorage": "f64",
    "torch LongStorage": "i64",
    "torch IntStorage": "i32",
    "torch ShortStorage": "i16",
    "torch CharStorage": "i8",
    "torch ByteStorage": "u8",
    "torch BoolStorage": "bool",
}
_CALLABLES = ("collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter")
_MAX_TEXT = 1 << 16  # bytes of one string: a tensor's name


@dataclass(frozen=True)
class Global:
    """One of the names that a pickle may mention: 'module name'."""

    name: str


@dataclass(frozen=True)
class StorageRef:
    """A run of `numel` elements of `dtype`, in the archive's member data/`key`."""

    dtype: str
    key: str
    numel: int


@dataclass(frozen=True)
class TensorRef:
    """A view of a storage, all counted in elements; nothing is checked against the storage's size yet."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Mark:
    """Where a tuple, or a run of items, began on the stack."""


_MARK = _Mark()


def unpickle(data: bytes, name: str) -> Any:
    """The object in `data`; `name` is the file's, for errors. UnsafeFile if refused, ModelInvalid if damaged."""
    machine = _Machine(data, name)
    try:
        return machine.run()
    except (IndexError, KeyError, struct.error, UnicodeDecodeError, ValueError):
        raise ModelInvalid(
            f"{name} is damaged: its pickle cannot be followed at byte {machine.pos} of {len(data)}.",
            remedy="Download the checkpoint again.",
        ) from None


class _Machine:
    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name, self.pos = data, name, 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        while True:
            code = self.take(1)[0]
            if code == 0x2E:  # STOP
                result = self.pop()
                if self.stack:
                    raise ValueError("items left")
                return result
            instruction = _INSTRUCTIONS.get(code)
            if instruction is None:
                self.refuse(f"its pickle uses {_REFUSED.get(code, hex(code))}, which no checkpoint of tensors needs")
            instruction(self)

    def refuse(self, what: str) -> NoReturn:
        raise UnsafeFile(
            f"{self.name} is refused: {what}.",
            remedy="A pickle can run any program. Get the model from someone you trust, as safetensors or GGUF.",
        )

    def take(self, n: int) -> bytes:
        piece = self.data[self.pos : self.pos + n]
        if len(piece) != n:
            raise IndexError("cut off")
        self.pos += n
        return piece

    def number(self, code: str) -> int:
        value: int = struct.unpack(code, self.take(struct.calcsize(code)))[0]
        return value

    def line(self) -> str:
        end = self.data.index(b"\n", self.pos, self.pos + 1000)
        text = self.take(end - self.pos).decode()
        self.pos += 1
        return text

    def text(self, n: int) -> None:
        if n > _MAX_TEXT:
            raise ValueError("too long")
        self.stack.append(self.take(n).decode())

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark")
        return value

    def pop_to_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise IndexError("no mark")
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def pop_tuple(self, n: int) -> None:
        items = tuple(self.stack[-n:])
        if len(items) != n or _MARK in items:
            raise IndexError("too few items")
        self.stack[-n:] = [items]

    def peek(self, kind: type) -> Any:
        """The top of the stack, which must be a plain dict or list."""
        if type(self.stack[-1]) is not kind:
            raise ValueError("not a container")
        return self.stack[-1]

    def put(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def append(self, items: list[Any]) -> None:
        self.peek(list).extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.peek(dict)
        if len(items) % 2:
            raise ValueError("a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str:
                raise ValueError("a key that is no string")
            if key in target:
                self.refuse(f"its pickle sets {key[:80]!r} twice")
            target[key] = value

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def find(self, module: str, name: str) -> None:
        full = f"{module} {name}"
        if full not in STORAGES and full not in _CALLABLES:
            self.refuse(f"its pickle asks for {ascii(full.replace(' ', '.', 1))[1:-1][:200]}")
        self.stack.append(Global(full))

    def find_on_stack(self) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("no name")
        self.find(module, name)

    def persistent(self) -> None:
        """('storage', class, key, device, number of elements): torch's way to name a member of the archive."""
        kind, cls, key, _, numel = _fields(self.pop(), 5)
        if kind != "storage" or type(cls) is not Global or cls.name not in STORAGES or type(key) is not str:
            raise ValueError("not a storage")
        self.stack.append(StorageRef(STORAGES[cls.name], key, _size(numel)))

    def call(self) -> None:
        args, function = self.pop(), self.pop()
        if type(function) is not Global or type(args) is not tuple:
            self.refuse(f"its pickle calls {'an object' if type(function) is not Global else function.name}")
        if function.name == "collections OrderedDict" and not args:
            self.stack.append({})
        elif function.name == "torch._utils _rebuild_tensor_v2":
            self.stack.append(_tensor(args))
        elif function.name == "torch._utils _rebuild_parameter":
            tensor, *_ = _fields(args, 3)
            if type(tensor) is not TensorRef:
                raise ValueError("a parameter that is no tensor")
            self.stack.append(tensor)
        else:
            self.refuse(f"its pickle calls {function.name.replace(' ', '.', 1)} with {len(args)} arguments")

    def build(self) -> None:
        """An attribute of an OrderedDict: torch keeps `_metadata` there, which says nothing about the numbers."""
        state = self.pop()
        target = self.stack[-1]
        if type(state) is not dict or type(target) is not dict or set(state) - {"_metadata"}:
            self.refuse("its pickle sets the state of an object")


def _fields(value: Any, n: int) -> tuple[Any, ...]:
    if type(value) is not tuple or len(value) < n:
        raise ValueError("not a tuple of the right length")
    return value[:n]


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**48:
        raise ValueError("not a size")
    return value


def _tensor(args: tuple[Any, ...]) -> TensorRef:
    storage, offset, shape, stride = _fields(args, 4)
    if type(storage) is not StorageRef or type(shape) is not tuple or type(stride) is not tuple:
        raise ValueError("not a tensor")
    if len(shape) != len(stride) or len(shape) > 8:
        raise ValueError("not a shape")
    return TensorRef(storage, _size(offset), tuple(map(_size, shape)), tuple(map(_size, stride)))


def _signed(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


# What a refused instruction is called where people write about pickles.
_REFUSED = {
    0x69: "INST",
    0x6F: "OBJ",
    0x81: "NEWOBJ",
    0x92: "NEWOBJ_EX",
    0x50: "PERSID",
    0x82: "EXT1",
    0x83: "EXT2",
    0x84: "EXT4",
    0x8B: "LONG4",
    0x42: "BINBYTES",
    0x43: "SHORT_BINBYTES",
    0x8E: "BINBYTES8",
    0x96: "BYTEARRAY8",
}

_INSTRUCTIONS: dict[int, Callable[[_Machine], object]] = {
    0x80: lambda m: m.take(1),  # PROTO
    0x95: lambda m: m.take(8),  # FRAME
    0x28: lambda m: m.stack.append(_MARK),
    0x30: lambda m: m.pop(),
    0x4E: lambda m: m.stack.append(None),
    0x88: lambda m: m.stack.append(True),
    0x89: lambda m: m.stack.append(False),
    0x4B: lambda m: m.stack.append(m.number("<B")),  # BININT1
    0x4D: lambda m: m.stack.append(m.number("<H")),  # BININT2
    0x4A: lambda m: m.stack.append(m.number("<i")),  # BININT
    0x8A: lambda m: m.stack.append(_signed(m.take(m.number("<B")))),  # LONG1: at most 255 bytes
    0x47: lambda m: m.stack.append(m.number(">d")),  # BINFLOAT
    0x8C: lambda m: m.text(m.number("<B")),  # SHORT_BINUNICODE
    0x58: lambda m: m.text(m.number("<I")),  # BINUNICODE
    0x29: lambda m: m.stack.append(()),
    0x85: lambda m: m.pop_tuple(1),
    0x86: lambda m: m.pop_tuple(2),
    0x87: lambda m: m.pop_tuple(3),
    0x74: lambda m: m.stack.append(tuple(m.pop_to_mark())),
    0x5D: lambda m: m.stack.append([]),
    0x61: lambda m: m.append([m.pop()]),  # APPEND
    0x65: lambda m: m.append(m.pop_to_mark()),  # APPENDS
    0x7D: lambda m: m.stack.append({}),
    0x73: lambda m: m.set_item(),
    0x75: lambda m: m.set_items(m.pop_to_mark()),
    0x71: lambda m: m.put(m.number("<B")),  # BINPUT
    0x72: lambda m: m.put(m.number("<I")),  # LONG_BINPUT
    0x94: lambda m: m.put(len(m.memo)),  # MEMOIZE
    0x68: lambda m: m.stack.append(m.memo[m.number("<B")]),  # BINGET
    0x6A: lambda m: m.stack.append(m.memo[m.number("<I")]),  # LONG_BINGET
    0x63: lambda m: m.find(m.line(), m.line()),  # GLOBAL
    0x93: lambda m: m.find_on_stack(),  # STACK_GLOBAL
    0x51: lambda m: m.persistent(),  # BINPERSID
    0x52: lambda m: m.call(),  # REDUCE
    0x62: lambda m: m.build(),
}
