"""Compiled steps forgotten, so that the next one sees what was set on the variables since."""

import keras


def forget_steps(model: keras.Model) -> None:
    """Has a compiled network trace its steps again.

    The first step fixes which regularizers and constraints there are: what is set afterwards would change nothing, and
    what is taken off would go on. The optimizer keeps its state.

    Args:
        model: The network; others that share its layers keep their steps.
    """
    for step in ("train_function", "test_function"):
        if getattr(model, step, None) is not None:
            setattr(model, step, None)
