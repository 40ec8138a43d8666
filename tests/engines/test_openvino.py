"""OpenVINO: an extra that tells nobody of its use, and what it does not take."""

import os
import subprocess
import sys
from typing import Any

import keras
import pytest

from zoo import engine
from zoo.engines import openvino
from zoo.engines.interface import Setup
from zoo.errors import DeviceError

from ..networks import images, small_convnet

pytestmark = pytest.mark.skipif(not openvino.is_installed(), reason="the extra [openvino] is not installed")
SETUP = Setup(batch=16, threads=2)

QUIETLY = """
import sys
from tests.networks import images, small_convnet
from zoo import engine
from zoo.engines.interface import Setup
trunk = small_convnet()
assert engine.refusals(trunk, Setup())["openvino"] is None
assert "openvino" not in sys.modules, "it is imported when it is used"
engine.build(trunk, "openvino", Setup(batch=16, threads=2)).run(images(16))
assert not [name for name in sys.modules if name.startswith("openvino_telemetry")]
"""


def test_its_telemetry_is_never_loaded(tmp_path: Any):
    """It would report every import and conversion to its makers, and keep count in the user's home."""
    environment = {**os.environ, "HOME": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", QUIETLY], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "intel").exists()


def test_it_says_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(openvino, "is_installed", lambda: False)
    with pytest.raises(DeviceError, match=r'it is not installed: pip install "transfer-zoo\[openvino\]"'):
        engine.build(small_convnet(), "openvino", SETUP)


def test_it_runs_on_the_processor_alone():
    reason = engine.refusals(small_convnet(), Setup(device="gpu:0"))["openvino"]
    assert reason == "it runs on the processor, and the device is gpu:0"


def test_it_takes_fixed_shapes_alone():
    inputs = keras.Input((None, 3))
    trunk = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(inputs))
    assert "has no fixed shape: (None, None, 3)" in str(engine.refusals(trunk, SETUP)["openvino"])


def test_an_operation_that_it_does_not_know_is_named():
    inputs = keras.Input((4,))
    odd = keras.layers.Lambda(lambda x: keras.ops.erfinv(x), output_shape=(4,))(inputs)
    with pytest.raises(DeviceError, match=r"The engine 'openvino' cannot run .*: it does not know Erfinv"):
        engine.build(keras.Model(inputs, odd), "openvino", SETUP)


def test_its_results_do_not_change_when_it_runs_again():
    """What is handed out is no view of memory that the next batch overwrites."""
    ready = engine.build(small_convnet(), "openvino", SETUP)
    first = ready.run(images(16))[0]
    before = first.copy()
    ready.run(images(16, seed=1))
    assert (first == before).all()
