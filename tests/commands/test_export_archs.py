"""Every architecture as an ONNX file, static and of any size, at sizes that no stride divides, in onnxruntime.

In the default suite tests/commands/test_export.py exports FPN, and the guide's page U-Net.
"""

from itertools import product

import pytest
import torch

from segtrain import create_model, save_model
from segtrain.build.restore import make_network
from segtrain.cli import main
from segtrain.commands import export
from segtrain.models import decoders
from segtrain.run import opening
from segtrain.runtime.device import Runtime


@pytest.fixture(autouse=True)
def _hardly_timed(monkeypatch):
    monkeypatch.setattr(export, "TIMED", 0.0)


ARCHS = sorted(name.lower() for name in decoders.__all__)
ENCODERS = ("tf_efficientnet_lite0", "convnext_atto", "mit_b0", "swin_tiny_patch4_window7_224", "vit_tiny_patch16_224")
_ENCODER = {"dpt": "test_vit"}
CONVOLUTIONAL = [arch for arch in ARCHS if arch not in _ENCODER]
SIZES = [(64, 64), (97, 128), (65, 49), (32, 32), (20, 70)]
"""Not those of the trace, of which the third is a multiple of no stride, and whose last maps are one pixel high."""
CPU = Runtime(torch.device("cpu"), "fp32", channels_last=False)


def compare(file, model, sizes):
    payload = opening.read(file)
    network, _ = make_network(payload, payload["config"], file, CPU)
    for batch, size in enumerate(sizes, 1):
        generator = torch.Generator().manual_seed(sum(size))
        pixels = torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8, generator=generator)
        with network.evaluating():
            wanted = model(model.normalize(pixels))
            found = network(pixels).logits
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() <= 1e-3 * max(1.0, float(wanted.abs().max()))


def saved(arch, encoder, side=64):
    torch.manual_seed(0)
    model = create_model(arch, encoder, num_classes=3).eval()
    for module in model.modules():  # statistics of real training are not 0 and 1
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.8, 1.2)
    save_model(model, "model.pt", image_size=side)
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "encoder"),
    # the second pads as TensorFlow does, by the size of its maps
    [*product(CONVOLUTIONAL, ("test_resnet", "tf_efficientnet_lite0")), ("dpt", "test_vit")],
)
def test_an_architecture_answers_as_a_file_as_in_torch(arch, encoder, here):
    model = saved(arch, encoder)
    words = ["export", "model.pt", "resize=false", "output=model.onnx"]
    assert main([*words, "shapes=dynamic"]) == 0
    compare(here / "model.onnx", model, SIZES)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHS)
def test_an_architecture_of_one_size_answers_as_in_torch(arch, here):
    model = saved(arch, _ENCODER.get(arch, "test_resnet"))
    assert main(["export", "model.pt", "shapes=static", "output=model.onnx"]) == 0
    compare(here / "model.onnx", model, [(64, 64), (64, 64)])


def test_every_architecture_is_among_them():
    assert len(ARCHS) >= 12


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_families_of_encoders_are_exported_too(encoder, here):
    model = saved("fpn", encoder, side=224)
    assert main(["export", "model.pt", "resize=false", "output=model.onnx"]) == 0
    compare(here / "model.onnx", model, [(224, 224), (161, 250)])


@pytest.mark.slow
@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_an_antialiased_resize_is_part_of_the_file(fit, here):
    import onnxruntime

    from segtrain import Predictor

    model = create_model("linknet", "test_resnet", num_classes=3).eval()
    save_model(model, "model.pt", image_size=[32, 48], fit=fit)
    assert main(["export", "model.pt", "resize=true", "output=model.onnx"]) == 0
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    predictor = Predictor("model.pt", device="cpu", precision="fp32")._made
    for size in [(301, 77), (20, 30), (32, 48)]:
        image = torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
        (found,) = session.run(None, {"pixels": image.transpose(2, 0, 1)[None]})
        wanted = predictor.logits(image).numpy()
        assert abs(found - wanted).max() <= 0.01 * abs(wanted).max()  # pixels are rounded by 1 of 255 otherwise
