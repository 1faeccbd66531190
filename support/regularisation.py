"""How the paper's large network is regularised (section 3): Hinton et al. (2012), arXiv:1207.0580."""

from __future__ import annotations

from support.tiles import Workers, slices

from typing import Any

import numpy as np


def dropout_mask(shape: tuple[int, int], share: float, rng: np.random.Generator) -> np.ndarray:
    """Float32 array, 0 with probability `share` (to 1 part in 65,536), else 1 / (1 - share)."""
    drawn = rng.integers(0, 65536, shape, dtype=np.uint16)
    return (drawn >= round(share * 65536)) * np.float32(1 / (1 - share))


def limit_norms(network: Any, max_norm: float, workers: Workers) -> None:
    """Scale the incoming weights of every hidden unit whose L2 norm exceeds `max_norm` back to that norm.

    The weight constraint of section 3, from Hinton et al. (2012), arXiv:1207.0580. Biases are left alone.
    """

    def tile(weights: np.ndarray) -> None:
        norms = np.sqrt(np.einsum("ij,ij->i", weights, weights))
        too_long = norms > max_norm
        weights[too_long] *= (max_norm / norms[too_long])[:, None]

    hidden = [layer[:, :-1] for layer in network.layers[:-1]]
    workers.map(tile, [weights[rows] for weights in hidden for rows in slices(len(weights), 200)])
