"""The texts of deploy/ name commands, metrics, endings, settings, codes, files and tests: all of them exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from router.cli import app
from router.errors import EDGE_PROBLEMS
from router.gate.policy import VERDICTS
from router.observe.endings import COMBINATIONS
from router.observe.metric_table import PREFIX, TABLE, Row
from router.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TEXTS = sorted(DEPLOY.glob("*.md"))
RUNBOOK = (DEPLOY / "RUNBOOK.md").read_text(encoding="utf-8")
RUNNING = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
NEW_ID = "0d9f4c52-8f0e-4c53-9a0c-0f2f6f6f3c11"  # for the tutorial's $APP

each_text = pytest.mark.parametrize("text", TEXTS, ids=lambda file: file.name)


def _quoted(text: str) -> set[str]:
    """What stands between backticks, blocks left out."""
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)))


def _section(title: str) -> str:
    """The part of the runbook under a heading, up to the next one."""
    _, _, rest = RUNBOOK.partition(f"# {title}\n")
    assert rest, title
    return re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]


def _rows(section: str) -> set[str]:
    """The words in backticks of the first column of a section's tables."""
    firsts = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {word for first in firsts for word in re.findall(r"`([^`]+)`", first)}


def _commands(text: str) -> Iterator[list[str]]:
    """Every `router …` or `miosa-router …` of a text, in blocks and in sentences, as words."""
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))
    for line in [*blocks.splitlines(), *_quoted(text)]:
        match = re.match(r"(?:.*&& )?(?:router|(?:\S*/)?miosa-router) (?!\$|…|\"|--)(.*)", line.strip())
        if match:
            lexer = shlex.shlex(match[1], posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words = list(lexer)
            ends = [place for place, word in enumerate(words) if word in ("|", "&", "&&", ";", "#", ">", "\\")]
            yield words[: ends[0]] if ends else words


def test_commands_are_those_of_the_program() -> None:
    """Each one is taken by the command line as it stands: its name, its arguments and its options."""
    seen = set()
    for words in (*_commands(RUNBOOK), *_commands(RUNNING), *_commands(TUTORIAL)):
        command, rest, name = typer.main.get_command(app), words, "miosa-router"
        while hasattr(command, "commands"):
            assert rest[0] in command.commands, words
            name, command, rest = rest[0], command.commands[rest[0]], rest[1:]
        command.make_context(name, [NEW_ID if word == "$APP" else word for word in rest])
        seen.add(name)
    assert {"explain", "check-config", "upgrade", "put", "create", "revoke", "verify", "list"} <= seen


@each_text
def test_files_and_tests_exist(text: Path) -> None:
    """What is named as the place of something is there: files from the project's root, or beside the text."""
    for name in _quoted(text.read_text(encoding="utf-8")):
        path, _, test = name.partition("::")
        if re.fullmatch(r"(router|tests|docs|bench)/[\w./]*", path):
            assert (ROOT / path).exists(), name
            assert not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), name
        elif re.fullmatch(r"systemd/[\w.-]+|[A-Z]\w+\.md|Caddyfile|compose\.yaml", path):
            assert (DEPLOY / path).exists(), name


@each_text
def test_links_lead_somewhere(text: Path) -> None:
    """A link within a text has its heading."""
    content = text.read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"(?m)^#+ (.*)$", content)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", content)) <= headings


@each_text
def test_settings_exist(text: Path) -> None:
    """`group.name` in a sentence is a setting."""
    for group, name in re.findall(r"`(?:[a-z_]+ )?([a-z]+)\.([a-z_]+)[`,;*]", text.read_text(encoding="utf-8")):
        field = Settings.model_fields.get(group)
        if field is not None:
            assert name == "drain_" or name in field.annotation.model_fields, f"{group}.{name}"  # type: ignore[union-attr]


def _row(exposed: str) -> Row | None:
    bare = exposed.removeprefix(PREFIX)
    for row in TABLE:
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}[row.kind]
        if bare in {row.name + ending for ending in endings}:
            return row
    return None


def test_metrics_and_labels_exist() -> None:
    """As /metrics shows them."""
    found = re.findall(rf"({PREFIX}\w+)(?:\{{([^}}]*)\}})?", RUNBOOK.replace("\\|", "|"))
    assert len(found) > 3
    for name, labels in found:
        row = _row(name)
        assert row is not None, name
        for label, values in re.findall(r"(\w+)=~?\"([^\"]*)\"", labels):
            assert label in row.labels, f"{name}: {label}"
            assert set(values.split("|")) <= set(row.labels[label]), f"{name}: {label}={values}"
    for names in re.findall(rf"\^{PREFIX}\(([^)]*)\)", RUNBOOK):
        assert [name for name in names.split("|") if _row(PREFIX + name) is None] == []


def test_every_ending_is_explained() -> None:
    """The table of endings has each of the program's, and no other."""
    assert _rows(_section("How to read an ending")) == set(COMBINATIONS)


def test_every_answer_of_ours_is_explained() -> None:
    """Each code that the proxy answers with has its row; `edge_unavailable` is Caddy's."""
    caddy = {"edge_unavailable"}
    assert _rows(_section("Our own error responses")) == {problem.code for problem in EDGE_PROBLEMS} | caddy
    assert "X-Miosa-Error edge_unavailable" in (DEPLOY / "Caddyfile").read_text(encoding="utf-8")


def test_every_answer_of_the_gate_is_explained() -> None:
    """Each reason has its row, with the status that it has."""
    section = _section("No certificate")
    assert _rows(section) == set(VERDICTS) | {"method_not_allowed"}
    for line in section.splitlines():
        if line.startswith("| `"):
            _, reasons, status, _, _ = line.split("|")
            for reason in re.findall(r"`([^`]+)`", reasons):
                assert reason == "method_not_allowed" or VERDICTS[reason].status == int(status), line
