"""Small pictures whose scores can be worked out on paper: what each peer and we are asked about."""

import torch

RIGHT = {
    "all right": (["1100", "1100", "0000"], ["1100", "1100", "0000"]),
    "half found": (["1000", "1000", "0000"], ["1100", "1100", "0000"]),  # tp 2, fp 0, fn 2, tn 8
    "too much": (["1110", "1110", "0000"], ["1100", "1100", "0000"]),  # tp 4, fp 2, fn 0, tn 6
    "one off": (["0110", "0110", "0000"], ["1100", "1100", "0000"]),  # tp 2, fp 2, fn 2, tn 6
    "beside it": (["0011", "0011", "0000"], ["1100", "1100", "0000"]),  # tp 0, fp 4, fn 4, tn 4
    "everywhere": (["1111", "1111", "1111"], ["1100", "1100", "0000"]),  # tp 4, fp 8
    "a single pixel": (["0000", "0100", "0000"], ["0000", "0110", "0000"]),
}
"""What is predicted, and what is true: rows of labels."""

CELLS = {  # tp, fp, fn, tn, counted by hand
    "all right": (4, 0, 0, 8),
    "half found": (2, 0, 2, 8),
    "too much": (4, 2, 0, 6),
    "one off": (2, 2, 2, 6),
    "beside it": (0, 4, 4, 4),
    "everywhere": (4, 8, 0, 0),
    "a single pixel": (1, 0, 1, 10),
}

CLASSES = {
    "three classes": (["0011", "0122", "0022"], ["0011", "0112", "0022"]),
    "one never predicted": (["0000", "0022", "0022"], ["0001", "0112", "0022"]),
    "one is never true": (["0111", "0122", "0022"], ["0000", "0002", "0022"]),
}


def labels(rows):
    """A label map (1, H, W)."""
    return torch.tensor([[[int(word) for word in row] for row in rows]])


def binary(name):
    prediction, target = RIGHT[name]
    return labels(prediction), labels(target)


def multiclass(name):
    prediction, target = CLASSES[name]
    return labels(prediction), labels(target)


def unsure(prediction, *, seed=0):
    """Logits (1, 1, H, W) that say this prediction, each more or less surely."""
    generator = torch.Generator().manual_seed(seed)
    sureness = torch.rand(prediction.shape, generator=generator, dtype=torch.float64) * 3 + 0.2
    return (sureness * (2 * prediction - 1)).unsqueeze(1)


def unsure_of_classes(prediction, classes=3, *, seed=0):
    """Logits (1, C, H, W) whose largest is at this prediction."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, classes, *prediction.shape[1:], generator=generator, dtype=torch.float64)
    return noise.scatter_add(1, prediction.unsqueeze(1), torch.ones_like(noise[:, :1]))
