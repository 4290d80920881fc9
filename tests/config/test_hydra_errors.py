"""What is refused on the command line, in one sentence each."""

import pytest
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf

from deepinside.config import hydra_errors
from deepinside.errors import DeepInsideError


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("experiment", "experiment: expected KEY=VALUE; deepinside --help lists what there is."),
        ("fig2_saliency", "fig2_saliency: expected KEY=VALUE. Did you mean experiment=fig2_saliency?"),
        ("fig2salency", "fig2salency: expected KEY=VALUE. Did you mean experiment=fig2_saliency?"),
        ("tinycaffenet", "tinycaffenet: expected KEY=VALUE. Did you mean network=tinycaffenet?"),
        ("inversion", "inversion: expected KEY=VALUE. Did you mean technique=inversion?"),
        ("a b", "a b: expected KEY=VALUE; deepinside --help lists what there is."),
        (
            "images.names=[a",
            "images.names=[a: expected KEY=VALUE. Text with blanks, brackets, quotes or commas of its own is written "
            "'images.names=\"[a\"'.",
        ),
    ],
)
def test_what_is_no_key_and_value_is_told_so(word: str, said: str) -> None:
    with pytest.raises(OverrideParseException) as raised:
        OverridesParser.create().parse_overrides([word])
    assert hydra_errors.explain(raised.value) == said


def test_an_option_that_is_none_is_refused_with_those_there_are() -> None:
    with pytest.raises(DeepInsideError, match=r"^--quite: no such option; .*--multirun.* Did you mean --quiet\?$"):
        hydra_errors.refuse_options(["experiment=x", "--quite"], ["--quiet"])
    hydra_errors.refuse_options(["experiment=x", "seed=1,2", "-m", "--cfg", "job"], [])


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["--experiment", "fig2_saliency"], "experiment=fig2_saliency"),
        (["--experiment=fig2_saliency"], "experiment=fig2_saliency"),
        (["--images.root", "photos"], "images.root=photos"),
        (["--network", "seed=1"], "network=VALUE"),
    ],
)
def test_a_setting_written_as_an_option_is_told_its_right_spelling(words: list[str], meant: str) -> None:
    with pytest.raises(DeepInsideError) as refused:
        hydra_errors.refuse_options(words, [])
    assert str(refused.value) == f"{words[0]}: no such option; settings are written without dashes: {meant}."


def test_options_may_stand_anywhere() -> None:
    words = ["experiment=x", "-m", "seed=1,2", "--cfg", "job", "~claims", "--config-dir=a"]
    found = hydra_errors.options_first(words)
    assert found == ["-m", "--cfg", "job", "--config-dir=a", "experiment=x", "seed=1,2", "~claims"]
    assert get_args_parser().parse_args(found).overrides == found[4:]


@pytest.mark.parametrize(("verbosity", "shown"), [("normal", False), ("verbose", True)])
def test_the_traceback_is_for_who_asks(verbosity: str, shown: bool, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise KeyError("lost")
    except KeyError:
        hydra_errors.print_error("it is lost.", OmegaConf.create({"runtime": {"verbosity": verbosity}}))
    err = capsys.readouterr().err
    assert err.endswith("deepinside: it is lost.\n")
    assert ("Traceback" in err) == shown
