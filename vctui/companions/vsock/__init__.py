"""The vsock device of a machine, served in place of the host's kernel: vhost-user towards QEMU, a
hybrid-vsock unix socket towards the host's clients."""
