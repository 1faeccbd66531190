"""The explorer's words where the data hold few classes, or where little was learned."""

from __future__ import annotations

from support.data import Data

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from explorer_pages import about_of, arrays_of, made_page, opened, shared_browser
from idx_files import idx_bytes

import distillation_mnist_omitted_3 as core
from explorer import words

LAST_EPOCH = """
const slider = document.getElementById("epoch");
slider.value = slider.max;
slider.dispatchEvent(new Event("input"));
return document.getElementById("epoch-result").textContent;
"""


def some_classes(folder: Path, data: Data, classes: tuple[int, ...], n_threes: int) -> Path:
    """A folder for --data-dir with the images of these classes, and so many test 3s."""
    folder.mkdir()
    train, test = (np.isin(labels, classes) for labels in (data.train_labels, data.test_labels))
    test[np.flatnonzero(test & (data.test_labels == 3))[n_threes:]] = False
    arrays = (data.train_images[train], data.train_labels[train], data.test_images[test],
              data.test_labels[test])  # fmt: skip
    for name, array in zip(core.MNIST_SHA256, arrays, strict=True):
        (folder / name).write_bytes(idx_bytes(array))
    return folder


@pytest.mark.parametrize(
    ("classes", "n_threes", "named"),
    [((3, 8), 9, "3s and 8s"), ((0, 1, 2, 3, 4), 1, "0s, 1s, 2s, 3s and 4s")],
    ids=["two", "five"],
)
def test_words_of_data_with_few_classes(classes, n_threes, named, small_data, tmp_path, rounded_at_once):
    """No digit is spoken of that is not there, and one digit is not "these 1 3s"."""
    data = some_classes(tmp_path / "data", small_data, classes, n_threes)
    made = made_page(tmp_path, "--dataset", "auto", "--data-dir", data)
    driver = shared_browser()
    opened(driver, made)
    said = driver.execute_script("return document.body.innerText")
    assert f"the teacher, learned to read {named}. The student" in said
    assert f"saw {named}\n" in said
    assert "ten digits" not in said
    found = about_of(made)
    assert {row["class"] for row in found["training"]} == set(classes)
    result = driver.execute_script(LAST_EPOCH)
    right = int((arrays_of(made)["epochGuesses"].reshape(6, -1)[5] == 3).sum())
    share = f"{100 * found['history'][5]['test_accuracy']:.2f} % of all test images."
    if n_threes == 1:
        reads = "reads" if right else "does not read"
        assert result == f"After epoch 6 it {reads} the one digit shown; it reads {share}"
    else:
        assert result == f"After epoch 6 it reads {right} of these {n_threes} 3s and {share}"


def test_words_follow_from_the_outcome(explorer_run):
    """A teacher that reads nothing is not said to read, and no digit to become right that stays wrong."""
    _, experiment = explorer_run
    assert words.words(experiment)["teacher_story"] == "learned to read digits"
    assert words.words(experiment)["tour_bias"].startswith("see how 3s become right")
    blank = replace(experiment.teacher, test_logits=np.zeros_like(experiment.teacher.test_logits))
    assert (
        "reads none better"
        in words.words(replace(experiment, runs={**experiment.runs, "teacher": blank}))["teacher_story"]
    )
    vain = replace(experiment, correction=replace(experiment.correction, offsets=(0.0,)))
    assert words.words(vain)["tour_bias"] == "see which digits become right, and which wrong."
    config = replace(experiment.config, teacher_omitted_class=(3,))
    assert words.all_taught(replace(experiment, config=config)) == "0s, 1s, 2s, 4s, 5s, 6s, 7s, 8s and 9s"
