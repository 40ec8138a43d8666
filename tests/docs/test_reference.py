"""The reference holds every public name."""

import re

import pytest

import zoo
import zoo.data
import zoo.errors
from tests.docs.pages import DOCS, exists

REFERENCE = (DOCS / "api.md").read_text(encoding="utf-8")
LISTED = re.findall(r"^\.\. auto\w+:: (\S+)$", REFERENCE, re.M)


@pytest.mark.parametrize("name", zoo.__all__)
def test_every_public_name_is_in_the_reference(name):
    in_a_module = {"zoo.data": zoo.data.__all__, "zoo.errors": vars(zoo.errors)}
    assert f"zoo.{name}" in LISTED or any(m in LISTED and name in names for m, names in in_a_module.items())


@pytest.mark.parametrize("name", LISTED)
def test_the_reference_lists_only_what_exists(name):
    assert exists(name)
