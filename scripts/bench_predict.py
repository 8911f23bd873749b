"""How quick tiling is: images in tiles, against a plain loop over batches of the very same tiles.

    python scripts/bench_predict.py outputs/<name>/<time>
    python scripts/bench_predict.py outputs/<name>/<time> --size 2048 --tile 256 --batch 8

The loop runs the network on the tiles that tiling cuts, and does nothing with its logits. Both see the same image, in
turns; the shares of the medians is what cutting and blending leave of the network's own pace.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from segtrain import Predictor
from segtrain.inference.tiling import Tiled, places


def plain_loop(network: Tiled, image: torch.Tensor) -> int:
    """Run the network within on all tiles, batch by batch; returns how many there were."""
    height, width = image.shape[-2:]
    tile = network.size
    corners = [
        (top, left)
        for top in places(height, tile[0], network.overlap)
        for left in places(width, tile[1], network.overlap)
    ]
    for first in range(0, len(corners), network.batch_size):
        some = corners[first : first + network.batch_size]
        network.inner(torch.stack([image[:, top : top + tile[0], left : left + tile[1]] for top, left in some]))
    return len(corners)


def main() -> None:
    """Print tiles a second of both, and the share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run folder or a checkpoint")
    parser.add_argument("--size", type=int, default=4096, help="pixels of a side of the image")
    parser.add_argument("--tile", type=int, help="pixels of a side of a tile")
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--batch", type=int, help="tiles that run at once")
    parser.add_argument("--rounds", type=int, default=5)
    found = parser.parse_args()
    sizes = [f"infer.size={found.tile or 'null'}", f"infer.batch_size={found.batch or 'null'}"]
    words = ["tiles", f"infer.overlap={found.overlap}", *sizes]
    network = Predictor(found.run, infer=words)._made.network
    assert isinstance(network, Tiled)
    channels = network.model.in_channels
    pixels = np.random.default_rng(0).integers(0, 256, (found.size, found.size, channels), dtype=np.uint8)
    image = torch.from_numpy(pixels).permute(2, 0, 1)
    seconds: dict[str, list[float]] = {"plain loop": [], "tiling": []}
    with torch.inference_mode():
        for number in range(found.rounds + 1):
            started = time.perf_counter()
            count = plain_loop(network, image)
            between = time.perf_counter()
            network(image[None])
            if number:  # the first warms up
                seconds["plain loop"].append(between - started)
                seconds["tiling"].append(time.perf_counter() - between)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    tile = "x".join(map(str, network.size))
    print(f"{found.size}x{found.size}, {count} tiles of {tile}, batches of {network.batch_size}")
    for name, median in medians.items():
        print(f"{name:<12} {count / median:8.1f} tiles/s")
    print(f"share        {medians['plain loop'] / medians['tiling']:8.3f}")


if __name__ == "__main__":
    main()
