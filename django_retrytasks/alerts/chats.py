"""Make a text safe for a chat: no mention notifies anybody, no link or image loads."""

from __future__ import annotations

import re

# Invisible, and breaks a mention, a link or an image in every chat.
ZERO_WIDTH_SPACE = "\u200b"
# Goes behind each match: "@channel", and "@here" even in a word; Slack's "<!channel>" and "<@U1>";
# Markdown's "![](url)" and "[](url)".
ACTIVE_MARKUP = re.compile(
    r"@(?=everyone|here)|(?<![^\W_])@(?=\S)|<(?=[!@#&])|!(?=\[)|\](?=\()", re.IGNORECASE
)
# The three characters that Slack wants escaped.
SLACK_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def quiet(text: str) -> str:
    """Turn mentions, titled links and images into plain text.

    Addresses such as "ann@example.com" and bare URLs stay as they are.
    """
    return ACTIVE_MARKUP.sub(lambda match: match[0] + ZERO_WIDTH_SPACE, text)


def for_slack(text: str) -> str:
    """Return a text escaped for Slack and compatible chats."""
    return quiet(text.translate(SLACK_ESCAPES))
