"""The loss of every step, and the first in which two runs differ."""

from pathlib import Path

import numpy as np
import pytest

from zoo.errors import RunError
from zoo.run import write_steps
from zoo.step_losses import StepLoss, first_difference, read_steps


def steps(*losses: float) -> list[StepLoss]:
    return [StepLoss("head", i // 2 + 1, i % 2 + 1, str(loss), f"{loss:08x}") for i, loss in enumerate(losses)]


def test_what_is_written_is_read_with_all_of_its_bits(tmp_path: Path):
    losses = np.array([0.1, np.nextafter(np.float32(0.1), np.float32(1)), 1e-40, np.inf], "float32")
    write_steps(tmp_path, [("head", 2, losses[:3]), ("fine, tuned", 1, losses[3:])])
    found = read_steps(tmp_path)
    assert [(one.stage, one.epoch, one.step) for one in found] == [
        ("head", 1, 1), ("head", 1, 2), ("head", 2, 1), ("fine, tuned", 1, 1),
    ]  # fmt: skip
    assert [np.uint32(int(one.bits, 16)).view("float32") for one in found] == list(losses)
    assert found[0].bits != found[1].bits


def test_the_first_step_that_differs_is_found_and_not_a_later_one():
    found = first_difference(steps(5, 4, 3, 2), steps(5, 4, 9, 8))
    assert found is not None
    assert (found.number, found.where) == (2, "the stage 'head', epoch 2, step 1")
    assert found.said() == "loss 3 before (00000003), 9 now (00000009)"
    assert found.table() == {
        "stage": "head",
        "epoch": 2,
        "step": 1,
        "same_steps": 2,
        "before": {"loss": "3", "bits": "00000003"},
        "now": {"loss": "9", "bits": "00000009"},
    }


def test_the_bits_count_and_not_how_the_number_is_written():
    one, other = steps(5), [steps(5)[0]._replace(bits="00000006")]
    assert first_difference(one, other) is not None
    assert first_difference(one, [steps(5)[0]._replace(loss="5.0")]) is None


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (steps(5, 4), steps(5), "loss 4 before (00000004), no such step now"),
        (steps(5), steps(5, 4), "no such step before, loss 4 now (00000004)"),
    ],
)
def test_a_run_that_ended_earlier_differs_there(one: list[StepLoss], other: list[StepLoss], said: str):
    found = first_difference(one, other)
    assert found is not None
    assert (found.number, found.where, found.said()) == (1, "the stage 'head', epoch 1, step 2", said)


def test_runs_without_a_difference_have_none():
    assert first_difference(steps(5, 4), steps(5, 4)) is None
    assert first_difference([], []) is None


@pytest.mark.parametrize("text", [None, "stage,epoch\nhead,1\n", "stage,epoch,step,loss,bits\nhead,one,1,2,3\n"])
def test_losses_that_cannot_be_read_are_an_error(text: str | None, tmp_path: Path):
    if text is not None:
        (tmp_path / "steps.csv").write_text(text)
    with pytest.raises(RunError, match=r"cannot be read from .*steps\.csv.*Expected stage, epoch, step, loss and bits"):
        read_steps(tmp_path)
