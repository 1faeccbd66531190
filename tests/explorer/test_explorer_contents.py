"""What the page holds, its words, the page as a file, and the script that writes it."""

from __future__ import annotations

from support import charts
from support.console import UserError, run_script
from support.report import write_json

import dataclasses
import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from explorer_pages import (
    COMMITTED,
    SMALL,
    about_of,
    arrays_of,
    made_page,
    part,
    rounded_network,
    run_js,
    trained_logits,
)

import distillation_mnist_omitted_3 as core
import make_distillation_mnist_omitted_3_explorer as script
from beyond import pipeline
from beyond.settings import RECIPES, Config
from explorer import contents, words
from explorer import page as page_module

# ---- What the page holds -----------------------------------------------------------------------------------


def test_the_page_s_figures_are_those_of_results_json(small, tmp_path):
    page, experiment = small
    about = about_of(page)
    write_json(tmp_path / "results.json", experiment.results())
    found = json.loads((tmp_path / "results.json").read_text())
    correction = found["bias_correction"]
    assert about["correction"]["offsets"] == correction["offsets"]
    assert about["correction"]["best"] == correction["best_on_test_set"]
    measured = {"teacher": found["teacher"], **found["student"]}
    for name, errors in about["results"].items():
        assert errors == {k: measured[name][k] for k in errors}
    assert set(about["results"]) == {"teacher", "before_correction", "after_correction"}
    assert [e["test_accuracy"] for e in about["history"]] == [
        e["test_accuracy"] for e in found["history"]["student"]
    ]
    assert about["test"] == {"n": 2000, "nUnseen": found["data"]["n_test_omitted"]}
    errors = [(z.argmax(axis=1) != experiment.data.test_labels).sum() for z in trained_logits(experiment)]
    assert [network["errors"] for network in about["networks"]] == errors
    assert errors[:2] == [measured["teacher"]["test_errors"], measured["before_correction"]["test_errors"]]


def test_the_page_holds_test_logits_epochs_and_every_test_digit(small):
    page, experiment = small
    arrays, data = arrays_of(page), experiment.data
    assert (arrays["logits"].reshape(-1, 10) == experiment.student_logits).all()
    assert (arrays["labels"] == data.test_labels).all()
    shown = arrays["galleryNumbers"].astype(int)
    assert sorted(shown) == np.flatnonzero(data.test_labels == 3).tolist()
    assert (arrays["gallery"].reshape(-1, 28, 28) == data.test_images[shown]).all()
    p = core.softmax(experiment.student.test_logits[:, shown].reshape(-1, 10)).reshape(6, -1, 10)
    assert (arrays["epochGuesses"].reshape(6, -1) == p.argmax(axis=2)).all()
    assert arrays["epochOwn"].reshape(6, -1) / 255 == pytest.approx(p[:, :, 3], abs=0.5 / 255 + 1e-6)
    assert (np.diff(p[-1, :, 3]) >= 0).all()  # hardest first
    expected = arrays["teacher/expected"].reshape(-1, 10)
    assert (expected == experiment.teacher.test_logits[-1][shown]).all()


def test_every_row_of_training_images_is_of_its_class_and_in_its_order(small):
    """The first ten those with the largest p(3) of all that class, falling; the unseen ones as they come.

    The others are typical: of the 8s near the median.
    """
    page, experiment = small
    data, images = experiment.data, arrays_of(page)["training"].reshape(-1, 28, 28)
    with core.Workers() as workers:
        p3 = core.softmax(core.predict(experiment.teacher.network, data.train_images, workers), 20.0)[:, 3]
    places = {image.tobytes(): i for i, image in enumerate(data.train_images)}
    rows, first = about_of(page)["training"], 0
    assert [row["class"] for row in rows] == [0, 1, 2, 4, 5, 6, 7, 8, 9, 3]
    assert [row["kind"] for row in rows] == ["seen"] * 9 + ["unseen"]
    for row in rows:
        at = [places[image.tobytes()] for image in images[first : first + row["images"]]]
        mine = np.flatnonzero(data.train_labels == row["class"])
        assert set(at) <= set(mine)
        assert len(at) == len(set(at)) == 14
        if row["kind"] == "unseen":
            assert at == mine[:14].tolist()
        else:
            assert p3[at[:10]] == pytest.approx(np.sort(p3[mine])[::-1][:10], rel=1e-6)
        if row["class"] == 8:
            assert np.abs(p3[at[10:]] - np.median(p3[mine])).max() < 0.1 * np.ptp(p3[mine])
        first += row["images"]
    assert first == len(images)


def test_of_a_part_of_the_transfer_set_only_what_the_student_saw_is_shown(small):
    _, experiment = small
    logits = np.random.default_rng(0).standard_normal((len(experiment.data.train_labels), 10))
    few = np.random.default_rng(1).permutation(np.flatnonzero(experiment.data.train_labels != 3))[:50]
    part = dataclasses.replace(
        experiment, lesson=dataclasses.replace(experiment.lesson, indices=np.resize(few, 500))
    )
    for row in contents.telling_images(part, logits):
        assert set(row["images"]) <= set(few) or row["kind"] == "unseen"
    assert len(contents.telling_images(part, logits)) > 5


def test_sliders_reach_from_0_to_6_and_to_every_mark():
    assert contents.offset_range([2.7], None) == [0, 6]
    assert contents.offset_range([0.57], {"offset": -0.14}) == [-1, 6]
    assert contents.offset_range([7.2, 1.0], {"offset": 3.0}) == [0, 8]


def test_of_several_classes_as_many_are_shown_of_each():
    labels = np.repeat(np.arange(10), 200)
    shown = contents.gallery(labels, np.linspace(1, 0, 2000), range(10))
    assert np.bincount(labels[shown]).tolist() == [115] * 10
    assert shown[0] > shown[-1]
    assert len(contents.gallery(np.zeros(5000, int), np.zeros(5000), [0])) == contents.N_GALLERY


# ---- Words -------------------------------------------------------------------------------------------------


def text_of(page: Path) -> str:
    """What a visitor reads in the template."""
    text = page.read_text("utf-8").partition('<script type="application/json"')[0].partition("<body>")[2]
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", text).split()))


def test_words_for_what_was_never_seen():
    assert words.one_of([3]) == "a 3"
    assert words.one_of([8]) == "an 8"
    assert words.one_of([3, 8]) == "a 3 or an 8"
    assert words.one_of([0, 1, 9]) == "a 0, 1 or 9"
    assert words.one_of(range(10)) == "a digit"
    assert [words.every(c) for c in ([3], [3, 5], [0, 1, 9])] == ["3", "3 and 5", "0, 1 and 9"]


OF_THE_FIRST = """
const first = Float32Array.from(page.arrays.gallery.slice(0, 784), (v) => v / 255);
return page.networks.map((network) => Array.from(logitsOf(network, first)));
"""


OTHERS = {  # flags, and what the page says then
    "another class": (("--omitted-class", 8), ["Draw an 8. The student has never seen one."]),
    "eight classes": (
        ("--keep-class", 7, 8), ["Draw a 0, 1, 2, 3, 4, 5, 6 or 9. The student has never seen one."],
    ),
    "no digit": (("--transfer-set", "contours"), ["Draw a digit. The student has never seen one."]),
    "halves": (("--transfer-set", "halves"), ["Draw a digit. The student has never seen a whole one."]),
    "hard labels": (
        ("--hard-weight", 1, "--omitted-class", 4),
        ["The student learned from labels alone, on images",
         "This student heard none of it: it learned from labels"],
    ),
    "spare outputs": (
        ("--spare-outputs", 4, "--background", -0.5),
        ["This student heard other outputs in their place, which mean nothing",
         "4 outputs that mean nothing"],
    ),
    "altered answers": (
        ("--teacher-answers", "class-mean"), ["it heard only the mean over all images of its class"],
    ),
    "a quarter": (("--transfer-fraction", 0.25), ["It saw 25 % of these images, taken at random."]),
    "ten biases": (
        ("--correct", "all", "--omitted-class", 5), ["Draw a 5. The student has never seen one."],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("flags", "sentences"), OTHERS.values(), ids=OTHERS)
def test_other_experiments_say_what_they_are(flags, sentences, small_folder, tmp_path, rounded_at_once):
    data = ("--dataset", "auto", "--data-dir", small_folder)
    page = made_page(tmp_path, *data, *flags)
    text, about = text_of(page), about_of(page)
    for sentence in sentences:
        assert sentence in text
    assert "other data than MNIST" in text
    assert "{{" not in text
    if 3 not in about["omitted"]:
        assert not re.search(r"\ba 3\b|\b3s\b|3-like", text)
    assert len(about["correction"]["offsets"]) == len(about["correction"]["classes"])
    theirs = run_js(page, OF_THE_FIRST)
    for network, logits in zip(about["networks"], theirs, strict=True):
        assert logits == pytest.approx(arrays_of(page)[f"{network['key']}/expected"][:10], abs=0.3)


def test_a_page_of_rendered_digits_says_so_first(small):
    text = text_of(small[0])
    assert text.index("Not MNIST") < text.index("Draw a 3")
    assert "teacher 784-100-10, 4 epochs, student 784-80-60-10, 6 epochs" in text


def test_notices_and_what_differs(small):
    assert words.origin_notice("MNIST") == ""
    assert "MNIST, last 50 held out" in words.origin_notice("MNIST, last 50 held out")
    _, experiment = small
    assert words.what_differs(experiment) == ""
    config = dataclasses.replace(experiment.config, teacher_omitted_class=(3,), hard_weight=0.5)
    other = words.what_differs(dataclasses.replace(experiment, config=config))
    assert other.startswith("This teacher never saw a 3 either. Hard labels have a weight of 0.5")
    wrong = {"mislabelled": (3, 8), "mislabelled_share": 0.3, "label_smoothing": 0.1, "soft_part": "target"}
    config = dataclasses.replace(experiment.config, **wrong)
    other = words.what_differs(dataclasses.replace(experiment, config=config))
    assert other == (
        "This teacher was told that 30 % of the 3s are 8s. This teacher's labels were smoothed, by 0.1. "
        "This student heard no more than the target part of its teacher's answers."
    )


def test_every_choice_of_what_is_seen_and_heard_has_words(small):
    fields = Config.__dataclass_fields__
    assert {"whole", *words.ANSWERS} == set(fields["teacher_answers"].metadata["flag"]["choices"])
    assert set(words.CHOICES) == set(fields["transfer_choice"].metadata["flag"]["choices"])
    _, experiment = small
    ideas = []
    for changed in ({}, {"hard_weight": 1.0}, {"spare_outputs": 4}):
        config = dataclasses.replace(experiment.config, **changed)
        ideas.append(words.source_of_ideas(dataclasses.replace(experiment, config=config)))
    assert ideas == ["hearsay alone", "labels of other digits alone", "outputs that mean nothing"]


# ---- The page as a file ------------------------------------------------------------------------------------


def test_the_page_needs_nothing_but_itself(small):
    """No address but the paper's, no machine path, no script that a name could end."""
    for page in (small[0], COMMITTED):
        text = page.read_text("utf-8")
        assert text.isascii() or "charset" in text[:200]
        assert set(re.findall(r"https?://[^\s\"'<)]+", text)) == {
            "https://arxiv.org/abs/1503.02531", "http://www.w3.org/2000/svg",
        }  # fmt: skip
        assert not re.search(r"<link(?! rel=\"icon\" href=\"data:,\")|@import|<script src|<img", text)
        rest = text.replace(part(text, "arrays"), "")
        assert not re.search(r"/(?:home|root|tmp|work|Users)/", rest)
        assert text.count("</script>") == 4


def test_text_is_readable_in_light_and_dark():
    """WCAG AA: contrasts of 4.5 between every colour of text and every ground it stands on."""
    style = (page_module.HERE / "page.css").read_text()
    themes = re.findall(r"^:root[^{]*\{(.*?)\}", style, re.S | re.M)
    assert len(themes) == 2

    def luminance(colour: str) -> float:
        linear = [(v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4)
                  for v in (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))]  # fmt: skip
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    def contrast(a: str, b: str) -> float:
        high, low = sorted((luminance(a), luminance(b)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for theme in themes:
        colour = dict(re.findall(r"--(\w+): (#\w{6});", theme))
        for ground in ("paper", "panel", "hollow"):
            for ink in ("ink", "soft"):
                assert contrast(colour[ink], colour[ground]) >= 4.5, (ink, ground)
            assert contrast(colour["focus"], colour[ground]) >= 3
            assert contrast(colour["soft"], colour[ground]) >= 3  # borders of what one can press
    # accents colour no text: neither of the sheet's rules sets one as a colour
    assert not re.search(r"(?<![-\w])color: var\(--(accent|omitted|teacher|student|corrected|blind)\)", style)


def test_colours_are_those_of_the_pictures(small):
    text = small[0].read_text("utf-8")
    for name, colour in (("omitted", charts.OMITTED), ("student", charts.BEFORE), ("blind", charts.BLIND)):
        assert f"--{name}: {colour};" in text
    sources = [path.read_text() for path in page_module.HERE.iterdir() if path.suffix in (".js", ".css")]
    assert not any(colour in source for source in sources for colour in page_module.COLOURS.values())


def test_a_page_that_is_too_large_names_the_flags(small, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(page_module, "MAX_BYTES", 100_000)
    arrays = {"a": np.random.default_rng(0).integers(0, 256, 200_000).astype(np.uint8)}
    about = {
        "words": dict.fromkeys(about_of(small[0])["words"], "x"),
        "networks": [{"key": "teacher"}, {"key": "no-digit"}],
    }
    with pytest.raises(
        UserError, match=r"would have 0\.[34] MB, more than 0\.1; .*--teacher-hidden.*--without-no"
    ):
        page_module.checked_page(contents.Contents(about, arrays))
    with pytest.raises(UserError, match=r"--student-hidden$"):
        page_module.checked_page(contents.Contents(about | {"networks": [{"key": "teacher"}]}, arrays))
    monkeypatch.setattr(page_module, "MAX_BYTES", 1_000_000)
    assert "<html" in page_module.checked_page(contents.Contents(about, arrays))


# ---- The committed page ------------------------------------------------------------------------------------


def test_the_committed_page_is_small_enough_and_of_the_recipe_best():
    assert COMMITTED.stat().st_size <= page_module.MAX_BYTES == 9_000_000
    about = about_of(COMMITTED)
    assert [network["name"] for network in about["networks"]] == [
        "Teacher", "Student", "No-digit student", "Labels-only student"
    ]  # fmt: skip
    assert "MNIST, recipe best, temperature 20, seed 0" in text_of(COMMITTED)
    seeds = COMMITTED.parent / "seeds"
    found, blind = (
        json.loads((seeds / name / "0" / "results.json").read_text()) for name in ("best", "no-digit")
    )
    assert about["test"] == {"n": 10_000, "nUnseen": 1010}
    for network in about["networks"]:
        assert network["agreement"]["n_other_class"] <= 2
        assert network["agreement"]["largest_difference"] < 0.02
    # another machine gives a few errors more or less
    assert about["networks"][0]["errors"] == pytest.approx(found["teacher"]["test_errors"], abs=8)
    assert about["networks"][2]["errors"] == pytest.approx(
        blind["student"]["before_correction"]["test_errors"], abs=12
    )


def test_the_committed_page_is_what_its_sources_and_its_contents_give():
    """Whoever changes template, style or script makes the page again."""
    text, about = COMMITTED.read_text("utf-8"), about_of(COMMITTED)
    index, arrays = [tuple(item) for item in about.pop("arrays")], part(text, "arrays")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_module, "packed", lambda _: (index, arrays))
        assert page_module.page_text(contents.Contents(about, {})) == text


def test_the_committed_page_reads_its_1010_test_3s_as_the_trained_networks_do():
    """Same class, probabilities within 0.02: what it holds of each network against what NumPy said.

    And JavaScript says the same as what it holds, of every tenth of them.
    """
    code = """
    const bytes = given.map((i) => page.arrays.gallery.subarray(784 * i, 784 * i + 784));
    const images = bytes.map((image) => Float32Array.from(image, (v) => v / 255));
    return page.networks.map((network) => images.map((image) => Array.from(logitsOf(network, image))));
    """
    arrays, some = arrays_of(COMMITTED), np.arange(0, 1010, 10)
    images, about = arrays["gallery"].reshape(1010, 28, 28), about_of(COMMITTED)
    found = np.array(run_js(COMMITTED, code, some.tolist()))
    assert len(found) == len(about["networks"]) == 4
    for one, theirs in zip(about["networks"], found, strict=True):
        key, network = one["key"], rounded_network(arrays, one)
        with core.Workers() as workers:
            ours = core.predict(network, images, workers)[:, :10]
        assert np.abs(theirs - ours[some]).max() < 1e-3, key
        trained = arrays[f"{key}/expected"].reshape(-1, 10)
        p = core.softmax(trained)
        assert np.abs(core.softmax(ours) - p).max() < 0.02, key
        other = np.flatnonzero(ours.argmax(axis=1) != trained.argmax(axis=1))
        # 3s that a network takes for one digit with a little more, or less, of p than for another
        assert len(other) <= {"no-digit": 1, "labels-only": 2}.get(key, 0)
        assert (np.ptp(np.sort(p[other], axis=1)[:, -2:], axis=1) < 0.02).all()
    shown = arrays["galleryNumbers"].astype(int)
    assert (arrays["logits"].reshape(-1, 10)[shown] == arrays["student/expected"].reshape(-1, 10)).all()


# ---- The script --------------------------------------------------------------------------------------------


def ended(words_given: list[object], capsys) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        run_script(lambda _: script.main([str(word) for word in words_given]))
    shown = capsys.readouterr()
    return end.value.code, shown.out, shown.err


def test_recipe_best_unless_another_is_named(monkeypatch):
    asked = []

    def stop(config, console):
        asked.append(config)
        raise UserError("enough")

    monkeypatch.setattr(pipeline, "run", stop)
    for flags in ([], ["--recipe", "described"], ["--n-epochs-student", "7"]):
        with pytest.raises(UserError, match="enough"):
            script.main(flags)
    best, described, shorter = asked
    assert (best.recipe, best.n_epochs_teacher, best.elastic) == ("best", 60, 1.5)
    assert described == Config()
    assert (shorter.recipe, shorter.n_epochs_student, shorter.n_epochs_teacher) == ("best", 7, 60)


def test_the_no_digit_student_is_that_of_its_recipe_and_of_this_teacher(small_data):
    """The same key as `--recipe no-digit` gives, so that it is never trained twice."""
    best, no_digit = (Config(**{"recipe": recipe, "seed": 4}) for recipe in ("best", "no-digit"))
    beside = script.no_digit_config(best)
    for kind in ("teacher", "student"):
        assert pipeline.determinants(kind, beside, small_data) == pipeline.determinants(
            kind, no_digit, small_data
        )
    odd = Config(**
        {"hard_weight": 0.5, "transfer_fraction": 0.1, "transfer_choice": "most-like", "prior": "em",
         "student_start": "teacher", "student_hidden": (1200, 1200), "temperature": 3.0, "correct": "all"}
    )  # fmt: skip
    mine = script.no_digit_config(odd)
    assert (mine.hard_weight, mine.transfer_fraction, mine.temperature) == (0, 1, 20)
    assert mine.student_hidden == (1200, 1200)
    assert pipeline.determinants("teacher", mine, small_data) == pipeline.determinants(
        "teacher", odd, small_data
    )
    assert script.no_digit_config(no_digit) is None
    assert script.no_digit_config(Config(**{"spare_outputs": 4})) is None


def test_the_no_digit_student_is_shown_where_it_is_stored_or_wanted(
    small_folder, tmp_path, capsys, monkeypatch, rounded_at_once
):
    monkeypatch.setitem(RECIPES["no-digit"], "n_epochs_student", 1)
    small_run = (*SMALL[2:-1], "--data-dir", small_folder)
    small_run += ("--cache-dir", tmp_path / "cache", "--outdir", tmp_path)

    def networks(*flags: object) -> list[str]:
        script.main([str(word) for word in (*small_run, *flags)])
        return [network["key"] for network in about_of(tmp_path / script.PAGE_NAME)["networks"]]

    def trainings() -> tuple[int, int]:
        out = capsys.readouterr().out
        return len(re.findall(r"^student +1/1 ", out, re.M)), out.count("reused")

    assert networks() == ["teacher", "student", "labels-only"]
    assert "--with-no-digit trains it" in capsys.readouterr().out
    assert networks("--with-no-digit") == ["teacher", "student", "no-digit", "labels-only"]
    assert trainings() == (1, 3)
    assert networks() == ["teacher", "student", "no-digit", "labels-only"]
    assert trainings() == (0, 4)
    assert networks("--without-no-digit") == ["teacher", "student", "labels-only"]
    assert networks("--transfer-set", "contours", "--n-epochs-student", 1) == ["teacher", "student"]


def test_where_the_page_goes_and_what_is_said(small_folder, tmp_path, capsys, monkeypatch, rounded_at_once):
    monkeypatch.chdir(tmp_path)
    run = (*SMALL[2:-1], "--data-dir", small_folder, "--cache-dir", "cache", "--outdir", "out")
    script.main([str(word) for word in (*run, "--out", "there/page.html")])
    shown = capsys.readouterr()
    assert shown.err == ""
    assert re.search(r"^wrote there/page.html: 0\.\d MB$", shown.out, re.M)
    assert max(map(len, shown.out.splitlines())) <= 80
    script.main([str(word) for word in run])
    first = (tmp_path / "there" / "page.html").read_bytes()
    assert (tmp_path / "out" / "explorer.html").read_bytes() == first  # the same run, the same page
    assert not list(tmp_path.rglob(".*tmp*"))


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--keep-class", *range(10)), "leave at least one class out"),
        (("--teacher-hidden", 12000, "--dataset", "mnist"), "the page would have"),
        (
            ("--teacher-hidden", 1200, 1200, "--student-hidden", 1600, 1600, "--with-no-digit"),
            "--without-no-digit",
        ),
        (("--out", ""), "the name is empty"),
        (("--fps", 3), "unrecognized arguments: --fps"),
        (("--with-no-digit", "--without-no-digit"), "not allowed with"),
        (("--temperature", 0), "--temperature must be"),
        (("--with-no-digit", "--recipe", "no-digit"), "the student itself sees none; leave the flag out"),
        (("--with-no-digit", "--spare-outputs", 4), "it would hear no class, either; leave the flag out"),
    ],
)
def test_what_the_user_can_mend_is_one_line_before_any_training(flags, line, capsys, monkeypatch):
    monkeypatch.setattr(pipeline, "run", lambda *_: pytest.fail("this should have been refused"))
    status, out, err = ended(list(flags), capsys)
    assert (status, out) == (2, "")
    assert line in err
    assert err.count("\n") == 1


def test_a_page_that_cannot_be_written_is_refused_before_the_trainings(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(pipeline, "run", lambda *_: pytest.fail("this should have been refused"))
    status, _, err = ended(["--out", tmp_path / "file" / "page.html"], capsys)
    assert status == 2
    assert err.startswith("error: cannot write")
