"""The house: what stands where, which way the arrows point, and that a reader can take it in."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path

import pytest

import distillation_mnist_omitted_3 as core
from runs import cluster
from studies.questions import STUDIES

ROOT = Path(__file__).resolve().parents[2]
CORE = "distillation_mnist_omitted_3"
PICTURES, GIF = "visualize_distillation_mnist_omitted_3", "make_distillation_mnist_omitted_3_gif"
EXPLORER = "make_distillation_mnist_omitted_3_explorer"
# what each part may import of the project, beside itself
MAY_IMPORT: dict[str, set[str]] = {
    "support": set(),
    "synthetic": set(),
    CORE: {"support"},  # and, to be started, the command line above it
    "beyond": {"support", "synthetic", CORE},
    "pictures": {"support", "beyond", CORE},
    PICTURES: {"support", "beyond", "pictures", CORE},
    GIF: {"support", "beyond", "pictures", CORE, PICTURES},
    "explorer": {"support", "beyond", "pictures", CORE},
    EXPLORER: {"support", "beyond", "explorer", CORE, PICTURES},
    "runs": {"support", "beyond", CORE},
    "cifar10": {"support", "synthetic", "runs", CORE},
    "seeds": {"support", "runs", "cifar10"},
    "studies": {"support", "synthetic", "runs", "beyond", CORE},
    "benchmarks": {"support", "runs", "beyond", CORE, "cifar10"},
    "docs": {"support", "runs", "beyond", CORE, "cifar10", "seeds", "studies"},
}
FILES = sorted(
    path
    for part in MAY_IMPORT
    for path in ([ROOT / f"{part}.py"] if (ROOT / f"{part}.py").exists() else (ROOT / part).rglob("*.py"))
)


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports_of(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """All imports of a file, but for those by which a script is started."""
    body = ast.parse(path.read_text()).body
    inner = [node for part in body if not is_main(part) for node in ast.walk(part)]
    return [node for node in inner if isinstance(node, (ast.Import, ast.ImportFrom))]


def is_main(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def imported(path: Path) -> set[str]:
    """The first names of all modules that a file imports, wherever in it."""
    found = set()
    for node in imports_of(path):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.partition(".")[0])
    return found


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_arrows_point_down(path):
    part = part_of(path)
    assert imported(path) & set(MAY_IMPORT) <= MAY_IMPORT[part] | {part}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_can_be_taken_in(path):
    source = path.read_text()
    n_lines = source.count("\n")
    assert n_lines <= (700 if part_of(path) == CORE else 400)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            arguments = node.args
            names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
            assert len([n for n in names if n not in ("self", "cls")]) <= 6, node.name


@pytest.mark.parametrize("path", sorted((ROOT / "explorer").glob("*.[jch][st]*")), ids=name_of)
def test_the_page_s_parts_can_be_taken_in(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 400
    if path.suffix == ".js":
        assert max(map(len, lines)) <= 110
        functions = re.findall(r"function \w+\(([^)]*)\)", path.read_text())
        for arguments in functions:
            assert len(re.sub(r"\[.*?\]|\{.*?\}", "", arguments).split(",")) <= 6, arguments


def test_the_core_follows_the_paper():
    lines = (ROOT / f"{CORE}.py").read_text().splitlines()
    bars = [line.split("----")[1] for line in lines if line.startswith("# ----")]
    parts = [bar.split(":")[0].split(",")[0].strip() for bar in bars]
    assert parts == [
        "Equation 1 and the losses", "Settings", "The network", "Adam", "The training loop",
        "Teacher and student", "Bias correction", "Evaluation", "Data", "A whole run",
    ]  # fmt: skip
    assert inspect.getsourcelines(core.log_softmax)[1] <= 60  # equation 1
    assert len(imports_of(ROOT / f"{CORE}.py")) <= 22


def test_workers_of_a_cluster_import_no_picture():
    """What is sent there is the core, what it stands on, and runs/."""
    sent = [path for pattern in cluster.SENT for path in ROOT.glob(pattern)]
    ours = {part_of(path) for path in sent}
    for path in sent:
        if part_of(path) in ("support", "synthetic"):
            continue  # where charts are
        assert "matplotlib" not in imported(path), name_of(path)
        assert imported(path) & set(MAY_IMPORT) <= ours, name_of(path)


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=name_of)
def test_tests_can_be_taken_in_and_stand_in_a_room(path):
    assert path.read_text().count("\n") <= 500
    assert path.parent != ROOT / "tests" or not path.name.startswith("test_")


def test_a_study_is_one_file_and_a_line():
    """Each file with a STUDY is in the list, says its question first, and is imported by no other study."""
    found = {}
    for path in (ROOT / "studies").glob("*.py"):
        if re.search(r"^STUDY = ", path.read_text(), re.M):
            found[path.stem] = path
    assert {name.replace("-", "_") for name in STUDIES} == set(found)
    for name, study in STUDIES.items():
        path = found[name.replace("-", "_")]
        assert study.question == ast.get_docstring(ast.parse(path.read_text()))
        assert study.question.endswith("?")
        modules = {node.module for node in imports_of(path) if isinstance(node, ast.ImportFrom)}
        assert not modules & {f"studies.{other}" for other in found}, path


def test_the_top_level_holds_the_suite_and_nothing_else():
    found = {path.name for path in ROOT.iterdir() if path.suffix in (".py", ".gif", ".md", ".txt")}
    scripts = {f"{name}.py" for name in (CORE, PICTURES, GIF, EXPLORER)}
    required = {f"requirements{what}.txt" for what in ("", "-bench", "-cluster", "-dev")}
    assert found == scripts | required | {"README.md", "distillation_mnist_omitted_3.gif"}


def test_at_run_time_nothing_but_numpy_matplotlib_and_pillow():
    wanted = {line.partition(">")[0] for line in (ROOT / "requirements.txt").read_text().split()}
    assert wanted == {"numpy", "matplotlib", "Pillow"}
    optional = {"distributed", "torch"}  # of a cluster and of the benchmark
    beside = {"plain_numpy", "convolution", "breakdown", "passes"}  # in benchmarks/
    allowed = set(sys.stdlib_module_names) | {"numpy", "matplotlib", "PIL", *beside} | optional
    for path in FILES:
        assert imported(path) <= allowed | set(MAY_IMPORT), name_of(path)
