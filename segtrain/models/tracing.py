"""Whether a graph of the model is being made."""

import torch

is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
"""Tell whether `torch.export` runs the model; torch 2.6 has one word for it and for ``torch.compile``."""
