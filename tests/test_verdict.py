"""From figures to verdicts, and from verdicts to remedies."""

import math

import numpy as np
import pytest

from zoo.remedy import Setting, remedy
from zoo.verdict import DEAD, EXPLODED, FLAT, SATURATED, STEP, VANISHED, Figures, judge, short


def test_the_thresholds_are_those_of_the_literature():
    assert (VANISHED, EXPLODED, FLAT, SATURATED, DEAD, STEP) == (1e-3, 1e3, 0.1, 0.25, 0.5, 1.0)
    z = np.random.default_rng(0).normal(size=1_000_000)
    flat = lambda values: float(np.mean(1 - np.tanh(values) ** 2 < FLAT))  # noqa: E731
    assert flat(np.arctanh([0.948, 0.950])) == 0.5
    assert flat(z) == pytest.approx(0.07, abs=0.005)
    variance = 16 * 0.78  # the chapter's factor 4 squared, times the mean square of such a layer's outputs
    assert flat(z * math.sqrt(variance)) == pytest.approx(0.6, abs=0.02)


@pytest.mark.parametrize(
    ("figures", "expected", "why"),
    [
        (Figures(spread=1.0, forward=1.0, backward=1.0, saturated=0.2, dead=0.4, step=0.5), "healthy", ""),
        (Figures(weights_finite=False, dead=1.0), "exploding", "its weights hold NaN or infinity"),
        (Figures(finite=False, dead=1.0), "exploding", "it gives NaN or infinity"),
        (Figures(backward=math.nan, dead=1.0), "exploding", "the gradient that it gets is NaN or infinity"),
        (Figures(gradient=math.inf), "exploding", "the gradient that it gets is NaN or infinity"),
        (
            Figures(spread=2e3, forward=4e3, dead=0.9),
            "exploding",
            "its outputs spread 2e3 times as far as the input",
        ),
        (Figures(dead=0.5, saturated=1.0, backward=0.0), "dead", "50% of its units are off for every example"),
        (Figures(saturated=0.25, backward=1e9), "saturated", "25% of its values are saturated"),
        (Figures(backward=1001.0), "exploding", "it gets 1e3 times the gradient of the highest hidden layer"),
        (Figures(backward=0.00099), "vanishing", "it gets 1e-3 times the gradient of the highest hidden layer"),
        (Figures(backward=0.0), "vanishing", "no gradient reaches it"),
        (
            Figures(spread=1e-4, forward=2e-5, backward=1.0, step=9.0),
            "vanishing",
            "its outputs spread 1e-4 times as far as the input",
        ),
        (Figures(spread=1.0, forward=1.0, step=1.5), "exploding", "one step moves its weights by 1.5 times their size"),
    ],
)
def test_the_first_ill_that_holds_is_the_verdict(figures, expected, why):
    assert (judge(figures).name, judge(figures).why) == (expected, why)


@pytest.mark.parametrize(
    "figures",
    [
        Figures(dead=0.49, saturated=0.24, backward=VANISHED, step=STEP),
        Figures(backward=EXPLODED),
        Figures(spread=0.5, forward=1e4),  # a tiny input, normalized inside
        Figures(spread=1.0, forward=1e-5),  # a raw input, normalized inside
        Figures(spread=EXPLODED, forward=2 * EXPLODED),
        Figures(spread=VANISHED, forward=VANISHED / 2),
        Figures(),
    ],
)
def test_at_a_threshold_and_by_the_more_lenient_yardstick_a_layer_is_healthy(figures):
    assert judge(figures).name == "healthy"


def test_outputs_may_be_certain_and_may_start_at_zero():
    assert judge(Figures(output=True, saturated=1.0, dead=1.0, spread=0.0, forward=0.0)).name == "healthy"
    assert judge(Figures(output=True, spread=1e4, forward=1e4)).name == "exploding"
    assert judge(Figures(output=True, step=2.0)).name == "exploding"


def test_ranks_go_from_the_cause_to_what_follows_from_it():
    order = [
        Figures(weights_finite=False),
        Figures(finite=False),
        Figures(backward=math.nan),
        Figures(spread=1e9),
        Figures(dead=1.0),
        Figures(saturated=1.0),
        Figures(backward=1e9),
        Figures(backward=1e-9),
        Figures(backward=0.0),
        Figures(step=2.0),
        Figures(),
    ]
    ranks = [judge(figures).rank for figures in order]
    assert ranks == sorted(ranks) == list(range(11))


def test_a_remedy_tells_weights_from_construction():
    sick = judge(Figures(saturated=0.5))
    built = remedy(sick, Setting("tanh", fresh=sick))
    assert built.startswith("A fresh network has it too. Give each layer kernel_initializer=zoo.layers.for_activation")
    assert "BatchNormalization() before each activation" in built
    assert "BatchNormalization" not in remedy(sick, Setting("tanh", normalized=True, fresh=sick))
    learned = remedy(sick, Setting("tanh", fresh=judge(Figures())))
    assert learned.startswith("A fresh network does not have it. Train again at a lower --learning-rate")
    assert remedy(sick, Setting("tanh")).startswith("Give each layer")


def test_a_remedy_begins_with_a_raw_input_where_that_may_be_why():
    for figures in (Figures(saturated=0.5), Figures(spread=1e9), Figures(step=2.0)):
        for fresh in (None, judge(Figures()), judge(figures)):
            advice = remedy(judge(figures), Setting(spread=70.0, fresh=fresh))
            assert advice.startswith("First scale the input, which spreads 70, to about 1, and look again: ")
        assert "cale the input" not in remedy(judge(figures), Setting(spread=1.0))
    assert "cale the input" not in remedy(judge(Figures(dead=0.9)), Setting(spread=70.0))


def test_every_verdict_has_a_remedy_and_health_needs_none():
    sick = [Figures(weights_finite=False), Figures(spread=1e9), Figures(dead=1.0), Figures(saturated=1.0)]
    sick += [Figures(backward=1e-9), Figures(backward=0.0), Figures(step=2.0)]
    for figures in sick:
        for fresh in (None, judge(figures), judge(Figures())):
            for activation in ("sigmoid", "relu", ""):
                text = remedy(judge(figures), Setting(activation, fresh=fresh))
                assert text.endswith("."), text
    assert remedy(judge(Figures()), Setting()) == ""
    assert remedy(judge(Figures(backward=0.0)), Setting("sigmoid")).startswith("Look above it: a layer whose units are")
    vanished = remedy(judge(Figures(backward=1e-9)), Setting("sigmoid"))
    assert vanished == (
        "Use 'elu' with kernel_initializer=zoo.layers.for_activation('elu') in its place; or put "
        "keras.layers.BatchNormalization() before each activation."
    )


def test_numbers_are_short():
    values = (0.0, 0.5, -0.0042, 0.00098, 99.4, 123.4, 1e3, -2.5e-12, 1e100, math.nan, None)
    expected = ["0", "0.5", "-0.0042", "1e-3", "99", "123", "1e3", "-2e-12", "1e100", "nan", ""]
    assert [short(value) for value in values] == expected
