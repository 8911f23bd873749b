import pytest
import segmentation_models_pytorch as smp
import torch

from segtrain.models import create_model
from segtrain.models.decoders import DeepLabV3
from tests.models.parity import assert_same_gradients, assert_same_logits, pair

OPTIONS = {
    "defaults": ({}, {}),
    "channels": ({"channels": 48}, {"decoder_channels": 48}),
    "rates": ({"atrous_rates": [2, 9, 6]}, {"decoder_atrous_rates": [2, 9, 6]}),
    "separable": ({"separable": True}, {"decoder_aspp_separable": True}),
    "stride 16": ({"encoder_output_stride": 16}, {"encoder_output_stride": 16}),
    "depth 3": ({"encoder_depth": 3}, {"encoder_depth": 3}),
}


def _pair(encoder, ours, theirs):
    model = smp.DeepLabV3(encoder, encoder_weights=None, classes=3, decoder_aspp_dropout=0.0, **theirs)
    return pair(model, "deeplabv3", encoder, dropout=0.0, **ours)


@pytest.mark.parametrize("option", OPTIONS)
def test_logits_equal_those_of_smp(option):
    assert_same_logits(*_pair("tu-resnet18", *OPTIONS[option]))


@pytest.mark.parametrize("encoder", ["tu-convnext_atto", "tu-mobilenetv3_small_100"])
def test_logits_equal_those_of_smp_on_other_encoders(encoder):
    assert_same_logits(*_pair(encoder, {}, {}))


@pytest.mark.parametrize("option", OPTIONS)
def test_gradients_equal_those_of_smp(option):
    assert_same_gradients(*_pair("tu-resnet18", *OPTIONS[option]))


def test_the_encoder_is_dilated_to_stride_eight_and_the_result_has_it():
    model = create_model("deeplabv3", "resnet18")
    assert model.encoder.strides == (1, 2, 4, 8, 8, 8)
    assert (model.decoder.out_stride, model.decoder.out_channels) == (8, 256)


def test_dropout_follows_the_pyramid_as_in_smp():
    ours, theirs = create_model("deeplabv3", "resnet18"), smp.DeepLabV3("tu-resnet18", encoder_weights=None)
    assert ours.decoder.aspp.project[3].p == theirs.decoder.aspp.project[3].p == 0.5


@pytest.mark.parametrize("rates", [[], [1], [3, 6, 9, 12]])
def test_there_may_be_any_number_of_rates(rates):
    decoder = DeepLabV3((3, 8), (1, 8), channels=4, atrous_rates=rates)
    decoder([torch.empty(0), torch.randn(2, 8, 9, 13)]).sum().backward()
    assert len(decoder.aspp.convs) == len(rates) + 2
    assert all(p.grad is not None for p in decoder.parameters())


@pytest.mark.parametrize("separable", [False, True])
def test_a_batch_of_one_trains_although_the_pooled_map_is_one_pixel(separable):
    model = create_model("deeplabv3", "resnet18", separable=separable).train()
    model(torch.randn(1, 3, 65, 97)).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
