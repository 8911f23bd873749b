import copy
import pickle

import pytest
import torch

from segtrain.errors import ConfigError
from segtrain.models import Normalize, create_model, decoders

ARCHS = sorted(name.lower() for name in decoders.__all__)
KINDS = ["mobilenetv3_small_100", "convnext_atto", "vit_tiny_patch16_224"]
VIT = KINDS[-1]


def encoder_for(arch, encoder="resnet18"):
    """What an architecture that works on tokens takes instead of a pyramid."""
    return VIT if arch == "dpt" else encoder


PAIRS = sorted({(arch, encoder_for(arch, kind)) for arch in ARCHS for kind in KINDS})


def test_the_tests_see_every_architecture():
    assert len(ARCHS) >= 12


@pytest.mark.parametrize(("arch", "encoder"), PAIRS)
@pytest.mark.parametrize("size", [(65, 97), (1, 1), (33, 64), (64, 64)])
def test_logits_have_the_size_of_the_image(arch, encoder, size):
    model = create_model(arch, encoder, num_classes=2).eval()
    with torch.no_grad():
        assert model(torch.randn(2, 3, *size)).shape == (2, 2, *size)


@pytest.mark.parametrize("arch", ARCHS)
def test_padding_does_not_move_the_prediction(arch):
    model = create_model(arch, encoder_for(arch)).eval()
    image = torch.randn(1, 3, 50, 60)
    height, width = (-(-side // model.size_multiple) * model.size_multiple for side in (50, 60))
    padded = torch.zeros(1, 3, height, width)
    padded[..., :50, :60] = image
    with torch.no_grad():
        torch.testing.assert_close(model(image), model(padded)[..., :50, :60])


@pytest.mark.parametrize("arch", sorted({*ARCHS} - {"dpt"}))
def test_a_decoder_takes_maps_of_sizes_that_no_stride_divides(arch):
    model = create_model(arch, encoder_for(arch)).eval()
    image = torch.randn(1, 3, 65, 97)
    with torch.no_grad():
        decoded = model.decoder(model.encoder(image))
    stride = model.decoder.out_stride
    assert decoded.shape[-2:] == (-(-65 // stride), -(-97 // stride))


@pytest.mark.parametrize(("arch", "encoder"), PAIRS)
def test_a_batch_of_one_trains_and_reaches_every_parameter(arch, encoder):
    model = create_model(arch, encoder, num_classes=2).train()
    model(torch.randn(1, 3, 64, 96)).square().mean().backward()
    unreached = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert unreached == []


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_any_number_of_channels_comes_with_a_normalisation_for_it(channels):
    model = create_model("unet", "resnet18", in_channels=channels).eval()
    stored = torch.randint(0, 256, (1, channels, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert model(model.normalize(stored)).shape == (1, 1, 32, 32)


@pytest.mark.parametrize("image", [torch.zeros(1, 4, 8, 8), torch.zeros(3, 8, 8), torch.zeros(1, 3, 8, 8).byte()])
def test_an_image_that_is_no_normalised_batch_is_refused_at_the_door(image):
    model = create_model("fpn", "mobilenetv3_small_100")
    with pytest.raises(ValueError, match=r"expected a normalised float image \(N, 3, H, W\), got torch\."):
        model(image)


@pytest.mark.parametrize(("activation", "total"), [("softmax", 1.0), ("sigmoid", None), (None, None)])
def test_the_activation_is_that_of_the_option(activation, total):
    torch.manual_seed(0)
    raw = create_model("fpn", "mobilenetv3_small_100", num_classes=3).eval()
    model = create_model("fpn", "mobilenetv3_small_100", num_classes=3, activation=activation).eval()
    model.load_state_dict(raw.state_dict())
    image = torch.randn(1, 3, 32, 32)
    apply = {"softmax": lambda x: x.softmax(1), "sigmoid": torch.sigmoid, None: lambda x: x}[activation]
    with torch.no_grad():
        torch.testing.assert_close(model(image), apply(raw(image)))


def test_a_classification_head_adds_its_answer():
    model = create_model("fpn", "resnet18").eval()
    model.classification_head = torch.nn.AdaptiveAvgPool2d(1)
    logits, pooled = model(torch.randn(2, 3, 40, 40))
    assert logits.shape == (2, 1, 40, 40)
    assert pooled.shape == (2, 512, 1, 1)


@pytest.mark.parametrize("arch", ARCHS)
def test_saved_weights_predict_the_same_in_a_new_model(arch, tmp_path):
    first, second = (create_model(arch, encoder_for(arch, KINDS[0])).eval() for _ in range(2))
    torch.save(first.state_dict(), tmp_path / "weights.pt")
    second.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    image = torch.randn(1, 3, 48, 48)
    with torch.no_grad():
        assert torch.equal(first(image), second(image))


def test_class_names_and_normalisation_stand_beside_the_weights():
    model = create_model("fpn", "tf_efficientnet_lite0", class_names=["cat", "dog"])
    assert model.class_names == ("cat", "dog")
    assert model.normalize.config() == Normalize([0.5] * 3, [0.5] * 3).config()
    assert not any(key.startswith("normalize") for key in model.state_dict())


@pytest.mark.parametrize("arch", ARCHS)
def test_bf16_autocast_in_channels_last_trains(arch):
    model = create_model(arch, encoder_for(arch, KINDS[0])).to(memory_format=torch.channels_last).train()
    image = torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(image)
    assert logits.dtype == torch.bfloat16
    logits.float().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.slow  # tests/models/test_export.py has this size among others
@pytest.mark.parametrize("arch", ARCHS)
def test_a_model_exports_and_the_program_agrees(arch):
    model = create_model(arch, encoder_for(arch)).eval()
    image = torch.randn(1, 3, 64, 64)
    program = torch.export.export(model, (image,), strict=False)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(image), model(image))


def test_a_model_survives_deepcopy_and_pickle():
    model = create_model("unet", "mobilenetv3_small_100").eval()
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(twin(image), model(image))


@pytest.mark.parametrize(
    ("arch", "encoder", "options", "message"),
    [
        ("fnp", "resnet18", {}, "arch: unknown architecture 'fnp', did you mean 'fpn'"),
        (
            "unet",
            "resnet18",
            {"channels": [64, 32]},
            r"got 2 numbers.*arch.channels=\[256,128,64,32,16\]",
        ),
        ("fpn", "resnet18", {"segmentation_channels": 100}, "arch.segmentation_channels: 100 is no multiple of 32"),
        ("fpn", "resnet18", {"encoder_depth": 2}, "fpn needs 4 maps, this encoder gives 3.*encoder.depth=5"),
        ("unet", "resnet34x", {}, "encoder.name: timm .* has no 'resnet34x', did you mean 'resnet34'"),
        ("unet", "convnext_atto", {"encoder_depth": 1}, "encoder.depth: .*take encoder.depth=2 or more"),
    ],
)
def test_what_cannot_be_built_is_explained_in_one_line(arch, encoder, options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        create_model(arch, encoder, **options)
    assert "\n" not in str(caught.value)
