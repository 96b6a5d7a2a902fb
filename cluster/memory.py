"""The memory of one process: a bound, so that what grows without end fails there and not the machine, and its reuse.

Works on: this process. Knows nothing about actors, or what the memory is for.
"""

import contextlib
import ctypes
import resource
from pathlib import Path

_STATUS = Path("/proc/self/status")
# mallopt(3) of glibc.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def limit(more_bytes: int) -> bool:
    """Let this process take so many bytes of private memory beyond what it holds now; False where Linux cannot say.

    Beyond it an allocation fails: Python and NumPy raise MemoryError, PyTorch a RuntimeError, and a library that
    cannot go on aborts. It is RLIMIT_DATA, which leaves out what is shared, like Ray's object store.
    """
    with contextlib.suppress(FileNotFoundError):
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
        held = int(lines["VmData"].split()[0]) * 1024
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = held + more_bytes
        resource.setrlimit(
            resource.RLIMIT_DATA, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most)
        )
        return True
    return False


def exhausted(error: BaseException) -> bool:
    """Whether an exception says that there was no memory, on the processor or on a device."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, for a device
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch's, for the processor


def keep_freed() -> None:
    """Let this process keep what it frees for its next allocation; nothing happens where the C library is not glibc.

    Otherwise each large block is handed back at once, and the kernel clears its pages anew for the next one:
    measured, a tenth of a training step on a processor. The process stays as large as it once was.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
