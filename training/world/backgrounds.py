"""Where and when a scene plays: backgrounds drawn by rule, 256 × 256."""

import random

import numpy as np
from PIL import Image, ImageDraw

SIDE = 256
INDOORS = ("room", "kitchen")
OUTDOORS = ("beach", "mountains", "forest", "field", "city", "desert", "street", "sea")
TIMELESS = ("underwater", "space", "plain")
PLACES = INDOORS + OUTDOORS + TIMELESS
TIMES = ("day", "sunset", "night")
WEATHERS = ("clear", "cloudy", "rain", "snow")
PLAIN_COLOURS = {
    "red": (214, 66, 60), "orange": (240, 150, 60), "yellow": (246, 218, 90), "green": (98, 180, 96),
    "blue": (84, 140, 220), "purple": (150, 96, 190), "pink": (244, 168, 200), "white": (248, 248, 246),
    "black": (28, 28, 32), "grey": (150, 152, 156),
}

_SKY = {
    ("day", "clear"): ((96, 172, 240), (206, 232, 250)),
    ("day", "cloudy"): ((148, 160, 172), (206, 210, 214)),
    ("day", "rain"): ((112, 122, 136), (166, 174, 182)),
    ("day", "snow"): ((170, 182, 198), (226, 230, 236)),
    ("sunset", "clear"): ((116, 74, 140), (252, 164, 84)),
    ("sunset", "cloudy"): ((110, 88, 118), (226, 150, 110)),
    ("sunset", "rain"): ((92, 78, 104), (190, 130, 110)),
    ("sunset", "snow"): ((126, 104, 138), (232, 178, 150)),
    ("night", "clear"): ((10, 14, 44), (40, 52, 104)),
    ("night", "cloudy"): ((24, 26, 40), (60, 64, 84)),
    ("night", "rain"): ((16, 20, 34), (44, 50, 68)),
    ("night", "snow"): ((26, 32, 58), (76, 86, 118)),
}
_LIGHT = {"day": 1.0, "sunset": 0.78, "night": 0.42}


def draw(place: str, time: str, weather: str, colour: str | None, rng: random.Random) -> Image.Image:
    """A background. Indoors, under water and in space, time and weather do not show."""
    if place == "plain":
        base = np.array(PLAIN_COLOURS[colour]) + [rng.randint(-12, 12) for _ in range(3)]
        return _gradient(base + rng.randint(0, 14), base - rng.randint(0, 14))
    if place in INDOORS or place in TIMELESS:
        return _DRAWN[place](rng)
    picture = _gradient(*(_vary(c, rng) for c in _SKY[time, weather]))
    _sky_things(picture, time, weather, rng)
    ground = Image.new("RGBA", picture.size)
    _DRAWN[place](ground, time, weather, rng)
    light = _LIGHT[time] * (0.85 if weather in ("rain", "cloudy") else 1.0)
    shaded = np.asarray(ground).astype(np.float32)
    shaded[..., :3] *= np.array([light, light * (0.94 if time == "sunset" else 1), light * (1.15 if time == "night" else 1)])
    ground = Image.fromarray(np.clip(shaded, 0, 255).astype(np.uint8), "RGBA")
    picture.paste(ground, (0, 0), ground)
    return picture


def weather_overlay(picture: Image.Image, weather: str, rng: random.Random) -> None:
    """Rain or snow in front of everything, drawn in place."""
    pen = ImageDraw.Draw(picture, "RGBA")
    if weather == "rain":
        for _ in range(70):
            x, y, length = rng.uniform(0, SIDE), rng.uniform(-10, SIDE), rng.uniform(8, 16)
            pen.line((x, y, x - length / 3, y + length), fill=(190, 214, 240, 170), width=1)
    elif weather == "snow":
        for _ in range(75):
            x, y, r = rng.uniform(0, SIDE), rng.uniform(0, SIDE), rng.uniform(1.2, 2.8)
            pen.ellipse((x - r, y - r, x + r, y + r), fill=(255, 255, 255, 235))


def _vary(colour, rng, spread=12):
    return tuple(c + rng.randint(-spread, spread) for c in colour)


def _gradient(top, bottom):
    t = np.linspace(0, 1, SIDE)[:, None, None]
    rows = np.array(top) * (1 - t) + np.array(bottom) * t
    return Image.fromarray(np.clip(np.broadcast_to(rows, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8))


def _sky_things(picture, time, weather, rng):
    pen = ImageDraw.Draw(picture, "RGBA")
    if time == "night" and weather == "clear":
        for _ in range(45):
            x, y, r = rng.uniform(0, SIDE), rng.uniform(0, 150), rng.uniform(0.5, 1.4)
            pen.ellipse((x - r, y - r, x + r, y + r), fill=(255, 255, 230, 230))
    if weather == "clear":
        x, y = rng.uniform(20, SIDE - 20), rng.uniform(16, 44) if time != "sunset" else rng.uniform(90, 130)
        r, fill = {"day": (16, (255, 236, 120)), "sunset": (20, (255, 210, 110)), "night": (13, (240, 240, 220))}[time]
        pen.ellipse((x - r, y - r, x + r, y + r), fill=fill)
    clouds = {"clear": rng.randint(0, 1), "cloudy": 7, "rain": 6, "snow": 4}[weather]
    shade = {"day": 244, "sunset": 214, "night": 96}[time] - (60 if weather == "rain" else 0)
    for _ in range(clouds):
        x, y = rng.uniform(0, SIDE), rng.uniform(8, 80)
        for _ in range(4):
            dx, dy, r = rng.uniform(-24, 24), rng.uniform(-5, 5), rng.uniform(9, 17)
            pen.ellipse((x + dx - r, y + dy - r * 0.7, x + dx + r, y + dy + r * 0.7), fill=(shade, shade, shade + 6, 225))


def _rolling(rng, base, height, waves=3):
    phases = [(rng.uniform(0, 6.3), rng.uniform(0.6, 2.2), rng.uniform(0.3, 1)) for _ in range(waves)]
    x = np.linspace(0, 6.3, 65)
    y = base + height * sum(a * np.sin(f * x + p) for p, f, a in phases) / waves
    return [(i * 4, float(v)) for i, v in enumerate(y)] + [(SIDE, SIDE), (0, SIDE)]


def _snowy(colour, weather):
    return (236, 240, 246) if weather == "snow" else colour


def _beach(ground, time, weather, rng):
    pen = ImageDraw.Draw(ground)
    horizon, shore = rng.uniform(105, 130), rng.uniform(165, 190)
    pen.rectangle((0, horizon, SIDE, SIDE), fill=_vary((52, 140, 196), rng))
    for _ in range(16):
        x, y = rng.uniform(0, SIDE), rng.uniform(horizon + 4, shore)
        pen.line((x, y, x + rng.uniform(8, 22), y), fill=(170, 214, 236), width=1)
    pen.polygon(_rolling(rng, shore, 9), fill=(232, 244, 248))
    pen.polygon(_rolling(rng, shore + 6, 9), fill=_vary((238, 214, 158), rng))


def _mountains(ground, time, weather, rng):
    pen = ImageDraw.Draw(ground)
    for layer, shade in ((0, 128), (1, 100)):
        for _ in range(3):
            x, top, half = rng.uniform(0, SIDE), rng.uniform(44, 92) + layer * 26, rng.uniform(60, 100)
            foot = 205
            pen.polygon([(x - half, foot), (x, top), (x + half, foot)], fill=_vary((shade, shade + 6, shade + 20), rng, 8))
            cap = 0.28
            pen.polygon([(x - half * cap, top + (foot - top) * cap), (x, top), (x + half * cap, top + (foot - top) * cap),
                         (x + half * cap * 0.3, top + (foot - top) * cap * 0.75)], fill=(246, 248, 252))
    pen.polygon(_rolling(rng, 198, 10), fill=_snowy(_vary((104, 160, 88), rng), weather))


def _forest(ground, time, weather, rng):
    pen = ImageDraw.Draw(ground)
    pen.rectangle((0, 150, SIDE, SIDE), fill=_snowy(_vary((58, 104, 52), rng), weather))
    for row in range(3):
        for x in range(-10, SIDE + 20, 26):
            cx, top, foot = x + rng.uniform(-8, 8), rng.uniform(30, 62) + row * 22, 150 + row * 16
            pen.rectangle((cx - 3, foot - 22, cx + 3, foot), fill=(92, 66, 44))
            green = _vary((28 + row * 10, 92 + row * 14, 50), rng, 9)
            for k in range(3):
                y0, y1, w = top + k * 22, top + k * 22 + 40, 10 + k * 5
                pen.polygon([(cx - w, y1), (cx, y0), (cx + w, y1)], fill=_snowy(green, weather) if k == 0 else green)


def _field(ground, time, weather, rng):
    pen = ImageDraw.Draw(ground)
    pen.polygon(_rolling(rng, 130, 14), fill=_snowy(_vary((150, 200, 96), rng), weather))
    pen.polygon(_rolling(rng, 170, 12), fill=_snowy(_vary((120, 186, 80), rng), weather))
    if weather != "snow":
        for _ in range(40):
            x, y = rng.uniform(0, SIDE), rng.uniform(180, SIDE)
            pen.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=rng.choice([(250, 240, 120), (250, 250, 250), (240, 160, 190)]))


def _city(ground, time, weather, rng):
    pen = ImageDraw.Draw(ground)
    x = -8.0
    while x < SIDE:
        w, top = rng.uniform(24, 44), rng.uniform(36, 110)
        body = _vary(rng.choice([(132, 140, 158), (160, 136, 126), (110, 124, 146), (176, 172, 168)]), rng)
        pen.rectangle((x, top, x + w, 214), fill=body)
        lit = (255, 255, 190) if time == "night" else (214, 232, 244)
        for wy in np.arange(top + 8, 205, 14):
            for wx in np.arange(x + 5, x + w - 6, 10):
                pen.rectangle((wx, wy, wx + 4, wy + 7), fill=lit)
        x += w + rng.uniform(0, 4)
    pen.rectangle((0, 210, SIDE, SIDE), fill=_snowy(_vary((140, 142, 146), rng), weather))


def _desert(ground, time, weather, rng):
    pen = ImageDraw.Draw(ground)
    for base, colour in ((130, (236, 190, 116)), (162, (224, 170, 92)), (200, (210, 152, 76))):
        pen.polygon(_rolling(rng, base, 20), fill=_snowy(_vary(colour, rng, 8), weather))


def _street(ground, time, weather, rng):
    pen = ImageDraw.Draw(ground)
    pen.rectangle((0, 120, SIDE, SIDE), fill=_snowy(_vary((120, 176, 90), rng), weather))
    top = rng.uniform(140, 155)
    pen.rectangle((0, top, SIDE, 240), fill=_vary((82, 84, 90), rng, 6))
    pen.rectangle((0, top, SIDE, top + 5), fill=(206, 206, 202))
    pen.rectangle((0, 235, SIDE, 240), fill=(206, 206, 202))
    for x in range(rng.randint(-30, 0), SIDE, 48):
        pen.rectangle((x, 192, x + 26, 198), fill=(250, 250, 240))


def _sea(ground, time, weather, rng):
    pen = ImageDraw.Draw(ground)
    pen.rectangle((0, 110, SIDE, SIDE), fill=_vary((34, 104, 168), rng))
    for y in range(116, SIDE, 15):
        for x in range(rng.randint(-30, 0), SIDE, 34):
            pen.arc((x, y, x + 26, y + 12), 180, 360, fill=(150, 200, 232), width=2)


def _room(rng):
    wall = _vary(rng.choice([(236, 220, 190), (200, 218, 206), (206, 214, 232), (234, 208, 206)]), rng)
    picture = Image.new("RGB", (SIDE, SIDE), wall)
    pen = ImageDraw.Draw(picture)
    for x in range(rng.randint(0, 20), SIDE, 24):
        pen.line((x, 0, x, 180), fill=tuple(c - 9 for c in wall), width=2)
    pen.rectangle((0, 180, SIDE, SIDE), fill=_vary((170, 118, 74), rng))
    for y in range(192, SIDE, 14):
        pen.line((0, y, SIDE, y), fill=(140, 94, 58), width=1)
    pen.rectangle((0, 174, SIDE, 182), fill=(248, 246, 240))
    pen.ellipse((40, 208, 216, 246), fill=_vary(rng.choice([(178, 70, 74), (80, 110, 150), (120, 130, 90)]), rng))
    return picture


def _kitchen(rng):
    picture = Image.new("RGB", (SIDE, SIDE), _vary((226, 238, 240), rng, 8))
    pen = ImageDraw.Draw(picture)
    for v in range(0, 176, 22):
        pen.line((0, v, SIDE, v), fill=(186, 206, 212), width=2)
    for v in range(0, SIDE, 22):
        pen.line((v, 0, v, 176), fill=(186, 206, 212), width=2)
    pen.rectangle((0, 176, SIDE, 192), fill=_vary((92, 84, 80), rng, 8))
    cupboard = _vary(rng.choice([(206, 160, 110), (190, 204, 200), (228, 220, 204)]), rng)
    pen.rectangle((0, 192, SIDE, SIDE), fill=cupboard)
    for x in range(0, SIDE, 64):
        pen.rectangle((x + 4, 198, x + 60, 250), outline=tuple(c - 40 for c in cupboard), width=2)
        pen.ellipse((x + 48, 218, x + 54, 224), fill=(90, 90, 90))
    return picture


def _underwater(rng):
    picture = _gradient(_vary((46, 160, 200), rng), _vary((10, 62, 120), rng))
    pen = ImageDraw.Draw(picture, "RGBA")
    for _ in range(22):
        x, y, r = rng.uniform(0, SIDE), rng.uniform(0, 220), rng.uniform(2, 6)
        pen.ellipse((x - r, y - r, x + r, y + r), outline=(220, 244, 252, 200), width=1)
    pen.polygon(_rolling(rng, 226, 8), fill=(208, 190, 140))
    for _ in range(9):
        x, h = rng.uniform(0, SIDE), rng.uniform(30, 70)
        pen.line([(x, 240), (x + 5, 240 - h / 2), (x - 3, 240 - h)], fill=(40, 140, 80), width=4)
    return picture


def _space(rng):
    picture = _gradient((6, 4, 20), (22, 12, 46))
    pen = ImageDraw.Draw(picture, "RGBA")
    for _ in range(130):
        x, y, r = rng.uniform(0, SIDE), rng.uniform(0, SIDE), rng.uniform(0.5, 1.6)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=(255, 255, rng.randint(200, 255), 235))
    x, y, r = rng.uniform(0, SIDE), rng.uniform(0, SIDE), rng.uniform(18, 34)
    pen.ellipse((x - r, y - r, x + r, y + r), fill=_vary(rng.choice([(190, 110, 80), (120, 130, 190), (170, 160, 120)]), rng))
    return picture


_DRAWN = {
    "room": _room, "kitchen": _kitchen, "beach": _beach, "mountains": _mountains, "forest": _forest,
    "field": _field, "city": _city, "desert": _desert, "street": _street, "sea": _sea,
    "underwater": _underwater, "space": _space,
}
