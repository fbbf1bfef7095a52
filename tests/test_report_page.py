"""The report's words follow from its numbers, and its page works in a browser from a disk."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from engine.report import Pictures, find_extremes, write_report
from engine.summary import Evaluation, best, summarise

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def score(key: str, value: float, **others: object) -> dict:
    usual = {"label": key.upper(), "unit": "", "better": "higher", "enough": 1, "interval": None}
    return (
        usual
        | {"key": key, "value": value, "untouched": 10.0, "truth": None, "real": 27.0, "n": 9, "levels": {}}
        | others
    )


def said_of(names: list[str], rows: dict[str, list[dict]], **more: object) -> list[str]:
    return summarise(
        [Evaluation({"run": f"runs/{name}"}, [row[i] for row in rows.values()], **more) for i, name in enumerate(names)]
    )


def test_the_ranking_is_that_of_the_numbers_in_the_right_direction() -> None:
    rows = {
        "psnr_truth": [score("psnr_truth", 13.0), score("psnr_truth", 18.0)],
        "swd": [score("swd", 5.0, better="lower"), score("swd", 7.0, better="lower")],
    }
    said = said_of(["a", "b"], rows)
    assert said[0].startswith("Nearest to the true paintings: b (18.00), before a (13.00).")
    assert said[1].startswith("Nearest to the paintings' style: a (5.000), before b (7.000).")
    assert [best(row) for row in rows.values()] == [[False, True], [True, False]]
    assert best(rows["swd"][:1]) == [False]


def test_what_cannot_be_told_apart_is_worse_than_nothing_or_too_few_is_said() -> None:
    overlapping = [score("psnr_truth", 18.0, interval=(17, 19)), score("psnr_truth", 17.5, interval=(16.5, 18.5))]
    (said,) = said_of(["a", "b"], {"psnr_truth": overlapping})
    assert "a and b cannot be told apart" in said
    apart = [score("psnr_truth", 18.0, interval=(17, 19)), score("psnr_truth", 12.0, interval=(11, 13))]
    assert "told apart" not in said_of(["a", "b"], {"psnr_truth": apart})[0]
    worse = said_of(["a"], {"swd": [score("swd", 12.0, better="lower")]})
    assert "a is no better than the untouched photographs in SWD." in worse
    few = said_of(["a"], {"fid": [score("fid", 5.0, better="lower", enough=2048)], "swd": [score("swd", 5.0)]})
    assert "Too few pictures, so that the value is biased: FID: 9 of 2048." in few


def test_on_the_same_photographs_the_differences_decide() -> None:
    """Values that scatter widely, and a difference that does not."""
    values = [10.0, 14.0, 18.0, 22.0]
    better = [value + 0.5 + 0.01 * i for i, value in enumerate(values)]
    row = [score("psnr_truth", 16.5, interval=(11, 21)), score("psnr_truth", 16.0, interval=(11, 21))]
    evaluations = [
        Evaluation({"run": name}, [s], by_picture={"name": list("wxyz"), "psnr_truth": v})
        for name, s, v in zip("ab", row, (better, values), strict=True)
    ]
    assert "told apart" not in summarise(evaluations)[0]
    evaluations[0].by_picture["psnr_truth"][:] = [9.0, 15.0, 17.0, 23.0]
    assert "the 95 % interval of their difference holds 0: a and b cannot be told apart" in summarise(evaluations)[0]


def test_too_few_paintings_are_too_few() -> None:
    (_, few) = said_of(["a"], {"kid": [score("kid", 5.0, better="lower", enough=50, n=60, m=12)]})[:2]
    assert "KID: 60 against 12 paintings of 50" in few


def test_translations_that_lie_on_learnt_paintings_are_pointed_at() -> None:
    row = {"swd": [score("swd", 5.0, better="lower")]}
    near = said_of(["a"], row, nearest={"by": "Inception", "ratio": 0.2, "names": []})
    assert any("a may repeat paintings that it has learnt from" in each for each in near)
    assert not any("repeat" in each for each in said_of(["a"], row, nearest={"by": "I", "ratio": 0.9, "names": []}))
    assert not any("repeat" in each for each in said_of(["a"], row, nearest={"by": "I", "ratio": None, "names": []}))


def test_the_best_and_the_worst_are_told_by_the_direction_of_the_metric() -> None:
    by_picture = {"name": [f"{i}.jpg" for i in range(8)], "lpips": [0.5, 0.1, 0.7, 0.3, 0.2, 0.9, 0.4, 0.6]}
    each = Evaluation({"run": "runs/a"}, [score("lpips", 0.4, better="lower")], by_picture=by_picture)
    found = find_extremes([each])
    assert [x.name for x in found if x.best] == ["1.jpg", "4.jpg", "3.jpg"]
    assert [x.name for x in found if not x.best] == ["7.jpg", "2.jpg", "5.jpg"]
    higher = Evaluation({"run": "runs/a"}, [score("lpips", 0.4)], by_picture=by_picture)
    assert [x.value for x in find_extremes([higher]) if x.best] == [0.9, 0.7, 0.6]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    evaluations = [
        Evaluation(
            {"run": f"runs/{name}", "method": "<b>method</b> with a rather long name"},
            [score("psnr_truth", value), score("swd", value, better="lower"), score("ssim_content", value / 20)],
            [{"key": "fid", "label": "FID", "reason": "weights.pth: is not there", "wanted": True}],
            [
                {
                    "key": "checkerboard",
                    "label": "power",
                    "value": value,
                    "threshold": 13.0,
                    "fires": "above",
                    "fired": value > 13,
                    "said": "leaves a checkerboard",
                }
            ],
            groups=[
                {
                    "kind": "supercategory",
                    "group": "a very long name of a group of pictures",
                    "n": 7,
                    "key": key,
                    "label": key.upper(),
                    "better": "higher",
                    "value": value,
                    "interval": (0.5, 0.9),
                }
                for key in ("ssim_content", "moments_random")
            ],
            by_picture={
                "name": ["a.jpg", "b.jpg", "c.jpg"],
                "psnr_truth": [1, 3, 2],
                "ssim_content": [1, 2, 3],
            },
            cost={
                "parameters": 11_000_000,
                "gmacs": 56.8,
                "pictures_per_second": 3.0,
                "memory": None,
                "batch": 16,
                "side": 32,
                "device": "cpu",
            },
            nearest={"by": "random VGG-16", "among": 9, "ratio": 0.9, "names": ["x.jpg"]},
            log=[{"step": step, "loss/G": 1 / step, "loss/D": 2 / step, "eval/swd": step} for step in (1, 2, 3)],
        )
        for name, value in (("first-of-all", 12.0), ("<script>alert(1)", 15.0))
    ]
    pictures = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    columns = {"photograph": pictures, "first-of-all": -pictures, "second": pictures.flip(3), "truth": pictures.flip(2)}
    pixels = ((pictures + 1) * 127.5).to(torch.uint8)
    shown = Pictures(columns, pixels, {"first-of-all": 255 - pixels, "<script>alert(1)": pixels.flip(3)})
    write_report(tmp_path, evaluations, shown, ["evaluate.py runs/a runs/b"])
    return tmp_path / "report.html"


def test_the_page_stands_alone_and_shows_names_as_they_are(page: Path) -> None:
    text = page.read_text()
    outside = [url for url in re.findall(r"(?:src|href)=\"([^\"]*)\"", text) if not url.startswith(("data:", "#"))]
    assert outside == []
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert "15.00" in text
    assert "FID" in text
    assert "&lt;script&gt;alert(1) leaves a checkerboard." in text
    assert "first-of-all leaves a checkerboard" not in text
    assert "15.00 FIRES" in (page.parent / "report.md").read_text()
    assert text.count("<svg") == 5
    assert text.count("<figure>") == 2 * 2 * 2  # metrics, runs, best and worst
    assert text.count("data:image/png") == len(set(re.findall(r"data:image/png[^\"]*", text)))  # each kept once
    assert "a very long name of a group" in text
    assert "11.00" in text  # million parameters
    rows = (page.parent / "metrics.csv").read_text().splitlines()
    assert len(rows) == 7
    assert rows[0].startswith("run,key,level,label,unit,better,value,low,high")


CHECK = """<!doctype html><body>
<iframe id="f" src="{page}" style="width:{width}px;height:900px;border:0"></iframe>
<script>
const errors = [], frame = document.getElementById("f");
frame.onload = async () => {{
  const w = frame.contentWindow, d = frame.contentDocument, found = {{}};
  w.onerror = (message) => {{ errors.push(message); }};
  found.overflow = d.documentElement.scrollWidth - d.documentElement.clientWidth;
  const cut = d.getElementById("cut"), compare = d.getElementById("compare");
  cut.value = 25; cut.dispatchEvent(new Event("input"));
  found.cut = w.getComputedStyle(compare.children[1]).clipPath;
  const left = d.getElementById("left"), before = compare.children[0].src;
  left.value = 2; left.dispatchEvent(new Event("input"));
  found.changed = compare.children[0].src !== before;
  for (const each of d.querySelectorAll("details")) each.open = true;
  const shown = [...d.querySelectorAll("img[data-picture]")];
  await Promise.all(shown.map(each => each.decode()));
  found.loaded = shown.every(i => i.naturalWidth > 0);
  found.wide = d.documentElement.scrollWidth - d.documentElement.clientWidth;
  d.querySelector("#grid img").click();
  found.large = d.getElementById("large").open;
  d.getElementById("large").click();
  found.closed = !d.getElementById("large").open;
  found.errors = errors;
  document.body.dataset.found = JSON.stringify(found);
}};
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_works_in_a_browser(width: int, page: Path) -> None:
    wrapper = page.with_name("check.html")
    wrapper.write_text(CHECK.format(page=page.name, width=width))
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--allow-file-access-from-files",
        "--virtual-time-budget=4000",
    ]
    done = subprocess.run(
        [CHROMIUM, *flags, "--enable-logging=stderr", "--dump-dom", wrapper.as_uri()],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    attribute = re.search(r'data-found="([^"]*)"', done.stdout)
    assert attribute, done.stderr[-2000:]
    found = json.loads(attribute.group(1).replace("&quot;", '"'))
    assert found == {
        "overflow": 0, "wide": 0, "cut": "inset(0px 0px 0px 25%)",
        "changed": True, "loaded": True, "large": True, "closed": True,
        "errors": [],
    }  # fmt: skip
    assert "CONSOLE" not in done.stderr
