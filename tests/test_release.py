"""What a release says of itself, in all its places: the version, the model card, the name of the command."""

import configparser
import importlib.resources
import re
from pathlib import Path

import jax
import pytest

import wct_jax

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[1]


def test_the_version_is_semantic_and_the_same_everywhere():
    version = wct_jax.__version__
    assert re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(rc\d+|\.dev\d+)?", version)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == version
    assert re.search(rf"(?m)^## \[{re.escape(version)}\] - ", (ROOT / "CHANGELOG.md").read_text("utf-8"))


def test_the_changelog_has_each_release_once_with_its_kinds_of_change():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    releases = re.findall(r"(?m)^## \[(\S+)\]", text)
    assert releases[0] == "Unreleased"
    assert len(set(releases)) == len(releases)
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"(?m)^### (.+)$", text)) <= kinds


def test_uvx_finds_the_command_by_the_name_of_the_distribution():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    commands = config["options.entry_points"]["console_scripts"].split("\n")
    assert config["metadata"]["name"].replace("_", "-") in [command.partition(" =")[0] for command in commands]


@pytest.fixture(scope="module")
def card():
    """The front matter of the model card, and its text."""
    _, matter, text = (ROOT / "docs" / "model_card.md").read_text("utf-8").split("---\n", 2)
    return yaml.safe_load(matter), text


def test_the_model_card_has_what_the_hub_asks_for(card):
    matter, text = card
    assert matter["license"] == "apache-2.0"
    assert matter["library_name"] == "wct_jax"
    assert matter["pipeline_tag"] == "image-to-image"
    assert {result["metrics"][0]["type"] for result in matter["model-index"][0]["results"]} <= set(matter["metrics"])
    # On the hub there is no folder beside it.
    assert all(address.startswith("https://") for address in re.findall(r"\]\(([^)]*)\)", text))


def test_the_model_card_tells_the_size_of_the_model(card):
    _, text = card
    model = wct_jax.load_model("compact")
    file = importlib.resources.files("wct_jax.networks") / "compact.safetensors"
    assert f"{len(file.read_bytes()) / 1e6:.1f} MB" in text

    def count(parameters):
        return sum(leaf.size for leaf in jax.tree.leaves(parameters)) / 1e6

    painter = count(model.painter)
    assert f"{count((model.encoder, model.decoders)):.2f} million, and {painter:.2f} million of the painter" in text
    *widths, last = model.widths
    assert f"{', '.join(map(str, widths))} and {last} in the five blocks" in text


def test_the_model_card_has_the_figures_of_the_page_on_the_model(card):
    _, text = card
    page = (ROOT / "docs" / "compact.md").read_text("utf-8")
    table = text.partition("| style distance |")[2].partition("Reconstruction")[0]
    figures = re.findall(r"\b0\.\d{3}\b", table)
    assert len(figures) == 10
    assert [figure for figure in figures if figure not in page] == []
