"""Losses for training, one a file. Nothing is imported here: each costs only what it needs.

A picture loss is a module: `loss(x_hat, x) -> (batch,)`, one value a picture, on RGB in 0..255 of shape
(batch, 3, h, w). It is differentiable in `x_hat` (the original is taken as given) and finite, with a finite gradient,
where both are equal. All may be called under bfloat16 autocast and inside torch.compile, and return float32.
"""
