"""The examples in the docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import zoo.data

MODULES = sorted(f"zoo.data.{module.name}" for module in pkgutil.iter_modules(zoo.data.__path__) if not module.ispkg)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
