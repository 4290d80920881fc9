"""Numbers about what a technique found."""
