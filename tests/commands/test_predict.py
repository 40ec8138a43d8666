"""``zoo predict``"""

import csv
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def images(tmp_path):
    """Three images of digits; one has a Korean name with a blank and a comma."""
    from zoo.data.builtin import digits

    x, _, _ = digits.load()
    files = []
    for i, name in enumerate(("a.png", "숫자 2, 둘.png", "c.png")):
        Image.fromarray(x[i][..., 0]).resize((8, 8)).save(tmp_path / name)
        files.append(tmp_path / name)
    return files


def test_a_table_has_the_classes_with_their_probabilities(call, tiny, images):
    result = call("predict", tiny, *images)
    assert result.exit_code == 0
    assert all(line.startswith("  predicting: ") for line in result.stderr.splitlines())  # where it takes its time
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["example", "1.", "2.", "3."]
    assert len(lines) == 4
    assert "숫자 2, 둘.png" in lines[2]


def test_json_is_all_of_standard_output_and_agrees_with_csv_and_with_python(call, tiny, tiny_run, images):
    import zoo

    result = call("predict", tiny, *images, "--json", "--top", 2)
    rows = json.loads(result.stdout)
    found = zoo.predict(tiny_run, [str(f) for f in images], top=2)
    assert [row["example"] for row in rows] == [p.example for p in found]
    assert [[(o["name"], o["value"]) for o in row["outputs"]] for row in rows] == [list(p.outputs) for p in found]
    table = list(csv.DictReader(io.StringIO(call("predict", tiny, *images, "--format", "csv", "--top", 2).stdout)))
    assert list(table[0]) == ["example", "rank", "name", "value"]
    assert [(r["example"], int(r["rank"]), r["name"]) for r in table] == [
        (p.example, rank, name) for p in found for rank, (name, _) in enumerate(p.outputs, 1)
    ]
    assert [float(r["value"]) for r in table] == pytest.approx([v for p in found for _, v in p.outputs], rel=1e-5)
    assert call("predict", tiny, *images, "--format", "json", "--top", 2).stdout == result.stdout


def test_probabilities_fall_and_all_of_them_make_one(call, tiny, images):
    row = json.loads(call("predict", tiny, images[0], "--json", "--top", 99).stdout)[0]
    values = [output["value"] for output in row["outputs"]]
    assert len(values) == 10
    assert values == sorted(values, reverse=True)
    assert sum(values) == pytest.approx(1, abs=1e-5)


def test_a_folder_and_built_in_data_are_predicted(call, tiny, images):
    assert len(json.loads(call("predict", tiny, images[0].parent, "--json", "--top", 1).stdout)) == 3
    assert len(json.loads(call("predict", tiny, "digits", "--json", "--top", 1).stdout)) == 1797


def test_what_the_network_does_not_take_is_an_error(call, tiny, tmp_path):
    np.savez(tmp_path / "v.npz", x=np.zeros((2, 5), "float32"))
    result = call("predict", tiny, tmp_path / "v.npz")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "The network does not take this: " in result.stderr
    assert "Expected image of shape (8, 8, 1); received vector of shape (5,)." in result.stderr


def test_errors_are_explained(call, tiny, images, tmp_path):
    result = call("predict", tiny, images[0], "--top", 0)
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: At least one class has to be given for each example. Expected --top 1 or more; received 0.\n"
    )
    result = call("predict", tiny, tmp_path / "none.png")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "none.png" in result.stderr
    assert call("predict", tiny, images[0], "--format", "xml").exit_code == 2


def test_a_file_that_cannot_be_read_is_an_error_unless_it_is_left_out(call, tiny, images):
    images[0].write_bytes(b"no image")
    result = call("predict", tiny, images[0].parent, "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "a.png" in result.stderr
    result = call("predict", tiny, images[0].parent, "--json", "--skip-bad")
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)) == 2
    assert "a.png" in result.stderr


def test_a_result_that_was_altered_is_an_error(call, tiny, tmp_path, images):
    shutil.copytree(tiny, tmp_path / "copy")
    with (tmp_path / "copy" / "model.keras").open("ab") as file:
        file.write(b"\0")
    result = call("predict", tmp_path / "copy", images[0])
    assert result.exit_code == 1
    assert "The weights of 'tiny' are not the ones that its card names" in result.stderr
