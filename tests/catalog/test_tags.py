"""Other libraries' names of weights, and the tags of timm that they mean."""

import pytest

from segtrain.catalog.tags import SMP_WEIGHTS, choose, synonyms

B4 = ["ap_in1k", "ns_jft_in1k", "in1k"]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [("ns_jft_in1k", "ns_jft_in1k"), ("noisy-student", "ns_jft_in1k"), ("advprop", "ap_in1k"), ("ssl", None)],
)
def test_a_name_means_a_tag_or_none(weights, expected):
    assert choose(weights, "tf_efficientnet_b4", B4) == expected


def test_some_names_mean_the_weights_of_certain_models_alone():
    assert choose("imagenet+5k", "dpn92", ["mx_in1k"]) == "mx_in1k"
    assert choose("imagenet+5k", "dpn98", ["mx_in1k"]) is None
    assert choose("imagenet21k", "vit_tiny", ["augreg_in21k_ft_in1k", "augreg_in21k"]) == "augreg_in21k"


def test_the_names_of_a_models_weights():
    assert synonyms("tf_efficientnet_b4", B4) == {"noisy-student": "ns_jft_in1k", "advprop": "ap_in1k"}
    assert synonyms("resnet18", []) == {}
    assert set(synonyms("resnet18", ["fb_ssl_yfcc100m_ft_in1k"])) == {"ssl"} < SMP_WEIGHTS.keys()
