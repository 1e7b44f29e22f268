"""What Linux offers to shut a process in: namespaces, mounts, limits, no privileges, a filter of system calls.

Plain system calls by ctypes, for the standard library has none of them in Python 3.11. Whatever fails raises an OSError that names it.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import resource
import signal
import struct
import sys

from maporl.sandbox.program import Limits

__all__ = [
    "can_filter",
    "clone",
    "die_with_parent",
    "new_root",
    "own_user",
    "prepared",
    "renounce",
    "scratch",
    "unshare",
]

NEW_MOUNTS, NEW_HOST, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NET = (
    0x20000,
    0x4000000,
    0x8000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
APART = NEW_MOUNTS | NEW_HOST | NEW_IPC | NEW_PIDS | NEW_NET

_READ_ONLY, _NO_SUID, _NO_DEVICES, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
_DETACH = 2
_libc = (
    ctypes.PyDLL(None, use_errno=True) if sys.platform == "linux" else None
)  # keeps the interpreter's lock, as a fork must

# System calls that no answer to a programming question needs, by architecture. Those that make files or memory outside the limits, reach
# out, look into other processes, or touch the system as a whole.
_NUMBERS: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        {
            **{"clone": 56, "clone3": 435, "socket": 41, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427},
            **{"ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "pidfd_getfd": 438, "kcmp": 312},
            **{"mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "unshare": 272, "setns": 308},
            **{"open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "mount_setattr": 442},
            **{"memfd_create": 319, "memfd_secret": 447, "shmget": 29, "msgget": 68, "semget": 64, "mq_open": 240},
            **{"keyctl": 250, "add_key": 248, "request_key": 249, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323},
            **{"init_module": 175, "finit_module": 313, "delete_module": 176, "kexec_load": 246, "kexec_file_load": 320},
            **{"reboot": 169, "swapon": 167, "swapoff": 168, "syslog": 103, "acct": 163, "quotactl": 179, "vhangup": 153},
            **{"open_by_handle_at": 304, "name_to_handle_at": 303, "personality": 135, "iopl": 172, "ioperm": 173},
            **{"settimeofday": 164, "clock_settime": 227, "adjtimex": 159, "clock_adjtime": 305, "sethostname": 170, "setdomainname": 171},
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            **{"clone": 220, "clone3": 435, "socket": 198, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427},
            **{"ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "pidfd_getfd": 438, "kcmp": 272},
            **{"mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "unshare": 97, "setns": 268},
            **{"open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "mount_setattr": 442},
            **{"memfd_create": 279, "memfd_secret": 447, "shmget": 194, "msgget": 186, "semget": 190, "mq_open": 180},
            **{"keyctl": 219, "add_key": 217, "request_key": 218, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282},
            **{"init_module": 105, "finit_module": 273, "delete_module": 106, "kexec_load": 104, "kexec_file_load": 294},
            **{"reboot": 142, "swapon": 224, "swapoff": 225, "syslog": 116, "acct": 89, "quotactl": 60, "vhangup": 58},
            **{"open_by_handle_at": 265, "name_to_handle_at": 264, "personality": 92},
            **{"settimeofday": 170, "clock_settime": 112, "adjtimex": 171, "clock_adjtime": 266, "sethostname": 161, "setdomainname": 162},
        },
    ),
}  # fmt: skip
_X32 = 0x40000000  # numbers from here on are another way of calling the same on x86_64
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_EPERM, _ENOSYS = 1, 38


def _call(name: str, *arguments: object) -> int:
    result: int = getattr(_libc, name)(*arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result


def clone(namespaces: int) -> int:
    """A fork into new namespaces: the child's process id, 0 in the child."""
    pid = -1
    ctypes.pythonapi.PyOS_BeforeFork()  # the child lets go of locks that from Python 3.13 on must have been taken
    try:
        pid = _call("syscall", _NUMBERS[platform.machine()][1]["clone"], namespaces | signal.SIGCHLD, 0, 0, 0, 0)
    finally:
        after = ctypes.pythonapi.PyOS_AfterFork_Parent if pid else ctypes.pythonapi.PyOS_AfterFork_Child
        after()
    return pid


def unshare(namespaces: int) -> None:
    """This process goes on in new namespaces."""
    _call("unshare", namespaces)


def die_with_parent() -> None:
    """This process is killed when the one that forked it ends."""
    _call("prctl", 1, signal.SIGKILL, 0, 0, 0)


def own_user() -> None:
    """After `unshare(NEW_USER)`: the same user and group as outside, and no others."""
    for file, text in (("setgroups", "deny"), ("uid_map", _same(_USER)), ("gid_map", _same(_GROUP))):
        with open(f"/proc/self/{file}", "w") as map_file:
            map_file.write(text)


_USER, _GROUP = (os.getuid(), os.getgid()) if sys.platform == "linux" else (0, 0)


def _same(number: int) -> str:
    return f"{number} {number} 1"


def new_root(folder: str, readable: list[str], hidden: list[str]) -> None:
    """This process, in mounts of its own, gets a root that holds nothing but `readable` (at the same paths, read-only) and /scratch.

    Args:
        folder: An empty one, to build it on.
        readable: Files and folders.
        hidden: Folders inside these that are empty instead.
    """
    _mount("none", "/", "", _RECURSIVE | _PRIVATE)
    _mount("tmpfs", folder, "tmpfs", _NO_SUID | _NO_DEVICES, "mode=0755,size=1m")
    for path in readable:
        target = folder + path
        os.makedirs(target if os.path.isdir(path) else os.path.dirname(target), 0o755, exist_ok=True)
        if not os.path.isdir(path):
            os.close(os.open(target, os.O_CREAT, 0o644))
        _mount(path, target, "", _BIND | _RECURSIVE)
        _make_read_only(target, path.startswith("/dev/"))
    for path in hidden:
        _mount("tmpfs", folder + path, "tmpfs", _READ_ONLY | _NO_SUID | _NO_DEVICES, "mode=0755,size=4k")
    os.mkdir(f"{folder}/scratch")
    os.chdir(folder)
    _call("syscall", _NUMBERS[platform.machine()][1]["pivot_root"], b".", b".")
    _call("umount2", b".", _DETACH)
    os.chdir("/")
    _make_read_only("/", False)


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    arguments = [text.encode() or None for text in (source, target, kind)]
    try:
        _call("mount", *arguments, ctypes.c_ulong(flags), data.encode() or None)
    except OSError as error:
        raise OSError(error.errno, f"mount of {source} on {target}: {os.strerror(error.errno or 0)}") from None


def _make_read_only(target: str, device: bool) -> None:
    wanted = _READ_ONLY | _NO_SUID | (0 if device else _NO_DEVICES)
    kept = os.statvfs(target).f_flag & (
        _NO_SUID | _NO_DEVICES | os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME | os.ST_RELATIME
    )
    _mount("none", target, "", _REMOUNT | _BIND | wanted | _mount_flags(kept))


def _mount_flags(of_statvfs: int) -> int:
    """What must be said again when a mount is changed, for whoever has not made it may not take it away."""
    flags = of_statvfs & (_NO_SUID | _NO_DEVICES | os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME)
    return flags | (1 << 21 if of_statvfs & os.ST_RELATIME else 0)


def scratch(limits: Limits, user: int) -> None:
    """In mounts of its own: an empty folder that takes `files_mb`, and the process in it."""
    size = f"mode=0700,size={int(limits.files_mb * 2**20)},nr_inodes=1024"
    _mount("tmpfs", "/scratch", "tmpfs", _NO_SUID | _NO_DEVICES, size)
    os.chown("/scratch", user, -1)
    os.chdir("/scratch")


def renounce(limits: Limits, user: int | None, seconds: float) -> None:
    """What cannot be taken back: another user (if `user`, or one without a name), the limits, no privileges, the filter.

    Args:
        seconds: Of processor time.
    """
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    _call("prctl", 38, 1, 0, 0, 0)  # no new privileges
    try:
        unshare(NEW_USER)  # the limit of processes then counts this one's, and nobody else's
    except OSError:
        if user is None:
            raise
    _drop_capabilities()
    set_limits(limits, seconds)
    if can_filter():
        _filter_calls()


def set_limits(limits: Limits, seconds: float) -> None:
    """The limits that the system keeps for each process."""
    most = {
        resource.RLIMIT_CPU: int(seconds) + 1,
        resource.RLIMIT_AS: int(limits.memory_mb * 2**20),
        resource.RLIMIT_FSIZE: int(limits.files_mb * 2**20),
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: int(limits.processes),
    }
    for which, value in most.items():
        resource.setrlimit(which, (value, value))


def _drop_capabilities() -> None:
    for capability in range(64):
        if _libc is not None and _libc.prctl(24, capability, 0, 0, 0) < 0:  # there are no more
            break
    header, nothing = struct.pack("=Ii", 0x20080522, 0), bytes(24)
    _call("capset", header, nothing)


def can_filter() -> bool:
    """Whether the numbers of this machine's system calls are known."""
    return platform.machine() in _NUMBERS


def prepared() -> int:
    """The namespaces that every cell of a process that is apart itself gets for its own; what they share the filter keeps them from."""
    if can_filter():
        _filter()
        return NEW_MOUNTS | NEW_PIDS
    return APART


@functools.cache
def _filter() -> bytes:
    """The instructions that the kernel runs before every system call."""
    architecture, numbers = _NUMBERS[platform.machine()]
    load, equal, at_least, bits, end = 0x20, 0x15, 0x35, 0x45, 0x06
    program = [
        (load, 0, 0, 4),  # the architecture
        (equal, 1, 0, architecture),
        (end, 0, 0, _KILL),
        (load, 0, 0, 0),  # the call's number
        (at_least, 0, 1, _X32),
        (end, 0, 0, _REFUSE | _EPERM),
        (equal, 0, 1, numbers["clone3"]),
        (end, 0, 0, _REFUSE | _ENOSYS),  # its flags cannot be read; whoever asks goes on with clone
    ]
    for name, number in numbers.items():
        if name not in ("clone", "clone3"):
            program += [(equal, 0, 1, number), (end, 0, 0, _REFUSE | _EPERM)]
    program += [
        (equal, 0, 3, numbers["clone"]),
        (load, 0, 0, 16),  # its flags
        (bits, 0, 1, APART | NEW_USER | 0x02000000),  # any new namespace
        (end, 0, 0, _REFUSE | _EPERM),
        (end, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in program)


class _Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]


def _filter_calls() -> None:
    """Of this process and all that it starts: what is refused fails with "not permitted"."""
    code = _filter()
    _call("prctl", 22, 2, ctypes.byref(_Filter(len(code) // 8, code)), 0, 0)
