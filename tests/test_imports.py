"""Who may import whom, read from the sources (DESIGN: leaves <- second layer <- entry scripts)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GROUND = ("musicgen_train.errors", "musicgen_train.whole_files")  # what everything may stand on
LEAVES = ("codec", "lm", "conditioning", "data")
PACKAGE = sorted((ROOT / "musicgen_train").rglob("*.py"))
MAY_USE_LIGHTNING = ("training", "data/datamodule.py")


def imported_modules(path):
    """Dotted names of everything a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def relative(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaves_import_only_themselves_and_libraries(leaf):
    allowed = (f"musicgen_train.{leaf}", *GROUND)
    for path in (ROOT / "musicgen_train" / leaf).rglob("*.py"):
        for module in imported_modules(path):
            if module.split(".")[0] in ("musicgen_train", "data_prep", "recipes", "train"):
                assert module.startswith(allowed), f"{relative(path)} imports {module}"


@pytest.mark.parametrize("module", GROUND)
def test_what_everything_stands_on_stands_on_nothing_else(module):
    path = ROOT / f"{module.replace('.', '/')}.py"
    ours = {name for name in imported_modules(path) if name.startswith("musicgen_train")}
    assert ours <= set(GROUND)


def test_the_package_imports_no_entry_script():
    entries = {"train", "evaluate", "data_prep", "recipes", "benchmarks", "tests"}
    for path in PACKAGE:
        roots = {module.split(".")[0] for module in imported_modules(path)}
        assert not roots & entries, f"{relative(path)} imports {roots & entries}"


def test_only_training_and_the_datamodule_import_lightning():
    for path in PACKAGE:
        inner = path.relative_to(ROOT / "musicgen_train").as_posix()
        if not inner.startswith(MAY_USE_LIGHTNING):
            roots = {module.split(".")[0] for module in imported_modules(path)}
            assert not roots & {"lightning", "pytorch_lightning"}, inner


def test_only_entry_scripts_import_hydra():
    for path in PACKAGE:
        roots = {module.split(".")[0] for module in imported_modules(path)}
        assert not roots & {"hydra", "omegaconf"}, relative(path)


def test_the_leaves_exist_so_that_the_rules_above_see_something():
    for leaf in LEAVES:
        assert len(list((ROOT / "musicgen_train" / leaf).glob("*.py"))) > 1


@pytest.mark.parametrize(
    "module",
    [
        "musicgen_train",
        "musicgen_train.generate",
        "musicgen_train.export",
        "musicgen_train.compress",
        "musicgen_train.evaluation.listening_test.__main__",
        "musicgen_train.app.__main__",
        "benchmarks.__main__",
    ],
)
def test_importing_the_package_loads_no_heavy_library(module):
    heavy = "{'torch', 'lightning', 'transformers', 'scipy', 'matplotlib', 'hydra', 'gradio'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"
