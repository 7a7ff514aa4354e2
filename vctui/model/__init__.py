"""Pure data of the virtcontainers 1.0 API: no I/O, no asyncio."""
