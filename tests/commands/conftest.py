"""Running the command line in this process."""

import pytest
from click.testing import CliRunner, Result

from zoo.commands import zoo

#: Flags of a run that is over in a moment.
FAST = ("--limit-per-class", 3, "--head-epochs", 1, "--epochs", 1)


@pytest.fixture
def call():
    """Calls ``zoo`` with arguments; gives exit code, standard output and standard error."""

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(zoo, [str(a) for a in arguments], prog_name="zoo")

    return call


@pytest.fixture
def tiny(tiny_run) -> str:
    """The folder of the small run."""
    return str(tiny_run.folder)


@pytest.fixture
def early(monkeypatch):
    """No training and no loading: whoever gets that far has gone too far."""

    def too_far(*_, **__):
        pytest.fail("this should have been refused before")

    monkeypatch.setattr("zoo.finetuning.prepared", too_far)
    monkeypatch.setattr("zoo.preparation.prepared", too_far)
