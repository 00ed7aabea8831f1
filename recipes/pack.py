"""Pack a model for the package, in half precision.

python recipes/pack.py MODEL OUTPUT
"""

import dataclasses
import json
import sys

import jax
import numpy as np

from wct_jax import load_model, save_model

LICENCE = "Apache-2.0; learned from weights under CC BY 4.0 (VGG-19), Apache-2.0 and MIT, see docs/compact.md"

source, output = sys.argv[1:]
model = load_model(source)
half = jax.tree.map(lambda array: np.asarray(array, np.float16), (model.encoder, dict(model.decoders), dict(model.painter)))
document = model.metadata | {"licence": LICENCE}
networks = {"encoder": half[0], "decoders": half[1], "painter": half[2]}
save_model(output, dataclasses.replace(model, **networks, auxiliary={}, document=json.dumps(document)))
