"""Arguments that are written as for segmentation_models_pytorch are answered with ours."""

from segtrain.models.smp.words import translated


def test_their_words_are_answered_with_ours():
    called, written = translated("unet", {"encoder_name": "resnet34", "classes": 3, "dropout": 0.1}).split("; ")
    assert called == "create_model: encoder_name is encoder here, classes is num_classes here"
    assert written == "write encoder='resnet34', num_classes=3"


def test_arguments_by_position_are_named_in_their_order():
    line = translated("unet", {}, ("imagenet", 1))
    assert line == "create_model: arch and encoder alone go by position; write weights='imagenet', in_channels=1"


def test_values_are_written_as_ours_are():
    line = translated("unet", {"aux_params": {"classes": 4, "dropout": 0.5}})
    assert line.endswith("write classification={'num_classes': 4, 'dropout': 0.5}")


def test_our_own_words_need_no_answer():
    assert translated("unet", {"num_classes": 3}) is None
