"""Requests: the parts of one result, checked before anything is read."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from wct_jax.checks.arguments import as_integer, as_numbers, check_kind, described
from wct_jax.painting.options import BASELINES, STRUCTURE_OF_THE_CASCADE, Options
from wct_jax.studio.sources import Source


@dataclass(frozen=True)
class Texture:
    """A texture in place of a photo, see `synthesize`.

    Attributes:
        width: Columns.
        height: Rows.
        seed: Seed of the noise, 0 to 2**32 - 1.
    """

    width: int
    height: int
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: They are not integers, or out of range.
        """
        as_integer("width", self.width, 1)
        as_integer("height", self.height, 1)
        as_integer("seed", self.seed, 0, 2**32 - 1)


@dataclass(frozen=True, eq=False)
class Look:
    """The styles of one result, mixed or each in a region; equal only to itself.

    Attributes:
        files: Pictures, style files (paths that end in .safetensors) or styles; None for a region that stays as it is.
        weights: The share of each style in a mixture, in any scale; None for equal shares.
        style_masks: For each style a mask, white where the style is taken from, or None for the whole picture.
        masks: For each style a mask, white where it goes; one more style takes the rest.
    """

    files: tuple[Any, ...] = ()
    weights: tuple[float, ...] | None = None
    style_masks: tuple[Any, ...] = ()
    masks: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        """Check that the parts fit together.

        Raises:
            ValueError: They contradict each other.
        """
        files, masks, count = self.files, self.masks, len(self.files)
        for name in ("files", "style_masks", "masks"):
            if not isinstance(getattr(self, name), tuple):
                raise ValueError(f"{name} must be a tuple, one for each style, got {described(getattr(self, name))}")
        if any(mask is None for mask in masks):
            raise ValueError("`mask` must be a picture for each region, got None")
        if masks and self.weights:
            raise ValueError("`style_weights` mixes styles and `mask` puts each in its place: expected one")
        if masks and count - len(masks) not in (0, 1):
            raise ValueError(
                f"there must be a style for each mask ('none' to leave it as it is), and perhaps one for what is left, "
                f"got {len(masks)} masks and {count} styles"
            )
        if self.weights is not None:
            if len(as_numbers("style_weights", list(self.weights), 0)) != count:
                raise ValueError(f"there must be a weight for each style, got {len(self.weights)} for {count} styles")
            if not any(self.weights):
                raise ValueError("`style_weights` must not all be 0")
        if self.style_masks and len(self.style_masks) != count:
            raise ValueError(
                f"there must be a `style_mask` for each style ('none' for all of it), got {len(self.style_masks)} for "
                f"{count} styles"
            )
        if masks and all(file is None for file in files):
            raise ValueError("expected a style for one of the masks at least, got none")
        if not masks and any(file is None for file in files):
            raise ValueError("a style can be None where `mask` says which region stays as it is, got no mask")


@dataclass(frozen=True, eq=False)
class Request:
    """The parts of one result; equal only to itself.

    Attributes:
        photo: The photo, or the size of a texture.
        look: Its styles.
        options: How it is painted.
        alpha_map: A mask of alpha at each pixel, which multiplies the options' alpha.
        strength: A mask of the strength at each pixel, in place of the options' strength.
        structure: A mask of the structure at each pixel, in place of the options' structure.
    """

    photo: Source | Texture
    look: Look
    options: Options = Options()
    alpha_map: Source | None = None
    strength: Source | None = None
    structure: Source | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit together.

        Raises:
            ValueError: They contradict each other.
        """
        look, options = self.look, check_kind("options", self.options, Options, "wct_jax.Options")
        white, texture = options.whiten_only, isinstance(self.photo, Texture)
        strong = self.strength is None and options.strength == 1
        structured = self.structure is not None or np.any(options.structure)
        mixed = len(look.files) > 1 and not look.masks
        of_patches = options.method == "elad-milanfar"
        baseline = options.method in BASELINES
        guides = [name for name in ("alpha_map", "structure") if getattr(self, name) is not None]
        refused = f"`method` {options.method} repaints a photo"
        rules: list[tuple[Any, str]] = [
            (white and look.files, "`whiten_only` takes no `style`: expected one of them"),
            (white and look.masks, "`mask` needs styles, got `whiten_only`"),
            (not white and not look.files, "expected a `style`, or `whiten_only`, got neither"),
            (texture and options.preserve_color, "a texture has no photo whose colours `preserve_color` could keep"),
            (texture and not strong, "`strength` keeps some of the photo, and `synthesize` has none"),
            (baseline and look.masks, f"{refused} in one style: expected no `mask`"),
            (baseline and texture, f"{refused}, and `synthesize` has none"),
            (baseline and guides, f"{refused} without maps: expected no `{'`, `'.join(guides)}`"),
            (self.structure is not None and options.method == "cascade", STRUCTURE_OF_THE_CASCADE),
            (texture and structured, "`structure` keeps that of the photo, and `synthesize` has none"),
            (texture and options.content_size, "`content_size` resizes photos, and `synthesize` has none"),
            (texture and options.photo, "`photo` changes the colours of a photo, and `synthesize` has none"),
            (options.photo and self.alpha_map is not None, "`alpha_map` cannot guide `photo`: expected `strength`"),
            (options.photo and self.structure is not None, "`structure` cannot guide `photo`: expected `strength`"),
            (of_patches and mixed, "`method` elad-milanfar takes the patches of one picture, got several styles"),
            (of_patches and look.style_masks, "`method` elad-milanfar takes a whole picture: expected no `style_mask`"),
            (options.swap_layers and mixed, "`swap_layers` needs the patches of one picture: mixed styles have none"),
        ]
        for broken, sentence in rules:
            if broken:
                raise ValueError(sentence)
