import subprocess
import sys

import pytest
import timm
from timm.models import get_pretrained_cfg

from segtrain.catalog import index
from segtrain.catalog.names import ALIASES, resolve
from segtrain.models.encoders import TimmEncoder

SAMPLE = [
    "resnet18",
    "efficientnet-b0",
    "convnext_atto",
    "vgg11",
    "dla34",
    "swin_t",
    "vit_tiny_patch16_224",
]


def test_names_and_index_need_neither_torch_nor_timm():
    program = (
        "import sys, segtrain.catalog.names, segtrain.catalog.index as index; "
        "assert index.find('resnet'); print(sorted({'torch', 'timm', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_alias_leads_to_an_encoder():
    assert len(ALIASES) > 20
    assert [alias for alias in ALIASES if index.lookup(alias) is None] == []


def test_every_tag_in_the_alias_table_is_one_that_timm_has_weights_for():
    tagged = [name for name in ALIASES.values() if "." in name]
    assert tagged
    assert [name for name in tagged if not (cfg := get_pretrained_cfg(name)) or not cfg.has_weights] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("efficientnet-b4", "tf_efficientnet_b4.aa_in1k"),
        ("tu-resnet18", "resnet18"),
        ("timm-gernet_s", "gernet_s"),
        ("timm-efficientnet-b0", "tf_efficientnet_b0.ns_jft_in1k"),
        ("tu-senet154", "senet154"),
        ("senet154", "legacy_senet154"),
        ("resnet34.a2_in1k", "resnet34.a2_in1k"),
        ("no_such_model", "no_such_model"),
    ],
)
def test_a_friendly_name_becomes_that_of_timm(name, expected):
    assert resolve(name) == expected


@pytest.mark.parametrize("name", SAMPLE)
def test_the_table_says_what_the_encoder_is(name):
    row, encoder = index.lookup(name), TimmEncoder(name, weights=None)
    assert row is not None
    assert row.strides == encoder.strides
    assert row.channels == encoder.out_channels
    assert row.mean == pytest.approx(encoder.mean, abs=1e-6)
    assert row.std == pytest.approx(encoder.std, abs=1e-6)
    assert row.params == sum(p.numel() for p in encoder.parameters())


@pytest.mark.skipif(timm.__version__ != index.TIMM_VERSION, reason=f"the table is that of timm {index.TIMM_VERSION}")
def test_the_table_accounts_for_every_model_of_timm():
    assert sorted([*index.names(), *index.UNUSABLE]) == sorted(timm.list_models())


@pytest.mark.parametrize(
    ("pattern", "found", "not_found"),
    [
        ("resnet", "seresnet50", "vgg11"),
        ("resnet*", "resnet18", "seresnet50"),
        ("mobilenet_v2", "mobilenetv2_100", "resnet18"),
        ("ResNet18", "resnet18", "resnet34"),
        ("", "vgg11", "no_such_model"),
    ],
)
def test_find_knows_parts_patterns_and_aliases(pattern, found, not_found):
    names = [row.name for row in index.find(pattern)]
    assert found in names
    assert not_found not in names


def test_an_unknown_name_has_no_row():
    assert index.lookup("no_such_model") is None
    assert index.find("no_such_model") == []


def test_the_default_weights_come_first():
    assert index.lookup("resnet34").tags[0] == get_pretrained_cfg("resnet34").tag
