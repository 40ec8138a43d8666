"""``zoo info``"""

import json

import keras

import zoo


def test_a_runs_card_is_shown(call, tiny):
    result = call("info", tiny)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "tiny: convnet fine-tuned on digits"
    assert "  takes:       image (8, 8, 1), 0 to 255, bilinear, stretch" in lines
    assert "  outputs:     10" in lines
    assert f"  where:       {tiny}" in lines
    assert any(line.startswith("  test: data digits, examples ") and ", accuracy 0." in line for line in lines)
    assert lines[-1] == f"fine-tune it: zoo finetune {tiny} DATA --out runs/NAME"


def test_json_is_all_of_standard_output(call, tiny, tiny_run):
    result = call("info", tiny, "--json")
    assert result.stderr == ""
    data = json.loads(result.stdout)
    assert data["labels"] == list("0123456789")
    assert data["digest"] == tiny_run.card.weights.sha256
    assert data["results"]["test"]["accuracy"] == tiny_run.metrics["test"]["accuracy"]
    assert "blocks" in data


def test_blocks_are_shown_bottom_to_top(call, tiny, tiny_run):
    result = call("info", tiny, "--blocks")
    assert result.exit_code == 0
    table = result.stdout.split("\n\n")[1].splitlines()
    assert [line.split()[0] for line in table[1:5]] == ["block1", "block2", "block3", "top"]
    card = tiny_run.card
    plan = zoo.freeze(tiny_run.model, train=["top"], blocks_of=card.blocks)
    assert "\n".join(table[:6]) == str(plan), "the table that a plan prints"
    assert table[1].split()[-5:] == ["8x8x32", "frozen", "frozen", "2.0", "kB"]
    data = json.loads(call("info", tiny, "--blocks", "--json").stdout)
    assert [block["name"] for block in data["blocks"]] == ["block1", "block2", "block3", "top"]
    assert sum(block["parameters"] for block in data["blocks"]) == tiny_run.model.count_params()
    assert data["blocks"][-1] == {
        "name": "top",
        "layers": ["top_output"],
        "parameters": 3850,
        "output": [10],
        "rate": 1.0,
        "batch_norm": None,
        "crosses_above": [],
    }
    assert data["blocks"][2]["crosses_above"] == [{"layer": "features", "shape": [384], "bytes": 1536}]


def test_an_architecture_is_shown_with_the_flag_that_it_needs(call):
    result = call("info", "dnn")
    assert result.stdout.endswith("fine-tune it: zoo finetune dnn DATA --out runs/NAME --from-scratch\n")
    result = call("info", "convnet", "--blocks", "--json")
    assert "for images of 28x28x1 and 10 classes:" in result.stderr
    assert json.loads(result.stdout)["blocks"][-1]["output"] == [10]


def test_a_network_that_ends_in_batch_normalization_is_shown_whole(call, tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="low_conv")(inputs)
    x = keras.layers.BatchNormalization(name="post_bn")(keras.layers.Dropout(0.1, name="post_drop")(x))
    keras.Model(inputs, keras.layers.Add(name="post_add")([x, x])).save(tmp_path / "net.keras")
    result = call("info", tmp_path / "net.keras", "--blocks")
    assert result.exit_code == 0, result.stderr
    assert "fixed_statistics" in result.stdout


def test_a_network_that_is_not_there_is_an_error(call):
    result = call("info", "./no/such/run")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: There is no network at no/such/run. Check the path.\n"
