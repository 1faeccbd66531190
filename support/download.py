"""Downloads that can be trusted: checked before they are kept, and never waited for without end."""

from __future__ import annotations

from support.console import Console, UserError, printable
from support.files import atomic_output, read_regular, sweep

import queue
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

CONNECT_SECONDS = 4.0  # for one mirror to answer at all
STALL_SECONDS = 10.0  # for the next bytes of an answer
SLOWEST_BYTES_PER_SECOND = 10_000  # on average, once STALL_SECONDS are over

Checked = TypeVar("Checked")


MAX_FILE_BYTES = 64 * 2**20  # no file of MNIST is larger, compressed or not


class DownloadError(UserError):
    """No mirror gave the right file, which is named."""

    def __init__(self, name: str, flag: str = "--data-dir") -> None:
        super().__init__(f"no mirror gave {name}; run with a network, or point {flag} at the files")


@dataclass(frozen=True)
class Remote(Generic[Checked]):
    """A file that mirrors hold: its name, how to tell it from any other, and how large it can be."""

    name: str
    check: Callable[[bytes], Checked]  # what is in it; raises ValueError for anything but the right file
    max_bytes: int
    flag: str = "--data-dir"  # with which a folder is named that holds it


GZIP = b"\x1f\x8b"  # how such a file begins
MAX_MEMBERS = 100  # of a gzip file: one, as a rule


def uncompress(content: bytes, max_bytes: int) -> bytes:
    """The content of a gzip file: of all its members, one after the other; zeros behind them are padding.

    Raises ValueError when it is none, cut short, followed by something else, or too large.
    """
    if not content.startswith(GZIP):
        raise ValueError("not a gzip file")
    plain, rest, n_members = bytearray(), content, 0
    while rest:
        n_members += 1
        if n_members > MAX_MEMBERS:  # each is looked for in all that is left
            raise ValueError("far too many parts")
        if not rest.startswith(GZIP):
            raise ValueError("trailing bytes after the gzip data")
        unzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        try:
            plain += unzip.decompress(rest, max_bytes + 1 - len(plain))
        except zlib.error as error:
            raise ValueError("damaged") from error
        if len(plain) > max_bytes or not unzip.eof:
            raise ValueError("truncated or too large")
        rest = unzip.unused_data.lstrip(b"\0")
    return bytes(plain)


def spellings(name: str) -> set[str]:
    """How a file of MNIST may be called, in small letters: x-idx3-ubyte, x.idx3-ubyte, either with .gz."""
    both = (name, name.replace("-idx", ".idx"))
    return {f"{spelled}{ending}" for spelled in both for ending in ("", ".gz")}


def check_there(folder: Path, flag: str = "--data-dir") -> None:
    """Raises UserError when the folder that the user named is none."""
    try:
        folder.stat()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        said = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{flag} {folder}: {said}; name what holds the data") from error


def read_folder(
    folder: Path, names: Sequence[str], max_bytes: int, flag: str = "--data-dir"
) -> dict[str, bytes]:
    """The files `names` of a folder that the user named by `flag`, uncompressed. Raises UserError.

    Each may be compressed, whatever its name says, and be there twice as long as both say the same.
    """
    contents, path = {}, folder
    check_there(folder, flag)
    try:
        there = sorted(folder.iterdir())
        for name in names:
            found: dict[Path, bytes] = {}
            mine = [p for p in there if p.name.lower() in spellings(name) and not p.is_dir()]
            for path in [p for p in mine if p.is_file()] or mine:  # no pipe hides a file
                if raw := read_regular(path, max_bytes):
                    found[path] = uncompress(raw, max_bytes) if raw.startswith(GZIP) else raw
            if not found:
                raise UserError(f"{flag} {folder}: no {name} or {name}.gz there; it needs {', '.join(names)}")
            if len(set(found.values())) > 1:
                first, second = list(found)[:2]
                raise UserError(f"{first} and {second.name} are not the same; leave the right one there")
            contents[name] = next(iter(found.values()))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"cannot read {path}: {reason}; fetch it again") from error
    return contents


class OnlyWeb(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to another web address and nowhere else."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.lower().startswith(("http://", "https://")):
            said = f"a redirect to {newurl}, which is no web address"
            raise urllib.error.HTTPError(req.full_url, code, said, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def answer_within(seconds: float, call: Callable[[], Any], late: str) -> Any:
    """What `call` gives, in a thread of its own. Raises what that raises, or TimeoutError, saying `late`."""
    answer: queue.SimpleQueue = queue.SimpleQueue()

    def attempt() -> None:
        try:
            answer.put(call())
        except Exception as error:  # whatever it is, it is the reason
            answer.put(error)

    threading.Thread(target=attempt, daemon=True).start()
    try:
        outcome = answer.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(late) from None
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def open_url(url: str) -> Any:
    """`urlopen`, but the whole of it, name look-up included, within CONNECT_SECONDS. Raises OSError."""
    opener, late = urllib.request.build_opener(OnlyWeb), f"no answer within {CONNECT_SECONDS:g} s"
    return answer_within(CONNECT_SECONDS, lambda: opener.open(url, timeout=STALL_SECONDS), late)


def receive(url: str, remote: Remote, console: Console) -> bytes:
    """The whole answer of one address. Raises whatever goes wrong, TimeoutError when it is too slow."""
    with open_url(url) as response:
        total = int(response.headers.get("Content-Length") or 0)
        received, started = bytearray(), time.monotonic()
        while chunk := response.read1(65536):
            received += chunk
            seconds = time.monotonic() - started
            if len(received) > remote.max_bytes:
                raise ValueError("far too large")
            if seconds > STALL_SECONDS and len(received) < seconds * SLOWEST_BYTES_PER_SECOND:
                raise TimeoutError(f"slower than {SLOWEST_BYTES_PER_SECOND // 1000} kB/s")
            console.progress(f"fetching {remote.name}", len(received) / max(total, len(received)))
        return bytes(received)


def fetch(urls: Sequence[str], remote: Remote[Checked], console: Console) -> tuple[bytes, Checked]:
    """(bytes as sent, what is in them) of the first address that gives the right file.

    Raises DownloadError when none does; each one's reason has then been shown.
    """
    for url in urls:
        try:
            content = receive(url, remote, console)
            return content, remote.check(content)
        # urllib raises OSError, HTTPException, ValueError and others: all of them mean the next mirror
        except Exception as error:
            reason: object = error
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            elif isinstance(error, urllib.error.URLError):
                reason = error.reason
            said = " ".join(printable(str(reason)).split())[:200]
            console.warn(f"warning: {url}: {said or type(reason).__name__}")
    raise DownloadError(remote.name, remote.flag)


def cached(folder: Path, mirrors: Sequence[str], remote: Remote[Checked], console: Console) -> Checked:
    """What is in the file in `folder` or, where that is missing or wrong, in a download that is kept there.

    Nothing in the cache is trusted: it is checked at every start. Raises DownloadError.
    """
    path, urls = folder / remote.name, [f"{mirror.rstrip('/')}/{remote.name}" for mirror in mirrors]
    sweep(folder)
    try:
        return remote.check(read_regular(path, remote.max_bytes))
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        console.warn(f"warning: {path}: {error}; fetching it again")
    sent, checked = fetch(urls, remote, console)
    try:
        with atomic_output(path) as temporary:
            temporary.write_bytes(sent)
    except UserError as error:
        console.warn(f"warning: {error} (going on without a cache)")
    return checked
