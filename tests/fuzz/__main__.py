"""`make fuzz`: each codec in turn under atheris, which follows what the code does with its input.

A crash is kept as a file beside the corpus; `python -m tests.fuzz --one NAME FILE` runs it again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["vctui"]):
    from tests.fuzz import seeds
    from tests.fuzz.codecs import TARGETS


def one(name: str, words: list[str]) -> None:
    """Never returns: libFuzzer ends the process."""
    atheris.Setup([sys.argv[0], *words], TARGETS[name])
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--target", choices=sorted(TARGETS), help="only this one")
    options = parser.parse_args()
    for name in [options.target] if options.target else sorted(TARGETS):
        corpus = options.corpus / name
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds.of(name)):
            (corpus / f"seed-{number}").write_bytes(seed)
        command = [sys.executable, "-m", "tests.fuzz", "--one", name, str(corpus)]
        limits = [f"-max_total_time={options.seconds}", "-rss_limit_mb=1024", "-max_len=65536"]
        prefix = f"-artifact_prefix={options.corpus}/{name}-"
        sys.stdout.write(f"{name}: {options.seconds} s\n")
        sys.stdout.flush()
        if subprocess.run([*command, *limits, prefix], check=False).returncode:
            sys.stderr.write(f"{name} broke a promise; the input is {options.corpus}/{name}-*\n")
            return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], sys.argv[3:])
    sys.exit(main())
