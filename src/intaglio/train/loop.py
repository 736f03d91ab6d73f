"""The one training loop: it alternates the generator and its opponents, and knows none of them by name.

A step: crops, the network's outputs, the recipe's terms and the opponents' verdicts as one loss, gradients averaged
over the processes and clipped, Adam; then every opponent learns from the same outputs. The learning rate rises for
`warm_up` steps and falls as a cosine to the end of the run, which is a number of steps or a time box.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BadInput
from . import checkpoint, interruption, parallel
from .alarms import Alarms, not_finite
from .data import Photographs
from .draws import Draws
from .journal import Journal
from .recipe import Outputs, Recipe
from .strip import draw


@dataclass(frozen=True)
class Options:
    """How to run, as opposed to what: nothing here changes what a recipe computes, except `bfloat16`."""

    out: Path
    minutes: float = math.inf  # the time box
    steps: float = math.inf
    seed: int = 0
    device: str = "cpu"
    bfloat16: bool = False  # autocast, outside the prior
    compile: bool = False
    resume: bool = False
    warm: Path | None = None
    stated: tuple[str, ...] = ()  # numbers of the recipe that --set gave, by name: a resumed run keeps them
    changed: tuple[str, ...] = ()  # those and the ones with options of their own, for the card
    save_minutes: float = 4.0
    strip_minutes: float = 10.0
    log_seconds: float = 30.0


class Trainer:
    """A training in progress. `run` goes to the end of the box; `step` does one step. The box counts from `began`
    (time.monotonic()) on, or from the end of the preparations where that is None."""

    def __init__(self, recipe: Recipe, photographs: Photographs, options: Options, began: float | None = None):
        self.recipe, self.photographs, self.options = recipe, photographs, options
        self.rank, local, self.world = parallel.join()
        self.device = torch.device(f"cuda:{local}" if options.device == "cuda" else options.device)
        torch.manual_seed(options.seed)
        network = recipe.network()
        self.step_count = self.pixels = 0
        self.elapsed = 0.0  # seconds of training before this process began
        self.before: dict[str, Any] = {}  # what the start weights had been through
        last = options.out / "last.pt"
        resumed = checkpoint.load(last) if options.resume else None
        if resumed is None:
            if options.warm is not None:
                self.before = recipe.warm(network, options.warm)
            else:
                recipe.start(network, photographs, options.seed)
        self.terms, self.opponents = recipe.terms(), recipe.opponents()
        self.frozen = recipe.modules()
        for module in (network, *self.frozen.values(), *(o.game for o in self.opponents.values())):
            module.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network: nn.Module = network.train()
        self.parameters = [p for p in recipe.trainable(network) if p.requires_grad]
        self.optimiser = torch.optim.Adam(self.parameters, recipe.rate, recipe.betas)
        self.critics = {
            name: torch.optim.Adam([p for p in o.game.parameters() if p.requires_grad], recipe.critic_rate,
                                   recipe.critic_betas)
            for name, o in self.opponents.items()
        }
        self.ema = {k: v.detach().clone() for k, v in network.state_dict().items()}
        if resumed is not None:
            self._restore(resumed, last)
        if options.compile:
            recipe.compile(self.network)
        critics = {name for name, o in self.opponents.items() if o.game.kind == "wgan"}
        self.alarms = Alarms(target_bpp=recipe.target_bpp, unbounded=critics)
        # a run of a few steps, as in a rehearsal, must reach the generator too
        self.head_start = int(min(recipe.head_start, options.steps / 4))
        self.warm_up = int(min(recipe.warm_up, options.steps / 4))
        self.began = time.monotonic() if began is None else began

    # -- one step --

    def share(self, stop: bool = False) -> float:
        """How much of the run is over, 0..1: of its time box or of its steps, whichever is further. Infinite in every
        process where the first one is to `stop`."""
        spent = self.elapsed + time.monotonic() - self.began
        done = max(spent / (60 * self.options.minutes), self.step_count / self.options.steps)
        return parallel.agree(math.inf if stop else done, self.world, self.device)

    def step(self, share: float) -> tuple[Outputs, dict[str, Tensor]]:
        """One step at `share` of the run. Returns the outputs and what is to be logged."""
        recipe, n = self.recipe, self.step_count
        draws = Draws(self.options.seed, n, recipe.batch, self.photographs.device, self.rank, self.world)
        x = recipe.crops(self.photographs, draws).to(self.device)
        x = x.contiguous(memory_format=torch.channels_last)
        rate = recipe.floor + (1 - recipe.floor) * 0.5 * (1 + math.cos(math.pi * min(1, share)))
        logs: dict[str, Tensor] = {}
        generator_learns = n >= self.head_start
        recipe.grow(self.network, share)
        with torch.set_grad_enabled(generator_learns), self._autocast():
            out = recipe.outputs(self.network, x, draws)
        if generator_learns:
            with self._autocast():
                loss = self._loss(out, logs)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            warmth = min(1, (n - self.head_start + 1) / max(1, self.warm_up))
            logs["norm"] = self._update(self.optimiser, self.parameters, recipe.rate * rate * warmth, "generator")
            logs["loss"] = loss.detach()
            self._average_weights(n - self.head_start)
        for name, opponent in self.opponents.items():
            real, fake, latent = (None if t is None else t.detach().float() for t in opponent.see(out))
            assert real is not None and fake is not None
            counts = None if opponent.counts is None else opponent.counts(out)
            with self._autocast():
                loss, said = opponent.game.learn(real, fake, latent, counts)
            critic = self.critics[name]
            critic.zero_grad(set_to_none=True)
            loss.backward()
            own = [p for group in critic.param_groups for p in group["params"]]
            self._update(critic, own, recipe.critic_rate * rate, name)
            logs |= {f"game/{name}/{key}": torch.as_tensor(value).detach() for key, value in said.items()}
            logs[f"game/{name}/loss"] = loss.detach()
        self.step_count += 1
        self.pixels += x.shape[0] * self.world * recipe.crop**2
        return out, logs

    def _loss(self, out: Outputs, logs: dict[str, Tensor]) -> Tensor:
        parts = []
        for term in self.terms:
            value, weighted = term.weighted(out)
            logs[f"term/{term.name}"], logs[f"weighted/{term.name}"] = value.detach(), weighted.detach()
            parts.append(weighted)
        for name, opponent in self.opponents.items():
            real, fake, latent = opponent.see(out)
            verdict = opponent.game.fool(fake, latent, real)
            weight = opponent.weight(out) if callable(opponent.weight) else opponent.weight
            logs[f"term/{name}"], logs[f"weighted/{name}"] = verdict.mean().detach(), (weight * verdict).mean().detach()
            parts.append((weight * verdict).mean())
        return torch.stack([p.float() for p in parts]).sum()

    def _update(
        self, optimiser: torch.optim.Optimizer, parameters: list[nn.Parameter], rate: float, what: str
    ) -> Tensor:
        parallel.average(parameters, self.world)
        norm = nn.utils.clip_grad_norm_(parameters, self.recipe.clip)
        not_finite(self.step_count, norm.item(), what)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()
        return norm

    def _autocast(self):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bfloat16)

    @torch.no_grad()
    def _average_weights(self, n: int) -> None:
        decay = min(self.recipe.ema, (1 + n) / (1 + n + max(1.0, self.recipe.recent)))  # young averages forget fast
        state = self.network.state_dict()
        real = [k for k, v in state.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.ema[k] for k in real], [state[k] for k in real], 1 - decay)
        for key in state.keys() - set(real):
            self.ema[key].copy_(state[key])

    # -- the run --

    def run(self) -> None:
        """Train to the end of the box, and leave a checkpoint.

        Ctrl-C and SIGTERM end the run after the step that is under way, with a checkpoint of it, and then act as they
        would have. Alarms (Stopped) and crashes save nothing: the last checkpoint stands. Raises BadInput where the box
        is over before the first step.
        """
        self.options.out.mkdir(parents=True, exist_ok=True)
        with interruption.noted() as told:
            stopped = self._steps(told)
            if not self.step_count and not stopped:
                raise BadInput("the time box was over before the first step; give it more --minutes")
            if self.rank == 0 and self.step_count:
                self.save()
        if told or stopped:
            if self.rank == 0 and self.step_count:
                print(f"step {self.step_count}: stopped; {self.options.out / 'last.pt'} is of this step, and --resume "
                      "goes on from it", file=sys.stderr)
            signal.raise_signal(told[0] if told else signal.SIGINT)  # another process may have been told, and not this
        if self.rank == 0:
            self.show()

    def _steps(self, told: list[int]) -> bool:
        """Steps to the end of the box, or until the first process is told to stop; whether it was that."""
        options = self.options
        journal = Journal(options.out, self.pixels, self.step_count) if self.rank == 0 else None
        saved = shown = logged = time.monotonic()
        try:
            while (share := self.share(bool(told))) < 1:
                out, logs = self.step(share)
                now = time.monotonic()
                if journal is not None:
                    journal.add(out, logs)
                    journal.progress(share, self.step_count)
                    if now - logged > options.log_seconds:
                        row = journal.row(self.step_count, share, self.pixels, self.elapsed + now - self.began)
                        logged = now
                        self.alarms.watch(row)
                    if now - saved > 60 * options.save_minutes:
                        self.save()
                        saved = now
                    if now - shown > 60 * options.strip_minutes:
                        self.show()
                        shown = now
        finally:
            if journal is not None:
                journal.close()
        return share == math.inf

    def averaged(self) -> nn.Module:
        """The network with its averaged weights, on the CPU: what is exported and shown."""
        with torch.random.fork_rng():
            network = self.recipe.network()
        network.load_state_dict({k: v.cpu() for k, v in self.ema.items()})
        return network.eval()

    def show(self) -> None:
        """Write the strip of pictures as `strip-STEP.png`."""
        size = min(256, 64 * (self.photographs.largest_crop() // 64))
        x = self.recipe.crops(self.photographs, Draws(1, 0, 4, self.photographs.device), size).cpu()
        draw(self.recipe.strip(self.averaged(), x), self.options.out / f"strip-{self.step_count:07d}.png")

    def training(self) -> dict[str, Any]:
        """For the card: steps and pixels of all stages so far; this one's recipe, seed and changed numbers last."""
        stage = {"recipe": self.recipe.name, "steps": self.step_count, "pixels": self.pixels, "seed": self.options.seed}
        if changed := {name: _plain(getattr(self.recipe, name)) for name in self.options.changed}:
            stage["numbers"] = changed
        earlier = self.before
        return {"steps": earlier.get("steps", 0) + self.step_count, "pixels": earlier.get("pixels", 0) + self.pixels,
                "stages": [*earlier.get("stages", []), stage]}

    # -- checkpoints --

    def save(self) -> None:
        checkpoint.save(self.options.out / "last.pt", {
            "recipe": self.recipe.name, "numbers": _plain(asdict(self.recipe)),
            "stated": list(self.options.stated), "network": self.network.state_dict(), "ema": self.ema,
            "games": {k: o.game.state_dict() for k, o in self.opponents.items()},
            "optimiser": self.optimiser.state_dict(), "critics": {k: c.state_dict() for k, c in self.critics.items()},
            "step": self.step_count, "pixels": self.pixels, "elapsed": self.elapsed + time.monotonic() - self.began,
            "before": self.before, "seed": self.options.seed, "training": self.training(),
        })

    def _restore(self, state: dict[str, Any], source: Path) -> None:
        if "optimiser" not in state:
            raise BadInput(f"{source}: is a mean of checkpoints, which no run can resume; start from it with --warm")
        if state["recipe"] != self.recipe.name or state["seed"] != self.options.seed:
            was = f"{state['recipe']} with seed {state['seed']}"
            raise BadInput(f"{source}: is a run of {was}; resume it as that, or start again with --warm {source}")
        if checkpoint.fill(self.network, state["network"], source):
            raise BadInput(f"{source}: is a run of a smaller network, before {self.recipe.name} grew; start with "
                           f"--warm {source}")
        self.ema = {k: v.to(self.device) for k, v in state["ema"].items()}
        self.optimiser.load_state_dict(state["optimiser"])
        for name, opponent in self.opponents.items():
            opponent.game.load_state_dict(state["games"][name])
            self.critics[name].load_state_dict(state["critics"][name])
        self.step_count, self.pixels = state["step"], state["pixels"]
        self.elapsed, self.before = state["elapsed"], state["before"]


def _plain(value: Any) -> Any:
    """Numbers of a recipe as a checkpoint may hold them."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (int, float, str, bool, type(None))) else str(value)
