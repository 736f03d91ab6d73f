"""The variational autoencoder of the CompressGAN paper's tables: its networks without discriminator and VGG.

    L = lambda_rec (x - x_hat)^2 + R,        R = -log2 p(z + u),  u uniform in -1/2..1/2

which is the evidence bound of a variational autoencoder (Balle et al. 2018, section 3): the posterior is the uniform
density around each code, its entropy is 0, so that the Kullback-Leibler divergence to the prior is the rate; the
decoder's density is Gaussian, so that the distortion is a squared error. The paper names the baseline and gives its
figures (table 2), and nothing of how it is made. A posterior of Gaussians with learned variances would have no code to
write to a file.
"""

from __future__ import annotations

from dataclasses import dataclass

from .compressgan import CompressGAN


@dataclass(frozen=True)
class VAE(CompressGAN):
    name: str = "vae"
    paper: str = "the VAE baseline of CompressGAN (Dhabliya, Vij 2024)"
    distance: str = "l2"
    delta: tuple[float, float] = (1.0, 1.0)
    lambda_rec: float = 0.01  # of squared grey levels; the rate, in bits per pixel, weighs 1
    lambda_perc: float = 0.0
    lambda_adv: float = 0.0
    lambda_rate: float = 1.0


recipe = VAE()
