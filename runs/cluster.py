"""A Dask cluster's workers, behind the same interface as processes of this machine (`runs.processes`)."""

from __future__ import annotations

from support.console import Console, UserError, printable
from support.download import answer_within

import asyncio
import hashlib
import logging
import socket
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from runs.processes import Pool, identity

RESOLVE_SECONDS, CONNECT_SECONDS, ANSWER_SECONDS = 4.0, 6.0, 8.0  # of a scheduler
LOOK_SECONDS, SAY_SECONDS = 2.0, 60.0  # between looks at the number of workers; between words about it
ROOT = Path(__file__).resolve().parent.parent
SENT = ("distillation_mnist_omitted_3.py", "support/*.py", "synthetic/*.py", "beyond/*.py", "runs/*.py")


class PoolLostError(Exception):
    """The workers are out of reach, and what they had not given back is lost."""


def check_scheduler(address: str) -> None:
    """Raises UserError, within some 15 seconds, unless a Dask scheduler answers at `address`."""
    try:
        from distributed.comm.addressing import parse_address, parse_host_port
        from distributed.core import rpc
        from distributed.security import Security
    except ImportError as error:
        raise UserError(
            "--scheduler needs the package distributed: pip install -r requirements-cluster.txt"
        ) from error

    async def ask() -> Any:
        arguments = Security().get_connection_args("client")
        async with rpc(address, timeout=CONNECT_SECONDS, connection_args=arguments) as scheduler:
            return await asyncio.wait_for(scheduler.identity(), ANSWER_SECONDS)

    try:
        host, port = parse_host_port(parse_address(address)[1])
    except Exception as error:  # distributed raises many kinds
        raise UserError(f"--scheduler {address!r} is no address; give one as tcp://HOST:PORT") from error
    with quiet_dask():
        try:
            resolve(host, port)
            said = asyncio.run(asyncio.wait_for(ask(), ANSWER_SECONDS))
            if said.get("type") != "Scheduler":
                raise ValueError("it is another service")
        except Exception as error:  # whatever it is, no scheduler answers
            raise no_scheduler(address, error) from error


def no_scheduler(address: str, error: Exception) -> UserError:
    said = str(error) or (
        f"silent for {ANSWER_SECONDS:g} s"
        if isinstance(error, asyncio.TimeoutError)
        else type(error).__name__
    )
    reason = " ".join(printable(said).split())[:100]
    return UserError(
        f"--scheduler {address}: no Dask scheduler answers there ({reason}); start one with: dask scheduler"
    )


def resolve(host: str, port: int) -> None:
    """Look the host up within RESOLVE_SECONDS, where the event loop would wait for ever. Raises OSError."""

    def look_up() -> None:
        try:
            socket.getaddrinfo(host, port)
        except Exception as error:  # as OverflowError for a port of 99999
            raise OSError(f"{host}: {error}") from error

    answer_within(RESOLVE_SECONDS, look_up, "the host name is not answered for")


@contextmanager
def quiet_dask() -> Iterator[None]:
    """What goes wrong is said once, by us."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph")  # once per shared value, as intended
            yield
    finally:
        logging.disable(before)


def packed(folder: Path) -> Path:
    """A zip in `folder` of all that a worker imports of this project.

    Its name says what is in it, so that a worker never takes one version for another, and the same version
    gives the same bytes.
    """
    paths = sorted(path for pattern in SENT for path in ROOT.glob(pattern))
    contents = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in paths}
    digest = hashlib.sha256(repr(sorted(contents.items())).encode()).hexdigest()[:16]
    archive = folder / f"runs-{digest}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in contents.items():
            file.writestr(zipfile.ZipInfo(name), content)  # all of the same, fixed, date
    return archive


@contextmanager
def dask_pool(address: str, console: Console, shared: Any) -> Iterator[Pool]:
    """The workers of the Dask cluster whose scheduler is at `address`; they need no file of this project.

    A shared value is the result of a task, so that Dask moves it from worker to worker and makes it again
    when the worker that held it is gone. Raises UserError, PoolLostError when the scheduler goes away.
    """
    from distributed import Client

    with quiet_dask():
        try:
            client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, asyncio.TimeoutError, ValueError) as error:
            raise no_scheduler(address, error) from error
        with client:
            send_project(client, address)

            def share(value: Any) -> Any:
                return client.submit(identity, value, pure=False)

            try:
                executor = client.get_executor(pure=False)
                yield Pool(executor, share(shared), share, attend_to_workers(client, address, console))
            except Exception as error:
                if isinstance(error, CancelledError) or client.status != "running":
                    raise PoolLostError(f"the scheduler at {address} is gone") from error
                raise


def send_project(client: Any, address: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            client.upload_file(str(packed(Path(folder))))
        except Exception as error:  # whatever a worker's interpreter says of it
            reason = " ".join(printable(f"{type(error).__name__}: {error}").split())[:200]
            raise UserError(
                f"--scheduler {address}: the cluster cannot load this project ({reason}); it needs NumPy"
            ) from error


def attend_to_workers(client: Any, address: str, console: Console) -> Callable[[], None]:
    """Says that there are no workers, as long as there are none: at once, and again now and then."""
    next_look = next_word = 0.0

    def attend() -> None:
        nonlocal next_look, next_word
        now = time.monotonic()
        if now < next_look or client.status != "running":
            return
        next_look = now + LOOK_SECONDS
        with suppress(OSError):  # the scheduler is gone: the runs will say so
            info = client.scheduler_info()
            if info.get("n_workers", len(info["workers"])):  # a cached answer names none
                next_word = 0.0
            elif now >= next_word:
                next_word = now + SAY_SECONDS
                console.warn(
                    f"waiting for workers: {address} has none; start one with: dask worker {address}"
                )

    return attend
