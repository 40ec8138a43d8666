"""A run that is interrupted anywhere goes on to the bytes that it would have given: each trap of resuming, one test."""

import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from zoo.checkpoint import Snapshot, position_of, read_checkpoint
from zoo.errors import RunError
from zoo.feature_store import FeatureStore
from zoo.interruption import Interrupted, Interruption
from zoo.recipe import parse_recipe
from zoo.resuming import resume
from zoo.run import only_writer
from zoo.stage_state import StageState

RECIPE = """
schema = 1
seed = 3
[model]
name = "glyphs"
[data]
path = "digits"
limit_per_class = 6
test = 0.05
val = 0.2
batch_size = 16
augment = "{augment}"
[top]
hidden = [12]
dropout = 0.4
[compute]
threads = 1
checkpoint_every = 0
[[stage]]
name = "head"
train = ["top"]
epochs = 8
optimizer = {{ name = "adam", learning_rate = 0.1 }}
early_stopping = {{ monitor = "val_loss", patience = 3 }}
reduce_on_plateau = {{ factor = 0.5, patience = 1 }}
[[stage]]
name = "thawed"
train = ["top", "block3"]
epochs = 3
layer_decay = 0.5
batch_norm = {{ default = "adapt" }}
[stage.optimizer]
name = "adam"
use_ema = true
learning_rate = {{ name = "CosineDecay", initial_learning_rate = 1e-3, decay_steps = 12 }}
[[stage]]
name = "deeper"
train = ["top", "block3", "block2"]
epochs = 3
batch_norm = "train"
optimizer = {{ name = "sgd", learning_rate = 1e-3, momentum = 0.9, nesterov = true }}
weight_averaging = {{ start = 0.25 }}
"""
#: On what crosses the boundary, several steps a call; and with augmentation in every step.
WAYS = {"cached": RECIPE.format(augment="none"), "every step": RECIPE.format(augment="light")}


def run(out: Path, way: str = "cached", **how: Any) -> zoo.Run:
    return zoo.finetune(recipe=parse_recipe(WAYS[way]), out=out, **how)


def outcome(folder: Path) -> dict[str, Any]:
    """Everything of a run that has to be the same: digests, figures, every step's loss, every epoch's row."""
    lock = tomllib.loads((folder / "recipe.lock").read_text())
    stages = [{**stage, "features": None} for stage in lock["stage"]]
    history = [line.rpartition(",")[0] for line in (folder / "history.csv").read_text().splitlines()]
    steps = (folder / "steps.csv").read_text()
    return {"result": lock["result"], "stages": stages, "history": history, "steps": steps}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, dict[str, Any]]:
    """What the runs come to that nobody interrupts."""
    found = {}
    for way in WAYS:
        folder = tmp_path_factory.mktemp("whole") / "run"
        run(folder, way)
        found[way] = outcome(folder)
    return found


def stopping(monkeypatch: pytest.MonkeyPatch, stage: int, epoch: int, step: int) -> None:
    """Asks the run to end at a place: after ``step`` steps of an epoch, or at the beginning of it."""
    plain = StageState.pause

    def asked(self: Any) -> None:
        if (self._index, self.epoch, len(self.rows)) >= (stage, epoch, step):
            self._checkpoints.interruption.asked = True
        plain(self)

    monkeypatch.setattr(StageState, "pause", asked)


def interrupted(
    folder: Path, place: tuple[int, int, int], way: str = "cached", begin: Callable[..., Any] = run, **how: Any
) -> Path:
    """A run that was interrupted at a place; its newest checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        stopping(patch, *place)
        with pytest.raises(Interrupted):
            begin(folder, way, **how)
    files = [(position_of(file) or {}, file) for file in (folder / "checkpoints").iterdir()]
    return max((held["stage"], held["done"], held["epoch"], held["step"], file) for held, file in files)[-1]


PLACES = {
    "before the first stage has learned anything": (0, 0, 1),
    "in the middle of an epoch": (0, 2, 2),
    "when patience has begun to run out": (0, 6, 0),
    "at the end of an epoch, before it was measured": (1, 0, 3),
    "in a stage that thaws, with its statistics adapted": (1, 2, 1),
    "between two epochs": (1, 2, 0),
    "while weights are averaged": (2, 2, 2),
}


#: What differs where every step is a call of its own.
ALSO = ("in the middle of an epoch", "in a stage that thaws, with its statistics adapted", "while weights are averaged")


#: Those that belong to every change; the others take as long each.
FIRST = (("cached", "in a stage that thaws, with its statistics adapted"), ("every step", "while weights are averaged"))


@pytest.mark.parametrize(
    ("way", "place"),
    [
        pytest.param(*case, marks=() if case in FIRST else pytest.mark.slow)
        for case in (*(("cached", place) for place in PLACES), *(("every step", place) for place in ALSO))
    ],
)
def test_a_run_that_is_interrupted_ends_as_if_it_had_not_been(tmp_path, whole, way, place):
    interrupted(tmp_path / "run", PLACES[place], way)
    resume(tmp_path / "run")
    assert outcome(tmp_path / "run") == whole[way]


@pytest.mark.slow
def test_a_run_can_be_interrupted_again_and_again(tmp_path, whole):
    folder = tmp_path / "run"
    interrupted(folder, (0, 1, 1), "every step")
    for place in ((0, 1, 2), (1, 1, 1), (2, 0, 1), (2, 2, 1)):
        interrupted(folder, place, "every step", lambda folder, way: resume(folder))
    resume(folder)
    assert outcome(folder) == whole["every step"]
    lock = tomllib.loads((folder / "recipe.lock").read_text())
    assert [one["at"] for one in lock["resumed"]] == [
        "the stage 'head', epoch 2, step 1", "the stage 'head', epoch 2, step 2",
        "the stage 'thawed', epoch 2, step 1", "the stage 'deeper', epoch 1, step 1",
        "the stage 'deeper', epoch 3, step 1",
    ]  # fmt: skip
    assert all(one["changed"] == [] for one in lock["resumed"])


def test_a_checkpoint_holds_patience_best_weights_and_the_lowered_rate(tmp_path):
    """Early stopping starts anew in other frameworks, or restores weights from before the interruption only."""
    file = interrupted(tmp_path / "run", (0, 6, 0))
    held = read_checkpoint(file)
    stopping, lowering = held.position["callbacks"][:2]
    assert stopping["class"] == "EarlyStopping" and stopping["values"]["best"] < 10
    assert lowering["values"]["best"] == stopping["values"]["best"]
    best = held.arrays("callback/0/best_weights/")
    assert [array.shape for array in best.values()] == [(384, 12), (12,), (12, 10), (10,)]
    assert len(held.position["history"]) == 6


def test_optimizer_slots_of_variables_thawed_later_are_kept(tmp_path):
    file = interrupted(tmp_path / "run", (2, 1, 0))
    held = read_checkpoint(file)
    slots = held.arrays("optimizer/")
    assert sum(bool(np.any(array)) for array in slots.values() if array.ndim >= 2) >= 3, "momentum of thawed kernels"


def test_what_is_frozen_is_compared_with_what_it_was_when_the_stage_began(tmp_path):
    """An audit that starts anew would not see what moved before the interruption."""
    file = interrupted(tmp_path / "run", (1, 2, 1))
    held = read_checkpoint(file)
    name = next(name for name in held.position["frozen"] if "block1" in name)
    position = {**held.position, "frozen": {**held.position["frozen"], name: "0" * 64}}
    import json

    Snapshot(held.tensors, {"position": json.dumps(position), "names": "{}"}).write(file)
    with pytest.raises(zoo.PlanError, match=r"1 frozen variable\(s\) moved"):
        resume(tmp_path / "run")


def test_a_damaged_checkpoint_is_passed_over(tmp_path, whole):
    folder = tmp_path / "run"
    file = interrupted(folder, (1, 2, 1))
    data = bytearray(file.read_bytes())
    data[-9] ^= 4
    file.write_bytes(data)
    resume(folder)
    assert outcome(folder) == whole["cached"]
    log = (folder / "log.txt").read_text()
    assert f"The checkpoint {file} is damaged." in log
    assert "The one before is taken.\n" in log
    assert "going on from the end of the stage 'head'" in log


@pytest.mark.slow
def test_a_run_that_was_stopped_before_its_first_checkpoint_begins_anew(tmp_path, whole):
    folder = tmp_path / "run"
    file = interrupted(folder, (0, 1, 1))
    file.unlink()
    (folder / "recipe.lock").unlink()
    resume(folder)
    assert outcome(folder) == whole["cached"]


def test_a_run_whose_stages_are_done_is_measured_as_it_would_have_been(tmp_path, whole, monkeypatch):
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zoo.execution.Execution._measured", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            run(folder)
    trained = []
    monkeypatch.setattr("zoo.execution.train_stage", lambda *args, **kwargs: trained.append(args))
    resume(folder)
    assert outcome(folder) == whole["cached"] and not trained


def test_a_run_that_has_finished_is_left_alone(tmp_path, capsys):
    folder = tmp_path / "run"
    zoo.finetune("glyphs", "digits", out=folder, limit_per_class=2, freeze="all", head_epochs=1)
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    assert resume(folder).folder == folder
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before
    assert "has finished: there is nothing to go on with" in capsys.readouterr().err


@pytest.mark.slow
def test_what_counts_in_python_goes_on_counting(tmp_path):
    """A callback's own counters, and the callbacks that have to be given again."""

    class Counting(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.steps, self.sums, self.handle = 0, np.zeros(2), object()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.steps += 1
            self.sums += [1, logs["loss"]]

    plain, stopped, again = Counting(), Counting(), Counting()
    run(tmp_path / "plain", callbacks=[plain])
    interrupted(tmp_path / "run", (1, 2, 1), callbacks=[stopped])
    with pytest.raises(RunError, match=r"began with other things given in Python. Expected the callback Counting"):
        resume(tmp_path / "run")
    resume(tmp_path / "run", callbacks=[again])
    assert (again.steps, list(again.sums)) == (plain.steps, list(plain.sums)) and stopped.steps < plain.steps
    assert outcome(tmp_path / "run") == outcome(tmp_path / "plain")
    assert "the callback Counting begins anew with: handle" in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.slow
def test_training_that_a_callback_has_asked_to_end_ends_where_it_would_have(tmp_path):
    """It asks within an epoch, is heard at its end, and the run is interrupted in between."""

    class Ending(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if self.epoch == 1 and batch == 0:
                self.model.stop_training = True

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch = epoch

    run(tmp_path / "plain", "every step", callbacks=[Ending()])
    interrupted(tmp_path / "run", (0, 1, 2), "every step", callbacks=[Ending()])
    resume(tmp_path / "run", callbacks=[Ending()])
    assert outcome(tmp_path / "run") == outcome(tmp_path / "plain")


@pytest.mark.slow
def test_mixed_precision_goes_on_with_its_loss_scale(tmp_path):
    def begin(folder: Path, way: str) -> zoo.Run:
        how = {"limit_per_class": 4, "head_epochs": 3, "epochs": 3, "precision": "mixed_float16", "seed": 5}
        return zoo.finetune("glyphs", "digits", out=folder, freeze="block2", checkpoint_every=0, **how)

    begin(tmp_path / "plain", "")
    interrupted(tmp_path / "run", (1, 1, 0), begin=begin)
    resume(tmp_path / "run")
    assert outcome(tmp_path / "run") == outcome(tmp_path / "plain")


@pytest.fixture
def stopped(tmp_path) -> Path:
    """A run of a network and of images of the user's own that was interrupted."""
    rng = np.random.default_rng(0)
    from PIL import Image

    for name in ("one", "two"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(8):
            pixels = rng.integers(0, 256, (8, 8), "uint8")
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    zoo.load("glyphs").save(tmp_path / "net.keras")
    how = {"freeze": "all", "head_epochs": 3, "checkpoint_every": 0}

    def begin(folder: Path, way: str) -> zoo.Run:
        return zoo.finetune(str(tmp_path / "net.keras"), str(tmp_path / "images"), out=folder, **how)

    interrupted(tmp_path / "run", (0, 1, 0), begin=begin)
    return tmp_path


@pytest.fixture
def roomless(monkeypatch: pytest.MonkeyPatch):
    """A store that can keep nothing, until the context is left."""

    @contextmanager
    def full() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(FeatureStore, "get", lambda self, *args, **how: None)
            yield

    return full


@pytest.mark.slow
def test_a_stage_that_ran_its_trunk_in_every_step_goes_on_so_though_there_is_room_now(tmp_path, stopped, roomless):
    with roomless():
        network, images, how = str(stopped / "net.keras"), str(stopped / "images"), {"freeze": "all", "head_epochs": 3}
        zoo.finetune(network, images, out=stopped / "whole", **how)
        again = zoo.read_recipe(stopped / "whole" / "recipe.toml")
        interrupted(stopped / "full", (0, 1, 0), begin=lambda folder, way: zoo.finetune(recipe=again, out=folder))
    resume(stopped / "full")
    assert outcome(stopped / "full")["steps"] == outcome(stopped / "whole")["steps"]
    assert outcome(stopped / "full")["result"] == outcome(stopped / "whole")["result"]


def test_features_that_cannot_be_had_again_are_said(stopped, roomless):
    with (
        roomless(),
        pytest.raises(RunError, match=r"training on features .* received no room"),
    ):
        resume(stopped / "run")
    resume(stopped / "run")


def test_split_and_plans_that_cannot_be_read_are_said(stopped):
    for name in ("split.csv", "plan.txt"):
        kept = (stopped / "run" / name).read_bytes()
        (stopped / "run" / name).unlink()
        with pytest.raises(RunError, match=rf"{name} cannot be read"):
            resume(stopped / "run")
        (stopped / "run" / name).write_bytes(kept)


def test_other_data_is_refused_and_said(stopped):
    file = stopped / "images" / "one" / "3.png"
    kept = file.read_bytes()
    file.write_bytes((stopped / "images" / "two" / "3.png").read_bytes())
    before = sorted(stopped.rglob("run/*"))
    with pytest.raises(RunError, match=r"is not what the run at .* began with: 'one/3.png' has another content"):
        resume(stopped / "run")
    assert sorted(stopped.rglob("run/*")) == before
    file.write_bytes(kept)
    resume(stopped / "run")


def test_another_network_is_refused(stopped):
    network = keras.models.load_model(stopped / "net.keras")
    kernel = network.get_layer("block1_conv1").kernel
    kernel.assign(kernel + 1e-3)
    network.save(stopped / "net.keras")
    with pytest.raises(RunError, match=r"The network 'net' is not what the run at .* began with; its recipe is"):
        resume(stopped / "run")


def test_data_that_is_gone_is_said(stopped):
    (stopped / "images").rename(stopped / "moved")
    with pytest.raises(zoo.DataError):
        resume(stopped / "run")
    (stopped / "moved").rename(stopped / "images")
    resume(stopped / "run")


def test_what_changed_around_the_run_is_said_and_kept(stopped, monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    resume(stopped / "run")
    line = "since it began this has changed, and the last bits may too: compute.flags.TF_ENABLE_ONEDNN_OPTS: "
    assert line in (stopped / "run" / "log.txt").read_text()
    lock = tomllib.loads((stopped / "run" / "recipe.lock").read_text())
    assert any("TF_ENABLE_ONEDNN_OPTS" in line for line in lock["resumed"][0]["changed"])


def test_why_a_device_was_chosen_is_no_change(stopped):
    """It is words: in a process in which the framework had started before, there are others."""
    file = stopped / "run" / "recipe.lock"
    text = file.read_text()
    reason = tomllib.loads(text)["compute"]["device_reason"]
    file.write_text(text.replace(f'"{reason}"', '"another reason"'))
    resume(stopped / "run")
    assert tomllib.loads(file.read_text())["resumed"][0]["changed"] == []


def test_two_writers_are_refused(stopped):
    with only_writer(stopped / "run"):
        program = f"from zoo.resuming import resume; resume({str(stopped / 'run')!r})"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "Another process is writing into the run" in done.stderr
    assert not (stopped / "run" / "model.keras").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="There is no run at"):
        resume(tmp_path / "nothing")
    with pytest.raises(RunError, match=r"it holds no recipe.toml. Expected a folder that zoo finetune wrote"):
        resume(tmp_path)


def test_a_run_that_is_not_finished_says_how_to_go_on(stopped):
    with pytest.raises(RunError, match=r"did not finish, or is not one: .* Go on with: zoo resume"):
        zoo.Run(stopped / "run")


def test_a_disk_that_is_full_stops_no_training(tmp_path, whole, monkeypatch):
    """A checkpoint within a stage that cannot be written is said, and tried again; at the end it is an error."""
    folder, plain, failed = tmp_path / "run", Snapshot.write, []

    def full(self: Snapshot, file: Path) -> None:
        if len(failed) < 2 and "epoch" in file.name:
            failed.append(file)
            raise OSError(28, "No space left on device")
        plain(self, file)

    monkeypatch.setattr(Snapshot, "write", full)
    recipe = WAYS["cached"].replace("checkpoint_every = 0", "checkpoint_every = 0.001")
    zoo.finetune(recipe=parse_recipe(recipe), out=folder)
    assert len(failed) == 2 and outcome(folder) == whole["cached"]
    said = "a checkpoint could not be written: [Errno 28] No space left on device; those before stay"
    assert (folder / "log.txt").read_text().count(said) == 2
    assert sorted(file.name for file in (folder / "checkpoints").iterdir()) == [
        "1-head.safetensors", "2-thawed.safetensors", "3-deeper.safetensors",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_disk_that_is_full_at_the_end_of_a_stage_is_an_error_that_can_be_resumed(tmp_path, whole):
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:

        def full(self: Snapshot, file: Path) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(Snapshot, "write", full)
        with pytest.raises(RunError, match=r"No space left on device. Make room, then: zoo resume .*run; it goes on"):
            run(folder)
    resume(folder)
    assert outcome(folder) == whole["cached"]


def test_a_disk_that_is_full_when_a_stage_has_ended_is_an_error_and_not_a_traceback(stopped, monkeypatch):
    """The history is written then, and the log too."""
    with monkeypatch.context() as patch:

        def full(*args: Any) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr("zoo.execution.write_history", full)
        with pytest.raises(
            RunError, match=r"cannot be written: .*No space left on device.* Make room, then: zoo resume"
        ):
            resume(stopped / "run")
    resume(stopped / "run")


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_is_answered_where_nothing_is_lost(tmp_path, whole, number):
    """The first asks; in the middle of a step nothing happens until it is over."""
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        plain, sent = StageState.stepped, []

        def stepped(self: Any, rows: Any) -> None:
            if (self._index, self.epoch, sent) == (1, 1, []):
                sent.append(number)
                signal.raise_signal(number)  # to this thread: os.kill hands it to any, of TensorFlow's too
                while not self._checkpoints.interruption.asked:
                    time.sleep(0.001)
            plain(self, rows)

        patch.setattr(StageState, "stepped", stepped)
        with pytest.raises(Interrupted):
            run(folder, "every step")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert "everything is kept. Go on with: zoo resume" in (folder / "log.txt").read_text()
    resume(folder)
    assert outcome(folder) == whole["every step"]


def test_a_second_signal_ends_it_at_once_and_says_nothing_is_saved():
    interruption = Interruption()
    with interruption.deferred():
        interruption.handle(signal.SIGINT)
        assert interruption.asked
        with pytest.raises(Interrupted) as at_once:
            interruption.handle(signal.SIGINT)
    with pytest.raises(Interrupted) as outside:
        Interruption().handle(signal.SIGTERM)
    with pytest.raises(Interrupted) as asked:
        interruption.check()
    assert [one.value.saved for one in (at_once, outside, asked)] == [False, False, True]
