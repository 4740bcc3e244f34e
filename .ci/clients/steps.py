"""What every script of this folder says: one line a step, and the first mismatch ends the run.

The lines `ok   ERA: STEP` and `none ERA: STEP (why)` of the seven steps below become the table in
docs/reference/interop.md; see `table.py`.
"""

import sys

STEPS = [
    "tools/list",
    "tools/call",
    "resources/read",
    "prompts/get",
    "progress",
    "list change",
    "elicitation",
]

PROMPT = ("test_prompt_with_arguments", {"arg1": "a", "arg2": "b"})
PROMPT_TEXT = "Prompt with arguments: arg1='a', arg2='b'"
STATIC_TEXT = "This is the content of the static text resource."
PERSON = {"username": "ada", "email": "ada@example.com"}


def check(label, found, wanted=True):
    """The step was done, and `found` is what was wanted."""
    if found != wanted:
        sys.exit(f"FAIL {label}: wanted {wanted!r}, found {found!r}")
    print(f"ok   {label}", flush=True)


def lacks(label, why):
    """The client has no means to take the step."""
    print(f"none {label} ({why})", flush=True)
