"""What all commands share: the list of them, their help, their defaults."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lightning_ita import __version__, commands
from lightning_ita.commands.cli import add_source, guard, make_parser, source_of
from lightning_ita.commands.systems import add_options, options_given
from lightning_ita.data.source import Source
from lightning_ita.errors import USER_ERROR, UserError
from lightning_ita.models.options import from_values
from lightning_ita.models.presets import RECIPES


def stopped(argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Runs ``lightning-ita ARGV``; returns its exit status and what it printed."""
    monkeypatch.setattr(sys, "argv", ["lightning-ita", *argv])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    assert isinstance(ended.value.code, int)
    shown = capsys.readouterr()
    return ended.value.code, shown.out + shown.err


def test_help_lists_every_command_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, text = stopped(["--help"], monkeypatch, capsys)
    listed = {line.split()[0]: line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith("  ")}
    assert status == 0
    assert listed == commands.SUMMARIES
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("argv", "status", "expected"),
    [
        ([], 2, "usage: lightning-ita COMMAND"),
        (["--version"], 0, f"lightning-ita {__version__}"),
        (["abblate"], 2, "error: unknown command 'abblate'. Did you mean 'ablate'?"),
        (["report", "/nowhere"], 2, "error: /nowhere"),
    ],
)
def test_the_program_without_a_command(
    argv: list[str], status: int, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stopped(argv, monkeypatch, capsys)[0] == status
    assert expected in stopped(argv, monkeypatch, capsys)[1]


@pytest.mark.parametrize("command", list(commands.COMMANDS))
@pytest.mark.parametrize("program", ["lightning-ita", "/checkout/experiments/x.py"])
def test_help_names_commands_as_they_were_started(
    command: str, program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    monkeypatch.setattr(sys, "argv", [program])
    with pytest.raises(SystemExit):
        commands.COMMANDS[command](["--help"])
    text = capsys.readouterr().out
    module = "sweeps.optuna" if command == "sweep" else f"experiments.{command}"
    as_program, as_module = f"lightning-ita {command}", f"-m {module}"
    here, elsewhere = (as_program, as_module) if program == "lightning-ita" else (as_module, as_program)
    assert text.count(here) > 1  # in the usage and in examples
    assert elsewhere not in text


@pytest.mark.parametrize("command", ["ablate", "train", "sweep"])
@pytest.mark.parametrize(
    ("content", "options", "preset", "changed"),
    [
        ({}, [], "demo", {}),
        ({"preset": "paper"}, [], "paper", {}),
        (
            {"preset": "paper", "recipe": {"epochs": 7}},
            ["--recipe.batch_size=3"],
            "paper",
            {"epochs": 7, "batch_size": 3},
        ),
        ({"preset": "paper"}, ["--preset=small"], "small", {}),
        ({"dataset": "twitter17"}, [], "small", {}),
        ({"dataset": "twitter17"}, ["--dataset", "demo"], "demo", {}),
    ],
)
def test_the_recipe_is_that_of_the_preset_that_a_config_file_names(
    command: str,
    content: dict[str, object],
    options: list[str],
    preset: str,
    changed: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    main = importlib.import_module(f"lightning_ita.commands.{command}").main
    with pytest.raises(SystemExit):
        main(["--config", str(path), *options, "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["recipe"] == vars(RECIPES[preset]) | changed


def test_help_is_given_whatever_the_encoder_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.COMMANDS["ablate"](["--encoder=/nowhere", "--help"])
    assert ended.value.code == 0
    assert "--recipe.learning_rate" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "argv", "expected"),
    [
        ("ablate", ["--contxts=cap"], "unknown option --contxts. Did you mean --contexts?"),
        ("ablate", ["--learning_rate", "1"], "unknown option --learning_rate. Did you mean --recipe.learning_rate?"),
        ("ablate", ["--zzzzzz"], "unknown option --zzzzzz."),
        ("ablate", ["--seeds"], "--seeds needs a value"),
        ("ablate", ["--umt.heads=few"], "--umt.heads few: expected a whole number"),
        ("ablate", ["--ita.teacher=me"], "--ita.teacher me: expected one of itself, average, frozen"),
        ("ablate", ["--recipe.temperature", "hot"], "--recipe.temperature hot: expected a number"),
        ("ablate", ["--recipe.compile=yess"], "--recipe.compile yess: expected true or false"),
        ("ablate", ["--config=/nowhere.yaml"], "--config /nowhere.yaml: no such file"),
        ("ablate", ["--recipe=/nowhere"], "--recipe /nowhere: expected a YAML file with values for recipe"),
        ("report", ["a", "b"], "unexpected 'b': values follow their option, --NAME VALUE"),
        ("report", [], "missing: study"),
        ("predict", [], "missing: --model MODEL"),
    ],
)
def test_what_the_parser_refuses_is_said_in_plain_words(
    command: str, argv: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.COMMANDS[command](argv)
    assert ended.value.code == USER_ERROR
    prog = make_parser(command, "").prog
    assert capsys.readouterr().err == f"error: {expected}\n`{prog} --help` explains all arguments\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("contextes: cap\n", "unknown option contextes. Did you mean --contexts?"),
        ("recipe: {epoch: 3}\n", "unknown option recipe.epoch. Did you mean --recipe.epochs?"),
        ("seeds: [1, 2]\n", "--seeds [1, 2]: expected text; write several names as one text, separated by commas"),
        ("cva: off\n", "--cva False: expected text; YAML reads off, no, on and yes without quotes as false and true"),
        ("- a\n", "--config: expected a file with a line NAME: VALUE per argument"),
        ("contexts: [\n", "--config: not YAML: "),
    ],
)
def test_what_the_parser_refuses_in_a_file_is_said_in_plain_words(
    content: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SystemExit):
        commands.COMMANDS["ablate"]([f"--config={path}"])
    assert capsys.readouterr().err.startswith(f"error: {expected}")


def test_help_begins_with_what_a_command_does_and_names_the_defaults_of_systems(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        commands.COMMANDS["ablate"](["--help"])
    text = capsys.readouterr().out
    assert text.splitlines()[0].endswith(" [options]")
    assert text.splitlines()[2].startswith("Measures ")
    assert "Number of fusion layers. Default: 6. (a whole number)" in " ".join(text.split())
    assert "null)" not in text
    with pytest.raises(SystemExit):
        commands.COMMANDS["predict"](["--help"])
    text = capsys.readouterr().out
    assert text.splitlines()[0].endswith(" [options] --model MODEL")
    assert "Face Hub. (required)" in " ".join(text.split())


@pytest.mark.parametrize(
    ("name", "option", "value"), [("ita", "contexts", "ocr"), ("umgf", "layers", 3), ("bga-mner", "feed_forward", 3)]
)
def test_options_of_systems_are_read_from_the_command_line_and_from_a_file(
    name: str, option: str, value: object, tmp_path: Path
) -> None:
    config = tmp_path / "study.yaml"
    config.write_text(yaml.safe_dump({name: {option: value}}), encoding="utf-8")
    for given in ([f"--{name}.{option}={value}"], ["--config", str(config)]):
        parser = make_parser("train", "")
        add_options(parser)
        chosen = options_given(parser.parse_args(given))
        assert from_values({"system": name, **chosen[name]}) == from_values({"system": name, option: value})


def source(*argv: str) -> Source:
    parser = make_parser("train", "")
    add_source(parser)
    return source_of(parser.parse_args(list(argv)))


def test_types_and_columns_of_own_corpora_are_read(tmp_path: Path) -> None:
    assert (source().types, source().columns) == (None, None)
    given = source("--types", "PER, a|b", "--columns", "0,2")
    assert (given.types, given.columns) == (("PER", "a|b"), (0, 2))
    config = tmp_path / "study.yaml"
    config.write_text("columns: 0,2\ntypes: PER,LOC\n", encoding="utf-8")
    assert source("--config", str(config)).columns == (0, 2)
    for wrong in ("0", "0,x", "0,1,2", "-1,0", "0;2", "0,0"):
        with pytest.raises(UserError, match="expected two different columns, of word and tag, counted from 0"):
            source(f"--columns={wrong}")


@pytest.mark.parametrize(
    "content", ["contexts: cpa\n", "contextes: cap\n", "recipe: {batch_size: many}\n", "contexts: [\n"]
)
def test_errors_name_the_config_file(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(content, encoding="utf-8")
    for given in (["--config", str(path)], [f"--config={path}"]):
        monkeypatch.setattr(sys, "argv", ["ablate", *given, "--dry-run"])
        with pytest.raises(SystemExit) as ended:
            guard(commands.COMMANDS["ablate"])
        assert ended.value.code == USER_ERROR
        assert capsys.readouterr().err.endswith(f"\nnote: some arguments come from {path}\n")


def test_other_errors_name_no_config_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for given in (["--contexts=cpa"], [f"--config={tmp_path / 'missing'}"]):
        monkeypatch.setattr(sys, "argv", ["ablate", *given, "--dry-run"])
        with pytest.raises(SystemExit):
            guard(commands.COMMANDS["ablate"])
        assert "note:" not in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGINT to send")
def test_ctrl_c_leaves_no_traceback_even_where_it_comes_twice() -> None:
    script = """
import atexit, signal, time
from lightning_ita.commands.cli import guard

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so would we

def wait(word):
    print(word, flush=True)
    time.sleep(60)

atexit.register(wait, "ending")
guard(lambda argv: wait("running"))
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for word in ("running", "ending"):
            assert process.stdout.readline().strip() == word
            process.send_signal(signal.SIGINT)
        _, error = process.communicate()
    assert error == "interrupted; the same command goes on where it stopped\n"
    assert process.returncode == -signal.SIGINT
