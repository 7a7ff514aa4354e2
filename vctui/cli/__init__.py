"""The command line: scripts and people type these words (design: command line).

`vctui --help` and every command that touches no virtual machine start without asyncio-heavy
libraries: whatever is not click is imported inside the command that needs it.
"""
