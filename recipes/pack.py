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
networks = (model.encoder, dict(model.decoders), dict(model.painter))
half = jax.tree.map(lambda array: np.asarray(array, np.float16), networks)
document = model.metadata | {"licence": LICENCE}
encoder, decoders, painter = half
packed = dataclasses.replace(model, encoder=encoder, decoders=decoders, painter=painter, auxiliary={})
save_model(output, dataclasses.replace(packed, document=json.dumps(document)))
