"""The recipes: presets of the flags, and what a drawn transfer set sets beside it."""

from __future__ import annotations

from typing import Any

from transfer.settings import DIGITS_SET, DRAWN_DEFAULTS

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


def preset(given: dict[str, Any]) -> dict[str, Any]:
    """What the recipe, and then the transfer set, in `given` set beside it."""
    values = RECIPES.get(given.get("recipe", "described"), {})
    if given.get("transfer_set", values.get("transfer_set", DIGITS_SET)) != DIGITS_SET:
        return values | DRAWN_DEFAULTS
    if "transfer_set" in values:  # of a recipe without digits, but with them
        return {name: value for name, value in values.items() if name not in DRAWN_DEFAULTS}
    return values
