"""How the house is built: who may import whom, what is public, what is installed, and what starting costs."""

import ast
import doctest
import graphlib
import importlib
import importlib.util
import os
import subprocess
import sys
import tomllib
import zipfile
from functools import cache
from pathlib import Path

import pytest

import zoo

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

#: From the ground up: a module imports only from its own floor or from below it.
FLOORS = (
    ("zoo.errors",),
    ("zoo.layers",),
    ("zoo.models",),
    ("zoo",),
    ("zoo.commands", "zoo.__main__"),
    ("cli",),
)

#: Inside zoo: each of a row may import those to its left, never those to its right.
ROWS = (
    ("strict_toml", "card", "registry", "network", "preparation", "finetuning", "evaluation"),
    ("input_form", "card", "sources.path", "registry"),
    ("atomic", "formats.safetensors", "network"),
    ("graph", "tracing", "flattening", "block", "plan", "enforcement", "train", "finetuning"),
    ("flattening", "copying", "surgery", "editing"),
    ("graph", "boundary", "plan"),
    ("graph", "surgery", "preparation"),
    ("formats", "restoring"),
    ("engine", "adaptation", "train"),
    ("engines", "engine", "engine_difference", "engine_trial", "engine_choice"),
    ("folding", "engines", "engine", "engine_memory", "engine_choice"),
    ("processor", "engines", "lock"),
    ("adaptation", "batch_norms"),
    ("editing", "batch_norms"),
    ("linear_layers", "folding"),
    ("copying", "folding"),
    ("stage_network", "epochs", "train"),
    ("data", "objective", "preparation"),
    ("engine", "train", "finetuning", "evaluation"),
    ("recipe_stage", "recipe", "options", "preparation"),
    ("strict_toml", "key_form", "recipe_parts", "recipe_checks", "recipe", "options", "said_recipe"),
    ("momentum_cycle", "optimizer_table", "recipe_stage"),
    ("key_form", "optimizer_table", "recipe_stage", "default_stages", "settings", "recipe"),
    ("recipe_stage", "recipe_schema"),
    ("finetuning", "repetition"),
    ("options", "depth_search", "depth_recipe", "depth_plan", "finding_depth"),
    ("execution", "trial", "finding_depth"),
    ("depth_recipe", "depth_table", "finding_depth"),
    ("depth_table", "resuming"),
    ("recipe_stage", "schedule_option", "options"),
    ("momentum_cycle", "schedule_option"),
    ("stopping", "stage_checks", "preparation"),
    ("plan", "stage_lines", "preparation"),
    ("recipe", "run", "finetuning"),
    ("seeds", "epochs", "train"),
    ("surgery", "layer_pattern", "starting_point", "train"),
    ("starting_point", "origins", "stage_lines", "preparation"),
    ("layer_pattern", "norm_limits"),
    ("stage_network", "weight_averaging", "train"),
    ("verdict", "remedy", "inspection"),
    ("verdict", "inspection_result", "inspection_charts", "inspection_folder"),
    ("probing", "gradients", "inspection"),
    ("subject", "inspection"),
    ("by_output", "own_loss", "measured_loss", "inspection"),
    ("output_form", "measured_loss"),
    ("probing", "measured_copy", "inspection"),
    ("given_arrays", "inspection"),
    ("given_arrays", "unit_variance"),
    ("given_arrays", "batch_norms"),
    ("atomic", "feature_shard", "feature_folder", "feature_cache"),
    ("features", "feature_folder", "extraction"),
    ("engine_trial", "engine_choice", "extraction"),
    ("file_lock", "feature_folder"),
    ("extraction_batches", "extraction"),
    ("read_ahead", "extraction"),
    ("trunk_options", "recipe", "commands.finetune"),
    ("boundary", "caching", "train"),
    ("views", "side", "trunk_rows", "train"),
    ("engine_choice", "trunk_route", "filling", "feature_store", "train", "finetuning"),
    ("feature_store", "extracted"),
    ("trunk_lines", "preparation"),
    ("checkpoint", "checkpoints", "stage_state", "epochs", "train", "execution", "finetuning", "resuming"),
    ("checkpoint_pace", "interruption", "checkpoints", "execution"),
    ("callback_state", "stage_state"),
    ("stage_result", "checkpoints", "train", "run_files", "execution"),
    ("environment", "lock", "run_files", "execution"),
    ("environment", "comparability", "verification", "verifying"),
    ("step_losses", "verification", "prerequisites", "verifying"),
    ("run_files", "unchanged", "prerequisites", "verifying"),
    ("unchanged", "resuming"),
    ("lock_file", "run_diff"),
)

#: What everything stands on: these import nothing of zoo but its errors.
GROUND = ("strict_toml", "input_form", "atomic", "seeds", "text_table", "progress", "sources", "formats", "recipes")

#: The only files that may name TensorFlow; the others speak Keras and NumPy.
TENSORFLOW = {
    "zoo.compiled_steps",
    "zoo.engines.constants",
    "zoo.engines.gpu",
    "zoo.engines.onednn_bfloat16",
    "zoo.engines.tensorflow",
    "zoo.device",
    "zoo.framework_state",
    "zoo.gradients",
    "zoo.formats.tf_checkpoint",
    "zoo.formats.savedmodel",
    "zoo.sources.tfhub",
    "zoo.export",
}


@cache
def modules() -> dict[str, Path]:
    """Every module of the project by its name, and its file."""
    found = {"cli": ROOT / "cli.py"}
    for folder, package in (("zoo", "zoo"), ("layers", "zoo.layers"), ("models", "zoo.models")):
        for file in sorted((ROOT / folder).rglob("*.py")):
            parts = file.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            found[name] = file
    return found


def names_in(name: str, file: Path, known: dict[str, Path]) -> set[str]:
    """The absolute names of everything that a module imports, inside functions too, but not for type checking alone."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = (
                importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                if node.level
                else node.module
            )
            whole = [f"{base}.{alias.name}" for alias in node.names]
            found |= {n if n in known else str(base) for n in whole}
    return found


@cache
def imports() -> dict[str, set[str]]:
    """Which modules of the project each imports."""
    known = modules()
    return {name: {n for n in names_in(name, file, known) if n in known} for name, file in known.items()}


def floor_of(name: str) -> int:
    """The floor whose longest prefix fits."""
    fits = [(len(p), i) for i, floor in enumerate(FLOORS) for p in floor if name == p or name.startswith(f"{p}.")]
    return max(fits)[1]


def test_no_import_points_up():
    for name, used in imports().items():
        for other in used - {"zoo"}:
            assert floor_of(other) <= floor_of(name), f"{name} imports {other}, which is above it"


def test_only_commands_import_the_package_itself():
    """``import zoo`` inside zoo would find names that are not there yet."""
    users = {name for name, used in imports().items() if "zoo" in used}
    assert users <= {"zoo.commands"}, "they use __version__ only"


def test_no_imports_go_in_a_circle():
    graph = {name: used - {name, "zoo"} for name, used in imports().items() if name != "zoo"}
    # A package's __init__ imports its own modules, which may import one another, never the __init__.
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " <- ".join(row))
def test_inside_zoo_imports_point_one_way(row):
    graph = imports()
    for i, name in enumerate(row):
        assert f"zoo.{name}" in graph, f"there is no module {name} any more: mend the row"
        for right in row[i + 1 :]:
            assert f"zoo.{right}" not in graph[f"zoo.{name}"]
            assert not any(n.startswith(f"zoo.{right}.") for n in graph[f"zoo.{name}"])


def test_the_ground_imports_nothing_of_zoo_but_its_errors():
    graph = imports()
    assert graph["zoo.errors"] == set()
    for name in GROUND:
        assert graph[f"zoo.{name}"] <= {"zoo.errors"}, name


def test_tensorflow_is_imported_in_named_places_only():
    known = modules()
    users = {
        name
        for name, file in known.items()
        if any(n.split(".")[0] in ("tensorflow", "tf") for n in names_in(name, file, known))
    }
    assert users <= TENSORFLOW


def test_no_file_is_a_bag_of_things():
    for name in modules():
        assert name.split(".")[-1] not in ("utils", "util", "helpers", "common", "misc", "manager"), name


def test_no_public_name_is_a_modules():
    """Importing ``zoo.x`` replaces the attribute ``x`` of the package."""
    inside = {name.split(".")[1] for name in modules() if name.count(".") >= 1}
    assert inside.isdisjoint(zoo.__all__)


def test_public_names_are_what_resolves():
    assert zoo.__all__ == sorted(zoo.__all__)
    assert set(zoo.__all__) == set(zoo._HOME)
    for name in zoo.__all__:
        home = importlib.import_module(f"zoo.{zoo._HOME[name]}")
        assert getattr(zoo, name) is getattr(home, name)
        assert getattr(zoo, name).__module__.startswith("zoo."), name
        assert getattr(zoo, name).__doc__, name
    assert set(zoo.__all__) <= set(dir(zoo))


def test_what_type_checkers_see_is_what_resolves():
    tree = ast.parse((ROOT / "zoo" / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == zoo._HOME


def test_other_names_do_not_resolve():
    with pytest.raises(AttributeError, match="module 'zoo' has no attribute 'finetunee'"):
        _ = zoo.finetunee


def test_public_names_keep_their_meaning_after_every_module_was_imported():
    for name in modules():
        if name not in ("cli", "zoo.__main__"):
            importlib.import_module(name)
    for name in zoo.__all__:
        assert not isinstance(getattr(zoo, name), type(ast)), name


def test_the_version_is_the_distributions():
    assert zoo.__version__ == PYPROJECT["project"]["version"]


def test_every_package_is_installed():
    packages = {name for name, file in modules().items() if file.name == "__init__.py"}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == packages
    for name, file in modules().items():
        assert name == "cli" or (file.parent / "__init__.py").exists(), f"{file} is in no package"


LIGHT = """
import sys
sys.argv = ["zoo", *sys.argv[1:]]
{start}
loaded = {{"tensorflow", "keras", "numpy", "matplotlib", "PIL", "h5py", "safetensors"}} & set(sys.modules)
assert not loaded, loaded
"""
COMMAND = """
import zoo.commands
try:
    zoo.commands.main()
except SystemExit as done:
    assert done.code == 0, done.code
"""


@pytest.mark.parametrize(
    "arguments",
    [
        None,
        ("--help",),
        ("list",),
        ("list", "--json"),
        ("info", "dnn"),
        ("info", "RUN"),
        ("finetune", "--help"),
        ("run", "--help"),
        ("recipe", "list"),
        ("recipe", "show", "glyphs"),
        ("recipe", "schema"),
        ("resume", "--help"),
        ("verify", "--help"),
        ("diff", "RUN", "RUN"),
        ("inspect", "--help"),
        ("cache", "--help"),
        ("info", "glyphs"),
    ],
    ids=lambda arguments: " ".join(arguments or ("import zoo",)),
)
def test_starting_loads_no_framework(arguments, tiny_run):
    start = "import zoo" if arguments is None else COMMAND
    given = [str(tiny_run.folder) if a == "RUN" else a for a in arguments or ()]
    done = subprocess.run(
        [sys.executable, "-c", LIGHT.format(start=start), *given], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_list_starts_with_the_standard_library_that_it_needs():
    """Each of these costs as much as all of zoo."""
    heavy = {"zipfile", "shutil", "json", "csv", "fnmatch", "difflib", "logging", "hashlib", "subprocess", "asyncio"}
    code = "import sys, click; old = set(sys.modules); import zoo.commands.list; print(*(set(sys.modules) - old))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert heavy.isdisjoint(done.stdout.split())


def test_pytest_and_the_command_run_from_the_root():
    for arguments in (("cli.py", "list"), ("-m", "pytest", "--version")):
        done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def public_docstrings() -> list[doctest.DocTest]:
    found = []
    for name in modules():
        if name not in ("cli", "zoo.__main__"):
            tests = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
            found.extend(test for test in tests if test.examples)
    return found


def pytest_generate_tests(metafunc):
    if "example" in metafunc.fixturenames:
        found = public_docstrings()
        metafunc.parametrize("example", found, ids=[test.name for test in found])


def test_the_example_of_a_docstring_is_true(example, tmp_path, monkeypatch, doctest_namespace):
    monkeypatch.chdir(tmp_path)
    example.globs.update(doctest_namespace)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(example, out=said.append, clear_globs=False)
    assert runner.failures == 0, "".join(said)


def test_there_are_examples():
    assert {"zoo.errors.ZooError", "zoo.network.load", "zoo.seeds.derive"} <= {
        test.name for test in public_docstrings()
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of what git knows, so that nothing is left in the checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file() and name.split("/")[0] not in ("tests", "docs", "benchmarks"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        str(source),
        "-w",
        str(out),
        "--no-deps",
        "--no-build-isolation",
        "-q",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    )
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_holds_zoo_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"transfer_zoo-{zoo.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"zoo", info}
    for name, file in modules().items():
        if name != "cli":
            inside = name.replace(".", "/") + ("/__init__.py" if file.name == "__init__.py" else ".py")
            assert inside in names, inside
    for folder, inside in (
        ("zoo/recipes", "zoo/recipes"),
        ("models/shelf", "zoo/models/shelf"),
        ("zoo/data/builtin", "zoo/data/builtin"),
    ):
        for file in (ROOT / folder).iterdir():
            if file.is_file() and file.suffix != ".pyc":
                assert f"{inside}/{file.name}" in names
    assert {"zoo/py.typed", "zoo/data/builtin/digits.npz"} <= names
    assert any(name.startswith(f"{info}/licenses/") and name.endswith("LICENSE") for name in names)
    assert any(name.startswith(f"{info}/licenses/") and name.endswith("NOTICE") for name in names)
