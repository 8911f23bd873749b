"""Every architecture as an ONNX file, static and of any size, at sizes that no stride divides, in onnxruntime.

In the default suite tests/commands/test_export.py exports FPN, and the guide's page U-Net.
"""

import json
from itertools import product

import pytest
import torch

from segtrain import create_model, save_model
from segtrain.build.exporting import trace, write_onnx
from segtrain.build.restore import make_network
from segtrain.cli import main
from segtrain.commands import export
from segtrain.errors import ConfigError
from segtrain.inference.engines import ENGINES
from segtrain.inference.exportable import Exportable
from segtrain.inference.exported_network import Computed
from segtrain.models import SegmentationHead, Segmenter, decoders
from segtrain.models.contract import Decoder
from segtrain.models.encoders.timm_encoder import TimmEncoder
from segtrain.run import opening
from segtrain.runtime.device import Runtime
from segtrain.task import make_task
from tests.models.families import smallest


@pytest.fixture(autouse=True)
def _hardly_timed(monkeypatch):
    monkeypatch.setattr(export, "TIMED", 0.0)


ARCHS = sorted(name.lower() for name in decoders.__all__)
ENCODERS = ("tf_efficientnet_lite0", "convnext_atto", "mit_b0", "swin_tiny_patch4_window7_224", "vit_tiny_patch16_224")
_ENCODER = {"dpt": "test_vit"}
CONVOLUTIONAL = [arch for arch in ARCHS if arch not in _ENCODER]
SIZES = [(64, 64), (97, 128), (65, 49), (32, 32), (20, 70)]
"""Not those of the trace, of which the third is a multiple of no stride, and whose last maps are one pixel high."""
FAMILIES = smallest(5e9)
"""Larger ones, of 5 billion multiply-accumulates and more, were not tried."""
NOT_IN_ONNX = {
    "twins": "Error when translating node %scaled_dot_product_attention",  # of windows, in five dimensions
    "vision_transformer_relpos": "Cannot view a tensor .*; write format=torch_export",  # as torch takes it apart
}
"""Whose attention torch's exporter does not translate."""
OF_ONE_SIZE = {"cpubone": "Unable to determine the domain"}
"""Which torch cannot trace for any size: its attention compares sizes by an expression that sympy does not solve."""
ENDLESS = ("byoanet", "mobilevit", "vision_transformer_hybrid")
"""Not traced for any size within 50 seconds of computing: patches, blocks or positions by the size of maps."""
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


class Coarsest(Decoder):
    """Gives the last map, so that a graph is little more than its encoder."""

    def __init__(self, channels, stride):
        super().__init__()
        self.out_channels, self.out_stride = channels, stride

    def forward(self, features):
        return features[-1]


def of_family(family):
    """Build a model of the smallest encoder, and say the least side of its images."""
    row = FAMILIES[family]
    torch.manual_seed(0)
    encoder = TimmEncoder(row.name, weights=None)
    channels, stride = encoder.out_channels[-1], encoder.strides[-1]
    head = SegmentationHead(channels, 2, upsampling=stride)
    model = Segmenter(encoder, Coarsest(channels, stride), head).eval()
    side = row.tile or -(-64 // model.size_multiple) * model.size_multiple
    return Exportable(model, make_task("multiclass", ["a", "b"])).eval(), side


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_of_one_size_of_every_family_answers_as_in_torch(family, here):
    module, side = of_family(family)
    program = trace(module, torch.zeros(1, 3, side, side, dtype=torch.uint8), "static", name=family)
    file = here / "model.onnx"
    computed = Computed(gives="logits", shapes="static", fits=False, pixels="uint8", size=[side, side])
    described = json.dumps({"class_names": [], "palette": [], "mode": "multiclass", "normalize": {}})
    if family in NOT_IN_ONNX:
        with pytest.raises(ConfigError, match=NOT_IN_ONNX[family]):
            write_onnx(program, file, described, computed, ["logits"])
        return
    write_onnx(program, file, described, computed, ["logits"])
    pixels = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
    with torch.no_grad():
        wanted = module(pixels)
    (found,) = ENGINES[".onnx"](file, CPU.device)(pixels)
    assert (found - wanted).abs().max() <= 1e-3 * wanted.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in ENDLESS])
def test_every_family_is_traced_for_any_size(family):
    module, side = of_family(family)
    multiple = module.model.size_multiple
    example = torch.zeros(2, 3, side + multiple, side + 2 * multiple, dtype=torch.uint8)
    if family in OF_ONE_SIZE:
        with pytest.raises(ConfigError, match=f"{OF_ONE_SIZE[family]}.*write shapes=batch, or shapes=static"):
            trace(module, example, "dynamic", name=family)
        return
    trace(module, example, "dynamic", name=family)


def test_families_are_many_and_exceptions_are_among_them():
    assert len(FAMILIES) >= 55
    assert {*NOT_IN_ONNX, *OF_ONE_SIZE, *ENDLESS} < set(FAMILIES)


@pytest.mark.slow
@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_an_antialiased_resize_is_part_of_the_file(fit, here):
    import onnxruntime

    from segtrain import Predictor

    model = create_model("linknet", "test_resnet", num_classes=3).eval()
    save_model(model, "model.pt", image_size=[32, 48], fit=fit)
    assert main(["export", "model.pt", "resize=true", "output=model.onnx"]) == 0
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    predictor = Predictor("model.pt", device="cpu")._made
    for size in [(301, 77), (20, 30), (32, 48)]:
        image = torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
        (found,) = session.run(None, {"pixels": image.transpose(2, 0, 1)[None]})
        wanted = predictor.logits(image).numpy()
        assert abs(found - wanted).max() <= 0.01 * abs(wanted).max()  # pixels are rounded by 1 of 255 otherwise
