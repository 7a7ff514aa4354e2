"""Generated protobuf messages; `make gen` makes them from the `.proto` files beside them."""
