"""Documents of the Container Network Interface (CNI specification)."""
