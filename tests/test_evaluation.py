"""Using a result: on what it is measured, and in what order it answers."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import zoo
from zoo.errors import DataError
from zoo.progress import Progress

from .networks import clusters, dense_net, quadrants, small_convnet, values

QUIET = Progress(quiet=True)


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    x, labels = quadrants(160)
    return x, np.array(["north-west", "north-east", "south-west", "south-east"])[labels]


@pytest.fixture(scope="module")
def run(pictures, tmp_path_factory: pytest.TempPathFactory) -> zoo.Run:
    net = small_convnet(4)
    out = tmp_path_factory.mktemp("runs") / "quadrants"
    plan = zoo.freeze(net, upto="block2")
    return zoo.finetune(net, pictures, out=out, plan=plan, epochs=12, learning_rate=0.01, progress=QUIET)


@pytest.fixture(scope="module")
def fresh() -> tuple[np.ndarray, np.ndarray]:
    """Examples that the run has not seen."""
    x, labels = quadrants(60, seed=5)
    return x, np.array(["north-west", "north-east", "south-west", "south-east"])[labels]


def said(stream: io.StringIO) -> str:
    return stream.getvalue()


def test_the_runs_own_data_gives_its_test_side(run: zoo.Run, pictures):
    stream = io.StringIO()
    figures = zoo.evaluate(run, pictures, progress=Progress(stream))
    known = run.metrics["test"]  # measured on what the trunk gave, which rounds otherwise than the whole network
    assert figures.keys() == known.keys()
    assert figures["accuracy"] == known["accuracy"]
    assert figures["loss"] == pytest.approx(known["loss"], rel=1e-4)
    count = run.metrics["test"]["examples"]
    assert f"the run's own data: its test side, {count} of 160 examples" in said(stream)


def test_a_folder_does_for_a_run(run: zoo.Run, fresh):
    assert zoo.evaluate(run.folder, fresh, progress=QUIET) == zoo.evaluate(run, fresh, progress=QUIET)


def test_examples_that_were_trained_on_are_left_out(run: zoo.Run, pictures, fresh):
    """Known by their content, wherever they stand."""
    mixed = np.concatenate([fresh[0], pictures[0]]), np.concatenate([fresh[1], pictures[1]])
    stream = io.StringIO()
    figures = zoo.evaluate(run, mixed, progress=Progress(stream))
    seen = sum(side in ("train", "val") for side in run.sides.values())
    assert figures["examples"] == 220 - seen
    assert f"{seen} of 220 examples left out: the run was trained or validated on them" in said(stream)


def test_nothing_left_is_an_error(run: zoo.Run, pictures):
    data = zoo.open_data(pictures)
    trained = [i for i in range(len(data)) if run.sides[data.digest(i)] == "train"]
    with pytest.raises(DataError, match="nothing to evaluate: the run was trained or validated on every example"):
        zoo.evaluate(run, (pictures[0][trained], pictures[1][trained]), progress=QUIET)


def test_classes_are_matched_by_name_not_by_place(run: zoo.Run, fresh):
    """Two of four classes, whose numbers in this data differ from those in the run's."""
    taken = np.isin(fresh[1], ["south-west", "south-east"])
    figures = zoo.evaluate(run, (fresh[0][taken], fresh[1][taken]), progress=QUIET)
    assert figures["accuracy"] > 0.8
    found = zoo.predict(run, fresh[0][taken], top=1, progress=QUIET)
    right = [p.outputs[0][0] == label for p, label in zip(found, fresh[1][taken], strict=True)]
    assert np.mean(right) == pytest.approx(figures["accuracy"])


def test_unknown_classes_are_refused(run: zoo.Run, fresh):
    labels = np.where(fresh[1] == "north-west", "northwest", fresh[1])
    with pytest.raises(DataError, match=r"classes that the run does not know: northwest\..*north-west"):
        zoo.evaluate(run, (fresh[0], labels), progress=QUIET)


def test_data_without_targets_cannot_be_compared(run: zoo.Run, fresh):
    text = r"The data has no targets to compare with\. Received '{}', unlabelled\. Give labels, or use zoo predict\."
    with pytest.raises(DataError, match=text.format("arrays")):
        zoo.evaluate(run, (fresh[0], None), progress=QUIET)
    with pytest.raises(DataError, match=text.format("arrays")):
        zoo.evaluate(run, zoo.open_data(fresh[0]), progress=QUIET)


def test_files_without_targets_cannot_be_compared(run: zoo.Run, fresh, tmp_path: Path):
    from PIL import Image

    np.savez(tmp_path / "new.npz", x=fresh[0])
    (tmp_path / "flat").mkdir()
    Image.fromarray(fresh[0][0, :, :, 0]).save(tmp_path / "flat" / "a.png")
    (tmp_path / "t.csv").write_text("file\nflat/a.png\n")
    for name in ("new.npz", "flat", "t.csv"):
        with pytest.raises(DataError, match=rf"no targets to compare with.*{name}', unlabelled.*use zoo predict"):
            zoo.evaluate(run, tmp_path / name, progress=QUIET)


@pytest.fixture
def folder(fresh, tmp_path: Path) -> Path:
    """Class folders of new examples, and a file that cannot be read."""
    from PIL import Image

    for i, (pixels, name) in enumerate(zip(*fresh, strict=True)):
        (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[:, :, 0]).save(tmp_path / "photos" / name / f"{i}.png")
    (tmp_path / "photos" / "north-east" / "bad.png").write_bytes(b"no image")
    return tmp_path / "photos"


def test_evaluate_says_what_the_data_says(run: zoo.Run, folder: Path):
    stream = io.StringIO()
    assert zoo.evaluate(run, folder, progress=Progress(stream), skip_bad=True)["examples"] == 60
    assert "1 file that cannot be read is left out: north-east/bad.png." in said(stream)
    assert "as the run's recipe says" not in said(stream)


def test_files_left_out_because_the_recipe_says_so_are_said(run: zoo.Run, folder: Path):
    other = zoo.Run(run.folder)
    other.__dict__["recipe"] = replace(run.recipe, data=replace(run.recipe.data, skip_bad=True))
    stream = io.StringIO()
    zoo.evaluate(other, folder, progress=Progress(stream))
    assert "left out, as the run's recipe says (skip_bad = true)" in said(stream)
    assert "1 file that cannot be read is left out: north-east/bad.png." in said(stream)


def test_skip_bad_judges_all_items_together(run: zoo.Run, folder: Path):
    bad, good = folder / "north-east" / "bad.png", folder / "south-east"
    stream = io.StringIO()
    found = zoo.predict(run, [bad, good], top=1, progress=Progress(stream), skip_bad=True)
    assert len(found) == len(list(good.iterdir()))
    assert "1 file that cannot be read is left out: " in said(stream) and "bad.png" in said(stream)
    with pytest.raises(DataError, match=r"bad\.png: its bytes are not those of an image"):
        zoo.predict(run, [bad, good], progress=QUIET)
    (folder / "only").mkdir()
    (folder / "only" / "worse.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 files of 2 cannot be read:(.|\n)*bad\.png(.|\n)*worse\.png"):
        zoo.predict(run, [bad, folder / "only"], progress=QUIET, skip_bad=True)


def test_arrays_and_data_sets_are_predicted_in_a_list_too(run: zoo.Run, fresh):
    found = zoo.predict(run, [fresh[0][:2], zoo.open_data(fresh)], top=1, progress=QUIET)
    assert len(found) == 62
    for items in ({"x": fresh[0]}, 5, [None]):
        with pytest.raises(DataError, match="not a kind of data that can be read"):
            zoo.predict(run, items, progress=QUIET)


def test_predictions_come_in_order_the_most_probable_first(run: zoo.Run, fresh):
    found = zoo.predict(run, fresh[0], top=3, progress=QUIET)
    assert len(found) == 60
    outputs = run.model(fresh[0].astype("float32"), training=False).numpy()
    for prediction, row in zip(found, outputs, strict=True):
        names, shares = zip(*prediction.outputs, strict=True)
        order = np.argsort(-row)[:3]
        assert list(names) == [run.card.labels[i] for i in order]
        np.testing.assert_allclose(shares, row[order], atol=1e-5)
    assert [len(p.outputs) for p in zoo.predict(run, fresh[0][:2], top=9, progress=QUIET)] == [4, 4]


def test_neither_evaluate_nor_predict_moves_anything(run: zoo.Run, fresh):
    before = values(run.model)
    zoo.evaluate(run, fresh, progress=QUIET)
    zoo.predict(run, fresh[0], progress=QUIET)
    assert values(run.model) == before


def test_files_are_predicted_under_their_names(run: zoo.Run, fresh, tmp_path: Path):
    from PIL import Image

    for i in range(3):
        Image.fromarray(fresh[0][i, :, :, 0]).save(tmp_path / f"{i}.png")
    files = [tmp_path / f"{i}.png" for i in (2, 0, 1)]
    found = zoo.predict(run, files, top=1, progress=QUIET)
    expected = zoo.predict(run, fresh[0][[2, 0, 1]], top=1, progress=QUIET)
    assert [Path(p.example).name for p in found] == ["2.png", "0.png", "1.png"]
    assert [p.outputs for p in found] == [p.outputs for p in expected]
    folder = zoo.predict(run, tmp_path, top=1, progress=QUIET)
    assert [Path(p.example).name for p in folder] == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize(
    ("items", "top", "message"),
    [
        (np.zeros((2, 5), "float32"), 1, r"does not take this: .*Expected image of shape \(8, 8, 1\); received vector"),
        (np.zeros((2, 8, 8, 1), "uint8"), 0, "At least one class has to be given.*--top 1 or more; received 0"),
    ],
)
def test_what_cannot_be_predicted_is_refused(run: zoo.Run, items: np.ndarray, top: int, message: str):
    with pytest.raises(DataError, match=message):
        zoo.predict(run, items, top=top, progress=QUIET)


def test_numbers(tmp_path: Path):
    x, _ = clusters(120, features=4)
    y = np.stack([100 * x[:, 0], 3 + x[:, 1]], axis=1).astype("float32")
    net = zoo.replace_top(dense_net(features=4), cut="low2", classes=2, output="linear")
    plan = zoo.freeze(net)
    run = zoo.finetune(net, (x, y), out=tmp_path / "run", target="numbers", plan=plan, epochs=3, progress=QUIET)
    new, truth = clusters(30, features=4, seed=9)[0], None
    truth = np.stack([100 * new[:, 0], 3 + new[:, 1]], axis=1).astype("float32")
    figures = zoo.evaluate(run, (new, truth), progress=QUIET)
    outputs = run.model(new, training=False).numpy()
    assert figures["mae"] == pytest.approx(float(np.abs(outputs - truth).mean()), rel=1e-4)
    assert set(figures["per_column"][0]) >= {"rmse", "r2"}
    found = zoo.predict(run, new, progress=QUIET)
    np.testing.assert_allclose([value for _, value in found[3].outputs], outputs[3], rtol=1e-4, atol=1e-4)
    assert [name for name, _ in found[0].outputs] == list(run.card.labels)
    with pytest.raises(DataError, match=r"lacks columns|does not know"):
        zoo.evaluate(run, (new, truth[:, :1]), progress=QUIET)


def _write(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in [header, *rows]))
    return path


@pytest.fixture(scope="module", params=["classification", "regression"])
def tabled(request, tmp_path_factory: pytest.TempPathFactory) -> tuple[zoo.Run, Path, list[list[object]]]:
    """A run on a CSV whose target has a name that is not known for one, and stands last; the file and its rows."""
    folder = tmp_path_factory.mktemp(request.param)
    x, y = clusters(120, features=3, classes=3)
    numbers = request.param == "regression"
    targets = [f"{100 * row[0] - row[2]:.3f}" for row in x] if numbers else [f"k{i}" for i in y]
    rows: list[list[object]] = [[*map(float, row), target] for row, target in zip(x, targets, strict=True)]
    path = _write(folder / "train.csv", ["wide", "high", "deep", "found"], rows)
    net = dense_net(features=3, classes=3)
    if numbers:
        net = zoo.replace_top(net, cut="low2", classes=1, output="linear")
    run = zoo.finetune(net, path, out=folder / "run", plan=zoo.freeze(net), epochs=6, progress=QUIET)
    return run, path, rows


def test_the_recipe_of_a_run_says_the_columns_of_its_table(tabled):
    part = tabled[0].recipe.data
    assert (part.feature_columns, part.label_column) == (("wide", "high", "deep"), ("found",))
    assert (part.path_column, part.text_column) == (None, None)


@pytest.mark.parametrize("name", ["other.csv", "other.CSV"])
def test_columns_are_chosen_by_name_wherever_they_stand(tabled, tmp_path: Path, name: str):
    run, path, rows = tabled
    order = [3, 2, 0, 1]
    header = ["wide", "high", "deep", "found"]
    moved = _write(tmp_path / name, ["id", *(header[i] for i in order)], [[7, *(r[i] for i in order)] for r in rows])
    expected = [p.outputs for p in zoo.predict(run, path, progress=QUIET)]
    stream = io.StringIO()
    assert [p.outputs for p in zoo.predict(run, moved, progress=Progress(stream))] == expected
    assert "Columns not used: 'id', 'found'." in said(stream)
    assert zoo.evaluate(run, moved, progress=QUIET) == run.metrics["test"]


def test_the_file_of_the_training_can_be_predicted(tabled):
    run, path, rows = tabled
    x = np.array([row[:3] for row in rows], "float32")
    found = zoo.predict(run, path, progress=QUIET)
    expected = zoo.predict(run, x, progress=QUIET)
    assert [p.outputs for p in found] == [p.outputs for p in expected]
    assert len(found) == 120


def test_a_column_that_is_missing_is_named(tabled, tmp_path: Path):
    run, _, rows = tabled
    path = _write(tmp_path / "other.csv", ["wide", "hihg", "deep", "found"], rows)
    for use in (zoo.evaluate, zoo.predict):
        with pytest.raises(DataError, match=r"There is no column 'high'\. Did you mean 'hihg'\?"):
            use(run, path, progress=QUIET)


def test_a_run_on_a_table_takes_arrays_too(tabled):
    """They have no columns."""
    run, path, rows = tabled
    x = np.array([row[:3] for row in rows], "float32")
    opened = zoo.open_data(path)
    assert zoo.evaluate(run, opened, progress=QUIET) == run.metrics["test"]
    if run.card.task == "classification":
        assert zoo.evaluate(run, (x, [row[3] for row in rows]), progress=QUIET)["examples"] > 0
    assert len(zoo.predict(run, opened, progress=QUIET)) == 120


def test_the_columns_of_a_runs_recipe_hold_for_other_tables_and_not_for_what_has_none(tabled):
    from zoo.options import Options
    from zoo.preparation import resolve

    run, path, _ = tabled
    kept = resolve(None, str(path.parent / "other.csv"), run.recipe, Options()).data
    assert kept.feature_columns == ("wide", "high", "deep")
    dropped = resolve(None, "digits", run.recipe, Options()).data
    assert (dropped.feature_columns, dropped.label_column) == ((), ())


def test_reading_many_files_is_told(run: zoo.Run, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Progress, "EVERY", 0)
    files = sorted((folder / "south-east").iterdir())
    for use, data in ((zoo.evaluate, folder), (zoo.predict, folder), (zoo.predict, files)):
        stream = io.StringIO()
        use(run, data, progress=Progress(stream), skip_bad=True)
        total = len(files) if data is files else 61
        assert f"  reading: {total}/{total} files\n" in said(stream)
