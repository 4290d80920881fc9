"""What an experiment's YAML may say."""
