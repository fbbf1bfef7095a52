"""MS-COCO and WikiArt: chosen by what is known of each picture, in the odd forms in which they are released."""

import json
import os
import sys
import zlib
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from data import open_source
from data.doubts import source_change
from data.names import Names
from data.options import CocoOptions, PreparedOptions, WikiartOptions
from data.source import DataError
from engine.exits import DONE, USER_ERROR
from tests.broken_files import encoded, picture
from tests.conftest import call


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(20, 16, seed=zlib.crc32(path.name.encode())).save(path)


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Four training pictures, the last without annotation, and one held-out picture."""
    for name in ("train2017/1.jpg", "train2017/2.jpg", "train2017/3.jpg", "train2017/4.jpg", "val2017/9.jpg"):
        draw(tmp_path / name)
    categories = [
        {"id": 18, "name": "dog", "supercategory": "animal"},
        {"id": 17, "name": "cat", "supercategory": "animal"},
        {"id": 1, "name": "person", "supercategory": "person"},
    ]
    sizes = {1: (640, 480, 4), 2: (640, 200, 4), 3: (500, 500, 1)}
    images = [
        {"id": i, "file_name": f"{i}.jpg", "width": w, "height": h, "license": c} for i, (w, h, c) in sizes.items()
    ]
    objects = [(1, 18, 100.0), (1, 1, 900.0), (2, 17, 50.0), (3, 1, 70.0)]
    annotations = [{"image_id": i, "category_id": c, "area": a} for i, c, a in objects]
    (tmp_path / "annotations").mkdir()
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "annotations/instances_train2017.json").write_text(json.dumps(content))
    return tmp_path


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, ["train2017/1.jpg", "train2017/2.jpg", "train2017/3.jpg", "train2017/4.jpg"]),
        ({"categories": ["dog"]}, ["train2017/1.jpg"]),
        ({"categories": ["animal"]}, ["train2017/1.jpg", "train2017/2.jpg"]),
        ({"categories": ["animal"], "exclude": ["person"]}, ["train2017/2.jpg"]),
        ({"exclude": ["dog"]}, ["train2017/2.jpg", "train2017/3.jpg"]),
        ({"exclude": ["Dog"]}, ["train2017/2.jpg", "train2017/3.jpg"]),
        ({"categories": ["Animal"]}, ["train2017/1.jpg", "train2017/2.jpg"]),
        ({"licences": [1]}, ["train2017/3.jpg"]),
        ({"min_side": 256}, ["train2017/1.jpg", "train2017/3.jpg"]),
    ],
)
def test_coco_is_chosen_by_its_annotations(coco: Path, choice: dict, expected: list[str]) -> None:
    source = open_source(CocoOptions(root=str(coco), **choice), "content", "train")
    assert list(source.names) == expected
    assert source[0].size == (20, 16)


def test_coco_without_annotations_is_a_folder(coco: Path) -> None:
    assert list(open_source(CocoOptions(root=str(coco)), "content", "held_out").names) == ["val2017/9.jpg"]
    with pytest.raises(DataError, match=r"instances_val2017.json: no such file"):
        open_source(CocoOptions(root=str(coco), categories=["dog"]), "content", "held_out")


def test_a_prepared_coco_knows_its_source(coco: Path, tmp_path: Path) -> None:
    out = tmp_path.with_name(f"{tmp_path.name}-out")
    assert call("prepare", "coco", coco, out, "--size", "16", "--workers", "1") == DONE
    assert source_change(out) == ""
    prepared = PreparedOptions(root=str(out), choose={"categories": ["person"]}, exclude={"categories": ["dog"]})
    source = open_source(prepared, "content", "train")
    assert [source.labels["categories"][i] for i in range(len(source))] == ["person"]
    draw(coco / "train2017/5.jpg")
    assert source_change(out) == "1 new (train2017/5.jpg)"


def test_coco_2014_has_the_same_layout(tmp_path: Path) -> None:
    draw(tmp_path / "train2014/COCO_train2014_000000000009.jpg")
    assert len(open_source(CocoOptions(root=str(tmp_path)), "content", "train")) == 1


def test_the_supercategory_that_covers_most_is_the_label(coco: Path) -> None:
    labels = open_source(CocoOptions(root=str(coco)), "content", "train").labels["supercategory"]
    assert [labels[i] for i in range(4)] == ["person", "animal", "person", ""]


def test_a_part_without_pictures_is_said(coco: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path.with_name(f"{tmp_path.name}-out")
    words = ("prepare", "coco", coco, out, "categories=[dog]", "--size", "16", "--workers", "1")
    assert call(*words) == USER_ERROR
    assert "instances_val2017.json: no such file" in capsys.readouterr().err
    content = json.loads((coco / "annotations/instances_train2017.json").read_text())
    content |= {"images": [{"id": 9, "file_name": "9.jpg", "width": 20, "height": 16}], "annotations": []}
    (coco / "annotations/instances_val2017.json").write_text(json.dumps(content))
    assert call(*words) == DONE
    assert "no picture for the held_out part" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"categories": ["dgo"]}, r"data.content.categories: dgo is on no picture; nearest: dog \(1 pictures\)"),
        ({"exclude": ["aninal"]}, r"data.content.exclude: aninal .* animal \(2 pictures\)"),
        ({"min_side": 5000}, "none of 3 annotated pictures"),
    ],
)
def test_a_choice_of_nothing_is_answered_with_what_there_is(coco: Path, choice: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_source(CocoOptions(root=str(coco), **choice), "content", "train")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"width": 640', '"width": null'),
        ('"name": "dog"', '"name": 3'),
        ('"supercategory": "person"', '"supercategory": null'),
        ('"file_name": "1.jpg"', '"file_name": ["1.jpg"]'),
        ('"name": "dog"', '"name": "\\ud800dog"'),
        ('"area": 100.0', '"area": {}'),
        ('"images": [', '"images": ' + 10_000 * "["),
    ],
)
def test_annotations_of_odd_types_are_one_line(coco: Path, old: str, new: str) -> None:
    path = coco / "annotations/instances_train2017.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match="not COCO's instances format"):
        open_source(CocoOptions(root=str(coco), min_side=10), "content", "train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "annotations/instances_train2017.json").write_text("{"), "not COCO's instances format"),
        (lambda root: (root / "annotations/instances_train2017.json").write_text("{}"), "KeyError"),
        (lambda root: (root / "train2017").rename(root / "pictures"), "holds no train2017/ or train2014/"),
    ],
)
def test_a_damaged_coco_is_named(coco: Path, change, message: str) -> None:
    change(coco)
    with pytest.raises(DataError, match=message):
        open_source(CocoOptions(root=str(coco)), "content", "train").labels["licence"]


PAINTINGS = (
    "Impressionism/claude-monet_haystacks.jpg",
    "Impressionism/claude-monet_poplars.jpg",
    "Impressionism/joaquín-sorolla_mending-the-sail-1896.jpg",
    "Art_Nouveau_Modern/alphonse-mucha_summer.jpg",
    "Ukiyo_e/katsushika-hokusai_the-wave,-again.jpg",
)


@pytest.fixture
def wikiart(tmp_path: Path) -> Path:
    """Five paintings; the lists have CRLF, no header, garbled accents and files that are not there."""
    for name in PAINTINGS:
        draw(tmp_path / name)
    lists = {
        "Style/style_class.txt": "3 Art_Nouveau\n12 Impressionism\n26 Ukiyo_e\n",
        "Style/style_train.csv": "Impressionism/claude-monet_haystacks.jpg,12\r\n"
        "Impressionism/joaquã\xadn-sorolla_mending-the-sail-1896.jpg,12\r\nCubism/nobody_lost.jpg,7\r\n"
        "Art_Nouveau_Modern/alphonse-mucha_summer.jpg,3\r\n"
        "Ukiyo_e/katsushika-hokusai_the-wave,-again.jpg,26\r\n",
        "Style/style_val.csv": "Impressionism/claude-monet_poplars.jpg,12\r\n",
        "Genre/genre_class": "2 genre_painting\n4 landscape\n",
        "Genre/genre_train.csv": "Impressionism/claude-monet_haystacks.jpg,4\r\n"
        "Ukiyo_e/katsushika-hokusai_the-wave,-again.jpg,4\r\n"
        "Impressionism/joaquã\xadn-sorolla_mending-the-sail-1896.jpg,2\r\n",
        "Artist/artist_train": "(Path to image),, (Groundtruth class) \n\n"
        "Impressionism/claude-monet_haystacks.jpg,,4\n",
    }
    for name, text in lists.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text.encode())
    return tmp_path


def names(root: Path, part: str = "train", **choice) -> list[str]:
    return list(open_source(WikiartOptions(root=str(root), **choice), "style", part).names)


def test_wikiarts_own_lists_say_what_is_held_out(wikiart: Path) -> None:
    assert names(wikiart, "held_out", styles=["Impressionism"]) == [PAINTINGS[1]]
    assert names(wikiart, styles=["Impressionism"]) == [PAINTINGS[0], PAINTINGS[2]]


def test_without_lists_the_hash_of_the_path_says_it(tmp_path: Path) -> None:
    for i in range(40):
        draw(tmp_path / f"Realism/a_{i}.jpg")
    train, held_out = names(tmp_path, held_out_share=0.3), names(tmp_path, "held_out", held_out_share=0.3)
    assert len(train) + len(held_out) == 40
    assert set(train).isdisjoint(held_out)
    draw(tmp_path / "Realism/another_41.jpg")
    assert set(names(tmp_path, held_out_share=0.3)) >= set(train)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"artists": ["claude-monet"]}, [PAINTINGS[0]]),
        ({"artists": ["Claude_Monet"]}, [PAINTINGS[0]]),
        ({"styles": ["Art_Nouveau"]}, [PAINTINGS[3]]),
        ({"styles": ["Art_Nouveau_Modern"]}, [PAINTINGS[3]]),
        ({"genres": ["genre_painting"]}, [PAINTINGS[2]]),
        ({"styles": ["Ukiyo_e"], "genres": ["landscape"]}, [PAINTINGS[4]]),
        ({"styles": ["Impressionism"], "genres": ["landscape"]}, [PAINTINGS[0]]),
    ],
)
def test_wikiart_is_chosen_by_style_artist_and_genre(wikiart: Path, choice: dict, expected: list[str]) -> None:
    assert names(wikiart, **choice) == expected


def test_the_labels_are_kept(wikiart: Path) -> None:
    source = open_source(WikiartOptions(root=str(wikiart), artists=["joaquín-sorolla"]), "style", "train")
    assert {kind: labels[0] for kind, labels in source.labels.items()} == {
        "style": "Impressionism",
        "artist": "joaquín-sorolla",
        "genre": "genre_painting",
    }


def test_an_unknown_name_is_answered_with_the_nearest_and_their_counts(wikiart: Path) -> None:
    with pytest.raises(DataError, match=r"data.style.styles: Impresionism .* Impressionism \(3 pictures\)"):
        names(wikiart, styles=["Impresionism"])
    with pytest.raises(DataError, match=r"data.style.artists: monet .* claude-monet \(2 pictures\)"):
        names(wikiart, artists=["monet"])


# -- parquet shards --------------------------------------------------------------------------------------------

ARTISTS = ("Unknown Artist", "claude-monet", "katsushika-hokusai")
STYLES = ("Impressionism", "Ukiyo_e")


def write_shard(path: Path, rows: list[tuple[int, int]], first: int = 0, named: bool = True) -> None:
    """A shard as huggan/wikiart is released, in groups of three rows; the pixels tell the row."""
    kinds = {"artist": ARTISTS, "genre": ("landscape",), "style": STYLES}
    contents = [encoded(picture(20, 16, seed=first + i), "PNG") for i in range(len(rows))]
    columns = {
        "image": [{"bytes": content, "path": None} for content in contents],
        "artist": [artist for artist, _ in rows],
        "genre": [0] * len(rows),
        "style": [style for _, style in rows],
    }
    features = {kind: {"names": list(names), "_type": "ClassLabel"} for kind, names in kinds.items()}
    table = pyarrow.table(columns)
    if named:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table, path, row_group_size=3)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    write_shard(tmp_path / "hub/data/train-00000-of-00002.parquet", [(1, 0)] * 10)
    write_shard(tmp_path / "hub/data/train-00001-of-00002.parquet", [(2, 1), (1, 0), (0, 0)] * 3, first=10)
    return tmp_path / "hub"


def test_parquet_shards_are_a_wikiart(shards: Path) -> None:
    options = WikiartOptions(root=str(shards), styles=["ukiyo-e"])
    parts = [open_source(options, "style", part) for part in ("train", "held_out")]
    assert sorted(name for part in parts for name in part.names) == [
        f"data/train-00001-of-00002.parquet#{row}" for row in (0, 3, 6)
    ]
    everything = open_source(WikiartOptions(root=str(shards)), "style", "train")
    for index, name in enumerate(everything.names):
        shard, _, row = name.partition("#")
        seed = int(row) + 10 * ("00001-of" in shard)
        assert everything[index].tobytes() == picture(20, 16, seed=seed).tobytes()
    assert {everything.labels["artist"][i] for i in range(len(everything))} <= set(ARTISTS)
    with pytest.raises(DataError, match=r"data.style.artists: monet .* claude-monet \(13 pictures\)"):
        names(shards, artists=["monet"])


def test_shards_are_prepared_like_any_other_source(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("prepare", "wikiart", shards, out, "artists=[claude-monet]", "--size", "16", "--workers", "1")
    assert call(*words) == DONE
    prepared = [open_source(PreparedOptions(root=str(out)), "style", part) for part in ("train", "held_out")]
    assert sum(map(len, prepared)) == 13
    assert source_change(out) == ""
    write_shard(shards / "data/train-00000-of-00002.parquet", [(1, 0)] * 9)
    assert "1 changed (data/train-00000-of-00002.parquet)" in source_change(out)
    assert prepared[0].names[0].startswith("data/train-0000")
    assert prepared[0][0].size == (20, 16)


def test_labels_without_names_keep_their_numbers(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.parquet", [(1, 0)] * 12, named=False)
    source = open_source(WikiartOptions(root=str(tmp_path)), "style", "train")
    assert source.labels["artist"][0] == "1"


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(DataError, match=r"a.parquet: a damaged shard .*download it again"):
        names(tmp_path)
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a.parquet: not a shard of huggan/wikiart, it has no column artist, genre"):
        names(tmp_path)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("image", [b"\x89PNG"], "its column image is binary and not"),
        ("image", [{"path": "a.jpg"}], "and not {bytes, path}"),
        ("image", [{"bytes": "text", "path": None}], "and not {bytes, path}"),
        ("artist", [[1]], "its column artist is list"),
    ],
)
def test_a_shard_of_another_layout_is_named(column: str, values: list, message: str, tmp_path: Path) -> None:
    columns = {"image": [{"bytes": b"x", "path": None}], "artist": [1], "genre": [0], "style": [0]} | {column: values}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message):
        names(tmp_path)


def test_without_pyarrow_the_mend_is_said(shards: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(DataError, match="pip install pyarrow"):
        names(shards)


# -- many names ------------------------------------------------------------------------------------------------


def test_names_survive_whatever_bytes_they_are() -> None:
    odd = ["a.jpg", "", "Malmö/ä.png", os.fsdecode(b"\xff\xfe.jpg"), "🎨.webp"]
    assert list(Names(odd)) == odd
    assert list(Names(odd).take(np.array([False, True, True, False, True]))) == [odd[1], odd[2], odd[4]]
    with pytest.raises(IndexError):
        Names(odd)[5]


def test_two_hundred_thousand_names_are_two_arrays() -> None:
    many = Names(f"train2017/{i:012d}.jpg" for i in range(200_000))
    arrays = [value for value in vars(many).values() if isinstance(value, np.ndarray)]
    assert len(arrays) == len(vars(many)) == 2
    assert sum(array.nbytes for array in arrays) < 10e6
    assert many[123_456] == "train2017/000000123456.jpg"
