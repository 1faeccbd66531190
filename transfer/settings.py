"""The flags of what the student sees and hears, and of what sets its bias; what excludes what."""

from __future__ import annotations

from support.console import UserError
from support.settings import N_CLASSES, setting
from support.transformations import ImageSettings

from dataclasses import dataclass
from typing import Any

DIGITS_SET = "digits"  # the paper's transfer set: training images
DRAWN_SETS = {  # and what they show
    "halves": "halves of two digits, glued together",
    "rendered": "digits that a program drew",
    "contours": "contour lines of noise",
    "lines": "contour lines of noise, all over the image",
    "blobs": "blobs of noise",
    "patches": "blobs of noise, all over the image",
    "noise": "uniform noise",
}
EVERY_CLASS = tuple(range(N_CLASSES))
# With the drawn transfer sets no class is seen, nothing transforms the images further, and each of ten biases
# is set by frequencies, which a small probe would get wrong.
DRAWN_DEFAULTS: dict[str, Any] = {"omitted_class": EVERY_CLASS, "probe_size": 60_000} | dict.fromkeys(
    ("jitter_student", "rotation_student", "scaling_student", "shear_student", "elastic_student"), 0
)


@dataclass(frozen=True, kw_only=True)
class TransferSettings(ImageSettings):
    """What the student sees of which images, what it hears of its teacher, and what its bias is set by."""

    # fmt: off
    transfer_set: str = setting(
        DIGITS_SET, "what the student sees: digits; halves of two digits, glued together; rendered: digits "
        "that this project draws; contours (of smooth noise, faded), lines (the same, all over the image), "
        "blobs (faded), patches (all over), noise", choices=(DIGITS_SET, *DRAWN_SETS))
    transfer_images: int | None = setting(
        None, "drawn transfer sets: so many different images in all, beyond one epoch rounded up to whole "
        "epochs (new ones in each epoch unless given)",
        at_least=1)
    transfer_fraction: float = setting(
        1.0, "student: share of the transfer set that it learns from, in as many steps as from all of it",
        type=float, above=0, at_most=1)
    transfer_choice: str = setting(
        "random", "which share: random, or the images that the teacher finds least or most like the classes "
        "left out", choices=("random", "least-like", "most-like"))
    teacher_answers: str = setting(
        "whole", "the teacher's logits that the student hears; those of the classes left out may be replaced "
        "by their mean, their mean within each class (class-mean), or be shuffled within each class; alone: "
        "all others are replaced by their means within each class",
        choices=("whole", "mean", "class-mean", "shuffled", "alone"))
    teacher_omitted_class: tuple[int, ...] = setting(
        (), "class or classes that the teacher never sees either", at_least=0, at_most=9, nargs="+")
    spare_outputs: int = setting(
        0, "outputs beyond the ten classes, which nothing trains in the teacher; if there are any, the "
        "student learns from them alone", at_least=0, at_most=1000)
    student_start: str = setting(
        "own", "initial weights of the student: its own, or those that the teacher started from",
        choices=("own", "teacher"))
    background: float = setting(
        0.0, "what an empty pixel is for both networks, where ink is 1", type=float, at_least=-1, at_most=0.5)
    correct: str = setting(
        "omitted", "which biases the correction sets: of the classes left out, or of all ten",
        choices=("omitted", "all"))
    probe: str = setting(
        "training", "images that set the correction: of training, of the test set (without labels), or "
        "transfer: what the student learns from, with the teacher's mean answers as targets",
        choices=("training", "test", "transfer"))
    probe_share: float | None = setting(
        None, "share of the classes left out in the probe, if it is to be another than there is", type=float,
        above=0, below=1)
    prior: str = setting(
        "known", "how often the classes occur: known from the training labels, or em: estimated from the "
        "probe without a label (Saerens et al. 2002)", choices=("known", "em"))
    # fmt: on

    @property
    def is_drawn(self) -> bool:
        """Whether the student sees none of the training images."""
        return self.transfer_set != DIGITS_SET

    @property
    def may_omit_all(self) -> bool:
        return self.is_drawn

    @property
    def corrected_class(self) -> tuple[int, ...]:
        """The classes whose biases the correction sets."""
        return EVERY_CLASS if self.correct == "all" else self.omitted_class

    def __post_init__(self) -> None:
        super().__post_init__()
        never = tuple(sorted(set(self.teacher_omitted_class)))
        object.__setattr__(self, "teacher_omitted_class", never)
        for wrong, message in self.contradictions():
            if wrong:
                raise UserError(message)

    def contradictions(self) -> list[tuple[bool, str]]:
        """What excludes what, each with the line that says so."""
        drawn = f"--transfer-set {self.transfer_set}"
        selects = self.transfer_choice != "random" or self.teacher_answers != "whole"
        return [
            (self.is_drawn and self.omitted_class != EVERY_CLASS,
             f"{drawn} shows no image of any class; leave --omitted-class and --keep-class out"),
            (self.is_drawn and self.hard_weight > 0,
             f"{drawn} has no labels; leave --hard-weight out"),
            (self.is_drawn and (selects or self.transfer_fraction < 1),
             f"{drawn}: --transfer-fraction, --transfer-choice and --teacher-answers are for digits; for "
             "fewer images, say --transfer-images"),
            (not self.is_drawn and self.transfer_images is not None,
             "--transfer-images is for drawn transfer sets; for fewer digits, say --transfer-fraction"),
            (selects and not self.omitted_class,
             "--transfer-choice and --teacher-answers are about classes left out; leave at least one out"),
            (self.hard_weight == 1 and self.teacher_answers != "whole",
             "--hard-weight 1: the student hears nothing of its teacher; leave --teacher-answers out"),
            (self.transfer_choice != "random" and self.transfer_fraction == 1,
             "--transfer-choice takes a part; say how much with --transfer-fraction"),
            (self.teacher_answers != "whole" and self.limits("student").change,
             "--teacher-answers changes what the teacher says of the images as they are; leave the student's "
             "transformations out"),
            (self.spare_outputs == 1,
             "--spare-outputs 1: the softmax of one output is always 1; take 2 or more, or 0"),
            (self.spare_outputs > 0 and (self.hard_weight > 0 or self.teacher_answers != "whole"),
             "--spare-outputs: the student hears nothing of the classes; leave --hard-weight and "
             "--teacher-answers out"),
            (self.student_start == "teacher" and self.student_hidden != self.teacher_hidden,
             "--student-start teacher needs networks of one size; make --student-hidden and --teacher-hidden "
             "equal"),
            (self.probe == "transfer" and (self.probe_share is not None or self.prior != "known"),
             "--probe transfer takes its targets from the teacher; leave --probe-share and --prior out"),
            (self.probe == "transfer" and (self.spare_outputs > 0 or self.hard_weight == 1),
             "--probe transfer takes its targets from what the student hears of the classes, and this one "
             "hears nothing of them; leave it out"),
            (self.probe_share is not None and (self.is_drawn or not self.omitted_class),
             "--probe-share is the share of classes left out, but not all of them; leave it out"),
            (self.prior == "em" and self.is_drawn,
             "--prior em needs to know how often classes occur in the transfer set; choose digits"),
            (len(self.teacher_omitted_class) >= N_CLASSES,
             "--teacher-omitted-class must be fewer than all classes"),
        ]  # fmt: skip


# What decides how a student's biases are set, but not its training.
MEASURING = ("correct", "probe", "probe_share", "prior")
# What decides its training and is not said by the settings of either network, as `background` is.
STUDENT_FIELDS = tuple(
    name for name in TransferSettings.__annotations__ if name not in (*MEASURING, "background")
)
