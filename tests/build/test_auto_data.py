"""``data=auto`` takes the one format that a folder is of, and says so; what is unclear is not guessed."""

import logging
import shutil

import numpy as np
import pytest
import yaml

from segtrain.build.auto_data import recognised_formats, with_format
from segtrain.cli import main
from segtrain.errors import ConfigError, DataError
from tests.data.formats.test_end_to_end import EVERY, TINY
from tests.data.formats.test_folder import write_pair
from tests.data.layouts import save, table
from tests.data.shards.making import foreign
from tests.data.tool_layouts import coco, labelme, write_photo, yolo


@pytest.mark.parametrize("layout", EVERY)
def test_the_layout_of_every_format_is_recognised_and_taken_for_no_other(layout, tmp_path):
    words = EVERY[layout](tmp_path)
    root = next(word for word in words if word.startswith("data.root="))
    assert with_format(["data=auto", root, "seed=1"])[:3] == (words[0], root, "seed=1")


def test_the_config_of_a_run_names_the_format(here, caplog):
    coco(here / "photos")
    assert main(["data=auto", "data.root=photos", *TINY, "hydra.run.dir=run"]) == 0
    config = yaml.safe_load((here / "run/config.yaml").read_text())
    assert config["data"]["_target_"] == "segtrain.data.Coco"
    assert "data=coco" in (here / "run/overrides.txt").read_text()
    assert main(["eval", "run", "data=auto", "data.root=photos", "data.split=test"]) == 0


def test_it_is_said_why_and_how_to_write_it(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("segtrain.build.auto_data.start_logging", lambda: None)
    coco(tmp_path)
    with caplog.at_level(logging.INFO):
        with_format(["data=auto", f"data.root={tmp_path}"])
    assert "has annotations/instances_train2017.json with COCO's parts" in caplog.text
    assert f"the same without auto: data=coco data.root={tmp_path}" in caplog.text


def test_folders_of_other_names_are_opened_by_further_words_unless_the_user_gives_them(tmp_path):
    for split in ("train", "val"):
        write_photo(tmp_path / f"{split}_photos" / "a.jpg", 0)
        write_photo(tmp_path / f"{split}_masks" / "a.png", 0)
    root = f"data.root={tmp_path}"
    assert with_format(["data=auto", root]) == (
        "data=folder",
        root,
        'data.images="{split}_photos"',
        'data.masks="{split}_masks"',
    )
    assert with_format(["data=auto", root, "data.masks=mine"])[2:] == (
        "data.masks=mine",
        'data.images="{split}_photos"',
    )
    flat = tmp_path / "flat"
    write_photo(flat / "photos/a.jpg", 0)
    write_photo(flat / "labels/a.png", 0)
    assert with_format(["data=auto", f"data.root={flat}"])[2:] == ("data.images=photos", "data.masks=labels")


def test_where_the_masks_have_no_names_it_is_said_what_they_hold(here, refused):
    for name, values in (("a", (0, 1)), ("b", (0, 2))):
        write_pair(here / "photos", name, values)
    lines = refused("data=auto", "data.root=photos", *TINY)
    assert "data.classes: missing; give the names of the mask values" in lines[-1]
    assert "the first 2 masks hold 0, 1, 2" in lines[-1]


def test_two_formats_in_one_folder_are_listed(tmp_path):
    yolo(tmp_path)
    coco(tmp_path)
    with pytest.raises(ConfigError) as said:
        with_format(["data=auto", f"data.root={tmp_path}"])
    first, *lines = str(said.value).splitlines()
    assert "may be of 2 formats; write one of these instead" in first
    assert [line.partition(":")[0] for line in lines] == [
        f"data={name} data.root={tmp_path}" for name in ("coco", "yolo")
    ]


def test_the_folder_of_the_pets_itself_is_opened_from_around_it(tmp_path):
    folder = tmp_path / "oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    (folder / "annotations/trainval.txt").touch()
    assert with_format(["data=auto", f"data.root={tmp_path}"])[0] == "data=oxford_pets"
    assert with_format(["data=auto", f"data.root={folder}"])[-1] == f'data.root="{tmp_path}"'


def test_a_folder_of_no_format_is_said_with_what_was_looked_for(tmp_path):
    write_photo(tmp_path / "a.png", 0)
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / "readme.xml").write_text("<a/>")
    with pytest.raises(DataError, match=r"no known layout \(found: a.png, notes.json, readme.xml\)") as said:
        with_format(["data=auto", f"data.root={tmp_path}"])
    looked_for = str(said.value).splitlines()[1:]
    assert len(looked_for) > 10
    assert all(line.startswith("looked for ") and "(data=" in line for line in looked_for)
    shutil.rmtree(tmp_path)
    with pytest.raises(DataError, match=r"no such folder; correct data.root"):
        with_format(["data=auto", f"data.root={tmp_path}"])
    with pytest.raises(ConfigError, match=r"needs to know where; add data.root"):
        with_format(["data=auto"])


def test_a_format_of_the_users_own_is_asked_too(tmp_path, monkeypatch):
    (tmp_path / "configs/data").mkdir(parents=True)
    (tmp_path / "configs/data/mine.yaml").write_text("_target_: my_own_format.Mine\n")
    (tmp_path / "my_own_format.py").write_text(
        "from segtrain.data.sample import Recognised, Source\n"
        "class Mine(Source):\n"
        "    @classmethod\n"
        "    def recognises(cls, root):\n"
        "        return Recognised('my.index') if (root / 'my.index').is_file() else None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my.index").touch()
    found, _ = recognised_formats(tmp_path, tmp_path / "configs")
    assert list(found) == ["mine"]


def test_boxes_alone_are_taken_for_yolo_whose_message_names_them(here, refused):
    yolo(here / "boxes")
    for path in (here / "boxes/labels").rglob("*.txt"):
        path.write_text("0 0.5 0.5 0.2 0.2\n")
    lines = refused("data=auto", "data.root=boxes", *TINY)
    assert any("line 1: holds a box, expected a polygon" in line for line in lines)


def test_shards_are_recognised_whoever_wrote_them(here, refused):
    data = ["data=shapes", "data.size=32", "data.train=8", "data.val=4", "data.test=4"]
    assert main(["shard", *data, "output=shards"]) == 0
    assert main(["data=auto", "data.root=shards", *TINY, "hydra.run.dir=run"]) == 0
    assert yaml.safe_load((here / "run/config.yaml").read_text())["data"]["_target_"] == "segtrain.data.WebDataset"
    words = foreign(here / "tars")
    assert with_format(["data=auto", *words[1:]]) == tuple(words)
    assert "write data=webdataset" in refused("data=auto", "data.root=https://host/shards")[0]


def test_a_misspelled_root_is_said(here, refused):
    for key in ("dat.root", "root", "data.rot"):
        assert refused("data=auto", f"{key}=photos")[-1] == f"segtrain: {key}: unknown key, did you mean 'data.root'?"
    assert "needs to know where" in refused("data=auto", "data.crop=3")[-1]


def test_a_folder_around_several_data_sets_asks_to_choose_one(here, refused):
    coco(here / "all/streets")
    labelme(here / "all/pets")
    lines = refused("data=auto", "data.root=all")
    assert lines == [
        "segtrain: all: holds several data sets; choose one",
        "segtrain: data=labelme data.root=all/pets",
        "segtrain: data=coco data.root=all/streets",
    ]


def test_a_folder_around_one_data_set_is_answered_with_the_line_for_that(here, refused):
    coco(here / "archive/streets")
    (here / "archive/licence").mkdir()
    assert refused("data=auto", "data.root=archive") == [
        "segtrain: archive: holds the data set in a folder of its own; write this",
        "segtrain: data=coco data.root=archive/streets",
    ]


def test_of_several_tables_the_one_of_images_and_masks_is_taken(here, refused):
    words = table(here / "study")
    (here / "study/classes.csv").write_text("name,red,green,blue\ndisc,1,2,3\n")
    expected = ("data=csv", "data.root=study", "data.table=samples.csv")
    assert with_format(["data=auto", "data.root=study"]) == expected
    assert main([*expected, words[-1], *TINY]) == 0
    shutil.copy(here / "study/samples.csv", here / "study/more.csv")
    assert "write data=csv with data.table=more.csv, or another" in refused("data=auto", "data.root=study")[-1]


def test_folders_of_labelme_alone_are_one_data_set(tmp_path):
    labelme(tmp_path / "monday")
    labelme(tmp_path / "tuesday")
    assert with_format(["data=auto", f"data.root={tmp_path}"])[0] == "data=labelme"


def test_a_root_within_a_data_set_is_said_to_be_too_deep(here, refused):
    coco(here / "streets")
    inner = sorted(path for path in (here / "streets").iterdir() if path.is_dir() and path.name != "annotations")[0]
    deeper = inner / "some"
    deeper.mkdir()
    for root in (inner, deeper):
        lines = refused("data=auto", f"data.root={root}")
        assert lines[-1] == (f"segtrain: {root}: data.root is too deep; write data=coco data.root={here / 'streets'}")


def test_a_table_of_other_columns_is_taken_before_the_folders_that_it_names(here, refused):
    rows = ["\ufeffpatient_id;filename;mask_path;fold_split"]
    for number, split in enumerate(("train", "train", "validation", "test")):
        write_photo(here / f"study/scans/{number}.jpg", 0)
        save(here / f"study/labels/{number}_seg.png", np.full((8, 8), number, np.uint8))
        rows.append(f"P{number};scans/{number}.jpg;labels/{number}_seg.png;{split}")
    (here / "study/table.csv").write_text("\n".join(rows), encoding="utf-8")
    names = "data.columns={image: filename, mask: mask_path, split: fold_split, group: patient_id}"
    for root in ("data.root=study", "data.root=study/table.csv"):
        assert with_format(["data=auto", root]) == ("data=csv", root, names)
        assert f"set '{names}'" in refused("data=csv", root, "data.classes=[a,b,c,d]", *TINY)[-1]
        assert refused("data=auto", root, *TINY)[-1].endswith("the first 4 masks hold 0, 1, 2, 3")
    (here / "study/table.csv").write_text("image,mask:car,mask:tree\n1.jpg,1.png,2.png\n")
    assert "add 'data.classes=[car,tree]' data.mode=multilabel" in refused("data=csv", "data.root=study", *TINY)[-1]


def test_masks_in_a_folder_of_each_class_are_opened_as_classes_that_overlap(here, refused):
    for name in ("a", "b"):
        write_photo(here / f"multi/images/cam 1/{name}.jpg", 0)
        for number, kind in enumerate(("car", "tree")):
            save(here / f"multi/masks/{kind}/cam 1/{name}.png", np.full((8, 8), 255 * number, np.uint8))
    words = ("data.classes=[car,tree]", "data.mode=multilabel", "data.class_map={0: 0, 255: 1}")
    assert with_format(["data=auto", "data.root=multi"])[2:] == words
    remedy = "set 'data.classes=[car,tree]' data.mode=multilabel 'data.class_map={0: 0, 255: 1}'"
    assert refused("data=folder", "data.root=multi", *TINY)[-1].endswith(remedy)
    for kind in ("car", "tree"):
        save(here / f"multi/masks/{kind}/cam 1/a.png", np.ones((8, 8), np.uint8))
    assert with_format(["data=auto", "data.root=multi"])[2:] == words[:2]
    (here / "multi/images/cam 1").rename(here / "multi/images/cam 2")  # now no mask is called as an image is
    assert with_format(["data=auto", "data.root=multi"])[2:] == ()


def test_images_and_masks_in_one_folder_are_told_apart_by_their_names(here, refused):
    for name in ("img 1", "b", "day/c"):
        write_photo(here / f"mixed/{name}.jpg", 0)
        save(here / f"mixed/{name}_mask.png", np.full((8, 8), 255 * (name == "b"), np.uint8))
    words = ("data.images=.", "data.masks=.", "data.mask_name=*_mask")
    assert with_format(["data=auto", "data.root=mixed"])[2:] == words
    last = refused("data=auto", "data.root=mixed", *TINY)[-1]
    assert last.endswith("the first 3 masks hold 0, 255; map 255: 'data.class_map={0: 0, 255: 1}'")
    (here / "mixed/b.jpg").unlink()  # a mask is alone
    with pytest.raises(DataError, match="no known layout"):
        with_format(["data=auto", "data.root=mixed"])
