"""Which training rows a request means, which stay, and which of those are close."""
