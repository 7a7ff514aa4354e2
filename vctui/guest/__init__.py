"""The agent: PID 1 of the guest.

It speaks the Kata agent's protocol over ttrpc on a virtio-serial port and has crun make containers.
Every module that Python imports costs a few milliseconds of emulated time, some (typing, re, enum,
asyncio, google.protobuf) a tenth of a second to a whole one, and all that comes before the agent's
first answer counts as boot time. Hence: annotations only as text, a small event loop and codec of
our own, and imports inside functions for what few pods ask for.
"""
