import re
from pathlib import Path

import pytest
from disk import HOSTILE, put_run, put_told

from deepinside.errors import DeepInsideError
from deepinside.html_report.single_file import write_single_file


def test_everything_a_page_loads_is_inside_it(tmp_path: Path) -> None:
    put_told(tmp_path)
    text = write_single_file(tmp_path / "told/net/default").read_text(encoding="utf-8")
    markup = re.sub(r"<(script|style)>.*?</\\1>", "", text, flags=re.DOTALL)
    assert re.findall(r'(?:src|href)="(?!data:|#|https://arxiv)([^"]*)"', markup) == []
    assert all(words in text for words in ("Which pixels matter?", "golden retriever 32 %", "data:image/png;base64"))
    assert "connect-src" not in text and "script-src 'sha256-" in text


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    place = put_run(
        tmp_path, "fig2/net/images.root=ä b #1 100%", items=[HOSTILE.removesuffix(".jpg"), "<script>alert(2)"]
    )
    text = write_single_file(place).read_text(encoding="utf-8")
    assert "<img src=x" not in text and "<script>alert" not in text


def test_a_folder_without_a_result_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DeepInsideError, match=r"expected the folder of a result"):
        write_single_file(tmp_path / "no/such/run")
