"""The change of a photo as `strength` grows, and as the paper's `alpha` does.

python benchmarks/strength.py MODEL --content PHOTO ... --style PICTURE ...
"""

import argparse

import numpy as np
from table import print_table

from wct_jax import extract_style, load_model, read_image, stylize

STEPS = (0.0, 0.25, 0.5, 0.75)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--content", nargs="+", required=True)
    parser.add_argument("--style", nargs="+", required=True)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--layers", nargs="+")
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    shares = {"strength": [], "alpha": []}
    for picture in arguments.style:
        style = extract_style(model, read_image(picture, arguments.size), arguments.layers)
        for path in arguments.content:
            photo = read_image(path, arguments.size)

            def change(photo=photo, style=style, **options):
                painted = np.asarray(stylize(model, photo, style, method="cascade", **options))
                return np.abs(painted.clip(0, 1) - photo).mean()

            whole = change()
            for name, rows in shares.items():
                rows.append([change(**{name: step}) / whole for step in STEPS])
    table = []
    for name, rows in shares.items():
        cells = (f"{np.mean(c):.2f} ({min(c):.2f} to {max(c):.2f})" for c in zip(*rows, strict=True))
        table.append({f"{len(rows)} pairs": name, **dict(zip(map(str, STEPS), cells, strict=True))})
    print_table(table)


if __name__ == "__main__":
    main()
