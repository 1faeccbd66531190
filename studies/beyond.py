"""Grids of the questions that go beyond the paper: where the knowledge of an unseen class sits."""

from __future__ import annotations

from beyond.settings import DRAWN_DEFAULTS, DRAWN_SETS
from studies.measured import EVERY_CLASS, Settings, all_but

# ---- 1. Is it in the teacher's answer about 3? -------------------------------------------------------------

NO_3S: Settings = {"omitted_class": (3,)}
ANSWERS: list[Settings] = [
    *(NO_3S | {"teacher_answers": how} for how in ("whole", "shuffled", "class-mean", "mean", "alone")),
    NO_3S | {"teacher_omitted_class": (3,)},
]

# ---- 2. In which images? -----------------------------------------------------------------------------------

DROPPED = (0.01, 0.05, 0.1, 0.25, 0.5)  # share of the transfer set that is taken out
KEPT = (0.01, 0.05, 0.1)  # share that is kept alone


def part(share: float, choice: str) -> Settings:
    return NO_3S | {"transfer_fraction": share, "transfer_choice": choice}


IMAGES: list[Settings] = [
    part(1.0, "random"),
    *(part(1 - share, choice) for share in DROPPED for choice in ("random", "least-like")),
    *(part(share, choice) for share in KEPT for choice in ("random", "most-like")),
]

# ---- 3. How little must a student see? ---------------------------------------------------------------------


def only(*classes: int, epochs: int) -> Settings:
    """Digits of these classes alone, for about as many steps whatever is left out."""
    return {"omitted_class": all_but(*classes), "n_epochs_student": epochs, "correct": "all"}


def drawn(kind: str, **others: object) -> Settings:
    return {"transfer_set": kind, **DRAWN_DEFAULTS, "n_epochs_student": 8, **others}


LITTLE: list[Settings] = [
    only(*EVERY_CLASS, epochs=8),
    only(*all_but(3), epochs=8),
    only(7, 8, epochs=40),
    only(0, 1, epochs=40),
    only(8, epochs=80),
    only(1, epochs=80),
    *(drawn(kind) for kind in DRAWN_SETS),
]
CONTOURS = drawn("contours", temperature=20.0, n_epochs_teacher=4)
CONTOUR_POINTS: list[Settings] = [
    CONTOURS,
    *(CONTOURS | {"temperature": t} for t in (1.0, 4.0)),
    *(CONTOURS | {"transfer_images": n} for n in (1_000, 10_000, 60_000)),  # different ones in all
    *(CONTOURS | {"n_epochs_teacher": n} for n in (1, 12)),
    CONTOURS | {"probe": "transfer"},
]

# ---- 4. Through a channel with no digits in it -------------------------------------------------------------

SPARE_PRESET: Settings = {
    **DRAWN_DEFAULTS,
    "transfer_set": "noise", "background": -1.0, "temperature": 1.0, "batch_size": 256, "learning_rate": 1e-3,
    "lr_schedule": "constant", "jitter": 0, "n_epochs_teacher": 4, "n_epochs_student": 6,
}  # fmt: skip
N_SPARE = (2, 3, 10, 30)
WIDTHS = (64, 256, 1024)


def spare(n: int, width: int, start: str) -> Settings:
    sizes = (width, width)
    return {"spare_outputs": n, "student_start": start, "teacher_hidden": sizes, "student_hidden": sizes}


SUBLIMINAL: list[Settings] = [
    *(spare(n, 256, start) for n in (*N_SPARE, 0) for start in ("teacher", "own")),
    *(spare(3, width, start) for width in WIDTHS if width != 256 for start in ("teacher", "own")),
]

# ---- 5. Why 3.0 % and 6.4 %? -------------------------------------------------------------------------------

SEVENS_AND_EIGHTS: Settings = {"omitted_class": all_but(7, 8), "n_epochs_student": 30}
LONG_STUDENT: Settings = {"n_epochs_student": 100, "batch_size_student": 128, "learning_rate_student": 1e-3}
LONG_TEACHER: Settings = {"n_epochs_teacher": 12, "jitter": 2}
DROPOUT: Settings = {"dropout_input": 0.05, "dropout": 0.2}
MAX_NORM: Settings = {"max_norm": 3.0}
DIFFERENCES: dict[str, Settings] = {
    "fast": {},
    "student: 100 epochs, smaller steps": LONG_STUDENT,
    "teacher: 12 epochs, 2 px": LONG_TEACHER,
    "teacher: dropout": DROPOUT,
    "teacher: max-norm": MAX_NORM,
    "teacher: 12 epochs, 2 px, dropout": LONG_TEACHER | DROPOUT,
    "all of these": LONG_STUDENT | LONG_TEACHER | DROPOUT | MAX_NORM,
}
DISCREPANCY: list[Settings] = [SEVENS_AND_EIGHTS | changed for changed in DIFFERENCES.values()]

# ---- 6. An offset without the prior ------------------------------------------------------------------------

SHARES = (0.01, 0.1, 0.3)
PROBES: tuple[Settings, ...] = (
    {"probe": "training"}, {"probe_size": 5000}, {"probe": "test"},
    *({"probe_share": share} for share in SHARES),
)  # fmt: skip
PRIORS: list[Settings] = [NO_3S | probe | {"prior": prior} for probe in PROBES for prior in ("known", "em")]
