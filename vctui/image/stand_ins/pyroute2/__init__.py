"""Takes the place of pyroute2's `__init__` in the guest, which would import all of pyroute2.

The rest of the package is the real one.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)

from pyroute2.iproute.linux import IPRoute

__all__ = ["IPRoute"]
