"""Where configuration comes from: paths, the catalogue of YAMLs, composition by Hydra, typed settings."""
