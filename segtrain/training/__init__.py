"""The training loop: objective, running loss, divergence checks, sample pictures, exact resume."""
