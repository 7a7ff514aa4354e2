"""The monitor: built-in proxy and built-in shim of one pod in one small process.

It owns the sockets that QEMU serves to one client only (serial console, agent channel, agent
log) and serves any number of clients on `monitor.sock` (wire/monitor.py). It watches the
machine, keeps the logs, and writes into the store how processes and the machine ended.
"""
