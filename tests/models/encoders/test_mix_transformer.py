import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torch.nn.functional as F
from timm.models import get_pretrained_cfg

from segtrain.models.encoders import TimmEncoder, mix_transformer
from segtrain.models.encoders.mix_transformer import Attention, attend, rename, translate

PARAMETERS = {  # of SMP's encoders
    "mit_b0": 3_319_392,
    "mit_b1": 13_151_424,
    "mit_b2": 24_196_288,
    "mit_b3": 44_072_128,
    "mit_b4": 60_842_688,
    "mit_b5": 81_443_008,
}


def _theirs(name):
    torch.manual_seed(0)
    encoder = smp.encoders.get_encoder(name, weights=None)
    for module in encoder.modules():
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.0
        if isinstance(module, torch.nn.LayerNorm | torch.nn.Linear):
            torch.nn.init.normal_(module.bias, std=0.1)
    return encoder


def _pair(name):
    theirs = _theirs(name)
    ours = timm.create_model(name, features_only=True)
    ours.model.load_state_dict(translate(theirs.state_dict()))
    return ours, theirs


def _huggingface_names(state):
    """Name and split a state of ours as Hugging Face's SegformerForImageClassification does."""
    renamings = {
        ".norm1.": ".layer_norm_1.",
        ".norm2.": ".layer_norm_2.",
        ".attn.norm.": ".attention.self.layer_norm.",
        ".attn.proj.": ".attention.output.dense.",
        ".attn.": ".attention.self.",
        ".self.q.": ".self.query.",
        ".mlp.fc": ".mlp.dense",
        ".dwconv.": ".dwconv.dwconv.",
    }
    theirs = {}
    for key, tensor in state.items():
        _, stage, part, *rest = key.split(".")
        tail = ".".join(rest)
        key = {
            "embed": f"patch_embeddings.{stage}.{tail.replace('norm', 'layer_norm')}",
            "blocks": f"block.{stage}.{tail}",
            "norm": f"layer_norm.{stage}.{tail}",
        }[part]
        for ours, renamed in renamings.items():
            key = key.replace(ours, renamed)
        tensors = {key: tensor}
        if ".kv." in key:
            tensors = dict(zip([key.replace("kv", "key"), key.replace("kv", "value")], tensor.chunk(2), strict=True))
        theirs |= {f"segformer.encoder.{name}": value for name, value in tensors.items()}
    return theirs


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_size_has_as_many_parameters_as_smp_s(name):
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", ["mit_b0", "mit_b1"])
@pytest.mark.parametrize("size", [(64, 96), (75, 97)])
def test_maps_equal_those_of_smp(name, size):
    ours, theirs = (model.eval() for model in _pair(name))
    image = torch.randn(2, 3, *size)
    with torch.no_grad():
        maps, expected = ours(image), theirs(image)[2:]
    assert len(maps) == 4
    for feature, same in zip(maps, expected, strict=True):
        assert feature.shape == same.shape
        assert (feature - same).abs().max() <= 1e-5 * same.abs().max()


@pytest.mark.parametrize("name", ["mit_b0", "mit_b1"])
def test_gradients_equal_those_of_smp(name):
    models = [model.double().train() for model in _pair(name)]
    image = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    for model in models:
        sum(x.square().mean() for x in model(image)[-4:]).backward()
    ours = {key: p.grad for key, p in models[0].model.named_parameters()}
    theirs = {rename(key): p.grad for key, p in models[1].named_parameters()}
    assert ours.keys() == theirs.keys()
    largest = max(gradient.abs().max() for gradient in theirs.values())
    for key, gradient in theirs.items():
        assert (ours[key] - gradient).abs().max() <= 1e-5 * largest, key


def test_an_encoder_serves_them_with_every_option():
    encoder = TimmEncoder("mit_b0", weights=None, in_channels=4, depth=4, drop_path_rate=0.1).eval()
    assert encoder.strides == (1, 4, 8, 16)
    with torch.no_grad():
        maps = encoder(torch.randn(1, 4, 64, 96))
    assert [tuple(x.shape) for x in maps[1:]] == [(1, 32, 16, 24), (1, 64, 8, 12), (1, 160, 4, 6)]
    assert not any(".stages.3." in key or "head" in key for key in encoder.state_dict())


def test_stochastic_depth_rises_linearly_over_all_blocks():
    model = timm.create_model("mit_b0", drop_path_rate=0.7)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for stage in model.stages for block in stage.blocks]
    assert rates == pytest.approx([0.1 * i for i in range(8)])


def test_a_classifier_averages_the_last_map():
    model = timm.create_model("mit_b0", num_classes=5).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        last, _ = model.forward_intermediates(image)
        torch.testing.assert_close(model(image), model.head(last.mean((2, 3))))


def test_files_of_huggingface_load():
    model = timm.create_model("mit_b0", num_classes=0)
    theirs = _huggingface_names(model.state_dict())
    assert "segformer.encoder.block.2.1.attention.self.value.weight" in theirs
    ours = translate(theirs)
    assert ours.keys() == model.state_dict().keys()
    assert all(torch.equal(ours[key], tensor) for key, tensor in model.state_dict().items())


def test_our_own_names_stay():
    keys = timm.create_model("mit_b0").state_dict().keys()
    assert [rename(key) for key in keys] == list(keys)


def test_the_reduction_is_a_convolution():
    attention = Attention(8, heads=2, reduction=4)
    x = torch.randn(2, 9, 14, 8)
    convolved = attention.norm(attention.sr(x.movedim(-1, 1)).movedim(1, -1))
    torch.testing.assert_close(attention._reduce(x), convolved)


@pytest.mark.parametrize("keys", [16, 400])
def test_attention_in_bf16_equals_the_fused_kernel(keys):
    query, key, value = (torch.randn(1, 2, n, 32) for n in (50, keys, keys))
    expected = F.scaled_dot_product_attention(query, key, value)
    attended = attend(query.bfloat16(), key.bfloat16(), value.bfloat16())
    assert attended.dtype == torch.bfloat16
    torch.testing.assert_close(attended.float(), expected, atol=0.03, rtol=0.03)


def test_maps_are_channels_last_without_a_copy():
    maps = timm.create_model("mit_b0", features_only=True)(torch.randn(1, 3, 64, 64))
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in maps)


def test_a_batch_of_one_reaches_every_parameter():
    model = timm.create_model("mit_b0", features_only=True)
    sum(x.square().mean() for x in model(torch.randn(1, 3, 40, 72))).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_it_exports_and_the_program_agrees():
    model = timm.create_model("mit_b0", features_only=True).eval()
    image = torch.randn(1, 3, 64, 64)
    program = torch.export.export(model, (image,), strict=False)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(image), model(image))


def test_the_licence_of_the_weights_is_stated():
    assert len(mix_transformer.default_cfgs) == 6
    for name in PARAMETERS:
        assert "noncommercial" in get_pretrained_cfg(name).license
