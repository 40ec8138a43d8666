"""What some tests need of the processor that they run on."""

import pytest

from zoo.engines.bfloat16 import no_bfloat16
from zoo.engines.interface import Setup

#: For tests that compute in bfloat16: without the processor's own, engines refuse it.
needs_bfloat16 = pytest.mark.skipif(
    no_bfloat16(Setup("bfloat16")) is not None, reason="this processor does not multiply numbers of bfloat16"
)
