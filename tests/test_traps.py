"""Every trap is still one in plain Keras, and zoo does not fall into it."""

import re

import pytest

from . import traps

#: For each trap, what plain Keras shows at least (or its error), and what zoo shows at most (or exactly).
EXPECTED: dict[str, tuple[float | str, float | str]] = {
    "trainable_of_a_parent": (4, 6),
    "a_thawed_child_of_a_frozen_parent": (2, 0),
    "freezing_without_compiling_again": (2, 0),
    "statistics_without_compiling_again": (2, 0),
    "training_false_in_a_functional_model": (2, 0),
    "augmentation_in_inference": (0.5, 1e-5),
    "resizing_puts_batch_norm_into_training": (2, 0),
    "weight_penalty_of_a_frozen_layer": (0.01, 1e-6),
    "activity_penalty_of_a_frozen_trunk": (0.01, 1e-6),
    "the_order_of_batches": (1, 3),
    "dropout_after_loading": (0.2, 0),
    "slots_of_layers_thawed_later": ("ValueError", 2),
    "the_first_step_of_schedule_free_adamw": (0.9, 0.1),
    "weight_decay_of_a_slowed_block": (0.9, 0.101),
    "weight_decay_of_a_block_at_rate_zero": (0.9, 0),
    "global_clipping_with_an_optimizer_for_each_block": (1.5, 1.001),
    "inner_layers_of_a_nested_backbone": (0, 3),
    "equal_names_in_two_nested_models": ("ValueError", 1e-6),
    "a_name_that_is_taken": ("ValueError", "no error"),
    "a_networks_name_that_is_taken": ("ValueError", "no error"),
    "a_shared_layer_across_the_cut": ("ValueError", 1e-6),
    "the_output_of_a_shared_layer": (0.1, "SurgeryError"),
    "a_mask_across_the_cut": (0.1, 1e-6),
    "one_of_several_outputs": ("ValueError", 1e-6),
    "the_loss_of_folded_batch_norm": (0.01, 1e-6),
    "training_after_folding_batch_norm": (0.01, 1e-5),
}
#: Where more is better: what does not work in plain Keras is counted, and zoo does all of it.
COUNTED = {
    "trainable_of_a_parent",
    "slots_of_layers_thawed_later",
    "the_order_of_batches",
    "inner_layers_of_a_nested_backbone",
}


def test_every_trap_is_expected_to_show_something():
    assert list(EXPECTED) == list(traps.TRAPS)


@pytest.mark.parametrize("name", EXPECTED)
def test_plain_keras_falls_into_it(name: str):
    """Where this fails, Keras has mended it: the trap can go, and perhaps what zoo does about it."""
    expected, plain = EXPECTED[name][0], traps.measured(name).plain
    if isinstance(expected, str) or isinstance(plain, str):
        assert plain == expected
    else:
        assert plain <= expected if name in COUNTED else plain >= expected


@pytest.mark.parametrize("name", EXPECTED)
def test_zoo_does_not(name: str):
    expected, ours = EXPECTED[name][1], traps.measured(name).ours
    if isinstance(expected, str) or isinstance(ours, str):
        assert ours == expected
    else:
        assert ours >= expected if name in COUNTED else ours <= expected


def figures(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[4:6]]


def close(one: str, other: str) -> bool:
    """Whether two figures as the page has them are the same word, both nothing, or not far from each other."""
    if "`" in one + other:
        return one == other
    a, b = float(one), float(other)
    return max(a, b) <= 1e-4 or 0.5 <= a / (b or 1e-9) <= 2


def test_the_page_tells_every_trap_with_its_figures():
    """Only the last digits differ from machine to machine."""
    written = traps.PAGE.read_text(encoding="utf-8").splitlines()
    measured = traps.page().splitlines()
    told = [line.rsplit("|", 3)[0] for line in written], [line.rsplit("|", 3)[0] for line in measured]
    assert told[0] == told[1], "run: python -m tests.traps --write docs/traps.md"
    for line, other in zip(written, measured, strict=True):
        if line.startswith("| ") and not line.startswith("| trap"):
            assert all(close(*pair) for pair in zip(figures(line), figures(other), strict=True)), (line, other)
