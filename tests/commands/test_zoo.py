"""``segtrain zoo``: the table and the page of one model."""

import re
import subprocess
import sys

import pytest
import timm
import torch

from segtrain import create_model
from segtrain.catalog import filters, index
from segtrain.catalog.index import Row, Tag
from segtrain.catalog.table import layout, quantity
from segtrain.cli import main
from segtrain.config.groups import Groups
from segtrain.errors import ConfigError
from tests.newer_timm import newer_timm

ARCHS = Groups.find().choices("arch")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def row(name="net", *, params=10**7, macs=10**9, licences=("mit",), strides=(1, 2, 4, 8, 16, 32), **kinds):
    tags = tuple(Tag(f"tag{i}", *IMAGENET, licence) for i, licence in enumerate(licences))
    kinds = {"size_multiple": 32, "tile": None, "plain": False, "dilates": 8, **kinds}
    channels = tuple(3 * 2**i for i in range(len(strides)))
    return Row(name, params, macs, strides, channels, *IMAGENET, tags=tags, **kinds)


def zoo(capsys, *words):
    assert main(["zoo", *words]) == 0
    return capsys.readouterr().out


def encoders(text):
    """Return the names in the first column of the table."""
    lines = text[text.index("\nencoder ") :].strip().splitlines()[1:]
    table = lines[: lines.index("")] if "" in lines else lines
    return [line.split()[0] for line in table if not line.startswith("  =")]


def chosen(rows, *words):
    return [r.name for r in filters.parse(words, archs=ARCHS).apply(rows)]


def mistake(*words):
    with pytest.raises(ConfigError) as caught:
        filters.parse(words, archs=ARCHS)
    return str(caught.value)


def test_the_table_needs_no_torch():
    program = (
        "import sys; from segtrain.cli import main; main(['zoo', 'convnext*', 'max_params=30M', 'arch=fpn']); "
        "print(sorted({'torch', 'timm', 'numpy', 'hydra', 'rich'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = result.stdout.splitlines()
    assert lines[-1] == "[]"
    assert any(line.startswith("convnext_atto ") for line in lines)


@pytest.mark.parametrize("width", [80, 100, 120, 160, 200])
def test_no_line_of_the_whole_table_is_wider_than_the_terminal(capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    text = zoo(capsys)
    assert len(encoders(text)) == len(index.names())
    table = text[text.index("\nencoder ") :].splitlines()
    assert max(map(len, table)) <= width


def test_a_wide_table_has_all_columns_and_a_narrow_one_says_what_is_left_out(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    header = next(line for line in zoo(capsys).splitlines() if line.startswith("encoder "))
    assert header.split() == ["encoder", "params", "MACs", "strides", "channels", "weights", "mean/std", "licence"]
    monkeypatch.setenv("COLUMNS", "80")
    assert "no room for: " in zoo(capsys)


def test_a_row_says_all_that_the_table_knows():
    (_, line, *notes) = layout([row(licences=("mit", "apache-2.0"))], 200, also={"net": ["alias"]})
    assert line.split("  ")[:1] == ["net"]
    for part in ("10.0M", "1.00G", "2..32", "6 12 24 48 96", "tag0 +1", "imagenet", "mit", "= alias"):
        assert part in line
    assert "imagenet: mean 0.485 0.456 0.406, std 0.229 0.224 0.225, of images from 0 to 1" in notes


def test_numbers_have_three_digits():
    written = [quantity(n) for n in (0, 999, 1000, 21_284_672, 99_960_000, 999_600_000, 3_600_000_000)]
    assert written == ["0", "999", "1.00K", "21.3M", "100M", "1.00G", "3.60G"]


def test_names_of_other_libraries_stand_beside_the_encoder(capsys):
    assert "= efficientnet-b4, timm-efficientnet-b4" in zoo(capsys, "efficientnet-b4")


def test_architectures_are_listed_with_their_sentence(capsys):
    assert re.search(r"^unetplusplus +U-Net\+\+", zoo(capsys, "unet"), flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["max_params=20M"], ["b", "c"]),
        (["max_macs=1.5G"], ["a", "c"]),
        (["pretrained=true"], ["a", "b"]),
        (["pretrained=false"], ["c"]),
        (["licence=MIT"], ["a"]),
        (["license=*"], ["a", "b"]),
        (["arch=dpt"], ["b"]),
        (["arch=deeplabv3"], ["a"]),
        (["arch=unet"], ["a", "b", "c"]),
        (["sort=params"], ["c", "b", "a"]),
        (["sort=macs"], ["c", "a", "b"]),
        (["sort=params", "max_params=20M", "pretrained=true"], ["b"]),
        ([], ["a", "b", "c"]),
    ],
)
def test_filters_choose_and_sort(words, expected):
    rows = [
        row("c", params=1_000_000, macs=10**8, licences=(), dilates=0),
        row("a", params=30_000_000, licences=("apache-2.0", "mit")),
        row("b", params=20_000_000, macs=2 * 10**9, licences=("apache-2.0",), plain=True, dilates=0),
    ]
    assert chosen(rows, *words) == expected


def test_a_licence_leaves_the_weights_that_have_it():
    (found,) = filters.parse(["licence=mit"], archs=ARCHS).apply([row(licences=("apache-2.0", "mit"))])
    assert [tag.name for tag in found.tags] == ["tag1"]


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("max_parms=3M", ["zoo max_parms=3M: unknown filter, did you mean 'max_params'?"]),
        ("max_params=many", ["zoo max_params=many: expected a number such as 30M"]),
        ("arch=fpnn", ["expected one of", "did you mean 'fpn'?"]),
        ("pretrained=yes", ["expected one of true, false"]),
        ("licence=apache", ["no weights have this licence, did you mean 'apache-2.0'?"]),
        ("sort=size", ["expected one of name, params, macs"]),
    ],
)
def test_a_filter_that_cannot_be_read_says_what_is_expected(word, parts):
    message = mistake(word)
    assert "\n" not in message
    assert all(part in message for part in parts)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["resnet", "max_params=1K"], "zoo resnet max_params=1K: no encoder passes these filters"),
        (["resnat18"], "zoo resnat18: nothing matches, did you mean 'resnet18'?"),
        (["unett", "resnet18"], "an architecture and an encoder such as `zoo unet resnet34`, did you mean 'unet'?"),
        (["unet", "resnet18", "more"], "expected one pattern"),
        (["unet", "resnat18"], "encoder=resnat18: no such encoder, did you mean 'resnet18'?"),
        (["dpt", "resnet18"], "resnet18 is no plain vision transformer"),
        (["unet", "resnet18", "arch.nrm=group"], "arch.nrm: unknown key, did you mean 'arch.norm'?"),
    ],
)
def test_mistakes_are_one_line_and_exit_with_2(capsys, words, part):
    assert main(["zoo", *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert part in error


KINDS = [
    "test_resnet",
    "test_convnext",
    "test_vit",
    "efficientvit_m0",
    "ghostnet_100",
    "legacy_seresnet18",
    "lowformer_b0",
]


@pytest.mark.parametrize("name", KINDS)
def test_an_architecture_is_said_to_take_what_it_takes(name):
    found = index.lookup(name)
    assert len(ARCHS) >= 12
    assert {arch: filters.suits(arch, found) for arch in ARCHS} == {arch: _builds(arch, name) for arch in ARCHS}


def _builds(arch, encoder):
    try:
        with torch.device("meta"):
            create_model(arch, encoder)
    except ConfigError:
        return False
    return True


def test_a_page_tells_the_size_of_a_model_and_of_its_parts(capsys):
    text = zoo(capsys, "unet", "resnet18")
    model = create_model("unet", "resnet18")
    for part, module in {"encoder": model.encoder, "decoder": model.decoder, "all": model}.items():
        size = quantity(sum(p.numel() for p in module.parameters()))
        assert re.search(rf"^{part} +{re.escape(size)} ", text, flags=re.MULTILINE)
    macs = quantity(index.lookup("resnet18").macs)
    assert re.search(rf"^encoder +\S+ +{re.escape(macs)}$", text, flags=re.MULTILINE)
    for line in (r"image +1 +3 +256x256", r"map 5 +32 +512 +8x8", r"logits +1 +1 +256x256"):
        assert re.search(f"^{line}$", text, flags=re.MULTILINE)


def test_a_page_lists_options_weights_and_other_names(capsys, monkeypatch):
    monkeypatch.delenv("SEGTRAIN_WEIGHTS", raising=False)
    text = zoo(capsys, "fpn", "efficientnet-b0")
    assert "  merge: add  # add | cat" in text
    assert "weights of tf_efficientnet_b0, for images from 0 to 1" in text
    assert re.search(r"^aa_in1k +imagenet +0.485 0.456 0.406 +0.229 0.224 0.225 +apache-2.0 +no$", text, re.MULTILINE)
    assert re.search(r"^ap_in1k +advprop +0.5 0.5 0.5 ", text, re.MULTILINE)
    assert "in segmentation_models_pytorch: efficientnet-b0, timm-efficientnet-b0, tu-tf_efficientnet_b0" in text


def test_a_page_takes_overrides(capsys):
    plain, deeper = (zoo(capsys, "unet", "resnet18", f"encoder.depth={depth}") for depth in (3, 5))
    assert "map 4" in deeper
    assert "map 4" not in plain


def test_a_page_shows_where_weights_lie(capsys, monkeypatch, tmp_path):
    (tmp_path / "resnet18.tv_in1k.pth").touch()
    monkeypatch.setenv("SEGTRAIN_WEIGHTS", str(tmp_path))
    text = zoo(capsys, "unet", "resnet18")
    assert re.search(rf"^tv_in1k .* {re.escape(str(tmp_path))}/resnet18\.tv_in1k\.pth$", text, re.MULTILINE)


def test_a_model_newer_than_the_table_has_a_page(capsys, monkeypatch):
    monkeypatch.setattr(index, "TIMM_VERSION", "0.0.1")
    with newer_timm(a={"hf_hub_id": "timm/", "license": "mit"}) as name:
        text = zoo(capsys, "unet", name)
        assert main(["zoo", name]) == 2
    assert re.search(r"^a +imagenet .* mit +no$", text, flags=re.MULTILINE)
    error = capsys.readouterr().err
    assert f"nothing matches in the table of timm 0.0.1; for a model that timm {timm.__version__} brings" in error
