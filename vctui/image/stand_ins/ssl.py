"""Takes the place of `ssl` in the guest, where nothing speaks TLS.

asyncio and pyroute2 want these names when they are imported, and never use them.
The real module would bring 5 MB of OpenSSL into every guest's memory.
"""


class SSLError(OSError):
    pass


class SSLWantReadError(SSLError):
    pass


class SSLSyscallError(SSLError):
    pass
