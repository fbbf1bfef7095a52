"""How much memory a large picture may take, on the device that translates it."""

from pathlib import Path

import torch

SHARE = 0.5  # of the memory that is free: others want some, and what a layer needs besides is not counted to the byte
MOST = 3 * 2**29  # bytes on a CPU: larger tiles are hardly faster, and 100 megapixels in and out are 0.6 GB beside it
UNKNOWN = 4 * 2**30  # taken for free where the system does not say
CGROUP = Path("/sys/fs/cgroup")


def budget(device: torch.device) -> int:
    """Bytes for the activations of a part of a picture."""
    free = free_bytes(device)
    return int(SHARE * free) if device.type == "cuda" else min(int(SHARE * free), MOST)


def free_bytes(device: torch.device) -> int:
    """What could be allocated now."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    known = [bytes_ for bytes_ in (_of_the_machine(), _of_the_group()) if bytes_ is not None]
    return min(known, default=UNKNOWN)


def _of_the_machine() -> int | None:
    try:
        rows = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
        return next((int(row[1]) * 1024 for row in rows if row[0] == "MemAvailable:"), None)
    except (OSError, ValueError, IndexError):
        return None


def _of_the_group() -> int | None:
    """What a container or a batch job may still take (cgroup v2); what its files hold of the cache is given back."""
    try:
        own = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    folder = CGROUP / own.strip("/")
    left = [_left_in(each) for each in (folder, *folder.parents) if each.is_relative_to(CGROUP)]
    return min((bytes_ for bytes_ in left if bytes_ is not None), default=None)


def _left_in(folder: Path) -> int | None:
    try:
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
        rows = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        cached = next((int(value) for key, value in rows if key == "inactive_file"), 0)
    except (OSError, ValueError):  # no such group, or "max": no limit
        return None
    return max(0, limit - used + cached)
