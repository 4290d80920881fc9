"""How images are optimised: objectives, regularisers, image priors, optimisers and callbacks."""
