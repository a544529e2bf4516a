"""Knowledge of a language model about a tweet, by any server that speaks OpenAI's chat completions protocol."""

from __future__ import annotations

import json
import os
import re
import threading
import time
import weakref
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from lightning_ita.contexts.engine import Reading
from lightning_ita.contexts.engines.options import check_count
from lightning_ita.contexts.engines.prompts import Messages, read_template
from lightning_ita.contexts.jsonl import read_contexts
from lightning_ita.contexts.tweets import BOTH, TWEET
from lightning_ita.errors import UserError
from lightning_ita.files import user_path
from lightning_ita.registry import require
from lightning_ita.text import counted, printable, quoted

# Where a key is sent that the user has not named: to its owner, and nowhere else.
OPENAI, OPENAI_KEY = "api.openai.com", "OPENAI_API_KEY"
# Answers of the server that are the tweet's fault (too long, filtered), and not the request's or the server's.
REFUSED = (400, 413, 422)
MOST_AT_ONCE, MOST_RETRIES = 256, 100
# Seconds before an answer that is not JSON is asked for again, doubled each time.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
# Around what models write while they think, where a server does not keep it apart from the answer. Some templates of
# prompts end with the first of the two, so that only the second is in the answer.
THINKING, THOUGHT = "<think>", "</think>"


class RefusedError(Exception):
    """The server refused a request for what is in it, or ended it without an answer."""


class OpenAI:
    """Engine ``know=openai``: what a language model says about a tweet.

    Asks any server that speaks OpenAI's chat completions protocol: OpenAI's own, vLLM, Ollama, llama.cpp, or
    ``transformers serve``. Nothing is sent unless the server's URL is named. Answers belong to the model by its name,
    wherever it runs: the URL is not kept.

    Args:
        model: The model, as the server calls it.
        url: The server, for example ``http://localhost:8000/v1``.
        key: The environment variable that holds the server's key. By default none, and ``OPENAI_API_KEY`` for OpenAI's
            own server by https. The key is neither stored nor printed.
        prompt: ``names`` or ``names-with-examples`` (shipped), or a file; see `read_template`.
        captions: A file of captions (JSON lines, as ``--export cap=FILE`` writes it) for prompts with ``{caption}``. It
            may lack those of some tweets, not of all.
        picture: Whether the picture is sent too: for models that look at pictures.
        temperature: Sampling temperature; ``null`` leaves it to the server.
        max_tokens: Longest answer; ``null`` leaves it to the server.
        body: Further fields of each request, for example ``{"seed": 1, "max_completion_tokens": 200}``.
        at_once: Requests at a time.
        retries: How often a request is repeated that fails for want of a connection, by a time-out, for too many
            requests, or is answered by something that is not JSON, with growing pauses.
        timeout: Seconds without a byte from the server until a request is given up; an answer that comes byte by byte
            may take longer.

    Raises:
        UserError: No model or URL is named, the package is missing, or a value is out of its range.
    """

    kind = "know"
    name = "openai"

    def __init__(
        self,
        model: str | None = None,
        *,
        url: str | None = None,
        key: str | None = None,
        prompt: str = "names",
        captions: str | None = None,
        picture: bool = False,
        temperature: float | None = 0.0,
        max_tokens: int | None = 256,
        body: Mapping[str, Any] | None = None,
        at_once: int = 4,
        retries: int = 6,
        timeout: float = 120.0,
    ):
        if model is None:
            raise UserError("know=openai needs a model: know=openai:MODEL, as the server calls it")
        self._host, self._url = _check_url(url)
        self._key = _key_of(self._url, key)
        self.model = model
        self.at_once = check_count("at_once", at_once, MOST_AT_ONCE)
        self.batch_size = 1
        if not 0 <= retries <= MOST_RETRIES or not 0 < timeout < float("inf"):
            raise UserError(f"retries must lie between 0 and {MOST_RETRIES}, and timeout be above 0 seconds")
        self._openai = require("openai", extra="openai")
        # A server that sends elsewhere would get tweets to a place that the user has not named.
        http = self._openai.DefaultHttpxClient(follow_redirects=False)
        weakref.finalize(self, http.close)
        self._retries = retries
        self._client = self._openai.OpenAI(
            base_url=self._url,
            api_key=self._key or "none",
            max_retries=retries,
            timeout=timeout,
            http_client=http,
        )
        if not _is_openai(self._url):  # these come from the environment, and are nobody else's business
            self._client.organization = self._client.project = None
        template = read_template(prompt)
        said = None if captions is None else read_contexts(user_path(captions), "cap")
        told = {} if said is None else {image: texts[0] for image, texts in said.texts.items() if texts}
        self.prepare = Messages(template, told)
        self.reads = BOTH if picture else TWEET
        self.version = template.version
        self._settings: dict[str, Any] = {"temperature": temperature, "max_tokens": max_tokens}
        self._settings = {name: value for name, value in self._settings.items() if value is not None}
        self._body = dict(body or {})
        self.parameters: Mapping[str, Any] = {
            **self._settings,
            **({"body": self._body} if self._body else {}),
            **({"captions": f"sha256:{said.sha256[:16]}"} if said else {}),
            **({"picture": True} if picture else {}),
        }
        self._lock = threading.Lock()
        self._answers = self._uncounted = self._asked_tokens = self._answered_tokens = self._cut = 0
        self._captions = captions
        self._captioned = ""

    def check_tweets(self, images: Collection[str]) -> None:
        """Counts the tweets that have a caption.

        Raises:
            UserError: A file of captions is given, and has none of theirs.
        """
        if self._captions is None:
            return
        count = len(self.prepare.captions.keys() & set(images))
        self._captioned = f"captions: {count:,} of {len(images):,} tweets"
        if not count:
            raise UserError(
                f"know.captions={self._captions} has captions of none of the {len(images):,} tweets: they have "
                f"{quoted(next(iter(images), None))}, the file {quoted(next(iter(self.prepare.captions), None))}"
            )

    def close(self) -> None:
        """Ends the connections to the server: no request is sent any more, not even one that would be repeated."""
        self._client.close()

    def preview(self, prepared: Sequence[Mapping[str, Any]]) -> str:
        """Returns the request for a tweet, as JSON; of a picture, its size stands in its place."""
        messages = [{**message, "content": _shown(message["content"])} for message in prepared]
        request = {"model": self.model, "messages": messages, **self._settings, **self._body}
        text = json.dumps(request, ensure_ascii=False, indent=2)
        return f"POST {self._url}/chat/completions\n{text}"

    def notes(self) -> list[str]:
        """Returns how many tweets have captions, and what the answers of this engine have cost so far."""
        lines = [self._captioned] if self._captioned else []
        if not self._answers:
            return lines
        lines += [
            f"{counted(self._answers, 'answer')}: "
            f"{self._asked_tokens:,} tokens asked, {self._answered_tokens:,} answered"
            + (f" (the server did not count those of {self._uncounted:,})" if self._uncounted else "")
        ]
        if self._cut:
            lines.append(f"{counted(self._cut, 'answer')} cut at max_tokens={self._settings.get('max_tokens')}")
        return lines

    def read(self, prepared: Sequence[Sequence[Mapping[str, Any]]]) -> list[Reading]:
        """Asks about each tweet, one after the other."""
        return [self._read(messages) for messages in prepared]

    def _read(self, messages: Sequence[Mapping[str, Any]]) -> Reading:
        answer = self._ask(messages)
        if getattr(answer, "choices", None) == [] and not getattr(answer, "error", None):
            raise RefusedError("no answer: its choices are empty")
        try:
            choice = answer.choices[0]
            text = " ".join((choice.message.content or "").rpartition(THOUGHT)[2].split())
            refusal = choice.message.refusal
        except (AttributeError, IndexError, KeyError, TypeError):  # an error with status 200, a page of a proxy
            raise self._ended(self._without_key(f"this is no chat completion: {_said(answer)}")) from None
        end = choice.finish_reason
        asked, answered = (getattr(answer.usage, f"{name}_tokens", None) for name in ("prompt", "completion"))
        with self._lock:
            self._answers += 1
            self._cut += end == "length"
            self._uncounted += asked is None or answered is None
            self._asked_tokens += asked or 0
            self._answered_tokens += answered or 0
        if text.startswith(THINKING):
            raise RefusedError(f"no answer, only the start of thinking ({end}); a greater know.max_tokens may help")
        if not text:
            why = end if end not in ("stop", None) else f"its text is empty ({end})"
            raise RefusedError(self._without_key(f"no answer: {refusal or why}"))
        return Reading((text,))

    def _ask(self, messages: Sequence[Mapping[str, Any]]) -> Any:
        """Returns the server's answer; asks again where it is not JSON, as the client does where the server is busy.

        Raises:
            RefusedError: The answer about this tweet is no JSON, whenever it is asked for.
            UserError: A page of a proxy is there instead of the server, or the server cannot be used.
        """
        for pause in (*(min(FIRST_PAUSE * 2**number, LONGEST_PAUSE) for number in range(self._retries)), None):
            try:
                answer = self._ask_once(messages)
                if not isinstance(answer, str):
                    return answer
                failed: Exception = self._ended(self._without_key(f"an answer that is not JSON: {answer}"))
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                failed = RefusedError(self._without_key(f"an answer that is not JSON: {error}"))
            if pause is not None:
                time.sleep(pause)
        raise failed

    def _ask_once(self, messages: Sequence[Mapping[str, Any]]) -> Any:
        try:
            return self._client.chat.completions.create(
                model=self.model, messages=messages, **self._settings, extra_body=self._body or None
            )
        except self._openai.APIStatusError as error:
            bare = error.message.removeprefix(f"Error code: {error.status_code}").removeprefix(" - ")
            said = _said(error.body) if error.body else bare
            reason = self._without_key(f"{error.status_code} {said}".strip())
            if error.status_code in REFUSED:
                raise RefusedError(reason) from None
            hints = {404: f"is {self.model} a model of this server, and does its URL end in /v1?"}
            hints |= dict.fromkeys((401, 403), "know.key=VARIABLE names the environment variable that holds its key")
            hint = hints.get(error.status_code, "")
            if 300 <= error.status_code < 400:
                hint = "it sends to another place, to which nothing is sent unless know.url names it"
            raise self._ended(f"{reason.rstrip('.')}; {hint}" if hint else reason) from None
        except self._openai.OpenAIError as error:
            cause = f": {error.__cause__}" if error.__cause__ and str(error.__cause__) else ""
            raise self._ended(self._without_key(f"{error}{cause}")) from None

    def _ended(self, reason: str) -> UserError:
        reason = printable(reason.rstrip("."))
        reason += "" if reason.endswith("?") else "."
        return UserError(
            f"know=openai:{self.model} at {self._host}: {reason} What was answered is stored; the same command goes on"
        )

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "…") if self._key else text


def _check_url(url: str | None) -> tuple[str, str]:
    """Returns a server's host and its URL without a slash at the end.

    Raises:
        UserError: None is named, it is none, or it holds a password or a key.
    """
    example = "know.url=http://localhost:8000/v1"
    if url is None:
        raise UserError(f"know=openai sends tweets to a server: name it, for example --options {example}")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise UserError("know.url has a user name, a password, ? or # in it; know.key=VARIABLE is where a key goes")
    if parts.scheme not in ("http", "https") or not host:
        raise UserError(f"know.url={quoted(url)}: expected the URL of a server, for example {example}")
    return host, url.rstrip("/").removesuffix("/chat/completions")


def _is_openai(url: str) -> bool:
    parts = urlsplit(url)
    return (parts.scheme, parts.hostname) == ("https", OPENAI)


def _key_of(url: str, variable: str | None) -> str | None:
    """Returns the key for a server: the value of an environment variable.

    Raises:
        UserError: The variable cannot be one, or is not set. Its name is not printed: it may be the key itself.
    """
    if variable is None:
        return os.environ.get(OPENAI_KEY) if _is_openai(url) else None
    if not re.fullmatch(r"[A-Za-z_]\w*", variable):
        raise UserError("know.key is the name of an environment variable that holds the key, never the key itself")
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError("know.key: the environment variable of this name is not set or empty")
    return key


def _said(answer: Any) -> str:
    """Returns what a server said instead of an answer: the message of an error, or all of it."""
    said = answer.to_dict(warnings=False) if hasattr(answer, "to_dict") else answer
    for name in ("error", "message"):
        said = (said.get(name) or said) if isinstance(said, dict) else said
    return str(said)


def _shown(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return [
        part if part["type"] == "text" else {"type": part["type"], "bytes": len(part["image_url"]["url"])}
        for part in content
    ]
