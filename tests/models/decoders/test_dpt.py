import logging
import re

import pytest
import segmentation_models_pytorch as smp
import torch

from segtrain.errors import ConfigError
from segtrain.models import create_model
from segtrain.models.decoders import DPT
from segtrain.models.decoders.dpt import AddReadout, CatReadout
from tests.models.parity import assert_same_gradients, assert_same_logits, pair

VIT = "vit_tiny_patch16_224"
SMALL = {"intermediate_channels": [16, 24, 32, 32], "fusion_channels": 16}
THEIR_SMALL = {f"decoder_{key}": value for key, value in SMALL.items()}
OPTIONS = {
    "cat": (SMALL, THEIR_SMALL),
    "add": (SMALL | {"readout": "add"}, THEIR_SMALL | {"decoder_readout": "add"}),
    "ignore": (SMALL | {"readout": "ignore"}, THEIR_SMALL | {"decoder_readout": "ignore"}),
    "two maps": (
        {"encoder_depth": 2, "intermediate_channels": [16, 24], "fusion_channels": 16},
        {"encoder_depth": 2, "decoder_intermediate_channels": [16, 24], "decoder_fusion_channels": 16},
    ),
}


def rename(key):
    key = re.sub(r"^segmentation_head\.head\.4", "segmentation_head.0", key)
    key = re.sub(r"^segmentation_head\.head", "decoder.head", key)
    return re.sub(r"\.batch_norm_([12])\.", r".norm_\1.", key)


def used(key):
    """SMP keeps the encoder's last normalisation and its classifier, which no map has passed."""
    return None if re.match(r"encoder\.model\.(norm|head)\.", key) else rename(key)


def _pair(encoder, ours, theirs):
    model = smp.DPT(f"tu-{encoder}", encoder_weights=None, classes=3, dynamic_img_size=True, **theirs)
    model.segmentation_head.head[3].p = 0.0
    return pair(model, "dpt", encoder, rename=used, dropout=0.0, **ours)


@pytest.mark.parametrize("option", OPTIONS)
def test_logits_equal_those_of_smp(option):
    assert_same_logits(*_pair(VIT, *OPTIONS[option]))


@pytest.mark.parametrize("option", OPTIONS)
def test_gradients_equal_those_of_smp(option):
    assert_same_gradients(*_pair(VIT, *OPTIONS[option]), rename=used)


def test_logits_equal_those_of_smp_on_patches_of_32_pixels():
    assert_same_logits(*_pair("vit_small_patch32_224", *OPTIONS["cat"]))


def test_logits_equal_those_of_smp_with_its_own_default_channels():
    assert_same_logits(*_pair(VIT, {}, {}))


def _decoder(stride, prefix_tokens=2, **options):
    return DPT((3, *[24] * 4), (1, *[stride] * 4), prefix_tokens, **{**SMALL, **options})


def _features(stride, height, width, prefix_tokens=2, batch=1):
    maps = torch.randn(4, batch, 24, height // stride, width // stride)
    tokens = torch.randn(4, batch, prefix_tokens, 24) if prefix_tokens else ()
    return [torch.randn(batch, 3, height, width), *maps, *tokens]


@pytest.mark.parametrize(
    ("patch", "height", "width"),
    [(4, 20, 28), (8, 40, 72), (14, 70, 98), (14, 14, 14), (16, 48, 80), (16, 16, 16), (32, 96, 32)],
)
def test_patches_of_every_size_train_in_a_batch_of_one(patch, height, width):
    decoder = _decoder(patch).train()
    merged = decoder(_features(patch, height, width))
    assert merged.shape == (1, 16, height // 2, width // 2)
    merged.square().mean().backward()
    assert [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("norm", ["batch", "group", "layer", "instance", "none"])
def test_a_batch_of_one_trains_with_every_norm(norm):
    decoder = _decoder(16, norm=norm).train()
    decoder(_features(16, 64, 96)).square().mean().backward()
    assert [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("readout", ["cat", "add"])
def test_without_prefix_tokens_there_is_nothing_to_read_out(readout, caplog):
    with caplog.at_level(logging.INFO):
        decoder = _decoder(16, prefix_tokens=0, readout=readout)
    assert f"arch.readout: {readout} does nothing" in caplog.text
    assert decoder.state_dict().keys() == _decoder(16, readout="ignore").state_dict().keys()
    assert decoder(_features(16, 32, 64, prefix_tokens=0, batch=2)).shape == (2, 16, 16, 32)


def test_tokens_are_ignored_on_request():
    decoder = _decoder(16, readout="ignore").eval()
    features = _features(16, 32, 64)
    others = [*features[:5], *(torch.randn_like(tokens) for tokens in features[5:])]
    assert torch.equal(decoder(features), decoder(others))


def test_cat_projects_each_pixel_beside_the_class_token():
    readout = CatReadout(6)
    x, tokens = torch.randn(2, 6, 3, 5), torch.randn(2, 4, 6)
    beside = torch.cat([x, tokens[:, 0, :, None, None].expand_as(x)], dim=1)
    torch.testing.assert_close(readout(x, tokens), readout.project(beside.movedim(1, -1)).movedim(-1, 1))


def test_add_takes_the_mean_of_the_tokens():
    x, tokens = torch.randn(2, 6, 3, 5), torch.randn(2, 4, 6)
    torch.testing.assert_close(AddReadout(6)(x, tokens), x + tokens.mean(1)[:, :, None, None])


def test_an_image_of_any_size_gets_logits_of_its_size():
    model = create_model("dpt", VIT, num_classes=2, **SMALL).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, 65, 97)).shape == (1, 2, 65, 97)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"intermediate_channels": [16, 16, 16]},
            r"got 3 numbers.* 4 maps.*intermediate_channels=\[256,512,1024,1024\]', or encoder.depth=3",
        ),
        ({"readout": "concat"}, r"arch.readout: unknown choice 'concat', expected one of cat, add, ignore"),
    ],
)
def test_what_cannot_be_built_is_explained_in_one_line(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        _decoder(16, **options)
    assert "\n" not in str(caught.value)
