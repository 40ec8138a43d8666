"""Which attributes of a layer hold nothing to save: Keras works it out once a layer, where once a kind would do."""

import importlib
from contextlib import suppress

#: What Keras's walk through a network tells apart.
KINDS = ("Operation", "Layer", "Functional", "Sequential")


def remember_what_is_skipped() -> None:
    """Has Keras keep, until its session is cleared, what it skips when it saves and loads a network.

    Up to 3.15 Keras stores these sets under another name than the one it looks under, and so makes a layer of each kind
    for each layer of the network. Nothing else changes; where Keras is another one, nothing happens.
    """
    with suppress(ImportError, AttributeError, ValueError):
        saving = importlib.import_module("keras.src.saving.saving_lib")
        state = importlib.import_module("keras.src.backend.common.global_state")
        for kind in KINDS:
            state.set_global_attribute(f"saving_attr_skiplist_{kind}", saving.get_attr_skipset(kind))
