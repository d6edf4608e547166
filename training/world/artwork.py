"""Sprites: openly licensed vector artwork, cut from npm's icon sets and rasterised once.

    npm install --prefix ARTWORK $(cat artwork.lock)

Licences and attributions are in the model card.
"""

import io
import json
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from .things import COLOURS, THINGS

# Style name → npm package. `emojione` is never trained on: it is the style held out.
TRAIN_STYLES = {
    "fluent": "@iconify-json/fluent-emoji-flat",
    "noto": "@iconify-json/noto",
    "twemoji": "@iconify-json/twemoji",
}
HELD_OUT_STYLES = {"emojione": "@iconify-json/emojione"}
STYLES = TRAIN_STYLES | HELD_OUT_STYLES

RASTER_SIDE = 160


class Artwork:
    """All artworks of all kinds, as RGBA pictures cropped to what they show."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.sets = {style: self._load_set(package) for style, package in STYLES.items()}
        self.by_kind = {
            style: {
                kind: [icon for icon in thing.icons if self._has(style, icon)]
                for kind, thing in THINGS.items()
            }
            for style in STYLES
        }

    def choices(self, style: str, kind: str) -> list[str]:
        return self.by_kind[style][kind]

    @lru_cache(maxsize=4096)
    def sprite(self, style: str, icon: str, colour: str | None) -> Image.Image:
        """One artwork, its longer side RASTER_SIDE, recoloured if asked."""
        if colour is not None:
            return recolour(self.sprite(style, icon, None), colour)
        import resvg_py

        cached = self.folder / "sprites" / f"{style}-{icon}.png"
        if not cached.exists():
            cached.parent.mkdir(exist_ok=True)
            png = bytes(resvg_py.svg_to_bytes(svg_string=self._svg(style, icon)))
            drawn = Image.open(io.BytesIO(png)).convert("RGBA")
            drawn = drawn.crop(drawn.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox())
            scale = RASTER_SIDE / max(drawn.size)
            size = [max(1, round(side * scale)) for side in drawn.size]
            part = cached.with_suffix(f".{os.getpid()}")  # Several workers draw at once.
            drawn.resize(size, Image.Resampling.LANCZOS).save(part, "PNG")
            part.replace(cached)
        return Image.open(cached).convert("RGBA")

    def _load_set(self, package: str) -> dict:
        return json.loads((self.folder / "node_modules" / package / "icons.json").read_text())

    def _has(self, style: str, icon: str) -> bool:
        icons = self.sets[style]
        return icon in icons["icons"] or icon in icons.get("aliases", {})

    def _svg(self, style: str, icon: str) -> str:
        icons = self.sets[style]
        parent = icon if icon in icons["icons"] else icons["aliases"][icon]["parent"]
        entry = icons["icons"][parent]
        box = [entry.get(k, icons.get(k, d)) for k, d in
               (("left", 0), ("top", 0), ("width", 16), ("height", 16))]
        side = RASTER_SIDE * 2
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'width="{side}" height="{side}" viewBox="{" ".join(map(str, box))}">{entry["body"]}</svg>'
        )


def recolour(sprite: Image.Image, colour: str) -> Image.Image:
    """Turns the saturated parts of a sprite to one hue; greys, black and white stay."""
    hue, saturation_factor, value_factor = COLOURS[colour]
    pixels = np.asarray(sprite)
    hsv = np.asarray(sprite.convert("RGB").convert("HSV")).astype(np.float32)
    saturated = np.clip((hsv[..., 1] - 40) / 60, 0, 1)[..., None]
    turned = np.empty_like(hsv)
    turned[..., 0] = hue / 360 * 255
    turned[..., 1] = np.clip(np.maximum(hsv[..., 1], 150) * saturation_factor, 0, 255)
    turned[..., 2] = np.clip(np.maximum(hsv[..., 2], 140) * value_factor, 0, 255)
    rgb = np.asarray(Image.fromarray(turned.astype(np.uint8), "HSV").convert("RGB")).astype(np.float32)
    mixed = rgb * saturated + pixels[..., :3] * (1 - saturated)
    return Image.fromarray(np.dstack([mixed.astype(np.uint8), pixels[..., 3]]), "RGBA")
