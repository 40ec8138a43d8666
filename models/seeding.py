"""One seed for a whole network: every initializer and dropout layer gets its own, derived from it."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from zoo.errors import CardError, close_matches

Initializer = str | Mapping[str, Any]


class Seeds:
    """Seeds derived from one, each used once, in the order of asking.

    Keras's own default draws from global state, so that the same network built twice starts from different weights.

    Args:
        seed: The network's seed, 0 or more.

    Raises:
        CardError: The seed is not a whole number from 0.

    Example:
        >>> [Seeds(7).next() == Seeds(7).next(), Seeds(7).next() == Seeds(8).next()]
        [True, False]
    """

    def __init__(self, seed: int):
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            what = "The network's seed cannot be used."
            raise CardError(what, expected="a whole number, 0 or more", received=repr(seed), fix="Set `seed = 0`.")
        self._seed = seed
        self._used = 0

    def next(self) -> int:
        """The next derived seed, a whole number of 31 bits."""
        self._used += 1
        words = np.random.SeedSequence([self._seed, self._used]).generate_state(1)
        return int(words[0] >> 1)

    def initializer(self, name: Initializer) -> Any:
        """The initializer of that name (or Keras configuration), with the next derived seed.

        Args:
            name: As Keras spells it (``he_normal``), or ``{class_name = "VarianceScaling", config = {scale = 2.0}}``.

        Raises:
            CardError: Keras has no such initializer, or it refuses the configuration.
        """
        try:
            found: Any = keras.initializers.get(dict(name) if isinstance(name, Mapping) else name)
        except (ValueError, TypeError) as error:
            known = [n for n in dir(keras.initializers) if n.islower() and not n.startswith("_")]
            what = "The network's initializer is not known to Keras."
            fix = close_matches(str(name), known)
            raise CardError(what, expected="a name such as 'he_normal'", received=repr(name), fix=fix) from error
        config = found.get_config()
        if "seed" not in config:
            return found
        return type(found).from_config({**config, "seed": self.next()})
