"""What `create_model` answers to arguments that it cannot take, and to those of segmentation_models_pytorch."""

import re

import pytest
import segmentation_models_pytorch as smp
import torch

from segtrain.errors import ConfigError
from segtrain.models import Normalize, create_model
from segtrain.models.encoders import TimmEncoder
from segtrain.models.smp.recipe import read_recipe


@pytest.mark.parametrize("arch", ["unet", "fpn", "deeplabv3"])
@pytest.mark.parametrize("depth", [0, -1, 6, 9, 2.5, True])
def test_a_depth_that_no_encoder_has_is_refused_as_on_the_command_line(arch, depth):
    with pytest.raises(ConfigError, match=rf"encoder\.depth: expected .*, got {str(depth).lower()}"):
        create_model(arch, "resnet18", encoder_depth=depth)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"depth": 0}, "encoder.depth: expected at least 1 or null, got 0"),
        ({"depth": 9}, "encoder.depth: expected at most 5 or null, got 9"),
        ({"output_stride": 0}, "encoder.output_stride: expected one of 8, 16, 32 or null, got 0"),
        ({"output_stride": 12}, "encoder.output_stride: expected one of 8, 16, 32 or null, got 12"),
        ({"in_channels": 0}, "encoder.in_channels: expected at least 1, got 0"),
        ({"img_size": 0}, "encoder.img_size: expected at least 32"),
    ],
)
def test_an_encoder_alone_looks_at_its_numbers_too(options, problem):
    with pytest.raises(ConfigError, match=re.escape(problem)):
        TimmEncoder("resnet18", weights=None, **options)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"in_channels": 0}, "encoder.in_channels: expected at least 1, got 0"),
        ({"num_classes": 0}, "num_classes: expected an integer of at least 1, got 0"),
        ({"num_classes": -3}, "num_classes: expected an integer of at least 1, got -3"),
        ({"num_classes": "two"}, "num_classes: expected an integer of at least 1, got 'two'"),
        ({"dropuot": 0.1}, "arch.dropuot: unknown key, did you mean 'dropout'?"),
        ({"dropout": 2}, "arch.dropout: expected at most 1, got 2"),
        ({"merge": "mul"}, "arch.merge: expected one of add, cat, got 'mul'"),
        ({"encoder_options": {"drop_path": 0.1}}, "encoder.drop_path: unknown key, did you mean 'drop_path_rate'?"),
        ({"encoder_output_stride": 4}, "encoder.output_stride: expected one of 8, 16, 32 or null, got 4"),
    ],
)
def test_options_are_checked_as_on_the_command_line(options, problem):
    with pytest.raises(ConfigError, match=re.escape(problem)):
        create_model("fpn", "resnet18", **options)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"arch": 3}, "arch: unknown architecture 3"),
        ({"encoder": 3}, "encoder: expected a name, got 3"),
        ({"weights": ["imagenet"]}, "weights: expected a name, got ['imagenet']"),
        ({"activation": {}}, "activation: expected None, sigmoid or softmax, got {}"),
        ({"aux_heads": 16}, "aux_heads: expected a list such as [a,b], got 16"),
        ({"class_names": 2}, "class_names: expected a list such as [a,b], got 2"),
        ({"encoder_options": "x"}, "encoder_options: expected a mapping"),
        ({"classification": 4}, "classification: expected a mapping"),
        ({"classification": {"pooling": "avg"}}, "classification.num_classes: missing"),
        ({"classification": {"num_classes": 2, "pool": "avg"}}, "classification.pool: unknown key, did you mean 'pool"),
    ],
)
def test_arguments_of_another_kind_are_refused(options, problem):
    with pytest.raises(ConfigError, match=re.escape(problem)):
        create_model(**{"arch": "unet", "encoder": "resnet18", **options})


def test_a_model_without_an_encoder_is_asked_for_one():
    with pytest.raises(ConfigError, match=r'encoder is missing.*encoder="resnet34"'):
        create_model("unet")


THEIRS = {
    "unet": {"encoder_name": "resnet18", "encoder_weights": None, "classes": 3, "decoder_channels": [32, 16, 8, 8, 4]},
    "fpn": {"encoder_name": "resnet18", "encoder_weights": None, "decoder_merge_policy": "cat", "decoder_dropout": 0.1},
    "linknet": {"encoder_name": "resnet18", "encoder_weights": None, "decoder_use_batchnorm": False},
    "pspnet": {"encoder_name": "resnet18", "encoder_weights": None, "psp_out_channels": 64},
    "unetplusplus": {"encoder_name": "resnet18", "encoder_weights": None, "aux_params": {"classes": 4}},
}


@pytest.mark.parametrize("arch", sorted(THEIRS))
def test_their_words_are_answered_with_ours_and_the_answer_works_when_pasted(arch):
    smp.create_model(arch, **THEIRS[arch])  # the words are theirs
    with pytest.raises(ConfigError) as caught:
        create_model(arch, **THEIRS[arch])
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    for name in THEIRS[arch]:
        assert f"{name} is " in message
    pasted = eval(f"create_model({arch!r}, {message.partition('; write ')[2]})", {"create_model": create_model})
    image = torch.zeros(2, 3, 32, 32)
    assert torch.is_tensor(pasted(image)) != ("aux_params" in THEIRS[arch])


def test_what_they_take_by_position_is_answered_by_name():
    with pytest.raises(ConfigError, match=r"write weights='imagenet', in_channels=3, num_classes=2$"):
        create_model("unet", "resnet18", "imagenet", 3, 2)


@pytest.mark.parametrize("key", ["encoder_depth", "in_channels", "encoder_output_stride"])
@pytest.mark.parametrize("value", [0, -1, "5"])
def test_a_saved_model_with_a_number_that_none_has_is_refused(key, value):
    with pytest.raises(ConfigError, match=f"model.{key}: expected an integer of at least 1, got {value!r}"):
        read_recipe("Unet", {key: value})


def test_an_input_range_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"expected a positive input_range, .*, got 0"):
        Normalize((0.5,), (0.5,), input_range=0)
