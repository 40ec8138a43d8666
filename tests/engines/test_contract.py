"""What every engine does: the same results as Keras's, whatever stands beside an example, and their settings."""

import json
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
import pytest

from zoo import engine
from zoo.engines import openvino
from zoo.engines.interface import Setup, choice_table, computes_in
from zoo.errors import DeviceError
from zoo.precision import in_precision

from ..networks import NETWORKS, gap, images, live, small_convnet
from ..processors import needs_bfloat16

layers = keras.layers
SETUP = Setup(batch=16, threads=2)
#: Loops are more than OpenVINO takes from TensorFlow, and than TensorFlow rewrites to bfloat16.
LOOPS = ("masked", "forking")


def made(trunk: keras.Model, name: str, setup: Setup = SETUP) -> Any:
    """An engine, or the test is skipped where OpenVINO is not installed."""
    if name == "openvino" and not openvino.is_installed():
        pytest.skip("the extra [openvino] is not installed")
    return engine.build(trunk, name, setup)


@pytest.mark.parametrize("name", engine.ENGINES)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_engine_gives_what_keras_gives(name: str, network: str):
    make, data = NETWORKS[network]
    trunk, x = make(), data()
    if name == "openvino" and network in LOOPS:
        with pytest.raises(DeviceError, match="it has a loop, as of a recurrent layer"):
            made(trunk, name)
        return
    ours = made(trunk, name).run(x)
    assert gap(np.asarray(trunk(x, training=False)), ours[0]) < 1e-5


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=needs_bfloat16)])
@pytest.mark.parametrize("name", engine.ENGINES)
def test_an_examples_bits_do_not_depend_on_its_place_or_its_neighbours(name: str, precision: str):
    """Features of a batch that was filled up must be those of a full one."""
    x = images(16, (9, 9, 1))
    trunk = live(
        keras.Sequential(
            [
                keras.Input((9, 9, 1)),
                layers.Conv2D(13, 3, padding="same"),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.DepthwiseConv2D(3),
                layers.Flatten(),
                layers.Dense(101, activation="elu"),
            ]
        ),
        x,
    )
    ready = made(trunk, name, Setup(precision, 16, 2))
    together = ready.run(x)[0]
    order = np.random.default_rng(0).permutation(16)
    np.testing.assert_array_equal(ready.run(x[order])[0], together[order])
    np.testing.assert_array_equal(ready.run(x[np.minimum(np.arange(16), 4)])[0][:5], together[:5])


@pytest.mark.parametrize("name", engine.ENGINES)
def test_inputs_and_outputs_keep_their_order(name: str):
    """Several tensors cross: an input itself, a copy of it, one tensor twice, one that others are made of, a mask."""
    a, b, unused = keras.Input((4,)), keras.Input((4,)), keras.Input((2,))
    low = layers.Dense(4, activation="tanh")(b)
    high = layers.Dense(3)(layers.Concatenate()([a, low]))
    outputs = [high, b, low, keras.ops.copy(a), low, keras.ops.greater(high, 0.0), a * 2]
    trunk = keras.Model([a, unused, b], outputs)
    x = [images(16, (4,), 1) / 255, images(16, (2,)), images(16, (4,), 2) / 255]
    ours = made(trunk, name).run(x)
    for one, other in zip(trunk(x), ours, strict=True):
        assert np.asarray(one).dtype == other.dtype
        np.testing.assert_allclose(np.asarray(one), other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", engine.ENGINES)
def test_inputs_by_name_are_taken_in_the_networks_order(name: str):
    a, b = keras.Input((3,), name="zebra"), keras.Input((2,), name="ant")
    trunk = keras.Model({"zebra": a, "ant": b}, layers.Dense(4)(layers.Concatenate()([a, b])))
    x = {"zebra": images(16, (3,)) / 255, "ant": images(16, (2,)) / 255}
    np.testing.assert_allclose(made(trunk, name).run(x)[0], np.asarray(trunk(x)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("inputs", [lambda a: [a], lambda a: {"a": a}, lambda a: a], ids=["list", "names", "itself"])
@pytest.mark.parametrize("name", engine.ENGINES)
def test_a_single_array_is_taken_by_a_network_of_any_structure(name: str, inputs: Any):
    """Keras warns of another structure than its own, and warnings are errors here."""
    a = keras.Input((3,), name="a")
    trunk = keras.Model(inputs(a), layers.Dense(4)(a))
    x = images(16, (3,)) / 255
    expected = np.asarray(trunk(inputs(x)))
    for given in (x, [x], {"a": x}):
        np.testing.assert_allclose(made(trunk, name).run(given)[0], expected, rtol=1e-5, atol=1e-6)
    rows = engine.outputs(trunk, engine.rows_of([x]), 16)[0]
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", engine.ENGINES)
def test_images_may_come_as_bytes_and_numbers_without_their_last_axis(name: str):
    trunk = small_convnet()
    x = images(16).astype("uint8")
    np.testing.assert_allclose(made(trunk, name).run(x)[0], np.asarray(trunk(x.astype("float32"))), atol=1e-5)
    inputs = keras.Input((1,))
    single = keras.Model(inputs, layers.Dense(2)(inputs))
    column = images(16, (1,))
    np.testing.assert_allclose(made(single, name).run(column[:, 0])[0], np.asarray(single(column)), rtol=1e-5)


@pytest.mark.parametrize("name", ["tensorflow", "openvino"])
def test_a_batch_of_another_size_is_refused(name: str):
    with pytest.raises(ValueError, match=r"1 arrays of exactly 16 examples; received 1 arrays of \[15\] examples"):
        made(small_convnet(), name).run(images(15))


@needs_bfloat16
@pytest.mark.parametrize("name", engine.ENGINES)
def test_bfloat16_is_near_and_says_so(name: str):
    trunk, x = small_convnet(output="linear"), images(16)
    ready = made(trunk, name, Setup("bfloat16", 16, 2))
    ours = ready.run(x)[0]
    assert ours.dtype == np.float32
    assert 1e-4 < gap(np.asarray(trunk(x)), ours) < 0.2
    assert ready.settings["precision"] == "bfloat16"


@pytest.mark.parametrize("name", engine.ENGINES)
def test_a_processor_without_bfloat16_refuses_it(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("zoo.engines.bfloat16.processor_features", lambda: ["avx2", "fma"])
    with pytest.raises(DeviceError) as error:
        made(small_convnet(), name, Setup("bfloat16", 16, 2))
    assert "the processor has no bfloat16: it has avx2, fma, and neither avx512_bf16 nor amx_bf16." in str(error.value)
    assert "Use float32" in str(error.value)


def test_a_gpu_has_bfloat16_from_ampere_on(monkeypatch: pytest.MonkeyPatch):
    for capability, able in (((7, 5), False), ((8, 0), True), (None, True)):
        monkeypatch.setattr("zoo.engines.bfloat16.capability", lambda device, found=capability: found)
        reason = engine.refusals(small_convnet(), Setup("bfloat16", 16, 2, "gpu:0"))["tensorflow"]
        assert reason is None if able else "compute capability is 7.5, not 8.0 or more" in str(reason)


@pytest.mark.parametrize("name", engine.ENGINES)
def test_settings_say_what_the_bits_depend_on(name: str):
    trunk = small_convnet()
    found = made(trunk, name).settings
    assert found["engine"] == name
    assert (found["precision"], found["batch"], found["threads"], found["device"]) == ("float32", 16, 2, "cpu:0")
    assert found["versions"]["keras"] == keras.__version__
    assert name in found["versions"]
    assert json.loads(json.dumps(found)) == found
    assert found["computes"] == "float32"
    if name != "keras":
        assert found["folded"] == 6
    assert made(trunk, name, Setup(batch=8, threads=2)).settings != found


@pytest.mark.parametrize("name", engine.ENGINES)
def test_a_trunk_of_a_network_in_mixed_precision_says_so(name: str):
    """Training in mixed precision cuts its trunk from the network that computes so."""
    trunk, x = in_precision(small_convnet(output="linear"), "mixed_bfloat16", inner=True), images(16)
    assert computes_in(trunk, SETUP) == "mixed_bfloat16"
    assert computes_in(trunk, Setup("bfloat16")) == "bfloat16"
    if name == "openvino":
        with pytest.raises(DeviceError, match="its layers compute under the policy mixed_bfloat16, which OpenVINO"):
            made(trunk, name)
        return
    ready = made(trunk, name)
    assert (ready.settings["precision"], ready.settings["computes"]) == ("float32", "mixed_bfloat16")
    assert gap(np.asarray(trunk(x)).astype("float32"), ready.run(x)[0]) < 0.1


@needs_bfloat16
@pytest.mark.parametrize("name", engine.ENGINES)
def test_the_choice_of_an_engine_is_known_before_it_is_built(name: str):
    """What a lock holds of it: enough to make the same setup again, and the versions of its packages."""
    setup = Setup("bfloat16", 16, 2)
    trunk = small_convnet(output="linear")
    found = choice_table(engine.kind_of(name), setup, trunk)
    assert found["engine"] == name
    assert Setup(**{field: found[field] for field in ("precision", "batch", "threads", "device")}) == setup
    assert found["computes"] == "bfloat16"
    assert set(found["versions"]) == set(engine.kind_of(name).packages)
    assert ("xla" in found) == (name == "tensorflow")
    assert not {"backend", "processor", "gpu", "flags"} & set(found)
    built = made(trunk, name, setup).settings
    assert {key: built[key] for key in found} == found


@pytest.mark.parametrize("name", engine.ENGINES)
def test_the_engine_is_a_copy_of_the_trunk_as_it_was(name: str):
    """But Keras's, which is the trunk itself; a frozen trunk does not move."""
    trunk, x = small_convnet(), images(16)
    ready = made(trunk, name)
    before = ready.run(x)[0]
    held = [v.numpy() for v in trunk.variables]
    for variable, value in zip(trunk.variables, held, strict=True):
        variable.assign(value * 0)
    assert (name == "keras") == (not np.array_equal(ready.run(x)[0], before))


@pytest.mark.parametrize("name", engine.ENGINES)
def test_running_moves_nothing(name: str):
    inputs = keras.Input((8, 8, 1))
    x = layers.RandomFlip(seed=1)(inputs)
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(x))
    trunk = live(keras.Model(inputs, layers.Dropout(0.5)(x)))
    before = [v.numpy().tobytes() for v in trunk.variables]
    made(trunk, name).run(images(16))
    assert [v.numpy().tobytes() for v in trunk.variables] == before


@pytest.mark.parametrize("name", engine.ENGINES)
def test_a_batch_that_is_known_is_not_computed_again(name: str, monkeypatch: pytest.MonkeyPatch):
    ready = made(small_convnet(), name)
    known = [np.ones((16, 10), "float32")]
    ready.expect(images(16), known)
    assert ready.run(images(16)) is known
    assert ready.run(images(16)) is not known, "it is told once"
    ready.expect(images(16), known)
    assert ready.run(images(16, seed=1)) is not known
    assert ready.run(images(16)) is not known, "it was not the next one"


def test_a_batch_with_more_inputs_is_not_the_one_that_is_known():
    a, b = keras.Input((3,)), keras.Input((2,))
    ready = engine.build(keras.Model([a, b], layers.Concatenate()([a, b])), "keras", SETUP)
    x = [images(16, (3,)), images(16, (2,))]
    known = [np.ones((16, 5), "float32")]
    ready.expect(x[:1], known)
    assert ready.run(x) is not known


@pytest.mark.parametrize("gpu", [False, True])
def test_a_stream_gives_every_batch_in_order(gpu: bool, monkeypatch: pytest.MonkeyPatch):
    """On a GPU the next batch is started before the last one is waited for."""
    monkeypatch.setattr(keras, "device", lambda name: nullcontext())
    trunk = small_convnet()
    ready = engine.build(trunk, "keras", Setup(batch=16, device="gpu:0" if gpu else "cpu:0"))
    events: list[str] = []
    start = ready.start

    def noting(inputs: Any) -> Any:
        events.append("start")
        wait = start(inputs)
        return lambda: (events.append("wait"), wait())[1]

    monkeypatch.setattr(ready, "start", noting)
    batches = [images(16, seed=i) for i in range(3)]
    results = list(ready.stream(enumerate(batches)))
    for i, (x, (number, result)) in enumerate(zip(batches, results, strict=True)):
        assert number == i
        np.testing.assert_allclose(result[0], np.asarray(trunk(x)), atol=1e-5)
    alternating = ["start", "wait"] * 3
    assert events == (["start", "start", "wait", "start", "wait", "wait"] if gpu else alternating)


@pytest.mark.parametrize("count", [0, 1])
def test_a_stream_of_few_batches_gives_them_all(count: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keras, "device", lambda name: nullcontext())
    ready = engine.build(small_convnet(), "keras", Setup(batch=16, device="gpu:0"))
    assert [number for number, _ in ready.stream((i, images(16)) for i in range(count))] == list(range(count))


def test_unknown_engines_are_named():
    with pytest.raises(DeviceError, match=r"'openvio' is not an engine. Did you mean 'openvino'?"):
        engine.build(small_convnet(), "openvio", SETUP)


def test_running_out_of_memory_is_explained(monkeypatch: pytest.MonkeyPatch):
    ready = engine.build(small_convnet(), "keras", SETUP)

    def failing(inputs: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(ready, "_start", failing)
    for run in (lambda: ready.run(images(16)), lambda: list(ready.stream([(0, images(16))]))):
        with pytest.raises(DeviceError, match=r"Memory ran out with batches of 16. Free memory"):
            run()


def test_running_out_of_memory_while_waiting_is_explained(monkeypatch: pytest.MonkeyPatch):
    ready = engine.build(small_convnet(), "keras", SETUP)

    def failing() -> Any:
        raise MemoryError

    monkeypatch.setattr(ready, "_start", lambda inputs: failing)
    with pytest.raises(DeviceError, match=r"Memory ran out with batches of 16. Free memory"):
        list(ready.stream([(0, images(16))]))
