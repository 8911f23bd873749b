import multiprocessing
import os
import subprocess
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor

import pytest
import timm
import torch
from timm.models import get_pretrained_cfg

from segtrain.catalog import index
from segtrain.catalog.names import ALIASES, resolve
from segtrain.models.encoders import TimmEncoder
from tests.newer_timm import newer_timm

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
        ("timm-efficientnet-b0", "tf_efficientnet_b0.aa_in1k"),
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
    assert sorted([*index.names(), *index.UNUSABLE]) == sorted(timm.list_models(exclude_filters="smp_*"))


@pytest.mark.skipif(timm.__version__ != index.TIMM_VERSION, reason=f"the table is that of timm {index.TIMM_VERSION}")
def test_the_table_knows_the_weights_of_every_encoder_with_their_mean_std_and_licence():
    checked = 0
    for name in index.names():
        listed = {tag.name: tag for tag in index.lookup(f"tu-{name}").tags}
        tags = {full.partition(".")[2] for full in timm.list_models(f"{name}.*", pretrained=True)}
        assert listed.keys() == tags
        for tag in listed.values():
            cfg = get_pretrained_cfg(f"{name}.{tag.name}")
            assert tag.mean == pytest.approx(cfg.mean, abs=1e-6)
            assert tag.std == pytest.approx(cfg.std, abs=1e-6)
            assert tag.licence == (cfg.license or "unknown")
            checked += 1
    assert checked > 1000


def test_every_encoder_counts_its_operations_and_there_are_many():
    rows = [index.lookup(name) for name in index.names()]
    assert len(rows) >= 800
    assert [row.name for row in rows if row.macs <= 0 or row.params <= 0] == []


def test_a_model_newer_than_the_table_is_an_encoder_all_the_same():
    with newer_timm() as name:
        assert index.lookup(name) is None
        encoder = TimmEncoder(name, weights=None, in_channels=2).eval()
        with torch.no_grad():
            maps = encoder(torch.zeros(1, 2, 64, 96))
    stated = zip(encoder.out_channels, encoder.strides, strict=True)
    assert [tuple(m.shape) for m in maps] == [(1, c, 64 // s, 96 // s) for c, s in stated]
    assert encoder.strides == (1, 2, 4, 8, 16, 32)


def _stated_and_real(name):
    """Return what the table states of an encoder's maps, and what a forward pass on the meta device gives."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    row = index.lookup(name)
    with torch.device("meta"), torch.no_grad():
        encoder = TimmEncoder(name, weights=None).eval()
        multiple = encoder.size_multiple if row.plain else row.size_multiple  # of the pyramid, where it needs one
        sides = [row.tile] * 2 if row.tile else [2 * multiple, 3 * multiple]
        maps = encoder(torch.empty(1, 3, *sides))
    stated = [(1, c, sides[0] // s, sides[1] // s) for c, s in zip(row.channels, row.strides, strict=True)]
    return name, stated, [tuple(m.shape) for m in maps]


@pytest.mark.slow
def test_every_encoder_has_the_channels_and_strides_that_the_table_states(capsys):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context, initializer=_import_encoders) as pool:
        results = list(pool.map(_stated_and_real, index.names(), chunksize=16))
    with capsys.disabled():
        sys.stdout.write(f"\n{len(results)} encoders run on the meta device\n")
    assert len(results) >= 800
    assert [name for name, stated, real in results if stated != real] == []


def _import_encoders():
    """Register what timm lacks, in a new process."""
    import segtrain.models.encoders.timm_encoder  # noqa: F401


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
    assert index.lookup("resnet34").tags[0].name == get_pretrained_cfg("resnet34").tag
