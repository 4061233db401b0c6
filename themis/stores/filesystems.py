"""Whether a file lies on a network file system.

SQLite's write-ahead log needs memory that all its processes share, which a network file system does
not provide. On Linux the kernel's table of mounts is read. On Windows only paths of shared folders
are recognised. Elsewhere users have to set ``journal="rollback"`` themselves.
"""

from __future__ import annotations

import os
from pathlib import Path

MOUNTS = "/proc/self/mountinfo"

_NETWORK = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "afs", "coda", "9p", "davfs"),
        *("ceph", "lustre", "gpfs", "mmfs", "beegfs", "beegfs_nodev", "fhgfs", "glusterfs"),
        *("panfs", "pvfs2", "orangefs", "wekafs", "ocfs2", "gfs", "gfs2", "vboxsf", "vmhgfs"),
    }
)
_OVER_FUSE = frozenset(
    {
        *("sshfs", "glusterfs", "ceph", "ceph-fuse", "beegfs", "quobyte", "juicefs", "moosefs"),
        *("mfs", "lizardfs", "cvmfs2", "s3fs", "gcsfuse", "goofys", "mount-s3", "rclone"),
        *("davfs", "davfs2", "curlftpfs", "smbnetfs", "blobfuse", "blobfuse2", "vmhgfs-fuse"),
    }
)


def network_filesystem(path: str, *, mounts: str | None = None) -> str | None:
    """Return the kind of network file system that a path lies on, such as "nfs4".

    Args:
        path: an absolute path; it need not exist yet.
        mounts: a table of mounts, as Linux writes it in ``/proc/self/mountinfo``; by default this
            process's own.

    Returns:
        The kind; None if the path lies on a local disk or this cannot be determined.
    """
    if path.startswith(("\\\\", "//")) and os.name == "nt":
        return "shared folder"
    if mounts is None:
        try:
            mounts = Path(MOUNTS).read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
    kind = _kind_at(os.path.realpath(path), mounts)
    name, _, over_fuse = kind.partition(".")
    known = over_fuse.partition("@")[0] in _OVER_FUSE if name == "fuse" else name in _NETWORK
    return kind if known else None


def _kind_at(path: str, mounts: str) -> str:
    """Return the kind of file system at a path: of the deepest mount, the last if several."""
    deepest, kind = -1, ""
    for line in mounts.splitlines():
        place, separator, source = line.partition(" - ")
        fields = place.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = _unescaped(fields[4])
        if _holds(point, path) and len(point) >= deepest:
            deepest, kind = len(point), source.partition(" ")[0]
    return kind


def _holds(point: str, path: str) -> bool:
    return point in ("/", path) or path.startswith(point + "/")


def _unescaped(text: str) -> str:
    """Return a path in which the kernel wrote blanks and backslashes as octal numbers."""
    first, *others = text.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in others)
