"""Photographs: reading files of any kind as a person sees them, and handing them to a network in batches."""
