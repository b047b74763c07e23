"""Compression of zoo models: the bridge to tf_keras, pruning, quantization, distillation."""
