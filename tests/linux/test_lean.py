from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import sys
from vctui.linux import lean

with lean.without("ssl", "json"):
    import asyncio.sslproto
    import json  # somebody has imported it before
assert asyncio.sslproto.ssl is None
import ssl

assert ssl.create_default_context and json.loads
"""


def test_a_module_is_not_there_in_the_block_and_comes_back() -> None:
    script = f"import json{_SCRIPT}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_failed_to_import_does_not_stay_away() -> None:
    script = """
import sys
from vctui.linux import lean
try:
    with lean.without("colorsys"):
        import colorsys
except ImportError:
    assert "colorsys" not in sys.modules
    import colorsys
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_module_has_in_the_block_what_is_asked_of_it() -> None:
    script = """
import sys
from vctui.linux import lean
with lean.with_names("colorsys", ONE_THIRD=object):
    from colorsys import ONE_THIRD
assert ONE_THIRD is object
import colorsys
assert colorsys.ONE_THIRD == 1 / 3
with lean.with_names("colorsys", ONE_THIRD=object):
    import colorsys
assert colorsys.ONE_THIRD == 1 / 3
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
