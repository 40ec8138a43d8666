"""Figures against values worked by hand, and the algebra that must hold for any outputs."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zoo.data.dataset import Target
from zoo.errors import DataError
from zoo.metrics import confused_pairs, measure, mistake, number, printable, table, width

RIGHT = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]


def classes(*values: int, names=("cat", "dog", "emu")) -> Target:
    return Target("classes", tuple(names), np.array(values, np.int64))


def labels(rows, names=("a", "b")) -> Target:
    return Target("labels", tuple(names), np.array(rows, np.float32))


def numbers(rows, names=("x", "y")) -> Target:
    return Target("numbers", tuple(names), np.array(rows, np.float32))


def run(target: Target, outputs, **options) -> dict:
    names = [f"e{i}" for i in range(len(outputs))]
    return measure(target, target.values, np.array(outputs), names=names, **options)


# Classes


def test_classes_by_hand():
    # true 0 0 1 1 1, predicted 0 1 1 1 0; the third class neither occurs nor is predicted
    outputs = [[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.5, 0.3], [0.0, 1.0, 0.0], [0.9, 0.05, 0.05]]
    m = run(classes(0, 0, 1, 1, 1), outputs)
    assert m["examples"] == 5
    assert m["loss"] == pytest.approx(-math.log(0.8 * 0.3 * 0.5 * 1.0 * 0.05) / 5, rel=1e-12)
    assert m["accuracy"] == 3 / 5
    assert m["balanced_accuracy"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert m["macro_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert m["confusion"] == [[1, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert m["per_class"] == [
        {"name": "cat", "precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "support": 2},
        {"name": "dog", "precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3},
        {"name": "emu", "precision": None, "recall": None, "f1": None, "support": 0},
    ]
    assert m["worst"] == [
        {"name": "e4", "true": "dog", "predicted": "cat", "probability": 0.9, "true_probability": 0.05},
        {"name": "e1", "true": "cat", "predicted": "dog", "probability": 0.6, "true_probability": 0.3},
    ]


def test_a_class_never_predicted_has_no_precision_but_an_f1_of_zero():
    m = run(classes(0, 1, names=("cat", "dog")), [[0.9, 0.1], [0.6, 0.4]])
    assert m["per_class"][1] == {"name": "dog", "precision": None, "recall": 0.0, "f1": 0.0, "support": 1}
    assert m["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)


def test_a_class_predicted_but_absent_counts_in_macro_f1_and_not_in_balanced_accuracy():
    m = run(classes(0, 0, names=("cat", "dog")), [[0.9, 0.1], [0.4, 0.6]])
    assert m["per_class"][1] == {"name": "dog", "precision": 0.0, "recall": None, "f1": 0.0, "support": 0}
    assert m["balanced_accuracy"] == 0.5
    assert m["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)


def test_impossible_truth_costs_what_the_clip_allows():
    assert run(classes(1), [[1.0, 0.0, 0.0]])["loss"] == pytest.approx(-math.log(1e-7))


def test_uniform_outputs_cost_the_logarithm_of_the_number_of_classes():
    assert run(classes(0, 1, 2), np.full((3, 3), 1 / 3))["loss"] == pytest.approx(math.log(3))


def test_a_tie_goes_to_the_first_class():
    assert run(classes(1, names=("cat", "dog")), [[0.5, 0.5]])["confusion"] == [[0, 0], [1, 0]]


def test_worst_is_limited_and_equals_keep_their_order():
    m = run(classes(1, 1, 1, 1), [[0.6, 0.3, 0.1], [0.7, 0.2, 0.1], [0.6, 0.2, 0.2], [0.7, 0.3, 0.0]], worst=3)
    assert [row["name"] for row in m["worst"]] == ["e1", "e3", "e0"]
    assert run(classes(1), [[0.6, 0.3, 0.1]], worst=0)["worst"] == []


@st.composite
def class_cases(draw):
    k, n = draw(st.integers(2, 5)), draw(st.integers(1, 12))
    truth = draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n))
    raw = draw(arrays(np.float64, (n, k), elements=st.floats(0.001, 1)))
    return classes(*truth, names="abcde"[:k]), raw / raw.sum(axis=1, keepdims=True)


@given(class_cases(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_examples_changes_no_bit(case, random):
    target, outputs = case
    order = list(range(len(outputs)))
    random.shuffle(order)
    names = [f"e{i}" for i in order]
    moved = measure(target, target.values[order], outputs[order], names=names)
    first = run(target, outputs)
    assert sorted(row["name"] for row in first.pop("worst")) == sorted(row["name"] for row in moved.pop("worst"))
    assert first == moved


@given(class_cases())
@settings(deadline=None)
def test_the_confusion_matrix_adds_up(case):
    target, outputs = case
    m = run(target, outputs, worst=1000)
    confusion = np.array(m["confusion"])
    assert confusion.sum() == m["examples"] == len(outputs)
    assert confusion.sum(axis=1).tolist() == [row["support"] for row in m["per_class"]]
    assert m["accuracy"] == np.trace(confusion) / confusion.sum()
    assert len(m["worst"]) == confusion.sum() - np.trace(confusion)
    for j, row in enumerate(m["per_class"]):
        claims = confusion[:, j].sum()
        assert row["precision"] == (confusion[j, j] / claims if claims else None)
        p, r = row["precision"], row["recall"]
        if p and r:
            assert row["f1"] == pytest.approx(2 * p * r / (p + r))


@given(class_cases())
@settings(deadline=None)
def test_figures_survive_json(case):
    m = run(*case)
    assert json.loads(json.dumps(m, allow_nan=False)) == m


# Labels


def test_labels_by_hand():
    # predicted: a | a b | none; a's true: 1 0 1, b's true: 0 1 1
    m = run(labels([[1, 0], [0, 1], [1, 1]]), [[0.9, 0.2], [0.6, 0.8], [0.4, 0.1]])
    assert m["loss"] == pytest.approx(-math.log(0.9 * 0.8 * 0.4 * 0.8 * 0.4 * 0.1) / 6)
    assert m["exact_match"] == 1 / 3
    assert m["micro_f1"] == 2 * 2 / (4 + 3)
    assert m["per_label"] == [
        {"name": "a", "precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "support": 2},
        {"name": "b", "precision": 1.0, "recall": 1 / 2, "f1": 2 / 3, "support": 2},
    ]
    assert m["macro_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert [(row["name"], row["true"], row["predicted"]) for row in m["worst"]] == [
        ("e2", ["a", "b"], []),
        ("e1", ["b"], ["a", "b"]),
    ]
    assert m["worst"][0]["loss"] == pytest.approx(-math.log(0.4 * 0.1) / 2)
    assert json.loads(json.dumps(m, allow_nan=False)) == m


def test_a_half_is_not_yes():
    assert run(labels([[0, 0]]), [[0.5, 0.5]])["exact_match"] == 1.0


def test_labels_that_never_occur_have_no_f1():
    m = run(labels([[0, 0]]), [[0.1, 0.1]])
    assert m["micro_f1"] is None and m["macro_f1"] is None


def test_both_ends_of_binary_cross_entropy_are_clipped():
    assert run(labels([[1, 0]]), [[0.0, 1.0]])["loss"] == pytest.approx(-math.log(1e-7))


# Numbers


def test_numbers_by_hand():
    # errors x: 1 0 -1, y: 0 0 20; truth x: 1 2 3 (variance 2/3), y: 10 20 30 (variance 200/3)
    m = run(numbers([[1, 10], [2, 20], [3, 30]]), [[2, 10], [2, 20], [2, 50]])
    assert m["loss"] == m["mse"] == pytest.approx(402 / 6)
    assert m["mae"] == pytest.approx(22 / 6)
    assert m["rmse"] == pytest.approx(math.sqrt(402 / 6))
    x, y = m["per_column"]
    assert (x["name"], x["mse"], x["mae"], x["r2"]) == ("x", pytest.approx(2 / 3), pytest.approx(2 / 3), 0.0)
    assert (y["mse"], y["rmse"]) == (pytest.approx(400 / 3), pytest.approx(20 / math.sqrt(3)))
    assert y["r2"] == pytest.approx(1 - 400 / 200)
    assert m["r2"] == pytest.approx((0 - 1) / 2)
    assert [(row["name"], row["column"], row["error"]) for row in m["worst"]] == [("e2", "y", 20.0), ("e0", "x", 1.0)]
    assert m["worst"][0]["scaled_error"] == pytest.approx(20 / math.sqrt(200 / 3))


def test_a_constant_column_has_no_r2_and_is_not_scaled():
    truth = np.array([[0.1, 1], [0.1, 2], [0.1, 3]])
    assert truth[:, 0].std() > 0  # rounding: the case is real
    m = run(Target("numbers", ("x", "y"), truth), [[0.6, 1], [0.1, 2], [0.1, 3]])
    assert m["per_column"][0]["r2"] is None
    assert m["r2"] == m["per_column"][1]["r2"] == 1.0
    assert m["worst"] == [
        {
            "name": "e0",
            "column": "x",
            "true": pytest.approx(0.1),
            "predicted": 0.6,
            "error": pytest.approx(0.5),
            "scaled_error": pytest.approx(0.5),
        }
    ]


@given(
    arrays(np.float32, (7, 2), elements=st.floats(-100, 100, width=32)),
    arrays(np.float32, (7, 2), elements=st.floats(-100, 100, width=32)),
    st.permutations(range(7)),
)
@settings(deadline=None)
def test_the_order_of_rows_changes_no_bit_of_regression(truth, outputs, order):
    target = numbers(truth)
    first, moved = run(target, outputs), run(numbers(truth[order]), outputs[order])
    assert json.loads(json.dumps(first, allow_nan=False)) == first
    assert {k: v for k, v in first.items() if k != "worst"} == {k: v for k, v in moved.items() if k != "worst"}
    assert first["mae"] <= first["rmse"] * (1 + 1e-12)


def test_predicting_the_mean_gives_an_r2_of_zero():
    truth = np.array([[1.0], [2.0], [6.0]])
    assert run(numbers(truth, ("x",)), np.full((3, 1), 3.0))["r2"] == 0.0


# What cannot be measured


@pytest.mark.parametrize(
    ("target", "outputs"),
    [
        (classes(), np.zeros((0, 3))),
        (labels(np.zeros((0, 2))), np.zeros((0, 2))),
        (numbers(np.zeros((0, 2))), np.zeros((0, 2))),
    ],
)
def test_nothing_measured_gives_no_figures(target, outputs):
    assert run(target, outputs) == {"examples": 0}


def complaint(target: Target, outputs) -> str:
    with pytest.raises(DataError) as caught:
        run(target, outputs)
    return str(caught.value)


def test_no_targets():
    assert complaint(Target("none", (), np.zeros((2, 0))), np.zeros((2, 0))) == (
        "The data has no targets, so there is nothing to measure the outputs against. "
        "Give data with class folders or a target column, or use `zoo predict`."
    )


def test_shapes_that_do_not_fit():
    assert complaint(classes(0, 1), RIGHT[:1]) == (
        "The truth cannot be measured for 1 named examples with 3 outputs each. Expected the shape (1,); received (2,)."
    )
    assert complaint(classes(0, 1), [[0.5, 0.5]] * 2) == (
        "The outputs cannot be measured for 2 named examples with 3 outputs each. "
        "Expected the shape (2, 3); received (2, 2)."
    )


def test_names_that_are_too_few():
    with pytest.raises(DataError, match="for 1 named examples"):
        measure(classes(0, 1), np.array([0, 1]), np.array(RIGHT), names=["a"])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_outputs_that_are_not_finite(bad):
    assert complaint(classes(0, 1), [RIGHT[0], [bad, 0, 0]]) == (
        "The network's outputs are not all finite: training diverged. "
        "Expected finite numbers; received NaN or infinity for 1 of 2 examples. Lower the learning rate."
    )


def test_logits_are_not_taken_for_probabilities():
    assert complaint(classes(0, 1), [[3, -2, 0], [1, 2, 3]]) == (
        "The network's outputs are not probabilities. Expected probabilities from 0 to 1; "
        "received values from -2 to 3. Let the network end with a softmax; it may end with logits."
    )
    assert "Expected rows that sum to 1; received sums from 1 to 1.5." in complaint(
        classes(0, 1), [RIGHT[0], [0.5] * 3]
    )
    assert "end with a sigmoid" in complaint(labels([[1, 0]]), [[-0.5, 0.5]])


def test_probabilities_in_half_precision_are_taken():
    raw = np.random.default_rng(0).random((4, 500))
    half = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float16)
    assert run(classes(0, 1, 2, 3, names=[str(i) for i in range(500)]), half)["examples"] == 4


@pytest.mark.parametrize("values", [[0, 3], [-1, 0]])
def test_class_numbers_out_of_range(values):
    assert complaint(classes(*values), RIGHT) == (
        f"The truth is not class numbers. Expected integers from 0 to 2; "
        f"received int64 from {min(values)} to {max(values)}."
    )


def test_labels_that_are_neither_yes_nor_no():
    assert complaint(labels([[0.5, 1]]), [[0.5, 0.5]]) == (
        "The truth of several labels is not yes or no. Expected 0 and 1 only; received 0.5."
    )


def test_true_numbers_that_are_not_finite():
    assert complaint(numbers([[math.nan, 1]]), [[0, 0]]) == (
        "The true numbers are not all finite. Remove the rows with NaN or infinity."
    )


# The terminal


def test_table_aligns_wide_characters():
    target = classes(0, 1, 1, names=("고양이", "dog"))
    text = table(run(target, [[0.9, 0.1], [0.2, 0.8], [0.75, 0.25]]))
    assert text == "\n".join(
        [
            "3 examples  loss 0.572  accuracy 0.667  balanced accuracy 0.750  macro f1 0.667",
            "",
            "class   precision  recall     f1  support",
            "고양이      0.500   1.000  0.667        1",
            "dog         1.000   0.500  0.667        2",
            "",
            "true \\ predicted  0  1",
            "0 고양이          1  ·",
            "1 dog             1  1",
            "",
            "worst mistakes  true  predicted",
            "e2              dog   고양이     75.0 % sure, 25.0 % for the true class",
        ]
    )
    assert len({width(line) for line in text.splitlines()[2:5]}) == 1


def many(k: int) -> dict:
    outputs = np.full((k, k), 0.5 / (k - 1))
    np.fill_diagonal(outputs, 0.5)
    outputs[-1] = outputs[0]  # the last example is taken for the first class
    return run(classes(*range(k), names=[f"c{i}" for i in range(k)]), outputs)


def test_table_shows_the_matrix_up_to_thirty_classes_and_then_the_confused_pairs():
    assert "true \\ predicted" in table(many(30))
    assert "most confused" not in table(many(30))
    text = table(many(31))
    assert "true \\ predicted" not in text
    assert "true  predicted  most confused\nc30   c0                     1" in text


def test_table_of_labels_and_numbers_and_nothing():
    text = table(run(labels([[1, 0], [0, 0]]), [[0.4, 0.2], [0.1, 0.1]]))
    assert "label  precision  recall     f1  support\na              –   0.000  0.000        1" in text
    assert "e0              a     none       loss 0.57" in text
    text = table(run(numbers([[1, 10], [2, 20]]), [[1, 10], [2, 30]]))
    assert "column     mse    mae   rmse      r2" in text
    assert "e1              20    30         y: off by +10, 2 standard deviations" in text
    assert table({"examples": 0}) == "0 examples: nothing was measured."


def test_table_reads_what_json_gives_back():
    m = many(4)
    assert table(json.loads(json.dumps(m))) == table(m)


def test_names_cannot_break_the_table():
    m = run(classes(1, names=("cat", "x\n\x1b[31m")), [[0.9, 0.1]])
    assert "x��[31m" in table(m)
    assert "\x1b" not in table(m)


def test_long_names_lose_their_middle():
    m = run(classes(0, names=("a" * 40 + "b" * 40, "cat")), [[0.9, 0.1]])
    assert "a" * 23 + "…" + "b" * 24 in table(m)


def test_decomposed_korean_is_composed():
    assert printable("\u1112\u1161\u11ab") == "한"
    assert width(printable("\u1112\u1161\u11ab")) == 2


def test_confused_pairs_are_ordered_and_limited():
    m = {"per_class": [{"name": n} for n in "abc"], "confusion": [[5, 1, 2], [2, 5, 0], [3, 0, 5]]}
    assert confused_pairs(m, 3) == [("c", "a", 3), ("a", "c", 2), ("b", "a", 2)]


def test_mistakes_in_words():
    row = {"name": "e", "column": "x", "true": 1.5, "predicted": -2.0, "error": -3.5, "scaled_error": 0.25}
    assert mistake(row) == ("1.5", "-2", "x: off by -3.5, 0.25 standard deviations")
    assert mistake({"name": "e", "true": [], "predicted": ["a", "b"], "loss": 1.5}) == ("none", "a, b", "loss 1.5")


def test_numbers_are_never_hidden_by_rounding():
    assert [number(x) for x in (0.0, 1e-5, -0.01, 9999.9, 3, None)] == [
        "0.000",
        "1e-05",
        "-0.010",
        "9999.900",
        "3",
        "–",
    ]
