"""The mathematics under the techniques: pure functions of tensors."""
