"""How to call the techniques from Python."""
