"""The main job on networks of the user's own: what it leaves untouched, and what it writes."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from zoo.errors import RecipeError, RunError, SurgeryError, ZooError
from zoo.progress import Progress

from .networks import clusters, dense_net, quadrants, small_convnet, values

layers = keras.layers
Arrays = tuple[np.ndarray, np.ndarray]


def finetune(network: Any, data: Any, out: Path, **options: Any) -> zoo.Run:
    return zoo.finetune(network, data, out=out, progress=Progress(quiet=True), **options)


@pytest.fixture(scope="module")
def pictures() -> Arrays:
    return quadrants(160)


@pytest.fixture(scope="module")
def vectors() -> Arrays:
    return clusters(150)


@pytest.fixture(scope="module")
def mine(pictures: Arrays, tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, dict[str, bytes], zoo.Run]:
    """A run on a network of one's own, after surgery and with a plan; the network, and its bytes before."""
    net = zoo.replace_top(small_convnet(), cut="features", classes=4, hidden=[8], dropout=0.2)
    plan = zoo.freeze(net, upto="block1", batch_norm="fixed_statistics", layer_decay=0.5)
    before = values(net)
    out = tmp_path_factory.mktemp("runs") / "mine"
    return net, before, finetune(net, pictures, out, plan=plan, epochs=12, learning_rate=0.01)


def test_the_users_own_model_is_left_untouched(mine):
    net, before, run = mine
    assert values(net) == before
    assert run.metrics["test"]["accuracy"] > 0.9
    assert (run.model.get_layer("top_output").kernel.numpy() != net.get_layer("top_output").kernel.numpy()).any()


def test_the_plan_is_what_was_trained(mine):
    net, _, run = mine
    for name in ("block1_conv1", "block1_bn1"):
        for old, new in zip(net.get_layer(name).weights, run.model.get_layer(name).weights, strict=True):
            np.testing.assert_array_equal(old, new)
    assert (net.get_layer("block2_bn1").gamma.numpy() != run.model.get_layer("block2_bn1").gamma.numpy()).any()
    np.testing.assert_array_equal(
        net.get_layer("block2_bn1").moving_mean, run.model.get_layer("block2_bn1").moving_mean
    )
    assert len(run.recipe.stages) == 1
    assert run.recipe.stages[0].multipliers == {"block2": 0.25, "block3": 0.5, "top": 1.0}
    assert "x0.25" in (run.folder / "plan.txt").read_text()


def test_the_saved_model_is_not_left_frozen_or_compiled(mine):
    model = keras.models.load_model(mine[2].folder / "model.keras")
    assert all(layer.trainable for layer in model._flatten_layers())
    assert getattr(model, "optimizer", None) is None
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}


def test_plain_keras_gives_the_same_accuracy_on_raw_pixels(mine, pictures: Arrays, tmp_path: Path):
    """In a process that never imports zoo."""
    run = mine[2]
    with (run.folder / "split.csv").open() as file:
        tested = [i for i, row in enumerate(csv.DictReader(file)) if row["side"] == "test"]
    np.savez(tmp_path / "test.npz", x=pictures[0][tested], y=pictures[1][tested])
    script = f"""
import sys, keras, numpy as np
data = np.load({str(tmp_path / "test.npz")!r})
model = keras.models.load_model({str(run.folder / "model.keras")!r})
found = model.predict(data["x"].astype("float32"), verbose=0).argmax(axis=1)
assert "zoo" not in sys.modules
print((found == data["y"]).mean())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert float(done.stdout) == run.metrics["test"]["accuracy"]
    assert len(tested) == run.metrics["test"]["examples"]


def test_the_run_folder_holds_everything(mine):
    run = mine[2]
    names = {path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*") if path.is_file()}
    assert names >= {
        "recipe.toml", "recipe.lock", "plan.txt", "history.csv", "metrics.json", "model.keras", "labels.txt",
        "log.txt", "report.html", "card.toml", "split.csv", "checkpoints/1-fine-tune.safetensors",
    }  # fmt: skip
    with (run.folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == [str(i) for i in range(1, 13)]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert json.loads((run.folder / "metrics.json").read_text())["stages"][0]["name"] == "fine-tune"
    assert (run.folder / "labels.txt").read_text().split() == ["0", "1", "2", "3"]
    assert "frozen variables unmoved" in (run.folder / "log.txt").read_text()


def test_an_existing_folder_is_not_overwritten(mine, pictures: Arrays):
    with pytest.raises(RunError, match=r"exists already. Expected a path where nothing is"):
        finetune(mine[0], pictures, mine[2].folder)


def test_the_same_run_twice_gives_the_same_bytes_and_another_seed_does_not(vectors: Arrays, tmp_path: Path):
    net = zoo.replace_top(dense_net(), classes=3, hidden=[6], dropout=0.3)

    plan = zoo.freeze(net, upto="low1")

    def weights(name: str, seed: int) -> list[bytes]:
        model = finetune(net, vectors, tmp_path / name, seed=seed, plan=plan, epochs=2).model
        return [v.numpy().tobytes() for v in model.weights]

    first = weights("first", 7)
    assert weights("again", 7) == first
    assert weights("other", 8) != first


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_saves_float32_models(pictures: Arrays, tmp_path: Path, precision: str):
    net = zoo.replace_top(small_convnet(), classes=4)
    plan = zoo.freeze(net, upto="block2")
    run = finetune(net, pictures, tmp_path / "run", precision=precision, plan=plan, epochs=10, learning_rate=0.01)
    model = keras.models.load_model(run.folder / "model.keras")
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    assert {v.dtype for v in model.weights} == {"float32"}
    assert run.metrics["test"]["accuracy"] > 0.8
    trained = model.get_layer("top_output").kernel.numpy()
    assert (trained != net.get_layer("top_output").kernel.numpy()).any()


def test_several_labels(tmp_path: Path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)).astype("float32")
    y = (x[:, :3] > 0).astype("int64")
    net = zoo.replace_top(dense_net(), cut="low2", classes=3, output="sigmoid")
    run = finetune(net, (x, y), tmp_path / "run", target="labels", plan=zoo.freeze(net), epochs=15, learning_rate=0.05)
    assert run.card.task == "labels"
    assert run.metrics["test"]["micro_f1"] > 0.85


def test_numbers_are_learned_standardized_and_given_in_their_own_units(tmp_path: Path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype("float32")
    y = (50_000 + 8_000 * x[:, :1] - 3_000 * x[:, 1:2]).astype("float32")
    options = {"from_scratch": True, "target": "numbers", "epochs": 20, "learning_rate": 0.01}
    run = finetune("dnn", (x, y), tmp_path / "run", **options)
    assert run.card.task == "regression"
    assert run.metrics["test"]["r2"] > 0.8
    predicted = keras.models.load_model(run.folder / "model.keras").predict(x, verbose=0)
    assert 45_000 < predicted.mean() < 55_000
    with (run.folder / "history.csv").open() as file:
        assert float(next(csv.DictReader(file))["loss"]) < 1000, "in units of the training side's spread"


def test_texts_through_a_network_with_its_own_vocabulary(tmp_path: Path):
    good, bad = ["good", "fine", "great"], ["bad", "poor", "awful"]
    rng = np.random.default_rng(0)
    rows = [("pos" if i % 2 else "neg", " ".join(rng.choice(good if i % 2 else bad, 3)) + f" {i}") for i in range(120)]
    file = tmp_path / "texts.csv"
    file.write_text("label,text\n" + "".join(f"{label},{text}\n" for label, text in rows))
    words = layers.TextVectorization(max_tokens=30, output_sequence_length=4, name="words")
    words.adapt([text for _, text in rows])
    inputs = keras.Input((), dtype="string")
    x = layers.Embedding(30, 8, name="embed")(words(inputs))
    x = layers.GlobalAveragePooling1D(name="mean")(x)
    net = keras.Model(inputs, layers.Dense(2, activation="softmax", name="top")(x))
    columns = {"text_column": "text", "label_column": ["label"]}
    run = finetune(net, file, tmp_path / "run", plan=zoo.freeze(net), epochs=15, learning_rate=0.05, **columns)
    assert run.metrics["test"]["accuracy"] > 0.95
    found = zoo.predict(run, [file], top=1, progress=Progress(quiet=True))
    assert len(found) == 120
    assert np.mean([p.outputs[0][0] == label for p, (label, _) in zip(found, rows, strict=True)]) > 0.95


def test_a_loss_and_callbacks_of_ones_own(vectors: Arrays, tmp_path: Path):
    told: list[float] = []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: told.append(logs["loss"]))
    loss = keras.losses.CategoricalFocalCrossentropy()
    finetune(dense_net(), vectors, tmp_path / "run", loss=loss, callbacks=[note], head_epochs=2, epochs=3)
    assert len(told) == 5, "of every epoch of both stages"
    assert told[0] < 0.5, "cross-entropy begins near log 3"


def test_class_weights_pull_towards_rare_classes(tmp_path: Path):
    rng = np.random.default_rng(0)
    labels = (rng.uniform(size=400) < 0.12).astype(int)
    x = (rng.normal(size=(400, 6)) + 0.6 * labels[:, None]).astype("float32")

    def recall(weights: str) -> float:
        net = dense_net(classes=2)
        options = {"plan": zoo.freeze(net), "epochs": 6, "learning_rate": 0.02, "label_smoothing": 0.05}
        run = finetune(net, (x, labels), tmp_path / weights, class_weights=weights, **options)
        return run.metrics["test"]["per_class"][1]["recall"]

    assert recall("balanced") > recall("none") + 0.1


def test_a_callback_that_writes_to_a_frozen_weight_fails_the_run(vectors: Arrays, tmp_path: Path):
    class Meddling(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            frozen = self.model.head.get_layer("top_held").layer.kernel
            frozen.assign(frozen + 1e-6)

    net = dense_net()
    options = {"plan": zoo.freeze(net, train=["low2"]), "epochs": 1}
    with pytest.raises(zoo.PlanError, match=r"not kept: 1 frozen variable.*top/kernel"):
        finetune(net, vectors, tmp_path / "run", callbacks=[Meddling()], **options)


def test_a_frozen_layer_in_the_saved_model_is_as_the_user_left_it(vectors: Arrays, tmp_path: Path):
    net = dense_net()
    net.get_layer("low1").trainable = False
    run = finetune(net, vectors, tmp_path / "run", plan=zoo.freeze(net), epochs=1)
    loaded = keras.models.load_model(run.folder / "model.keras")
    assert [layer.trainable for layer in loaded.layers[1:]] == [False, True, True]


@pytest.mark.parametrize(
    ("network", "error", "message"),
    [
        (
            lambda: dense_net(classes=5),
            SurgeryError,
            r"output does not fit the data. Expected \(None, 3\), one for each",
        ),
        (
            lambda: dense_net(features=5),
            ZooError,
            r"The network and the data do not fit together.*vector of shape \(5,\)",
        ),
        (
            lambda: keras.Sequential([keras.Input((6,)), layers.Dense(4), layers.Dense(3, name="last")]),
            SurgeryError,
            r"last layer 'last' gives logits, not probabilities. Expected activation='softmax' for classes",
        ),
        (
            lambda: keras.Model([keras.Input((6,)), (b := keras.Input((6,)))], layers.Dense(3)(b)),
            SurgeryError,
            "The network takes several inputs. Expected one input; received 2",
        ),
    ],
)
def test_a_network_that_does_not_fit_is_refused_before_anything_is_written(
    vectors: Arrays, tmp_path: Path, network, error: type, message: str
):
    with pytest.raises(error, match=message):
        finetune(network(), vectors, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_option_names_close_ones(vectors: Arrays, tmp_path: Path):
    with pytest.raises(RecipeError, match=r"zoo.finetune has no option 'epoch'\..*epochs"):
        finetune(dense_net(), vectors, tmp_path / "run", epoch=3)


def test_a_plan_needs_its_network(vectors: Arrays, tmp_path: Path):
    with pytest.raises(RecipeError, match="A plan goes with the network that it was made for"):
        finetune("dnn", vectors, tmp_path / "run", plan=zoo.freeze(dense_net()))


def test_the_python_block_of_the_readme_runs_as_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    small_convnet().save(tmp_path / "network.keras")
    model = zoo.load(tmp_path / "network.keras")
    print(zoo.blocks(model))
    net = zoo.replace_top(model, cut="features", classes=10, hidden=[64], activation="elu", dropout=0.3)
    plan = zoo.freeze(net, upto="block1", batch_norm="frozen", layer_decay=0.5)
    print(plan)
    trunk, head = zoo.split(net, plan)
    x = quadrants(8)[0].astype("float32")
    np.testing.assert_allclose(head(trunk(x)), net(x), rtol=1e-6)
    data = zoo.open_data("digits")
    mine = zoo.finetune(net, data, plan=plan, out=tmp_path / "mine", limit_per_class=3, test="rest", epochs=2)
    assert set(mine.metrics) >= {"test", "val"}
    few = {"limit_per_class": 3, "test": "rest", "freeze": "all", "head_epochs": 2}
    run = zoo.finetune(tmp_path / "network.keras", "digits", out=tmp_path / "api", seed=7, **few)
    assert 0 <= run.metrics["test"]["accuracy"] <= 1
    assert "the frozen trunk gives block2_pool" in capsys.readouterr().out


def test_a_callback_that_saves_models_saves_the_whole_network(vectors: Arrays, tmp_path: Path):
    model = dense_net()
    saving = [
        keras.callbacks.ModelCheckpoint(str(tmp_path / "whole.keras")),
        keras.callbacks.ModelCheckpoint(str(tmp_path / "whole.weights.h5"), save_weights_only=True),
    ]
    plan = zoo.freeze(model, upto="low1")
    run = finetune(model, vectors, tmp_path / "run", plan=plan, epochs=2, callbacks=saving)
    again = keras.models.load_model(tmp_path / "whole.keras")
    np.testing.assert_array_equal(again(vectors[0]), run.model(vectors[0]))
    assert len(zoo.load_weights(model, tmp_path / "whole.weights.h5").restored) == 6


def test_what_was_given_in_python_is_said(vectors: Arrays, tmp_path: Path):
    model, loss = dense_net(), keras.losses.CategoricalFocalCrossentropy()
    run = finetune(
        model,
        vectors,
        tmp_path / "run",
        plan=zoo.freeze(model),
        epochs=1,
        loss=loss,
        callbacks=[keras.callbacks.Callback()],
    )
    log = (run.folder / "log.txt").read_text(encoding="utf-8")
    said = "the network 'dense_net', the data, the plan, the loss 'categorical_focal_crossentropy', "
    assert f"given in Python, and not in the recipe: {said}the callback Callback" in log


@pytest.mark.parametrize("callbacks", [keras.callbacks.Callback(), ["x"], [keras.callbacks.TerminateOnNaN]])
def test_what_is_no_callback_is_refused_before_there_is_a_folder(vectors: Arrays, tmp_path: Path, callbacks: Any):
    with pytest.raises(RecipeError, match=r"These are not callbacks\. Expected a list of keras.callbacks.Callback"):
        finetune(dense_net(), vectors, tmp_path / "run", callbacks=callbacks)
    assert not (tmp_path / "run").exists()


def test_an_optimizer_of_keras_is_refused_with_the_way_to_say_it(vectors: Arrays, tmp_path: Path):
    with pytest.raises(RecipeError, match=r'by its name and arguments.*Received Lion\. .*"name": "lion"'):
        finetune(dense_net(), vectors, tmp_path / "run", optimizer=keras.optimizers.Lion(1e-4))
