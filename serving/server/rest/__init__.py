"""The REST interface: an ASGI application with TensorFlow Serving's routes and JSON."""
