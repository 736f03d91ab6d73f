"""Extreme compression, selective: regions that are kept carry bits, all else is synthesised from a label map (Mohit,
Saxena, Singh, "Image Compression with Learning using Generative Adversarial Network"; after Agustsson, Tschannen,
Mentzer, Timofte, Van Gool 2019, sections 3.2 and 5.2, whose equations and names the paper takes over).

    min over E, G of  L_GAN + lambda E[d(x, x')] + beta H(w)      (the paper's equation 4)

L_GAN is least squares (f(y) = (y - 1)^2, g(y) = y^2) with feature matching; the discriminator looks at three scales and
sees the label map beside the picture; E has L = 5 centres -2..2, so that no tile's symbols take more than dim(w) log2 L
bits and 16 bytes (plain.py). A file's header, its map of what is kept and its label map come on top. d is the squared
error on -1..1 and counts where latents are kept alone: what is synthesised is like the original in kind. H counts the
kept latents alone, and the bitstream holds no others.

What is kept is drawn as in Agustsson et al.: in half of the pictures the areas of some classes (each with a chance of
a quarter; they take instances, of which CamVid has none), in a quarter a box. In the last quarter all is kept, so that
one network serves both modes and the kept area of one can be compared with the other.

Left open and chosen here: lambda 12, feature matching 10, beta 0.1; 16 latent channels (they use 2 to 16); ChannelNorm
where they have instance norm, whose statistics are of the whole picture: the synthesised area would change the kept
one, and strips would not decode alike. d counts four times in the kept latents beside synthesised ones: after a short
training, these alone are worse than in the global mode. The label map's features join the latents at 1/16. Generator
and discriminator are told the labels as files hold them, one for each square of pixels; how large the squares are is
drawn for each batch, so that one network decodes the finest maps and coarse ones. The discriminator sees a label in
every 4 pixels of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import BadInput
from ..nn.codec import Codec
from ..nn.discriminators.multiscale import MultiScale
from ..nn.systems.blocks import CELL, HyperEncoder
from ..nn.systems.hific import Encoder
from ..nn.systems.selective import SelectiveGenerator, one_hot
from ..selection import LABEL_CELL
from ..train.data import Photographs
from ..train.draws import Draws
from ..train.recipe import Opponent, Outputs, Term
from .paper import Paper, rate

CAMVID = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "cyclist",
          "unlabelled")
TOLD = 4  # pixels along a side of a label that the discriminator sees
CELLS = (2, 4, 4, 8)  # pixels along a side of a stored label, one of them in every batch: mostly what encoders write


def boxes(u: Tensor, rows: int, columns: int) -> Tensor:
    """Rectangles of latents (batch, 1, rows, columns) of 0 and 1, from u (batch, 4) in 0..1: two corners."""
    y, x = torch.arange(rows, device=u.device)[:, None], torch.arange(columns, device=u.device)
    (top, bottom), (left, right) = (
        (u[:, i : i + 2].sort(1).values * size).floor().T[:, :, None, None] for i, size in ((0, rows), (2, columns))
    )
    return ((y >= top) & (y <= bottom) & (x >= left) & (x <= right))[:, None].float()


def areas(ids: Tensor, chosen: Tensor) -> Tensor:
    """The latents (batch, 1, h/16, w/16) with a pixel of a chosen class. ids: (batch, 1, h, w); chosen: (batch,
    classes) of 0 and 1."""
    wanted = (one_hot(ids, chosen.shape[1]) * chosen[:, :, None, None]).amax(1, keepdim=True)
    return F.max_pool2d(wanted, CELL)


def stored(ids: Tensor, side: int, classes: int) -> Tensor:
    """Labels (batch, 1, h, w) as a file with a label for each side x side pixels gives them back, in the same shape:
    the one that most pixels of the square have, or `classes` where most have none of the classes."""
    shares = F.avg_pool2d(one_hot(ids, classes), side)
    shares = torch.cat([shares, 1 - shares.sum(1, keepdim=True)], 1)
    return shares.argmax(1, keepdim=True).to(ids).repeat_interleave(side, 2).repeat_interleave(side, 3)


@dataclass(frozen=True)
class ExtremeSC(Paper):
    idle: ClassVar[tuple[str, ...]] = ("glimpse", "noisy", "target_bpp")
    name: str = "extreme-sc"
    paper: str = "Image Compression with Learning using GAN (Mohit, Saxena, Singh; Agustsson et al. 2019)"
    width: int = 60
    latents: int = 16
    levels: int = 5
    hyper: int = 16
    blocks: int = 9
    norm: str = "channel"
    classes: tuple[str, ...] = CAMVID  # by label
    masked: bool = True  # off: trained on whole pictures alone, to be compared with
    distortion: float = 12.0  # lambda
    edge: float = 4.0  # how much more d counts in kept latents beside synthesised ones
    entropy: float = 0.1  # beta
    adversarial: float = 1.0
    matching: float = 10.0
    kind: str = "lsgan"
    rate: float = 2e-4
    critic_rate: float = 2e-4
    crop: int = 256
    batch: int = 4

    def network(self) -> Codec:
        m, n = self.latents, self.hyper  # they are the rate: no width changes them
        return Codec(
            self.sizes(m, n), Encoder(self.width, m, self.norm), HyperEncoder(m, n, self.scaled(320)),
            SelectiveGenerator(self.width, m, self.classes, self.blocks, self.norm), self.delta, self.levels,
            rounding="nearest",
        )

    def start(self, network: Any, photographs: Photographs, seed: int) -> None:
        self._labelled(photographs)

    def _labelled(self, photographs: Photographs) -> None:
        if not photographs.labelled:
            raise BadInput(f"{self.name} needs label maps: beside NAME.jpg (or .webp, ...) put NAME.labels.png, which "
                           "holds class ids")

    def crops(self, photographs: Photographs, draws: Draws, size: int = 0) -> Tensor:
        """Pictures and, as the fourth channel, their labels: (batch, 4, size, size)."""
        self._labelled(photographs)
        if size:
            return photographs.crops(draws, size, labels=True)
        return photographs.crops(draws, self.crop, self.zoom, self.colour, labels=True)

    def draw_kept(self, draws: Draws, ids: Tensor) -> Tensor:
        """What is kept of a batch: (batch, 1, h/16, w/16) of 0 and 1. ids: (batch, 1, h, w)."""
        rows, columns = ids.shape[2] // CELL, ids.shape[3] // CELL
        which = draws.uniform(1, 1, 1).to(ids.device)
        box = boxes(draws.uniform(4).to(ids.device), rows, columns)
        chosen = areas(ids, (draws.uniform(len(self.classes)) < 0.25).float().to(ids.device))
        everything = torch.ones_like(box)
        if not self.masked:
            return everything
        return torch.where(which < 0.5, chosen, torch.where(which < 0.75, box, everything))

    def outputs(self, network: Codec, x: Tensor, draws: Draws) -> Outputs:
        x, ids = x[:, :3].contiguous(), x[:, 3:]
        kept = self.draw_kept(draws, ids)
        ids = stored(ids, CELLS[int(draws.shared() * len(CELLS))], len(self.classes))
        q = self.q_of(draws).to(x.device)
        _, z = network.noise_shapes(*x.shape[2:])
        # the symbols of a finite alphabet need no noise, the hyper-latents do
        noise = x.new_zeros(()), draws.uniform(*z).to(x.device)
        latent, t, bits = network.code(x, q, noise, False, kept)
        x_hat = network.synthesis(latent, t, x.new_ones(1), None, kept, ids)
        return Outputs(x, x_hat, bits, latent, q[:, 0, 0], extra={"kept": kept, "labels": ids})

    def kept_error(self, out: Outputs) -> Tensor:
        """Squared error on -1..1 of the kept area, `edge` times that at its border, over the area of the picture:
        (batch,)."""
        kept = out.extra["kept"]
        border = F.max_pool2d(1 - kept, 3, 1, 1)  # a neighbour is not kept
        weight = F.interpolate(kept * (1 + (self.edge - 1) * border), scale_factor=float(CELL), mode="nearest")
        return (((out.x_hat.float() - out.x) / 127.5).square() * weight).mean((1, 2, 3))

    def terms(self) -> list[Term]:
        return [Term("mse", self.kept_error, self.distortion), Term("rate", rate, self.entropy)]

    def seen(self, out: Outputs) -> tuple[Tensor, Tensor, Tensor]:
        """What the discriminator sees: original, decoded picture, labels of the whole picture."""
        return out.x, out.x_hat, one_hot(out.extra["labels"][:, :, ::TOLD, ::TOLD], len(self.classes))

    def opponents(self) -> dict[str, Opponent]:
        if not self.adversarial:
            return {}
        critic = MultiScale(len(self.classes), self.scaled(64), norm=self.critic_norm("instance"), detail=False,
                            stride=TOLD)  # fmt: skip
        return {"critic": Opponent(self.game(critic, self.kind, self.matching), self.adversarial, self.seen)}

    @torch.no_grad()
    def strip(self, network: Any, x: Tensor) -> list[Tensor]:
        """x, the global mode, the left half kept, nothing kept."""
        x, ids = x[:, :3].contiguous(), stored(x[:, 3:], LABEL_CELL, len(self.classes))
        kept = x.new_ones(len(x), 1, x.shape[2] // CELL, x.shape[3] // CELL)
        half = kept.clone()
        half[:, :, :, half.shape[3] // 2 :] = 0
        columns = [x]
        for mask in (kept, half, torch.zeros_like(kept)):
            latent, t, _ = network.code(x, x.new_zeros(len(x), 1, 1), None, False, mask)
            columns.append(network.synthesis(latent, t, x.new_ones(1), None, mask, ids))
        return columns

    def modules(self) -> dict[str, nn.Module]:
        return {}


recipe = ExtremeSC()
