import io

import pytest
import segmentation_models_pytorch as smp
import torch

from segtrain.errors import ConfigError
from segtrain.models import ClassificationHead, Outputs, create_model
from tests.models.parity import assert_close, pair

SMALL = "mobilenetv3_small_100"
VIT = "vit_tiny_patch16_224"
CLASSES = {"num_classes": 5, "dropout": 0.0}
IMAGE = torch.randn(2, 3, 65, 97, generator=torch.Generator().manual_seed(0))


def make(arch="unet", encoder="resnet18", **options):
    torch.manual_seed(0)
    return create_model(arch, encoder, num_classes=2, **options)


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize(
    ("arch", "theirs"), [("unet", smp.Unet), ("fpn", smp.FPN), ("deeplabv3plus", smp.DeepLabV3Plus)]
)
def test_weights_of_smp_with_a_classification_head_load_and_both_answers_agree(arch, theirs, pooling):
    reference = theirs(
        "tu-resnet18", encoder_weights=None, classes=3, aux_params={"classes": 5, "pooling": pooling, "dropout": 0.2}
    )
    model, reference = pair(reference, arch, "resnet18", classification={"num_classes": 5, "pooling": pooling})
    image = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        for ours, expected in zip(model.eval()(image), reference.eval()(image), strict=True):
            assert_close(ours, expected)


def test_a_step_in_training_mode_moves_both_heads_as_in_smp():
    reference = smp.Unet("tu-resnet18", encoder_weights=None, classes=3, aux_params={"classes": 5, "dropout": None})
    gradients = []
    for model in pair(reference, "unet", "resnet18", classification=CLASSES):
        image = torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        masks, labels = model.double().train()(image)
        (masks.square().mean() + labels.square().mean()).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert "classification_head.3.weight" in gradients[0]
    largest = max(gradient.abs().max() for gradient in gradients[1].values())
    for name, gradient in gradients[0].items():
        assert (gradient - gradients[1][name]).abs().max() <= 1e-5 * largest, name


@pytest.mark.parametrize(("pooling", "expected"), [("avg", 2.0), ("max", 8.0)])
def test_a_classification_head_pools_as_it_is_told(pooling, expected):
    head = ClassificationHead(1, 1, pooling=pooling).eval()
    torch.nn.init.ones_(head[-1].weight)
    assert head(torch.tensor([[[[0.0, 0.0], [0.0, 8.0]]]])).item() == expected


def test_on_tokens_the_classification_head_gets_a_map_and_not_the_prefix_tokens():
    model = make("dpt", VIT, classification=CLASSES).eval()
    logits, labels = model(torch.randn(2, 3, 64, 64))
    assert (logits.shape, labels.shape) == ((2, 2, 64, 64), (2, 5))
    assert len(model.encoder(torch.randn(1, 3, 64, 64))) - 1 > model.coarsest


def test_auxiliary_heads_answer_at_the_size_of_the_image_while_training_alone():
    model = make(aux_heads=[8, 16], classification=CLASSES)
    outputs = model.train()(IMAGE)
    assert isinstance(outputs, Outputs)
    assert [tuple(logits.shape) for logits in (outputs.logits, *outputs.aux)] == [(2, 2, 65, 97)] * 3
    assert outputs.labels.shape == (2, 5)
    masks, labels = model.eval()(IMAGE)
    assert (masks.shape, labels.shape) == ((2, 2, 65, 97), (2, 5))


def test_what_a_model_answers_has_one_form_whichever_heads_it_has():
    plain, pair_of, whole = (
        Outputs.of(make(encoder=SMALL, **heads).train()(IMAGE))
        for heads in ({}, {"classification": CLASSES}, {"aux_heads": [16], "classification": CLASSES})
    )
    assert (plain.labels, plain.aux) == (None, ())
    assert (pair_of.labels.shape, pair_of.aux) == ((2, 5), ())
    assert (whole.labels.shape, len(whole.aux)) == ((2, 5), 1)


def test_auxiliary_heads_do_not_change_the_prediction():
    plain, helped = make(encoder=SMALL).eval(), make(encoder=SMALL, aux_heads=[16]).eval()
    missing = helped.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert missing
    assert all(name.startswith("aux_heads.") for name in missing)
    with torch.no_grad():
        assert torch.equal(plain(IMAGE), helped(IMAGE))


def test_a_batch_of_one_reaches_every_parameter_of_every_head():
    model = make(aux_heads=[4, 32], classification=CLASSES).train()
    outputs = model(IMAGE[:1])
    sum(x.square().mean() for x in (outputs.logits, outputs.labels, *outputs.aux)).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize(
    ("arch", "encoder", "stride", "index", "strides"),
    [
        ("unet", "resnet18", 16, 4, (1, 2, 4, 8, 16, 32)),
        ("unet", "resnet18", 32, 5, (1, 2, 4, 8, 16, 32)),
        ("deeplabv3", "resnet18", 8, 4, (1, 2, 4, 8, 8, 8)),
        ("deeplabv3plus", "resnet18", 16, 4, (1, 2, 4, 8, 16, 16)),
        ("dpt", VIT, 16, 3, (1, 16, 16, 16, 16)),
        ("deeplabv3plus", VIT, 8, 2, (1, 4, 8, 16)),  # a pyramid made for the maps that something reads
    ],
)
def test_an_auxiliary_head_gets_the_last_map_of_its_stride_that_the_decoder_does_not_start_from(
    arch, encoder, stride, index, strides
):
    model = make(arch, encoder, aux_heads=[stride])
    assert tuple(model.encoder.strides) == strides
    assert list(model.aux_heads) == [str(index)]
    assert model.train()(torch.randn(2, 3, 64, 64)).aux[0].shape == (2, 2, 64, 64)


def test_a_stride_that_the_encoder_lacks_is_refused_in_one_line():
    with pytest.raises(ConfigError, match=r"^arch.aux_heads: the encoder has no map of stride 16, only of 2, 4, 8;.*"):
        make("pspnet", aux_heads=[16])


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_an_activation_turns_the_pixels_logits_into_probabilities_and_leaves_the_labels(activation):
    raw = make("fpn", SMALL, classification=CLASSES).eval()
    model = make("fpn", SMALL, classification=CLASSES, activation=activation).eval()
    with torch.no_grad():
        (logits, labels), (probabilities, same) = raw(IMAGE), model(IMAGE)
    expected = logits.sigmoid() if activation == "sigmoid" else logits.softmax(1)
    torch.testing.assert_close(probabilities, expected)
    assert torch.equal(labels, same)


@pytest.mark.parametrize(
    ("num_classes", "activation", "message"),
    [
        (2, "sofmax", "activation: expected None, sigmoid or softmax, got 'sofmax', did you mean 'softmax'"),
        (1, "softmax", "activation: the softmax of a single channel is 1 everywhere; take activation=sigmoid"),
    ],
)
def test_an_activation_that_makes_no_sense_is_refused(num_classes, activation, message):
    with pytest.raises(ConfigError, match=message):
        create_model("fpn", SMALL, num_classes=num_classes, activation=activation)


def test_a_model_with_every_head_exports_to_its_pair_of_answers():
    model = make(aux_heads=[16], classification=CLASSES, activation="softmax").eval()
    image = torch.randn(1, 3, 64, 64)
    file = io.BytesIO()
    torch.export.save(torch.export.export(model, (image,), strict=False), file)
    file.seek(0)
    exported = torch.export.load(file).module()(image)
    with torch.no_grad():
        for ours, expected in zip(exported, model(image), strict=True):
            torch.testing.assert_close(ours, expected)


def test_bf16_autocast_trains_every_head():
    model = make(encoder=SMALL, aux_heads=[16], classification=CLASSES).train()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(IMAGE)
    assert {x.dtype for x in (outputs.logits, outputs.labels, *outputs.aux)} == {torch.bfloat16}
