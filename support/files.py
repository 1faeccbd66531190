"""Files that are whole or not there: written under a temporary name, sealed with a digest, read with care."""

from __future__ import annotations

from support.console import UserError

import hashlib
import os
import re
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOST = re.sub(r"\W", "", socket.gethostname())
# .<pid>-<host>-<random>.tmp<suffix>: says who writes it, so that what a killed process left can be told
TEMPORARY = re.compile(r"\.(\d+)-(\w*)-\w+\.tmp(\.\w+)?")
STALE_SECONDS = 24 * 3600.0  # another machine's temporary file is stale after this
CAN_ASK = os.name != "nt"  # whether a process is there; on Windows, to ask would be to interrupt it
SEAL_BYTES = 65  # the digest and a line break
TRIAL_BYTES = 65_536  # written to find out whether a folder takes anything


@contextmanager
def atomic_output(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` at the end, remove it after an error.

    Raises UserError when the folder cannot be made or the file not written, or when `path` is there and no
    plain file: a folder or a device is never replaced.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        refuse_special(path)
        handle, name = tempfile.mkstemp(
            prefix=f".{os.getpid()}-{HOST}-", suffix=".tmp" + path.suffix, dir=path.parent
        )
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes private files; results are for everyone
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> UserError:
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return UserError(f"cannot write {path}: a file stands where a folder is needed; name another folder")
    return UserError(f"cannot write {path}: {error.strerror or error}; choose another place or make room")


def refuse_special(path: Path) -> None:
    """Raises UserError when `path` is there and no plain file."""
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a device or a pipe"
        raise UserError(f"{path} is {kind}; name a file, or another folder")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_output(path: Path) -> None:
    """Make the folder of `path` and see that it takes files, before minutes of work depend on it.

    Sweeps what killed processes left there. Raises UserError.
    """
    check_folder(path.parent)
    try:
        refuse_special(path)
    except OSError as error:  # a name that is too long, say
        raise cannot_write(path, error) from error


def check_folder(folder: Path) -> None:
    """The same for a folder. Raises UserError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        with tempfile.TemporaryFile(dir=folder) as trial:
            trial.write(bytes(TRIAL_BYTES))
            trial.flush()
    except OSError as error:
        raise cannot_write(folder, error) from error


def sweep(folder: Path) -> None:
    """Remove the temporary files in `folder` whose process is gone."""
    try:
        names = os.listdir(folder)
    except OSError:
        return  # what cannot be looked into is not ours to sweep
    for name in names:
        if (parts := TEMPORARY.fullmatch(name)) is None:
            continue
        path = folder / name
        try:
            if parts[2] == HOST and CAN_ASK:
                stale = not _is_running(int(parts[1]))
            else:
                stale = time.time() - path.stat().st_mtime > STALE_SECONDS
            if stale:
                path.unlink()
        except OSError:
            pass  # another process swept it, or we may not


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def read_regular(path: Path, max_bytes: int) -> bytes:
    """The content of a plain file of at most `max_bytes`.

    Raises FileNotFoundError, another OSError, or ValueError for a device, a pipe or a larger file, none of
    which is waited for or read.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("no plain file")
        if status.st_size > max_bytes:
            raise ValueError("far too large")
        return file.read(max_bytes + 1)


def seal(content: bytes, name: str) -> bytes:
    """A line that belongs to this content under this file name, and to no other."""
    return hashlib.sha256(name.encode() + b"\n" + content).hexdigest().encode() + b"\n"


def write_sealed(path: Path, content: bytes) -> None:
    """`content` after its seal. Raises UserError."""
    with atomic_output(path) as temporary, open(temporary, "wb") as file:
        file.write(seal(content, path.name))
        file.write(content)


def read_sealed(path: Path, max_bytes: int) -> bytes:
    """What `write_sealed` was given.

    Raises ValueError when a bit of it changed since or it was written under another name, and what
    `read_regular` raises.
    """
    sealed = read_regular(path, SEAL_BYTES + max_bytes)
    if sealed[:SEAL_BYTES] != seal(sealed[SEAL_BYTES:], path.name):
        raise ValueError("damaged")
    return sealed[SEAL_BYTES:]


def user_cache() -> Path:
    """The user's folder for caches. Raises UserError without a home directory."""
    named = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if named.is_absolute():
        return named
    try:
        home = Path.home() if os.environ.get("HOME") != "" else Path()  # which would be the root folder
    except RuntimeError:
        home = Path()
    if not home.is_absolute():
        raise UserError("there is no home directory to keep a cache in; name a folder with --cache-dir")
    return home / ".cache"
