"""Whether images look as MNIST's do, bright ink on black; what learned from those knows no other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

INK = 255  # of MNIST; its background is 0
BRIGHT = INK / 2
LIKE_MNIST = f"MNIST's are bright ink ({INK}) on black (0)"


def oddities(images_by_part: Mapping[str, np.ndarray]) -> list[str]:
    """What is unlike MNIST in grey images uint8 (n, height, width), a line for each kind; [] for others."""
    if any(images.ndim != 3 for images in images_by_part.values()):
        return []
    flat = {part: images.reshape(len(images), -1) for part, images in images_by_part.items()}
    brightest = {part: int(pixels.max()) for part, pixels in flat.items()}
    empty = {part: int((pixels.min(axis=1) == pixels.max(axis=1)).sum()) for part, pixels in flat.items()}
    light = [part for part, images in images_by_part.items() if is_light(images)]
    faint = [part for part, most in brightest.items() if 0 < most < BRIGHT]
    said = []
    if light:
        said.append(f"the {named(light)} images have a light background; {LIKE_MNIST}: invert them")
    if faint:
        most = max(brightest[part] for part in faint)
        said.append(f"the {named(faint)} images' pixels only reach {most}; {LIKE_MNIST}: scale them up")
    if any(empty.values()):
        counts = [f"{n:,} {part}" for part, n in empty.items() if n]
        said.append(f"{named(counts)} images are empty, all pixels alike; {LIKE_MNIST}")
    return said


def named(parts: list[str]) -> str:
    return " and ".join(parts)


def is_light(images: np.ndarray) -> bool:
    """Whether more than half of the pixels on the border are nearer to the brightest one than to 0."""
    sides = (images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1])
    border = np.concatenate([side.ravel() for side in sides])
    return bool(np.mean(border > images.max() / 2) > 0.5)
