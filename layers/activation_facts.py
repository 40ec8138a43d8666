r"""What is known of each activation: its formula, its slopes, what it costs, where it comes from.

The page on activations is written from this table, and the tests hold each row against numbers.
"""

import math
from dataclasses import dataclass

from .initializers import SCALES

INF = math.inf


@dataclass(frozen=True)
class Facts:
    r"""One activation.

    Args:
        formula: :math:`f(z)` in LaTeX.
        at_zero: Its slope just below and just above 0.
        at_ends: What its slope tends to on the far left and the far right.
        cost: Its time relative to ReLU's, to predict and to train, on two cores with AVX-512 in float32
            (``benchmarks/activation_costs.py``).
        source: Author and year.
    """

    formula: str
    at_zero: tuple[float, float]
    at_ends: tuple[float, float]
    cost: tuple[float, float]
    source: str

    @property
    def saturates(self) -> str:
        """On which sides the slope tends to 0, so that a unit there hardly learns.

        Example:
            >>> FACTS["tanh"].saturates, FACTS["elu"].saturates, FACTS["leaky_relu"].saturates
            ('both', 'left', 'no')
        """
        left, right = (slope == 0 for slope in self.at_ends)
        return "both" if left and right else "left" if left else "right" if right else "no"

    @property
    def smooth(self) -> bool:
        """Whether the slope is the same on both sides of 0."""
        return self.at_zero[0] == self.at_zero[1]


_SELU = (1.6732632423543772, 1.0507009873554805)

#: By name, the chapter's first and in its order.
FACTS: dict[str, Facts] = {
    "elu": Facts(r"z;\ \alpha(e^z - 1)", (1, 1), (0, 1), (1.3, 1.3), "Clevert 2016, eq. 15"),
    "leaky_relu": Facts(r"z;\ 0.01z", (0.01, 1), (0.01, 1), (0.6, 0.7), "Maas 2013"),
    "very_leaky_relu": Facts(r"z;\ 0.2z", (0.2, 1), (0.2, 1), (0.5, 0.7), "the chapter; 1/5.5 in Xu 2015"),
    "rrelu": Facts(
        r"z;\ az,\ a \sim U(\tfrac18, \tfrac13)", (11 / 48, 1), (11 / 48, 1), (1.1, 6.3), "Xu 2015, section 2.4"
    ),
    "prelu": Facts(r"z;\ az,\ a \text{ learned}", (0.25, 1), (0.25, 1), (1.7, 2.4), "He 2015, eq. 1"),
    "relu": Facts(r"\max(0, z)", (0, 1), (0, 1), (1.0, 1.0), "Nair, Hinton 2010"),
    "tanh": Facts(r"\tanh z", (1, 1), (0, 0), (0.9, 1.1), "LeCun 1998, section 4.4"),
    "sigmoid": Facts(r"1 / (1 + e^{-z})", (0.25, 0.25), (0, 0), (1.3, 1.3), "the logistic function"),
    "selu": Facts(
        r"\lambda z;\ \lambda\alpha(e^z - 1)",
        (_SELU[0] * _SELU[1], _SELU[1]),
        (0, _SELU[1]),
        (1.3, 1.4),
        "Klambauer 2017, eq. 2",
    ),
    "celu": Facts(r"z;\ \alpha(e^{z/\alpha} - 1)", (1, 1), (0, 1), (3.8, 5.7), "Barron 2017"),
    "gelu": Facts(r"z\,\Phi(z)", (0.5, 0.5), (0, 1), (4.3, 5.4), "Hendrycks 2016"),
    "silu": Facts(r"z\,\sigma(z)", (0.5, 0.5), (0, 1), (1.7, 2.5), "Ramachandran 2017 (swish)"),
    "mish": Facts(r"z \tanh \ln(1 + e^z)", (0.6, 0.6), (0, 1), (1.2, 6.1), "Misra 2019"),
    "relu6": Facts(r"\min(\max(0, z), 6)", (0, 1), (0, 0), (0.9, 0.9), "Krizhevsky 2010"),
    "hard_silu": Facts(r"z \cdot \text{hard\_sigmoid}(z)", (0.5, 0.5), (0, 1), (1.1, 1.9), "Howard 2019"),
    "softplus": Facts(r"\ln(1 + e^z)", (0.5, 0.5), (0, 1), (4.4, 4.5), "Dugas 2001"),
    "squareplus": Facts(r"(z + \sqrt{z^2 + 4}) / 2", (0.5, 0.5), (0, 1), (1.5, 2.3), "Barron 2021"),
    "sparse_plus": Facts(r"(z + 1)^2 / 4 \text{ from } -1 \text{ to } 1", (0.5, 0.5), (0, 1), (2.5, 3.8), "Keras"),
    "softsign": Facts(r"z / (1 + \lvert z \rvert)", (1, 1), (0, 0), (1.1, 0.9), "Bergstra 2009; Glorot 2010"),
    "hard_tanh": Facts(r"\max(-1, \min(1, z))", (1, 1), (0, 0), (0.8, 2.1), "Collobert 2004"),
    "hard_sigmoid": Facts(r"\max(0, \min(1, z/6 + 1/2))", (1 / 6, 1 / 6), (0, 0), (1.1, 1.2), "Howard 2019"),
    "sparse_sigmoid": Facts(r"\max(0, \min(1, (z + 1)/2))", (0.5, 0.5), (0, 0), (1.9, 2.0), "Blondel 2019"),
    "log_sigmoid": Facts(r"-\ln(1 + e^{-z})", (0.5, 0.5), (1, 0), (4.5, 5.0), "Keras"),
    "exponential": Facts(r"e^z", (1, 1), (0, INF), (1.4, 1.4), "Keras"),
    "soft_shrink": Facts(
        r"\operatorname{sign}(z) \max(0, \lvert z \rvert - 0.5)", (0, 0), (1, 1), (2.2, 3.1), "Donoho 1994"
    ),
    "hard_shrink": Facts(
        r"z \text{ where } \lvert z \rvert > 0.5, \text{ else } 0", (0, 0), (1, 1), (1.8, 1.7), "Donoho 1994"
    ),
    "tanh_shrink": Facts(r"z - \tanh z", (0, 0), (1, 1), (1.4, 1.5), "Keras"),
    "linear": Facts(r"z", (1, 1), (1, 1), (0.5, 0.3), "the identity"),
}

#: The chapter's order, the best first; its exceptions are on the page.
CHAPTER_ORDER = ("elu", "leaky_relu", "relu", "tanh", "sigmoid")


def initializer_text(name: str) -> str:
    """What :func:`zoo.layers.for_activation` gives an activation: Keras's name, or the variance for fan-in n.

    Example:
        >>> initializer_text("elu"), initializer_text("sigmoid"), initializer_text("exponential")
        ('`he_normal`', '16/n', '-')
    """
    scale = SCALES.get(name)
    named = {2.0: "`he_normal`", 1.0: "`lecun_normal`", None: "-"}
    return named[scale] if scale in named else f"{scale:.3g}/n"
