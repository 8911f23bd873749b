import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F

from segtrain.errors import ConfigError
from segtrain.models import create_model
from segtrain.models.decoders import Segformer
from segtrain.models.encoders import mix_transformer
from tests.models.parity import assert_same_gradients, assert_same_logits, pair

OPTIONS = {
    "defaults": ({}, {}),
    "channels": ({"channels": 48}, {"decoder_segmentation_channels": 48}),
    "depth 3": ({"encoder_depth": 3}, {"encoder_depth": 3}),
    "depth 4": ({"encoder_depth": 4}, {"encoder_depth": 4}),
}
CHANNELS, STRIDES = (3, 8, 12, 16, 24), (1, 2, 4, 8, 16)


def rename_mit(key):
    return f"encoder.model.model.{mix_transformer.rename(key)}" if key.startswith("encoder.") else key


def _pair(encoder, ours, theirs, **options):
    return pair(
        smp.Segformer(encoder, encoder_weights=None, classes=3, **theirs), "segformer", encoder, **ours, **options
    )


def _features(height, width):
    return [torch.randn(2, c, -(-height // s), -(-width // s)) for c, s in zip(CHANNELS, STRIDES, strict=True)]


@pytest.mark.parametrize("option", OPTIONS)
def test_logits_equal_those_of_smp(option):
    assert_same_logits(*_pair("tu-resnet18", *OPTIONS[option]))


@pytest.mark.parametrize("option", OPTIONS)
def test_gradients_equal_those_of_smp(option):
    assert_same_gradients(*_pair("tu-resnet18", *OPTIONS[option]))


@pytest.mark.parametrize("depth", [3, 5])
def test_logits_equal_those_of_smp_on_a_mix_transformer(depth):
    options = {"encoder_depth": depth}
    ours, theirs = _pair_with_mit(options)
    assert_same_logits(ours, theirs)


def test_gradients_equal_those_of_smp_on_a_mix_transformer():
    ours, theirs = _pair_with_mit({})
    assert_same_gradients(ours, theirs, rename=rename_mit)


def _pair_with_mit(options):
    def rename(key):  # SMP stores the stages behind the last map as well
        ours = rename_mit(key)
        stages = options.get("encoder_depth", 5) - 1
        return None if any(f".stages.{i}." in ours for i in range(stages, 4)) else ours

    theirs = smp.Segformer("mit_b0", encoder_weights=None, classes=3, **options)
    for module in theirs.modules():
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.0
    return pair(theirs, "segformer", "mit_b0", rename=rename, **options)


def test_the_sum_of_maps_equals_the_paper_s_concatenation():
    decoder = Segformer(CHANNELS, STRIDES, channels=32, norm="none").eval()
    features = _features(48, 80)
    projected = [
        stage.linear(x.movedim(1, -1)).movedim(-1, 1)
        for stage, x in zip(decoder.mlp_stage, features[:0:-1], strict=True)
    ]
    resized = [F.interpolate(x, (12, 20), mode="bilinear") for x in projected]
    torch.testing.assert_close(decoder(features), decoder.fuse_stage(torch.cat(resized, 1)))


@pytest.mark.parametrize("norm", ["batch", "group", "layer", "instance", "none"])
def test_a_batch_of_one_trains_with_every_norm(norm):
    decoder = Segformer(CHANNELS, STRIDES, channels=32, norm=norm).train()
    merged = decoder([x[:1] for x in _features(65, 97)])
    assert merged.shape == (1, 32, 17, 25)
    merged.square().mean().backward()
    assert [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_dropout_leaves_out_whole_channels_while_training():
    decoder = Segformer(CHANNELS, STRIDES, channels=64, norm="none", dropout=0.5).train()
    empty = (decoder(_features(32, 32)) == 0).flatten(2).all(-1)
    assert 0.2 < empty.float().mean() < 0.95


def test_maps_of_one_coarse_stride_are_taken():
    decoder = Segformer((3, 8, 8), (1, 16, 16), channels=16)
    assert decoder([torch.randn(2, 3, 64, 96), *torch.randn(2, 2, 8, 4, 6)]).shape == (2, 16, 16, 24)


def test_an_encoder_of_fine_maps_alone_is_refused():
    with pytest.raises(
        ConfigError, match=r"stride 8 or coarser, this encoder gives strides \[1, 2, 4\].*encoder.depth=5"
    ):
        create_model("segformer", "resnet18", encoder_depth=2)
