"""Protocol codecs: bytes in, frames and messages out; no sockets, no asyncio."""
