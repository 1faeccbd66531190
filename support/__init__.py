"""What any experiment needs and the paper does not speak of: settings, files, threads, processes, charts.

Nothing in here imports the experiment; arrows point down to this folder, never up from it. It is imported
before everything else, so that Ctrl-C while the rest of a script is still being imported ends in a line; from
then on, `support.console.run_script` sees to that.
"""

from __future__ import annotations

import os
import signal
import sys


def _runs_a_script_of_ours() -> bool:
    """Whether this process was started as one of the project's scripts, and not by who imports them."""
    root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    if sys.argv[0] == "-m":  # as long as the module is looked for
        words = sys.orig_argv
        place = next((i for i, word in enumerate(words) if i and word.startswith("-m")), len(words) - 1)
        name = words[place][2:] or "".join(words[place + 1 : place + 2])  # -mNAME or -m NAME
        path = os.path.join(root, *name.split("."))
        return bool(name) and (os.path.isdir(path) or os.path.isfile(f"{path}.py"))
    file = getattr(sys.modules["__main__"], "__file__", None)
    return file is not None and os.path.realpath(file).startswith(root + os.sep)


def _end_at_once(number: int, frame: object) -> None:
    os.write(2, b"interrupted\n")
    os._exit(130)  # an exception could be caught by whatever is being imported


if _runs_a_script_of_ours():
    signal.signal(signal.SIGINT, _end_at_once)
