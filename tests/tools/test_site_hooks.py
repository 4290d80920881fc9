"""What `make site` does beyond Markdown."""

import pytest

pytest.importorskip("mkdocs")
pytest.importorskip("latex2mathml")

import site_hooks


def test_formulas_become_mathml_and_code_stays() -> None:
    found = site_hooks.formulas("$x$ and `$HOME` and\n\n```bash\necho $A $B\n```\n\n```math\ny\n```\n")
    assert found.count("<math") == 2
    assert 'display="inline"' in found and 'display="block"' in found
    assert "`$HOME`" in found and "echo $A $B" in found


def test_money_is_no_formula() -> None:
    assert site_hooks.formulas("5$ or US$6") == "5$ or US$6"


def test_a_notebook_is_a_page_with_its_outputs() -> None:
    code = {
        "cell_type": "code",
        "source": ["1 < 2"],
        "outputs": [{"data": {"text/plain": ["True <b>"]}}, {"data": {"text/html": ["<p>\n\n", "a</p>"]}}],
    }
    text = site_hooks.notebook_text({"cells": [{"cell_type": "markdown", "source": ["# Title"]}, code]})
    assert text.startswith("# Title\n\n```python\n1 < 2\n```")
    assert "<pre>True &lt;b&gt;</pre>" in text
    assert "<div><p> a</p></div>" in text  # a blank line would end the HTML


def test_files_of_the_repository_have_a_place_in_the_site() -> None:
    assert site_hooks.site_name("experiments/a.yaml") == "files/experiments/a.yaml"
    assert site_hooks.site_name("README.md") == "files/README.md.txt"
