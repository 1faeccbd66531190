"""All flags of the experiment, those that go beyond section 3 among them; the recipes; what excludes what."""

from __future__ import annotations

from support.console import UserError
from support.settings import MAX_SEED, N_CLASSES, named_folder, setting
from support.transformations import IMAGE_SIDE, PIXELS, Limits

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import distillation_mnist_omitted_3 as core

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
RANKED = ("least-like", "most-like")  # choices of a transfer set: among all images, and within each class
WITHIN = tuple(f"{choice}-within" for choice in RANKED)
# With the drawn transfer sets no class is seen, nothing transforms the images further, and each of ten biases
# is set by frequencies, which a small probe would get wrong.
DRAWN_DEFAULTS: dict[str, Any] = {"omitted_class": EVERY_CLASS, "probe_size": 60_000} | dict.fromkeys(
    ("jitter_student", "rotation_student", "scaling_student", "shear_student", "elastic_student"), 0
)
# How far images are transformed. The student's further: whatever it sees, its teacher has an answer for it.
TRANSFORMATIONS: dict[str, Any] = {
    "jitter": 2, "rotation": 10.0, "scaling": 0.1, "shear": 0.1, "elastic": 1.5,
    "jitter_student": 2, "rotation_student": 15.0, "scaling_student": 0.15, "shear_student": 0.15,
    "elastic_student": 2.0,
}  # fmt: skip
# Presets of the flags. Chosen on held-out training images, never on the test set; but how the contours of
# "no-digit" are drawn comes from first experiments that were measured there.
RECIPES: dict[str, dict[str, Any]] = {
    "described": {},
    "fast": {
        "n_epochs_teacher": 4, "n_epochs_student": 6, "batch_size": 256, "learning_rate": 2e-3,
        "lr_schedule": "linear", "jitter": 1,
    },
    "best": {
        "n_epochs_teacher": 60, "n_epochs_student": 40, "batch_size": 512, "batch_size_student": 256,
        "learning_rate": 2e-3, "lr_schedule": "linear", "probe_size": 60_000, **TRANSFORMATIONS,
    },
}  # fmt: skip
RECIPES["middle"] = RECIPES["best"] | {"n_epochs_teacher": 20, "n_epochs_student": 15}
RECIPES["no-digit"] = RECIPES["best"] | DRAWN_DEFAULTS | {"transfer_set": "contours", "n_epochs_student": 60}
# What each limit of the transformations may be.
DEGREES: dict[str, Any] = {"type": float, "at_least": 0, "at_most": 180}
SHARE: dict[str, Any] = {"type": float, "at_least": 0, "at_most": 0.9}
SLANT: dict[str, Any] = {"type": float, "at_least": 0, "at_most": 2}
BEND: dict[str, Any] = {"type": float, "at_least": 0, "at_most": IMAGE_SIDE}


@dataclass(frozen=True, kw_only=True)
class Config(core.Config):
    """All settings of one experiment, each a flag of the same name. Raises UserError for bad values.

    What is not given comes from the recipe, from what a drawn transfer set asks for, and from the defaults.
    """

    # fmt: off
    recipe: str = setting(
        "described", "preset of other flags; flags given explicitly win", choices=tuple(RECIPES))
    dataset: str = setting(
        "auto", "auto: MNIST, or digits drawn by this project where MNIST cannot be had; mnist: nothing "
        "else will do", choices=("auto", "mnist", "rendered"))
    outdir: Path | None = setting(
        None, "folder for everything written (default: viz, or viz/rendered, viz/custom for other data)",
        type=named_folder)
    rotation: float = setting(0.0, "teacher: turn each image by up to this many degrees", **DEGREES)
    scaling: float = setting(
        0.0, "teacher: shrink or stretch each image, each axis by itself; 0.1: to between 1/1.1 and 1/0.9",
        **SHARE)
    shear: float = setting(
        0.0, "teacher: slant each image by up to this many pixels per pixel of height", **SLANT)
    elastic: float = setting(
        0.0, "teacher: bend each image by a smooth field of displacements of up to this many pixels "
        "(root mean square over both axes)", **BEND)
    jitter_student: int = setting(
        0, "the student's jitter; its teacher answers for the image as the student sees it", **PIXELS)
    rotation_student: float = setting(0.0, "the student's rotation", **DEGREES)
    scaling_student: float = setting(0.0, "the student's scaling", **SHARE)
    shear_student: float = setting(0.0, "the student's shear", **SLANT)
    elastic_student: float = setting(0.0, "the student's elastic", **BEND)
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
        "random", "which share: random, or the images that the teacher finds least-like or most-like the "
        "classes left out; least-like-within, most-like-within: the same share of each class",
        choices=("random", *RANKED, *WITHIN), metavar="CHOICE")
    teacher_answers: str = setting(
        "whole", "the teacher's logits that the student hears; those of the classes left out may be replaced "
        "by their mean, their mean within each class (class-mean), or be shuffled within each class; alone: "
        "all others are replaced by their means within each class",
        choices=("whole", "mean", "class-mean", "shuffled", "alone"))
    soft_part: str = setting(
        "whole", "what of the soft targets the student learns: whole; target: how sure the teacher is of the "
        "label's class; non-target: how it ranks the other classes (Zhao et al. 2022)",
        choices=("whole", "target", "non-target"))
    mislabelled: tuple[int, ...] = setting(
        (), "two classes: the teacher is told that images of the first are of the second",
        at_least=0, at_most=9, nargs="+")
    mislabelled_share: float = setting(
        1.0, "share of these images, drawn at random, of which it is told so", type=float, above=0, at_most=1)
    label_smoothing: float = setting(
        0.0, "weight of the uniform distribution in what the teacher is told (Szegedy et al. 2016)",
        type=float, at_least=0, below=1)
    teacher_omitted_class: tuple[int, ...] = setting(
        (), "class or classes that the teacher never sees either", at_least=0, at_most=9, nargs="+")
    teacher_seed: int | None = setting(
        None, "seed of the teacher, if it is not the student's", at_least=0, at_most=MAX_SEED)
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

    def __init__(self, **given: Any) -> None:
        values = {item.name: item.default for item in fields(self)}
        if unknown := given.keys() - values.keys():
            raise TypeError(f"there is no setting {', '.join(sorted(unknown))}")
        for name, value in {**values, **preset(given), **given}.items():
            object.__setattr__(self, name, value)
        self.__post_init__()

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
            (self.soft_part != "whole" and (self.is_drawn or self.spare_outputs > 0),
             "--soft-part parts what the teacher says at the class of an image's label; leave --transfer-set "
             "and --spare-outputs out"),
            (self.soft_part != "whole" and (self.hard_weight == 1 or self.probe == "transfer"),
             "--soft-part: the student hears a part of its teacher; leave --hard-weight 1 and --probe "
             "transfer out"),
            (len(self.mislabelled) not in (0, 2) or len(set(self.mislabelled)) == 1,
             "--mislabelled takes two different classes: what an image shows, and what it is called"),
            (not self.mislabelled and self.mislabelled_share < 1,
             "--mislabelled-share is of what --mislabelled names; name two classes"),
            (bool(set(self.mislabelled[:1]) & set(self.teacher_omitted_class)),
             "--mislabelled: the teacher sees none of the first class; leave --teacher-omitted-class out"),
            (len(self.teacher_omitted_class) >= N_CLASSES,
             "--teacher-omitted-class must be fewer than all classes"),
        ]  # fmt: skip

    def limits(self, kind: str) -> Limits:
        """How images are shown to the "teacher" or the "student"."""
        suffix = "" if kind == "teacher" else "_student"
        names = [limit.name for limit in fields(Limits) if limit.name != "background"]
        return Limits(**{name: getattr(self, name + suffix) for name in names}, background=self.background)

    def unseen(self, kind: str) -> tuple[int, ...]:
        return self.omitted_class if kind == "student" else self.teacher_omitted_class

    def training(self, kind: str) -> core.TrainingSettings:
        found = super().training(kind)
        if kind == "teacher" and self.teacher_seed is not None:
            found = replace(self, seed=self.teacher_seed, teacher_seed=None).training(kind)
        weight_seed = found.weight_seed
        if kind == "student" and self.student_start == "teacher":
            weight_seed = self.training("teacher").weight_seed
        sizes = (*found.sizes[:-1], N_CLASSES + self.spare_outputs)
        return replace(found, limits=self.limits(kind), sizes=sizes, weight_seed=weight_seed)

    def unusual(self, kind: str) -> dict[str, Any]:
        """What a lesson is made from that section 3 does not know: settings that are not at their default."""
        names = OF_LESSON if kind == "student" else OF_TEACHERS_LESSON
        defaults = {item.name: item.default for item in fields(self)}
        return {name: getattr(self, name) for name in names if getattr(self, name) != defaults[name]}

    def decisive(self, kind: str) -> dict[str, Any]:
        found = super().decisive(kind) | self.unusual(kind)
        if kind == "student" and self.transfer_choice != "random":  # the teacher chooses, whatever is heard
            found["temperature"] = self.temperature
        return found


# The flags as --help shows them.
GROUPS = {
    "the experiment": (
        "seed", "temperature", "n_epochs_teacher", "n_epochs_student", "omitted_class", "hard_weight",
        "recipe",
    ),
    "data and output": (
        "dataset", "data_dir", "mirror", "hold_out", "cache_dir", "outdir", "retrain", "quiet",
    ),
    "training": (
        "teacher_hidden", "student_hidden", "batch_size", "batch_size_student", "learning_rate",
        "learning_rate_student", "lr_schedule", "dropout_input", "dropout", "max_norm", "probe_size",
    ),
    "images": (
        "jitter", "rotation", "scaling", "shear", "elastic", "jitter_student", "rotation_student",
        "scaling_student", "shear_student", "elastic_student",
    ),
    "beyond section 3": (
        "transfer_set", "transfer_images", "transfer_fraction", "transfer_choice", "teacher_answers",
        "soft_part", "mislabelled", "mislabelled_share", "label_smoothing", "teacher_omitted_class",
        "teacher_seed", "spare_outputs", "student_start", "background", "correct", "probe", "probe_share",
        "prior",
    ),
}  # fmt: skip
# What decides how a student's biases are set, but not its training.
MEASURING = ("correct", "probe", "probe_share", "prior", "probe_size")
# What decides what a teacher learns, and what a student sees and hears; both are in the keys of trainings.
OF_TEACHERS_LESSON = (
    "teacher_omitted_class", "spare_outputs", "mislabelled", "mislabelled_share", "label_smoothing",
)  # fmt: skip
OF_LESSON = (
    "transfer_set", "transfer_images", "transfer_fraction", "transfer_choice", "teacher_answers",
    "soft_part", "spare_outputs",
)  # fmt: skip


def preset(given: dict[str, Any]) -> dict[str, Any]:
    """What the recipe, and then the transfer set, in `given` set beside it."""
    values = RECIPES.get(given.get("recipe", "described"), {})
    if given.get("transfer_set", values.get("transfer_set", DIGITS_SET)) != DIGITS_SET:
        return values | DRAWN_DEFAULTS
    if "transfer_set" in values:  # of a recipe without digits, but with them
        return {name: value for name, value in values.items() if name not in DRAWN_DEFAULTS}
    return values
