"""A cc-proxy of our own: what Clear Containers' runtime and shims talk to before a hyperstart guest
(proxies-and-shims sheet, §3)."""
