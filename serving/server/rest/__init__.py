"""The REST interface: an application with TensorFlow Serving's routes and JSON."""
