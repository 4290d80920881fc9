"""Object masks and boxes from saliency maps, and their scores."""
