"""The local store of container images: archives in, unpacked root file systems out."""
