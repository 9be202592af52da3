"""The machine: pickles become lists, dicts, strings, numbers, tensors and records, within a
budget.
"""

import math
import struct
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from partreid.utils.pickles.budget import Budget

# strings are hashed with a secret, floats hardly collide
PLAIN: Final = (str, bytes, float, bool, type(None))
DTYPES: Final = {
    f"{place}.{name}Storage": dtype
    for place in ("torch", "torch.cuda")
    for name, dtype in (
        ("Float", torch.float32),
        ("Double", torch.float64),
        ("Half", torch.float16),
        ("BFloat16", torch.bfloat16),
        ("Long", torch.int64),
        ("Int", torch.int32),
        ("Short", torch.int16),
        ("Char", torch.int8),
        ("Byte", torch.uint8),
        ("Bool", torch.bool),
    )
}
TENSOR: Final = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
PARAMETER: Final = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
STORAGE: Final = "torch.storage._load_from_bytes"
DICTS: Final = ("collections.OrderedDict", "collections.defaultdict")
TUPLES: Final = (
    "torch.Size",
    "builtins.set",
    "__builtin__.set",
    "builtins.frozenset",
    "__builtin__.frozenset",
)
BYTES: Final = "_codecs.encode"  # how protocol 2 writes bytes: as text in Latin-1
KNOWN: Final = frozenset((*DTYPES, *TENSOR, *PARAMETER, STORAGE, *DICTS, *TUPLES, BYTES))


Buffer = memoryview
Persistent = Callable[[Any], Any]


class Record:
    """An object of a class that need not be installed. name: of the class, with its module; values:
    attributes by name as saved, which have passed no check. Items of a class that is a list or dict
    are left out.
    """

    __slots__ = ("name", "values")

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: dict[str, Any] = {}


class Refusal(Exception):
    """A name that is not permitted, on its way to :class:`partreid.utils.pickles.Refused`."""


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle names. Nothing stands behind it."""

    full: str


@dataclass(eq=False)
class Store:
    """A storage: numbers [N], once they are read."""

    numbers: Tensor
    filled: bool = True


class Machine:
    """Runs the pickles of one file. One that is cut off, or makes no sense, ends in any exception.

    storage: what the bytes of a storage within a plain pickle become.
    """

    def __init__(
        self,
        data: Buffer,
        budget: Budget,
        classes: Callable[[str], bool],
        inert: Container[str],
        storage: Callable[[bytes], Any] | None = None,
    ) -> None:
        self.data, self.budget, self.classes, self.inert, self.storage = (
            data,
            budget,
            classes,
            inert,
            storage,
        )
        self.position, self.end = 0, len(data)
        self.persistent: Persistent | None = None
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, start: int, end: int | None = None) -> Any:
        """The value of the pickle between two positions; ``self.position`` is behind it then."""
        self.position, self.end = start, len(self.data) if end is None else end
        self.stack, self.marks, self.memo = [], [], {}
        stack, spend = self.stack, self.budget.spend
        while self.position < self.end:
            spend(1)
            op = self.data[self.position]
            self.position += 1
            if op in STRINGS:
                width, decode = STRINGS[op]
                stack.append(decode(bytes(self.take(int.from_bytes(self.take(width), "little")))))
            elif op in NUMBERS:
                number = NUMBERS[op]
                stack.append(number.unpack(self.take(number.size))[0])
            elif op in GETS:
                stack.append(self.memo[int.from_bytes(self.take(GETS[op]), "little")])
            elif op in PUTS:
                self.memo[int.from_bytes(self.take(PUTS[op]), "little")] = stack[-1]
            elif op == 0x94:  # MEMOIZE
                self.memo[len(self.memo)] = stack[-1]
            elif op in CONSTANTS:
                stack.append(CONSTANTS[op]())
            elif op in TUPLES_OF:
                stack[-TUPLES_OF[op] :] = [tuple(stack[-TUPLES_OF[op] :])]
            elif op == 0x28:  # MARK
                self.marks.append(len(stack))
            elif op == 0x2E:  # STOP
                return stack.pop()
            else:
                self._rare(op)
        raise ValueError("it ends in the middle")

    def _rare(self, op: int) -> None:
        stack = self.stack
        if op in (0x74, 0x6C, 0x91):  # TUPLE, LIST, FROZENSET
            items = self._marked()
            stack.append(items if op == 0x6C else tuple(items))
        elif op in (0x61, 0x65, 0x90):  # APPEND, APPENDS, ADDITEMS
            items = [stack.pop()] if op == 0x61 else self._marked()
            if isinstance(stack[-1], list):
                stack[-1].extend(items)
            elif not isinstance(stack[-1], Record):
                raise ValueError("items for what is no list")
        elif op in (0x73, 0x75):  # SETITEM, SETITEMS
            items = [stack.pop(-2), stack.pop()] if op == 0x73 else self._marked()
            if isinstance(stack[-1], dict):
                self._fill(stack[-1], items[::2], items[1::2])
            elif not isinstance(stack[-1], Record):
                raise ValueError("entries for what is no dict")
        elif op == 0x64:  # DICT
            items = self._marked()
            stack.append(self._fill({}, items[::2], items[1::2]))
        elif op in (0x63, 0x93):  # GLOBAL, STACK_GLOBAL
            name, module = (
                (stack.pop(), stack.pop()) if op == 0x93 else (self._line(), self._line())[::-1]
            )
            stack.append(self._named(module, name))
        elif op in (0x52, 0x81):  # REDUCE, NEWOBJ
            args, what = stack.pop(), stack.pop()
            stack.append(self._call(what, args) if op == 0x52 else self._new(what))
        elif op == 0x92:  # NEWOBJ_EX
            what = stack[-3]
            stack[-3:] = [self._new(what)]
        elif op == 0x62:  # BUILD
            self._build(stack[-2], stack.pop())
        elif op == 0x51:  # BINPERSID
            if self.persistent is None:
                raise ValueError("a persistent id, which only torch.save writes")
            stack.append(self.persistent(stack.pop()))
        elif op in (0x30, 0x31, 0x32):  # POP, POP_MARK, DUP
            if op == 0x31:
                self._marked()
            else:
                stack.append(stack[-1]) if op == 0x32 else stack.pop()
        elif op in (0x8A, 0x8B):  # LONG1, LONG4
            length = int.from_bytes(self.take(1 if op == 0x8A else 4), "little")
            if length > 255:
                raise ValueError(f"a whole number of {length:,} bytes")
            stack.append(int.from_bytes(self.take(length), "little", signed=True))
        elif op in (0x80, 0x95):  # PROTO, FRAME
            self.take(1 if op == 0x80 else 8)
        else:
            raise ValueError(f"the operation 0x{op:02x}, which no binary pickle of tensors has")

    def take(self, count: int) -> Buffer:
        self.position += count
        if self.position > self.end:
            raise ValueError("it ends in the middle")
        return self.data[self.position - count : self.position]

    def _line(self) -> str:
        line = bytes(self.data[self.position : min(self.position + 1000, self.end)])
        length = line.index(b"\n")
        self.position += length + 1
        return line[:length].decode()

    def _marked(self) -> list[Any]:
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def _named(self, module: Any, name: Any) -> Name:
        full = f"{module}.{name}" if type(module) is type(name) is str else repr(type(name))
        if full in KNOWN or full in self.inert or self.classes(full):
            return Name(full)
        raise Refusal(full)

    def _fill(
        self, into: dict[Any, Any], keys: Sequence[Any], values: Sequence[Any]
    ) -> dict[Any, Any]:
        for key, value in zip(keys, values, strict=True):
            self._judge(key)
            into[key] = value
        return into

    def _judge(self, key: Any) -> None:
        """ValueError if a file could choose this key's hash, and so make a dict crawl, or nests
        it beyond C's stack.
        """
        if (
            type(key) in PLAIN
            or type(key) is Record
            or isinstance(key, Tensor)
            or (type(key) is int and key.bit_length() < 64)
        ):
            return
        members = key if type(key) is tuple else (key,)
        self.budget.keys -= 1
        if (
            len(members) > 16
            or self.budget.keys < 0
            or not all(type(m) in (*PLAIN, int, Name) for m in members)
        ):
            raise ValueError("keys of a dict that are neither strings nor numbers")

    def _call(self, what: Any, args: Any) -> Any:
        if type(what) is not Name or type(args) is not tuple:
            raise ValueError("a call of what is no function")
        name = what.full
        if name in TENSOR:
            return self._tensor(*args[:4])
        if name in PARAMETER:
            return args[0]
        if name == STORAGE:
            return self._inner(*args)
        if name in DICTS:
            pairs = args[0] if args and name == DICTS[0] else ()
            self.budget.spend(len(pairs))
            return self._fill({}, [key for key, _ in pairs], [value for _, value in pairs])
        if name in TUPLES:
            items = args[0] if args else ()
            if type(items) not in (list, tuple):
                raise ValueError("a set of what is no list")
            self.budget.spend(len(items))
            return tuple(items)
        if name == BYTES and len(args) == 2 and args[1] == "latin1":
            self.budget.spend(len(args[0]) // 64)
            return args[0].encode("latin1")
        if name in self.inert:
            return Record(name)
        raise Refusal(name)

    def _new(self, what: Any) -> Any:
        if type(what) is not Name:
            raise ValueError("an object of what is no class")
        if what.full in DICTS:
            return {}
        if what.full in KNOWN:
            raise Refusal(what.full)
        return Record(what.full)

    def _build(self, thing: Any, state: Any) -> None:
        """Attributes of an object, those of slots too. A dict's own, such as a state dict's
        ``_metadata``, are left.
        """
        if isinstance(thing, Record):
            for values in state if type(state) is tuple and len(state) == 2 else (state,):
                if isinstance(values, dict):
                    self.budget.spend(len(values))
                    thing.values.update(
                        (key, value) for key, value in values.items() if isinstance(key, str)
                    )
        elif type(thing) is Name:
            raise Refusal(f"the state of a function or class, {thing.full}")
        elif not isinstance(thing, dict):
            raise ValueError(f"the state of a {type(thing).__name__}")

    def _tensor(self, store: Any, offset: Any, size: Any, stride: Any) -> Tensor:
        if not isinstance(store, Store):
            raise ValueError("a tensor without a storage")
        if (
            not type(size) is type(stride) is tuple
            or len(size) != len(stride)
            or len(size) > 32
            or not all(type(n) is int and 0 <= n < 2**48 for n in (offset, *size, *stride))
        ):
            raise ValueError("a tensor of no sensible size")
        count, numel = math.prod(size), len(store.numbers)
        last = (
            offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
            if count
            else offset
        )
        if last >= numel + (count == 0):
            raise ValueError(
                f"a tensor of size {list(size)} does not lie in its storage of {numel:,} numbers"
            )
        self.budget.view(count * store.numbers.dtype.itemsize)
        return store.numbers.as_strided(size, stride, offset)

    def _inner(self, data: Any) -> Any:
        """A storage inside a plain pickle: a whole file of torch.save, in bytes."""
        if self.storage is None or type(data) is not bytes:
            raise ValueError("a storage that is none")
        self.budget.inner -= len(data)
        if self.budget.inner < 0:
            raise ValueError("the same storage again and again")
        return self.storage(data)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _string(data: bytes) -> str:
    """Python 2's strings say nothing of their encoding."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin1")


# bytes of the length, and what is made of the rest
STRINGS: Final[dict[int, tuple[int, Callable[[bytes], Any]]]] = {
    0x58: (4, _text),
    0x8C: (1, _text),
    0x8D: (8, _text),
    0x55: (1, _string),
    0x54: (4, _string),
    0x43: (1, bytes),
    0x42: (4, bytes),
    0x8E: (8, bytes),
    0x96: (8, bytes),
}
NUMBERS: Final = {
    0x4B: struct.Struct("<B"),
    0x4D: struct.Struct("<H"),
    0x4A: struct.Struct("<i"),
    0x47: struct.Struct(">d"),
}
GETS: Final = {0x68: 1, 0x6A: 4}
PUTS: Final = {0x71: 1, 0x72: 4}
CONSTANTS: Final[dict[int, Callable[[], Any]]] = {
    0x4E: lambda: None,
    0x88: lambda: True,
    0x89: lambda: False,
    0x5D: list,
    0x29: tuple,
    0x7D: dict,
    0x8F: list,
}
TUPLES_OF: Final = {0x85: 1, 0x86: 2, 0x87: 3}
