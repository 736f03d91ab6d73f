"""Hazard: a machine, a library or a setting computes another probability than the encoder did, and decodes noise."""

import importlib
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import reference_ans
import reference_file
import reference_prior
import torch
from golden_pictures import photograph

import intaglio
from intaglio.errors import BadInput, CorruptFile
from intaglio.nn.codec import Codec
from intaglio.nn.prior import Prior
from intaglio.nn.quantised import UNIT, IntConv
from intaglio.nn.transforms import Shape
from intaglio.package import Package, released, released_names
from intaglio.train.export import LIMIT, fixed, integers

TESTS = Path(__file__).parent
TINY, WIDE = (TESTS / "golden" / f"{name}.itgm" for name in ("tiny", "wide"))
MODELS = ["tiny", "wide", *released_names()]
LEVELS = ("DISABLE_ALL", "ENABLE_BASIC", "ENABLE_EXTENDED", "ENABLE_ALL")
sys.path.append(str(TESTS.parent / "tools"))
exactness = importlib.import_module("exactness")


@pytest.fixture(autouse=True)
def torch_as_it_was():
    """Threads and oneDNN are settings of the whole process."""
    before = torch.get_num_threads(), torch.backends.mkldnn.enabled
    yield
    torch.set_num_threads(before[0])
    torch.backends.mkldnn.enabled = before[1]


def test_latents_lie_around_the_priors_mean_as_every_system_says():
    """Not on multiples of Delta, where papers put them: (round(y / Delta - m) + m) Delta, m in sixteenths."""
    delta, latents = 4.0, 16
    shape = Shape(width=192, latents=latents, hyper=8, hyper_groups=(8,), prior_width=16, prior_low=8,
                  analysis_blocks=(1, 1), synthesis_blocks=(1, 1))  # fmt: skip
    network = Codec(shape, delta=(delta, delta), rounding="nearest").eval()
    with torch.no_grad():
        for name, weight in network.prior.named_parameters():
            if name.endswith("mean.bias"):
                weight.fill_(0.3)
        y, q = 20 * torch.randn(1, latents, 4, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 1, 1)
        decoded = network.code_latents(y, q)[0] / delta
        mean = network.symbols(y / delta, network.hyper(y / delta, q[:, None]), q).mean
    assert torch.allclose(decoded, torch.floor(y / delta - mean + 0.5) + mean, atol=1e-5)
    assert torch.equal(mean * 16, torch.round(mean * 16))
    assert ((decoded - torch.round(decoded)).abs() > 0.03).float().mean() > 0.5
    page = (TESTS.parent / "docs" / "systems.md").read_text()
    assert "(round(z / Delta - m) + m) Delta" in page and "round(z / Delta) in files" not in page


@pytest.fixture(scope="module", params=MODELS)
def model(request, tmp_path_factory):
    """(package, the reference's view of it, its path)."""
    package = released(request.param) if request.param in released_names() else Package.read(
        TESTS / "golden" / f"{request.param}.itgm")
    path = tmp_path_factory.mktemp("model") / "model.itgm"
    path.write_bytes(package.to_bytes())
    return package, reference_prior.Model(path), path


def runtimes(package):
    """Every way in which this process can run the prior, by name."""
    for threads in (1, 2):
        for level in LEVELS:
            yield f"onnxruntime {threads} {level}", exactness.OrtRuntime(package, threads, level)
    for threads in (1, 2):
        for onednn in (True, False) if exactness.in_torch(package) else ():
            yield f"torch {threads} oneDNN {onednn}", exactness.TorchRuntime(package, threads, onednn=onednn)


def random_inputs(m, rows, columns, rng):
    """z16, q, features and y16 that no picture gives: everything at every size. Sixteenths are whole numbers of steps
    for models whose hyper-latents are."""
    hyper, width = m.arrays["start.enter.weight"].shape[1] - 1, m.arrays["start.rise.weight"].shape[1]
    h, w = 4 * rows, 4 * columns
    z16 = 16 * rng.normal(0, 30, (hyper, rows, columns)).round()
    z16 += rng.integers(-8, 8, z16.shape) if m.hyper_groups else 0
    y16 = (rng.normal(0, 1, (m.latents, h, w)) * 10.0 ** rng.uniform(0, 6, (m.latents, h, w))).round()
    return z16, rng.integers(0, 64, (rows, columns)), rng.integers(0, m.unsigned[1] + 1, (width, h, w)), y16


def extreme_inputs(m, rows, columns, rng):
    """The same shapes, filled with the ends of the ranges: all alike, or thrown at random."""
    hyper, width = m.arrays["start.enter.weight"].shape[1] - 1, m.arrays["start.rise.weight"].shape[1]
    h, w = 4 * rows, 4 * columns
    top, most = 2**24 - 2, m.unsigned[1]
    for z, q, f, y in ((-128, 0, 0, -top), (127, 63, most, top), (0, 31, 0, 0), (255, 63, most, -255)):
        yield (np.full((hyper, rows, columns), 16 * z), np.full((rows, columns), q), np.full((width, h, w), f),
               np.full((m.latents, h, w), y))
    z = rng.choice([-(2**20), -128, 127, 0, 2**20], (hyper, rows, columns))
    yield (16 * z, rng.choice([0, 63], (rows, columns)),
           rng.choice([0, most], (width, h, w)), rng.choice([-top, -255, -1, 0, 1, 127, 255, top], (m.latents, h, w)))


def real_inputs(m, package):
    """What the second decoder meets in a photograph of an odd size."""
    file = reference_file.parse(intaglio.encode(photograph(90, 60, 203, 117), quality=45, model=package))
    q = file.tile_steps(0)
    _, y16 = reference_prior.decode_tile(m, file.tiles[0], q)
    data = file.tiles[0][reference_file.leb128(file.tiles[0], 0)[1] :]
    _, z16 = reference_prior.hyper_latents(m, reference_ans.Stream(m.counts, data), q)
    return z16, q, reference_prior.features(m, z16, q), y16


def reference_outputs(m, inputs):
    """Features of (z16, q), mean and offset of every group of hyper-latents on (z16, q), half of it decoded, and mean
    and index of every pass on (features, y16), as int64."""
    z16, q, x, y16 = inputs
    out = [reference_prior.features(m, z16, q)]
    for k in range(len(m.hyper_groups)):
        out += reference_prior.hyper_group(m, k, z16.astype(np.int64), q, np.indices(q.shape).sum(0) % 2)
    for k, seen in enumerate(m.seen):
        out += reference_prior.run_pass(m, k, x.astype(np.int64), y16[:seen].astype(np.int64) if seen else None)
    return out


def float_outputs(runtime, m, inputs):
    """The same from a Runtime, which is given what TileCoder would give it."""
    z16, q, x, y16 = inputs
    condition = (2 * q - 63).astype(np.float32)[None, None]
    out = [runtime.features((np.clip(z16, -2048, 2032) / 16).astype(np.float32)[None], condition)[0]]
    for k in range(len(m.hyper_groups)):
        done = (64 * (np.indices(q.shape).sum(0) % 2)).astype(np.float32)[None, None]
        out += [part[0] for part in runtime.hyper_prior(k, z16.astype(np.float32)[None], condition, done)]
    for k, seen in enumerate(m.seen):
        context = np.ascontiguousarray(y16[None, :seen].astype(np.float32)) if seen else None
        out += [part[0] for part in runtime.prior(k, x.astype(np.float32)[None], context)]
    return out


def all_inputs(m, package):
    rng = np.random.default_rng(11)
    for rows, columns in ((1, 1), (1, 3), (5, 2), (3, 7)):
        yield random_inputs(m, rows, columns, rng)
    yield from extreme_inputs(m, 3, 1, rng)
    yield real_inputs(m, package)


def test_every_runtime_gives_the_reference_integers(model):
    package, m, _ = model
    cases = [(inputs, reference_outputs(m, inputs)) for inputs in all_inputs(m, package)]
    for name, runtime in runtimes(package):
        for inputs, expected in cases:
            for got, want in zip(float_outputs(runtime, m, inputs), expected, strict=True):
                assert np.array_equal(got.astype(np.float64), want), f"{name}, {inputs[0].shape}"


def test_every_runtime_decodes_the_same_residuals(model):
    package, _, path = model
    data = intaglio.encode(photograph(31, 47, 141, 203), quality=55, model=package)
    expected = exactness.checksums(exactness.decode_reference(path, data))
    for name, runtime in runtimes(package):
        assert exactness.checksums(exactness.decode(runtime, data)) == expected, name


@pytest.mark.parametrize("isa", ["AVX2", pytest.param("SSE41", marks=pytest.mark.slow)])
def test_older_instructions_in_torch(model, tmp_path, isa):
    package, _, path = model
    if not exactness.in_torch(package):
        pytest.skip("of eight bits")
    file = tmp_path / "a.itg"
    file.write_bytes(intaglio.encode(photograph(31, 47, 141, 103), quality=55, model=package))
    environment = {"ONEDNN_MAX_CPU_ISA": isa, "DNNL_MAX_CPU_ISA": isa, "ATEN_CPU_CAPABILITY": "default"}
    answer = exactness.run({"kind": "torch", "threads": 2}, path, [file], environment, [], 300)
    assert answer["files"] == {"a.itg": exactness.checksums(exactness.decode_reference(path, file.read_bytes()))}


@pytest.mark.slow
@pytest.mark.parametrize("cpu", exactness.EMULATED)
def test_older_processors_emulated(model, tmp_path, cpu):
    emulator = exactness.shutil.which("qemu-x86_64")
    if emulator is None:
        pytest.skip("qemu-x86_64 (Debian's qemu-user) is not installed")
    package, _, path = model
    file = tmp_path / "a.itg"
    file.write_bytes(intaglio.encode(photograph(31, 47, 101, 67), quality=55, model=package))
    engine = {"kind": "onnxruntime", "threads": 1, "level": "ENABLE_ALL"}
    answer = exactness.run(engine, path, [file], {}, [emulator, "-cpu", cpu], 900)
    assert answer["files"] == {"a.itg": exactness.checksums(exactness.decode_reference(path, file.read_bytes()))}
    assert answer["simd"] == {"Haswell": "AVX2", "SandyBridge": "AVX", "Nehalem": "SSE42"}[cpu]


def no_half(s, shift, low, high):
    return np.clip(s >> shift[:, None, None], low, high)


def half_to_even(s, shift, low, high):
    return np.clip(np.rint(s / 2.0 ** shift[:, None, None]), low, high).astype(np.int64)


def half_away_from_zero(s, shift, low, high):
    real = s / 2.0 ** shift[:, None, None]
    return np.clip(np.copysign(np.floor(np.abs(real) + 0.5), real), low, high).astype(np.int64)


@pytest.mark.parametrize("rule", [no_half, half_to_even, half_away_from_zero])
def test_another_rounding_rule_would_be_noticed(monkeypatch, rule):
    package, m = Package.read(TINY), reference_prior.Model(TINY)
    rng = np.random.default_rng(3)
    inputs = [random_inputs(m, 4, 6, rng) for _ in range(4)]
    runtime = exactness.OrtRuntime(package, 1, "ENABLE_ALL")
    right = [float_outputs(runtime, m, case) for case in inputs]
    monkeypatch.setattr(reference_prior, "requantise", rule)
    wrong = [reference_outputs(m, case) for case in inputs]
    assert any(not np.array_equal(a, b) for r, w in zip(right, wrong, strict=True) for a, b in zip(r, w, strict=True))


def test_one_wrong_weight_would_be_noticed(tmp_path, capsys):
    package, file = Package.read(WIDE), tmp_path / "a.itg"
    file.write_bytes((WIDE.parent / "wide.itg").read_bytes())
    runtime = exactness.TorchRuntime(package, 1)
    truth = {"a.itg": exactness.checksums(exactness.decode(runtime, file.read_bytes()))}
    with torch.no_grad():  # the mean of one channel, a sixteenth of a step: in the last pass no table depends on it
        runtime.network.steps[3].mean.bias[0] += 1
    answer = {"files": {"a.itg": exactness.checksums(exactness.decode(runtime, file.read_bytes()))}, "simd": "?"}
    assert exactness.compare("wrong", answer, truth, 0) == 1
    with torch.no_grad():  # in the first pass all that follows depends on it
        runtime.network.steps[0].mean.bias[0] += 1
    with pytest.raises(CorruptFile):
        exactness.decode(runtime, file.read_bytes())
    assert exactness.compare("right", {"files": truth, "simd": "?"}, truth, 0) == 0
    assert exactness.compare("dead", {"failed": "exit -4"}, truth, 0) == 1
    assert "DID NOT RUN: exit -4" in capsys.readouterr().out


def dense(weight, bias):
    """An IntConv, joined by a trunk, whose exported integers are `weight` (outputs, inputs) and `bias`, at shift 6."""
    layer = IntConv(weight.shape[1], weight.shape[0], joined=True)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight[:, :, None, None] / 64.0))
        layer.bias.copy_(torch.from_numpy(bias / 64.0 / UNIT))
    return torch.nn.Sequential(layer)


def test_sums_just_below_the_limit_are_exact_in_any_order():
    rng = np.random.default_rng(4)
    weight = rng.choice([-127, 127], (64, 128))
    bias = np.full(64, LIMIT - 1 - 127 * 128 * 1023 - 1024 * 64)
    layer = dense(weight, bias)
    arrays = integers(layer)
    assert np.array_equal(arrays["0.weight"][:, :, 0, 0], weight) and (arrays["0.shift"] == 6).all()
    a = np.where(weight > 0, 1023, rng.integers(0, 2, weight.shape))[..., None].transpose(1, 0, 2)  # (inputs, 64, 1)
    expected = (np.einsum("oi,ihw->ohw", weight, a) + bias[:, None, None] + 32) >> 6
    assert expected.max() > LIMIT // 64 // 2
    x = torch.from_numpy(a[None].astype(np.float32))
    for torch.backends.mkldnn.enabled in (False, True):
        with torch.no_grad():
            assert np.array_equal(torch.floor(fixed(layer)(x))[0].numpy(), expected)
    assert np.array_equal(np.floor(in_onnxruntime(fixed(layer)[0], x.numpy()))[0], expected)


def in_onnxruntime(conv, x):
    make = onnx.helper.make_tensor_value_info
    weights = [onnx.numpy_helper.from_array(p.detach().numpy(), n) for n, p in (("w", conv.weight), ("b", conv.bias))]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Conv", ["x", "w", "b"], ["y"])], "one",
                                   [make("x", 1, x.shape)], [make("y", 1, None)], weights)
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    return ort.InferenceSession(proto.SerializeToString()).run(None, {"x": x})[0]


def test_sums_that_float32_cannot_hold_are_refused_at_export():
    weight = np.full((2, 128), 127)
    room = LIMIT - 127 * 128 * 1023 - 1024 * 64
    integers(dense(weight, np.array([room - 1, 1 - room])))
    for bias in ([room, 0], [0, -room]):
        with pytest.raises(BadInput, match="not below 2\\^24"):
            integers(dense(weight, np.array(bias)))


def test_without_a_shift_the_half_needs_a_bit_of_its_own():
    layer = IntConv(100, 1)
    torch.nn.init.constant_(layer.weight, 100.0)  # shift 0; sums up to 100 * 100 * 1023, between 2^23 and 2^24
    with pytest.raises(BadInput, match="not below 2\\^24"):
        integers(torch.nn.Sequential(layer))


def test_the_bound_holds_for_every_model(model):
    _, m, _ = model
    for name in [key.removesuffix(".weight") for key in m.arrays if key.endswith(".weight")]:
        weight, bias, shift = (m.arrays[f"{name}.{part}"] for part in ("weight", "bias", "shift"))
        assert weight.shape[2:] in ((1, 1), (3, 3)) and (weight.shape[2] == 1 or weight.shape[1] == 1), name
        assert np.abs(weight).max() <= 127
        most = -m.signed[0] if name.endswith(("enter", "expand")) else m.unsigned[1]
        worst = most * np.abs(weight).sum((1, 2, 3)) + np.abs(bias)
        joined = name.endswith("project") or name.startswith("steps") and name.endswith("enter")
        assert (worst + ((m.unsigned[1] + 1 if joined else 1) << shift)).max() < 2**24
        assert shift.min() >= 1 or 2 * worst[shift == 0].max() < 2**24


def test_training_computes_what_is_exported():
    torch.manual_seed(6)
    prior = Prior(latents=24, hyper=8, width=32, low=8, hyper_groups=(3, 8))
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    for module in prior.modules():
        if isinstance(module, IntConv):
            weight, bias, shift = module.integers()
            silent = torch.zeros(1, module.weight.shape[0 if module.depthwise else 1], 1, 1)
            assert torch.equal(module(silent)[0, :, 0, 0], bias * torch.exp2(-shift) + 0.5)
    z, q = torch.randint(-128, 128, (1, 8, 4, 5)).float(), torch.full((1, 1, 4, 5), 5.0)
    y = 40 * torch.randn(1, 24, 16, 20)
    trained = prior(y, z, q)
    exported = fixed(prior)(y, z, q)
    assert all(torch.equal(a, b) for a, b in zip(trained, exported, strict=True))
    z, base = 8 * torch.randn(1, 8, 4, 5), torch.full((1, 8, 1, 1), 20.0)
    assert prior.hyper is not None
    trained, exported = prior.hyper(z, q, base), fixed(prior).hyper(z, q, base)
    assert all(torch.equal(a, b) for a, b in zip(trained, exported, strict=True))
