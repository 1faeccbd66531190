"""Paths of metrics in the record of a run; see Run.value."""

from __future__ import annotations

UNSEEN_BEFORE, UNSEEN_AFTER = "before.omitted_accuracy", "after.omitted_accuracy"
SEEN_BEFORE, SEEN_AFTER = "before.other_accuracy", "after.other_accuracy"
ALL_BEFORE, ALL_AFTER = "before.test_accuracy", "after.test_accuracy"
ERRORS_BEFORE, ERRORS_AFTER = "before.test_errors", "after.test_errors"
UNSEEN_ERRORS_BEFORE, UNSEEN_ERRORS_AFTER = "before.omitted_errors", "after.omitted_errors"
TEACHER, TEACHER_ERRORS = "teacher.test_accuracy", "teacher.test_errors"
BEST = "bias_correction.best_on_test_set"
