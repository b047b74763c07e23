"""Serve a model store: configuration files, an embedded model server, light clients.

Importing this package is cheap; TensorFlow is imported only where a model is loaded.
"""
