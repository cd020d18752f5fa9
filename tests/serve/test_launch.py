"""`plait serve` as a program: it says where it is, answers, and ends with Ctrl-C."""

import json
import re
import signal
import subprocess
import sys

import pytest

pytest.importorskip("uvicorn", reason="uvicorn is not installed")


@pytest.mark.slow
def test_it_serves_until_ctrl_c(text_run, asked) -> None:
    command = [sys.executable, "-m", "plait", "serve", str(text_run.path), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+) shows (.+); Ctrl-C ends it\n", said)
        assert found is not None
        assert found[2] == str(text_run.path)
        status, content, _ = asked(int(found[1]), "/run")
        assert (status, json.loads(content)["folder"]) == (200, text_run.path.name)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
    assert (process.returncode, rest, errors) == (0, "", "")
