"""What is refused on the command line, in one sentence each."""

import pytest
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf

from deepinside import complaints
from deepinside.errors import DeepInsideError


@pytest.mark.parametrize("word", ["experiment", "a b", "images.names=[a"])
def test_what_is_no_key_and_value_is_told_so(word: str) -> None:
    with pytest.raises(OverrideParseException) as raised:
        OverridesParser.create().parse_overrides([word])
    assert complaints.sentence(raised.value) == (
        f"{word}: expected KEY=VALUE, in quotes where it has blanks or commas of its own."
    )


def test_an_option_that_is_none_is_refused_with_those_there_are() -> None:
    with pytest.raises(DeepInsideError, match=r"^--quite: no such option; .*--multirun.* Did you mean --quiet\?$"):
        complaints.refuse_options(["experiment=x", "--quite"], ["--quiet"])
    complaints.refuse_options(["experiment=x", "seed=1,2", "-m", "--cfg", "job"], [])


def test_options_may_stand_anywhere() -> None:
    words = ["experiment=x", "-m", "seed=1,2", "--cfg", "job", "~claims", "--config-dir=a"]
    found = complaints.options_first(words)
    assert found == ["-m", "--cfg", "job", "--config-dir=a", "experiment=x", "seed=1,2", "~claims"]
    assert get_args_parser().parse_args(found).overrides == found[4:]


@pytest.mark.parametrize(("verbosity", "shown"), [("normal", False), ("verbose", True)])
def test_the_traceback_is_for_who_asks(verbosity: str, shown: bool, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise KeyError("lost")
    except KeyError:
        complaints.print_error("it is lost.", OmegaConf.create({"runtime": {"verbosity": verbosity}}))
    err = capsys.readouterr().err
    assert err.endswith("deepinside: it is lost.\n")
    assert ("Traceback" in err) == shown
