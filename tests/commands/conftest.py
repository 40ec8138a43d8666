"""Running the command line in this process."""

import pytest
from click.testing import CliRunner, Result

from zoo.commands import zoo


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
