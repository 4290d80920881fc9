"""deepinside: the papers that first looked inside image classifiers, replicated and measured."""
