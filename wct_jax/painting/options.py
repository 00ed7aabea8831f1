"""Options of a painting in plain values: checked when made, hashable, to and from JSON."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Self

from wct_jax.checks.arguments import (
    as_integer,
    as_names,
    as_number,
    as_numbers,
    check_choice,
    check_patch,
    described,
    is_traced,
)

TRANSFORMS = ("zca", "ot", "cholesky", "adain")
"""The names in `wct_jax.transform.maps.TRANSFORMS`."""

PAINTERS = ("cascade", "one-pass")
"""The networks that paint: a decoder for each layer, or the painter, see `wct_jax.painting.one_pass`."""

BASELINES = ("gatys", "elad-milanfar")
"""The methods of others that these are compared with, see `wct_jax.baselines`."""

METHODS = (*PAINTERS, *BASELINES)

STRUCTURE_OF_THE_CASCADE = "`structure` needs `method` one-pass, got the cascade"

COLORS = ("luminance", "histogram", "coral")
"""The names that `preserve_color` takes."""

PROTECTED = ("skin", "neutrals")
"""The colours that `transfer_photo` can protect."""

_OF_PHOTOS = ("photo", "protect", "strength", "content_size", "style_size")

# The options that the methods of `BASELINES` take.
_OF_BASELINES = ("method", "strength", "preserve_color", "content_size", "style_size")
_OF_GATYS = ("layers", "steps")

# More than an optimizer of a photo is ever given.
MOST_STEPS = 100_000
# After three passes no change can be seen.
MOST_PASSES = 1000


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a painting; `stylize` explains most of them.

    Options with equal values are equal and have the same hash and digest.

    >>> options = Options(alpha=0.6, layers=["relu4_1", "relu3_1"])
    >>> Options.from_json(options.to_json()) == options
    True

    Attributes:
        method: A name in `METHODS`; None for one pass if the model has a painter that reaches `layers`, and the cascade
            if not. One of `BASELINES` takes only `strength`, `preserve_color` and the sizes, and gatys `layers` and
            `steps`.
        structure: Share of the photo's own features in 0..1, in one pass: one number, or one for each of `layers`.
        layers: Layers to use; None for all that model and style have.
        alpha: Blend of features in 0..1: one number, or one for each of `layers` (deepest first without them).
        strength: Share of the change that is made, in 0..1; None for 1, or with `photo` for as much as the distance of
            colours calls for.
        eps: Relative cut of the spectra in 0..1.
        shrinkage: Shrinkage of the covariances in 0..1, see `wct_jax.transform.statistics.shrink`.
        transform: A name in `TRANSFORMS`.
        whiten_only: Whether features are only whitened, without a style, at relu4_1 unless `layers` says otherwise.
        swap_layers: Layers rebuilt from the style's patches.
        patch: Side of these patches, in pixels of the feature.
        stride: Step from patch to patch, at most `patch`.
        passes: Rounds of all layers; None for 1, or 3 for a texture.
        steps: Steps of the optimizer with `method` gatys; None for 200.
        margin: Mirrored pixels painted on each side and cut off.
        preserve_color: A name in `COLORS`, see `wct_jax.preserve_color`; None for the style's colours.
        content_size: Length in pixels to which a photo's short side is resized; None for its own.
        style_size: Length in pixels to which the short side of a style's picture is resized; None for its own.
        photo: Whether the result is the photo itself in other colours, see `wct_jax.transfer_photo`. Of the other
            options, only `strength`, `protect` and the sizes may then be given.
        protect: Names in `PROTECTED` of colours that keep their hue, in such a result.
    """

    method: str | None = None
    structure: float | tuple[float, ...] = 0.0
    layers: tuple[str, ...] | None = None
    alpha: float | tuple[float, ...] = 1.0
    strength: float | None = None
    eps: float = 1e-6
    shrinkage: float = 0.0
    transform: str = "zca"
    whiten_only: bool = False
    swap_layers: tuple[str, ...] = ()
    patch: int = 3
    stride: int = 1
    passes: int | None = None
    steps: int | None = None
    margin: int = 0
    preserve_color: str | None = None
    content_size: int | None = None
    style_size: int | None = None
    photo: bool = False
    protect: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check every value and bring it to its plain form, or raise `ValueError`."""
        for name in ("alpha", "structure", "strength", "eps", "shrinkage"):
            if is_traced(getattr(self, name)):
                raise ValueError(f"{name} must be a plain number in Options, got one that JAX is tracing")
        if self.method is not None:
            check_choice("method", self.method, METHODS)
        alphas, structures = (
            [float(value) for value in as_numbers(name, getattr(self, name), 0, 1)] for name in ("alpha", "structure")
        )
        patch, stride = check_patch(self.patch, self.stride)
        plain: dict[str, Any] = {
            "layers": None if self.layers is None else as_names("layers", self.layers),
            "alpha": alphas[0] if len(alphas) == 1 else tuple(alphas),
            "structure": structures[0] if len(structures) == 1 else tuple(structures),
            "eps": float(as_number("eps", self.eps, 0, 1)),
            "shrinkage": float(as_number("shrinkage", self.shrinkage, 0, 1)),
            "swap_layers": as_names("swap_layers", self.swap_layers),
            "patch": patch,
            "stride": stride,
            "passes": None if self.passes is None else as_integer("passes", self.passes, 1, MOST_PASSES),
            "steps": None if self.steps is None else as_integer("steps", self.steps, 1, MOST_STEPS),
            "margin": as_integer("margin", self.margin, 0),
        }
        if (layers := plain["layers"]) is not None and not layers:
            raise ValueError("there is no layer to stylize: layers must have one at least, or be None for all")
        if layers and len(set(layers)) < len(layers):
            raise ValueError(f"each layer can be named once, got {', '.join(layers)}")
        if any(structures) and self.method == "cascade":
            raise ValueError(STRUCTURE_OF_THE_CASCADE)
        check_choice("transform", self.transform, TRANSFORMS)
        if not isinstance(self.whiten_only, bool):
            raise ValueError(f"whiten_only must be True or False, got {described(self.whiten_only)}")
        if self.whiten_only and self.transform != "zca":
            raise ValueError("`whiten_only` is a transform of its own, got `transform`, too")
        if self.whiten_only and self.swap_layers:
            raise ValueError("`swap_layers` needs the patches of a style, got `whiten_only`")
        if self.preserve_color is not None:
            check_choice("preserve_color", self.preserve_color, COLORS)
        for name in ("content_size", "style_size"):
            if (size := getattr(self, name)) is not None:
                plain[name] = as_integer(name, size, 1)
        if self.strength is not None:
            plain["strength"] = float(as_number("strength", self.strength, 0, 1))
        elif not self.photo:
            plain["strength"] = 1.0
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        self._check_photo()
        self._check_baseline()

    def _check_baseline(self) -> None:
        if self.method not in BASELINES:
            if self.steps is not None and not self.photo:
                raise ValueError("`steps` needs `method` gatys, got it without")
            return
        taken = (*_OF_BASELINES, *(_OF_GATYS if self.method == "gatys" else ()))
        for field in dataclasses.fields(self):
            one_round = field.name == "passes" and self.passes == 1
            if field.name not in taken and getattr(self, field.name) != field.default and not one_round:
                raise ValueError(f"`method` {self.method} takes no `{field.name}`: expected it without")

    def _check_photo(self) -> None:
        if not isinstance(self.photo, bool):
            raise ValueError(f"photo must be True or False, got {described(self.photo)}")
        object.__setattr__(self, "protect", check_protect(self.protect))
        if not self.photo:
            if self.protect:
                raise ValueError("`protect` needs `photo`, got it without")
            return
        for field in dataclasses.fields(self):
            if field.name not in _OF_PHOTOS and getattr(self, field.name) != field.default:
                raise ValueError(f"`photo` changes colours and no drawing: expected no `{field.name}` with it")

    def to_json(self) -> str:
        """These options as a JSON object."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Options from a JSON object such as `to_json` makes; names that it lacks have their defaults.

        Raises:
            ValueError: It is no JSON object, has an unknown name, or a value that `Options` refuses.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise ValueError("options must be a JSON object")
        known = [field.name for field in dataclasses.fields(cls)]
        if unknown := [name for name in values if name not in known]:
            raise ValueError(f"options must be of {', '.join(known)}, got {', '.join(unknown)[:80]!r}")
        return cls(**values)

    @property
    def digest(self) -> str:
        """SHA-256 of the options in hexadecimal, the same in every process."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def changed(self) -> dict[str, Any]:
        """The values that are not the defaults, by name."""
        default = dataclasses.asdict(type(self)(photo=self.photo)) | {"photo": False}
        return {name: value for name, value in dataclasses.asdict(self).items() if value != default[name]}


def check_protect(value: Any) -> tuple[str, ...]:
    """Check the names of protected colours."""
    names = as_names("protect", value)
    for name in names:
        check_choice("protect", name, PROTECTED)
    return names
