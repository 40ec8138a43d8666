"""Which engine is taken, what is remembered of it, and what is said."""

import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from zoo import engine, engine_choice, engine_memory, engine_trial
from zoo.engine_choice import WORTH_TIMING, Choice, choose, decide, without_engine
from zoo.engine_difference import Difference, Verdict
from zoo.engine_memory import (
    Judged,
    Remembered,
    engines_folder,
    key_of,
    recall,
    recall_verdict,
    remember,
    remember_verdict,
)
from zoo.engines import openvino
from zoo.engines.interface import CannotRun, Setup
from zoo.errors import DeviceError
from zoo.neighbours import NeighboursMatter

from .networks import gap, images, small_convnet
from .processors import needs_bfloat16

SETUP = Setup(batch=16, threads=2)
MANY = WORTH_TIMING
needs_openvino = pytest.mark.skipif(not openvino.is_installed(), reason="the extra [openvino] is not installed")


@pytest.fixture(scope="module")
def trunk() -> keras.Model:
    return small_convnet(output="linear")


def taken(
    trunk: keras.Model, wanted: str = "auto", count: int = MANY, setup: Setup = SETUP, identity: str | None = "a"
):
    """A whole choice."""
    return choose(trunk, decide(trunk, wanted, count, setup, identity), images(16), 16, setup)


def found_before(choice: Choice) -> tuple[str, ...]:
    """What is said when a verdict is remembered: whose figures these are."""
    first, *others = choice.lines
    return (f"{first} (found before)" if ";" in first else first, *others)


def speeds(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> list[str]:
    """Has engines take so many seconds a batch; gives the list of those that are timed."""
    timed: list[str] = []
    monkeypatch.setattr(engine_trial, "_seconds", lambda ready, x: (timed.append(ready.name), seconds[ready.name])[1])
    return timed


def test_few_examples_get_the_default_and_nothing_is_timed(trunk: keras.Model, home: Path):
    found = decide(trunk, "auto", MANY - 1, SETUP, "a")
    assert (found.engine, str(found)) == ("tensorflow", "engine tensorflow: the default for fewer than 2048 examples")
    choice = choose(trunk, found, images(16), 16, SETUP)
    assert choice.lines == (
        "engine tensorflow, float32, batches of 16: the default for fewer than 2048 examples; within 1e-05 of Keras",
    )
    assert choice.difference is not None
    assert choice.difference.largest < 1e-5
    again = decide(trunk, "auto", MANY - 1, SETUP, "a")
    assert again.compared
    remembered = choose(trunk, again, None, 16, SETUP)
    assert (remembered.lines, remembered.difference) == (found_before(choice), choice.difference)
    assert decide(trunk, "auto", MANY, SETUP, "a").engine is None, "many are timed all the same"


def test_a_network_without_a_digest_gets_the_default(trunk: keras.Model):
    assert decide(trunk, "auto", MANY, SETUP).why == "the default for a network that has no digest"


@needs_openvino
def test_the_fastest_is_taken_and_remembered(trunk: keras.Model, home: Path, monkeypatch: pytest.MonkeyPatch):
    timed = speeds(monkeypatch, keras=1.6, tensorflow=0.8, openvino=0.4)
    found = decide(trunk, "auto", MANY, SETUP, "a")
    assert found.engine is None
    assert str(found).startswith("engine: the fastest of tensorflow, keras, openvino (timed on the first batch")
    choice = choose(trunk, found, images(16), 16, SETUP)
    assert choice.engine.name == "openvino"
    assert choice.speeds == {"tensorflow": 20.0, "keras": 10.0, "openvino": 40.0}
    assert "timed on the first batch: tensorflow 20, keras 10, openvino 40 examples a second" in choice.why
    assert choice.difference is not None
    assert timed == [name for name in ("tensorflow", "keras", "openvino") for _ in range(engine_choice.REPEATS)]
    timed.clear()
    again = taken(trunk)
    assert (again.engine.name, timed) == ("openvino", [])
    assert again.why.startswith("remembered for this network and machine (timed on the first batch: tensorflow 20")
    assert taken(trunk, count=MANY - 1).engine.name == "tensorflow", "a large run does not change a small one"
    timed.clear()
    taken(trunk, identity="another network")
    taken(trunk, setup=Setup(batch=16, threads=1))
    assert len(timed) == 2 * 3 * engine_choice.REPEATS


def test_another_machine_or_version_chooses_anew(trunk: keras.Model, home: Path, monkeypatch: pytest.MonkeyPatch):
    speeds(monkeypatch, keras=0.1, tensorflow=0.8, openvino=0.4)
    assert taken(trunk).engine.name == "keras"
    assert decide(trunk, "auto", MANY, SETUP, "a").engine == "keras"
    monkeypatch.setattr("zoo.engines.interface.processor_features", lambda: ["avx2"])
    assert decide(trunk, "auto", MANY, SETUP, "a").engine is None


def test_the_default_stays_where_another_is_hardly_faster(
    trunk: keras.Model, home: Path, monkeypatch: pytest.MonkeyPatch
):
    speeds(monkeypatch, keras=0.95, tensorflow=1.0, openvino=0.92)
    assert taken(trunk).engine.name == "tensorflow"


def test_the_first_batch_is_not_computed_twice(trunk: keras.Model, home: Path, monkeypatch: pytest.MonkeyPatch):
    choice = taken(trunk, count=16)
    monkeypatch.setattr(choice.engine, "_start", lambda inputs: pytest.fail("it was computed again"))
    assert gap(np.asarray(trunk(images(16))), choice.engine.run(images(16))[0]) < 1e-5


def test_an_engine_out_of_tolerance_is_not_taken(trunk: keras.Model, home: Path, monkeypatch: pytest.MonkeyPatch):
    far = Verdict(False, Difference(0.5, 0.1), "5.0e-01 from Keras")
    monkeypatch.setattr(engine_trial, "judge", lambda *a, **k: far)
    speeds(monkeypatch, keras=1.6, tensorflow=0.8, openvino=0.4)
    few = taken(trunk, count=16)
    assert few.engine.name == "keras"
    assert few.why == "tensorflow is not taken: 5.0e-01 from Keras"
    assert decide(trunk, "auto", 16, SETUP, "a").engine == "keras", "what was rejected once is not tried again"
    many = taken(trunk, identity="b")
    assert many.engine.name == "keras"
    assert "tensorflow is not taken: 5.0e-01 from Keras" in many.lines
    with pytest.raises(DeviceError) as error:
        taken(trunk, "tensorflow")
    said = (
        "The engine 'tensorflow' cannot run the network 'convnet': 5.0e-01 from Keras. Use the engine auto, or keras."
    )
    assert str(error.value) == said


@needs_bfloat16
def test_bfloat16_is_not_held_to_the_tolerance_but_told(trunk: keras.Model, home: Path):
    choice = taken(trunk, count=16, setup=Setup("bfloat16", 16, 2))
    assert choice.engine.name == "tensorflow"
    assert choice.difference is not None
    assert 1e-3 < choice.difference.typical < 0.1
    assert "bfloat16 differs from float32 by" in choice.lines[0]


@needs_bfloat16
def test_bfloat16_that_is_no_number_is_not_taken(trunk: keras.Model, home: Path, monkeypatch: pytest.MonkeyPatch):
    lost = Verdict(False, Difference(np.inf, np.inf), "inf from Keras")
    monkeypatch.setattr(engine_trial, "judge", lambda *a, **k: lost)
    with pytest.raises(DeviceError, match="inf from Keras"):
        taken(trunk, "tensorflow", 16, Setup("bfloat16", 16, 2))


def test_what_fails_for_the_moment_is_not_remembered(trunk: keras.Model, home: Path, monkeypatch: pytest.MonkeyPatch):
    """Such as no room for a file of the moment: the next run finds the engine as good as ever."""
    full = DeviceError("There is no room.", fix="Make some.")
    with monkeypatch.context() as patch:
        patch.setattr(engine_trial, "make", lambda *a: (_ for _ in ()).throw(full))
        with pytest.raises(DeviceError, match="There is no room"):
            taken(trunk, "tensorflow")
    assert recall_verdict("a", SETUP, "tensorflow") is None
    assert taken(trunk, "tensorflow").engine.name == "tensorflow"


def test_an_engine_that_was_refused_is_taken_from_then_on_where_it_passes_when_it_is_asked_for(
    trunk: keras.Model, home: Path
):
    remember_verdict("a", SETUP, "tensorflow", Judged(False, "it failed once", None, 16))
    assert decide(trunk, "auto", 16, SETUP, "a").engine == "keras"
    assert taken(trunk, "tensorflow").engine.name == "tensorflow"
    found = recall_verdict("a", SETUP, "tensorflow")
    assert found is not None and found.taken
    assert decide(trunk, "auto", 16, SETUP, "a").engine == "tensorflow"


def test_keras_runs_what_a_remembered_engine_cannot_be_built_for_now(trunk: keras.Model, home: Path):
    taken(trunk, count=16)
    known = decide(trunk, "auto", 16, SETUP, "a")
    instead = without_engine(known, "there is no room.", SETUP)
    assert instead is not None
    choice = choose(trunk, instead, images(16), 16, SETUP)
    assert choice.lines == ("engine keras, float32, batches of 16: tensorflow is not taken: there is no room",)
    assert without_engine(instead, "neither", SETUP) is None
    assert without_engine(decide(trunk, "tensorflow", 16, SETUP, "a"), "no room", SETUP) is None, (
        "it alone was asked for"
    )


def test_keras_takes_what_the_default_cannot(home: Path):
    """A lookup table shows only when the network is traced."""
    inputs = keras.Input((4,), dtype="int64")
    trunk = keras.Model(inputs, keras.layers.IntegerLookup(vocabulary=[3, 5])(inputs))
    x = np.arange(64).reshape(16, 4)
    choice = choose(trunk, decide(trunk, "auto", 16, SETUP, "a"), x, 16, SETUP)
    assert choice.engine.name == "keras"
    assert choice.why.startswith("tensorflow is not taken: it holds a lookup table")
    np.testing.assert_array_equal(choice.engine.run(x)[0], np.asarray(trunk(x)))


def test_text_is_keras_alone():
    inputs = keras.Input((), dtype="string")
    trunk = keras.Model(inputs, keras.layers.TextVectorization(vocabulary=["a"], output_sequence_length=2)(inputs))
    found = decide(trunk, "auto", MANY, SETUP, "a")
    assert str(found) == "engine keras: no other engine can run this network here"
    choice = choose(trunk, found, np.array(["a b"] * 16, dtype=object), 1, SETUP)
    assert choice.engine.run(np.array(["b a"] * 16, dtype=object))[0][0].tolist() == [1, 2]


def test_the_engine_that_is_asked_for_is_taken(trunk: keras.Model, home: Path):
    assert taken(trunk, "keras").lines == ("engine keras, float32, batches of 16: as asked",)
    with pytest.raises(DeviceError, match=r"'openvio' is not an engine. Did you mean 'openvino'?"):
        decide(trunk, "openvio", 16, SETUP)


def test_an_engine_that_fails_when_it_runs_is_left_out(trunk: keras.Model, home: Path, monkeypatch: pytest.MonkeyPatch):
    def failing(self: Any, inputs: Any) -> Any:
        raise RuntimeError("no such kernel")  # noqa: EM101

    monkeypatch.setattr("zoo.engines.tensorflow.TensorFlowEngine._start", failing)
    speeds(monkeypatch, keras=1.0, openvino=2.0)
    choice = taken(trunk)
    assert choice.engine.name == "keras"
    assert "tensorflow is not taken: no such kernel" in choice.lines


def test_where_none_can_run_it_the_reasons_are_given(trunk: keras.Model, home: Path, monkeypatch: pytest.MonkeyPatch):
    def failing(*_: Any) -> Any:
        raise CannotRun("no luck")  # noqa: EM101

    monkeypatch.setattr(engine_trial, "make", failing)
    with pytest.raises(DeviceError, match=r"No engine can run the network 'convnet' in float32: .*keras is not taken"):
        taken(trunk)
    monkeypatch.setattr("zoo.engines.bfloat16.processor_features", lambda: [])
    with pytest.raises(DeviceError, match="No engine can run the network 'convnet' in bfloat16: the processor has no"):
        decide(trunk, "auto", 16, Setup("bfloat16", 16, 2))


def test_without_tensorflow_there_is_keras_alone(trunk: keras.Model, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    found = decide(trunk, "auto", MANY, SETUP, "a")
    assert found.engine == "keras"
    assert set(found.refused) == {"tensorflow", "openvino"}
    with pytest.raises(DeviceError, match=r"The engine 'tensorflow' goes with TensorFlow. Received Keras on jax"):
        engine.build(trunk, "tensorflow", SETUP)


def test_of_two_processes_the_first_decides_for_both(home: Path):
    assert remember("key", Remembered("keras", "first")).engine == "keras"
    assert remember("key", Remembered("openvino", "second")) == Remembered("keras", "first")
    assert sorted(path.name for path in engines_folder().iterdir()) == ["key.json"]


@needs_openvino
def test_the_choice_of_another_process_is_taken(trunk: keras.Model, home: Path, monkeypatch: pytest.MonkeyPatch):
    speeds(monkeypatch, keras=1.0, tensorflow=2.0, openvino=3.0)
    found = decide(trunk, "auto", MANY, SETUP, "a")
    assert found.key is not None
    remember(found.key, Remembered("openvino", "earlier"))
    choice = choose(trunk, found, images(16), 16, SETUP)
    assert (choice.engine.name, choice.why) == ("openvino", "chosen by another process (earlier)")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": 2}', '{"schema": 1, "engine": "x", "why": ""}'])
def test_what_cannot_be_read_is_not_remembered_and_replaced(text: str, home: Path):
    remember("key", Remembered("keras", "first"))
    file = next(engines_folder().iterdir())
    file.write_text(text, encoding="utf-8")
    assert recall("key") is None
    assert remember("key", Remembered("tensorflow", "new", {"keras": 1.5})) == Remembered(
        "tensorflow", "new", {"keras": 1.5}
    )
    assert json.loads(file.read_text(encoding="utf-8"))["engine"] == "tensorflow"


def test_a_file_system_without_links_remembers_too(home: Path, monkeypatch: pytest.MonkeyPatch):
    def refusing(*_: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refusing)
    assert remember("key", Remembered("keras", "first")) == recall("key")


def test_where_nothing_can_be_written_the_choice_holds_for_this_run(
    trunk: keras.Model, home: Path, monkeypatch: pytest.MonkeyPatch
):
    home.mkdir()
    (home / "engines").write_text("in the way", encoding="utf-8")
    speeds(monkeypatch, keras=1.0, tensorflow=0.5, openvino=2.0)
    choice = taken(trunk)
    assert choice.engine.name == "tensorflow"
    assert any(line.startswith("not remembered: The choice of an engine cannot be kept in") for line in choice.lines)
    with pytest.raises(DeviceError, match="Make the folder writable, or set ZOO_HOME"):
        engine_memory.remember("key", Remembered("keras", ""))


def pooled(channels: int = 12) -> keras.Model:
    """A mean over positions that on TensorFlow's processor kernels rounds by the place in the batch."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(channels, 3, strides=2, padding="same", activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="pooled")


def centred() -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, x - keras.ops.mean(x, axis=0, keepdims=True), name="centred")


@pytest.mark.parametrize("wanted", ["auto", "tensorflow", "keras"])
def test_where_the_place_in_a_batch_matters_examples_are_run_one_by_one(wanted: str, home: Path):
    trunk, x = pooled(), images(16, (16, 16, 3))
    choice = choose(trunk, decide(trunk, wanted, 16, SETUP, "a"), x, 16, SETUP)
    name = "keras" if wanted == "keras" else "tensorflow"
    line = f"its place in a batch changes the last bits of what {name} gives for an example: one at a time"
    assert (choice.engine.name, choice.engine.setup.batch, choice.notes) == (name, 1, (line,))
    assert choice.lines[0].startswith(f"engine {name}, float32, batches of 1: ")
    assert gap(np.asarray(trunk(x)), np.concatenate([choice.engine.run(row[None])[0] for row in x])) < 1e-5
    again = decide(trunk, wanted, 1, SETUP, "a")
    assert (again.setup.batch, again.compared) == (1, True)
    assert choose(trunk, again, None, 1, SETUP).lines == found_before(choice)
    assert decide(trunk, wanted, 1, SETUP, "another network").setup.batch == 16


def test_where_single_examples_cannot_be_run_the_engine_is_not_taken(home: Path, monkeypatch: pytest.MonkeyPatch):
    trunk, make = pooled(), engine_trial.make

    def failing(trunk: keras.Model, name: str, setup: Setup) -> Any:
        if setup.batch == 1 and name == "tensorflow":
            raise CannotRun("not one by one.")  # noqa: EM101
        return make(trunk, name, setup)

    monkeypatch.setattr(engine_trial, "make", failing)
    choice = choose(trunk, decide(trunk, "auto", 16, SETUP, "a"), images(16, (16, 16, 3)), 16, SETUP)
    assert (choice.engine.name, choice.why) == ("keras", "tensorflow is not taken: not one by one")
    assert trunk.predict_function is not None
    choice.engine.close()
    assert trunk.predict_function is None, "what was compiled on the user's network is gone"


def test_engines_that_run_one_by_one_are_timed_as_such(home: Path, monkeypatch: pytest.MonkeyPatch):
    trunk, x = pooled(), images(16, (16, 16, 3))
    timed = speeds(monkeypatch, keras=0.2, tensorflow=0.05, openvino=1.0)
    choice = choose(trunk, decide(trunk, "auto", MANY, SETUP, "a"), x, 16, SETUP)
    assert (choice.engine.name, choice.engine.setup.batch) == ("tensorflow", 1)
    assert (choice.speeds["tensorflow"], choice.speeds["keras"]) == (20.0, 5.0)
    if "openvino" in timed:
        assert choice.speeds["openvino"] == 16.0
    again = decide(trunk, "auto", MANY, SETUP, "a")
    assert (again.engine, again.setup.batch, again.compared) == ("tensorflow", 1, True)


@pytest.mark.parametrize("count", [16, MANY])
@pytest.mark.parametrize("wanted", ["auto", "keras"])
@pytest.mark.parametrize("differ", [1, 16])
def test_a_trunk_whose_examples_see_one_another_is_refused(
    wanted: str, count: int, differ: int, home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engine_trial, "judge", lambda *a, **k: pytest.fail("Keras gives other things for fewer"))
    trunk, x = centred(), np.resize(images(differ), (16, 8, 8, 1))
    with pytest.raises(NeighboursMatter, match="changes with the other examples of its batch"):
        choose(trunk, decide(trunk, wanted, count, SETUP, "a"), x, differ, SETUP)
    assert not home.exists()


class Noisy(keras.layers.Layer):
    """Noise in inference too."""

    def __init__(self):
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, x: Any) -> Any:
        return x + keras.random.uniform(keras.ops.shape(x), maxval=1e-5, seed=self.seed_generator)


def test_a_trunk_that_draws_at_random_is_refused(home: Path):
    """By so little that it could be taken for rounding, by the place in the batch."""
    inputs = keras.Input((8, 8, 1))
    with pytest.raises(NeighboursMatter):
        taken(keras.Model(inputs, Noisy()(inputs)), count=16)


@pytest.mark.parametrize("setup", [SETUP, pytest.param(Setup("bfloat16", 16, 2), marks=needs_bfloat16)])
def test_what_was_found_is_not_found_again(
    setup: Setup, trunk: keras.Model, home: Path, monkeypatch: pytest.MonkeyPatch
):
    """Neither a first batch, nor Keras, nor float64: whatever the run's size, in bfloat16 too."""
    first = taken(trunk, count=16, setup=setup)
    assert first.difference is not None
    for what in ("judge", "unsteady"):
        monkeypatch.setattr(engine_trial, what, lambda *a, **k: pytest.fail("it was found before"))
    for count in (1, 16, MANY - 1):
        again = choose(trunk, decide(trunk, "auto", count, setup, "a"), None, count, setup)
        assert (again.lines, again.difference) == (found_before(first), first.difference)


def test_another_boundary_s_verdict_can_be_noted(trunk: keras.Model, home: Path):
    remember_verdict("a", SETUP, "tensorflow", Judged(True, "as computed with another", Difference(0.0, 0.0), 1))
    found = decide(trunk, "auto", 16, SETUP, "a")
    assert (found.compared, found.setup.batch) == (True, 1)
    (line, _) = choose(trunk, found, None, 16, SETUP).lines
    assert line.endswith(": the default for fewer than 2048 examples; as computed with another (found before)")


def test_of_two_verdicts_the_first_holds(trunk: keras.Model, home: Path, monkeypatch: pytest.MonkeyPatch):
    first = Judged(True, "first", Difference(1e-7, 1e-8), 1)
    found = decide(trunk, "auto", 16, SETUP, "a")
    assert remember_verdict("a", SETUP, "tensorflow", first) == first
    assert remember_verdict("a", SETUP, "tensorflow", Judged(True, "second", None, 16)) == first
    choice = choose(trunk, found, images(16), 16, SETUP)  # it was decided before the other process was done
    assert (choice.engine.setup.batch, choice.difference) == (1, first.difference)
    monkeypatch.setattr(engine_trial, "recall_verdict", lambda *a: None)  # done while this one compared
    late = choose(trunk, found, images(16), 16, SETUP)
    assert (late.engine.setup.batch, late.difference) == (1, first.difference)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": 2, "taken": true, "why": "", "difference": null, "batch": 8}',
        '{"schema": 2, "taken": true, "why": "", "difference": null, "batch": true}',
        '{"schema": 2, "taken": 1, "why": "", "difference": null, "batch": 16}',
        '{"schema": 2, "taken": true, "why": "", "difference": {"largest": NaN, "typical": 1}, "batch": 16}',
        '{"schema": 2, "taken": true, "why": "", "difference": [1, 2], "batch": 16}',
        '{"schema": 1, "engine": "keras", "why": "", "speeds": {}}',
    ],
)
def test_a_verdict_that_cannot_be_read_is_found_anew(text: str, home: Path):
    remember_verdict("a", SETUP, "keras", Judged(True, "old", None, 16))
    file = next(engines_folder().iterdir())
    file.write_text(text, encoding="utf-8")
    assert recall_verdict("a", SETUP, "keras") is None
    new = Judged(False, "new", Difference(float("inf"), 1.0), 16)
    assert remember_verdict("a", SETUP, "keras", new) == new == recall_verdict("a", SETUP, "keras")
    assert recall_verdict("a", Setup(batch=8, threads=2), "keras") is None
    assert recall_verdict("a", SETUP, "tensorflow") is None


def test_a_choice_and_a_verdict_do_not_take_one_another_s_place(home: Path):
    remember(key_of("a", SETUP, ["keras"]), Remembered("keras", ""))
    assert recall_verdict("a", SETUP, "keras") is None
