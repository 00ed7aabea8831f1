"""The pictures of a report, a row for each pair and a column for each method: docs/comparison.jpg.

wct-jax evaluate --content examples/content.jpg --style 'examples/[imw]*.jpg' --method ... --output report
python examples/comparison.py report
"""

import json
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

SIDE, GAP, LABEL = 240, 6, 22


def draw_comparison(report, target):
    made = json.loads((report / "report.json").read_text())
    data = json.loads((report / "data.js").read_text().removeprefix("window.REPORT = "))
    methods = [each["method"] for each in made["summaries"] if not each["setting"]]
    found = {
        (each["content"], each["style"], each["method"]): each["picture"]
        for each in made["results"]
        if each["kind"] == "pair" and not each["setting"]
    }
    pairs = list(dict.fromkeys((content, style) for content, style, _ in found))
    columns = ["style", *methods]
    size = len(columns) * (SIDE + GAP) - GAP, LABEL + len(pairs) * (SIDE + GAP) - GAP
    sheet = Image.new("RGB", size, "white")
    font = ImageFont.load_default(14)
    for i, name in enumerate(columns):
        ImageDraw.Draw(sheet).text((i * (SIDE + GAP), 2), name, "black", font)
        for j, (content, style) in enumerate(pairs):
            path = data["pictures"][style] if i == 0 else found.get((content, style, name))
            if path:
                with Image.open(report / path) as image:
                    cell = ImageOps.fit(image.convert("RGB"), (SIDE, SIDE), Image.Resampling.LANCZOS)
                sheet.paste(cell, (i * (SIDE + GAP), LABEL + j * (SIDE + GAP)))
    sheet.save(target, quality=88)


if __name__ == "__main__":
    draw_comparison(Path(sys.argv[1]), Path(__file__).parent.parent / "docs" / "comparison.jpg")
