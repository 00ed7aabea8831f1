"""How evenly a photo changes with `strength`, and with the paper's `alpha`.

python benchmarks/strength.py MODEL --content PHOTO ... --style PICTURE ...
"""

import argparse

import numpy as np

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
                return np.abs(np.asarray(stylize(model, photo, style, **options)).clip(0, 1) - photo).mean()

            whole = change()
            for name, rows in shares.items():
                rows.append([change(**{name: step}) / whole for step in STEPS])
    print(f"| {len(rows)} pairs | " + " | ".join(map(str, STEPS)) + " |")
    print("|---" * (len(STEPS) + 1) + "|")
    for name, rows in shares.items():
        cells = (
            f"{np.mean(column):.2f} ({min(column):.2f} to {max(column):.2f})" for column in zip(*rows, strict=True)
        )
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
