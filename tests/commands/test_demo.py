"""`segtrain demo`: what the page gets is what `Predictor` predicts, and hostile files are one line each."""

import base64
import io
import json
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from segtrain import Predictor, create_model, save_model
from segtrain.build.demo import SHOWN
from segtrain.cli import main
from segtrain.commands.demo import make_server, page_of
from segtrain.config.compose import compose
from segtrain.config.overrides import Overrides
from segtrain.config.page_schema import DemoConfig
from segtrain.config.spine import to_config
from tests.drawing.html import parse
from tests.inference.test_serving import ask

CLASSES = {"binary": ["cat"], "multiclass": ["road", "cat", "</script><b>"], "multilabel": ["hat", "head"]}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    for mode, names in CLASSES.items():
        model = create_model("unet", "test_resnet", weights=None, num_classes=len(names))
        save_model(model, folder / f"{mode}.pt", class_names=names, mode=mode, image_size=32)
    return folder


@pytest.fixture(params=list(CLASSES))
def mode(request):
    return request.param


@pytest.fixture
def serve(checkpoints):
    """Open a server for a mode; it is closed afterwards."""
    opened = []

    def start(mode, **keys):
        words = [f"ckpt='{checkpoints / mode}.pt'", "port=0", "device=cpu", *(f"{k}={v}" for k, v in keys.items())]
        server = make_server(to_config(compose("demo", words).job, DemoConfig), Overrides())
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        opened.append((server, thread))
        return server

    yield start
    for server, thread in opened:
        server.shutdown()
        thread.join()
        server.server_close()


def photo(width=60, height=40, seed=0):
    rng = np.random.default_rng(seed)
    return np.repeat(np.repeat(rng.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8), 4, 0), 4, 1)


def file_of(pixels, kind="PNG", **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def decoded(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_maps_are_what_the_predictor_predicts(serve, checkpoints, mode):
    status, answer = ask(serve(mode), body=file_of(photo()))
    assert status == 200
    assert (answer["width"], answer["height"], answer["of"]) == (60, 40, [60, 40])
    expected = Predictor(checkpoints / f"{mode}.pt", device="cpu")(photo())
    maps = [decoded(uri) for uri in answer["maps"]]
    if mode == "multiclass":
        assert len(np.unique(expected)) > 1
        assert np.array_equal(maps[0], expected)
        return
    labels = expected if mode == "multilabel" else expected[None]
    assert len(maps) == len(labels) == len(CLASSES[mode])
    for found, label in zip(maps, labels, strict=True):
        apart = np.abs(found.astype(int) - 127.5) > 1  # beyond rounding to a byte
        assert apart.mean() > 0.5
        assert np.array_equal((found > 127.5)[apart], label[apart] == 1)


def test_a_large_image_is_shown_smaller(serve):
    status, answer = ask(serve("multiclass"), body=file_of(photo(2 * SHOWN, 800)))
    assert status == 200
    assert (answer["width"], answer["height"], answer["of"]) == (SHOWN, 400, [2 * SHOWN, 800])
    assert decoded(answer["photo"]).shape == (400, SHOWN, 3)


def test_the_page_has_a_slider_for_each_class(serve, mode):
    status, text = ask(serve(mode), "GET", "/")
    assert status == 200
    page = parse(text.replace(text[text.index("<script") : text.index("</script>\n</body>")], "<script>"))
    sliders = [each["id"] for each in page.of("input") if each["type"] == "range"]
    names = CLASSES[mode]
    kinds = ["opacity"] if mode == "multiclass" else ["opacity", "threshold"]
    assert sliders == [f"{kind}-{number}" for number in range(len(names)) for kind in kinds]
    assert {each["for"] for each in page.of("label")} == {"file", *sliders}
    assert [words.strip() for words in page.texts("legend")] == names


def test_a_class_cannot_break_out_of_the_script():
    text = page_of("run", [{"name": "</script><b>", "colour": [1, 2, 3], "threshold": None}], most_mb=1)
    assert text.count("</script>") == 1
    assert json.loads(text.partition("const classes = ")[2].partition(";\n")[0])[0]["name"] == "</script><b>"


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, body, *extra):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(extra) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def hostile():
    """Files that are none, lie about their size, or are bombs."""
    bomb = zlib.compress(bytes(2**24), 9)
    good = file_of(photo())
    text = chunk(b"zTXt", b"a\0\0" + bomb)
    yield from (
        b"x",
        b"hello",
        b"%PDF-1.7",
        b"GIF89a",
        b"BM",
        b"II*\0",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"RIFF",
    )
    yield from (png(60000, 60000, bomb), png(2**31 - 1, 2**31 - 1, bomb), png(0, 0, bomb), png(60000, 1, b""))
    yield from (png(7000, 7000, bomb), png(60, 40, bomb[:9]), png(60, 40, b"", text, text))
    yield from (good[:40], good[: len(good) // 2], good[:-200], good[::-1])
    yield file_of(np.zeros((6400, 6400), np.uint8))
    source = "<SourceFilename>/etc/hosts</SourceFilename>"
    band = f'<VRTRasterBand dataType="Byte" band="1"><SimpleSource>{source}</SimpleSource></VRTRasterBand>'
    yield f'<VRTDataset rasterXSize="9" rasterYSize="9">{band}</VRTDataset>'.encode()
    yield file_of(photo(), "TIFF", compression="tiff_deflate")
    yield b"SIMPLE  =                    T"
    yield b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    rng = np.random.default_rng(0)
    yield from (rng.integers(0, 256, 500, dtype=np.uint8).tobytes() for _ in range(20))


def test_hostile_files_are_one_line_each_and_the_server_lives(serve):
    server = serve("multiclass")
    files = list(hostile())
    assert len(files) > 40
    for file in files:
        status, said = ask(server, body=file)
        assert status == 422, (file[:40], status, said)
        assert "\n" not in said["error"]
        assert len(said["error"]) < 400
        assert "/" not in said["error"], said  # nothing of this machine
    assert ask(server, body=file_of(photo()))[0] == 200


def test_limits_are_those_of_the_config(serve):
    server = serve("binary", max_mb=1, max_pixels=1000)
    assert ask(server, body=bytes(2**20 + 1))[0] == 413
    status, said = ask(server, body=file_of(photo()))
    assert (status, "2400" in said["error"] or "60" in said["error"]) == (422, True)


def test_mistakes_are_one_line(checkpoints, serve, refused, tmp_path):
    (line,) = refused("demo", str(tmp_path / "no"))
    assert "no" in line
    port = serve("binary").server_address[1]
    (line,) = refused("demo", str(checkpoints / "binary.pt"), f"port={port}")
    assert line.endswith("expected a free one; choose another, or port=0")
    save_model(create_model("unet", "test_resnet", weights=None, in_channels=4), tmp_path / "bands.pt", image_size=32)
    (line,) = refused("demo", str(tmp_path / "bands.pt"))
    assert "takes images of 4 channels, expected a model of photos" in line
    (line,) = refused("demo", str(checkpoints / "binary.pt"), "prot=1")
    assert "did you mean 'port'?" in line


def test_cfg_prints_the_config(checkpoints, capsys):
    assert main(["demo", str(checkpoints / "binary.pt"), "--cfg", "job"]) == 0
    assert "max_mb: 32" in capsys.readouterr().out
