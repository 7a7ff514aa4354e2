"""The local store of container images: archives in, unpacked root file systems out."""

from typing import Final

DRAFT: Final = ".draft."
"""Begins the names of imports under way in the store's folder."""
