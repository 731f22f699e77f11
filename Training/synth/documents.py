"""Small documents and charts for the second tier: receipts, labels, forms, tables, signs; bars, curves, pies.

`paint` draws one with a `Painter`'s dice and returns its description: {"family", "things": [], "texts": [...],
"ground", "facts": [[question key, values, answer], ...]}; `ask` turns a fact into a question.
"""

import random

from PIL import Image, ImageDraw

from synth import questions

GOODS = (
    *("bread", "milk", "tea", "coffee", "soap", "rice", "apples", "eggs", "cheese", "juice", "sugar", "salt"),
    *(
        "honey",
        "pasta",
        "water",
        "butter",
        "candles",
        "paper",
        "flour",
        "beans",
        "onions",
        "soup",
        "oil",
        "jam",
    ),
)
FIELDS = ("name", "city", "date", "phone", "room", "seat", "gate", "order", "code", "table")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SIGNS = (
    "OPEN",
    "CLOSED",
    "EXIT",
    "STOP",
    "SALE",
    "PUSH",
    "PULL",
    "HOTEL",
    "TAXI",
    "PARKING",
    "TOILET",
    "CAFE",
)

# fact -> (phrasings trained on, phrasings held out)
PHRASINGS = {
    "total": (
        ["What is the total?", "How much is the total?", "Read the total.", "What does it cost in total?"],
        ["Tell me the total."],
    ),
    "price": (
        ["How much is the {item}?", "What does the {item} cost?", "What is the price of the {item}?"],
        ["Tell me the price of the {item}."],
    ),
    "items": (
        ["How many items are there?", "How many items are listed?", "Count the items."],
        ["What is the number of items?"],
    ),
    "field": (
        ["What is the {item}?", "What does it say for {item}?", "Read the {item}."],
        ["Tell me the {item}."],
    ),
    "cell": (
        ["What is the {column} of {item}?", "What is the value of {item} in column {column}?"],
        ["Tell me the {column} of {item}."],
    ),
    "sign": (
        ["What does the sign say?", "Read the sign.", "What is written on the sign?"],
        ["Tell me what the sign says."],
    ),
    "value": (
        ["What is the value of {item}?", "How much is {item}?", "What is the value for {item}?"],
        ["Tell me the value of {item}."],
    ),
    "largest": (
        ["Which is the largest?", "What has the largest value?", "Which one is the largest?"],
        ["Tell me which one is the largest."],
    ),
    "smallest": (
        ["Which is the smallest?", "What has the smallest value?", "Which one is the smallest?"],
        ["Tell me which one is the smallest."],
    ),
    "trend": (
        ["Does it rise or fall?", "Is the trend up or down?", "What is the trend?"],
        ["Tell me the trend."],
    ),
    "kind": (
        ["What kind of chart is this?", "Which chart is this?", "What chart is shown?"],
        ["Tell me what kind of chart this is."],
    ),
}


class Sheet:
    """A canvas whose texts are noted with the place of every sign."""

    def __init__(self, painter):
        self.painter, self.side = painter, painter.side
        width = round(painter.uniform(0.75, 1.0) * self.side)
        self.left, self.top = (self.side - width) // 2, 0
        painter.left, painter.top = self.left, 0
        paper = painter.pick(["white", "white", "yellow", "pink", "gray", "blue"])
        base = painter.shade(paper)
        if paper not in ("white", "yellow", "pink"):
            base = base * 0.3 + 255 * 0.7
        self.mean = base
        self.canvas = Image.new("RGB", (width, self.side), tuple(int(v) for v in base))
        self.draw = ImageDraw.Draw(self.canvas)
        dark = painter.chance(0.8)
        self.ink = tuple(int(v) for v in (base * 0.08 if dark else base * 0.25))
        self.face = painter.integer(0, len(painter.faces) - 1)
        self.scene = {"family": "sheet", "ground": None, "things": [], "texts": [], "facts": []}

    @property
    def width(self) -> int:
        return self.canvas.width

    def write(self, text: str, x: float, y: float, height: float, anchor: str = "l", ink=None) -> float:
        """Writes at x (left, middle or right edge by `anchor`) and top y, both shares; returns the width in pixels."""
        font = self.painter.font(self.face, max(8, round(height * self.side)))
        length = font.getlength(text)
        px = x * self.width - {"l": 0, "m": length / 2, "r": length}[anchor]
        py = y * self.side
        self.draw.text((px, py), text, fill=ink or self.ink, font=font)
        box = font.getbbox(text)
        middle = py + (box[1] + box[3]) / 2
        edges = [font.getlength(text[:i]) for i in range(len(text) + 1)]
        signs = [
            [round((self.left + px + (a + b) / 2) / self.side, 3), round(middle / self.side, 3)]
            for a, b in zip(edges, edges[1:])
        ]
        at = [round((self.left + px + length / 2) / self.side, 3), round(middle / self.side, 3)]
        size = round((box[3] - box[1]) / self.side, 3)
        self.scene["texts"].append({"text": text, "at": at, "size": size, "signs": signs})
        return length

    def fact(self, key: str, answer: str, **values) -> None:
        self.scene["facts"].append([key, values, answer])

    def done(self) -> tuple[Image.Image, dict]:
        canvas = self.canvas
        if self.width != self.side:
            square = Image.new("RGB", (self.side, self.side))
            square.paste(canvas, (self.left, 0))
            canvas = square
        return self.painter.spoil(canvas), self.scene


def price(painter) -> str:
    return f"{painter.integer(0, 99)}.{painter.integer(0, 99):02d}"


def several(painter, options, number: int) -> list[str]:
    return [options[i] for i in painter.rng.choice(len(options), number, replace=False)]


def receipt(painter, sheet: Sheet) -> None:
    number = painter.integer(2, 4)
    sheet.write(painter.pick(["RECEIPT", "SHOP", "MARKET", "STORE", "CAFE"]), 0.5, 0.04, 0.1, "m")
    step = 0.62 / (number + 1)
    height, cents, y = min(0.095, step * 0.75), 0, 0.22
    for item in several(painter, GOODS, number):
        cost = price(painter)
        cents += int(cost.replace(".", ""))
        sheet.write(item, 0.05, y, height)
        sheet.write(cost, 0.95, y, height, "r")
        sheet.fact("price", cost, item=item)
        y += step
    total = f"{cents // 100}.{cents % 100:02d}"
    sheet.draw.line((0.05 * sheet.width, y * sheet.side, 0.95 * sheet.width, y * sheet.side), sheet.ink, 2)
    sheet.write(painter.pick(["TOTAL", "Total"]), 0.05, y + 0.02, height * 1.1)
    sheet.write(total, 0.95, y + 0.02, height * 1.1, "r")
    sheet.fact("total", total)
    sheet.fact("total", total)
    sheet.fact("items", str(number))


def value_of(painter, field: str) -> str:
    if field in ("name", "city"):
        return painter.pick(painter.words).capitalize()
    if field == "date":
        return f"{painter.integer(1, 28)} {painter.pick(MONTHS)}"
    if field == "phone":
        return f"{painter.integer(100, 999)} {painter.integer(100, 999)}"
    if field == "seat":
        return f"{painter.integer(1, 40)}{painter.pick('ABCDEF')}"
    return str(painter.integer(1, 10 ** painter.integer(1, 4)))


def form(painter, sheet: Sheet) -> None:
    number = painter.integer(2, 4)
    step = 0.9 / number
    for i, field in enumerate(several(painter, FIELDS, number)):
        value = value_of(painter, field)
        height, y = min(0.1, step * 0.5), 0.06 + i * step
        sheet.write(field.capitalize() + ":", 0.04, y, height)
        sheet.write(value, 0.96, y, height, "r")
        sheet.fact("field", value, item=field)


def label(painter, sheet: Sheet) -> None:
    name, cost = painter.pick(GOODS), "$" + price(painter)
    weight = f"{painter.integer(1, 99) * 10} g"
    sheet.draw.rectangle((4, 4, sheet.width - 5, sheet.side - 5), outline=sheet.ink, width=3)
    sheet.write(name.upper(), 0.5, 0.12, 0.15, "m")
    sheet.write(cost, 0.5, 0.42, 0.18, "m")
    sheet.write(weight, 0.5, 0.74, 0.11, "m")
    sheet.fact("field", cost, item="price")
    sheet.fact("field", weight, item="weight")
    sheet.fact("price", cost, item=name)


def table(painter, sheet: Sheet) -> None:
    columns, rows = several(painter, ["A", "B", "C", "D"], 2), several(painter, DAYS, painter.integer(2, 4))
    step = 0.9 / (len(rows) + 1)
    height = min(0.1, step * 0.6)
    for j, column in enumerate(sorted(columns)):
        sheet.write(column, 0.55 + 0.3 * j, 0.05, height, "m")
    for i, row in enumerate(rows):
        y = 0.05 + (i + 1) * step
        sheet.draw.line((0, (y - 0.02) * sheet.side, sheet.width, (y - 0.02) * sheet.side), sheet.ink, 1)
        sheet.write(row, 0.04, y, height)
        for j, column in enumerate(sorted(columns)):
            value = str(painter.integer(0, 99))
            sheet.write(value, 0.55 + 0.3 * j, y, height, "m")
            sheet.fact("cell", value, item=row, column=column)


def sign(painter, sheet: Sheet) -> None:
    text = painter.pick(SIGNS) if painter.chance(0.4) else painter.pick(painter.words).upper()
    color = painter.shade(painter.pick(["red", "blue", "green", "black"]))
    plate = tuple(int(v) for v in color)
    sheet.draw.rounded_rectangle(
        (0.04 * sheet.width, 0.28 * sheet.side, 0.96 * sheet.width, 0.72 * sheet.side), 14, plate
    )
    length = sheet.painter.font(sheet.face, 100).getlength(text) / 100
    sheet.write(text, 0.5, 0.4, min(0.22, 0.82 * sheet.width / sheet.side / length), "m", (250, 250, 250))
    sheet.fact("sign", text)


def bars(painter, sheet: Sheet) -> None:
    number = painter.integer(3, 5)
    names = several(painter, MONTHS if painter.chance(0.5) else DAYS, number)
    values = [int(v) for v in painter.rng.choice(range(1, 21), number, replace=False)]
    top = max(values)
    for i, (name, value) in enumerate(zip(names, values)):
        x = (i + 0.5) / number
        high = 0.68 * value / top
        color = tuple(
            int(v) for v in painter.shade(painter.pick(["red", "blue", "green", "orange", "purple"]))
        )
        y0 = 0.85 - high
        half = 0.3 / number
        sheet.draw.rectangle(
            ((x - half) * sheet.width, y0 * sheet.side, (x + half) * sheet.width, 0.85 * sheet.side),
            fill=color,
        )
        sheet.write(name, x, 0.87, 0.085, "m")
        sheet.write(str(value), x, y0 - 0.11, 0.09, "m")
        sheet.fact("value", str(value), item=name)
    sheet.fact("largest", names[values.index(top)])
    sheet.fact("smallest", names[values.index(min(values))])
    sheet.fact("kind", "A bar chart.")


def curve(painter, sheet: Sheet) -> None:
    number = painter.integer(3, 5)
    first = painter.integer(0, len(MONTHS) - number)
    names = MONTHS[first : first + number]
    rising = painter.chance(0.5)
    values = sorted(int(v) for v in painter.rng.choice(range(1, 21), number, replace=False))
    if not rising:
        values.reverse()
    points = [((i + 0.5) / number, 0.8 - 0.6 * v / max(values)) for i, v in enumerate(values)]
    color = tuple(int(v) for v in painter.shade(painter.pick(["red", "blue", "green", "purple"])))
    sheet.draw.line([(x * sheet.width, y * sheet.side) for x, y in points], color, 4)
    for (x, y), name, value in zip(points, names, values):
        sheet.draw.ellipse(
            (x * sheet.width - 5, y * sheet.side - 5, x * sheet.width + 5, y * sheet.side + 5), fill=color
        )
        sheet.write(name, x, 0.88, 0.085, "m")
        sheet.write(str(value), x, y - 0.13, 0.09, "m")
        sheet.fact("value", str(value), item=name)
    sheet.fact("trend", "Up." if rising else "Down.")
    sheet.fact("largest", names[values.index(max(values))])
    sheet.fact("kind", "A line chart.")


def pie(painter, sheet: Sheet) -> None:
    number = painter.integer(2, 4)
    colors = several(painter, ["red", "blue", "green", "yellow", "purple", "orange"], number)
    cuts = sorted(int(v) for v in painter.rng.choice(range(1, 10), number - 1, replace=False))
    shares = [b - a for a, b in zip([0, *cuts], [*cuts, 10])]
    if len(set(shares)) < len(shares):  # no two alike, so that there is a largest one
        shares = [[7, 3], [5, 3, 2], [4, 3, 2, 1]][number - 2]
    size = min(sheet.width, sheet.side) * 0.9
    x0, y0 = (sheet.width - size) / 2, (sheet.side - size) / 2
    angle = painter.uniform(0, 360)
    for color, share in zip(colors, shares):
        fill = tuple(int(v) for v in painter.shade(color))
        sheet.draw.pieslice((x0, y0, x0 + size, y0 + size), angle, angle + 36 * share, fill, sheet.ink, 2)
        angle += 36 * share
    sheet.fact("largest", questions.sentence(colors[shares.index(max(shares))]))
    sheet.fact("smallest", questions.sentence(colors[shares.index(min(shares))]))
    sheet.fact("kind", "A pie chart.")


KINDS = {f.__name__: f for f in (receipt, label, form, table, sign, bars, curve, pie)}


def paint(painter, kind: str | None = None) -> tuple[Image.Image, dict]:
    kind = kind or painter.pick(list(KINDS))
    sheet = Sheet(painter)
    KINDS[kind](painter, sheet)
    sheet.scene["family"] = kind
    return sheet.done()


def ask(scene: dict, rng: random.Random, held: bool = False) -> tuple[str, str]:
    key, values, answer = rng.choice(scene["facts"])
    return rng.choice(PHRASINGS[key][held]).format(**values), answer


def every_text() -> list[str]:
    """For the tokenizer's word list."""
    blank = {"item": "", "column": ""}
    texts = [p.format(**blank) for pair in PHRASINGS.values() for part in pair for p in part]
    texts += [" " + w for w in (*GOODS, *FIELDS, *DAYS, *MONTHS, "price", "weight")]
    return [*texts, "A bar chart.", "A line chart.", "A pie chart.", "Up.", "Down."]
