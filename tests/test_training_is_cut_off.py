"""Hazards: Ctrl-C or a scheduler's SIGTERM loses the steps since the last checkpoint, or saves half a step; what comes
before the first step is not counted in the time box."""

import os
import signal
import threading
import time

import pytest
import torch
from test_training_starts_wrong import EXAMPLES
from tiny_recipe import Tiny

from intaglio.errors import BadInput
from intaglio.train import run as runs
from intaglio.train.alarms import Stopped
from intaglio.train.data import Photographs
from intaglio.train.loop import Options, Trainer
from intaglio.train.packs import pack


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp("pack") / "photos"
    pack(EXAMPLES, out)
    return Photographs(out)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A run that nobody stopped."""
    trainer = Trainer(Tiny(), data, Options(tmp_path_factory.mktemp("whole"), steps=4, seed=3))
    trainer.run()
    return trainer


class Cut(Trainer):
    """Something happens in the middle of the third step."""

    happens = None

    def _loss(self, out, logs):
        if self.step_count == 2 and self.happens is not None:
            self.happens()
        return super()._loss(out, logs)


def told(number):
    return lambda: os.kill(os.getpid(), number)


def terminated(number, frame):
    raise SystemExit(143)


@pytest.fixture
def own_handler():
    """What the command line does with SIGTERM."""
    before = signal.signal(signal.SIGTERM, terminated)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_run_of_a_network_that_has_grown_since_is_refused(data, tmp_path):
    Trainer(Tiny(), data, Options(tmp_path, steps=1)).run()
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    for key in ("network", "ema"):
        state[key] = {name: value for name, value in state[key].items() if not name.startswith("prior.hyper.")}
    torch.save(state, tmp_path / "last.pt")
    with pytest.raises(BadInput, match="start with --warm"):
        Trainer(Tiny(), data, Options(tmp_path, steps=2, resume=True))


@pytest.mark.parametrize(("number", "leaves"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_run_that_is_told_to_stop_goes_on_exactly(data, whole, tmp_path, own_handler, capsys, number, leaves):
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    first = Cut(Tiny(), data, Options(tmp_path, steps=4, seed=3))
    first.happens = told(number)
    with pytest.raises(leaves):
        first.run()
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 3
    assert "step 3: stopped" in capsys.readouterr().err
    second = Trainer(Tiny(), data, Options(tmp_path, steps=4, seed=3, resume=True))
    second.run()
    assert second.step_count == 4 and not (tmp_path / "last.pt.part").exists()
    for mine, theirs in ((second.network.state_dict(), whole.network.state_dict()), (second.ema, whole.ema)):
        assert all(torch.equal(mine[k], theirs[k]) for k in theirs)


def test_a_second_ctrl_c_does_not_wait(data, tmp_path):
    run = Cut(Tiny(fooling=0), data, Options(tmp_path, steps=5))
    run.happens = lambda: (told(signal.SIGINT)(), told(signal.SIGINT)())
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert run.step_count == 2 and not (tmp_path / "last.pt").exists()


def test_an_alarm_leaves_the_last_checkpoint_as_it_stands(data, tmp_path):
    def alarm():
        raise Stopped("step 2: bad")

    run = Cut(Tiny(fooling=0), data, Options(tmp_path, steps=5))
    run.happens = alarm
    (tmp_path / "last.pt").write_bytes(b"the last one")
    with pytest.raises(Stopped):
        run.run()
    assert (tmp_path / "last.pt").read_bytes() == b"the last one"


def test_a_run_in_a_thread_trains_all_the_same(data, tmp_path):
    run = Trainer(Tiny(fooling=0), data, Options(tmp_path, steps=2))
    thread = threading.Thread(target=run.run)
    thread.start()
    thread.join()
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 2


def test_a_box_that_is_over_before_the_first_step_is_a_sentence(data, tmp_path):
    run = Trainer(Tiny(fooling=0), data, Options(tmp_path, minutes=0.01), began=time.monotonic() - 1)
    with pytest.raises(BadInput, match="before the first step"):
        run.run()
    assert not (tmp_path / "last.pt").exists()


def test_what_comes_before_the_first_step_is_inside_the_time_box(tmp_path, monkeypatch):
    """Packing thousands of photographs takes minutes, which a scheduler counts: at the first step, the share of the box
    that is over is all the time since the call of train()."""
    spent = []

    def first_step(self, share):
        spent.append((60 * self.options.minutes * share, time.monotonic() - start))
        raise Stopped("that will do")

    prepare = runs.prepare
    monkeypatch.setattr(runs, "prepare", lambda *given: (prepare(*given), time.sleep(3))[0])
    monkeypatch.setattr(runs, "named", lambda name: Tiny(fooling=0))
    monkeypatch.setattr(Trainer, "step", first_step)
    start = time.monotonic()
    with pytest.raises(Stopped):
        runs.train("tiny", EXAMPLES, Options(tmp_path / "run", minutes=10), threads=torch.get_num_threads())
    [(counted, passed)] = spent
    assert passed > 3 and passed - 1 < counted <= passed
