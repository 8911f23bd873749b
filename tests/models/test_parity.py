"""Ours and segmentation_models_pytorch's, with the same weights, compute the same."""

import pytest
import segmentation_models_pytorch as smp
import torch

from segtrain.models import create_model

ENCODERS = ["tu-resnet18", "tu-mobilenetv3_small_100", "tu-convnext_atto", "tu-tf_efficientnet_lite0"]
UNET_OPTIONS = [
    ({}, {}),
    ({"attention": "scse"}, {"decoder_attention_type": "scse"}),
    ({"norm": "none", "interpolation": "bilinear"}, {"decoder_use_norm": False, "decoder_interpolation": "bilinear"}),
]
FPN_OPTIONS = [
    ({"dropout": 0.0}, {"decoder_dropout": 0.0}),
    ({"dropout": 0.0, "merge": "cat"}, {"decoder_dropout": 0.0, "decoder_merge_policy": "cat"}),
    (
        {"dropout": 0.0, "pyramid_channels": 32, "segmentation_channels": 64, "interpolation": "bilinear"},
        {
            "decoder_dropout": 0.0,
            "decoder_pyramid_channels": 32,
            "decoder_segmentation_channels": 64,
            "decoder_interpolation": "bilinear",
        },
    ),
]
CASES = [
    *(("unet", encoder, *UNET_OPTIONS[0]) for encoder in ENCODERS),
    *(("fpn", encoder, *FPN_OPTIONS[0]) for encoder in ENCODERS),
    *(("unet", "tu-resnet18", *options) for options in UNET_OPTIONS[1:]),
    *(("fpn", "tu-resnet18", *options) for options in FPN_OPTIONS[1:]),
]


def _pair(arch, encoder, our_options, their_options):
    torch.manual_seed(0)
    theirs = {"unet": smp.Unet, "fpn": smp.FPN}[arch](encoder, encoder_weights=None, classes=3, **their_options)
    ours = create_model(arch, encoder, num_classes=3, **our_options)
    last = "decoder.blocks.4.attention1"  # which SMP stores and never uses
    ours.load_state_dict({key: value for key, value in theirs.state_dict().items() if not key.startswith(last)})
    return ours, theirs


def _assert_close(ours, theirs):
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max() + 1e-12


@pytest.mark.parametrize(("arch", "encoder", "our_options", "their_options"), CASES)
def test_logits_in_eval_mode_equal_those_of_smp(arch, encoder, our_options, their_options):
    ours, theirs = _pair(arch, encoder, our_options, their_options)
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        _assert_close(ours.eval()(image), theirs.eval()(image))


@pytest.mark.parametrize(("arch", "encoder", "our_options", "their_options"), CASES)
def test_gradients_in_training_mode_equal_those_of_smp(arch, encoder, our_options, their_options):
    models = [model.double() for model in _pair(arch, encoder, our_options, their_options)]
    image = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    gradients = []
    for model in models:
        model.train()(image).square().mean().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    ours, theirs = gradients
    assert ours.keys() == theirs.keys() == {name for name, _ in models[0].named_parameters()}
    largest = max(gradient.abs().max() for gradient in theirs.values())
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).abs().max() <= 1e-5 * largest, name
