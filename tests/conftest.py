"""What every test has: a home of its own, and one small network that was really trained."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

#: A test's first example builds its network, and machines are shared: the clock says nothing about a property.
settings.register_profile("zoo", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("zoo")


@pytest.fixture(scope="session", autouse=True)
def _zoo_home(tmp_path_factory: pytest.TempPathFactory):
    """The user's shelf and caches, far from those of whoever runs the tests."""
    before = os.environ.get("ZOO_HOME")
    os.environ["ZOO_HOME"] = str(tmp_path_factory.mktemp("zoo-home"))
    yield
    if before is None:
        del os.environ["ZOO_HOME"]
    else:
        os.environ["ZOO_HOME"] = before


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ``ZOO_HOME`` for one test."""
    folder = tmp_path / "home"
    monkeypatch.setenv("ZOO_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory):
    """A small network trained on digits for a moment; its run folder is not to be changed."""
    import zoo
    from zoo.progress import Progress

    return zoo.finetune(
        "convnet",
        "digits",
        out=tmp_path_factory.mktemp("runs") / "tiny",
        from_scratch=True,
        limit_per_class=5,
        test="rest",
        epochs=2,
        progress=Progress(quiet=True),
    )


@pytest.fixture(autouse=True)
def _tmp_in_doctests(doctest_namespace: dict[str, object], tmp_path: Path) -> None:
    """``tmp``, a fresh folder, in every docstring's example."""
    doctest_namespace["tmp"] = tmp_path
