"""Whether tiles can be seen in masks: pixels of mosaics that tiles label as the network does when it sees them whole.

    python scripts/check_seams.py outputs/<name>/<time> photos
    python scripts/check_seams.py outputs/<name>/<time> photos --size 2048 --tile 512 --overlap 0.25

Photos are scaled to squares and laid side by side. The whole is seen at its own size too (``data.fit=none``).
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segtrain import Predictor
from segtrain.data.files.walk import find_images


def mosaic(photos: list[Path], piece: int, size: int) -> NDArray[np.uint8]:
    """Return an image ``(size, size, 3)`` of photos, each scaled to ``(piece, piece)``."""
    across = -(-size // piece)
    pieces = [np.asarray(Image.open(photo).convert("RGB").resize((piece, piece))) for photo in photos[: across**2]]
    numbers = np.arange(across**2).reshape(across, across) % len(pieces)
    rows = [np.concatenate([pieces[number] for number in row], axis=1) for row in numbers]
    return np.concatenate(rows)[:size, :size]


def main() -> None:
    """Print the share of equal pixels of each mosaic, and of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run folder or a checkpoint")
    parser.add_argument("photos", type=Path, help="a folder")
    parser.add_argument("--size", type=int, default=2048, help="pixels of a side of a mosaic")
    parser.add_argument("--piece", type=int, default=512, help="pixels of a side of a photo in it")
    parser.add_argument("--tile", default="null", help="pixels of a side of a tile")
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--mosaics", type=int, default=4)
    found = parser.parse_args()
    whole = Predictor(found.run, infer=["whole", "data.fit=none"])
    tiles = Predictor(found.run, infer=["tiles", f"infer.size={found.tile}", f"infer.overlap={found.overlap}"])
    photos = find_images(found.photos)
    each = len(photos) // found.mosaics
    if not each:
        parser.error(f"{found.photos}: {len(photos)} photos for {found.mosaics} mosaics; give more, or --mosaics 1")
    shares = []
    for number in range(found.mosaics):
        image = mosaic(photos[number * each : (number + 1) * each], found.piece, found.size)
        shares.append(float(np.mean(whole(image) == tiles(image))))
        print(f"mosaic {number}: {shares[-1]:.4%} of {found.size}x{found.size} pixels are equal")
    print(f"all       {np.mean(shares):.4%}")


if __name__ == "__main__":
    main()
