"""Small pictures of the samples that are shown."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fswidget.probing.samples import Array, Samples, own_tensor

#: Largest side of a thumbnail in pixels; larger pictures are shrunk by averaging.
THUMBNAIL_SIDE = 32


def thumbnails(samples: Samples, images: Array | None) -> NDArray[np.uint8] | None:
    """Small pictures of the shown samples, or of what they lie in.

    Parameters
    ----------
    samples : Samples
        Where `images` is None the inputs serve, if they look like pictures, each channel stretched
        to 0..255 over all shown samples, which undoes the usual normalisation.
    images : array of uint8, shape (n, h, w) or (n, h, w, 3), optional

    Returns
    -------
    ndarray of uint8, shape (n_shown, h, w) or (n_shown, h, w, 3), or None
    """
    if images is None:
        found = samples.pictures()
        if found is None:
            return None
        small = _shrink(found.detach()[samples.shown_inputs.to(found.device)])
        low = small.amin((0, 2, 3), keepdim=True)
        span = small.amax((0, 2, 3), keepdim=True) - low
        small = (small - low) / torch.where(span > 0, span, 1) * 255
    else:
        given = own_tensor(images, "images")
        gray = given.ndim == 3
        if given.dtype != torch.uint8 or not (gray or (given.ndim == 4 and given.shape[3] == 3)):
            raise ValueError(
                f"images of shape {tuple(given.shape)} and dtype {given.dtype}: must be uint8 of "
                "shape (n, h, w) or (n, h, w, 3)"
            )
        if len(given) != samples.num_inputs:
            raise ValueError(
                f"images: {len(given)}; must be {samples.num_inputs}, one for each sample"
            )
        given = given[samples.shown_inputs.to(given.device)]
        small = _shrink(given.unsqueeze(1) if gray else given.permute(0, 3, 1, 2))
    pixels = small.round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    return np.ascontiguousarray(pixels[..., 0] if pixels.shape[3] == 1 else pixels)


def _shrink(pictures: Tensor) -> Tensor:
    height, width = pictures.shape[2:]
    factor = min(1.0, THUMBNAIL_SIDE / max(height, width))
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    # In pieces: two thousand large pictures at once in float32 would take gigabytes.
    pieces = (functional.adaptive_avg_pool2d(x.float(), size) for x in torch.split(pictures, 128))
    return torch.cat(list(pieces))
