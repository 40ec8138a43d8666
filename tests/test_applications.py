"""The networks of keras.applications: their split is exact, and the comparison that says so can see a fault.

``benchmarks/split_applications.py`` makes the full table of docs/split.md, with more cuts.
"""

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

import zoo
from benchmarks import split_applications as comparison
from benchmarks.split_applications import Cut, Row

#: The large ones take minutes on a busy machine.
pytestmark = pytest.mark.timeout(900)

#: Small ones of two kinds: squeeze and excite, and plain skips.
FEW = ("MobileNetV3Small", "ResNet50")
#: One of every other family; its further sizes differ in depth and width alone, and are the script's.
FAMILIES = (
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "InceptionResNetV2",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "NASNetMobile",
    "ResNet50V2",
    "VGG16",
    "Xception",
)


@pytest.fixture(autouse=True)
def _forget_networks() -> Iterator[None]:
    """Hundreds of megabytes a network stay in Keras's state otherwise."""
    yield
    keras.backend.clear_session()
    gc.collect()


@pytest.mark.parametrize("name", FEW)
def test_a_network_is_its_trunk_and_its_head_at_every_cut(name: str):
    row = comparison.measure(name, inside=4)
    assert row.faults == []
    assert len(row.between) == len(zoo.blocks(comparison.smallest(comparison.networks()[name]))) - 1
    assert len(row.inside) == 4


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_of_every_other_family_is_its_trunk_and_its_head_at_every_cut(name: str):
    assert comparison.measure(name, inside=4).faults == []


def test_every_network_that_keras_exports_is_compared():
    capital = {name for name in dir(keras.applications) if name[0].isupper()}
    assert set(comparison.networks()) == capital
    assert len(capital) >= 38


def test_a_split_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch):
    split = zoo.split

    def off(model: keras.Model, plan: zoo.Plan) -> tuple[keras.Model, keras.Model]:
        trunk, head = split(model, plan)
        outputs = keras.tree.map_structure(lambda tensor: keras.ops.roll(tensor, 1, axis=-1), trunk.output)
        return keras.Model(trunk.input, outputs), head

    monkeypatch.setattr(zoo, "split", off)
    row = comparison.measure("MobileNetV2", inside=2)
    assert all(cut.difference > 0.1 for cut in row.cuts)
    assert sum("the split differs by" in fault for fault in row.faults) == len(row.cuts)


@pytest.mark.slow
def test_a_trunk_that_ends_too_low_is_found(monkeypatch: pytest.MonkeyPatch):
    """It would be equal too: the comparison alone does not see that less is frozen than was planned."""
    lowest, split = [], zoo.split

    def low(model: keras.Model, plan: zoo.Plan) -> tuple[keras.Model, keras.Model]:
        lowest.append(plan)
        return split(model, lowest[0])

    monkeypatch.setattr(zoo, "split", low)
    row = comparison.measure("VGG16", inside=0)
    assert [cut.difference for cut in row.cuts] == [0.0] * len(row.cuts)
    assert sum("frozen parameters are not in the trunk" in fault for fault in row.faults) == len(row.cuts) - 1


@pytest.mark.slow
def test_in_a_fresh_network_a_planted_fault_hides(monkeypatch: pytest.MonkeyPatch):
    """Why networks are made live first."""
    live = comparison.measure("MobileNetV3Small", inside=0)
    monkeypatch.setattr(comparison, "make_live", lambda model, x: None)
    fresh = comparison.measure("MobileNetV3Small", inside=0)
    assert min(cut.channel for cut in fresh.cuts) < min(cut.channel for cut in live.cuts) / 10


def test_a_live_network_normalizes_what_inference_gives_it_and_keeps_its_settings():
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Dropout(0.5, name="drop")(inputs)
    norm = keras.layers.BatchNormalization(name="norm", momentum=0.9, epsilon=1e-6)
    model = keras.Model(inputs, norm(x))
    x = comparison.pictures(8, 32)
    comparison.make_live(model, x)
    given = np.asarray(model(x, training=False))
    assert np.abs(given.mean((0, 1, 2))).max() < 1e-3
    np.testing.assert_allclose(given.std((0, 1, 2)), 1, atol=1e-3)
    assert norm.momentum == 0.9
    assert model.get_layer("drop").rate == 0.5


def cut(**figures: float | None) -> Cut:
    """A cut that is right, but for ``figures``."""
    return replace(Cut("low", 1, 0, 0.0, 1e-4, None), **figures)


@pytest.mark.parametrize(
    "figures, fault",
    [
        ({"difference": 2e-6}, "low: the split differs by 2.0e-06"),
        ({"difference": float("nan")}, "low: the split differs by nan"),
        ({"channel": 9e-7}, "low: a planted fault passes, it makes 9.0e-07 only"),
        ({"wrong_tensor": 0.0}, "low: a planted fault passes, it makes 0.0e+00 only"),
        ({"channel": float("nan")}, "low: a planted fault passes, it makes nan only"),
        ({"missing": 12}, "low: 12 frozen parameters are not in the trunk"),
    ],
)
def test_a_row_says_what_is_wrong_with_it(figures: dict[str, float | None], fault: str):
    right = Row("Net", 32, 1000, 1.0, 1.0, [cut()], [cut(wrong_tensor=1.0)])
    assert right.faults == []
    assert replace(right, inside=[cut(**figures)]).faults == [fault]
    assert replace(right, spread=1e-5).faults == ["dead: its logits' spread is 1.0e-05 of their size"]


def test_the_worst_difference_and_the_least_fault_stand_in_the_table():
    between = [cut(), cut(difference=3e-7, crossing=3)]
    text = comparison.table([Row("Net", 32, 2_500_000, 1.25, 61.0, between, [cut(channel=3e-5, wrong_tensor=0.5)])])
    assert text.splitlines()[0].startswith("1 networks, 3 cuts, 1 minutes on ")
    assert text.splitlines()[-1] == (
        "| Net | 32x32 | 2.5 M | 1.2 | 2 | 1 | 1 to 3 | 3.0e-07 | 3.0e-05 | 5.0e-01 | 61 |"
    )


def test_a_kernel_is_off_in_its_strongest_channel_first():
    kernel = np.ones((3, 3, 2, 1), "float32")  # depthwise: two channels
    kernel[:, :, 1] = 2
    first, second = comparison._off_by_one_percent(kernel)
    np.testing.assert_allclose(first / kernel, np.broadcast_to([[[[1.0], [1.01]]]], kernel.shape), rtol=1e-6)
    np.testing.assert_allclose(second / kernel, np.broadcast_to([[[[1.01], [1.0]]]], kernel.shape), rtol=1e-6)


def test_one_tensor_takes_the_place_of_another_of_its_shape():
    a, b, c = np.zeros((1, 2)), np.ones((1, 3)), np.ones((1, 2))
    found = comparison._one_in_anothers_place([a, b, c])
    assert [id(t) for t in found] == [id(a), id(b), id(a)]
    assert comparison._one_in_anothers_place([a, b]) == []
    assert comparison._one_in_anothers_place([a, a.copy()]) == [], "they are equal: it would be no fault"


def test_a_table_takes_the_place_of_the_one_before(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- one -->\nold\n<!-- end of one -->\nbelow\n", encoding="utf-8")
    comparison.write_section(page, "one", "new")
    comparison.write_section(page, "one", "newer")
    assert page.read_text(encoding="utf-8") == "above\n<!-- one -->\n\nnewer\n\n<!-- end of one -->\nbelow\n"
    with pytest.raises(SystemExit, match="has no lines '<!-- two -->' and '<!-- end of two -->'"):
        comparison.write_section(page, "two", "new")
