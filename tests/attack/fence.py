"""A fence around the process that reads bad files: outside some folders it can write nothing,
whatever goes wrong.

A fault that renames over its target would, run as root, replace a device of the machine. Linux's
Landlock (5.13 and newer) takes such rights from a process and all that it starts, for good, and
asks for none to do so.
"""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # system calls, of the same numbers on all architectures
_WRITE, _TRUNCATE = 1 << 1, 1 << 14
# write; remove and make whatever there is
_CHANGES = _WRITE | sum(1 << bit for bit in range(4, 13))
_BY_VERSION = {2: 1 << 13, 3: _TRUNCATE}  # link and rename between folders; truncate
_NO_NEW_PRIVILEGES = 38


class _Rules(ctypes.Structure):
    _fields_ = [("handled", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def shut(inside: Iterable[Path], devices: Iterable[Path] = (Path("/dev"), Path("/proc"))) -> bool:
    """From now on this process changes nothing but what lies below ``inside``; in ``devices`` it
    may write to what is there. False, and no fence, where the system has none to offer.
    """
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        version = libc.syscall(_CREATE, None, 0, 1)
    except (OSError, AttributeError, TypeError):
        return False
    if version < 1:
        return False
    changes = _CHANGES | sum(bit for since, bit in _BY_VERSION.items() if version >= since)
    rules = _Rules(changes)
    number = libc.syscall(_CREATE, ctypes.byref(rules), ctypes.sizeof(rules), 0)
    if number < 0:
        return False
    for allowed, places in ((changes, inside), (changes & (_WRITE | _TRUNCATE), devices)):
        for place in places:
            parent = os.open(place, os.O_PATH | os.O_CLOEXEC)
            beneath = _Beneath(allowed, parent)
            added = libc.syscall(_ADD, number, 1, ctypes.byref(beneath), 0)
            os.close(parent)
            if added != 0:
                os.close(number)
                return False
    done = (
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0 and libc.syscall(_RESTRICT, number, 0) == 0
    )
    os.close(number)
    return bool(done)
