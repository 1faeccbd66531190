"""What the tests beside this file share."""

from __future__ import annotations

LOGITS = "return given.images.map((image) => Array.from(logitsOf(page.networks[given.network], image)));"
