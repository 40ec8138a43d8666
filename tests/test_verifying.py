"""Doing a run again: identical, different and where first, or not to be compared and why."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tomli_w

import zoo
from zoo import epochs, verifying
from zoo.data.builtin import digits
from zoo.errors import RunError
from zoo.execution import Execution
from zoo.lock_file import lock_of
from zoo.progress import Progress
from zoo.sources.path import digest_of
from zoo.step_losses import read_steps

from .copied_runs import copy_instead

QUIET = Progress(quiet=True)
RECIPE: dict[str, Any] = {
    "schema": 1,
    "seed": 4,
    "model": {"name": "glyphs"},
    "data": {"limit_per_class": 3, "batch_size": 8, "test": "rest"},
    "stage": [
        {"name": "head", "train": ["top"], "epochs": 2, "optimizer": {"name": "adam", "learning_rate": 0.01}},
        {"name": "thawed", "train": ["top", "block3"], "epochs": 2, "optimizer": {"name": "sgd"}},
    ],
}


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some digits, in a file that tests may change for a moment."""
    x, y, _ = digits.load()
    file = tmp_path_factory.mktemp("data") / "some.npz"
    np.savez(file, x=x[:200], y=y[:200])
    return file


@pytest.fixture(scope="module")
def done(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> zoo.Run:
    """A run of two stages, the first one on features."""
    recipe = {**RECIPE, "data": {**RECIPE["data"], "path": str(examples)}}
    file = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    file.write_text(tomli_w.dumps(recipe))
    return zoo.finetune(recipe=file, out=tmp_path_factory.mktemp("runs") / "done", progress=QUIET)


@pytest.fixture
def run(done: zoo.Run, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(done.folder, tmp_path / "run"))


@pytest.fixture
def kept(examples: Path) -> Iterator[dict[str, np.ndarray]]:
    """The arrays of the data; the file is put back afterwards."""
    before = examples.read_bytes()
    with np.load(examples) as arrays:
        yield {name: arrays[name].copy() for name in arrays}
    examples.write_bytes(before)


@pytest.fixture
def alike(done: zoo.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Doing it again gives the same, without doing it."""
    copy_instead(monkeypatch, done.folder)


def relock(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    lock = lock_of(run)
    change(lock)
    (run / "recipe.lock").write_text(tomli_w.dumps(lock))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def obstacle(found: zoo.Verification) -> str:
    assert (found.outcome, found.good) == ("not comparable", False)
    [one] = found.obstacles
    return str(one)


def test_a_run_is_identical_and_nothing_is_left_or_changed(
    done: zoo.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = contents(done.folder)
    found = zoo.verify(done.folder, progress=QUIET)
    steps = len(read_steps(done.folder))
    assert (found.outcome, found.good, found.steps) == ("identical", True, steps)
    weights = lock_of(done.folder)["result"]["weights"]
    said = (
        f"identical, bit for bit: the loss of each of {steps} steps, and the weights after each stage ({weights[:12]})"
    )
    assert str(found) == said
    assert found.table() == {
        "run": str(done.folder), "outcome": "identical", "steps": steps, "weights": weights, "environment": [],
    }  # fmt: skip
    assert list(tmp_path.iterdir()) == []
    assert contents(done.folder) == before


def test_the_engines_of_the_lock_are_pinned_and_features_are_computed_again(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Keras's own instead of the default: the bits need not be the same, but it is that engine that ran."""
    asked: list[dict[str, Any]] = []
    store_of = verifying.store_of
    monkeypatch.setattr(verifying, "store_of", lambda *a, **how: asked.append(how) or store_of(*a, **how))
    assert lock_of(run)["stage"][0]["features"]["engine"] != "keras"
    relock(run, lambda lock: lock["stage"][0]["features"].update(engine="keras"))
    zoo.verify(run, out=tmp_path / "again", progress=QUIET)
    assert lock_of(tmp_path / "again")["stage"][0]["features"]["engine"] == "keras"
    assert [how["keep"] for how in asked] == ["run"]


def test_the_first_step_that_differs_is_named(run: Path, monkeypatch: pytest.MonkeyPatch):
    """Another order of the examples from one epoch on, as another version of zoo might give it."""
    batches = epochs.batches

    def other(count: int, batch_size: int, seed: int, stage: int, epoch: int) -> list[np.ndarray]:
        found = batches(count, batch_size, seed, stage, epoch)
        return found[::-1] if (stage, epoch) == (1, 1) else found

    monkeypatch.setattr(epochs, "batches", other)
    relock(run, lambda lock: lock["versions"].update(keras="3.0.0"))
    found = zoo.verify(run, progress=QUIET)
    assert (found.outcome, found.good) == ("different", False)
    assert found.first is not None and found.first.one is not None and found.first.other is not None
    assert found.first.where == "the stage 'thawed', epoch 2, step 1"
    before = [step for step in read_steps(run) if step[:3] == ("thawed", 2, 1)]
    assert [found.first.one] == before
    said = str(found)
    where = f"the stage 'thawed', epoch 2, step 1 (number {found.first.number + 1} of {found.steps})"
    assert said.startswith(f"different: first in {where}: loss ")
    assert "\ndifferent too: the weights after the stage 'thawed', the final weights" in said
    assert f"loss {before[0].loss} before ({before[0].bits}), {found.first.other.loss} now" in said
    assert f"versions.keras: 3.0.0 before, {keras.__version__} now" in said
    assert found.others[:2] == ("the weights after the stage 'thawed'", "the final weights")


def test_weights_that_differ_after_the_same_losses_are_seen(run: Path, alike: None):
    relock(run, lambda lock: lock["stage"][0].update(weights="ab" * 32))
    found = zoo.verify(run, progress=QUIET)
    assert (found.outcome, found.first, found.others) == ("different", None, ("the weights after the stage 'head'",))
    said = (
        f"different: the loss of each of {found.steps} steps is the same, but not the weights after the stage 'head'\n"
    )
    assert str(found).startswith(said)
    assert "nothing that the lock holds" in str(found)


def test_a_version_that_changes_nothing_is_said_and_no_obstacle(run: Path, alike: None):
    relock(run, lambda lock: (lock["versions"].update(h5py="1.0"), lock["installed"].update(numpy="cd" * 32)))
    found = zoo.verify(run, progress=QUIET)
    assert found.good
    first, title, *rest = str(found).splitlines()
    assert (first[:9], title) == ("identical", "what has changed since, without effect:")
    assert [line.partition(" before")[0] for line in rest] == [
        "  versions.h5py: 1.0",
        "  installed.numpy: cdcdcdcdcdcd",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(threads=c["threads"] + 1), "the number of threads: {0} before, {1} now. It takes {0}: "),
        (lambda c: c["state"].update(onednn=not c["state"]["onednn"]), "oneDNN in TensorFlow: "),
        (lambda c: c["processor"].update(features=["avx9"]), "the processor's instruction sets: avx9 before, "),
        (lambda c: c.update(backend="jax"), "Keras's backend: jax before, "),
        (lambda c: c.update(flags={"ONEDNN_MAX_CPU_ISA": "SSE41"}), "ONEDNN_MAX_CPU_ISA: SSE41 before, not set now."),
        (lambda c: c.update(device="gpu:0"), "the device: There is no device gpu. Received 0 GPU(s). "),
    ],
    ids=["threads", "onednn", "processor", "backend", "flag", "device"],
)
@pytest.mark.skipif(bool(keras.distribution.list_devices("gpu")), reason="there is a GPU")
def test_where_bits_cannot_be_compared_it_says_what_would_have_to_match(
    change: Callable[[dict[str, Any]], Any], said: str, run: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Execution, "run", lambda *_: pytest.fail("it was done again"))
    now = lock_of(run)["compute"]["threads"]
    relock(run, lambda lock: change(lock["compute"]))
    assert obstacle(zoo.verify(run, progress=QUIET)).startswith(said.format(now + 1, now))


def test_one_changed_pixel_is_named(run: Path, examples: Path, kept: dict[str, np.ndarray]):
    kept["x"][17].flat[5] += 1
    np.savez(examples, **kept)
    expected = f"the data {examples}: 'row 17' has another content. It takes the data as it was."
    assert obstacle(zoo.verify(run, progress=QUIET)) == expected


def test_an_example_more_or_less_is_named(run: Path, examples: Path, kept: dict[str, np.ndarray]):
    np.savez(examples, **{name: array[:-2] for name, array in kept.items()})
    assert "'row 198' is gone, and 1 more." in obstacle(zoo.verify(run, progress=QUIET))


def test_another_order_of_the_same_examples_is_named(run: Path, examples: Path, kept: dict[str, np.ndarray]):
    np.savez(examples, **{name: np.roll(array, 1, axis=0) for name, array in kept.items()})
    assert "the order is another, from 'row 0' on" in obstacle(zoo.verify(run, progress=QUIET))


def test_another_target_is_named(run: Path, examples: Path, kept: dict[str, np.ndarray]):
    kept["y"][3] = (kept["y"][3] + 1) % 10
    np.savez(examples, **kept)
    assert (
        obstacle(zoo.verify(run, progress=QUIET))
        == f"the data {examples}: the targets are others. It takes the data as it was."
    )


def test_data_that_is_gone_is_named(run: Path, examples: Path, kept: dict[str, np.ndarray]):
    examples.unlink()
    said = obstacle(zoo.verify(run, progress=QUIET))
    assert said.startswith("the data: ") and said.endswith(f"It takes {examples}, as it was.")


def test_another_network_of_the_same_name_is_named(run: Path):
    relock(run, lambda lock: lock["network"].update(weights="ab" * 32, start="cd" * 32))
    now = lock_of(run)
    said = obstacle(zoo.verify(run, progress=QUIET))
    assert said.startswith("the network 'glyphs.v1': its weights are ") and "and were abababababab. " in said
    assert now["network"]["weights"] == "ab" * 32


def test_new_layers_that_start_from_other_values_are_named(run: Path):
    relock(run, lambda lock: lock["network"].update(start="cd" * 32))
    said = obstacle(zoo.verify(run, progress=QUIET))
    assert said.startswith("the weights that training begins with are ") and "and were cdcdcdcdcdcd. " in said


def test_a_network_that_is_gone_is_named(run: Path):
    text = (run / "recipe.toml").read_text().replace('"glyphs"', '"glyfs"')
    (run / "recipe.toml").write_text(text)
    relock(run, lambda lock: lock.update(recipe=digest_of(run / "recipe.toml")))
    said = obstacle(zoo.verify(run, progress=QUIET))
    assert said.startswith("the network: ") and said.endswith("It takes 'glyphs.v1', as it was.")


def test_a_recipe_that_was_edited_is_named(run: Path):
    text = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(text.replace("epochs = 2", "epochs = 3", 1))
    digest = lock_of(run)["recipe"][:12]
    expected = f"recipe.toml is not the one that was run. Put back the one whose SHA-256 begins with {digest}."
    assert obstacle(zoo.verify(run, progress=QUIET)) == expected


@pytest.mark.parametrize("missing", ["model.keras", "metrics.json"])
def test_a_run_that_did_not_finish_is_sent_to_resume(missing: str, run: Path):
    (run / missing).unlink()
    with pytest.raises(
        RunError, match=f"did not finish, or is not one: {missing} missing. Go on with: zoo resume {run}"
    ):
        zoo.verify(run)


def test_a_run_whose_lock_holds_no_result_is_sent_to_resume(run: Path):
    relock(run, lambda lock: lock.update(result={}))
    with pytest.raises(RunError, match=f"its lock holds no result. Go on with: zoo resume {run}"):
        zoo.verify(run)


def test_a_lock_of_an_earlier_version_is_an_error(run: Path):
    relock(run, lambda lock: lock["network"].pop("start"))
    with pytest.raises(
        RunError, match=r"is of an earlier version of zoo\. Expected digests of what the run began with"
    ):
        zoo.verify(run)


@pytest.fixture
def stopped(run: Path) -> Path:
    """The run as if it had been killed after its first stage."""
    for name in ("model.keras", "metrics.json", "card.toml", "report.html"):
        (run / name).unlink()
    (run / "checkpoints" / "2-thawed.safetensors").unlink()
    relock(run, lambda lock: lock.update(result={}, stage=[]))
    return run


def test_a_run_that_was_resumed_is_identical_too(stopped: Path):
    zoo.resume(stopped, progress=QUIET)
    assert lock_of(stopped)["resumed"]
    assert zoo.verify(stopped, progress=QUIET).outcome == "identical"


def test_what_had_changed_when_a_run_went_on_is_said(run: Path, alike: None):
    stop = {"at": "the end of the stage 'head'", "changed": ["compute.threads: 4 before, 2 now"]}
    relock(run, lambda lock: lock.update(resumed=[stop]))
    said = "when it went on from the end of the stage 'head': compute.threads: 4 before, 2 now"
    assert zoo.verify(run, progress=QUIET).environment == (said,)


def test_a_recipe_that_was_edited_is_not_gone_on_with(stopped: Path):
    file = stopped / "recipe.toml"
    file.write_text(file.read_text().replace("epochs = 2", "epochs = 3"))
    before = contents(stopped)
    expected = f"{file} is not the recipe that the run began with. Expected SHA-256 {lock_of(stopped)['recipe'][:12]}"
    with pytest.raises(RunError) as error:
        zoo.resume(stopped, progress=QUIET)
    assert str(error.value).startswith(expected)
    assert contents(stopped) == before


class Halving(keras.callbacks.Callback):
    """Halves the rate after every epoch."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.optimizer.learning_rate = 0.5 * float(self.model.optimizer.learning_rate)


def test_what_was_given_in_python_is_to_be_given_again(tmp_path: Path, kept: dict[str, np.ndarray]):
    data = kept["x"], kept["y"]
    how: dict[str, Any] = {"limit_per_class": 2, "freeze": "all", "head_epochs": 2, "progress": QUIET}
    run = zoo.finetune("glyphs", data, out=tmp_path / "run", callbacks=[Halving()], **how)
    expected = r"other things given in Python\. Expected the data, the callback Halving; received none\. "
    with pytest.raises(RunError, match=expected + r"Give the same again: zoo\.verify\("):
        zoo.verify(run.folder)
    assert zoo.verify(run.folder, data=data, callbacks=[Halving()], progress=QUIET).good


def test_figures_alone_are_compared_on_another_machine(run: Path, alike: None):
    def elsewhere(lock: dict[str, Any]) -> None:
        lock["compute"]["processor"]["features"] = ["sve"]
        lock["compute"].update(threads=64, device="gpu:0")

    relock(run, elsewhere)
    found = zoo.verify(run, metrics_only=True, progress=QUIET)
    assert (found.outcome, found.good) == ("agrees", True)
    judged = [(pair.side, pair.name) for pair in found.figures if pair.tolerance is not None]
    assert judged == [("test", "accuracy"), ("val", "accuracy")]
    first, header, *rows = str(found).splitlines()
    assert first == "agrees within the tolerance (figures alone, not bits)"
    assert header.split() == ["side", "figure", "before", "now", "difference", "may", "be"]
    accuracy = f"{zoo.Run(run).metrics['test']['accuracy']:.4f}"
    [row] = [row.split() for row in rows if row.startswith("test  accuracy")]
    assert row[2:5] == [accuracy, accuracy, "+0.0000"] and row[6] == "agrees"
    assert any(row.startswith("  compute.threads: 64 before") for row in rows)


def test_a_tolerance_for_bits_is_refused(run: Path):
    with pytest.raises(RunError, match=r"A tolerance is for figures.* Add metrics_only=True"):
        zoo.verify(run, tolerance=0.1, progress=QUIET)


@pytest.mark.parametrize(("tolerance", "outcome"), [(0.3, "agrees"), (0.1, "disagrees")])
def test_the_tolerance_decides_whether_figures_agree(tolerance: float, outcome: str, run: Path, alike: None):
    relock(run, lambda lock: lock["result"]["test"].update(accuracy=lock["result"]["test"]["accuracy"] - 0.2))
    found = zoo.verify(run, metrics_only=True, tolerance=tolerance, progress=QUIET)
    assert (found.outcome, found.good) == (outcome, outcome == "agrees")
    assert ("too far off" in str(found)) == (outcome == "disagrees")


def test_figures_of_other_data_are_not_compared(run: Path, examples: Path, kept: dict[str, np.ndarray]):
    kept["x"][17].flat[5] += 1
    np.savez(examples, **kept)
    assert "'row 17' has another content" in obstacle(zoo.verify(run, metrics_only=True, progress=QUIET))


def test_what_is_done_again_can_be_kept(run: Path, alike: None, tmp_path: Path):
    assert zoo.verify(run, out=tmp_path / "again", progress=QUIET).good
    assert lock_of(tmp_path / "again") == lock_of(run)
    with pytest.raises(RunError, match="again exists already"):
        zoo.verify(run, out=tmp_path / "again", progress=QUIET)


def test_an_interrupt_leaves_nothing(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))

    def ends(execution: Execution) -> None:
        assert execution.folder.is_relative_to(place)
        raise KeyboardInterrupt

    monkeypatch.setattr(Execution, "run", ends)
    with pytest.raises(KeyboardInterrupt):
        zoo.verify(run, progress=QUIET)
    assert list(place.iterdir()) == []
