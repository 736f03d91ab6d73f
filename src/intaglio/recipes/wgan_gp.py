"""A critic with gradient penalty in place of the discriminator (Daniel, Olaoye, "Wasserstein GANs"; after Gulrajani,
Ahmed, Arjovsky, Dumoulin, Courville 2017).

    D minimises  D(x_hat) - D(x) + 10 (|grad D(between)| - 1)^2,        the generator  -D(x_hat)

On CompressGAN here; `kind="wgan"` does it on any system of the papers that has a discriminator: their `game` then adds
the penalty, and their critics take layer norm in the place of spectral, batch or instance norm, as Gulrajani et al.
(section 4) ask, since the penalty is each picture's own. (The critic of codes in `aae` goes without one.) Learning
rates stay each recipe's own. The paper gives no numbers; lambda = 10 and Adam's betas (0, 0.9) are Gulrajani's. Their
five steps of the critic to one of the generator are one to one here: the critic learns at four times the generator's
rate instead (Heusel et al. 2017).
"""

from __future__ import annotations

from .compressgan import CompressGAN

recipe = CompressGAN("wgan-gp", kind="wgan", critic_rate=4e-4, critic_betas=(0.0, 0.9))
