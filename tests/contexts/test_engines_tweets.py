"""Engines that read tweets, through the real command: what is sent, what is kept, what is never returned."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest

from lightning_ita.commands import align
from lightning_ita.contexts import alignment
from lightning_ita.contexts.engines import chat, make_engine
from lightning_ita.contexts.engines.prompts import SHIPPED, read_template
from lightning_ita.contexts.jsonl import read_contexts
from lightning_ita.contexts.store import ContextStore, StoredEngine
from lightning_ita.contexts.tweets import BOTH, TWEET, Post, reads
from lightning_ita.data.corpus import SPLITS
from lightning_ita.data.custom import Custom
from lightning_ita.data.source import Source
from lightning_ita.errors import UserError
from tests.contexts.chat_server import ChatServer, completion, serving
from tests.contexts.fakes import draw

pytest.importorskip("openai")
ROOT = Path(__file__).parents[2]


def write_tweets(path: Path, tweets: dict[str, str]) -> Path:
    """Writes a split: texts by image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = ["".join([f"IMGID:{image}\n", *(f"{w}\tO\n" for w in text.split())]) for image, text in tweets.items()]
    path.write_text("\n".join(blocks), encoding="utf-8")
    return path


def many(count: int) -> dict[str, str]:
    return {f"{number:03}": f"Post number {number} about Kobe" for number in range(count)}


def know(server: ChatServer, tweets: Path, *more: object, model: str = "tiny") -> list[str]:
    store = f"--store={tweets.parent / 'contexts.db'}"
    options = ["--options", f"know.url={server.url}", *map(str, more)]
    return ["--kinds=know", f"--engines=know=openai:{model}", "--tweets", str(tweets), store, *options]


def texts(folder: Path, kind: str = "know") -> dict[str, tuple[str, ...]]:
    with ContextStore(folder / "contexts.db", readonly=True) as store:
        return dict(store.contexts(kind).texts)


def test_each_tweet_is_asked_about_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tweets = write_tweets(tmp_path / "train.txt", many(12))
    with serving(seconds=0.05, thinks="<think>Kobe?\n</think>\n") as server:
        arguments = know(server, tweets, "know.at_once=3")
        assert align.main(arguments) == 0
        assert len(set(server.questions())) == len(server.requests) == 12
        assert server.most == 3
        said = capsys.readouterr().out
        assert "know openai:tiny" in said
        assert "12 tweets done" in said
        tokens = sum(len(question.split()) for question in server.questions())
        assert f"12 answers: {tokens:,} tokens asked, 36 answered" in said
        assert texts(tmp_path)["007"] == ("Names: Post: Post number 7 about Kobe",)
        align.main(arguments)
        assert "0 tweets done, 12 were done before" in capsys.readouterr().out
        assert len(server.requests) == 12
        write_tweets(tweets, many(12) | {"007": "something else"})
        align.main(arguments)
        assert len(server.requests) == 13
        assert texts(tmp_path)["007"] == ("Names: Post: something else",)
        align.main([*arguments, "know.temperature=0.5"])
        assert len(server.requests) == 25


def test_a_dry_run_shows_what_would_be_sent_and_sends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tweets = write_tweets(tmp_path / "train.txt", many(5))
    with serving() as server:
        align.main([*know(server, tweets, 'know.body={"seed": 7}'), "--dry-run"])
        assert not server.requests
        assert not (tmp_path / "contexts.db").exists()
        said = capsys.readouterr().out
        first, *shown = said.split("--- ")
        assert "5 to read, 0 were read before, 0 errors" in first
        assert len(shown) == 3
        name, address, request = shown[1].split("\n", 2)
        assert (name, address) == ("001", f"POST {server.url}/chat/completions")
        align.main([*know(server, tweets, 'know.body={"seed": 7}'), "--limit=2"])
        assert json.loads(request) in [body for _, _, body in server.requests]


def test_killed_and_started_again_no_answer_is_asked_for_twice(tmp_path: Path) -> None:
    tweets = write_tweets(tmp_path / "train.txt", many(60))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1"}
    with serving(seconds=0.05) as server:
        arguments = know(server, tweets)
        command = [sys.executable, "-m", "experiments.align", *arguments]
        lost = 0
        for kill in (signal.SIGKILL, signal.SIGTERM):
            before = len(server.requests)
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
            deadline = time.monotonic() + 120
            while len(server.requests) < before + 12 and time.monotonic() < deadline:
                time.sleep(0.01)
            process.send_signal(kill)
            assert process.wait(60) == -kill
            kept = len(texts(tmp_path))
            asked = len(server.requests)
            # Killed, the four that were being answered are lost; told to end, it waits for them.
            lost = asked - kept if kill == signal.SIGKILL else lost
            assert asked - kept == lost <= 4
        align.main([*arguments, "--export", f"know={tmp_path / 'resumed.jsonl'}"])
        assert len(server.requests) == 60 + lost
    with serving() as server:
        write_tweets(tmp_path / "again" / "train.txt", many(60))
        arguments = know(server, tmp_path / "again" / "train.txt")
        align.main([*arguments, "--export", f"know={tmp_path / 'whole.jsonl'}"])
    assert (tmp_path / "resumed.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert len(read_contexts(tmp_path / "whole.jsonl", "know").texts) == 60


def test_what_passes_is_tried_again_and_what_does_not_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tweets = write_tweets(tmp_path / "train.txt", many(4) | {"long": "far too long"})
    monkeypatch.setenv("SOME_KEY", "secret-0123")
    with serving(statuses=[429, 500, 0], refused="far too long", counts=False) as server:
        align.main(know(server, tweets, "know.at_once=1", "know.key=SOME_KEY"))
        said = capsys.readouterr().out
        assert "4 answers: 0 tokens asked, 0 answered (the server did not count those of 4)" in said
        assert "1 × engine failed: RefusedError: 400" in said
        assert len(server.requests) == 8  # three were repeated
        assert {headers.get("authorization") for _, headers, _ in server.requests} == {"Bearer secret-0123"}
        assert len(texts(tmp_path)) == 4
        for status, hint in (
            (401, "know.key=VARIABLE names"),
            (404, r"at 127.0.0.1: 404 no, Bearer … will not do; is tiny a model .*/v1\? What was answered"),
            (302, "another"),
        ):
            server.statuses = [status]
            write_tweets(tweets, many(4) | {"new": f"status {status}"})
            with pytest.raises(UserError, match=hint) as error:
                align.main(know(server, tweets, "know.key=SOME_KEY"))
            assert "secret" not in str(error.value)
        assert not any("elsewhere" in path for path, _, _ in server.requests)
    with pytest.raises(
        UserError, match=r"know=openai:tiny at 127\.0\.0\.1: Connection error.*the same command goes on"
    ):
        align.main(know(server, tweets, "know.retries=0"))
    assert b"secret" not in (tmp_path / "contexts.db").read_bytes()
    assert "secret" not in capsys.readouterr().out


THOUGHT = "Okay, the user wants names. Bob?"


@pytest.mark.parametrize(
    ("body", "stored"),
    [
        (completion(f"<think>{THOUGHT}</think>\n\nNames: Bob"), "Names: Bob"),
        (completion(f"{THOUGHT}</think>\n\nNames: Bob"), "Names: Bob"),  # the prompt ended with <think>
        (completion("Names: Bob", usage={}), "Names: Bob"),
    ],
    ids=["thinking", "the end of thinking", "no counts"],
)
def test_an_answer_is_stored_without_thinking(
    body: Any, stored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(body=body) as server:
        align.main(know(server, write_tweets(tmp_path / "train.txt", many(1))))
    assert texts(tmp_path) == {"000": (stored,)}
    assert "1 answer: 0 tokens asked, 0 answered (the server did not count those of 1)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (completion(f"<think>{THOUGHT}", "length"), "only the start of thinking (length); a greater know.max_tokens"),
        (completion("", "length"), "no answer: length"),
        (completion(None, refusal="I cannot help with that."), "no answer: I cannot help with that."),
        (completion(None, "content_filter"), "no answer: content_filter"),
        (completion("") | {"choices": []}, "no answer: its choices are empty"),
        (completion(""), "no answer: its text is empty (stop)"),
        (completion(None), "no answer: its text is empty (stop)"),
        (completion(f"<think>{THOUGHT}</think>"), "no answer: its text is empty (stop)"),
        ('{"choices": [{"ind', "an answer that is not JSON: "),
    ],
    ids=[
        "thinking",
        "cut",
        "refused",
        "filtered",
        "no choice",
        "nothing",
        "null",
        "only thinking",
        "cut JSON",
    ],
)
def test_without_an_answer_a_tweet_is_an_error_and_asked_about_again(body: Any, reason: str, tmp_path: Path) -> None:
    with serving(body=body) as server:
        arguments = know(server, write_tweets(tmp_path / "train.txt", many(1)), "know.retries=0")
        align.main(arguments)
        with ContextStore(tmp_path / "contexts.db", readonly=True) as store:
            assert reason in store.contexts("know").failed["000"]
        server.body = completion("Names: Bob")
        align.main([*arguments, "--retry-errors"])
    assert texts(tmp_path) == {"000": ("Names: Bob",)}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "overloaded, secret-0123", "code": 529}}, r"no chat completion: overloaded, …\. What"),
        ({"error": "overloaded", "choices": []}, "no chat completion: overloaded"),
        ({"detail": "sign in"}, "no chat completion: .*sign in"),
        (completion([{"type": "text", "text": "Names: Bob"}]), "no chat completion: .*Names: Bob"),
        ("<html>sign in</html>", "an answer that is not JSON: <html>sign in</html>"),
    ],
    ids=["error", "error and no choice", "another object", "parts", "a page"],
)
def test_what_is_no_answer_in_the_protocol_is_an_error_of_the_server(
    body: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "secret-0123")
    tweets = write_tweets(tmp_path / "train.txt", many(1))
    with serving(body=body) as server, pytest.raises(UserError, match=f"{message}.*the same command goes on"):
        align.main(know(server, tweets, "know.key=SOME_KEY", "know.retries=0"))
    with ContextStore(tmp_path / "contexts.db", readonly=True) as store:
        assert store.engines() == []


def test_an_answer_that_is_not_json_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "FIRST_PAUSE", 0.01)
    with serving(statuses=['{"choi', "<html>busy</html>"]) as server:
        align.main(know(server, write_tweets(tmp_path / "train.txt", many(3)), "know.at_once=1", "know.retries=2"))
    assert len(server.requests) == 5
    assert len(texts(tmp_path)) == 3


def test_a_server_that_answers_nothing_leaves_nothing_behind(tmp_path: Path) -> None:
    tweets = write_tweets(tmp_path / "train.txt", many(12))
    message = r"each of the first 10 tweets; .*no answer: its text is empty \(stop\)"
    with serving(body=completion("")) as server, pytest.raises(UserError, match=message):
        align.main(know(server, tweets))


def test_interrupted_while_the_server_is_silent_the_command_ends(tmp_path: Path) -> None:
    tweets = write_tweets(tmp_path / "train.txt", many(2))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1"}
    impatient = (
        "import signal, sys; from lightning_ita.commands import align; from lightning_ita.contexts import alignment; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # which a shell's background processes ignore
        "alignment.PATIENCE = 0.2; align.main(sys.argv[1:])"
    )
    with serving(seconds=600) as server:
        command = [sys.executable, "-c", impatient, *know(server, tweets)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 120
            while len(server.requests) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) != 0
        finally:
            process.kill()
            process.wait()
        assert len(server.requests) == 2


def test_after_an_interruption_nothing_more_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tweets = write_tweets(tmp_path / "train.txt", many(1))

    def interrupt(*_: object, **__: object) -> None:
        monkeypatch.setattr(alignment, "wait", wait)
        raise KeyboardInterrupt

    monkeypatch.setattr(alignment, "wait", interrupt)
    monkeypatch.setattr(alignment, "PATIENCE", 1.0)
    with serving(seconds=0.4) as server:
        with pytest.raises(KeyboardInterrupt):
            align.main(know(server, tweets, "know.timeout=0.2", "know.retries=100"))
        asked = len(server.requests)
        time.sleep(4)
        assert len(server.requests) == asked > 0


def test_a_server_that_is_too_slow_is_given_up(tmp_path: Path) -> None:
    tweets = write_tweets(tmp_path / "train.txt", many(1))
    with serving(seconds=1.0) as server, pytest.raises(UserError, match="timed out"):
        align.main(know(server, tweets, "know.timeout=0.1", "know.retries=0"))


def test_a_server_that_refuses_everything_leaves_nothing_behind(tmp_path: Path) -> None:
    tweets = write_tweets(tmp_path / "train.txt", many(20))
    with (
        serving(refused="Post") as server,
        pytest.raises(UserError, match="failed on each of the first 10 tweets; nothing of this was stored"),
    ):
        align.main(know(server, tweets))
    with ContextStore(tmp_path / "contexts.db", readonly=True) as store:
        assert store.engines() == []


def test_pictures_and_captions_are_sent_where_they_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tweets = write_tweets(tmp_path / "train.txt", {"a": "one", "b": "two", "c": "three"})
    draw(tmp_path / "images" / "a.png", (3000, 20))
    draw(tmp_path / "images" / "b.png")
    captions = tmp_path / "captions.jsonl"
    captions.write_text('{"image": "a", "texts": ["a {tweet} on a pond", "a bird"]}\n', encoding="utf-8")
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("# Mine.\nPost: {tweet}\nSeen: {caption}\nJSON: {}\n", encoding="utf-8")
    with serving() as server:
        given = [f"know.captions={captions}", f"know.prompt={prompt}", "know.picture=true", "know.at_once=1"]
        with pytest.raises(UserError, match="know=openai reads images with these options: it needs --images DIR"):
            align.main(know(server, tweets, *given))
        arguments = [*know(server, tweets, *given), "--images", str(tmp_path / "images")]
        align.main([*arguments, "--dry-run"])
        said = capsys.readouterr().out
        assert '"bytes": ' in said
        assert "captions: 1 of 3 tweets" in said
        align.main(arguments)
        contents = {body["messages"][-1]["content"][0]["text"]: body["messages"] for _, _, body in server.requests}
        assert set(contents) == {"Post: one\nSeen: a {tweet} on a pond\nJSON: {}", "Post: two\nJSON: {}"}
        for (message,) in contents.values():
            address = message["content"][1]["image_url"]["url"]
            assert address.startswith("data:image/jpeg;base64,")
            assert len(address) < 10_000
        draw(tmp_path / "images" / "b.png", colour="red")
        align.main(arguments)
        assert len(server.requests) == 3
        write_tweets(tweets, {"a": "one", "b": "other", "c": "three"})
        align.main(arguments)
        assert [body["messages"][-1]["content"][0]["text"] for _, _, body in server.requests[3:]] == [
            "Post: other\nJSON: {}"
        ]
    with ContextStore(tmp_path / "contexts.db", readonly=True) as store:
        assert store.contexts("know").failed == {"c": "no file of this name"}


def test_captions_of_another_corpus_are_refused(tmp_path: Path) -> None:
    captions = tmp_path / "captions.jsonl"
    captions.write_text('{"image": "17_06_1", "texts": ["a bird"]}\n', encoding="utf-8")
    tweets = write_tweets(tmp_path / "train.txt", many(2))
    with serving() as server:
        with pytest.raises(UserError, match=r"none of the 2 tweets: they have '000', the file '17_06_1'"):
            align.main(know(server, tweets, f"know.captions={captions}"))
        assert not server.requests


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "sends tweets to a server: name it, for example --options know.url=http"),
        ({"url": "localhost:8000"}, "expected the URL of a server"),
        ({"url": "http://[::1"}, "expected the URL of a server"),
        ({"url": "http://me:secret@host/v1"}, "has a user name, a password"),
        ({"url": "http://host/v1?key=secret"}, "has a user name, a password"),
        ({"url": "http://host/v1", "key": "sk-secret"}, "never the key itself"),
        ({"url": "http://host/v1", "key": "secret"}, "the environment variable of this name is not set"),
        ({"url": "http://host/v1", "prompt": "name"}, "Did you mean 'names'"),
        ({"url": "http://host/v1", "prompt": "PROMPT"}, "unknown name in braces 'twet'. Did you mean 'tweet'"),
        ({"url": "http://host/v1", "at_once": 0}, "at_once must be at least 1"),
        ({"url": "http://host/v1", "timeout": 0.0}, "timeout be above 0"),
        ({"url": "http://host/v1", "body": 3}, "option body of know=openai: expected"),
    ],
)
def test_what_a_user_gets_wrong_about_a_server_is_named(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("{tweet} {twet}", encoding="utf-8")
    if "prompt" in options:
        options = options | {"prompt": options["prompt"].replace("PROMPT", str(tmp_path / "prompt.txt"))}
    with pytest.raises(UserError, match=message) as error:
        make_engine("know", "openai:tiny", **{"tweets": {}, **options})
    assert "secret" not in str(error.value)


def test_openais_key_goes_to_openai_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "secret")
    own = make_engine("know", "openai:gpt", tweets={}, url="https://api.openai.com/v1/")
    assert own._client.api_key == "secret"  # type: ignore[attr-defined]
    other = make_engine("know", "openai:gpt", tweets={}, url="https://api.openai.com.example.org/v1")
    assert other._client.api_key == "none"  # type: ignore[attr-defined]
    assert (other._client.organization, other._client.project) == (None, None)  # type: ignore[attr-defined]
    plain = make_engine("know", "openai:gpt", tweets={}, url="http://api.openai.com/v1")
    assert plain._client.api_key == "none"  # type: ignore[attr-defined]
    assert "secret" not in str([own.version, own.model, own.parameters])
    assert reads(own) == TWEET
    assert reads(make_engine("know", "openai:gpt", tweets={}, url="http://host", picture=True)) == BOTH


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.txt")))
def test_the_prompts_that_are_shipped_ask_about_tweet_and_caption(name: str) -> None:
    template = read_template(name)
    assert template.instructions
    assert "#" not in template.question.replace("#GoHarbour", "")
    question = template.fill("Kobe in Spain", "a {tweet} in a cap")
    assert "Post: Kobe in Spain\nIts picture shows: a {tweet} in a cap (it may" in question
    assert "picture" not in template.instructions + template.fill("Kobe", "").rpartition("Now answer")[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Say names.", "has no {tweet}"),
        ("About {tweet}\n---\n{tweet}?", "belong below the line ---"),
        ("Post: {tweet}, shows: {caption}", "are in one line, which is left out where there is no caption"),
    ],
)
def test_prompts_that_cannot_be_used_are_an_error(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_template(str(tmp_path / "prompt.txt"))


@pytest.mark.parametrize("end", ["\r\n", " \n", "\n"], ids=["CRLF", "blanks", "LF"])
def test_prompts_are_divided_whatever_ends_their_lines(end: str, tmp_path: Path) -> None:
    text = end.join(["# Mine.", "Look for names.", "---", "Post: {tweet}", "Seen: {caption}", ""])
    (tmp_path / "prompt.txt").write_bytes(text.encode())
    template = read_template(str(tmp_path / "prompt.txt"))
    assert template.instructions == "Look for names."
    assert template.fill("Kobe", "").rstrip() == "Post: Kobe"


def test_tweets_that_cannot_be_told_apart_are_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tweets = tmp_path / "train.txt"
    tweets.write_text(
        "IMGID:a\none\tO\n\nIMGID:a\ntwo\tO\n\nIMGID:b\nb\tO\n\nIMGID:b\nb\tO\n\nnone\tO\n", encoding="utf-8"
    )
    with serving() as server:
        align.main(know(server, tweets))
        assert "1 tweet not read" in capsys.readouterr().out
        assert len(server.requests) == 1
    with ContextStore(tmp_path / "contexts.db", readonly=True) as store:
        found = store.contexts("know")
    assert (set(found.texts), found.failed) == ({"b"}, {"a": "tweets of different words have this image"})


def test_a_tweet_of_another_split_with_the_same_image_is_known_without_being_named(tmp_path: Path) -> None:
    write_tweets(tmp_path / "test.txt", {"7": "TEST words", "8": "the same words", "9": "of test alone"})
    train = write_tweets(tmp_path / "train.txt", {"7": "TRAIN words", "8": "the same words"})
    for split, read in (("train", {"8"}), ("test", {"8", "9"})):
        with serving() as server:
            align.main(know(server, train.with_name(f"{split}.txt")))
        with ContextStore(tmp_path / "contexts.db", readonly=True) as store:
            found = store.contexts("know")
        assert (set(found.texts), found.failed) == (read, {"7": "tweets of different words have this image"})


def test_what_was_read_from_other_words_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = {split: {f"{split}{number}": f"Kobe plays {split} {number}" for number in range(2)} for split in SPLITS}
    files = [write_tweets(tmp_path / f"{split}.txt", words[split]) for split in SPLITS]
    for file in files:
        file.write_text(file.read_text().replace("Kobe\tO", "Kobe\tB-PER"))
    source = Source(str(tmp_path), context_store=str(tmp_path / "contexts.db"))
    with serving() as server:
        align.main([*know(server, files[0]), "--tweets", *map(str, files)])
    assert not Custom().read(source, ["know"]).warnings
    files[0].write_text(files[0].read_text().replace("train\tO\n0", "no\tO\n0"))
    corpus = Custom().read(source, ["know"])
    assert corpus.contexts["know"].texts.keys() == {f"{split}{n}" for split in SPLITS for n in range(2)} - {"train0"}
    assert corpus.contexts["know"].unread({"train0"}) == 0
    (warning,) = corpus.warnings
    assert "has read tweets of other words for 1 image: its tweet has no know context" in warning
    exported = tmp_path / "know.jsonl"
    capsys.readouterr()
    export = [f"--store={tmp_path}/contexts.db", f"--export=know={exported}", "--tweets", *map(str, files)]
    align.main(export)
    assert "5 images" in (said := capsys.readouterr().out)
    assert "(1 of tweets of other words left out)" in said
    for file in files:
        file.write_text(file.read_text().replace("plays", "rests"))
    with pytest.raises(UserError, match="has read tweets of other words for all 6 images of custom"):
        Custom().read(source, ["know"])


PASSAGES = [
    {"title": "Jordan", "text": "an American basketball player of the Chicago Bulls"},
    {"text": "Amman is the capital of Jordan"},
    {"text": "RT @nba: Jordan scores again in Chicago http://t.co/x"},
    {"text": "Jordan plays in Chicago tonight"},
    {"text": "tea and cake"},
]
TRAIN = {"t1": "Jordan scores again in Chicago", "t2": "Kobe rests"}
TEST = {"e1": "Jordan plays in Chicago tonight !", "e2": "to be or not", "e3": "Jordan jordan"}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write_tweets(tmp_path / "train.txt", TRAIN)
    write_tweets(tmp_path / "test.txt", TEST)
    lines = "".join(f"{json.dumps(passage)}\n" for passage in [*PASSAGES, PASSAGES[1]])
    (tmp_path / "passages.jsonl").write_text(lines, encoding="utf-8")
    return tmp_path


def retrieve(folder: Path, split: str, *options: str, file: str = "passages.jsonl") -> dict[str, tuple[str, ...]]:
    pytest.importorskip("bm25s")
    (folder / "contexts.db").unlink(missing_ok=True)
    engine = f"--engines=ret=bm25:{folder / file}"
    given = ["--options", "ret.top_k=5", *options]
    align.main(["--kinds=ret", engine, "--tweets", f"{folder}/{split}.txt", f"--store={folder}/contexts.db", *given])
    return texts(folder, "ret")


def test_the_nearest_passages_are_found_and_none_of_another_split(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    amman, bulls = "Amman is the capital of Jordan", "Jordan: an American basketball player of the Chicago Bulls"
    retweet, plays = PASSAGES[2]["text"], PASSAGES[3]["text"]
    train = retrieve(corpus, "train")  # test.txt lies beside it, and is known without being named
    said = capsys.readouterr().out
    assert "2 of 5 passages are tweets of these splits; ret.same=split" in said
    assert ", nothing found in 1, 0 errors" in said
    assert train == {"t1": (bulls, amman), "t2": ()}
    test = retrieve(corpus, "test")
    assert test == {"e1": (bulls, amman), "e2": (), "e3": (amman, plays, bulls)}
    others = retrieve(corpus, "train", "ret.same=others")
    assert set(others["t1"]) == {plays, bulls, amman}
    everything = retrieve(corpus, "train", "ret.same=all")
    assert everything["t1"][0] == retweet
    assert set(everything["t1"]) == {retweet, plays, bulls, amman}


@pytest.mark.parametrize(
    "passage",
    [{"title": "@mimi", "text": TEST["e1"]}, {"title": "Jordan", "text": "plays in Chicago tonight"}],
    ids=["title and tweet", "title of the tweet"],
)
def test_a_tweet_with_a_title_is_a_tweet(corpus: Path, passage: dict[str, str]) -> None:
    (corpus / "passages.jsonl").write_text(json.dumps(passage), encoding="utf-8")
    assert retrieve(corpus, "train")["t1"] == retrieve(corpus, "test")["e1"] == ()
    assert retrieve(corpus, "train", "ret.same=others")["t1"] != ()


@pytest.mark.parametrize(
    ("tweet", "passage"),
    [
        ("Tom &amp; Jerry &lt;3 cheese", "Tom & Jerry <3 cheese"),
        ("Tom & amp ; Jerry &amp ; gt ; cheese", "Tom &amp; Jerry > cheese"),
        (
            "Chicago wins again https : //t . co/w7rktBN5ac http://t.co/rFEv3dy13C",
            "Chicago wins again https://t.co/w7r",
        ),
        ("Chicago wins https : //t . co/w7r . Again", "Chicago wins https://t.co/w7r. Again"),
        ("Chicago wins www.nba.com/news pic.twitter.com/abc1", "Chicago wins www . nba . com/news"),
        ("I do n't like 7 : 30pm games", "I don't like 7:30pm games"),
        ("Caf\u00e9 Zo\u00eb opens", "Cafe\u0301 Zoe\u0308 opens"),
        ("RT @NBA _ Mixes Jordan scores", "RT @NBA_Mixes: Jordan scores"),
        ("Jordan scores", 'RT "@ joe Jordan scores'),
        (
            "Thank you all for coming to the great show in Chi\u2026",
            "Thank you all for coming to the great show in Chicago!",
        ),
        (
            "Thank you all for coming to the great show htt\u2026",
            "Thank you all for coming to the great show! https://t.co/a",
        ),
        (
            "Thank you all for coming to the great show in Chicago tonight",
            "RT @bulls: Thank you all for coming to the great show in Chi\u2026",
        ),
    ],
)
def test_a_passage_is_a_tweet_however_it_was_tokenised(tweet: str, passage: str, corpus: Path) -> None:
    write_tweets(corpus / "test.txt", {"e1": tweet})
    write_tweets(corpus / "train.txt", {"t1": tweet.split()[-2] + " " + passage.split()[0]})
    (corpus / "lines.txt").write_text(f"{passage}\n", encoding="utf-8")
    assert retrieve(corpus, "test", file="lines.txt") == {"e1": ()}
    assert retrieve(corpus, "train", file="lines.txt") == {"t1": ()}


def test_words_behind_a_link_are_looked_for(corpus: Path) -> None:
    pytest.importorskip("bm25s")
    engine = make_engine("ret", f"bm25:{corpus / 'passages.jsonl'}", tweets={})
    assert engine.preview("Read http://cnn.com. Kobe wins at www.nba.com . Jordan").endswith(
        "read kobe wins www nba com jordan"
    )


def test_a_passage_that_starts_as_a_short_or_whole_tweet_is_none(corpus: Path) -> None:
    write_tweets(
        corpus / "test.txt", {"e1": "Chicago \u2026", "e2": "Thank you all for coming to the great show in Chicago"}
    )
    passage = "Chicago has thanked all for coming to the great show"
    more = "Thank you all for coming to the great show in Chicago tonight"
    (corpus / "lines.txt").write_text(f"{passage}\n{more}\n", encoding="utf-8")
    assert set(retrieve(corpus, "train", file="lines.txt")["t1"]) == {passage, more}


def test_links_to_splits_are_beside_each_other_and_beside_what_they_lead_to(corpus: Path) -> None:
    links = corpus / "links"
    for split in ("train", "test"):
        write_tweets(corpus / split / "data.txt", {"train": TRAIN, "test": TEST}[split])
        links.mkdir(exist_ok=True)
        (links / f"{split}.txt").symlink_to(corpus / split / "data.txt")
    (links / "passages.jsonl").write_bytes((corpus / "passages.jsonl").read_bytes())
    expected = retrieve(corpus, "train")
    assert retrieve(links, "train") == expected
    (links / "alone.txt").symlink_to(corpus / "train.txt")
    assert retrieve(links, "alone") == expected


def test_a_planted_passage_is_found_in_a_file_of_lines(corpus: Path) -> None:
    lines = [f"passage {number} is about tea number {number}" for number in range(500)]
    lines[321] = "Kobe Bryant rests after the match\u2028in Los Angeles"
    (corpus / "lines.txt").write_text("\n".join([*lines, "", lines[0]]), encoding="utf-8")
    found = retrieve(corpus, "train", file="lines.txt")
    assert found["t2"] == ("Kobe Bryant rests after the match in Los Angeles",)


def test_the_splits_play_a_part_only_where_passages_are_tweets(corpus: Path) -> None:
    pytest.importorskip("bm25s")
    (corpus / "lines.txt").write_text("Amman is the capital\n", encoding="utf-8")
    splits = {"train": list(TRAIN.values()), "test": list(TEST.values())}
    for file, differ in (("lines.txt", False), ("passages.jsonl", True)):
        made = [
            make_engine("ret", f"bm25:{corpus / file}", tweets=given)
            for given in (
                splits,
                {"x": splits["test"], "y": splits["train"]},
                {"train": [*splits["train"], *splits["test"]]},
            )
        ]
        assert made[0].parameters == made[1].parameters
        assert (made[0].parameters != made[2].parameters) is differ
        assert pickle.loads(pickle.dumps(made[0].prepare))(Post("a", "text")) == "text"


def test_a_file_of_passages_is_known_by_its_name_and_content(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("bm25s")
    monkeypatch.chdir(corpus)
    paths = ["passages.jsonl", "./passages.jsonl", str(corpus / "passages.jsonl")]
    first, *others = [StoredEngine.of(make_engine("ret", f"bm25:{path}", tweets={})) for path in paths]
    assert others == [first, first]
    assert first.model == "passages.jsonl"
    assert all(first.answers_to(f"bm25:{path}") for path in paths)
    assert not first.answers_to("bm25:other.jsonl")


@pytest.mark.parametrize(
    ("choice", "options", "message"),
    [
        ("bm25", {}, "ret=bm25 needs a file of passages"),
        ("bm25:nowhere.jsonl", {}, "nowhere.jsonl: No such file"),
        ("bm25:BAD.jsonl", {}, r'bad.jsonl, line 2: expected {"text": passage}'),
        ("bm25:EMPTY.txt", {}, "no passages: write one per line"),
        ("bm25:passages.jsonl", {"b": 2.0}, "b must lie between 0 and 1"),
        ("bm25:passages.jsonl", {"same": "splits"}, "Did you mean 'split'"),
    ],
)
def test_what_a_user_gets_wrong_about_passages_is_named(
    choice: str, options: dict[str, Any], message: str, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bm25s")
    (corpus / "bad.jsonl").write_text('{"text": "a"}\n{"texts": ["b"]}\n', encoding="utf-8")
    (corpus / "empty.txt").write_text(" \n", encoding="utf-8")
    monkeypatch.chdir(corpus)
    with pytest.raises(UserError, match=message):
        make_engine("ret", choice.replace("BAD", "bad").replace("EMPTY", "empty"), tweets={}, **options)


@pytest.mark.parametrize(("kind", "package"), [("know", "openai"), ("ret", "bm25s")])
def test_without_its_package_an_engine_says_what_to_install(
    kind: str, package: str, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    options: dict[str, Any] = {"url": "http://host/v1"} if kind == "know" else {}
    choice = "openai:tiny" if kind == "know" else f"bm25:{corpus / 'passages.jsonl'}"
    extra = {"know": "openai", "ret": "retrieval"}[kind]
    with pytest.raises(UserError, match=rf"{package}.* is not installed: pip install lightning-ita\[{extra}\]"):
        make_engine(kind, choice, tweets={}, **options)


def test_commands_that_read_images_refuse_engines_of_tweets(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ret=bm25 reads tweets and not images: `.*align --kinds ret --tweets FILE"):
        make_engine("ret", "bm25:x")
    with pytest.raises(UserError, match="--kinds know reads tweets: name the files of their splits"):
        align.main(["--kinds=know", "--engines=know=openai:tiny"])
    with pytest.raises(UserError, match="--dry-run shows what --kinds would read"):
        align.main(["--dry-run", "--stats"])
