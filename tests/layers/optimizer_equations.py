"""What each of Keras's optimizers computes, written from its equation in NumPy: the reference of the tests.

Each function goes from the values ``w`` along the gradients ``gs`` at the rate ``eta``, and returns where it ends.
Step t counts from 1; ``mu(t)`` is the momentum (SGD, RMSprop, Muon) or beta_1 (the others) of that step. The numbers
that a function does not take are Keras's defaults, written out.
"""

from collections.abc import Callable, Sequence

import numpy as np

Values = np.ndarray
Momentum = Callable[[int], float]


def sgd(w: Values, gs: Sequence[Values], eta: float, mu: Momentum = lambda t: 0.0, nesterov: bool = False) -> Values:
    """m <- mu m - eta g; w <- w + m, with Nesterov w <- w + mu m - eta g."""
    m = np.zeros_like(w)
    for t, g in enumerate(gs, 1):
        m = mu(t) * m - eta * g
        w = w + (mu(t) * m - eta * g if nesterov else m)
    return w


def nesterov(w: Values, gs: Sequence[Values], eta: float, mu: Momentum = lambda t: 0.9) -> Values:
    """As above."""
    return sgd(w, gs, eta, mu, nesterov=True)


def adagrad(w: Values, gs: Sequence[Values], eta: float) -> Values:
    """s <- s + g^2, from 0.1; w <- w - eta g / sqrt(s + eps)."""
    s = np.full_like(w, 0.1)
    for g in gs:
        s = s + g**2
        w = w - eta * g / np.sqrt(s + 1e-7)
    return w


def rmsprop(
    w: Values, gs: Sequence[Values], eta: float, mu: Momentum = lambda t: 0.0, centered: bool = False
) -> Values:
    """s <- rho s + (1 - rho) g^2; m <- mu m + eta g / sqrt(s + eps); w <- w - m. Centered, s - mean^2 in place of s."""
    s, mean, m = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(gs, 1):
        s = 0.9 * s + 0.1 * g**2
        mean = 0.9 * mean + 0.1 * g
        m = mu(t) * m + eta * g / np.sqrt(s - (mean**2 if centered else 0) + 1e-7)
        w = w - m
    return w


def adadelta(w: Values, gs: Sequence[Values], eta: float) -> Values:
    """s <- rho s + (1 - rho) g^2; d = sqrt(D + eps) / sqrt(s + eps) g; D <- rho D + (1 - rho) d^2; w <- w - eta d."""
    s, moved = np.zeros_like(w), np.zeros_like(w)
    for g in gs:
        s = 0.95 * s + 0.05 * g**2
        d = np.sqrt(moved + 1e-7) / np.sqrt(s + 1e-7) * g
        moved = 0.95 * moved + 0.05 * d**2
        w = w - eta * d
    return w


def adam(
    w: Values, gs: Sequence[Values], eta: float, mu: Momentum = lambda t: 0.9, amsgrad: bool = False, decay: float = 0.0
) -> Values:
    """w <- w - eta sqrt(1 - beta_2^t) / (1 - prod beta_1) m / (sqrt(s) + eps); decay first: w <- w - eta lambda w."""
    m, s, largest, product = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w), 1.0
    for t, g in enumerate(gs, 1):
        w = w - eta * decay * w
        m = mu(t) * m + (1 - mu(t)) * g
        s = 0.999 * s + 0.001 * g**2
        largest = np.maximum(largest, s)
        product *= mu(t)
        w = w - eta * np.sqrt(1 - 0.999**t) / (1 - product) * m / (np.sqrt(largest if amsgrad else s) + 1e-7)
    return w


def adamw(w: Values, gs: Sequence[Values], eta: float, mu: Momentum = lambda t: 0.9) -> Values:
    """Adam with a decay of 0.004."""
    return adam(w, gs, eta, mu, decay=0.004)


def adamax(w: Values, gs: Sequence[Values], eta: float, mu: Momentum = lambda t: 0.9) -> Values:
    """u <- max(beta_2 u, |g|); w <- w - eta / (1 - prod beta_1) m / (u + eps)."""
    m, u, product = np.zeros_like(w), np.zeros_like(w), 1.0
    for t, g in enumerate(gs, 1):
        m = mu(t) * m + (1 - mu(t)) * g
        u = np.maximum(0.999 * u, np.abs(g))
        product *= mu(t)
        w = w - eta / (1 - product) * m / (u + 1e-7)
    return w


def nadam(w: Values, gs: Sequence[Values], eta: float, mu: Momentum = lambda t: 0.9) -> Values:
    """With mu_t = beta_1 (1 - 0.96^t / 2), of mean mu_{t+1} m / (1 - prod_{t+1}) + (1 - mu_t) g / (1 - prod_t)."""
    m, s, product = np.zeros_like(w), np.zeros_like(w), 1.0
    for t, g in enumerate(gs, 1):
        now, following = (mu(t) * (1 - 0.5 * 0.96**i) for i in (t, t + 1))
        product *= now
        m = mu(t) * m + (1 - mu(t)) * g
        s = 0.999 * s + 0.001 * g**2
        mean = following * m / (1 - product * following) + (1 - now) * g / (1 - product)
        w = w - eta * mean / (np.sqrt(s / (1 - 0.999**t)) + 1e-7)
    return w


def lion(w: Values, gs: Sequence[Values], eta: float, mu: Momentum = lambda t: 0.9) -> Values:
    """w <- w - eta sign(beta_1 m + (1 - beta_1) g); m <- beta_2 m + (1 - beta_2) g."""
    m = np.zeros_like(w)
    for t, g in enumerate(gs, 1):
        w = w - eta * np.sign(mu(t) * m + (1 - mu(t)) * g)
        m = 0.99 * m + 0.01 * g
    return w


def lamb(w: Values, gs: Sequence[Values], eta: float, mu: Momentum = lambda t: 0.9) -> Values:
    """u = (m / (1 - beta_1^t)) / (sqrt(s / (1 - beta_2^t)) + eps); w <- w - eta ||w|| / ||u|| u."""
    m, s = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(gs, 1):
        m = mu(t) * m + (1 - mu(t)) * g
        s = 0.999 * s + 0.001 * g**2
        u = m / (np.sqrt(s / (1 - 0.999**t)) + 1e-7)  # whatever corrects m goes out with ||u||
        w = w - eta * np.linalg.norm(w) / np.linalg.norm(u) * u
    return w


def adafactor(w: Values, gs: Sequence[Values], eta: float) -> Values:
    """rho = min(eta, 1 / sqrt(t)); w <- w - max(eps_2, rms(w)) rho u / max(1, rms(u)) with u = g / sqrt(v).

    Of a matrix v is the product of the rows' and columns' means over the mean of the rows' means.
    """
    rms = lambda x: np.sqrt(np.mean(x**2))  # noqa: E731
    v, rows, columns = np.zeros_like(w), np.zeros(w.shape[:-1]), np.zeros(w.shape[1:])
    for t, g in enumerate(gs, 1):
        beta, square = 1 - t**-0.8, g**2 + 1e-30
        if w.ndim == 2:
            rows = beta * rows + (1 - beta) * square.mean(axis=1)
            columns = beta * columns + (1 - beta) * square.mean(axis=0)
            v = np.outer(rows, columns) / rows.mean()
        else:
            v = beta * v + (1 - beta) * square
        u = g / np.sqrt(v)
        w = w - max(1e-3, rms(w)) * min(eta, t**-0.5) * u / max(1.0, rms(u))
    return w


def ftrl(
    w: Values,
    gs: Sequence[Values],
    eta: float | Sequence[float],
    l1: float = 0.0,
    l2: float = 0.0,
    beta: float = 0.0,
    power: float = -0.5,
    start: float = 0.1,
) -> Values:
    """McMahan et al., 2013, algorithm 1, with 1 / alpha at the rate of the moment, and Keras's power and 2 l2.

    n <- n + g^2; q = (n^-power + beta) / eta; z <- z + g - (q - q before) w; w <- (sign(z) l1 - z) / (q + 2 l2), or 0
    where |z| <= l1. Ours starts at z = -q w; Keras's at 0, with an eta of now in both q, so that w is forgotten.
    """
    etas = [eta] * len(gs) if isinstance(eta, float) else list(eta)
    n = np.full_like(w, start)
    before = (n**-power + beta) / etas[0]
    z = -before * w
    for now, g in zip(etas, gs, strict=True):
        n = n + g**2
        q = (n**-power + beta) / now
        z = z + g - (q - before) * w
        w = np.where(np.abs(z) <= l1, 0.0, (np.sign(z) * l1 - z) / (q + 2 * l2)) if l1 else -z / (q + 2 * l2)
        before = q
    return w


def muon(w: Values, gs: Sequence[Values], eta: float, mu: Momentum = lambda t: 0.95) -> Values:
    """Of a matrix: m <- mu m + g; w <- w - 0.2 sqrt(max(rows, columns)) eta NS(g + mu m), all after a decay of 0.004.

    NS takes five Newton-Schulz steps towards the nearest orthogonal matrix. All else is AdamW's.
    """
    if w.ndim != 2:
        return adamw(w, gs, eta)
    m = np.zeros_like(w)
    for t, g in enumerate(gs, 1):
        w = w - eta * 0.004 * w
        m = mu(t) * m + g
        x = g + mu(t) * m
        x = x / np.linalg.norm(x)
        for _ in range(5):
            square = x @ x.T
            x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
        w = w - 0.2 * np.sqrt(max(w.shape)) * eta * x
    return w


def schedulefreeadamw(w: Values, gs: Sequence[Values], eta: float, paper: bool = True) -> Values:
    """z <- z - eta g / (sqrt(s / (1 - beta_2^t)) + eps); x <- (1 - 1/t) x + z / t; w = 0.1 z + 0.9 x.

    Keras keeps z and w, and finds x back from them. On TensorFlow it reads z for that after z has moved: not the
    paper's x.
    """
    x, z, s = w, w, np.zeros_like(w)
    for t, g in enumerate(gs, 1):
        s = 0.999 * s + 0.001 * g**2
        moved = z - eta * g / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)
        x = (w - 0.1 * (z if paper else moved)) / 0.9
        z = moved
        x = (1 - 1 / t) * x + z / t
        w = 0.1 * z + 0.9 * x
    return w
