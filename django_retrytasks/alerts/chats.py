"""A text for a chat: what it quotes rings nobody and loads nothing."""

from __future__ import annotations

import re

# Seen by nobody; no chat reads a mention, a link or an image across it.
ZERO_WIDTH_SPACE = "\u200b"
# After each of these: "@channel", and "@here" even in a word; "<!channel>" and "<@U1>" of Slack;
# "![](url)" and "[](url)" of Markdown.
RINGS = re.compile(
    r"@(?=everyone|here)|(?<![^\W_])@(?=\S)|<(?=[!@#&])|!(?=\[)|\](?=\()", re.IGNORECASE
)
# Slack reads "<!channel>" in a text, and asks for these three to be written so.
SLACK_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def quiet(text: str) -> str:
    """Return a text whose mentions, links with a text of their own, and images are plain text.

    An address such as "ann@example.com" and a bare URL stay as they are.
    """
    return RINGS.sub(lambda found: found[0] + ZERO_WIDTH_SPACE, text)


def for_slack(text: str) -> str:
    """Return it as Slack, and what takes the same posts, asks for it."""
    return quiet(text.translate(SLACK_ESCAPES))
